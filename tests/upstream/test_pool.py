"""The pool: reuse, the cap and its queue, stale connections, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import time
import weakref

import pytest

from arbstr.upstream.errors import PoolClosed, PoolTimeout, ProtocolError, ResetBeforeHead
from arbstr.upstream.pool import Limits, Origin, Pool, Response, Stats
from arbstr.upstream.wire import Connection
from tests.upstream.servers import HEAD, LONG, Peer, Server, answers, ask, eventually, fetch, once, serve

NOTHING = Stats(open=0, idle=0, busy=0, connecting=0, waiting=0, slots=0)
ONE_IDLE = Stats(open=1, idle=1, busy=0, connecting=0, waiting=0, slots=1)


class Held:
    """A request that has its head and keeps its connection until it is let go."""

    def __init__(self, pool: Pool, server: Server) -> None:
        until = time.monotonic() + LONG
        self.exchange = pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until)
        self.response: Response | None = None

    async def hold(self) -> Held:
        self.response = await self.exchange.__aenter__()
        return self

    async def let_go(self, *, read: bool = True) -> None:
        assert self.response is not None
        if read:
            await self.response.read_all(time.monotonic() + LONG, limit=100)
        await self.exchange.__aexit__(None, None, None)


# Reuse.


async def test_requests_one_after_the_other_share_a_connection() -> None:
    """Twenty requests, one connection."""
    async with serve(answers()) as server:
        pool = Pool()
        results = [await fetch(pool, server) for _ in range(20)]
        stats = pool.stats()
        await pool.aclose()
        await server.nobody()

    assert results == [(200, b"ok")] * 20
    assert len(server.peers) == 1
    assert stats == ONE_IDLE
    assert pool.stats() == NOTHING


async def test_10000_requests_over_one_pool() -> None:
    """64 at a time, they need 64 connections, each answer belongs to its request, and nothing is left over."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.answer((await peer.request())[1])

    async def worker(pool: Pool, server: Server, first: int) -> int:
        right = 0
        for number in range(first, 10_000, 64):
            body = b"%d" % number
            right += (await fetch(pool, server, body=body)) == (200, body)
        return right

    async with serve(script) as server:
        pool = Pool()
        right = await asyncio.gather(*(worker(pool, server, first) for first in range(64)))
        stats = pool.stats()
        tasks = len(asyncio.all_tasks())
        await pool.aclose()
        await server.nobody()

    assert sum(right) == 10_000
    assert stats == Stats(open=64, idle=64, busy=0, connecting=0, waiting=0, slots=64)
    assert tasks == 1 + 64  # this one, and the server's
    assert len(server.peers) == 64


async def test_the_connection_used_last_is_used_first() -> None:
    """So that those which are not needed grow old and go."""
    async with serve(answers()) as server:
        pool = Pool()
        one, two = await Held(pool, server).hold(), await Held(pool, server).hold()
        await one.let_go()
        await two.let_go()
        for _ in range(5):
            await fetch(pool, server)
        await pool.aclose()
        await server.nobody()

    assert [peer.requests for peer in server.peers] == [1, 6]


async def test_origins_do_not_share_connections() -> None:
    """Two ports are two servers."""
    async with serve(answers(b"one")) as one, serve(answers(b"two")) as two:
        pool = Pool(limits=Limits(max_connections=1))
        results = [await fetch(pool, server) for server in (one, two, one, two)]
        stats = pool.stats()
        await pool.aclose()

    assert [body for _, body in results] == [b"one", b"two", b"one", b"two"]
    assert stats.open == stats.idle == 2


async def test_an_idle_connection_that_the_server_closes_is_forgotten() -> None:
    """It is gone from the pool before anybody asks for it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await peer.server.seen.wait()

    async with serve(script) as server:
        pool = Pool()
        await fetch(pool, server)
        assert pool.stats() == ONE_IDLE
        server.seen.set()
        await eventually(lambda: pool.stats() == NOTHING)
        await pool.aclose()


async def test_an_idle_connection_on_which_something_comes_is_dropped() -> None:
    """Nobody asked for it, so that nobody must ever read it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await peer.server.seen.wait()
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        await fetch(pool, server)
        server.seen.set()
        await server.nobody()
        stats = pool.stats()
        await pool.aclose()

    assert stats == NOTHING


