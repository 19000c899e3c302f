"""One connection, spoken to in bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from arbstr.edge.connection import BODY, HEAD, Connection
from arbstr.edge.limits import Limits, Refusal
from tests.edge.raw import (
    CHUNKED_POST,
    GET,
    Caller,
    Echo,
    Waiter,
    answer,
    calling,
    only_connection,
    pass_time,
    post,
    read_body,
    serving,
    until,
)

Receive = Callable[..., Any]
Send = Callable[..., Any]
Scope = dict[str, Any]


class TestRequests:
    async def test_connection_is_kept(self) -> None:
        """Requests follow one another on one connection."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(post(b"one"))
            first = await caller.response()
            caller.send(post(b"two"))
            second = await caller.response()

        assert (first.status, first.body) == (200, b"one")
        assert second.body == b"two"
        assert "connection" not in second.headers
        assert "GMT" in second.headers["date"]

    async def test_scope(self) -> None:
        """The application sees the target in its parts, and header names in lower case."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(b"GET /a%20b/c?d=%20e&f HTTP/1.1\r\nHost: test\r\nX-Mixed: Case\r\n\r\n")
            await caller.response()

            scope = app.scopes[0]
            assert scope["type"] == "http"
            assert scope["method"] == "GET"
            assert scope["path"] == "/a b/c"
            assert scope["raw_path"] == b"/a%20b/c"
            assert scope["query_string"] == b"d=%20e&f"
            assert scope["http_version"] == "1.1"
            assert (b"x-mixed", b"Case") in scope["headers"]
            assert scope["server"] == server.address
            assert scope["client"] == caller.writer.get_extra_info("sockname")

    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            (b"http://elsewhere/v1/models?x=1", "/v1/models", b"x=1"),
            (b"http://elsewhere", "/", b""),
            (b"/a?b#c", "/a", b"b"),
            (b"*", "*", b""),
            (b"//evil/x", "//evil/x", b""),
        ],
    )
    async def test_forms_of_the_target(self, target: bytes, path: str, query: bytes) -> None:
        """The path never holds a host, a query or a fragment, and is not rewritten."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: test\r\n\r\n")
            await caller.response()

        assert (app.scopes[0]["path"], app.scopes[0]["query_string"]) == (path, query)

    async def test_byte_by_byte(self) -> None:
        """It does not matter how the bytes are cut."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            connection = None
            for byte in CHUNKED_POST + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n":
                connection = connection or await only_connection(server)
                connection.data_received(bytes([byte]))
            response = await caller.response()

        assert response.body == b"abcde"

    async def test_trailers_are_dropped(self) -> None:
        """Fields after a chunked body are not taken for headers, in this request or the next."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(CHUNKED_POST + b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: other\r\n\r\n" + GET)
            first = await caller.response()
            second = await caller.response()

        assert (first.body, second.body) == (b"abc", b"")
        assert [name for name, _ in app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]
        assert app.scopes[1]["headers"] == [(b"host", b"test")]

    async def test_large_body(self) -> None:
        """A body of some megabytes arrives whole, and the reading waits for the application."""
        held = asyncio.Event()
        body = bytes(range(256)) * 16384

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await held.wait()
            await answer(send, await read_body(receive))

        async with serving(app) as server, calling(server, read_limit=1 << 23) as caller:
            caller.send(post(body))
            connection = await only_connection(server)
            await until(lambda: connection.flow.read_paused)
            assert connection.newest is not None
            waiting = connection.newest.got
            held.set()
            response = await caller.response()

        assert waiting < 2 * 1024 * 1024
        assert response.body == body

    @pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
    async def test_upgrade_is_ignored(self, upgrade: bytes) -> None:
        """A request that offers an upgrade is served as it is, with its body, and so is the next one."""
        app = Echo()
        offer = (b"Connection: keep-alive, Upgrade", b"Upgrade: " + upgrade)
        async with serving(app) as server, calling(server) as caller:
            caller.send(post(b"abc", *offer, path=b"/x?y") + post(b"def", *offer) + GET)
            first = await caller.response()
            second = await caller.response()
            third = await caller.response()

        assert (first.status, first.body) == (200, b"abc")
        assert (second.body, third.body) == (b"def", b"")
        assert app.scopes[0]["path"] == "/x"
        assert (b"connection", b"keep-alive") in app.scopes[0]["headers"]
        assert all(name != b"upgrade" for name, _ in app.scopes[0]["headers"])

    @pytest.mark.parametrize(
        ("version", "connection"), [(b"1.0", b"upgrade"), (b"1.0", b"keep-alive, upgrade"), (b"1.1", b"Upgrade, Close")]
    )
    async def test_last_request_with_upgrade(self, version: bytes, connection: bytes) -> None:
        """An upgrade makes no newer caller of an old one, and keeps no connection that should end."""
        app = Echo()
        lines = [b"POST / HTTP/" + version, b"Host: test", b"Connection: " + connection, b"Upgrade: h2c"]
        async with serving(app) as server, calling(server) as caller:
            caller.send(b"\r\n".join(lines) + b"\r\nContent-Length: 3\r\n\r\nabc")
            response = await caller.response()
            rest = await caller.rest()

        assert response.body == b"abc"
        assert response.headers["connection"] == "close"
        assert rest == b""
        assert app.scopes[0]["http_version"] == version.decode()

    async def test_connect_is_refused(self) -> None:
        """This is no tunnel."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n\x16\x03\x01")
            response = await caller.response()

        assert response.status == 405
        assert response.error()["code"] == "method_not_allowed"
        assert app.scopes == []


class TestExpectation:
    async def test_continue_is_sent_when_the_body_is_wanted(self) -> None:
        """100 Continue is sent when the application first asks for the body, not before."""
        wanted = asyncio.Event()
        begun = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            begun.set()
            await wanted.wait()
            await answer(send, await read_body(receive))

        async with serving(app) as server, calling(server) as caller:
            caller.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            await begun.wait()
            connection = await only_connection(server)
            still_expected = connection.active is not None and connection.active.expects_continue
            wanted.set()
            interim = await caller.response()
            caller.send(b"abc")
            response = await caller.response()

        assert still_expected
        assert interim.status == 100
        assert (response.status, response.body) == (200, b"abc")

    async def test_refused_before_the_body(self) -> None:
        """An application that refuses by the headers alone answers at once, and the connection is closed."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, b"no", 413)

        async with serving(app) as server, calling(server) as caller:
            caller.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            response = await caller.response()
            rest = await caller.rest()

        assert response.status == 413
        assert response.headers["connection"] == "close"
        assert rest == b""

    async def test_not_for_http_1_0(self) -> None:
        """A caller that speaks HTTP/1.0 knows no interim answers."""
        async with serving(Echo()) as server, calling(server) as caller:
            caller.send(b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            connection = await only_connection(server)
            await until(lambda: connection.active)
            caller.send(b"abc")
            response = await caller.response()

        assert (response.status, response.body) == (200, b"abc")


HOST = b"Host: test\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"
INVALID = {
    "no HTTP": b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03 hello",
    "words": b"hello, is anybody there?\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 by name": b"GET / HTTP/0.9\r\n" + HOST + b"\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": b"FETCH / HTTP/1.1\r\n" + HOST + b"\r\n",
    "method in lower case": b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    "target without slash": b"GET x HTTP/1.1\r\n" + HOST + b"\r\n",
    "target beyond ASCII": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in target": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "bare LF after request line": b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    "bare LF after header": b"GET / HTTP/1.1\r\nHost: test\nX: y\r\n\r\n",
    "bare LF after headers": b"GET / HTTP/1.1\r\nHost: test\r\n\n",
    "bare CR in value": b"GET / HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n",
    "NUL in value": b"GET / HTTP/1.1\r\nHost: test\r\nX: a\0b\r\n\r\n",
    "NUL in name": b"GET / HTTP/1.1\r\nHost: test\r\nX\0: a\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nHost: test\r\n: a\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: test\r\nX\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: test\r\nX: a\r\n b\r\n\r\n",
    "space before first header": b"GET / HTTP/1.1\r\n X: a\r\nHost: test\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "CL.TE": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two CLs": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "two equal CLs": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list of CLs": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3, 3\r\n\r\nabc",
    "signed CL": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +3\r\n\r\nabc",
    "negative CL": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\nabc",
    "hexadecimal CL": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0x3\r\n\r\nabc",
    "endless CL": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    "space before colon": b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length : 3\r\n\r\nabc",
    "space before colon of TE": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "xchunked": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE.TE": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "quoted TE": b'POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "folded TE": b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "TE in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size with sign": CHUNKED + b"\r\n+3\r\nabc\r\n0\r\n\r\n",
    "chunk size with prefix": CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size with space": CHUNKED + b"\r\n3 \r\nabc\r\n0\r\n\r\n",
    "chunk size overflow": CHUNKED + b"\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "chunk size missing": CHUNKED + b"\r\n\r\nabc\r\n0\r\n\r\n",
    "chunk size ended by LF": CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n",
    "chunk extension ended by LF": CHUNKED + b"\r\n3;a=b\nabc\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"\r\n3\r\nabcde\r\n0\r\n\r\n",
    "chunk ended by LF": CHUNKED + b"\r\n3\r\nabc\n0\r\n\r\n",
    "CL in trailer": CHUNKED + b"\r\n3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
}


class TestInvalidRequests:
    @pytest.mark.parametrize("name", INVALID)
    async def test_refused(self, name: str) -> None:
        """What is not HTTP, or could be read in two ways, gets a 400 and a close, and the next caller is served."""
        app = Echo()
        async with serving(app) as server:
            async with calling(server) as caller:
                caller.send(INVALID[name] + post(b"smuggled", path=b"/admin"))
                response = await caller.response()
                rest = await caller.rest()
            async with calling(server) as caller:
                caller.send(post(b"honest", path=b"/v1"))
                honest = await caller.response()

        assert response.status == 400
        assert response.error()["code"] == "invalid_request"
        assert response.error()["type"] == "invalid_request_error"
        assert response.headers["connection"] == "close"
        assert rest == b""
        assert honest.body == b"honest"
        assert app.bodies == [b"honest"]
        assert app.scopes[-1]["path"] == "/v1"

    async def test_broken_body_is_a_departure(self) -> None:
        """An application that reads a body which then turns out broken is told that there is nobody to answer."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(CHUNKED_POST + b"3\r\nabc\r\n")
            connection = await only_connection(server)
            await until(lambda: connection.newest and connection.newest.got == 3)
            caller.send(b"oops\r\n")
            response = await caller.response()

        assert response.status == 400
        assert app.events == ["left"]

    async def test_broken_body_of_an_answered_request(self) -> None:
        """Where the answer has begun there is nothing to say any more: the connection ends."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"early", "more_body": True})
            await read_body(receive)

        async with serving(app) as server, calling(server) as caller:
            caller.send(CHUNKED_POST + b"3\r\nabc\r\n")
            await caller.reader.readuntil(b"early")
            caller.send(b"oops\r\n")
            rest = await caller.rest()

        assert rest == b"\r\n"

    async def test_hook(self) -> None:
        """Refusals are reported with the request id that the caller was given."""
        seen: list[tuple[Refusal, str]] = []
        async with serving(Echo(), on_refusal=lambda *args: seen.append(args)) as server, calling(server) as caller:
            caller.send(b"nonsense\r\n\r\n")
            response = await caller.response()

        ((refusal, request_id),) = seen
        assert (refusal.status, refusal.code) == (400, "invalid_request")
        assert request_id == response.headers["x-request-id"]


class TestSizeOfHeaders:
    async def test_endless_headers(self) -> None:
        """Of five megabytes of headers little more than the limit is read before the answer."""
        async with serving(Echo()) as server, calling(server) as caller:
            connection = await only_connection(server)
            connection.data_received(b"GET / HTTP/1.1\r\nHost: test\r\nX: ")
            fed = 0
            while not connection.deaf:
                connection.data_received(b"a" * 1024)
                fed += 1024
            caller.send(b"a" * 5_000_000)
            response = await caller.response()

        assert 64 * 1024 - 1024 <= fed <= 64 * 1024 + 1024
        assert response.status == 431
        assert response.error()["code"] == "headers_too_large"
        assert response.headers["connection"] == "close"

    async def test_the_limit(self) -> None:
        """Up to 64 KiB of request line and headers are served, in one piece or several, and not more."""
        app = Echo()
        start = b"GET / HTTP/1.1\r\nHost: test\r\nX: "
        async with serving(app) as server:
            for size, cuts in [(65_000, 1), (65_000, 3), (66_000, 1), (66_000, 3), (200_000, 1)]:
                head = start + b"a" * (size - len(start)) + b"\r\n\r\n"
                async with calling(server) as caller:
                    caller.send(head[:10])
                    connection = await only_connection(server)
                    await until_parsing_head(connection)
                    step = len(head) // cuts + 1
                    for at in range(10, len(head), step):
                        connection.data_received(head[at : at + step])
                    response = await caller.response()
                await until(lambda: not server.state.connections)
                assert response.status == (200 if size == 65_000 else 431), (size, cuts)

        assert len(app.scopes) == 2

    @pytest.mark.parametrize(
        "request_",
        [
            b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: y\r\n" * 256 + b"\r\n",
            b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
            b"GET /?" + b"a" * 300_000,
        ],
        ids=["257 lines", "long target", "endless target"],
    )
    async def test_too_large(self, request_: bytes) -> None:
        """Many lines and long targets count, too."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(request_)
            response = await caller.response()

        assert response.status == 431
        assert app.scopes == []

    async def test_as_many_lines_as_allowed(self) -> None:
        """256 header lines are served."""
        async with serving(Echo()) as server, calling(server) as caller:
            caller.send(b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: y\r\n" * 255 + b"\r\n")
            response = await caller.response()

        assert response.status == 200

    async def test_body_before_the_head_does_not_count(self) -> None:
        """A head that begins in the same read in which a large body ends is not charged for that body."""
        app = Echo()
        async with serving(app) as server, calling(server, read_limit=1 << 20) as caller:
            connection = await only_connection(server)
            connection.data_received(post(b"a" * 200_000) + GET[:20])
            connection.data_received(GET[20:])
            first = await caller.response()
            second = await caller.response()

        assert (first.status, second.status) == (200, 200)

    async def test_trailers_of_many_requests(self) -> None:
        """What one request sends beside its body is not held against the next."""
        app = Echo()
        body = b"0\r\nX: " + b"a" * 40_000
        async with serving(app) as server, calling(server) as caller:
            connection = await only_connection(server)
            for _ in range(4):
                connection.data_received(CHUNKED_POST)
                connection.data_received(body)
                connection.data_received(b"\r\n\r\n")
                response = await caller.response()
                assert response.status == 200

    @pytest.mark.parametrize("flood", [b"0\r\nX: ", b"3;x="], ids=["trailer", "chunk extension"])
    async def test_what_belongs_to_no_body(self, flood: bytes) -> None:
        """Trailers and chunk extensions, which nobody reads, end as headers do."""
        async with serving(Echo()) as server, calling(server) as caller:
            caller.send(CHUNKED_POST + b"3\r\nabc\r\n" + flood + b"a" * 2_000_000)
            response = await caller.response()

        assert response.status == 431


async def until_parsing_head(connection: Connection) -> None:
    await until(lambda: connection.parsing == HEAD)


class TestTime:
    async def test_no_headers_in_time(self) -> None:
        """A request whose headers do not come to an end gets a 408."""
        async with serving(Echo()) as server, calling(server) as caller:
            caller.send(GET[:20])
            connection = await only_connection(server)
            await until(lambda: connection.parsing == HEAD)
            pass_time(server, 10)
            response = await caller.response()
            rest = await caller.rest()

        assert response.status == 408
        assert response.error()["code"] == "request_timeout"
        assert response.headers["connection"] == "close"
        assert rest == b""

    async def test_the_deadline_is_for_all_headers(self) -> None:
        """Sending a little now and then buys no time, on a fresh connection or a used one."""
        async with serving(Echo()) as server, calling(server) as caller:
            connection = await only_connection(server)
            caller.send(GET)
            await caller.response()
            for byte in GET[:5]:
                connection.data_received(bytes([byte]))
                pass_time(server, 2.1)
            response = await caller.response()

        assert response.status == 408

    async def test_silence_from_the_beginning(self) -> None:
        """A connection that never sends anything is told so, and closed."""
        async with serving(Echo()) as server, calling(server) as caller:
            await only_connection(server)
            pass_time(server, 9.9)
            assert server.connections == 1
            pass_time(server, 0.2)
            response = await caller.response()

        assert response.status == 408

    async def test_idle_connection(self) -> None:
        """A connection between two requests is closed in silence, after the keep-alive time."""
        async with serving(Echo(), Limits(keep_alive=30)) as server, calling(server) as caller:
            caller.send(GET)
            await caller.response()
            connection = await only_connection(server)
            pass_time(server, 29)
            assert not connection.transport.is_closing()
            pass_time(server, 2)
            rest = await caller.rest()

        assert rest == b""

    async def test_slow_body(self) -> None:
        """A body that brings less than a kilobyte a second gets a 408, and the application hears of it."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n")
            connection = await only_connection(server)
            await until(lambda: connection.parsing == BODY)
            connection.data_received(b"a" * 10_240)
            pass_time(server, 10)
            assert not connection.deaf
            connection.data_received(b"a" * 10_239)
            pass_time(server, 10)
            response = await caller.response()

        assert response.status == 408
        assert response.error()["code"] == "request_timeout"
        assert app.events == ["left"]

    async def test_body_that_waits_for_us(self) -> None:
        """Time in which we did not read, or had not asked for the body, is not the caller's."""
        wanted = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await wanted.wait()
            await answer(send, b"%d" % len(await read_body(receive)))

        async with serving(app) as server:
            async with calling(server) as caller:
                caller.send(post(b"a" * 1_000_000))
                connection = await only_connection(server)
                await until(lambda: connection.flow.read_paused)
                pass_time(server, 11)
                pass_time(server, 11)
                wanted.set()
                paused = await caller.response()
            await until(lambda: not server.state.connections)
            wanted.clear()
            async with calling(server) as caller:
                caller.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
                connection = await only_connection(server)
                await until(lambda: connection.parsing == BODY)
                pass_time(server, 11)
                wanted.set()
                await caller.response()
                caller.send(b"abc")
                expected = await caller.response()

        assert (paused.status, paused.body) == (200, b"1000000")
        assert (expected.status, expected.body) == (200, b"3")

    async def test_running_request_has_no_deadline(self) -> None:
        """How long an answer may take is not decided here."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            await until(lambda: app.events == ["begun"])
            pass_time(server, 100_000)
            app.may_answer.set()
            response = await caller.response()

        assert response.body == b"done"

    async def test_slow_head_behind_a_running_request(self) -> None:
        """The 408 for a second request waits for the answer to the first."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET + GET[:10])
            await until(lambda: app.events == ["begun"])
            pass_time(server, 11)
            app.may_answer.set()
            first = await caller.response()
            second = await caller.response()

        assert (first.status, second.status) == (200, 408)


