"""Answers over real sockets: what a connection makes of the bytes that a server sends."""

from __future__ import annotations

import asyncio
import time

import pytest

from arbstr.upstream.errors import CutBody, ProtocolError, ResetBeforeHead, TransportError
from arbstr.upstream.pool import Limits, Pool, Stats
from tests.upstream.servers import HEAD, LONG, Peer, Server, answers, fetch, once, serve

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
ONE_IDLE = Stats(open=1, idle=1, busy=0, connecting=0, waiting=0, slots=1)
NOTHING = Stats(open=0, idle=0, busy=0, connecting=0, waiting=0, slots=0)


async def answer_to(raw: bytes, *, head: bytes = HEAD, limits: Limits = Limits()) -> tuple[int, bytes, Stats]:  # noqa: B008
    """Return status and body that the client reads from `raw`, and the state of its pool afterwards."""
    async with serve(once(raw)) as server:
        pool = Pool(limits=limits)
        try:
            status, body = await fetch(pool, server, head=head)
            return status, body, pool.stats()
        finally:
            await pool.aclose()
            await server.nobody()


async def failure_of(raw: bytes, *, limits: Limits = Limits()) -> TransportError:  # noqa: B008
    """Return the error that `raw`, and then the end of the connection, comes to; the pool must be empty after it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)

    async with serve(script) as server:
        pool = Pool(limits=limits)
        with pytest.raises(TransportError) as caught:
            await fetch(pool, server)
        assert pool.stats() == NOTHING
        await pool.aclose()
    return caught.value


# What is sent.


async def test_the_request_goes_out_whole_and_its_length_is_added() -> None:
    """The server gets the head as given, a Content-Length, and the body."""
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.answer()
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        await fetch(pool, server, body=b'{"model":"m"}')
        await pool.aclose()

    assert seen == [(HEAD + b"content-length: 13\r\n\r\n", b'{"model":"m"}')]


@pytest.mark.parametrize(
    ("method", "sent"), [(b"GET", b""), (b"POST", b"content-length: 0\r\n"), (b"DELETE", b"content-length: 0\r\n")]
)
async def test_a_request_without_body_says_so_where_a_body_would_be_expected(method: bytes, sent: bytes) -> None:
    """Content-Length: 0 is sent for a POST without body, and no length for a GET."""
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.answer()
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        await fetch(pool, server, head=method + b" / HTTP/1.1\r\nhost: test\r\n", body=b"")
        await pool.aclose()

    assert seen == [method + b" / HTTP/1.1\r\nhost: test\r\n" + sent + b"\r\n"]


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1, 9_000_001])
async def test_a_large_body_arrives_unchanged(size: int) -> None:
    """A body of one write, of one slice more, and of many slices is what the server reads."""
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    seen = []

    async def script(peer: Peer) -> None:
        seen.append((await peer.request())[1])
        await peer.answer()
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        status, _ = await fetch(pool, server, body=body)
        stats = pool.stats()
        await pool.aclose()

    assert status == 200
    assert seen == [body]
    assert stats == ONE_IDLE


# What is understood.


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        pytest.param(OK + b"content-length: 5\r\n\r\nhello", 200, b"hello", id="length"),
        pytest.param(OK + b"content-length: 0\r\n\r\n", 200, b"", id="empty"),
        pytest.param(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", id="no-reason"),
        pytest.param(CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, b"hello", id="chunked"),
        pytest.param(CHUNKED + b'5;a=1;b="x"\r\nhello\r\n0;last\r\n\r\n', 200, b"hello", id="chunk-extensions"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n", 200, b"hello", id="trailers"),
        pytest.param(OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 200, b"a", id="chunked-capital"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, b"", id="304"),
        pytest.param(
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nno",
            302,
            b"no",
            id="a-redirect-is-an-answer",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
            b"HTTP/1.1 102 Processing\r\n\r\n" + OK + b"content-length: 2\r\n\r\nok",
            200,
            b"ok",
            id="informational-answers-are-skipped",
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", id="1.0-keep-alive"
        ),
    ],
)
async def test_an_answer_is_read_and_its_connection_kept(raw: bytes, status: int, body: bytes) -> None:
    """Status and body are understood, and the connection is idle afterwards."""
    assert await answer_to(raw) == (status, body, ONE_IDLE)


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"content-length: 5\r\nx-a: b\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + b"2;e=1\r\nhe\r\n3\r\nllo\r\n0\r\nx-t: 1\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_an_answer_may_come_byte_by_byte(raw: bytes) -> None:
    """How the bytes are cut makes no difference."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for index in range(len(raw)):
            await peer.send(raw[index : index + 1])
            await asyncio.sleep(0)
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        result = await fetch(pool, server)
        stats = pool.stats()
        await pool.aclose()

    assert result == (200, b"hello")
    assert stats == ONE_IDLE


