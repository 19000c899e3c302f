"""One request and its answer."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from arbstr.upstream.content import Decoder, decoder
from arbstr.upstream.errors import ProtocolError, TransportError
from arbstr.upstream.lane import Lane
from arbstr.upstream.origin import Origin
from arbstr.upstream.wire import Connection

if TYPE_CHECKING:
    from arbstr.upstream.pool import Pool


class Exchange:
    """One try at one server, as an async context manager. Made by :meth:`Pool.request`; to be entered once.

    Entering sends the request and waits for the response head. Leaving gives the connection back if the answer was read
    to its clean end, and aborts it at once otherwise: after an error, a cancellation, or an answer left unread.
    """

    __slots__ = (
        "_body",
        "_connect_timeout",
        "_connection",
        "_head",
        "_lane",
        "_origin",
        "_pool",
        "_response",
        "_until",
        "sent",
    )

    def __init__(
        self, pool: Pool, origin: Origin, head: bytes, body: bytes, connect_timeout: float, until: float
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._head = head
        self._body = body
        self._connect_timeout = connect_timeout
        self._until = until
        self._lane: Lane | None = None  # these three are there while an answer is
        self._connection: Connection | None = None
        self._response: Response | None = None
        self.sent = False
        """Some of the request may have reached the server."""

    async def __aenter__(self) -> Response:
        """Send the request and wait for the head of the answer. Raises TransportError.

        A connection that was idle may have been closed by the server just now. Where it dies before a byte of an
        answer, the request goes out again on a fresh one, once.
        """
        pool, until = self._pool, self._until
        lane = pool.lane(self._origin)
        connection = lane.take_idle() or await pool.obtain(lane, self._connect_timeout, until)
        while True:
            pool.lend(connection)
            try:
                self.sent = True
                connection.begin(self._head, self._body)
                while not connection.status and connection.error is None:
                    await connection.changed(until)
            except BaseException:
                pool.take_back(lane, connection, reuse=False)
                raise
            if connection.status:
                self._lane = lane
                self._connection = connection
                self._response = response = Response(connection)
                return response
            if not connection.stale:
                pool.take_back(lane, connection, reuse=False)
                raise connection.error or AssertionError(connection)
            connection = await pool.redial(lane, connection, self._connect_timeout, until)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the connection. Does not wait for anything."""
        lane, connection, response = self._lane, self._connection, self._response
        if lane is None or connection is None or response is None:
            return
        self._lane = self._connection = self._response = None
        fit = response.end() and (error is None or isinstance(error, Exception))  # never after a cancellation
        self._pool.take_back(lane, connection, reuse=fit)


class Response:
    """An answer whose head is here and whose body is being read.

    ``headers`` are as sent: lower-case names and raw values as bytes, the first of repeated ones. They describe the
    bytes on the wire; Content-Length, Content-Encoding and the like must not be passed on with the decoded body.
    """

    __slots__ = ("_connection", "_decoder", "_encoding", "_ended", "headers", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection  # None when the exchange is over
        self.status = connection.status
        self.headers = connection.headers
        self._encoding = _encoding(connection.headers)
        self._decoder: Decoder | None = None
        self._ended = self._encoding is None  # the decoder has nothing more to say

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.content_type or 'without content type'}>"

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty if there is none."""
        value = self.headers.get(b"content-type", b"")
        return value.partition(b";")[0].strip().lower().decode("latin-1")

    async def read(self, until: float) -> bytes:
        """Return the next bytes of the body as they come, decoded; nothing at its clean end.

        Raises ReadTimeout at the instant `until`, CutBody, and ProtocolError, which includes an encoding that we do not
        know: status and headers are of use all the same. May be cancelled; the answer cannot be read on after that.
        """
        connection = self._live()
        if self._encoding is not None:
            return await self._read_decoded(connection, self._encoding, until)
        while True:
            if data := connection.take():
                return data
            if connection.complete:
                return b""
            if connection.error is not None:
                raise connection.error
            await connection.changed(until)

    async def read_all(self, until: float, *, limit: int) -> bytes:
        """Return the whole body, decoded. Raises as ``read``, and ProtocolError when it is longer than `limit`."""
        connection = self._live()
        if self._encoding is None and connection.complete:
            data = connection.take()
            if len(data) > limit:
                raise self._too_large(connection, limit)
            return data
        if not connection.complete and int(self.headers.get(b"content-length", b"0")) > limit:
            raise self._too_large(connection, limit)
        chunks, size = [], 0
        while data := await self.read(until):
            chunks.append(data)
            size += len(data)
            if size > limit:
                raise self._too_large(connection, limit)
        return b"".join(chunks)

    def end(self) -> bool:
        """Be read no more. Return whether the connection is fit for another request."""
        connection, self._connection = self._connection, None
        return connection is not None and self._ended and connection.reusable

    def _live(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the exchange is over")
        return self._connection

    async def _read_decoded(self, connection: Connection, encoding: bytes, until: float) -> bytes:
        try:
            while True:
                if self._decoder is not None and (data := self._decoder.pull()):
                    return data
                if data := connection.take():
                    if self._decoder is None:
                        self._decoder = decoder(encoding, connection.limits)
                    self._decoder.push(data)
                elif connection.complete:
                    if self._decoder is not None:
                        self._decoder.finish()
                    self._ended = True
                    return b""
                elif connection.error is not None:
                    raise connection.error
                else:
                    await connection.changed(until)
        except TransportError as exc:
            connection.fail(exc)
            raise

    @staticmethod
    def _too_large(connection: Connection, limit: int) -> ProtocolError:
        error = ProtocolError(f"the response body is larger than {limit} bytes")
        connection.fail(error)
        return error


def _encoding(headers: dict[bytes, bytes]) -> bytes | None:
    """Return the Content-Encoding, None if the body is sent as it is."""
    value = headers.get(b"content-encoding")
    if value is None:
        return None
    value = value.strip().lower()
    return None if value in (b"", b"identity") else value