class TestPipelining:
    async def test_order(self) -> None:
        """Requests sent at once are answered one after the other, in their order."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(b"".join(post(b"%d" % i) for i in range(9)))
            bodies = [(await caller.response()).body for _ in range(9)]

        assert bodies == [b"%d" % i for i in range(9)]

    async def test_too_many(self) -> None:
        """Behind one request and eight that wait nothing is accepted: the connection ends after the last answer."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(b"".join(post(b"%d" % i) for i in range(500)))
            responses = [await caller.response() for _ in range(9)]
            rest = await caller.rest()

        assert [response.body for response in responses] == [b"%d" % i for i in range(9)]
        assert responses[-1].headers["connection"] == "close"
        assert rest == b""
        assert len(app.bodies) == 9

    async def test_nothing_follows_a_close(self) -> None:
        """What follows a request that asked for the end is not looked at."""
        app = Echo()
        async with serving(app) as server, calling(server) as caller:
            caller.send(post(b"last", b"Connection: close") + post(b"more") + b"nonsense")
            response = await caller.response()
            rest = await caller.rest()

        assert response.body == b"last"
        assert response.headers["connection"] == "close"
        assert rest == b""
        assert app.bodies == [b"last"]

    async def test_nonsense_behind_a_request(self) -> None:
        """The refusal of a second request waits for the answer to the first."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET + b"nonsense\r\n\r\n")
            await until(lambda: app.events == ["begun"])
            app.may_answer.set()
            first = await caller.response()
            second = await caller.response()
            rest = await caller.rest()

        assert (first.status, second.status, rest) == (200, 400, b"")

    async def test_broken_body_behind_a_request(self) -> None:
        """A second request whose body is broken never reaches the application."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET + CHUNKED_POST + b"oops\r\n")
            await until(lambda: app.events == ["begun"])
            app.may_answer.set()
            first = await caller.response()
            second = await caller.response()

        assert (first.status, second.status) == (200, 400)
        assert app.events == ["begun"]


