"""One request and its response: what the application gets as ``scope``, ``receive`` and ``send``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE as UVICORN_STATUS_LINE

from arbstr.edge.limits import APPLICATION_FAILED

if TYPE_CHECKING:
    from arbstr.edge.protocol import EdgeProtocol

Message = Any
"""An ASGI event. The types of them differ from server to server; the specification is the contract."""

STATUS_LINE = {status: line.rstrip(b"\r\n") for status, line in UVICORN_STATUS_LINE.items()}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LARGE = 16 * 1024  # bytes above which copying a body costs more than a second element in writev

# How the end of a response body is told.
LENGTH, CHUNKED, UNTIL_CLOSE, BODILESS = range(4)

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTENT_LENGTH = b"content-length: "
_TRANSFER_ENCODING = b"transfer-encoding: "
_CONNECTION = b"connection: "
_FRAMING = frozenset((_CONTENT_LENGTH, _TRANSFER_ENCODING, _CONNECTION))
_prefixes: dict[bytes, bytes] = {}


def _prefix(name: bytes) -> bytes:
    """``b"name: "``, checked and in lower case. Remembered, because a program sends few different names."""
    if not _TOKEN.fullmatch(name):
        raise RuntimeError("Invalid HTTP header name.")
    prefix = name.lower() + b": "
    if len(_prefixes) < 1024:
        _prefixes[name] = prefix
    return prefix


class Cycle:
    """The application's side of one exchange.

    After the caller has left, ``receive`` gives ``http.disconnect`` and ``send`` returns without doing anything, also
    where it was waiting for the caller to read.
    """

    __slots__ = (
        "body_complete",
        "expects_continue",
        "framing",
        "fresh",
        "got",
        "head",
        "keep_alive",
        "left",
        "news",
        "on_left",
        "parts",
        "protocol",
        "remaining",
        "response_complete",
        "response_started",
        "scope",
        "taken",
        "task",
    )

    def __init__(
        self, protocol: EdgeProtocol, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self.protocol = protocol
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.task: asyncio.Task[None] | None = None
        # The request.
        self.parts: list[bytes] = []
        self.got = 0
        self.taken = 0
        self.body_complete = False
        self.fresh = False  # there is something that receive() has not told yet
        self.news: asyncio.Event | None = None
        # The response.
        self.response_started = False
        self.response_complete = False
        self.head = b""  # rendered, and waiting for the first piece of body
        self.framing = LENGTH
        self.remaining = 0
        # The caller.
        self.left = False
        self.on_left: Callable[[], None] | None = None
        scope["extensions"] = {"arbstr.departure": self.on_departure, "arbstr.close": self.close_after}

    def on_departure(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the caller leaves before the response is complete: see the package."""
        if self.left:
            callback()
        elif not self.response_complete:
            self.on_left = callback

    def close_after(self) -> None:
        """Have the connection closed once this response is complete, although its head did not say so."""
        self.keep_alive = False

    def leave(self) -> None:
        """The caller has left, or was cut off."""
        if self.left or self.response_complete:
            return
        self.left = True
        self.wake()
        self.protocol.flow.resume_writing()
        callback, self.on_left = self.on_left, None
        if callback is not None:
            try:
                callback()
            except Exception:
                self.protocol.logger.exception("The callback for a departed caller failed")

    def wake(self) -> None:
        if self.news is not None:
            self.news.set()

    async def run(self, app: Callable[..., Any]) -> None:
        """Run the application on this exchange, and answer 500 where it fails before anything was sent."""
        edge = self.protocol.edge
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete and not self.left:
                self.protocol.logger.error("The application returned without completing its response")
                self._fail()
        except Exception as exc:
            self.protocol.logger.error("The application failed", exc_info=exc)
            self._fail()
        except asyncio.CancelledError:
            self._fail()
            raise
        finally:
            if self.task is not None:
                edge.tasks.discard(self.task)
            # Break the reference cycles, so that memory is freed now and not by the collector.
            self.scope = {}
            self.task = self.on_left = None
            if edge.draining:
                edge.check_idle()

    def _fail(self) -> None:
        if self.left or self.response_complete:
            return
        self.on_left = None
        self.leave()
        if self.response_started and not self.head:
            self.protocol.close()  # what was sent cannot be unsaid; a body without its end says that it is cut
        else:
            self.protocol.refuse(APPLICATION_FAILED, self)

    # The request

    def feed(self, body: bytes) -> int:
        """Keep a piece of the body; the number of bytes now waiting for the application."""
        self.parts.append(body)
        self.got += len(body)
        self.fresh = True
        if self.news is not None:
            self.news.set()
        return self.got - self.taken

    def feed_eof(self) -> None:
        self.body_complete = self.fresh = True
        if self.news is not None:
            self.news.set()

    async def receive(self) -> Message:
        if self.expects_continue:
            self.expects_continue = False
            if not self.got and not self.left:
                self.protocol.transport.write(CONTINUE)
        while not self.fresh and not self.left and not self.response_complete:
            self.protocol.want_input(self)
            if self.news is None:
                self.news = asyncio.Event()
            self.news.clear()
            await self.news.wait()
        if self.left or self.response_complete:
            return {"type": "http.disconnect"}
        self.fresh = False
        parts = self.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.parts = []
        self.taken = self.got
        return {"type": "http.request", "body": body, "more_body": not self.body_complete}

    # The response

    async def send(self, message: Message) -> None:
        flow = self.protocol.flow
        if flow.write_paused and not self.left:
            await flow.drain()
        if self.left:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected the ASGI message 'http.response.start', but got '{kind}'.")
            self._render_head(message["status"], message.get("headers", ()))
            self.response_started = True
            return
        if self.response_complete or kind != "http.response.body":
            raise RuntimeError(f"Unexpected ASGI message '{kind}'.")
        more = message.get("more_body", False)
        self._write(message.get("body", b""), more)
        if not more:
            self.response_complete = True
            self.on_left = None
            self.wake()
            self.protocol.finished(self)

    def _render_head(self, status: int, headers: Any) -> None:
        protocol = self.protocol
        framing = UNTIL_CLOSE if self.scope["http_version"] == "1.0" else CHUNKED
        lines = [STATUS_LINE[status], protocol.edge.date]
        says_close = False
        for name, value in headers:
            prefix = _prefixes.get(name) or _prefix(name)
            if prefix in _FRAMING:
                if prefix == _CONTENT_LENGTH:
                    framing = LENGTH
                    self.remaining = int(value)
                elif prefix == _TRANSFER_ENCODING:
                    continue  # ours to decide
                elif b"close" in value.lower():
                    says_close = True
            lines.append(prefix + value)
        if self.scope["method"] == "HEAD" or status == 204 or status == 304:
            framing = BODILESS
        elif framing == CHUNKED:
            lines.append(b"transfer-encoding: chunked")
        # A request that was not read to its end leaves the connection in the middle of a body.
        if says_close or framing == UNTIL_CLOSE or not self.body_complete:
            self.keep_alive = False
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close")
        lines += (b"", b"")
        head = b"\r\n".join(lines)
        # RFC 9110, 5.5: no CR, LF or NUL in a value. One count over the whole head costs less than a search in each.
        breaks = len(lines) - 1
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
            raise RuntimeError("Invalid HTTP header value.")
        self.framing = framing
        self.head = head

    def _write(self, body: bytes, more: bool) -> None:
        framing = self.framing
        head, self.head = self.head, b""
        if framing == LENGTH:
            self.remaining -= len(body)
            if self.remaining < 0 or (self.remaining and not more):
                self.head = head
                raise RuntimeError("The response is not as long as its Content-Length.")
        elif framing == CHUNKED:
            if body and len(body) > LARGE:
                self.protocol.transport.writelines((head + b"%x\r\n" % len(body), body, _CHUNK_END[more]))
                return
            body = b"%x\r\n%b%b" % (len(body), body, _CHUNK_END[more]) if body else _LAST_CHUNK[more]
        elif framing == BODILESS:
            body = b""
        transport = self.protocol.transport
        if not head:
            transport.write(body)
        elif len(body) > LARGE:
            transport.writelines((head, body))
        else:
            transport.write(head + body)


_CHUNK_END = {True: b"\r\n", False: b"\r\n0\r\n\r\n"}
_LAST_CHUNK = {True: b"", False: b"0\r\n\r\n"}
