"""The caller of a model endpoint: its body in, its answer out, its departure noticed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import msgspec

from arbstr.dialects.translate import CallerDialect
from arbstr.domain.errors import CallerLeft, CutOff, GatewayError, InvalidRequest
from arbstr.domain.request import NO_WISHES, ChatRequest, Wishes
from arbstr.edge import body, guard
from arbstr.edge.context import BodyBudget
from arbstr.edge.respond import EVENTS, JSON, Receive, Scope, Send, id_headers, whole
from arbstr.ports import Headers

_PASSED_ON: dict[str, tuple[tuple[bytes, re.Pattern[bytes], str], ...]] = {
    "anthropic": (
        (b"anthropic-version", re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}"), "a date such as 2023-06-01"),
        (b"anthropic-beta", re.compile(rb"[A-Za-z0-9._, -]{1,500}"), "names separated by commas"),
    ),
}
"""By the caller's dialect, the headers that a provider of the same one is to see, and what is expected in them."""


class HttpCaller:
    """Implements :class:`~arbstr.ports.Caller` over ASGI, for one request."""

    __slots__ = (
        "_gone",
        "_guarded",
        "_headers",
        "_held",
        "_receive",
        "_scope",
        "_send",
        "_told",
        "_watcher",
        "address",
        "answered",
        "credential",
        "dialect",
        "endpoint",
        "request_id",
        "wishes",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: dict[bytes, bytes],
        request_id: str,
        bodies: BodyBudget,
        dialect: CallerDialect,
        endpoint: str,
        address: str,
        credential: bytes | None,
        guarded: bool,
    ) -> None:
        """``guarded``: pages of other origins are kept out, as no key is asked for."""
        self.dialect = dialect
        self.endpoint = endpoint
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = headers
        self._held = body.Held(bodies)
        self._gone: Callable[[GatewayError], None] = _nobody
        self._told = False
        """The server tells of a departure by itself."""
        self._watcher: asyncio.Task[None] | None = None
        self.request_id = request_id
        self.wishes = wishes_of(headers)
        self.credential = credential
        self._guarded = guarded
        self.address = address
        self.answered = False

    async def request(self, max_body: int) -> ChatRequest:
        read = await self.body(max_body)
        if not self._told:
            self._watcher = asyncio.ensure_future(self._wait_for_departure())
        request = self.dialect.parse(read)
        headers = _passed_on(self.dialect.name, self._headers)
        return msgspec.structs.replace(request, headers=headers) if headers else request

    async def body(self, max_body: int) -> bytes:
        """The body of a request that may be made at all. Raises GatewayError."""
        if self._guarded:
            server = self._scope.get("server")
            guard.check(self._headers, server[0] if server is not None else None)
        return await body.read(self._receive, self._headers, self._held, most=max_body, limit="server.max_body")

    def watch(self, gone: Callable[[GatewayError], None]) -> None:
        """Our own server tells of a departure by a callback; on others a task waits for it, once the body is read."""
        self._gone = gone
        on_departure = self._scope.get("extensions", {}).get("arbstr.departure")
        if on_departure is not None:
            self._told = True
            on_departure(self._departed)

    def _departed(self) -> None:
        refusal = self._scope.get("arbstr.refusal")
        self._gone(CutOff(*refusal) if refusal is not None else _left())

    async def _wait_for_departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone(_left())

    def close(self) -> None:
        """The request is over."""
        self._held.give_back()
        if self._watcher is not None:
            self._watcher.cancel()

    def _ids(self) -> list[tuple[bytes, bytes]]:
        ids = id_headers(self.request_id)
        if self.dialect.name == "anthropic":
            ids.append((b"request-id", ids[0][1]))  # where its SDK looks
        return ids

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.answered = True
        await whole(self._send, status, [JSON, *self._ids(), *headers], body)

    async def start(self, headers: Headers) -> None:
        self.answered = True
        fields = [EVENTS, *self._ids(), (b"x-accel-buffering", b"no"), *headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": fields})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes, *, close: bool = False) -> None:
        if close:
            close_after = self._scope.get("extensions", {}).get("arbstr.close")
            if close_after is not None:
                close_after()
        await self._send({"type": "http.response.body", "body": data, "more_body": False})


def credential_of(headers: dict[bytes, bytes]) -> bytes | None:
    """What a request shows to be let in, wherever its client puts a key; None where there is nothing."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, credential = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and credential.strip():
            return credential.strip()
    return headers.get(b"x-api-key") or headers.get(b"api-key") or None


def _nobody(error: GatewayError) -> None:
    """Who is told of a departure before anybody wants to know."""


def _left() -> CallerLeft:
    return CallerLeft("the caller left before the answer was complete")


def wishes_of(headers: dict[bytes, bytes]) -> Wishes:
    """What a request chooses by its headers."""
    policy = headers.get(b"x-arbstr-policy")
    commit = headers.get(b"x-arbstr-commit")
    metadata = headers.get(b"x-arbstr-stream-metadata")
    sats = headers.get(b"x-arbstr-max-cost-sats")
    usd = headers.get(b"x-arbstr-max-cost-usd")
    timeout = headers.get(b"x-arbstr-timeout-ms")
    if policy is commit is metadata is sats is usd is timeout is None:
        return NO_WISHES
    return Wishes(
        policy=_text(policy),
        commit=_text(commit),
        stream_metadata=_text(metadata),
        max_cost_sats=_text(sats),
        max_cost_usd=_text(usd),
        timeout_ms=_text(timeout),
    )


def _passed_on(dialect: str, headers: dict[bytes, bytes]) -> tuple[tuple[str, str], ...]:
    """What of ``headers`` goes to a provider of the same dialect. Raises InvalidRequest."""
    found = []
    for name, pattern, expected in _PASSED_ON.get(dialect, ()):
        value = headers.get(name)
        if value is None:
            continue
        if not pattern.fullmatch(value):
            shown = value[:40].decode("latin-1")
            raise InvalidRequest(f"{name.decode()} is {shown!r}, expected {expected}", param=name.decode())
        found.append((name.decode(), value.decode()))
    return tuple(found)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