UNREAD = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 80_000


class TestDeparture:
    async def test_fin(self) -> None:
        """A FIN is a departure: the callback is called, once, and nothing is answered."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            await until(lambda: app.events == ["begun"])
            caller.half_close()
            await until(lambda: len(app.events) > 1)
            app.may_answer.set()
            rest = await caller.rest()
            await until(lambda: not server.state.tasks)

        assert app.events == ["begun", "left"]
        assert rest == b""

    async def test_reset(self) -> None:
        """So is a lost connection."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            await until(lambda: app.events == ["begun"])
            caller.reset()
            await until(lambda: len(app.events) > 1)

        assert app.events == ["begun", "left"]

    async def test_receive_tells_as_well(self) -> None:
        """An application that waits in receive is told there."""
        app = Waiter(watch=True)
        async with serving(app) as server, calling(server) as caller:
            caller.send(post(b"abc"))
            await until(lambda: app.events == ["begun"])
            caller.half_close()
            await until(lambda: len(app.events) > 2)

        assert app.events == ["begun", "left", "disconnect"]

    async def test_fin_with_the_request(self) -> None:
        """A caller that is gone before the application starts is gone when it registers."""
        app = Waiter(read=False)
        async with serving(app) as server, calling(server):
            connection = await only_connection(server)
            connection.data_received(GET)
            connection.eof_received()
            await until(lambda: len(app.events) > 1)

        assert app.events == ["left", "begun"]

    @pytest.mark.parametrize("request_", [GET * 3, UNREAD], ids=["pipelined", "unread body"])
    @pytest.mark.parametrize("way", ["half_close", "reset", "close"])
    async def test_behind_unread_input(self, request_: bytes, way: str) -> None:
        """A departure is noticed by the next sweep although we are not reading, and more input waits before it."""
        app = Waiter(read=False)
        async with serving(app) as server, calling(server) as caller:
            caller.send(request_)
            connection = await only_connection(server)
            await until(lambda: app.events == ["begun"] and connection.flow.read_paused)
            caller.send(b"more")
            {"half_close": caller.half_close, "reset": caller.reset, "close": caller.writer.close}[way]()
            await until(lambda: len(app.events) > 1)

        assert app.events == ["begun", "left"]

    async def test_with_unsent_bytes(self) -> None:
        """Unsent bytes do not keep a departed caller's connection: it is dropped, and a waiting send wakes."""
        events: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"]["arbstr.departure"](lambda: events.append("left"))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while "left" not in events:
                await send({"type": "http.response.body", "body": b"a" * 65536, "more_body": True})
            await send({"type": "http.response.body", "body": b"into the void"})
            events.append("done")

        async with serving(app) as server, calling(server, read_limit=1) as caller:
            caller.send(GET)
            connection = await only_connection(server)
            await until(lambda: connection.flow.write_paused)
            assert events == []
            caller.half_close()
            await until(lambda: events == ["left", "done"])
            await until(lambda: not server.state.connections)

    async def test_not_after_the_answer(self) -> None:
        """Who leaves after the whole answer does not leave."""
        app = Waiter()
        app.may_answer.set()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            await caller.response()
            caller.half_close()
            await caller.rest()
            await until(lambda: not server.state.connections)

        assert app.events == ["begun"]

    async def test_pipelined_requests_are_forgotten(self) -> None:
        """What waits behind the running request is not begun for a caller that left."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET * 3)
            await until(lambda: app.events == ["begun"])
            caller.reset()
            await until(lambda: not server.state.connections)
            app.may_answer.set()
            await until(lambda: not server.state.tasks)

        assert app.events == ["begun", "left"]

    async def test_callback_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """A callback that raises is logged and harms nobody else."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"]["arbstr.departure"](lambda: 1 / 0)
            await receive()
            await receive()

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            await until(lambda: server.state.tasks)
            caller.reset()
            await until(lambda: not server.state.connections and not server.state.tasks)

        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]

    async def test_many_at_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """Three hundred callers that leave in the same moment leave no line in the log and no task behind."""
        left: list[int] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            gone = asyncio.Event()

            def leave() -> None:
                left.append(1)
                gone.set()

            scope["extensions"]["arbstr.departure"](leave)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while not gone.is_set():
                await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
                await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": b""})

        async with serving(app) as server:
            callers = [await open_caller(server.address) for _ in range(300)]
            for caller in callers:
                caller.send(GET)
            await until(lambda: len(server.state.tasks) == 300)
            for caller in callers:
                caller.reset()
            await until(lambda: not server.state.connections and not server.state.tasks)

        assert len(left) == 300
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def open_caller(address: tuple[str, int]) -> Caller:
    return Caller(*await asyncio.open_connection(*address))