async def test_names_of_headers_are_lower_case_and_the_first_of_repeated_ones_counts() -> None:
    """Headers are looked up by lower-case bytes; trailers and 1xx headers are not among them."""
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nx-early: 1\r\n\r\n" + OK + b"X-One: 1\r\nx-one: 2\r\nContent-Type: "
        b"Text/Event-Stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-trailer: 1\r\n\r\n"
    )
    async with serve(once(raw)) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            await response.read_all(until, limit=100)
        await pool.aclose()

    assert response.headers == {
        b"x-one": b"1",
        b"content-type": b"Text/Event-Stream; charset=utf-8",
        b"transfer-encoding": b"chunked",
    }
    assert response.content_type == "text/event-stream"
    assert repr(response) == "<Response 200 text/event-stream>"


async def test_the_body_is_given_out_as_it_comes() -> None:
    """A read returns what is there without waiting for more."""
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"5\r\nfirst\r\n")
        await more.wait()
        await peer.send(b"6\r\nsecond\r\n0\r\n\r\n")
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            first = await response.read(until)
            more.set()
            second = await response.read(until)
            end = await response.read(until)
            again = await response.read(until)
        await pool.aclose()

    assert (first, second, end, again) == (b"first", b"second", b"", b"")


async def test_a_response_cannot_be_read_after_its_exchange() -> None:
    """The connection may already carry somebody else's answer: reading on is a mistake of ours, not an empty body."""
    async with serve(answers()) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            pass
        with pytest.raises(RuntimeError, match="over"):
            await response.read(until)
        await pool.aclose()


async def test_limits_are_for_each_answer_and_not_for_the_connection() -> None:
    """A connection on which every answer is just within them can be used for ever."""
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"x-a: b\r\n" * 9 + b"content-length: 2\r\n\r\nok"

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer)

    async with serve(script) as server:
        pool = Pool(limits=Limits(max_informational=1, max_headers=10, max_header_bytes=100))
        results = [await fetch(pool, server) for _ in range(5)]
        await pool.aclose()

    assert results == [(200, b"ok")] * 5
    assert len(server.peers) == 1


# Answers after which a connection is not used again.


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        pytest.param(OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok", b"ok", id="connection-close"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok", id="1.0"),
        pytest.param(b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok", id="strange-version"),
    ],
)
async def test_a_connection_that_the_server_will_not_keep_is_closed(raw: bytes, body: bytes) -> None:
    """The answer counts, and the connection is gone right after it."""
    assert await answer_to(raw) == (200, body, NOTHING)