async def test_an_answer_before_any_request_is_not_an_answer() -> None:
    """A server that speaks first is not believed: its connection is of no use, also if nobody has sent a byte on it."""

    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await peer.left()

    async with serve(script) as server:
        loop = asyncio.get_running_loop()
        connection = Connection(loop, Limits(), lambda _: None)
        await loop.create_connection(lambda: connection, server.origin.host, server.origin.port)
        await eventually(lambda: connection.closed)
        connection.begin(HEAD, b"")
        error = connection.error
        connection.close()
        await server.nobody()

    assert isinstance(error, ProtocolError)
    assert not connection.stale
    assert repr(connection) == "<Connection closed served=1>"
    assert server.requests == 0


async def test_connections_that_are_not_used_are_closed_after_a_while() -> None:
    """After `keepalive_idle` seconds by the pool's clock, and not before."""
    now = 1000.0
    async with serve(answers()) as server:
        pool = Pool(clock=lambda: now, limits=Limits(keepalive_idle=30, sweep=0.001))

        async def ask() -> None:
            async with pool.request(server.origin, HEAD, b"", connect_timeout=5, until=now + 5) as response:
                await response.read_all(now + 5, limit=10)

        await ask()
        now += 29
        await ask()
        assert len(server.peers) == 1
        now += 30
        await server.nobody()
        await pool.aclose()

    assert pool.stats() == NOTHING


async def test_the_sweep_sleeps_when_there_is_nothing_to_watch() -> None:
    """A pool without connections has no timer; one with idle connections looks about once a second."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return time.monotonic()

    async with serve(once(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")) as server:
        pool = Pool(clock=clock, limits=Limits(sweep=0.001))
        await fetch(pool, server)
        await eventually(lambda: "unwatched" in repr(pool))
        looks = 0
        for _ in range(200):
            await asyncio.sleep(0)
        await pool.aclose()

    assert looks == 0


# Stale connections.


@pytest.mark.parametrize("hard", [False, True], ids=["close", "reset"])
async def test_a_stale_connection_is_replaced_without_a_word(hard: bool) -> None:
    """A server that closes an idle connection just as a request goes out on it gets the request again on a new one."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.answer()
            await peer.head()
            peer.reset(hard=hard)
            return
        await peer.answer(b"fresh")
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        first = await fetch(pool, server)
        second = await fetch(pool, server, body=b"x" * 200_000)
        stats = pool.stats()
        await pool.aclose()

    assert (first, second) == ((200, b"ok"), (200, b"fresh"))
    assert len(server.peers) == 2
    assert stats == ONE_IDLE


async def test_a_stale_connection_is_replaced_once() -> None:
    """When the fresh one dies as well, the server is to blame; no third try."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.answer()
            await peer.head()

    async with serve(script) as server:
        pool = Pool()
        await fetch(pool, server)
        with pytest.raises(ResetBeforeHead) as caught:
            await fetch(pool, server)
        stats = pool.stats()
        await pool.aclose()

    assert not caught.value.reused
    assert server.requests == 3
    assert stats == NOTHING


async def test_all_idle_connections_may_be_stale_and_the_replacement_is_a_new_one() -> None:
    """The second try does not pick another connection of the same age."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"%d" % peer.number)
        await peer.head()
        if peer.number >= 3:
            await peer.answer(b"%d" % peer.number)
            await peer.left()

    async with serve(script) as server:
        pool = Pool(limits=Limits(max_connections=3))
        for held in [await Held(pool, server).hold() for _ in range(3)]:
            await held.let_go()
        result = await fetch(pool, server, head=b"POST /again HTTP/1.1\r\nhost: test\r\n", body=b"")
        stats = pool.stats()
        await pool.aclose()

    assert result == (200, b"3")
    assert len(server.peers) == 4
    assert stats.open == stats.slots == 3


