"""One connection: an asyncio protocol that writes requests and parses the answers, one after the other.

Nothing here awaits. Whoever wants the next state of the connection takes the future of ``changed()``;
``data_received``, the sweep and the loss of the connection wake it. The state is then read from the attributes:
``status``, ``complete``, ``error``, and the body bytes of ``take()``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import cast

import httptools

from arbstr.upstream.errors import CutBody, ProtocolError, ReadTimeout, ResetBeforeHead, TransportError
from arbstr.upstream.limits import Limits

# A request up to this size is one write. Larger bodies go out in slices of this size, the next when there is room: an
# encrypted copy of the whole would be made otherwise.
SLICE = 64 * 1024


class Connection(asyncio.Protocol):
    """A connection to one origin, opened by the pool and lent to one exchange at a time."""

    __slots__ = (
        "_body",
        "_buffered",
        "_extra",
        "_extra_bytes",
        "_head_only",
        "_informational",
        "_keep_alive",
        "_loop",
        "_on_idle_loss",
        "_outgoing",
        "_parser",
        "_quiet",
        "_read_paused",
        "_skipped",
        "_transport",
        "_until_eof",
        "_waiter",
        "_write_paused",
        "busy",
        "complete",
        "deadline",
        "error",
        "headers",
        "idle_since",
        "limits",
        "received",
        "served",
        "status",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: Limits, on_idle_loss: Callable[[Connection], None]
    ) -> None:
        # Of the connection:
        self._loop = loop
        self.limits = limits
        self._on_idle_loss = on_idle_loss  # called when an unused connection is lost or misbehaves
        self._transport: asyncio.Transport | None = None
        self._write_paused = False
        self._read_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self.deadline = math.inf  # of whoever waits for a change
        self.busy = False
        self.served = 0  # requests, the present one included
        self.idle_since = 0.0  # set by the pool
        self.error: TransportError | None = None  # why this connection is of no more use
        # Of the present request:
        self._outgoing: memoryview | None = None  # what of its body is not written yet
        self._head_only = False
        # Of the answer to it:
        self.received = False  # any byte of it
        self.status = 0  # 0 until its head is complete
        self.headers: dict[bytes, bytes] = {}
        self.complete = False  # its last byte is here
        self._body: list[bytes] = []
        self._buffered = 0  # bytes in _body
        self._keep_alive = False
        self._until_eof = False  # its body ends with the connection
        self._informational = False  # what is being parsed is a 1xx answer
        self._skipped = 0  # 1xx answers before it
        self._quiet = 0  # bytes since the last byte of body
        self._extra = 0  # header lines that are not in `headers`: repeated ones, trailers
        self._extra_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "busy" if self.busy else "idle"
        return f"<Connection {state} served={self.served}>"

    # For the exchange and the pool.

    @property
    def closed(self) -> bool:
        """No request can be sent any more."""
        transport = self._transport
        return transport is None or self.error is not None or transport.is_closing()

    @property
    def reusable(self) -> bool:
        """The answer was read to its clean end, and the server has not said that it would close."""
        return self.complete and self._keep_alive and not self._buffered

    @property
    def stale(self) -> bool:
        """It carried earlier answers, and died before a byte of the present one."""
        return isinstance(self.error, ResetBeforeHead) and self.error.reused

    def begin(self, head: bytes, body: bytes) -> None:
        """Send a request: `head` without Content-Length and the blank line, and its whole body."""
        self.busy = True
        self.served += 1
        self.received = self.complete = False
        self.status = self._quiet = self._skipped = self._extra = self._extra_bytes = 0
        self.headers = {}
        transport = self._transport
        if transport is None or self.closed:
            self._lost(None)
            return
        self._head_only = head.startswith(b"HEAD ")
        if not body:
            bodiless = self._head_only or head.startswith(b"GET ")
            transport.write(head + (b"\r\n" if bodiless else b"content-length: 0\r\n\r\n"))
        elif len(body) <= SLICE:
            transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            transport.write(b"%bcontent-length: %d\r\n\r\n" % (head, len(body)))
            self._outgoing = memoryview(body)
            self._write_on()

    def changed(self, deadline: float) -> asyncio.Future[None]:
        """Return a future that is done when something has happened. At `deadline` a ReadTimeout happens."""
        self.deadline = deadline
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def take(self) -> bytes:
        """Return the body bytes that are here, and let more come."""
        chunks = self._body
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._read_paused:
            self._read_paused = False
            if self._transport is not None:
                self._transport.resume_reading()
        return data

    def rest(self) -> None:
        """Become idle, after a ``reusable`` answer."""
        self.busy = False
        self.deadline = math.inf

    def close(self) -> None:
        """Drop the connection now: nothing that is not sent yet will be."""
        self.busy = False
        self._outgoing = None
        self._body.clear()
        self._close_transport()

    def fail(self, error: TransportError) -> None:
        """End with `error`: the connection is dropped, and whoever waits gets to know."""
        if self.error is None:
            self.error = error
        self.complete = False
        self._outgoing = None
        self._close_transport()
        self._wake()

    def expire(self) -> None:
        """Called by the sweep when ``deadline`` has passed."""
        if self._waiter is not None and not self._waiter.done():
            self.fail(ReadTimeout("body" if self.status else "head"))

    def _close_transport(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # For the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self.busy or self.complete:
            self._unexpected()
            return
        self.received = True
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(ProtocolError("the server switched protocols"))
            return
        except httptools.HttpParserError as exc:
            self._refuse(exc)
            return
        if self._quiet > self.limits.max_header_bytes and not self.complete:
            self.fail(ProtocolError("the response head or its trailers are too large"))
            return
        if self._buffered > self.limits.read_high_water and not self._read_paused and not self.complete:
            self._read_paused = True
            if self._transport is not None:
                self._transport.pause_reading()
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self._lost(exc)
        else:
            self._on_idle_loss(self)
        self._transport = None
        del self._parser  # it holds our methods: without this, closed connections pile up until garbage is collected
        self._wake()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._outgoing is not None:
            self._write_on()

    def _write_on(self) -> None:
        """Write of the body what there is room for."""
        rest = self._outgoing
        while rest is not None and self._transport is not None and not (self._write_paused or self.closed):
            self._transport.write(rest[:SLICE])
            rest = self._outgoing = rest[SLICE:] if len(rest) > SLICE else None

    def _unexpected(self) -> None:
        """Bytes came that no request asked for."""
        self._keep_alive = False
        if self.busy and self.complete:  # the answer before them is whole: it counts, the connection does not
            self._close_transport()
            return
        self.error = ProtocolError("bytes came before a request was sent")
        self._on_idle_loss(self)

    def _refuse(self, exc: httptools.HttpParserError) -> None:
        """End after the parser stopped: with what one of our callbacks raised, or with what it found itself."""
        cause = exc.__context__
        error = cause if isinstance(cause, ProtocolError) else ProtocolError(f"not a valid HTTP response: {exc}")
        if self.complete:
            if self._head_only:
                self._wake()
                return
            error = ProtocolError("bytes after the end of the response")
        error.__cause__ = exc
        self.fail(error)

    def _lost(self, exc: Exception | None) -> None:
        """Note what the end of the connection means for the present answer."""
        if self.complete or self.error is not None:
            return
        if self._until_eof and self.status and exc is None:
            self.complete = True
            return
        what = _lost_reason(exc)
        if not self.received:
            error: TransportError = ResetBeforeHead(f"{what} before the response head", reused=self.served > 1)
        else:
            error = CutBody(f"{what} inside the response {'body' if self.status else 'head'}")
        error.__cause__ = exc
        self.error = error

    # For the parser.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ProtocolError("bytes after the end of the response")
        self._informational = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        headers = self.headers
        if not self.status and name not in headers:
            headers[name] = value
        else:
            self._extra += 1
            self._extra_bytes += len(name) + len(value)
            if name == b"transfer-encoding":
                raise ProtocolError("more than one Transfer-Encoding")
        if len(headers) + self._extra > self.limits.max_headers:
            raise ProtocolError("the response has too many header lines")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._quiet > self.limits.max_header_bytes:
            self._check_head_size()
        if status < 200:
            self._skip(status)
            return
        headers = self.headers
        self._until_eof = False
        if b"content-length" not in headers:
            encoding = headers.get(b"transfer-encoding")
            if encoding is None:
                self._until_eof = status not in (204, 304)
            elif encoding.lower() != b"chunked":
                raise ProtocolError("unsupported Transfer-Encoding")
        self._keep_alive = self._parser.should_keep_alive()
        self._quiet = 0
        self.status = status
        if self._head_only:
            # The parser cannot know that no body follows; it is stopped here, and the connection is not used again.
            self.complete = True
            self._keep_alive = False
            raise ProtocolError("an answer to HEAD has no body")

    def on_body(self, data: bytes) -> None:
        self._quiet = 0
        self._body.append(data)
        self._buffered += len(data)

    def on_message_complete(self) -> None:
        if self._informational:
            return
        self.complete = True
        transport = self._transport
        if transport is None or transport.get_write_buffer_size():
            self._keep_alive = False  # the server answered before it had the whole request

    def _skip(self, status: int) -> None:
        """Pass over an informational answer."""
        if status < 100:
            raise ProtocolError("not a valid HTTP status")
        self._skipped += 1
        if self._skipped > self.limits.max_informational:
            raise ProtocolError("too many informational responses")
        self._informational = True
        self.headers = {}

    def _check_head_size(self) -> None:
        size = self._extra_bytes + sum(map(len, self.headers)) + sum(map(len, self.headers.values()))
        if size > self.limits.max_header_bytes:
            raise ProtocolError("the response head is too large")


def _lost_reason(exc: Exception | None) -> str:
    """Return how a connection was lost, in a few words."""
    if exc is None:
        return "connection closed"
    if isinstance(exc, OSError) and exc.strerror:
        return f"connection lost ({exc.strerror})"
    return f"connection lost ({type(exc).__name__})"
