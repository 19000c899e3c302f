"""One connection: uvicorn's httptools protocol, and what a gateway owes beyond it.

Added here: bounds on headers, bodies, pipelined requests and time; errors of the server itself in the JSON of all our
errors; the departure of a caller noticed at once; an end to callers who do not read.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections import deque

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from arbstr.edge.cycle import Cycle
from arbstr.edge.limits import (
    BODY_TOO_SLOW,
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    NO_TUNNELS,
    TOO_MANY_CONNECTIONS,
    Refusal,
    malformed,
    new_request_id,
)
from arbstr.edge.state import NEVER, EdgeState

ASGI = {"version": "3.0", "spec_version": "2.3"}

# What the parser is in the middle of.
BETWEEN, HEAD, BODY = range(3)

_SPECIAL = frozenset((b"host", b"transfer-encoding", b"expect"))


class Refused(Exception):
    """Raised inside a parser callback: the request is answered by this refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Enough(Exception):
    """Raised inside a parser callback: nothing that follows on this connection will be answered."""


class EdgeProtocol(HttpToolsProtocol):
    """One connection of a caller. uvicorn's ``cycle`` and ``pipeline`` are not used: ``active`` and ``queue`` are."""

    __slots__ = (  # beside the few attributes of uvicorn's, which keep their dict small
        "active",
        "deadline",
        "deaf",
        "edge",
        "expects_continue",
        "fed",
        "head_least",
        "head_most",
        "held_up",
        "hosts",
        "last_words",
        "limits",
        "lingering",
        "newest",
        "parsing",
        "queue",
        "silent",
        "silent_at",
        "stalled_since",
        "stalled_size",
        "transfer_encoding",
        "turned_away",
        "window_at",
    )

    headers: list[tuple[bytes, bytes]]

    def __init__(self, config: Config, edge: EdgeState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, edge, {}, loop)
        self.edge = edge
        self.limits = edge.limits
        # The connection.
        self.deadline = NEVER  # an instant of edge.now, for whatever we are waiting for
        self.deaf = False  # what the peer sends is thrown away
        self.lingering = False
        self.turned_away = False
        self.last_words = b""  # to be sent after the answers that are still owed
        self.stalled_size = 0
        self.stalled_since = 0.0
        # The requests.
        self.active: Cycle | None = None  # its response is being written
        self.newest: Cycle | None = None  # its body is being read
        self.queue: deque[Cycle] = deque()
        # The request that is being parsed.
        self.parsing = BETWEEN
        self.url = b""
        self.headers = []
        self.hosts = 0
        self.expects_continue = False
        self.transfer_encoding = b""  # each value in lower case, with a comma behind it
        self.fed = 0  # the size of the read that is being parsed
        self.head_most = 0  # bytes of earlier reads, which may have begun with the request before
        self.head_least = 0  # those of them that certainly belong to this head
        self.window_at = 0  # bytes of the body there were when its window opened
        self.held_up = False  # we did not read for some of this window
        self.silent = 0  # bytes since the body last grew …
        self.silent_at = 0  # … which was at this size

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        edge = self.edge
        transport.set_write_buffer_limits(high=self.limits.write_buffer)
        self.deadline = edge.now + self.limits.head_timeout
        if len(edge.connections) - edge.turned_away > self.limits.connections:
            self._turn_away()

    def _turn_away(self) -> None:
        edge = self.edge
        edge.turned_away += 1
        self.turned_away = True
        if edge.turned_away > self.limits.turned_away:
            self.transport.abort()
        else:
            self.refuse(TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        edge = self.edge
        self.deadline = NEVER
        self._leave()
        edge.stalled.discard(self)
        edge.paused.discard(self)
        edge.turned_away -= self.turned_away
        super().connection_lost(exc)
        if edge.draining:
            edge.check_idle()

    def eof_received(self) -> None:
        self.peer_left()

    def peer_left(self) -> None:
        """The peer has sent a FIN, or is gone. That is a departure: what is still owed to it is not sent."""
        if self.active is None:
            self.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        active, self.active = self.active, None
        self.queue.clear()
        if active is not None:
            active.leave()

    def close(self) -> None:
        """Close when everything is sent, or when the peer does not take it."""
        if not self.transport.is_closing():
            self.deadline = NEVER
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self._watch_writing()

    def _linger(self) -> None:
        """Close after an answer that the peer may not have seen, as it is still sending (:attr:`Limits.linger`)."""
        self._ignore_input()
        self.lingering = True
        self.transport.write_eof()
        self._resume_reading()
        self.deadline = self.edge.now + self.limits.linger

    def shutdown(self) -> None:
        """Close after the requests that have arrived are answered; one whose headers are arriving still counts."""
        if self.active is not None:
            (self.queue[-1] if self.queue else self.active).keep_alive = False
        elif self.parsing == BETWEEN and not self.lingering:
            self.close()

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = NEVER
        if self.lingering:
            self.transport.abort()
        elif self.parsing == BODY:
            self._judge_body()
        elif self.parsing == HEAD or self.newest is None:
            self.refuse(HEAD_TOO_SLOW)
        else:
            self.close()

    # Answers of the server itself

    def refuse(self, refusal: Refusal, cycle: Cycle | None = None) -> None:
        """Answer ``cycle``, or a request that did not become one, by ``refusal``; then close.

        The answers that are owed to earlier requests go first. Where the answer to ``cycle`` has begun, the connection
        is aborted instead.
        """
        self._ignore_input()
        if cycle is not None and cycle is self.active:
            begun = cycle.response_started and not cycle.head
            self._leave()
            if begun:
                self.transport.abort()
                return
        elif cycle is not None and cycle in self.queue:
            self.queue.remove(cycle)
        request_id = new_request_id()
        self.edge.on_refusal(refusal, request_id)
        words = refusal.render(request_id, extra=self.edge.date + b"\r\n")
        if self.active is not None:
            self.last_words = words
        else:
            self.transport.write(words)
            self._linger()

    def _ignore_input(self) -> None:
        self.deaf = True
        self.parsing = BETWEEN
        self.deadline = NEVER
        if self.active is not None:
            self._pause_reading()

    # Reading

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        while True:
            self.fed = len(data)
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            except httptools.HttpParserError as error:
                self._on_parser_error(error)
                return
            else:
                break
        if self.parsing != BETWEEN:
            self._await_more(self.fed)

    def _without_upgrade(self) -> bytes:
        """The head of this request, without the upgrade that we ignore: so the parser reads its body, too."""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(name + b": " + value)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _on_parser_error(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if isinstance(cause, Enough):
            self._ignore_input()
            return
        refusal = cause.refusal if isinstance(cause, Refused) else malformed(str(error))
        self.refuse(refusal, self.newest if self.parsing == BODY else None)

    def _await_more(self, size: int) -> None:
        """A read of ``size`` bytes has ended inside a request."""
        edge, limits = self.edge, self.limits
        if self.parsing == HEAD:
            if not self.head_most:
                self.head_least = self._known_head()
                if self.newest is not None:  # the first head of a connection is due from its opening
                    self.deadline = edge.now + limits.head_timeout
            else:
                self.head_least += size
            self.head_most += size
            if self.head_least > limits.head:
                self.refuse(HEAD_TOO_LARGE)
            return
        cycle = self.newest
        assert cycle is not None
        if self.deadline == NEVER:
            self._open_window(cycle)
        if cycle.got == self.silent_at:
            # Chunk extensions and trailers reach nobody, but the parser collects trailers.
            self.silent += size
            if self.silent > limits.head:
                self.refuse(HEAD_TOO_LARGE, cycle)
        else:
            self.silent_at = cycle.got
            self.silent = 0

    def _known_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _open_window(self, cycle: Cycle) -> None:
        self.deadline = self.edge.now + self.limits.body_window
        self.window_at = cycle.got
        self.held_up = cycle.expects_continue or self.flow.read_paused

    def _judge_body(self) -> None:
        cycle, limits = self.newest, self.limits
        assert cycle is not None
        if cycle.got - self.window_at < limits.body_rate * limits.body_window and not self.held_up:
            self.refuse(BODY_TOO_SLOW, cycle)
        else:
            self._open_window(cycle)

    def want_input(self, cycle: Cycle) -> None:
        """The application waits for more of ``cycle``'s body, or for its caller to leave."""
        if cycle is self.newest and not self.deaf:
            self._resume_reading()

    def _pause_reading(self) -> None:
        self.held_up = True
        self.flow.pause_reading()
        self.edge.paused.add(self)

    def _resume_reading(self) -> None:
        if self.flow.read_paused:
            self.flow.resume_reading()
            self.edge.paused.discard(self)

    # Parser callbacks

    def on_message_begin(self) -> None:
        self.parsing = HEAD
        self.url = b""
        self.headers = []
        self.hosts = 0
        self.expects_continue = False
        self.transfer_encoding = b""
        self.head_most = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _SPECIAL:
            if name == b"host":
                self.hosts += 1
            elif name == b"expect":
                self.expects_continue = value.lower() == b"100-continue"
            else:
                self.transfer_encoding += value.lower() + b","
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade():
            if method == "CONNECT":
                raise Refused(NO_TUNNELS)
            return  # and data_received parses it again
        version = parser.get_http_version()
        self._check_head(version)
        active, newest, edge = self.active, self.newest, self.edge
        if active is not None and newest is not None:
            if len(self.queue) >= self.limits.pipeline:
                newest.keep_alive = False
            if not newest.keep_alive:
                raise Enough
        raw_path, query = _split_target(self.url)
        path = raw_path.decode("ascii")
        headers, self.headers = self.headers, []  # trailers are added to the new list, and forgotten
        cycle = Cycle(
            self,
            {
                "type": "http",
                "asgi": ASGI,
                "http_version": version,
                "server": self.server,
                "client": self.client,
                "scheme": self.scheme,
                "root_path": "",
                "method": method,
                "path": urllib.parse.unquote(path) if "%" in path else path,
                "raw_path": raw_path,
                "query_string": query,
                "headers": headers,
            },
            keep_alive=version == "1.1" and parser.should_keep_alive() and not edge.draining,
            expects_continue=self.expects_continue and version == "1.1",
        )
        self.newest = cycle
        self.parsing = BODY
        self.deadline = NEVER
        if active is None:
            self._start(cycle)
        else:
            self.queue.append(cycle)
            self._pause_reading()

    def _check_head(self, version: str) -> None:
        """What llhttp lets pass and a gateway should not: each is a way to disagree on where a request ends."""
        limits = self.limits
        if version != "1.1":
            if version != "1.0":
                raise Refused(malformed("Only HTTP/1.0 and HTTP/1.1 are spoken here"))
            if self.transfer_encoding:
                raise Refused(malformed("HTTP/1.0 has no Transfer-Encoding"))
        elif self.hosts != 1:
            raise Refused(malformed("HTTP/1.1 needs one Host header"))
        if self.transfer_encoding not in (b"", b"chunked,"):
            raise Refused(malformed("The only known Transfer-Encoding is chunked"))
        if len(self.headers) > limits.header_lines:
            raise Refused(HEAD_TOO_LARGE)
        if self.head_most + self.fed > limits.head and self._known_head() > limits.head:
            raise Refused(HEAD_TOO_LARGE)

    def on_body(self, body: bytes) -> None:
        newest = self.newest
        assert newest is not None
        if newest.feed(body) > self.limits.read_buffer:
            self._pause_reading()

    def on_message_complete(self) -> None:
        if self.parsing == BODY:  # not in a request that asks for an upgrade
            self.parsing = BETWEEN
            self.deadline = NEVER
            assert self.newest is not None
            self.newest.feed_eof()

    # Responses

    def _start(self, cycle: Cycle) -> None:
        self.active = cycle
        cycle.task = task = self.loop.create_task(cycle.run(self.app))
        self.tasks.add(task)

    def finished(self, cycle: Cycle) -> None:
        """The response of ``cycle``, the active one, is complete."""
        edge = self.edge
        edge.total_requests += 1
        self.active = None
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self.queue.clear()
            if self.deaf or not cycle.body_complete:
                self._linger()
            else:
                self.close()
        elif self.queue:
            self._start(self.queue.popleft())
        elif self.last_words:
            self.transport.write(self.last_words)
            self._linger()
        else:
            self._resume_reading()
            if self.parsing == BETWEEN:
                self.deadline = edge.now + self.limits.keep_alive

    # Writing

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self.edge.stalled.discard(self)

    def _watch_writing(self) -> None:
        self.stalled_since = self.edge.now
        self.stalled_size = self.transport.get_write_buffer_size()
        self.edge.stalled.add(self)

    def check_writing(self) -> None:
        """Cut off a peer that took nothing of what waits for it in :attr:`Limits.write_timeout`."""
        size = self.transport.get_write_buffer_size()
        if size < self.stalled_size:
            self._watch_writing()
        elif self.edge.now - self.stalled_since >= self.limits.write_timeout:
            self.abort()


def _split_target(url: bytes) -> tuple[bytes, bytes]:
    """The path and the query of a request target, in any of its forms (RFC 9112, 3.2)."""
    if url[:1] == b"/" and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    if url == b"*":
        return url, b""
    parsed = httptools.parse_url(url)
    return parsed.path or b"/", parsed.query or b""