class TestResponses:
    async def test_without_length(self) -> None:
        """A body without a length is chunked, and each piece goes out as it comes."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"X-A", b"b")]})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            await send({"type": "http.response.body", "body": b"d" * 20_000, "more_body": True})
            await send({"type": "http.response.body", "body": b"e" * 20_000, "more_body": False})

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET * 2)
            first = await caller.response()
            second = await caller.response()

        assert first.headers["transfer-encoding"] == "chunked"
        assert first.headers["x-a"] == "b"
        assert first.body == b"abc" + b"d" * 20_000 + b"e" * 20_000
        assert second.body == first.body

    async def test_framing_is_the_servers(self) -> None:
        """The application may end the connection, but how a body is framed is decided here."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"Connection", b"Close"), (b"Transfer-Encoding", b"gzip")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"abc"})

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            response = await caller.response()
            rest = await caller.rest()

        assert response.headers["transfer-encoding"] == "chunked"
        assert response.headers["connection"] == "Close"
        assert (response.body, rest) == (b"abc", b"")

    async def test_close_after_a_stream(self) -> None:
        """A stream that ends in an error is ended properly, and the connection with it."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
            scope["extensions"]["arbstr.close"]()
            await send({"type": "http.response.body", "body": b"def"})

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            response = await caller.response()
            rest = await caller.rest()

        assert (response.body, rest) == (b"abcdef", b"")

    async def test_http_1_0(self) -> None:
        """A caller of HTTP/1.0 gets no chunks, and the end of the connection is the end of the body."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
            await send({"type": "http.response.body", "body": b"def"})

        async with serving(app) as server, calling(server) as caller:
            caller.send(b"GET / HTTP/1.0\r\n\r\n")
            response = await caller.response()

        assert "transfer-encoding" not in response.headers
        assert response.headers["connection"] == "close"
        assert response.body == b"abcdef"

    @pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
    async def test_without_a_body(self, method: bytes, status: int) -> None:
        """Answers that may have no body have none, whatever the application sends, and the connection goes on."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"surplus"})

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET.replace(b"GET", method) * 2)
            first = await caller.response(to_head=True)
            second = await caller.response(to_head=True)

        assert first.status == second.status == status
        assert "transfer-encoding" not in first.headers

    async def test_large_answer(self) -> None:
        """A large answer with a length arrives whole."""
        body = bytes(range(256)) * 8192
        async with serving(Echo()) as server, calling(server, read_limit=1 << 22) as caller:
            caller.send(post(body) + GET)
            first = await caller.response()
            second = await caller.response()

        assert first.body == body
        assert second.status == 200

    async def test_answer_before_the_end_of_the_request(self) -> None:
        """A caller that is refused while it sends can still read why, and then the connection ends."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, b"too large", 413)

        async with serving(app) as server, calling(server) as caller:
            caller.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 30000000\r\n\r\n")
            response = await caller.response()
            caller.send(b"a" * 8_000_000)
            await caller.writer.drain()
            rest = await caller.rest()

        assert (response.status, response.body) == (413, b"too large")
        assert response.headers["connection"] == "close"
        assert rest == b""

    async def test_lingering_ends(self) -> None:
        """A caller that goes on sending after its refusal is cut off."""
        async with serving(Echo()) as server, calling(server) as caller:
            caller.send(b"nonsense\r\n\r\n")
            await caller.response()
            connection = await only_connection(server)
            assert connection.lingering
            pass_time(server, 6)
            await until(lambda: not server.state.connections)

    async def test_failure_before_the_answer(self, caplog: pytest.LogCaptureFixture) -> None:
        """An application that fails gets logged, and its caller a 500 without details."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ValueError("a secret")

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            response = await caller.response()
            rest = await caller.rest()

        assert response.status == 500
        assert response.error()["code"] == "internal_error"
        assert b"secret" not in response.body
        assert rest == b""
        assert "a secret" in caplog.text

    async def test_failure_inside_the_answer(self, caplog: pytest.LogCaptureFixture) -> None:
        """A body that cannot be finished is not ended as if it were whole."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            rest = await caller.rest()

        assert rest.endswith(b"3\r\nabc\r\n")
        assert "without completing" in caplog.text

    @pytest.mark.parametrize(
        "header",
        [
            (b"x", b"a\r\nSet-Cookie: b"),
            (b"x", b"a\nb"),
            (b"x", b"a\0b"),
            (b"x\r\ny", b"a"),
            (b"x y", b"a"),
            (b"", b"a"),
        ],
    )
    async def test_headers_that_would_split_the_response(self, header: tuple[bytes, bytes]) -> None:
        """A header with a line break, or with a name that is none, is a failure of the application."""
        errors: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await send({"type": "http.response.start", "status": 200, "headers": [header]})
            except RuntimeError as exc:
                errors.append(str(exc))
                raise

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            response = await caller.response()

        assert response.status == 500
        assert errors[0].startswith("Invalid HTTP header")

    @pytest.mark.parametrize(
        "messages",
        [
            [{"type": "http.response.body", "body": b""}],
            [{"type": "http.response.start", "status": 200}, {"type": "http.response.start", "status": 200}],
            [
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]},
                {"type": "http.response.body", "body": b"abc"},
            ],
            [
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]},
                {"type": "http.response.body", "body": b"abc"},
            ],
        ],
        ids=["no start", "two starts", "longer than told", "shorter than told"],
    )
    async def test_misuse(self, messages: list[dict[str, Any]]) -> None:
        """An application that breaks the rules of ASGI is told by an exception, and its caller gets a 500."""
        errors: list[RuntimeError] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                for message in messages:
                    await send(message)
            except RuntimeError as exc:
                errors.append(exc)
                raise

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            response = await caller.response()

        assert response.status == 500
        assert len(errors) == 1

    async def test_sent_after_the_end(self) -> None:
        """Nothing can be added to a complete response."""
        errors: list[RuntimeError] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, b"whole")
            try:
                await send({"type": "http.response.body", "body": b"more"})
            except RuntimeError as exc:
                errors.append(exc)

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            response = await caller.response()
            await until(lambda: errors)

        assert response.body == b"whole"


