"""The bank test: many callers at once, of all kinds, and money that is never made or lost.

Sixty-four callers ask for random amounts, streamed and whole, with keys of two currencies. Providers answer, fail,
break off and keep silent; callers leave; the clock goes on, and is set; budgets change; gateways stop, and are killed.
After every step each window adds up, and when all is quiet nothing is reserved anywhere.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest

from arbstr.domain.errors import FailureKind
from arbstr.domain.identity import Budgets
from arbstr.domain.money import Currency, ExchangeRate
from arbstr.domain.record import RequestRecord
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import BreakerSettings, BudgetSettings, Deployment
from arbstr.policy.budget import GATEWAY, Account, Meter, Period
from arbstr.testing import FakeClock, MemorySpend, ScriptedAttempt, ScriptedCaller, ScriptedProvider, Step
from tests.pipeline.bank import DOLLAR, NOON, SAT, bank, caller, key, said, seller, usage
from tests.pipeline.rig import CHEAP, DEAR, DONE, ROLE, STOP, Rig, failure, text

CALLERS = 64
STEPS = 60
MOST = 60
"""Tokens that a request takes at most."""
RATE = ExchangeRate(1000 * 10**6)
"""A dollar is 1,000 satoshis."""
BUDGET = BudgetSettings(hour=2500 * SAT, day=9000 * SAT, month=30_000 * SAT)
SMALLER = msgspec.structs.replace(BUDGET, hour=1500 * SAT, month=None)
KEYS = [
    key("sk-sats", hour=1200 * SAT, total=8000 * SAT),
    msgspec.structs.replace(key("sk-usd"), budgets=Budgets(Currency.USD, hour=DOLLAR, day=4 * DOLLAR)),
    key("sk-free"),
]
LIMITS = {
    (GATEWAY, Period.HOUR): BUDGET.hour,
    (GATEWAY, Period.DAY): BUDGET.day,
    ("sk-sats", Period.HOUR): 1200 * SAT,
    ("sk-sats", Period.TOTAL): 8000 * SAT,
    ("sk-usd", Period.HOUR): DOLLAR,
    ("sk-usd", Period.DAY): 4 * DOLLAR,
}
"""That hold all the time."""


class Erratic(ScriptedProvider):
    """Answers within what was asked for, or in one of the ways in which providers do not."""

    def __init__(self, clock: FakeClock, rng: random.Random) -> None:
        super().__init__(clock)
        self.rng = rng

    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> ScriptedAttempt:
        tokens = self.rng.randint(2, request.max_tokens or 2)
        self.then(self.rng.choice(self.streams(tokens) if request.stream else self.wholes(tokens)))
        return super().open(request, deployment, until=until)

    def streams(self, tokens: int) -> list[Step]:
        all_of_it = text("x" * 4 * tokens)
        good: Step = [ROLE, 0.1, text("Hel"), 0.1, text("lo"), STOP, usage(tokens), DONE]
        return [
            *(good, good, good),
            [ROLE, all_of_it, 0.5, STOP],
            [ROLE, all_of_it, 0.1, failure(FailureKind.UNREADABLE)],
            [ROLE, usage(tokens), failure()],
            [usage(tokens), failure(FailureKind.TIMEOUT)],
            [ROLE, text("Hello"), asyncio.Event()],
            [asyncio.Event()],
            *self.failures(),
        ]

    def wholes(self, tokens: int) -> list[Step]:
        return [said(tokens), said(tokens), [0.2, *said(tokens)], [b"{}"], [asyncio.Event()], *self.failures()]

    def failures(self) -> list[Step]:
        return [
            failure(),
            failure(FailureKind.TIMEOUT, "nothing came", unseen=True),
            failure(FailureKind.REJECTED, "no", status=400),
        ]


def owed(row: RequestRecord, currency: Currency) -> int:
    """What a request has cost, failed tries included."""
    parts = (row.cost, row.failed_cost) if currency is Currency.SATS else (row.cost_usd, row.failed_cost_usd)
    return sum(part or 0 for part in parts)


def account_of(name: str) -> Account:
    return Account(name, name, Currency.USD if name == "sk-usd" else Currency.SATS)


def bill(rows: Iterable[RequestRecord], one: Account, period: Period, start: int) -> int:
    """What an account owes for a window, by the rows."""
    return sum(
        owed(row, one.currency)
        for row in rows
        if row.charged_at is not None
        and start <= row.charged_at < period.end(start)
        and one.id in (GATEWAY, row.key_id)
    )


class Market:
    """The callers of one gateway, and what they have been charged."""

    def __init__(self, rig: Rig, rng: random.Random) -> None:
        self.rig = rig
        self.rng = rng
        self.tasks: dict[asyncio.Task[None], ScriptedCaller] = {}
        for name in (CHEAP, DEAR):
            rig.providers[name] = Erratic(rig.clock, rng)
        self.first = {meter: meter.spent for meter in self.meters()}
        """What was known of each window at the start."""
        self.bills: Counter[tuple[str, Period, int]] = Counter()
        self.billed = 0

    def meters(self) -> list[Meter]:
        spending = self.rig.state.spending
        return [meter for one in spending.book.accounts.values() for meter in one.running(spending.now())]

    async def step(self) -> None:
        """Something happens, and the books are looked at."""
        rng, rig = self.rng, self.rig
        match rng.choice(["ask"] * 6 + ["leave"] * 3 + ["turn"] * 4 + ["wait", "set the clock", "change"]):
            case "ask":
                while len(self.tasks) < CALLERS and rng.random() < 0.9:
                    self.ask()
            case "leave":
                for each in rng.sample(list(self.tasks.values()), len(self.tasks) // 4):
                    each.leave()
            case "wait":
                rig.clock.advance(rng.uniform(0, 400))
            case "set the clock":
                rig.clock.epoch += rng.choice([3600, -3600, 600])
            case "change":
                await rig.state.spending.adopt(rng.choice([BUDGET, SMALLER]), KEYS, RATE)
        for _ in range(rng.randint(0, 12)):
            await asyncio.sleep(0)
            self.check()
        self.check()

    def ask(self) -> None:
        """One more caller, who takes what it gets."""
        secret = self.rng.choice(["sk-sats", "sk-usd", "sk-free"])
        asking = caller(self.rng.randint(2, MOST), secret=secret, stream=self.rng.random() < 0.5)
        task = asyncio.ensure_future(self.rig.pipeline.handle(asking))
        self.tasks[task] = asking
        task.add_done_callback(self.tasks.pop)

    def check(self) -> None:
        """Every window: what is reserved is what those in flight hold, what is spent is what the rows say, and both
        together are within a limit that is not to be passed."""
        holds = [exchange.hold for exchange in self.rig.state.in_flight if exchange.hold is not None]
        reserved: Counter[Meter] = Counter()
        for part in [part for hold in holds for part in hold.parts]:
            for meter in part.limited:
                reserved[meter] += part.amount
        self.bill()
        for meter in self.meters():
            first = self.known(meter)
            assert meter.reserved == reserved[meter]
            assert meter.spent == first + self.bills[meter.account.id, meter.period, meter.start]
            if meter.limit is not None:
                assert meter.spent + meter.reserved + (meter.available or 0) == meter.limit
            limit = LIMITS.get((meter.account.id, meter.period))
            assert limit is None or meter.committed <= max(limit, first)

    def known(self, meter: Meter) -> int:
        """What was spent in a window before this gateway began, maybe by one whose clock was ahead."""
        if meter not in self.first:
            past = meter.account.ahead.get((meter.period, meter.start))
            self.first[meter] = 0 if past is None else past.within(meter.account.currency) or 0
        return self.first[meter]

    def bill(self) -> None:
        """Add up the rows that have come since."""
        rows = self.rig.sink.requests
        for row in rows[self.billed :]:
            if row.charged_at is not None:
                for name in (GATEWAY, row.key_id or GATEWAY):
                    for period in Period:
                        self.bills[name, period, period.start(row.charged_at)] += owed(row, account_of(name).currency)
        self.billed = len(rows)

    async def go_home(self) -> None:
        """Everybody leaves: all is quiet, and nothing is reserved."""
        while self.tasks:
            for each in self.tasks.values():
                each.leave()
            await asyncio.sleep(0)
            self.check()
        self.rig.check_nothing_is_left()
        assert all(meter.reserved == 0 for meter in self.meters())


@pytest.mark.parametrize("seed", range(8))
async def test_money_is_neither_made_nor_lost(seed: int) -> None:
    """Four gateways one after the other, on one database: some stop, some are killed before all of their rows are
    written. No window ever costs more than its limit, and none knows less than what it truly has cost."""
    rng = random.Random(seed)
    store, clock = MemorySpend(), FakeClock(epoch=NOON)
    truth: list[RequestRecord] = []
    sellers = (seller(CHEAP, 1, fee=1), seller(DEAR, 2))
    for _ in range(4):
        killed = rng.random() < 0.5
        async with bank(
            store,
            clock=clock,
            budget=BUDGET,
            keys=KEYS,
            rate=RATE,
            sellers=sellers,
            killed=killed,
            breaker=BreakerSettings(failure_threshold=10**6),
        ) as rig:
            market = Market(rig, rng)
            for meter in market.meters():
                if (meter.account.id, meter.period) in LIMITS:
                    assert meter.spent >= bill(truth, meter.account, meter.period, meter.start)
            for _ in range(STEPS):
                await market.step()
            written, kept = dict(store.written), len(store.rows) - rng.randint(0, 5)
            await market.go_home()
            truth += rig.sink.requests
            if killed:
                store.written = written
                del store.rows[max(0, kept) :]

    windows = {
        (name, period, period.start(row.charged_at))
        for row in truth
        if row.charged_at is not None
        for name, period in LIMITS
    }
    overspent = [
        (name, period, start)
        for name, period, start in windows
        if bill(truth, account_of(name), period, start) > (LIMITS[name, period] or 0)
    ]
    assert overspent == []
    assert len(truth) > 4 * CALLERS
    assert sum(row.success for row in truth) > CALLERS / 4
