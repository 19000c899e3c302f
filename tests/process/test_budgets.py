"""Budgets of a real process: killed with -9 under load, and on a disk that is full."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.gateway import Ask
from tests.edge.raw import Response
from tests.process.callers import ask, calling, post
from tests.process.gateway import Gateway, chat_body, gateway
from tests.process.program import PATIENCE

CALLERS = 16
PRICE = 3.5
"""Satoshis for each answer: 100 tokens in, 200 out, and the fee."""
MOST = 10.0
"""Satoshis, which no request may cost."""
LEASE = 0.01
REQUEST = post(chat_body(max_tokens=200))


def total(limit: int) -> str:
    """The configuration of a budget that never begins anew."""
    return f"[budget]\nmax_cost_total = {limit}\nlease = {LEASE}\n"


async def window(live: Gateway, name: str = "total") -> dict[str, Any]:
    status, body = await live.get("/v1/budget")
    assert status == 200
    found = body[name]
    assert isinstance(found, dict)
    return found


@asynccontextmanager
async def load(live: Gateway, statuses: list[int], requests: int = 10**9) -> AsyncIterator[None]:
    """Callers with a request each at a time, until the gateway is gone, or each has made so many."""

    async def one() -> None:
        try:
            async with calling(live.program.port) as caller:
                for _ in range(requests):
                    response: Response = await ask(caller, REQUEST)
                    statuses.append(response.status)
        except (ConnectionError, asyncio.IncompleteReadError):
            return

    callers = [asyncio.ensure_future(one()) for _ in range(CALLERS)]
    try:
        yield
    finally:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*callers)


async def test_after_a_kill_no_less_is_spent_than_the_provider_charges(tmp_path: Path) -> None:
    """By its own count, which has requests whose rows were lost; and at most what was leased beyond it: what was in
    flight, and the share that is leased ahead. The hour, which has no limit, knows what was logged."""
    folder, limit, statuses = tmp_path / "run", 10_000, list[int]()
    async with gateway(folder, more=total(limit)) as live:
        async with load(live, statuses):
            await live.asked(300)
            code = await live.program.stopped(signal.SIGKILL)
        charged = PRICE * len(live.alpha.asks)
    async with gateway(folder, more=total(limit)) as live:
        found = await window(live)
        again = await live.chat(max_tokens=200)
        after = await window(live)

    assert code == -signal.SIGKILL
    assert set(statuses) == {200}
    assert charged <= found["spent"] <= charged + CALLERS * MOST + limit * LEASE
    assert found["reserved"] == 0
    assert again.status == 200
    assert round(after["spent"] - found["spent"], 6) == PRICE


async def test_killed_again_and_again_the_limit_holds(tmp_path: Path) -> None:
    """Each process is killed in the middle of its work, the last one works until it is refused: the provider has
    charged nearly all of the limit, and never more."""
    folder, limit = tmp_path / "run", 900
    charged = 0.0
    for _ in range(3):
        async with gateway(folder, more=total(limit)) as live:
            assert charged <= (await window(live))["spent"]
            async with load(live, []):
                await live.asked(40)
                await live.program.stopped(signal.SIGKILL)
            charged += PRICE * len(live.alpha.asks)
    statuses: list[int] = []
    async with gateway(folder, more=total(limit)) as live:
        async with load(live, statuses, requests=20):
            pass
        charged += PRICE * len(live.alpha.asks)
        found = await window(live)

    assert set(statuses) == {200, 429}
    assert found["reserved"] == 0
    assert charged <= found["spent"] <= limit
    assert charged >= limit - 4 * (CALLERS * MOST + limit * LEASE)


async def test_an_orderly_stop_gives_back_what_was_leased(tmp_path: Path) -> None:
    """SIGTERM: the next process finds exactly what the answers cost."""
    folder, statuses = tmp_path / "run", list[int]()
    async with gateway(folder, more=total(1000)) as live:
        async with load(live, statuses, requests=2):
            pass
        assert await live.program.stopped() == 0
    async with gateway(folder, more=total(1000)) as live:
        found = await window(live)

    assert statuses == [200] * 2 * CALLERS
    assert found["spent"] == PRICE * 2 * CALLERS


async def test_a_kill_while_all_are_in_flight_charges_what_they_may_have_cost(tmp_path: Path) -> None:
    """The provider has them all and answers none: whoever is killed then has logged nothing, and has spent it."""
    folder = tmp_path / "run"
    async with gateway(folder, more=total(1000)) as live:

        async def silent(ask: Ask) -> None:
            await ask.peer.left()

        live.alpha.usual = silent
        async with load(live, []):
            await live.asked(CALLERS)
            reserved = (await window(live))["reserved"]
            await live.program.stopped(signal.SIGKILL)
    async with gateway(folder, more=total(1000)) as live:
        found = await window(live)

    assert reserved >= CALLERS * PRICE
    assert reserved <= found["spent"] <= reserved + 1000 * LEASE


async def test_a_budget_that_cannot_be_written_down_refuses(tmp_path: Path) -> None:
    """The disk is full. What was leased before may still be spent; then it is 503, and no provider is asked. With room
    again it goes on by itself."""
    folder = tmp_path / "run"
    async with gateway(folder, more=total(1000)) as live:
        assert (await live.chat(max_tokens=200)).status == 200
        await live.idle()
        _, largest = resource.prlimit(live.program.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(live.program.process.pid, resource.RLIMIT_FSIZE, (0, largest))

        async with asyncio.timeout(PATIENCE):
            while (refused := await live.chat(max_tokens=200)).status == 200:
                pass
        asked = len(live.alpha.asks)
        held = await window(live)
        resource.prlimit(live.program.process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        async with asyncio.timeout(PATIENCE):
            while (await live.chat(max_tokens=200)).status != 200:
                pass

        assert (refused.status, refused.error["code"]) == (503, "budget_unavailable")
        assert held["reserved"] == 0
        assert asked < 10
        await live.program.said("budgets cannot be written down")
        await live.program.said("budgets can be written down again")
