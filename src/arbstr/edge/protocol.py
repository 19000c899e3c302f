"""What arrives on a connection: requests, in whatever pieces, within the limits; and the rest, which is refused."""

from __future__ import annotations

import asyncio
import urllib.parse

import httptools
from uvicorn.config import Config

from arbstr.edge.connection import BETWEEN, BODY, HEAD, Connection
from arbstr.edge.cycle import Cycle
from arbstr.edge.limits import BODY_TOO_SLOW, HEAD_TOO_LARGE, NO_TUNNELS, Refusal, malformed
from arbstr.edge.state import NEVER, EdgeState

ASGI = {"version": "3.0", "spec_version": "2.3"}

_SPECIAL = frozenset((b"host", b"transfer-encoding", b"expect"))


class Refused(Exception):
    """Raised inside a parser callback: the request is answered by this refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Enough(Exception):
    """Raised inside a parser callback: nothing that follows on this connection will be answered."""


class EdgeProtocol(Connection):
    """The reading side of a connection. llhttp parses, strictly; what is added are bounds, and checks that it lacks."""

    __slots__ = (
        "expects_continue",
        "fed",
        "head_least",
        "head_most",
        "hosts",
        "silent",
        "silent_at",
        "transfer_encoding",
        "window_at",
    )

    headers: list[tuple[bytes, bytes]]

    def __init__(self, config: Config, edge: EdgeState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, edge, loop)
        # The request that is being parsed.
        self.url = b""
        self.headers = []
        self.hosts = 0
        self.expects_continue = False
        self.transfer_encoding = b""  # each value in lower case, with a comma behind it
        self.fed = 0  # the size of the read that is being parsed
        self.head_most = 0  # bytes of earlier reads, which may have begun with the request before
        self.head_least = 0  # those of them that certainly belong to this head
        self.window_at = 0  # bytes of the body there were when its window opened
        self.silent = 0  # bytes since the body last grew …
        self.silent_at = 0  # … which was at this size

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
            self.ignore_input()
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
            self.silent_at = -1
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

    def judge_body(self) -> None:
        """A window of the body is over."""
        cycle, limits = self.newest, self.limits
        assert cycle is not None
        if cycle.got - self.window_at < limits.body_rate * limits.body_window and not self.held_up:
            self.refuse(BODY_TOO_SLOW, cycle)
        else:
            self._open_window(cycle)

    def want_input(self, cycle: Cycle) -> None:
        """The application waits for more of ``cycle``'s body, or for its caller to leave."""
        if cycle is self.newest and not self.deaf:
            self.resume_reading()

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
        raw_path, query = split_target(self.url)
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
            self.stop_reading()

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
            self.stop_reading()

    def on_message_complete(self) -> None:
        if self.parsing == BODY:  # not in a request that asks for an upgrade
            self.parsing = BETWEEN
            self.deadline = NEVER
            assert self.newest is not None
            self.newest.feed_eof()


def split_target(url: bytes) -> tuple[bytes, bytes]:
    """The path and the query of a request target, in any of its forms (RFC 9112, 3.2)."""
    if url[:1] == b"/" and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    if url == b"*":
        return url, b""
    parsed = httptools.parse_url(url)
    return parsed.path or b"/", parsed.query or b""
