"""Ways in which a connection does not come about: refused, never answered, no such name, no descriptors."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from arbstr.upstream import resolve
from arbstr.upstream.dial import translated
from arbstr.upstream.errors import ConnectError, ConnectTimeout, PoolTimeout
from arbstr.upstream.pool import Limits, Origin, Pool, Stats
from arbstr.upstream.resolve import FRESH, KEEP, Address
from tests.upstream.servers import LONG, Peer, Server, answers, ask, eventually, fetch, serve

NOTHING = Stats(open=0, idle=0, busy=0, connecting=0, waiting=0, slots=0)
ONE_IDLE = Stats(open=1, idle=1, busy=0, connecting=0, waiting=0, slots=1)
V4, V6 = socket.AF_INET, socket.AF_INET6


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def black_hole() -> Iterator[int]:
    """Listen on a port and never accept, with a backlog that is full: the kernel drops every further SYN."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            yield address[1]
        finally:
            for filler in fillers:
                filler.close()


# TCP.


async def test_a_refused_connection_is_told_at_once() -> None:
    """Nobody listens: a ConnectError that says so, without the address in it."""
    port = closed_port()
    pool = Pool()
    with pytest.raises(ConnectError, match=r"^Connection refused$") as caught:
        await ask(pool, Origin("http", "127.0.0.1", port))
    stats = pool.stats()
    await pool.aclose()

    assert type(caught.value) is ConnectError
    assert str(port) not in caught.value.reason
    assert stats == NOTHING


@pytest.mark.parametrize(("connect_timeout", "patience"), [(5, 3600), (3600, 5)])
async def test_a_server_that_never_answers_the_handshake_is_given_up(connect_timeout: float, patience: float) -> None:
    """A black hole costs the connect timeout, or what the request has left, and no slot."""
    now = 1000.0
    with black_hole() as port:
        pool = Pool(clock=lambda: now, limits=Limits(sweep=0.001))
        origin = Origin("http", "127.0.0.1", port)
        task = asyncio.create_task(ask(pool, origin, connect_timeout=connect_timeout, patience=patience))
        await eventually(lambda: pool.stats().connecting == 1)
        now += 4
        assert not task.done()
        now += 1
        await eventually(task.done)
        stats = pool.stats()
        await pool.aclose()
        tasks = len(asyncio.all_tasks())

    assert type(task.exception()) is ConnectTimeout
    assert stats == NOTHING
    assert tasks == 1


async def test_leaving_while_connecting_ends_the_attempt() -> None:
    """Nobody goes on knocking at a black hole for a caller who has left."""
    with black_hole() as port:
        pool = Pool()
        task = asyncio.create_task(ask(pool, Origin("http", "127.0.0.1", port)))
        await eventually(lambda: pool.stats().connecting == 1)
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await eventually(lambda: len(asyncio.all_tasks()) == 1)
        stats = pool.stats()
        await pool.aclose()

    assert task.cancelled()
    assert stats == NOTHING


async def test_those_who_queue_behind_a_failing_dial_try_for_themselves() -> None:
    """A slot that a failed dial gives back goes to the next in the queue; nobody hangs."""
    pool = Pool(limits=Limits(max_connections=1, pool_wait=LONG))
    origin = Origin("http", "127.0.0.1", closed_port())

    ends = await asyncio.gather(*(ask(pool, origin) for _ in range(5)), return_exceptions=True)
    stats = pool.stats()
    await pool.aclose()

    assert {str(end) for end in ends} == {"Connection refused"}
    assert stats == NOTHING


async def test_a_lack_of_descriptors_is_not_the_fault_of_the_server() -> None:
    """At the limit of open files it is a PoolTimeout, and afterwards all is well again."""
    async with serve(answers()) as server:
        pool = Pool()
        await fetch(pool, server)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as probe:
            lowest_free = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            with pytest.raises(PoolTimeout, match="at its limit"):
                await ask(pool, server.origin._replace(port=9))  # of no matter: there is no socket to try it with
            reused = await fetch(pool, server)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        stats = pool.stats()
        await pool.aclose()

    assert reused == (200, b"ok")
    assert stats == ONE_IDLE


