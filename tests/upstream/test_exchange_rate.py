"""What a dollar is worth, asked of servers that answer, are wrong, are slow or are gone."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from arbstr.config.kinds import Resource, Seconds
from arbstr.config.money import ExchangeTable, Source
from arbstr.domain.money import ExchangeRate
from arbstr.testing import FakeClock, ListLog
from arbstr.upstream.exchange_rate import LARGEST, PATIENCE, RatePoller
from arbstr.upstream.pool import Limits, Pool
from tests.upstream.servers import Peer, Script, Server, answers, eventually, serve

FAILED = "an exchange rate cannot be read"
STALE = "no source gives an exchange rate: the last one holds"
KNOWN_AGAIN = "the exchange rate is known again"
MAX_AGE = 600.0


class Rig:
    """A poller with what it wrote and what it handed on. All its time is the test's."""

    def __init__(self, *sources: Source) -> None:
        self.clock = FakeClock()
        self.log = ListLog()
        self.adopted: list[ExchangeRate] = []
        self.pool = Pool(clock=self.clock.monotonic, limits=Limits(sweep=0.001))
        self.poller = RatePoller(
            ExchangeTable(sources=sources, poll=Seconds(60.0), max_age=Seconds(MAX_AGE)),
            pool=self.pool,
            clock=self.clock,
            log=self.log,
            adopt=self.adopted.append,
        )

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(level, event) for level, event, _ in self.log.lines]

    @property
    def rates(self) -> list[float]:
        return [rate.sats_per_usd for rate in self.adopted]


@contextlib.asynccontextmanager
async def rigged(*sources: Source) -> AsyncIterator[Rig]:
    rig = Rig(*sources)
    try:
        yield rig
    finally:
        await rig.pool.aclose()


@contextlib.asynccontextmanager
async def serving(*scripts: Script) -> AsyncIterator[list[Server]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serve(script)) for script in scripts]


def source(server: Server, target: str = "/", *, path: str = "usd", unit: Any = "usd_per_btc") -> Source:
    return Source(url=Resource(f"{server.origin}{target}"), path=path, unit=unit)


def price(usd: float | str) -> bytes:
    """An answer with so many dollars for a bitcoin."""
    return json.dumps({"usd": usd}).encode()


