"""Stores, clocks, tasks and control loops: what outlives a request, and what must not."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from arbstr.config.load import load
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.money import Rates
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Deployment, Route, Strategy
from arbstr.service import Service
from arbstr.store.errors import StoreError
from arbstr.store.sqlite import SqliteLog
from arbstr.testing import ScriptedAttempt, ScriptedProvider, Step
from tests.e2e.gateway import DONE, HEL, ROLE, Ask, busy, gateway
from tests.faults.third import FAST, HASTY, gateway_before
from tests.pipeline.rig import CHEAP, DEAR, HELLO, MODEL, Rig, deployment, failure, whole
from tests.upstream.servers import LONG, Peer


async def test_a_database_that_is_broken_under_way_fails_no_request(tmp_path: Path) -> None:
    """Every page of it is overwritten while it is in use: requests are answered, whoever asks for old ones is told, and
    the next start refuses the file instead of going on with it."""
    async with gateway(tmp_path) as running:
        await running.row(await running.chat())
        for name in ("arbstr.db", "arbstr.db-wal"):
            with (tmp_path / name).open("r+b") as broken:
                broken.write(b"\xa5" * max((tmp_path / name).stat().st_size, 4096))

        after = [(await running.chat()).status for _ in range(10)]
        listed = await running.get("/v1/requests")
        ready = await running.get("/readyz")

    assert after == [200] * 10
    assert (listed.status, listed.error["code"]) == (503, "log_unavailable")
    assert ready.status == 200
    with pytest.raises(StoreError, match=r"arbstr\.db"):
        async with Service(load(tmp_path / "arbstr.toml", environ={})):
            pass


def test_a_folder_that_takes_no_files_is_refused() -> None:
    """Nobody can write to /proc, root included: one line names the file and the reason."""
    with pytest.raises(StoreError, match=r"/proc/arbstr\.db"):
        SqliteLog.open(Path("/proc/arbstr.db"), on_problem=lambda event, fields: None)


async def test_a_clock_that_is_set_moves_no_deadline() -> None:
    """Forward or back by an hour or a day: an open circuit is open for its 30 s, and a row's times are of the clock
    that only goes forward."""
    rig = Rig()
    rig.script(CHEAP, failure(), failure(), failure(), whole())
    rig.script(DEAR, *[whole()] * 4)
    await rig.ask()

    states, asked = [], []
    for jump in (3600.0, -7200.0, 86_400.0):
        rig.clock.epoch += jump
        states.append(rig.circuit(CHEAP))
        asked.append((await rig.ask()).headers[b"x-arbstr-provider"].decode())
    rig.clock.advance(30.0)
    probing = await rig.ask()

    assert (states, asked) == (["open"] * 3, [DEAR] * 3)
    assert probing.headers[b"x-arbstr-provider"] == CHEAP.encode()
    assert all(0 <= row.latency_ms < 60_000 for row in rig.sink.requests)


async def test_a_price_holds_for_the_request_that_began_with_it() -> None:
    """A new configuration while an answer is under way: that request costs what it was planned at, only the next one
    more."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    going = asyncio.Event()
    rig.script(CHEAP, [*HELLO[:2], going, *HELLO[2:]], whole())
    caller = rig.caller(stream=True)
    task = asyncio.create_task(rig.pipeline.handle(caller))
    while not caller.received:
        await asyncio.sleep(0)

    dearer = msgspec.structs.replace(
        rig.deployments[0], rates=Rates.per_thousand(input=Decimal(500), output=Decimal(1000), base_fee=Decimal(100))
    )
    rig.pipeline.snapshot = msgspec.structs.replace(
        rig.snapshot, routes={MODEL: Route(MODEL, Strategy.CHEAPEST, (dearer,))}
    )
    going.set()
    await task
    await rig.ask()

    assert [row.cost for row in rig.sink.requests] == [3_500_000, 350_000_000]


class Flapping(ScriptedProvider):
    """Well for five seconds, broken for five, by its clock; what it does is answered at the moment of being asked."""

    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> ScriptedAttempt:
        broken = int(self.clock.now) // 5 % 2 == 1
        step: Step = UpstreamFailure(FailureKind.SERVER_ERROR, "down", status=503) if broken else whole()
        self.then(step)
        return super().open(request, deployment, until=until)


async def test_a_provider_that_comes_and_goes_costs_no_caller_an_answer() -> None:
    """Five minutes of it, twenty requests a second, beside one that is well."""
    rig = Rig()
    flapping = Flapping(rig.clock)
    rig.providers[CHEAP] = flapping
    rig.script(DEAR, *[whole()] * 6000)

    statuses = []
    while rig.clock.now < 1300.0:
        statuses.append((await rig.ask()).status)
        rig.clock.advance(0.05)

    assert len(statuses) > 3000
    assert set(statuses) == {200}
    assert flapping.opened
    assert len(flapping.opened) < len(statuses)


async def test_nothing_is_left_when_the_gateway_has_stopped(tmp_path: Path) -> None:
    """After good requests, broken ones and callers who left: no task and no thread more than before."""

    def alive() -> tuple[int, set[str]]:
        """The loop's own threads, for looking up names, stay with the loop."""
        threads = {thread.name for thread in threading.enumerate() if not thread.name.startswith("uvloop")}
        return len(asyncio.all_tasks()), threads

    before = alive()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + ROLE + HEL)
        if peer.number % 2:
            peer.reset(hard=True)
        await peer.left()

    async with gateway_before(tmp_path, script, extra=HASTY) as (running, _):
        running.alpha.usual = busy
        callers = [asyncio.create_task(running.chat(stream=bool(turn % 3))) for turn in range(30)]
        await asyncio.sleep(0.1)
        for caller in callers[::5]:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        async with asyncio.timeout(LONG):
            while running.service.state.in_flight:
                await asyncio.sleep(0.01)
        running.check_nothing_is_left()

    async with asyncio.timeout(LONG):
        while alive() != before:
            await asyncio.sleep(0.01)


async def test_a_storm_is_not_made_worse(tmp_path: Path) -> None:
    """Everybody is down and fifty callers come at once: providers get no more than their attempts, and once the
    circuits are open nothing at all."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = running.beta.usual = busy

        first = await asyncio.gather(*(running.chat() for _ in range(50)))
        asked = len(running.alpha.asks) + len(running.beta.asks)
        then = await asyncio.gather(*(running.chat() for _ in range(50)))

        assert {reply.status for reply in first} <= {502, 503}
        assert asked <= 50 * 2 * 3
        assert {(reply.status, reply.error["code"]) for reply in then} == {(503, "circuit_open")}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in then)
        assert len(running.alpha.asks) + len(running.beta.asks) == asked


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_failed_try_that_was_paid_for_is_charged_once(tmp_path: Path, stream: bool) -> None:
    """Usage that a broken try reported is not part of the answer's cost; what is known of it counts beside that."""

    async def reports_and_breaks(ask: Ask) -> None:
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":5000,"completion_tokens":5000}}\n\n'
        if stream:
            await ask.begin()
            await ask.send(ROLE + usage)
        else:
            await ask.peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n" + usage)
        ask.peer.reset()

    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = reports_and_breaks

        reply = await running.chat(stream=stream)
        row = await running.row(reply)

        assert (row["provider"], row["tokens"]["input"], row["tokens"]["output"]) == ("beta", 100, 200)
        assert row["cost"]["sats"] == 6.0
        paid = [each["cost"] for each in row["attempts"][:-1]]
        assert paid == ([76.0] * 3 if stream else [None] * 3)
        assert row["cost"]["failed_sats"] == (228.0 if stream else None)
        assert stream is (DONE in reply.body)