@pytest.mark.parametrize(("family", "kind"), [(V4, PoolTimeout), (V6, ConnectError)])
async def test_a_lack_of_ports_is_told_from_a_lack_of_ipv6(family: socket.AddressFamily, kind: type[Exception]) -> None:
    """Both are "cannot assign requested address" to the kernel; only the first is ours, and neither ends the search."""
    full = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    error = translated(full, (family, ("address", 1)))

    assert type(error) is kind
    assert "address" in error.reason


# Names.


class Resolver:
    """A scripted resolver: what it is set to answer, or an error, or nothing for as long as `hold` is not set."""

    def __init__(self, answer: Sequence[Address] | OSError) -> None:
        self.answer = answer
        self.asked = 0
        self.hold: asyncio.Event | None = None

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return [(family, (str(host), port)) for family, (host, *_) in self.answer]


HERE: Sequence[Address] = [(V4, ("127.0.0.1", 0))]
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def named(server: Server) -> Origin:
    return server.origin._replace(host="provider.test")


async def test_a_name_is_looked_up_by_the_machine() -> None:
    """localhost is known to every machine; its addresses are tried until one accepts."""
    async with serve(answers()) as server:
        pool = Pool()
        body = await ask(pool, server.origin._replace(host="localhost"))
        await pool.aclose()

    assert body == b"ok"


async def test_an_unknown_name_is_a_connect_error() -> None:
    """The reason says that it is the name, and does not repeat it."""
    pool = Pool(lookup=Resolver(UNKNOWN))
    with pytest.raises(ConnectError, match=r"^dns: Name or service not known$"):
        await ask(pool, Origin("http", "provider.test", 80))
    stats = pool.stats()
    await pool.aclose()

    assert stats == NOTHING


async def test_a_resolver_that_breaks_is_a_connect_error() -> None:
    """Whatever it raises, the caller gets an error of ours."""

    async def broken(host: str, port: int) -> Sequence[Address]:
        raise UnicodeError("label too long")

    pool = Pool(lookup=broken)
    with pytest.raises(ConnectError, match="dns: UnicodeError"):
        await ask(pool, Origin("http", "provider.test", 80))
    await pool.aclose()


async def test_an_address_needs_no_lookup() -> None:
    """IPv4 and IPv6 literals go straight to the socket."""
    lookup = Resolver(UNKNOWN)
    resolver = resolve.Resolver(clock=time.monotonic, lookup=lookup)

    assert await resolver.addresses("127.0.0.1", 80, patience=1) == [(V4, ("127.0.0.1", 80))]
    assert await resolver.addresses("::1", 80, patience=1) == [(V6, ("::1", 80))]
    assert lookup.asked == 0


async def test_remembered_names_are_bounded() -> None:
    """Beyond MOST_NAMES the oldest is forgotten and asked for again."""
    lookup = Resolver(HERE)
    resolver = resolve.Resolver(clock=lambda: 1000.0, lookup=lookup)
    for number in range(resolve.MOST_NAMES + 1):
        await resolver.addresses(f"{number}.test", 80, patience=1)
    before = lookup.asked

    await resolver.addresses("1.test", 80, patience=1)
    assert lookup.asked == before
    await resolver.addresses("0.test", 80, patience=1)
    assert lookup.asked == before + 1


async def test_a_name_without_addresses_is_a_connect_error() -> None:
    """An empty answer is no answer."""
    pool = Pool(lookup=Resolver([]))
    with pytest.raises(ConnectError, match="dns: the name has no address"):
        await ask(pool, Origin("http", "provider.test", 80))
    await pool.aclose()