async def test_a_reused_connection_that_began_to_answer_is_not_tried_again() -> None:
    """One byte of an answer means that the request was taken."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await peer.head()
        await peer.send(b"H")

    async with serve(script) as server:
        pool = Pool()
        await fetch(pool, server)
        with pytest.raises(Exception, match="inside the response head"):
            await fetch(pool, server)
        await pool.aclose()

    assert len(server.peers) == 1


# The cap and the queue.


async def test_no_more_connections_are_opened_than_allowed() -> None:
    """Fifty requests at once on three connections: all are answered, three were opened."""
    most = 0

    async def script(peer: Peer) -> None:
        nonlocal most
        while True:
            await peer.request()
            most = max(most, pool.stats().open)
            await peer.answer()

    async with serve(script) as server:
        pool = Pool(limits=Limits(max_connections=3, pool_wait=LONG))
        results = await asyncio.gather(*(fetch(pool, server) for _ in range(50)))
        stats = pool.stats()
        await pool.aclose()

    assert results == [(200, b"ok")] * 50
    assert len(server.peers) == most == 3
    assert stats == Stats(open=3, idle=3, busy=0, connecting=0, waiting=0, slots=3)


@pytest.mark.parametrize("read", [True, False], ids=["connection-handed-over", "slot-handed-over"])
async def test_the_queue_is_first_come_first_served(read: bool) -> None:
    """Those who wait are served in the order in which they came, and nobody who comes later overtakes them."""
    order = []

    async def queued(pool: Pool, server: Server, number: int) -> None:
        held = await Held(pool, server).hold()
        order.append(number)
        await held.let_go(read=read)

    async with serve(answers()) as server:
        pool = Pool(limits=Limits(max_connections=1, pool_wait=LONG))
        first = await Held(pool, server).hold()
        tasks = []
        for number in range(10):
            tasks.append(asyncio.create_task(queued(pool, server, number)))
            await asyncio.sleep(0)
        assert pool.stats().waiting == 10
        await first.let_go(read=read)
        tasks.append(asyncio.create_task(queued(pool, server, 10)))
        await asyncio.gather(*tasks)
        stats = pool.stats()
        await pool.aclose()

    assert order == list(range(11))
    assert stats == (ONE_IDLE if read else NOTHING)


async def test_a_waiter_who_gives_up_leaves_the_queue() -> None:
    """The one behind gets the connection, and the queue is empty afterwards."""
    async with serve(answers()) as server:
        pool = Pool(limits=Limits(max_connections=1, pool_wait=LONG))
        held = await Held(pool, server).hold()
        gone = asyncio.create_task(fetch(pool, server))
        stays = asyncio.create_task(fetch(pool, server))
        await eventually(lambda: pool.stats().waiting == 2)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert pool.stats().waiting == 1
        await held.let_go()
        result = await stays
        stats = pool.stats()
        await pool.aclose()

    assert result == (200, b"ok")
    assert stats == ONE_IDLE
    assert len(server.peers) == 1


@pytest.mark.parametrize("read", [True, False], ids=["connection", "slot"])
async def test_what_was_granted_to_a_waiter_who_left_in_that_instant_goes_on_to_the_next(read: bool) -> None:
    """Grant and cancellation in the same turn of the loop lose neither connection nor slot."""
    async with serve(answers()) as server:
        pool = Pool(limits=Limits(max_connections=1, pool_wait=LONG))
        held = await Held(pool, server).hold()
        gone = asyncio.create_task(fetch(pool, server))
        await asyncio.sleep(0)
        stays = asyncio.create_task(fetch(pool, server))
        await asyncio.sleep(0)
        await held.let_go(read=read)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        result = await stays
        stats = pool.stats()
        await pool.aclose()

    assert result == (200, b"ok")
    assert stats == ONE_IDLE


@pytest.mark.parametrize(("pool_wait", "patience"), [(5, 3600), (3600, 5)])
async def test_nobody_waits_for_a_connection_longer_than_allowed(pool_wait: float, patience: float) -> None:
    """It is a PoolTimeout, after `pool_wait` or at the request's own deadline, and the queue is empty after it."""
    now = 1000.0
    async with serve(once(b"")) as server:
        pool = Pool(clock=lambda: now, limits=Limits(max_connections=1, pool_wait=pool_wait, sweep=0.001))
        holder = asyncio.create_task(ask(pool, server.origin, patience=10_000))
        await eventually(lambda: server.requests == 1)
        waiter = asyncio.create_task(ask(pool, server.origin, patience=patience))
        await eventually(lambda: pool.stats().waiting == 1)
        now += 4
        assert not waiter.done()
        now += 1
        await eventually(waiter.done)
        stats = pool.stats()
        holder.cancel()
        await asyncio.wait({holder})
        await pool.aclose()

    assert type(waiter.exception()) is PoolTimeout
    assert stats == Stats(open=1, idle=0, busy=1, connecting=0, waiting=0, slots=1)
    assert server.requests == 1