async def test_an_answer_without_length_ends_with_its_connection() -> None:
    """Without Content-Length and chunks the end of the connection is the end of the body."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"\r\nsome")
        await peer.send(b" more")

    async with serve(script) as server:
        pool = Pool()
        result = await fetch(pool, server)
        stats = pool.stats()
        await pool.aclose()

    assert result == (200, b"some more")
    assert stats == NOTHING


async def test_an_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    """HEAD is answered by a head; the connection is not used again, because the parser cannot be told."""
    head = b"HEAD / HTTP/1.1\r\nhost: test\r\n"

    assert await answer_to(OK + b"content-length: 5\r\n\r\n", head=head) == (200, b"", NOTHING)


async def test_bytes_that_come_after_the_end_of_an_answer_keep_its_connection_from_being_used() -> None:
    """They may be the beginning of an answer to somebody else."""
    sent = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"ok")
        await sent.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            body = await response.read_all(until, limit=100)
            sent.set()
            await server.nobody()
        stats = pool.stats()
        await pool.aclose()

    assert body == b"ok"
    assert stats == NOTHING


async def test_an_answer_left_unread_costs_its_connection() -> None:
    """Leaving before the end aborts: what is still to come must not meet the next request."""
    async with serve(once(OK + b"content-length: 1000000\r\n\r\nsome")) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            assert await response.read(until) == b"some"
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats == NOTHING


async def test_a_caller_who_fails_after_a_whole_answer_does_not_cost_the_connection() -> None:
    """An error answer that was read to its end and raised as an exception leaves a good connection."""

    async def disappointed(pool: Pool, server: Server) -> None:
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            await response.read_all(until, limit=100)
            raise ValueError("not what I wanted")

    async with serve(answers()) as server:
        pool = Pool()
        with pytest.raises(ValueError, match="not what I wanted"):
            await disappointed(pool, server)
        stats = pool.stats()
        await pool.aclose()

    assert stats == ONE_IDLE


# What is refused.


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"<html>hello</html>", id="not-http"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls-bytes"),
        pytest.param(b"HTTP/1.1 099 Low\r\ncontent-length: 2\r\n\r\nok", id="status-below-100"),
        pytest.param(b"HTTP/1.1 2000 High\r\ncontent-length: 2\r\n\r\nok", id="status-of-four-digits"),
        pytest.param(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", id="bare-line-feeds"),
        pytest.param(OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok", id="length-twice"),
        pytest.param(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok", id="two-lengths"),
        pytest.param(OK + b"content-length: 2, 2\r\n\r\nok", id="list-of-lengths"),
        pytest.param(OK + b"content-length: -2\r\n\r\nok", id="negative-length"),
        pytest.param(OK + b"content-length: +2\r\n\r\nok", id="signed-length"),
        pytest.param(OK + b"content-length: 0x2\r\n\r\nok", id="hexadecimal-length"),
        pytest.param(OK + b"content-length: \r\n\r\n", id="empty-length"),
        pytest.param(OK + b"content-length: 99999999999999999999\r\n\r\nok", id="length-beyond-64-bits"),
        pytest.param(OK + b"content-length : 2\r\n\r\nok", id="space-before-colon"),
        pytest.param(OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="length-and-chunked"),
        pytest.param(OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n", id="chunked-and-length"),
        pytest.param(OK + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", id="unknown-transfer-encoding"),
        pytest.param(OK + b"transfer-encoding: identity\r\n\r\nok", id="transfer-encoding-identity"),
        pytest.param(OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="transfer-encoding-gzip"),
        pytest.param(OK + b"transfer-encoding: chunked, gzip\r\n\r\nok", id="chunked-not-last"),
        pytest.param(
            OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked-twice"
        ),
        pytest.param(OK + b"x-a: b\r\n folded\r\ncontent-length: 2\r\n\r\nok", id="folded-header"),
        pytest.param(OK + b"x-a: b\0c\r\ncontent-length: 2\r\n\r\nok", id="nul-in-header"),
        pytest.param(OK + b"x-a: b\rx-c: d\r\ncontent-length: 2\r\n\r\nok", id="bare-carriage-return"),
        pytest.param(CHUNKED + b"zz\r\n", id="bad-chunk-size"),
        pytest.param(CHUNKED + b"-1\r\n", id="negative-chunk-size"),
        pytest.param(CHUNKED + b"fffffffffffffffffff\r\n", id="chunk-size-overflow"),
        pytest.param(CHUNKED + b"1\r\nab\r\n0\r\n\r\n", id="chunk-longer-than-its-size"),
        pytest.param(OK + b"content-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", id="longer-than-its-length"),
        pytest.param(OK + b"content-length: 2\r\n\r\nok!", id="one-byte-too-many"),
        pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\nmore", id="bytes-after-the-last-chunk"),
        pytest.param(OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok!", id="one-byte-after-the-last-answer"),
        pytest.param(b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok", id="body-where-none-may-be"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxyz", id="101-with-upgrade"
        ),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="101"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + OK + b"content-length: 0\r\n\r\n", id="17-times-1xx"),
        pytest.param(OK + b"x-a: " + b"y" * 65536 + b"\r\ncontent-length: 0\r\n\r\n", id="64-KiB-header"),
        pytest.param(OK + b"".join(b"x-%d: 1\r\n" % n for n in range(10_000)) + b"\r\n", id="10000-header-lines"),
        pytest.param(OK + b"set-cookie: a=b\r\n" * 10_000 + b"\r\n", id="10000-times-one-header"),
        pytest.param(
            CHUNKED + b"1\r\na\r\n0\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(300)) + b"\r\n", id="300-trailers"
        ),
    ],
)
async def test_what_is_not_unambiguous_http_is_refused(raw: bytes) -> None:
    """It is a ProtocolError, and the connection is closed at once."""
    error = await failure_of(raw)

    assert type(error) is ProtocolError


@pytest.mark.parametrize(
    "beginning",
    [OK + b"x-a: ", CHUNKED + b"1;", CHUNKED + b"1\r\na\r\n0\r\nx-t: ", b"HTTP/1.1 200 "],
    ids=["header", "chunk-extension", "trailer", "reason"],
)
async def test_a_line_without_end_is_given_up_early(beginning: bytes) -> None:
    """A server that pours bytes which are no body is cut off after little more than the limit."""
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(beginning)
        while True:
            await peer.send(b"y" * 16384)
            sent += 16384

    async with serve(script) as server:
        pool = Pool()
        with pytest.raises(ProtocolError):
            await fetch(pool, server)
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats == NOTHING
    assert sent < 16 << 20  # what the sockets hold, and no more


async def test_many_headers_within_the_limits_are_fine() -> None:
    """256 lines of together less than 64 KiB pass, with a body that comes in the same segment."""
    lines = b"".join(b"x-%03d: " % n + b"v" * 200 + b"\r\n" for n in range(255))

    status, body, stats = await answer_to(OK + lines + b"content-length: 100000\r\n\r\n" + b"b" * 100_000)

    assert (status, len(body), stats) == (200, 100_000, ONE_IDLE)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        pytest.param(b"", ResetBeforeHead, id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", CutBody, id="inside-the-head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", CutBody, id="after-1xx"),
        pytest.param(OK + b"content-length: 5\r\n\r\n", CutBody, id="after-the-head"),
        pytest.param(OK + b"content-length: 5\r\n\r\nhell", CutBody, id="shorter-than-its-length"),
        pytest.param(CHUNKED, CutBody, id="before-the-first-chunk"),
        pytest.param(CHUNKED + b"5\r\nhel", CutBody, id="inside-a-chunk"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n", CutBody, id="between-chunks"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\n", CutBody, id="before-the-last-line"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\nx-t: 1\r\n", CutBody, id="inside-the-trailers"),
    ],
)
async def test_an_answer_that_ends_too_early_is_told_from_a_whole_one(raw: bytes, kind: type[TransportError]) -> None:
    """Before the first byte it is a reset; after it, the answer is cut."""
    error = await failure_of(raw)

    assert type(error) is kind
    assert "connection closed" in error.reason


async def test_what_came_before_a_cut_can_be_read() -> None:
    """The bytes are given out first, then the error, and the error again to whoever reads on."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"5\r\nhello\r\n")

    async with serve(script) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            got = await response.read(until)
            for _ in range(2):
                with pytest.raises(CutBody):
                    await response.read(until)
        await pool.aclose()

    assert got == b"hello"


async def test_a_reset_inside_a_body_without_length_is_not_its_end() -> None:
    """Only an orderly close ends such a body."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"\r\nsome")
        await peer.server.seen.wait()
        peer.reset(hard=True)

    async with serve(script) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            assert await response.read(until) == b"some"
            server.seen.set()
            with pytest.raises(CutBody, match="reset"):
                await response.read(until)
        await pool.aclose()


async def test_a_body_beyond_what_the_caller_allows_is_refused() -> None:
    """By its announced length before it is read, without one as soon as it is too long, and when it is already here."""
    for raw in (
        OK + b"content-length: 5000000000\r\n\r\n",
        CHUNKED + b"40\r\n" + b"x" * 64 + b"\r\n",
        OK + b"content-length: 11\r\n\r\nhello world",
    ):
        async with serve(once(raw)) as server:
            pool = Pool()
            until = time.monotonic() + LONG
            async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
                for _ in range(2):
                    with pytest.raises(ProtocolError, match="larger than 10 bytes"):
                        await response.read_all(until, limit=10)
            assert pool.stats() == NOTHING
            await server.nobody()
            await pool.aclose()
