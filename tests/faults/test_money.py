"""Money while requests are under way: what changes beside them, and what must not."""

from __future__ import annotations

import asyncio

from arbstr.domain.money import Currency, ExchangeRate
from arbstr.policy.budget import Period
from arbstr.testing import MemorySpend, Step
from tests.pipeline.bank import NOON, SAT, bank, begin, caller, meter, said, seller, spent
from tests.pipeline.rig import CHEAP

DOLLARS = (seller(CHEAP, 1, Currency.USD),)
BUDGET_RATE, LATER_RATE = (ExchangeRate(sats * 10**6) for sats in (10, 1000))


async def test_an_exchange_rate_holds_for_the_request_that_began_with_it() -> None:
    """What a dollar is worth changes a hundredfold while the provider thinks: reserved and charged is by the rate of
    the beginning, and the row says by which."""
    store = MemorySpend()
    async with bank(store, rate=BUDGET_RATE, sellers=DOLLARS) as rig:
        gate = asyncio.Event()
        rig.script(CHEAP, [gate, *said(20)])
        asking = caller(50)
        task = await begin(rig, asking)
        reserved = meter(rig).reserved

        rig.state.rate = LATER_RATE
        gate.set()
        await task

        assert reserved == 500 * SAT
        assert spent(rig) == 200
        assert asking.headers[b"x-arbstr-cost-sats"] == b"200"
        assert store.rows[0].sats_per_usd == 10


async def test_a_window_that_ends_while_many_are_in_flight_is_exact_on_both_sides() -> None:
    """Ten begin before midnight UTC and ten after it, and end in another order: each hour and day has its own."""
    store = MemorySpend()
    midnight = NOON + 12 * 3600
    async with bank(store, at=midnight - 1, sellers=(seller(CHEAP),)) as rig:
        gates = [asyncio.Event() for _ in range(20)]
        steps: list[Step] = [[gate, *said(nth + 1)] for nth, gate in enumerate(gates)]
        rig.script(CHEAP, *steps)
        before = [await begin(rig, caller(21)) for _ in range(10)]
        old = meter(rig)
        rig.clock.advance(2)
        after = [await begin(rig, caller(21)) for _ in range(10)]
        for gate in reversed(gates):
            gate.set()
            await asyncio.sleep(0)
        await asyncio.gather(*before, *after)

        assert (old.spent, old.reserved) == (sum(range(1, 11)) * SAT, 0)
        assert spent(rig) == spent(rig, Period.DAY) == sum(range(11, 21))
        assert sum(row.cost or 0 for row in store.rows if (row.charged_at or 0) < midnight) == old.spent