async def test_the_queue_is_bounded() -> None:
    """One more than `max_waiting` fails at once."""
    async with serve(answers()) as server:
        pool = Pool(limits=Limits(max_connections=1, max_waiting=2, pool_wait=LONG))
        held = await Held(pool, server).hold()
        waiting = [asyncio.create_task(fetch(pool, server)) for _ in range(2)]
        await eventually(lambda: pool.stats().waiting == 2)
        with pytest.raises(PoolTimeout, match="too many"):
            await fetch(pool, server)
        await held.let_go()
        results = await asyncio.gather(*waiting)
        await pool.aclose()

    assert results == [(200, b"ok")] * 2


async def test_those_who_wait_are_told_when_the_pool_closes() -> None:
    """They get PoolTimeout's cousin at once, not at their deadline."""
    async with serve(once(b"")) as server:
        pool = Pool(limits=Limits(max_connections=1, pool_wait=LONG))
        tasks = [asyncio.create_task(fetch(pool, server)) for _ in range(3)]
        await eventually(lambda: pool.stats().waiting == 2 and server.requests == 1)
        await pool.aclose()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await server.nobody()

    assert {str(end) for end in ends} == {"the connection pool is closed"}
    assert pool.stats() == NOTHING


async def test_a_connection_granted_in_the_instant_of_closing_is_not_used() -> None:
    """Whoever has one and has not begun is told as well; it is not left open behind the pool."""
    async with serve(answers()) as server:
        pool = Pool(limits=Limits(max_connections=1, pool_wait=LONG))
        held = await Held(pool, server).hold()
        granted = asyncio.create_task(fetch(pool, server))
        await eventually(lambda: pool.stats().waiting == 1)
        await held.let_go()
        await pool.aclose()
        with pytest.raises(PoolClosed):
            await granted
        await server.nobody()

    assert pool.stats() == NOTHING
    assert server.requests == 1


async def test_an_answer_that_is_all_here_can_be_read_after_closing() -> None:
    """Closing the pool takes nothing away from whoever has it already; the connection goes with its exchange."""
    async with serve(answers()) as server:
        pool = Pool()
        held = await Held(pool, server).hold()
        await pool.aclose()
        assert held.response is not None
        body = await held.response.read_all(time.monotonic() + LONG, limit=100)
        await held.let_go()
        await server.nobody()

    assert body == b"ok"
    assert pool.stats() == NOTHING


# What is left behind.


async def test_a_connection_does_not_carry_the_context_of_whoever_opened_it() -> None:
    """Context variables of the first request do not live on in the pool."""

    class Secret:
        pass

    variable: contextvars.ContextVar[Secret] = contextvars.ContextVar("variable")

    async def first(pool: Pool, server: Server) -> weakref.ref[Secret]:
        secret = Secret()
        variable.set(secret)
        await fetch(pool, server)
        return weakref.ref(secret)

    async with serve(answers()) as server:
        pool = Pool()
        left = await asyncio.create_task(first(pool, server))
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        alive = left()
        await pool.aclose()

    assert alive is None


