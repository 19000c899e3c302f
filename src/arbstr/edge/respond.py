"""Answers, as ASGI messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from arbstr.dialects.envelopes import error_envelope
from arbstr.domain.errors import GatewayError
from arbstr.ports import Headers

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Scope = dict[str, Any]

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
NO_STORE = (b"cache-control", b"no-store")


def id_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    value = request_id.encode()
    return [(b"x-arbstr-request-id", value), (b"x-request-id", value), NO_STORE]


async def whole(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
    """An answer with a length."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def json(send: Send, request_id: str, value: Any, *, status: int = 200, headers: Headers = ()) -> None:
    """``value`` as JSON."""
    await whole(send, status, [JSON, *id_headers(request_id), *headers], msgspec.json.encode(value))


async def error(send: Send, request_id: str, failure: GatewayError, *, headers: Headers = ()) -> None:
    """The OpenAI error object, with ``Retry-After`` where there is one to give."""
    await whole(
        send,
        failure.status,
        [JSON, *id_headers(request_id), *error_headers(failure), *headers],
        error_envelope(failure),
    )


def error_headers(failure: GatewayError) -> list[tuple[bytes, bytes]]:
    value = failure.retry_after_header
    return [] if value is None else [(b"retry-after", value)]