class TestSlowReaders:
    async def test_back_pressure(self) -> None:
        """A caller that does not read stops the application, with a bounded number of bytes on the way."""
        sent = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while sent < 300_000_000:
                await send({"type": "http.response.body", "body": b"a" * 16384, "more_body": True})
                sent += 16384

        async with serving(app) as server, calling(server, read_limit=1) as caller:
            caller.send(GET)
            connection = await only_connection(server)
            await until(lambda: connection.flow.write_paused)
            waiting = connection.transport.get_write_buffer_size()

            assert waiting <= 64 * 1024 + 2 * 16384
            assert sent < 20_000_000  # what the two kernels hold

    async def test_write_timeout(self) -> None:
        """A caller that reads nothing for a minute is cut off, and the application hears of it."""
        events: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"]["arbstr.departure"](lambda: events.append("left"))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while not events:
                await send({"type": "http.response.body", "body": b"a" * 16384, "more_body": True})

        async with serving(app) as server, calling(server, read_limit=1) as caller:
            caller.send(GET)
            connection = await only_connection(server)
            await until(lambda: connection.flow.write_paused)
            pass_time(server, 59)
            assert events == []
            pass_time(server, 2)
            await until(lambda: not server.state.connections and not server.state.tasks)

        assert events == ["left"]

    async def test_reading_slowly_is_allowed(self) -> None:
        """A caller that reads a little in each minute is not cut off."""
        whole = 30_000_000

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-length", b"%d" % whole)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"a" * whole})

        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            connection = await only_connection(server)
            await until(lambda: connection.flow.write_paused)
            await caller.reader.readuntil(b"\r\n\r\n")
            read = 0
            while read < whole:
                read += len(await caller.reader.readexactly(6_000_000))
                pass_time(server, 59)

        assert read == whole

    async def test_an_end_that_nobody_reads(self) -> None:
        """A connection that is closing does not wait for ever for its last bytes to be read."""
        async with serving(Echo()) as server, calling(server, read_limit=1) as caller:
            caller.send(post(b"a" * 30_000_000, b"Connection: close"))
            connection = await only_connection(server)
            await until(connection.transport.is_closing)
            pass_time(server, 30)
            assert server.connections == 1
            pass_time(server, 31)
            await until(lambda: not server.state.connections)