async def test_a_closed_connection_is_freed_without_the_garbage_collector() -> None:
    """Servers that close after every answer must not make the memory depend on when garbage is collected."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"ok", b"connection: close")

    async with serve(script) as server:
        pool = Pool()
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await fetch(pool, server)
            await server.nobody()
            for _ in range(5):
                await asyncio.sleep(0)
            left = sum(isinstance(thing, Connection) for thing in gc.get_objects())
        finally:
            gc.enable()
        await pool.aclose()

    assert left == 0


async def test_origins_that_are_not_used_any_more_are_forgotten() -> None:
    """A thousand reloads with new origins leave a pool as small as before."""
    now = 1000.0
    async with contextlib.AsyncExitStack() as stack:
        pool = Pool(clock=lambda: now, limits=Limits(sweep=0.001, keepalive_idle=1))
        for _ in range(5):
            server = await stack.enter_async_context(serve(answers()))
            async with pool.request(server.origin, HEAD, b"", connect_timeout=5, until=now + 5) as response:
                await response.read_all(now + 5, limit=10)
        before = repr(pool)
        now += 2
        await eventually(lambda: "origins=0" in repr(pool))
        await pool.aclose()

    assert "origins=5" in before


async def test_the_pool_describes_itself() -> None:
    """Its repr says what it holds, for logs and for whoever debugs at night."""
    async with serve(answers()) as server:
        pool = Pool()
        held = await Held(pool, server).hold()
        busy = repr(pool)
        await held.let_go()
        idle = repr(pool)
        await pool.aclose()

    assert busy == "<Pool origins=1 open=1 idle=0 busy=1 connecting=0 waiting=0>"
    assert idle == "<Pool origins=1 open=1 idle=1 busy=0 connecting=0 waiting=0>"


# Origins.


@pytest.mark.parametrize(
    ("url", "origin", "prefix", "authority"),
    [
        ("http://127.0.0.1:8080/v1", Origin("http", "127.0.0.1", 8080), "/v1", "127.0.0.1:8080"),
        ("https://API.Example.com/v1/", Origin("https", "api.example.com", 443), "/v1", "api.example.com"),
        ("https://example.com", Origin("https", "example.com", 443), "", "example.com"),
        ("http://example.com:443/", Origin("http", "example.com", 443), "", "example.com:443"),
        ("http://[::1]:9/a/b", Origin("http", "::1", 9), "/a/b", "[::1]:9"),
        ("https://bücher.example/v1", Origin("https", "xn--bcher-kva.example", 443), "/v1", "xn--bcher-kva.example"),
    ],
)
def test_a_base_url_is_an_origin_and_a_prefix(url: str, origin: Origin, prefix: str, authority: str) -> None:
    """Scheme, host and port make the origin; the path is the caller's to put before its own."""
    assert Origin.parse(url) == (origin, prefix)
    assert origin.authority == authority
    assert str(origin) == f"{origin.scheme}://{authority}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "unix:///run/x",
        "http://",
        "http://:80",
        "http://example.com:0",
        "http://example.com:65536",
        "http://example.com:http",
        "http://user:hunter2@example.com",
        "http://example.com/?key=hunter2",
        "http://example.com/#hunter2",
        "http://exa mple.com/",
        "http://example.com/a b",
        "http://example.com/a\r\nx: y",
        "http://example.com/ä",
        "http://[::1/",
        "http://a..b/",
        "http://" + "ä" * 80 + ".example/",
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    """A URL may hold a secret, so the error says what is wrong and nothing of it."""
    with pytest.raises(ValueError) as caught:
        Origin.parse(url)

    assert "hunter2" not in str(caught.value)
