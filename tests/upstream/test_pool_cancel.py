"""A caller who leaves, at every point at which leaving is possible: nothing stays behind, and the server notices.

A request is run for k turns of the loop and then cancelled, for k from 0 until it is through. That hits every await of
the client, the instants between two events included.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trustme

from arbstr.upstream.pool import Limits, Origin, Pool
from tests.upstream.servers import Peer, Server, answers, ask, eventually, fetch, serve

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TURNS = 2000


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context. Keys take a while, so they are made once."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def cancelled_after(turns: int, work: Awaitable[object]) -> bool:
    """Run `work` for a number of turns of the loop and cancel it; False if it was through by then."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
        if task.done():
            break
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


async def leave_everywhere(
    server: Server,
    make: Callable[[], Pool],
    *,
    before: Callable[[Pool], Awaitable[None]] | None = None,
    body: bytes = b"{}",
) -> int:
    """Cancel a request after 0, 1, 2 … turns, each time on a new pool, until one gets through; return how many did not.

    After each, no slot may be taken but by idle connections, no task may be left, and the server must see every
    connection closed that is not idle.
    """
    for turns in range(TURNS):
        pool = make()
        if before is not None:
            await before(pool)
        known = len(server.peers)
        left = await cancelled_after(turns, fetch(pool, server, body=body))
        stats = pool.stats()
        assert stats.busy == stats.waiting == stats.connecting == 0, (turns, stats)
        assert stats.slots == stats.open == stats.idle, (turns, stats)
        if left and before is None:
            assert stats.open == 0, turns
            for peer in server.peers[known:]:
                await asyncio.wait_for(peer.gone.wait(), 10)
        await pool.aclose()
        await server.nobody()
        await eventually(lambda: len(asyncio.all_tasks()) == 1)
        if not left:
            return turns
    raise AssertionError("never through")


async def in_pieces(peer: Peer) -> None:
    """Answer every request with a head and a body in several pieces, with turns of the loop between them."""
    while True:
        await peer.request()
        for piece in (CHUNKED[:20], CHUNKED[20:], b"2\r\nhe\r\n", b"3\r\nllo\r\n", b"0\r\n", b"\r\n"):
            await peer.send(piece)
            for _ in range(3):
                await asyncio.sleep(0)


async def test_leaving_at_any_moment_of_a_first_request() -> None:
    """While connecting, while waiting for the head, between pieces of the body."""
    async with serve(in_pieces) as server:
        left = await leave_everywhere(server, Pool)

    assert left > 10


async def test_leaving_at_any_moment_of_a_request_on_an_idle_connection() -> None:
    """A connection that was reused is closed like any other."""

    async def warm(pool: Pool) -> None:
        await fetch(pool, server)

    async with serve(in_pieces) as server:
        left = await leave_everywhere(server, Pool, before=warm)

    assert left > 10


async def test_leaving_at_any_moment_of_an_upload() -> None:
    """While a large body goes out to a server that is slow to take it."""

    async def slowly(peer: Peer) -> None:
        head = await peer.head()
        missing = int(head.partition(b"content-length:")[2].split()[0])
        while missing:
            data = await peer.reader.read(1 << 20)
            if not data:
                return
            missing -= len(data)
            await asyncio.sleep(0)
        await peer.answer()
        await peer.left()

    async with serve(slowly) as server:
        left = await leave_everywhere(server, Pool, body=b"x" * 8_000_000)

    assert left > 10