class Changing:
    """A script whose answer the test changes while it runs."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = b"200 OK"

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(self.body, status=self.status)


async def down(peer: Peer) -> None:
    peer.reset()


# What holds.


async def test_the_median_of_three_is_adopted() -> None:
    """With when it was read, and of how many it is."""
    async with serving(answers(price(100_000)), answers(price("50000.00")), answers(price(80_000))) as servers:
        async with rigged(*map(source, servers)) as rig:
            await rig.poller.look()

            assert rig.adopted == [
                ExchangeRate.of(Decimal(1250), source="median of 3 sources", at=rig.clock.time()),
            ]
            assert rig.said == []


async def test_one_that_has_gone_mad_changes_little() -> None:
    """The two that are sane enclose what holds."""
    async with serving(answers(price(100_000)), answers(price(0.5)), answers(price(80_000))) as servers:
        async with rigged(*map(source, servers)) as rig:
            await rig.poller.look()

            assert rig.rates == [1250.0]


async def test_one_that_is_down_is_said_once_and_the_others_hold() -> None:
    """Its host and what is wrong, however often it is asked."""
    async with serving(answers(price(100_000)), down, answers(price(80_000))) as servers:
        async with rigged(*map(source, servers)) as rig:
            await rig.poller.look()
            await rig.poller.look()

            ((level, event, fields),) = rig.log.lines
            assert (level, event) == ("warning", FAILED)
            assert fields["source"] == servers[1].origin.authority
            assert rig.rates == [1125.0, 1125.0]


async def test_nobody_waits_long_for_one_that_is_slow() -> None:
    """When its time is over, what the others said holds."""

    async def silent(peer: Peer) -> None:
        await peer.request()
        peer.server.seen.set()
        await peer.left()

    async with serving(answers(price(100_000)), silent, answers(price(80_000))) as servers:
        async with rigged(*map(source, servers)) as rig:
            looking = asyncio.create_task(rig.poller.look())
            await servers[1].seen.wait()
            await eventually(lambda: (rig.pool.stats().busy, rig.pool.stats().idle) == (1, 2))
            early = list(rig.adopted)
            rig.clock.advance(PATIENCE)
            await looking

            assert early == []
            assert rig.rates == [1125.0]
            assert [fields["error"] for _, _, fields in rig.log.lines] == ["no response head in time"]


async def test_a_body_that_does_not_end_is_given_up() -> None:
    """The patience is for the answer as a whole."""

    async def dripping(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        peer.server.seen.set()
        await peer.left()

    async with serving(dripping) as (server,), rigged(source(server)) as rig:
        looking = asyncio.create_task(rig.poller.look())
        await server.seen.wait()
        await asyncio.sleep(0)
        rig.clock.advance(PATIENCE)
        await looking

        assert rig.adopted == []
        assert rig.said == [("warning", FAILED), ("warning", STALE)]


async def test_what_a_number_is_can_be_said_either_way() -> None:
    """The dollars of a bitcoin or the satoshis of a dollar; two numbers of one answer are two sources."""
    async with serving(answers(b'[{"usd": 50000.0, "sats": [2100]}]')) as (server,):
        both = (source(server, path="0.usd"), source(server, path="0.sats.0", unit="sats_per_usd"))
        async with rigged(*both) as rig:
            await rig.poller.look()

            assert rig.rates == [2050.0]
            assert rig.adopted[0].source == "median of 2 sources"


async def test_every_digit_counts() -> None:
    """No binary fraction comes between the answer and the rate."""
    async with serving(answers(b'{"usd": 1234.567891}')) as (server,):
        async with rigged(source(server, unit="sats_per_usd")) as rig:
            await rig.poller.look()

            assert rig.adopted[0].micro_sats_per_usd == 1_234_567_891


@pytest.mark.parametrize("target", ["/v1/rates?pair=BTC,USD&key=a%20b", "/", "", "?q=1"])
async def test_it_asks_for_what_is_configured(target: str) -> None:
    """Path and query as they are written, and nothing that tells who asks."""
    heads = []

    async def script(peer: Peer) -> None:
        heads.append((await peer.request())[0])
        await peer.answer(price(100_000))

    async with serving(script) as (server,), rigged(source(server, target)) as rig:
        await rig.poller.look()

        (head,) = heads
        wanted = target if target.startswith("/") else f"/{target}"
        assert head.split(b"\r\n")[0] == f"GET {wanted} HTTP/1.1".encode()
        assert sorted(line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line) == [
            b"accept",
            b"accept-encoding",
            b"host",
            b"user-agent",
        ]
        assert rig.rates == [1000.0]


async def test_a_compressed_answer_is_read() -> None:
    """As most servers send it."""
    packed = gzip.compress(price(100_000))
    raw = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed

    async with serving(always(raw)) as (server,), rigged(source(server)) as rig:
        await rig.poller.look()

        assert rig.rates == [1000.0]


# What does not hold.


def always(raw: bytes) -> Script:
    """A script that answers every request with these bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(raw)

    return script


