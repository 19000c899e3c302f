"""Slow servers, slow readers and early answers: deadlines, back-pressure, and what happens while a request is sent."""

from __future__ import annotations

import asyncio
import time

import pytest

from arbstr.upstream.errors import CutBody, PoolClosed, ReadTimeout, ResetBeforeHead
from arbstr.upstream.pool import Limits, Pool, Stats
from arbstr.upstream.wire import SLICE, Connection
from tests.upstream.servers import HEAD, LONG, Peer, eventually, fetch, once, serve, settled

NOTHING = Stats(open=0, idle=0, busy=0, connecting=0, waiting=0, slots=0)
SOON = 0.08
"""A deadline that is meant to pass."""
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "phase"),
    [
        pytest.param(b"", "head", id="silent"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", "head", id="1xx-and-silent"),
        pytest.param(OK + b"content-length: 5\r\n", "head", id="unfinished-head"),
        pytest.param(OK + b"content-length: 5\r\n\r\n", "body", id="no-body"),
        pytest.param(OK + b"content-length: 5\r\n\r\nhell", "body", id="unfinished-body"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n", "body", id="unfinished-chunks"),
        pytest.param(OK + b"\r\nhello", "body", id="without-length"),
    ],
)
async def test_a_server_that_falls_silent_is_given_up_at_the_deadline(raw: bytes, phase: str) -> None:
    """It is a ReadTimeout that names the phase, and the server sees the connection close."""
    async with serve(once(raw)) as server:
        pool = Pool()
        with pytest.raises(ReadTimeout) as caught:
            await fetch(pool, server, patience=SOON)
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert caught.value.phase == phase
    assert stats == NOTHING


@pytest.mark.parametrize("beginning", [b"", CHUNKED], ids=["head", "body"])
async def test_a_trickle_does_not_put_a_deadline_off(beginning: bytes) -> None:
    """One byte now and then, of a head or of chunk headers, is not an answer in time."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(beginning or b"HTTP/1.1 200 OK\r\nx-a: ")
        while True:
            await peer.send(b"0" if beginning else b"y")
            await asyncio.sleep(0.005)

    async with serve(script) as server:
        pool = Pool()
        with pytest.raises(ReadTimeout):
            await fetch(pool, server, patience=SOON)
        await server.nobody()
        await pool.aclose()


async def test_each_read_has_its_own_deadline() -> None:
    """A stream that goes on is not ended by the deadline its head had."""
    now, looks = 1000.0, 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return now

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await peer.server.seen.wait()
        await peer.send(b"2\r\nok\r\n0\r\n\r\n")
        await peer.left()

    async with serve(script) as server:
        pool = Pool(clock=clock, limits=Limits(sweep=0.001))
        async with pool.request(server.origin, HEAD, b"", connect_timeout=5, until=now + 10) as response:
            reading = asyncio.create_task(response.read(now + 30))
            now += 20
            looks = 0
            await eventually(lambda: looks >= 3)
            server.seen.set()
            got = await reading
        await pool.aclose()

    assert got == b"ok"


async def test_deadlines_are_instants_of_the_clock_of_the_pool() -> None:
    """The pool asks its own clock, not the machine's."""
    now = 1000.0

    async with serve(once(b"")) as server:
        pool = Pool(clock=lambda: now, limits=Limits(sweep=0.001))
        exchange = pool.request(server.origin, HEAD, b"", connect_timeout=5, until=now + 3600)
        task = asyncio.create_task(exchange.__aenter__())
        await eventually(lambda: server.requests == 1)
        assert not task.done()
        now += 3601
        with pytest.raises(ReadTimeout):
            await task
        await pool.aclose()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_reader_who_does_not_read_holds_the_server_up(chunked: bool) -> None:
    """Of 50 MB the server gets rid of what the sockets and our bounded buffer hold; the rest goes when it is read."""
    size, piece = 50_000_000, 50_000
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(CHUNKED if chunked else OK + b"content-length: %d\r\n\r\n" % size)
        frame = b"%x\r\n%b\r\n" % (piece, b"z" * piece) if chunked else b"z" * piece
        while sent < size:
            await peer.send(frame)
            sent += piece
        await peer.send(b"0\r\n\r\n" if chunked else b"")
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            while_unread = await settled(lambda: sent)
            body = 0
            while data := await response.read(until):
                body += len(data)
        stats = pool.stats()
        await pool.aclose()

    assert while_unread < 20_000_000
    assert body == size
    assert stats.idle == 1


async def test_the_unread_part_of_an_answer_is_bounded() -> None:
    """What one read returns is at most the high-water mark and one read of the loop."""
    async with serve(once(OK + b"content-length: 8000000\r\n\r\n" + b"z" * 8_000_000)) as server:
        pool = Pool(limits=Limits(read_high_water=1000))
        until = time.monotonic() + LONG
        sizes = []
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            while data := await response.read(until):
                sizes.append(len(data))
        await pool.aclose()

    assert sum(sizes) == 8_000_000
    assert max(sizes) <= 1000 + 256 * 1024


class Recorder(asyncio.Transport):
    """A transport that takes what it is given, pausing its protocol after every write, as a full one would."""

    def __init__(self, protocol: Connection) -> None:
        super().__init__()
        self.protocol = protocol
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written.append(bytes(data))
        self.protocol.pause_writing()

    def is_closing(self) -> bool:
        return False


async def test_a_large_body_is_written_as_there_is_room() -> None:
    """While the transport is full nothing is written; each time it has room, one slice more."""
    connection = Connection(asyncio.get_running_loop(), Limits(), lambda _: None)
    transport = Recorder(connection)
    connection.connection_made(transport)
    body = bytes(range(256)) * 1000

    connection.begin(HEAD, body)
    sizes = [sum(map(len, transport.written))]
    while sizes[-1] < len(body):
        connection.resume_writing()
        sizes.append(sum(map(len, transport.written)) - len(transport.written[0]))

    assert transport.written[0] == HEAD + b"content-length: 256000\r\n\r\n"
    assert b"".join(transport.written[1:]) == body
    assert sizes[1:] == [SLICE, 2 * SLICE, 3 * SLICE, len(body)]


async def test_a_server_that_does_not_read_holds_the_upload_up() -> None:
    """A large body waits for room; giving up meanwhile closes the connection and leaves nothing behind."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await peer.server.seen.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        with pytest.raises(ReadTimeout) as caught:
            await fetch(pool, server, body=b"x" * 30_000_000, patience=SOON)
        stats = pool.stats()
        server.seen.set()
        await server.nobody()
        await pool.aclose()

    assert caught.value.phase == "head"
    assert stats == NOTHING


async def test_an_answer_before_the_request_was_sent_whole_is_used_and_its_connection_is_not() -> None:
    """A 413 that comes early is the answer; the connection still owes the rest of the body and is closed."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.answer(b"too large", status=b"413 Content Too Large")
        await peer.server.seen.wait()
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        result = await fetch(pool, server, body=b"x" * 30_000_000)
        stats = pool.stats()
        server.seen.set()
        await server.nobody()
        await pool.aclose()

    assert result == (413, b"too large")
    assert stats == NOTHING


async def test_an_answer_that_begins_early_may_still_take_the_whole_request() -> None:
    """A server that sends its head first and then reads the body gets all of it, and the connection is kept."""
    got = 0

    async def script(peer: Peer) -> None:
        nonlocal got
        head = await peer.head()
        await peer.send(CHUNKED)
        length = int(head.partition(b"content-length:")[2].split()[0])
        got = len(await peer.reader.readexactly(length))
        await peer.send(b"2\r\nok\r\n0\r\n\r\n")
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        result = await fetch(pool, server, body=b"x" * 20_000_000)
        stats = pool.stats()
        await pool.aclose()

    assert result == (200, b"ok")
    assert got == 20_000_000
    assert stats.idle == 1


async def test_a_server_that_answers_and_hangs_up_during_the_upload_is_understood() -> None:
    """The answer is read although writing to that connection fails."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.answer(b"denied", b"connection: close", status=b"401 Unauthorized")

    async with serve(script) as server:
        pool = Pool()
        results = [await fetch(pool, server, body=b"x" * 3_000_000) for _ in range(20)]
        stats = pool.stats()
        await pool.aclose()

    assert results == [(401, b"denied")] * 20
    assert stats == NOTHING


async def test_a_reset_during_the_upload_is_a_reset_before_the_head() -> None:
    """A fresh connection that dies while the body goes out is not tried again behind the caller's back."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset(hard=True)

    async with serve(script) as server:
        pool = Pool()
        with pytest.raises(ResetBeforeHead) as caught:
            await fetch(pool, server, body=b"x" * 30_000_000)
        stats = pool.stats()
        await pool.aclose()

    assert not caught.value.reused
    assert server.requests == 1
    assert stats == NOTHING


async def test_closing_the_pool_ends_what_runs() -> None:
    """A request that waits for its head, and one that reads its body, learn that the pool is closed."""

    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.request()
            await peer.send(CHUNKED)
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            reading = asyncio.create_task(response.read(until))
            waiting = asyncio.create_task(fetch(pool, server))
            await eventually(lambda: len(server.peers) == 2)
            await pool.aclose()
            for task in (reading, waiting):
                with pytest.raises(PoolClosed):
                    await task
        await server.nobody()
        with pytest.raises(PoolClosed):
            await fetch(pool, server)

    assert pool.stats() == NOTHING
    assert not issubclass(PoolClosed, CutBody)