async def test_leaving_at_any_moment_over_tls(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """The handshake included."""
    async with serve(in_pieces, tls=tls[0]) as server:
        left = await leave_everywhere(server, lambda: Pool(tls=tls[1]))

    assert left > 10


async def test_leaving_at_any_moment_of_a_lookup() -> None:
    """A lookup goes on without its caller, as it must, and is over when the pool is closed."""

    async def lookup(host: str, port: int) -> list[tuple[object, tuple[object, ...]]]:
        import socket

        for _ in range(5):
            await asyncio.sleep(0)
        return [(socket.AF_INET, ("127.0.0.1", port))]

    async with serve(in_pieces) as server:
        server.origin = server.origin._replace(host="provider.test")
        left = await leave_everywhere(server, lambda: Pool(lookup=lookup))  # type: ignore[arg-type]

    assert left > 10


async def test_leaving_at_any_moment_of_a_second_try() -> None:
    """While a stale connection is being replaced its slot is neither lost nor given back twice."""

    async def stale_once(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        if peer.number % 2 == 0:
            await peer.head()
            return
        await peer.left()

    async with serve(stale_once) as server:
        for turns in range(TURNS):
            server.peers.clear()
            pool = Pool(limits=Limits(max_connections=1, pool_wait=10))
            await fetch(pool, server)
            left = await cancelled_after(turns, fetch(pool, server))
            stats = pool.stats()
            assert stats.slots == stats.idle == stats.open, (turns, stats)
            if not left:
                break
            assert await fetch(pool, server) == (200, b"ok")  # the only slot is free
            await pool.aclose()
            await server.nobody()
        await pool.aclose()
        await server.nobody()

    assert turns > 5


@pytest.mark.parametrize("read", [True, False], ids=["connection", "slot"])
async def test_leaving_the_queue_at_any_moment(read: bool) -> None:
    """Before, in, and right after the instant in which a connection or a slot is granted; the next one gets it."""
    async with serve(answers()) as server:
        for turns in range(TURNS):
            pool = Pool(limits=Limits(max_connections=1, pool_wait=10))
            holder = asyncio.create_task(_hold(pool, server.origin, 5, read=read))
            await eventually(lambda pool=pool: pool.stats().busy == 1)  # type: ignore[misc]
            leaver = asyncio.create_task(cancelled_after(turns, fetch(pool, server)))
            await asyncio.sleep(0)
            next_one = asyncio.create_task(fetch(pool, server))
            left, result, _ = await asyncio.gather(leaver, next_one, holder)
            stats = pool.stats()
            assert result == (200, b"ok")
            assert stats.slots == stats.open == stats.idle <= 1, (turns, stats)
            assert stats.waiting == 0
            await pool.aclose()
            if not left:
                break

    assert turns > 5


async def _hold(pool: Pool, origin: Origin, turns: int, *, read: bool) -> None:
    """Keep a connection for a number of turns of the loop."""
    until = pool.clock() + 10
    async with pool.request(origin, b"GET / HTTP/1.1\r\n", b"", connect_timeout=10, until=until) as response:
        for _ in range(turns):
            await asyncio.sleep(0)
        if read:
            await response.read_all(until, limit=100)


async def test_a_storm_of_leavers_leaves_a_pool_that_works() -> None:
    """A thousand requests over four connections, two thirds of them cancelled at odd moments."""

    async def one(number: int) -> bool:
        if number % 3 == 0:
            await fetch(pool, server)
            return True
        return not await cancelled_after(number % 50, fetch(pool, server))

    async with serve(in_pieces) as server:
        pool = Pool(limits=Limits(max_connections=4, max_waiting=1000, pool_wait=20))
        through = await asyncio.gather(*(one(number) for number in range(1000)))
        stats = pool.stats()
        body = await ask(pool, server.origin)
        await pool.aclose()

    assert sum(through) >= 334
    assert stats.slots == stats.open == stats.idle <= 4
    assert stats.waiting == 0
    assert body == b"hello"


async def test_a_timeout_around_a_request_is_a_timeout() -> None:
    """`asyncio.timeout` cancels from outside; the client neither swallows that nor takes it for its own."""

    async def silent(peer: Peer) -> None:
        await peer.left()

    async with serve(silent) as server:
        pool = Pool()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await fetch(pool, server)
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats.open == 0