def answered(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> Script:
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return always(b"\r\n".join(lines) + b"\r\n\r\n" + body)


def _bomb() -> bytes:
    packed = gzip.compress(b'{"usd": "' + b"1" * (4 * LARGEST) + b'"}')
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (answered(price(1), b"500 Internal Server Error"), "status 500"),
        (answered(price(1), b"429 Too Many Requests", b"retry-after: 1"), "status 429"),
        (answered(price(100_000), b"204 No Content"), ""),
        (answered(b"<!doctype html><p>100000</p>"), "JSON is malformed"),
        (answered(b""), "Input data was truncated"),
        (answered(b"\xff\xfe"), "JSON is malformed"),
        (answered(b"[" * 100_000), "recursion"),
        (answered(b'{"usd": null}'), "'usd' is no number"),
        (answered(b'{"usd": true}'), "'usd' is no number"),
        (answered(b'{"usd": "NaN"}'), "'usd' is no number"),
        (answered(b'{"eur": 1}'), "there is no 'usd' in it"),
        (answered(b'{"usd": 0}'), "0 (usd_per_btc) can be no rate"),
        (answered(b'{"usd": -97000}'), "can be no rate"),
        (answered(b'{"usd": 1e999999}'), "can be no rate"),
        (answered(b'{"usd": 1e-999999}'), "can be no rate"),
        (answered(b'{"usd": 1e99999999999999999999}'), "too large"),
        (answered(b'{"usd": ' + b"9" * 5000 + b"}"), "out of range"),
        (answered(b"1" * (LARGEST + 1)), ""),
        (always(_bomb()), ""),
        (always(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n"), ""),
        (always(b"not HTTP at all\r\n\r\n"), ""),
        (always(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi"), ""),
    ],
)
async def test_an_answer_without_a_rate_is_said_and_never_taken(script: Script, error: str) -> None:
    """Whatever a source sends, it ends in one line, and the next look asks it again."""
    async with serving(script) as (server,), rigged(source(server)) as rig:
        await rig.poller.look()
        await rig.poller.look()

        assert rig.adopted == []
        assert rig.said == [("warning", FAILED), ("warning", STALE)]
        assert error.lower() in rig.log.lines[0][2]["error"].lower()
        assert len(rig.log.lines[0][2]["error"]) <= 200
        assert server.requests == 2


async def test_a_redirect_is_not_followed() -> None:
    """Nobody is asked whom the configuration does not name."""
    async with serving(answers(price(100_000))) as (elsewhere,):
        moved = answered(b"", b"302 Found", b"location: " + str(elsewhere.origin).encode())
        async with serving(moved) as (server,), rigged(source(server)) as rig:
            await rig.poller.look()

            assert rig.adopted == []
            assert rig.log.lines[0][2]["error"] == "status 302"
            assert elsewhere.requests == 0


async def test_what_a_url_holds_is_in_no_line() -> None:
    """It may be a token; neither is what the source answered."""
    async with serving(answers(b'{"usd": "hidden-answer"}'), down) as servers:
        secret = [source(server, "/hidden/path?key=hidden-token") for server in servers]
        async with rigged(*secret) as rig:
            await rig.poller.look()

            assert len(rig.log.lines) == 3
            assert "hidden" not in str(rig.log.lines)


# Over time.


async def test_it_is_stale_once_and_known_again_always() -> None:
    """While nobody answers, the last rate is kept, and only the turns are said."""
    script = Changing(price(100_000))
    async with serving(script) as (server,), rigged(source(server)) as rig:
        await rig.poller.look()
        script.status = b"503 Service Unavailable"
        rig.clock.advance(MAX_AGE)
        await rig.poller.look()
        within = list(rig.said)
        rig.clock.advance(1)
        await rig.poller.look()
        await rig.poller.look()
        beyond = list(rig.said)
        script.status = b"200 OK"
        script.body = price(50_000)
        await rig.poller.look()
        await rig.poller.look()

        assert within == [("warning", FAILED)]
        assert beyond == [("warning", FAILED), ("warning", STALE)]
        assert rig.said == [("warning", FAILED), ("warning", STALE), ("info", KNOWN_AGAIN)]
        assert rig.log.lines[1][2] == {"max_age_s": MAX_AGE}
        assert rig.log.lines[2][2] == {"sats_per_usd": 2000.0}
        assert rig.rates == [1000.0, 1000.0, 2000.0, 2000.0]


async def test_a_reading_is_as_old_as_its_answer() -> None:
    """A source that is gone stays in the median until its last word is too old."""
    first, second = Changing(price(100_000)), Changing(price(50_000))
    async with serving(first, second) as servers, rigged(*map(source, servers)) as rig:
        began = rig.clock.time()
        await rig.poller.look()
        first.status = b"500 Internal Server Error"
        rig.clock.advance(MAX_AGE)
        await rig.poller.look()
        rig.clock.advance(1)
        await rig.poller.look()

        assert rig.rates == [1500.0, 1500.0, 2000.0]
        assert [rate.at - began for rate in rig.adopted] == [0.0, 0.0, MAX_AGE + 1]


async def test_a_source_that_came_back_may_fail_again() -> None:
    """Each time it stops answering is told."""
    script = Changing(price(100_000))
    async with serving(script) as (server,), rigged(source(server)) as rig:
        for status in (b"500 Broken", b"200 OK", b"500 Broken", b"500 Broken"):
            script.status = status
            await rig.poller.look()

        assert [event for _, event in rig.said] == [FAILED, STALE, KNOWN_AGAIN, FAILED]


async def test_it_looks_at_once_and_then_every_poll() -> None:
    """Until it is cancelled."""
    async with serving(answers(price(100_000))) as (server,), rigged(source(server)) as rig:
        running = asyncio.create_task(rig.poller.run())
        await eventually(lambda: len(rig.adopted) >= 3)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

        assert set(rig.clock.slept) == {60.0}
        assert len(rig.clock.slept) in (len(rig.adopted), len(rig.adopted) - 1)
        assert rig.adopted[1].at - rig.adopted[0].at == 60.0