async def test_a_slow_resolver_is_given_up_and_holds_up_nobody_else() -> None:
    """The lookup counts against the connect timeout, while another origin is served."""
    resolver = Resolver(HERE)
    resolver.hold = asyncio.Event()
    async with serve(answers()) as server:
        pool = Pool(lookup=resolver)
        slow = asyncio.create_task(ask(pool, named(server), connect_timeout=0.05))
        other = await fetch(pool, server)
        with pytest.raises(ConnectTimeout):
            await slow
        await pool.aclose()

    assert other == (200, b"ok")
    assert len(asyncio.all_tasks()) == 1


async def test_one_lookup_serves_all_who_wait_for_it() -> None:
    """A burst of connections asks once, also when the first who asked has left."""
    resolver = Resolver(HERE)
    resolver.hold = asyncio.Event()
    async with serve(answers()) as server:
        pool = Pool(lookup=resolver)
        tasks = [asyncio.create_task(ask(pool, named(server))) for _ in range(10)]
        await eventually(lambda: resolver.asked > 0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        resolver.hold.set()
        bodies = await asyncio.gather(*tasks[1:])
        await pool.aclose()

    assert bodies == [b"ok"] * 9
    assert resolver.asked == 1


async def test_the_last_good_address_stands_in_for_a_resolver_that_fails() -> None:
    """For KEEP seconds and not longer; while it is fresh the resolver is not even asked."""
    now = 1000.0
    resolver = Resolver(HERE)

    async with serve(close_after_one) as server:
        pool = Pool(clock=lambda: now, lookup=resolver)
        origin = named(server)
        asked = []
        await ask(pool, origin)
        resolver.answer = UNKNOWN
        for passed in (FRESH - 1, FRESH + 1, KEEP - 1):
            now = 1000.0 + passed
            assert await ask(pool, origin) == b"ok"
            asked.append(resolver.asked)
        now = 1000.0 + KEEP
        with pytest.raises(ConnectError, match="dns"):
            await ask(pool, origin)
        await pool.aclose()

    assert asked == [1, 2, 3]


async def close_after_one(peer: Peer) -> None:
    """Answer one request and close."""
    await peer.request()
    await peer.answer(b"ok", b"connection: close")


async def test_the_last_good_address_stands_in_for_a_resolver_that_is_slow() -> None:
    """A quarter of the connect timeout is what it gets; a late answer is still learnt."""
    now = 1000.0
    resolver = Resolver(HERE)
    async with serve(close_after_one) as server:
        pool = Pool(clock=lambda: now, lookup=resolver)
        await ask(pool, named(server))
        now += FRESH
        resolver.hold = asyncio.Event()
        body = await ask(pool, named(server), connect_timeout=0.1)
        assert resolver.asked == 2
        resolver.hold.set()
        await eventually(lambda: len(asyncio.all_tasks()) == 1)
        again = await ask(pool, named(server))
        await pool.aclose()

    assert (body, again) == (b"ok", b"ok")
    assert resolver.asked == 2


async def test_a_server_that_moved_is_found_again() -> None:
    """When none of the addresses accepts, the next connection asks the resolver anew, fresh answer or not."""
    resolver = Resolver([(V4, ("127.0.0.9", 0))])
    async with serve(answers()) as server:
        pool = Pool(lookup=resolver)
        with pytest.raises(ConnectError):
            await ask(pool, named(server))
        resolver.answer = HERE
        body = await ask(pool, named(server))
        await pool.aclose()

    assert body == b"ok"
    assert resolver.asked == 2


async def test_every_address_gets_its_try() -> None:
    """One that refuses and one that never answers do not keep the third from being reached."""
    with black_hole() as port:
        listener = await asyncio.start_server(_say_ok, "127.0.0.2", port)
        resolver = Resolver([(V4, ("127.0.0.3", 0)), (V4, ("127.0.0.1", 0)), (V4, ("127.0.0.2", 0))])
        pool = Pool(lookup=resolver)
        body = await ask(pool, Origin("http", "provider.test", port), connect_timeout=0.5)
        await pool.aclose()
        listener.close()
        await listener.wait_closed()

    assert body == b"ok"


async def _say_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    await writer.drain()
    writer.close()
