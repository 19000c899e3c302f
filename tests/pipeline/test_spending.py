"""Budgets on the way of a request: who is refused, what is charged to which window, what is written down before."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from arbstr.domain.alert import AlertKind
from arbstr.domain.errors import FailureKind, LogUnavailable
from arbstr.domain.identity import Budgets
from arbstr.domain.money import Currency, ExchangeRate
from arbstr.domain.request import Wishes
from arbstr.domain.routing import BudgetSettings, Deployment
from arbstr.pipeline.spending import PATIENCE
from arbstr.policy.budget import Period
from arbstr.policy.keys import KeyRing
from arbstr.testing import FakeClock, MemorySpend, Step
from tests.pipeline.bank import (
    DOLLAR,
    NOON,
    SAT,
    THOUSAND,
    account,
    ask,
    bank,
    begin,
    caller,
    key,
    meter,
    said,
    seller,
    spent,
    usage,
)
from tests.pipeline.rig import CHEAP, DEAR, DONE, ERROR, ROLE, STOP, error_of, failure, text

SATS, USD = Currency.SATS, Currency.USD
SOFT = BudgetSettings(hour=1000 * SAT, hard=False)
SILENCE = failure(FailureKind.TIMEOUT)
"""After which the next provider is asked."""
RATE = ExchangeRate(1000 * 10**6)
"""A dollar is 1,000 satoshis."""
ONE = (seller(CHEAP),)


class TestTheLimit:
    """What is admitted, and what is said to who is not."""

    @pytest.mark.parametrize("callers", [1, 9, 10, 11, 64])
    async def test_of_many_at_once_exactly_those_are_admitted_that_fit(self, callers: int) -> None:
        """1,000 satoshis, 100 set aside for each: ten, however many come; and the others have been told at once."""
        async with bank(MemorySpend(), sellers=ONE) as rig:
            gate = asyncio.Event()
            steps: list[Step] = [[gate, *said(100)]]
            rig.script(CHEAP, *steps * 10)
            asking = [caller(100) for _ in range(callers)]
            tasks = [await begin(rig, each) for each in asking]

            reserved = meter(rig).reserved
            gate.set()
            await asyncio.gather(*tasks)

            statuses = sorted(each.status or 0 for each in asking)
            admitted = min(callers, 10)
            assert reserved == admitted * 100 * SAT
            assert statuses == [200] * admitted + [429] * (callers - admitted)
            assert spent(rig) == admitted * 100

    async def test_who_is_refused_is_told_how_long_and_not_to_retry(self) -> None:
        """429 ``insufficient_quota`` until the window's end; nobody is asked, and there is a row that cost nothing."""
        async with bank(MemorySpend(), at=NOON + 3000.5, sellers=ONE) as rig:
            refused = await ask(rig, 1001)

            assert refused.status == 429
            assert (error_of(refused)["type"], error_of(refused)["code"]) == ("insufficient_quota",) * 2
            assert refused.headers[b"retry-after"] == b"600"
            assert refused.headers[b"x-should-retry"] == b"false"
            assert (rig.row.error_status, rig.row.cost, rig.row.charged_at) == (429, None, None)
            assert rig.asked == []
            assert spent(rig) == 0

    async def test_a_total_has_no_end_to_wait_for(self) -> None:
        """Without Retry-After, for it never comes back."""
        async with bank(budget=BudgetSettings(total=10 * SAT), sellers=ONE) as rig:
            refused = await ask(rig, 11)

            assert refused.status == 429
            assert b"retry-after" not in refused.headers

    async def test_what_was_not_used_is_there_for_the_next(self) -> None:
        """Each sets aside 900 of 1,000 and uses 10."""
        async with bank(MemorySpend(), sellers=ONE) as rig:
            rig.script(CHEAP, *[said(10)] * 11)

            statuses = [(await ask(rig, 900)).status for _ in range(11)]
            last = await ask(rig, 900)

            assert statuses == [200] * 11
            assert (last.status, spent(rig)) == (429, 110)

    async def test_the_next_window_begins_at_its_instant(self) -> None:
        """Nothing has to be done for it; what was spent in the day counts on."""
        budget = BudgetSettings(hour=100 * SAT, day=150 * SAT)
        async with bank(MemorySpend(), at=NOON + 3599, budget=budget, sellers=ONE) as rig:
            rig.script(CHEAP, said(100), said(50))

            before = [(await ask(rig)).status for _ in range(2)]
            rig.clock.advance(1)
            after = [(await ask(rig, 50)).status, (await ask(rig, 1)).status]

            assert (before, after) == ([200, 429], [200, 429])
            assert (spent(rig), spent(rig, Period.DAY)) == (50, 150)

    async def test_a_request_is_charged_to_the_window_that_it_began_in(self) -> None:
        """One is in flight at the hour's end: the old hour has its cost, the new one all of its limit."""
        store = MemorySpend()
        async with bank(store, at=NOON + 3599, sellers=ONE) as rig:
            gate = asyncio.Event()
            rig.script(CHEAP, [gate, *said(70)], said(1000))
            old = meter(rig)
            task = await begin(rig, caller(1000))

            rig.clock.advance(2)
            late = await ask(rig, 1000)
            gate.set()
            await task

            assert late.status == 200
            assert (old.spent, old.reserved, meter(rig).spent) == (70 * SAT, 0, 1000 * SAT)
            assert [row.charged_at for row in store.rows] == [NOON + 3601, NOON + 3599]

    async def test_the_dearest_candidate_is_what_is_set_aside(self) -> None:
        """A fallback may have to serve: its price is reserved, and that of who served is charged."""
        async with bank(MemorySpend()) as rig:
            gate = asyncio.Event()
            rig.script(CHEAP, [gate, *said(100)])
            task = await begin(rig, caller(100))
            reserved = meter(rig).reserved
            gate.set()
            await task

            assert (reserved, spent(rig)) == (200 * SAT, 100)

    async def test_without_max_tokens_the_default_is_set_aside(self) -> None:
        """4,096 tokens, or what is configured, for each choice."""
        budget = BudgetSettings(hour=10**6 * SAT, default_reserve_tokens=500)
        async with bank(budget=budget, sellers=ONE) as rig:
            rig.script(CHEAP, [asyncio.Event()])
            asking = rig.caller(n=3)
            task = await begin(rig, asking)
            reserved = meter(rig).reserved
            asking.leave()
            await task

            assert reserved == 1500 * SAT

    async def test_an_answer_that_cost_more_than_was_set_aside_is_charged_in_full(self) -> None:
        """The provider counted more than it was allowed: the limit is passed by that, told once, and the next waits."""
        async with bank(MemorySpend(), sellers=ONE) as rig:
            rig.script(CHEAP, said(1500))

            first, second = await ask(rig, 1000), await ask(rig, 1)

            assert (first.status, second.status, spent(rig)) == (200, 429, 1500)
            assert [alert.kind for alert in rig.alerts.raised] == [
                AlertKind.BUDGET_OVERRUN,
                AlertKind.BUDGET_THRESHOLD,
                AlertKind.BUDGET_EXHAUSTED,
            ]

    async def test_a_soft_budget_lets_pass_with_a_warning(self) -> None:
        """Beyond the threshold, and beyond the limit: nobody is refused, the header says how far it is, and each is
        told once."""
        async with bank(MemorySpend(), budget=SOFT, sellers=ONE) as rig:
            rig.script(CHEAP, *[said(400)] * 4)

            answers = [await ask(rig, 400) for _ in range(4)]

            assert [each.status for each in answers] == [200] * 4
            assert [each.headers.get(b"x-arbstr-budget-warning") for each in answers] == [
                *(None, b"gateway hour: 80% of 1000 sats"),
                *(b"gateway hour: 120% of 1000 sats", b"gateway hour: 160% of 1000 sats"),
            ]
            assert [alert.kind for alert in rig.alerts.raised] == [
                AlertKind.BUDGET_THRESHOLD,
                AlertKind.BUDGET_EXHAUSTED,
            ]

    async def test_a_stream_is_warned_in_its_head(self) -> None:
        """By what was spent before it."""
        async with bank(MemorySpend(), sellers=ONE) as rig:
            rig.script(CHEAP, said(850), [ROLE, text("Hello"), STOP, usage(10), DONE])
            await ask(rig, 900)
            asking = caller(100, stream=True)

            await rig.pipeline.handle(asking)

            assert asking.headers[b"x-arbstr-budget-warning"] == b"gateway hour: 85% of 1000 sats"
            assert spent(rig) == 860


class TestEveryWayOut:
    """Nothing stays reserved, and the budget has spent what the row says."""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("turns", range(16))
    async def test_leaving_at_any_moment(self, stream: bool, turns: int) -> None:
        """Before, while and after what it may cost is written down, the upstream opened, and the answer passed on."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            rig.script(CHEAP, [ROLE, 0.0, text("Hel"), 0.0, text("lo"), STOP, usage(7), DONE] if stream else said(7))
            asking = caller(100, stream=stream)
            task = await begin(rig, asking, turns=turns)

            asking.leave()
            await task

            (row,) = store.rows
            assert spent(rig) == (row.cost or 0) / SAT
            assert spent(rig) in (range(101) if stream else (0, 7, 100))
            rig.check_nothing_is_left()

    @pytest.mark.parametrize("turns", range(0, 12, 3))
    async def test_the_end_of_the_drain_time(self, turns: int) -> None:
        """Whoever is still waiting for anything is sent away."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            store.answers.clear()
            rig.script(CHEAP, [ROLE, text("Hello"), asyncio.Event()])
            tasks = [await begin(rig, caller(100, stream=True), turns=turns) for _ in range(3)]
            rig.state.interrupt_all()
            await asyncio.gather(*tasks)
            store.answers.set()

            assert spent(rig) == sum((row.cost or 0) for row in store.rows) / SAT

    @pytest.mark.parametrize(
        "steps",
        [
            [failure()] * 3,
            [failure(FailureKind.TIMEOUT)],
            [failure(FailureKind.REJECTED, status=400)],
            [failure(FailureKind.KEY_REFUSED, status=401)],
            [[b"not json"]] * 3,
            [[b"{}"]] * 3,
        ],
    )
    async def test_failures_cost_nothing_that_is_not_known(self, steps: list[object]) -> None:
        """All candidates fail, or the caller's own mistake ends it; what was set aside is free again."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            rig.script(CHEAP, *steps)  # type: ignore[arg-type]

            refused = await ask(rig, 100)

            assert refused.status in (400, 502, 504)
            assert spent(rig) == (store.rows[0].failed_cost or 0) / SAT

    async def test_a_bug_of_ours(self) -> None:
        """The caller is told 500, and the budget has its money back."""
        async with bank(MemorySpend(), sellers=ONE) as rig:
            refused = await ask(rig, 100)  # the script foresees nobody

            assert (refused.status, spent(rig)) == (500, 0)

    async def test_a_stream_that_is_cut(self) -> None:
        """What it had produced is charged: 400 bytes are up to 400 tokens."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            rig.script(CHEAP, [ROLE, text("x" * 400), failure(FailureKind.UNREADABLE)])
            await rig.pipeline.handle(caller(1000, stream=True))

            assert spent(rig) == 400
            assert store.rows[0].cost == 400 * SAT


class TestTries:
    """Several attempts, one budget."""

    async def test_what_failed_counts_beside_what_served(self) -> None:
        """A stream that broke after 300 tokens, and one that served for 100 at twice the price."""
        store = MemorySpend()
        async with bank(store) as rig:
            rig.script(CHEAP, [usage(300), SILENCE])
            rig.script(DEAR, [ROLE, text("Hello"), STOP, usage(100), DONE])
            asking = caller(300, stream=True)
            await rig.pipeline.handle(asking)

            (row,) = store.rows
            assert (row.provider, row.cost, row.failed_cost) == (DEAR, 200 * SAT, 300 * SAT)
            assert spent(rig) == 500

    async def test_a_try_that_no_longer_fits_the_budget_is_not_made(self) -> None:
        """600 were set aside for the dearest; a failed try has cost 300, and 600 more are not there."""
        async with bank(MemorySpend(), budget=BudgetSettings(hour=899 * SAT)) as rig:
            rig.script(CHEAP, [usage(300), SILENCE])
            asking = caller(300, stream=True)
            await rig.pipeline.handle(asking)

            assert (asking.status, rig.asked) == (504, [CHEAP])
            assert spent(rig) == 300

    async def test_a_try_that_fits_is_set_aside_on_top(self) -> None:
        """And written down before it is made."""
        store = MemorySpend()
        async with bank(store, budget=BudgetSettings(hour=900 * SAT)) as rig:
            rig.script(CHEAP, [usage(300), SILENCE])
            rig.script(DEAR, [asyncio.Event()])
            asking = caller(300, stream=True)
            task = await begin(rig, asking, turns=60)
            reserved, leased = meter(rig).reserved, store.written["", "hour", int(NOON), "sats"].amount
            asking.leave()
            await task

            assert rig.asked == [CHEAP, DEAR]
            assert reserved == leased == 900 * SAT

    async def test_a_try_that_cannot_be_written_down_is_not_made(self) -> None:
        """The disk is full by then; what has failed is charged."""
        store = MemorySpend()
        async with bank(store, budget=BudgetSettings(hour=900 * SAT)) as rig:
            gate = asyncio.Event()
            rig.script(CHEAP, [gate, usage(300), SILENCE])
            asking = caller(300, stream=True)
            task = await begin(rig, asking)
            store.refusal = LogUnavailable("full", retry_after=1.0)
            gate.set()
            await task

            assert (asking.status, error_of(asking)["code"], rig.asked) == (503, "budget_unavailable", [CHEAP])
            assert spent(rig) == 300

    @pytest.mark.parametrize(("most", "asked"), [("900", [CHEAP, DEAR]), ("899.999999", [CHEAP])])
    async def test_ceilings_count_failed_tries(self, most: str, asked: list[str]) -> None:
        """Without any budget."""
        async with bank(budget=BudgetSettings()) as rig:
            rig.script(CHEAP, [usage(300), SILENCE])
            rig.script(DEAR, [ROLE, text("Hello"), STOP, usage(300), DONE])
            asking = caller(300, stream=True, wishes=Wishes(max_cost_sats=most))
            await rig.pipeline.handle(asking)

            assert rig.asked == asked
            assert asking.status == (200 if DEAR in asked else 504)

    async def test_a_retry_on_the_same_provider_counts_too(self) -> None:
        """The third one would not fit any more."""
        async with bank(budget=BudgetSettings(), sellers=ONE) as rig:
            rig.script(CHEAP, [usage(100), ERROR], [usage(100), ERROR])
            asking = caller(100, stream=True, wishes=Wishes(max_cost_sats="299"))
            await rig.pipeline.handle(asking)

            assert (asking.status, rig.asked) == (502, [CHEAP, CHEAP])


class TestPrices:
    """What cannot be priced in a budget's currency."""

    DOLLARS: tuple[Deployment, ...] = (seller(CHEAP, 1, USD),)

    async def test_a_price_that_no_rate_converts_yet_is_none(self) -> None:
        """The rate is polled and has not come: a request would cost dollars, and the budget see nothing. As soon as it
        is known, it is served."""
        async with bank(MemorySpend(), budget=BudgetSettings(hour=20_000 * SAT), sellers=self.DOLLARS) as rig:
            rig.script(CHEAP, said(20))
            refused = await ask(rig, 20)
            rig.state.rate = RATE
            served = await ask(rig, 20)

            assert (refused.status, error_of(refused)["code"]) == (400, "unpriced_model")
            assert (served.status, spent(rig)) == (200, 20_000)

    async def test_a_key_in_another_currency_needs_the_rate_too(self) -> None:
        """The gateway has no budget, the key has one in satoshis."""
        spender = key("sk-one", hour=5 * SAT)
        async with bank(MemorySpend(), budget=BudgetSettings(), keys=[spender], sellers=self.DOLLARS) as rig:
            assert (await ask(rig, 1, secret="sk-one")).status == 400

    async def test_unpriced_may_be_allowed(self) -> None:
        """Then it counts as nothing in this budget, and is known in its own currency."""
        budget = msgspec.structs.replace(THOUSAND, refuses_unpriced=False)
        async with bank(MemorySpend(), budget=budget, sellers=self.DOLLARS) as rig:
            rig.script(CHEAP, said(1))
            served = await ask(rig, 1)

            assert (served.status, spent(rig), meter(rig).elsewhere) == (200, 0, DOLLAR)

    async def test_costs_of_two_currencies_are_both_counted(self) -> None:
        """A failed try for satoshis and a serving one for dollars, with no rate, where that is allowed."""
        store = MemorySpend()
        budget = msgspec.structs.replace(THOUSAND, refuses_unpriced=False)
        async with bank(store, budget=budget, sellers=(seller(CHEAP), seller(DEAR, 1, USD))) as rig:
            rig.script(CHEAP, [usage(300), SILENCE])
            rig.script(DEAR, [ROLE, text("Hello"), STOP, usage(2), DONE])
            await rig.pipeline.handle(caller(300, stream=True))

            assert (spent(rig), meter(rig).elsewhere) == (300, 2 * DOLLAR)

    async def test_a_model_without_a_price_is_not_asked_where_a_budget_must_hold(self) -> None:
        """B32 of the register: never free by silence; a priced one serves instead."""
        sellers = (Deployment(CHEAP, "m", None), seller(DEAR))
        async with bank(MemorySpend(), sellers=sellers) as rig:
            rig.script(DEAR, said(1))
            served = await ask(rig, 1)

            assert (served.status, rig.asked, spent(rig)) == (200, [DEAR], 1)


class TestLeases:
    """What a process may spend is written down before it does."""

    async def test_a_request_waits_until_its_cost_is_written_down(self) -> None:
        """Nobody is asked before; then it goes on."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            store.answers.clear()
            rig.script(CHEAP, said(7))
            asking = caller(100)
            task = await begin(rig, asking)
            before = list(rig.asked)
            store.answers.set()
            await task

            assert (before, asking.status) == ([], 200)
            assert store.written["", "hour", int(NOON), "sats"].amount == 110 * SAT

    async def test_within_a_lease_nobody_waits(self) -> None:
        """The store does not answer any more, and what it has written down suffices for ten more requests."""
        store = MemorySpend()
        budget = msgspec.structs.replace(THOUSAND, lease_share=0.2)
        async with bank(store, budget=budget, sellers=ONE) as rig:
            rig.script(CHEAP, *[said(1)] * 11)
            await ask(rig, 100)
            writes = store.writes
            store.answers.clear()

            statuses = [(await ask(rig, 100)).status for _ in range(10)]

            assert statuses == [200] * 10
            assert (writes, store.writes) == (1, 1)
            store.answers.set()

    @pytest.mark.parametrize("hard", [True, False])
    async def test_without_a_disk_budgets_that_must_hold_refuse(self, hard: bool) -> None:
        """503 after five seconds, nothing reserved, nobody asked. One that only warns lets pass, and after the first
        without waiting. It is said once, and once that it is over."""
        store = MemorySpend()
        async with bank(store, budget=THOUSAND if hard else SOFT, sellers=ONE) as rig:
            rig.script(CHEAP, *[said(1)] * 3)
            store.refusal = LogUnavailable("the disk is full", retry_after=1.0)
            first = await ask(rig, 100)
            waited = rig.clock.now - 1000
            began = rig.clock.now
            second = await ask(rig, 100)
            waited_again = rig.clock.now - began
            store.refusal = None
            await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            third = await ask(rig, 100)

            assert [each.status for each in (first, second, third)] == ([503, 503, 200] if hard else [200] * 3)
            assert waited >= PATIENCE or not hard
            assert (waited_again >= PATIENCE) is hard
            if hard:
                assert error_of(first)["code"] == "budget_unavailable"
                assert first.headers[b"retry-after"] == b"1"
            assert spent(rig) == (1 if hard else 3)
            said_of = [event for _, event, _ in rig.log.lines if event.startswith("budgets can")]
            assert said_of == ["budgets cannot be written down", "budgets can be written down again"]

    async def test_what_waits_at_the_end_of_an_hour_is_charged_to_it(self) -> None:
        """The store is slow, the hour ends meanwhile: the old window's lease is written, and the request goes on."""
        store = MemorySpend()
        async with bank(store, at=NOON + 3599, sellers=ONE) as rig:
            store.answers.clear()
            rig.script(CHEAP, said(70), said(80))
            old = meter(rig)
            waiting = await begin(rig, caller(100))
            rig.clock.advance(2)
            later = await begin(rig, caller(100))
            store.answers.set()
            await asyncio.gather(waiting, later)

            assert (old.spent, old.reserved, meter(rig).spent) == (70 * SAT, 0, 80 * SAT)
            assert {start for _, period, start, _ in store.written if period == "hour"} == {NOON, NOON + 3600}

    async def test_a_limit_that_is_taken_away_lets_go_of_who_waits_for_it(self) -> None:
        """There is nothing left to be written down for."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            store.answers.clear()
            rig.script(CHEAP, said(70))
            asking = caller(100)
            task = await begin(rig, asking)
            store.answers.set()
            await rig.state.spending.adopt(BudgetSettings(), (), None)
            await task

            assert (asking.status, spent(rig)) == (200, 70)

    async def test_after_a_burst_the_lease_is_as_small_again_as_before(self) -> None:
        """What ten requests had set aside at once does not count as spent if the process dies much later."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            rig.script(CHEAP, *[said(1)] * 3)
            await ask(rig, 900)
            rig.state.spending.give_back()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            small = store.written["", "hour", int(NOON), "sats"].amount
            rig.state.spending.give_back()  # which is enough
            writes = store.writes
            again = await ask(rig, 800)
            large = store.written["", "hour", int(NOON), "sats"].amount

            assert small == (1 + 10) * SAT
            assert (writes, again.status, large) == (2, 200, (1 + 800 + 10) * SAT)

    async def test_nothing_is_spent_by_a_lease_that_is_given_back(self) -> None:
        """Not even while the smaller one is on its way: who comes then waits until there is one for it."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            rig.script(CHEAP, *[said(1)] * 2)
            await ask(rig, 900)
            asked = len(rig.asked)
            store.answers.clear()
            rig.state.spending.give_back()
            task = await begin(rig, caller(500))
            before = len(rig.asked) - asked
            store.answers.set()
            await task

            assert (before, len(rig.asked) - asked) == (0, 1)
            assert store.written["", "hour", int(NOON), "sats"].amount >= 501 * SAT

    async def test_while_leases_cannot_be_written_none_is_given_back(self) -> None:
        """What is written down already is all that there is to go on with."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            rig.script(CHEAP, *[said(1)] * 2)
            await ask(rig, 500)
            store.refusal = LogUnavailable("the disk is full", retry_after=1.0)
            refused = await ask(rig, 900)
            rig.state.spending.give_back()
            served = await ask(rig, 400)
            store.refusal = None

            assert (refused.status, served.status) == (503, 200)

    async def test_a_currency_that_changes_while_a_lease_is_written(self) -> None:
        """The lease was in the old one and covers nothing in the new one, in which another is written; who waits for it
        goes on then."""
        store = MemorySpend()
        async with bank(store, rate=RATE, sellers=ONE) as rig:
            rig.script(CHEAP, said(50), said(70))
            await ask(rig, 50)
            store.answers.clear()
            asking = caller(100)
            task = await begin(rig, asking)
            await rig.state.spending.adopt(BudgetSettings(currency=USD, hour=DOLLAR), (), RATE)
            store.answers.set()
            await task

            assert (asking.status, spent(rig)) == (200, 0.12)
            assert store.written["", "hour", int(NOON), "sats"].amount == 160 * SAT
            assert store.written["", "hour", int(NOON), "usd"].amount >= DOLLAR // 20

    async def test_an_orderly_end_gives_back_what_was_leased(self) -> None:
        """The next process finds what was spent, and not a unit more."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            rig.script(CHEAP, said(7))
            await ask(rig, 500)
            leased = store.written["", "hour", int(NOON), "sats"].amount

        assert leased == 510 * SAT
        assert store.written["", "hour", int(NOON), "sats"].amount == 7 * SAT

    async def test_an_end_without_a_disk_is_an_end(self) -> None:
        """Then what was leased counts as spent."""
        store = MemorySpend()
        async with bank(store, sellers=ONE) as rig:
            rig.script(CHEAP, said(7))
            await ask(rig, 500)
            store.refusal = LogUnavailable("gone", retry_after=1.0)

        assert store.written["", "hour", int(NOON), "sats"].amount == 510 * SAT


class TestRestarts:
    """What one process has spent, the next one knows."""

    async def before(self, *, killed: bool, lost: int = 0, answers: int = 3, **how: object) -> MemorySpend:
        """A process that has spent 70 satoshis so often, and has not logged the last of them."""
        store = MemorySpend()
        async with bank(store, sellers=ONE, killed=killed, **how) as rig:  # type: ignore[arg-type]
            rig.script(CHEAP, *[said(70)] * answers)
            for _ in range(answers):
                await ask(rig, 100)
        del store.rows[len(store.rows) - lost :]
        return store

    async def test_an_orderly_restart_forgets_nothing(self) -> None:
        """Not a unit more or less, in any window; and the limit holds across it."""
        store = await self.before(killed=False)
        async with bank(store, sellers=ONE) as rig:
            known = [spent(rig, period) for period in (Period.HOUR, Period.DAY)]
            rig.script(CHEAP, said(1))
            statuses = [(await ask(rig, most)).status for most in (791, 790)]

        assert known == [210, 210]
        assert statuses == [429, 200]

    @pytest.mark.parametrize("lost", [0, 1, 3])
    async def test_what_a_killed_process_had_leased_counts_as_spent(self, lost: int) -> None:
        """However much of it had reached the log: never less than the truth, at most what was leased beyond it."""
        store = await self.before(killed=True, lost=lost)
        async with bank(store, sellers=ONE) as rig:
            known, day = spent(rig), spent(rig, Period.DAY)

        assert 210 <= known <= 210 + 100 + 10
        assert day == 70 * (3 - lost)  # has no limit, and so no lease

    async def test_killed_again_and_again_the_limit_holds(self) -> None:
        """Twenty processes that each are killed before they have logged anything: together they cannot spend more."""
        store, clock, true = MemorySpend(), FakeClock(epoch=NOON), 0
        for _ in range(20):
            async with bank(store, clock=clock, sellers=ONE, killed=True) as rig:
                rig.script(CHEAP, *[said(90)] * 3)
                for _ in range(3):
                    true += 90 if (await ask(rig, 90)).status == 200 else 0
                    assert meter(rig).spent >= true * SAT
            store.rows.clear()

        assert 900 <= true <= 1000

    async def test_the_window_after_a_kill_is_a_new_one(self) -> None:
        """What was leased and not spent counts until its window ends, and no longer."""
        store = await self.before(killed=True)
        async with bank(store, at=NOON + 3600, sellers=ONE) as rig:
            assert spent(rig) == 0

    @pytest.mark.parametrize(("limit", "fits"), [(300, 90), (2000, 1790), (200, 0)])
    async def test_a_budget_that_was_changed_holds_from_the_start(self, limit: int, fits: int) -> None:
        """Lowered, raised, or lowered below what is spent already."""
        store = await self.before(killed=False)
        async with bank(store, budget=BudgetSettings(hour=limit * SAT), sellers=ONE) as rig:
            rig.script(CHEAP, said(1))
            statuses = [(await ask(rig, most)).status for most in (fits + 1, fits)[: 2 if fits else 1]]

        assert statuses == [429, 200][: len(statuses)]

    async def test_a_lease_that_is_larger_than_a_lowered_limit_counts_in_full(self) -> None:
        """Whoever was killed may have spent it."""
        store = await self.before(killed=True, answers=9)
        async with bank(store, budget=BudgetSettings(hour=100 * SAT), sellers=ONE) as rig:
            assert (await ask(rig, 1)).status == 429
            assert 630 <= spent(rig) <= 740

    @pytest.mark.parametrize("killed", [False, True])
    async def test_a_currency_that_was_changed_counts_what_was_spent_in_the_other(self, killed: bool) -> None:
        """By the rate of each request, where it was known; what was leased by the rate of now."""
        store = await self.before(killed=killed, lost=1 if killed else 0, rate=RATE)
        async with bank(store, budget=BudgetSettings(currency=USD, hour=DOLLAR), rate=RATE, sellers=ONE) as rig:
            known = spent(rig)

        assert known == 0.21 if not killed else 0.21 <= known <= 0.32

    async def test_limits_that_are_new_know_the_past_too(self) -> None:
        """A month's, of which nobody had counted anything before; and not the requests before the month."""
        store = await self.before(killed=False)
        store.rows.append(msgspec.structs.replace(store.rows[0], charged_at=NOON - 20 * 86400))
        budget = BudgetSettings(month=1000 * SAT, total=1000 * SAT)
        async with bank(store, budget=budget, sellers=ONE) as rig:
            assert (spent(rig, Period.MONTH), spent(rig, Period.TOTAL)) == (210, 280)

    async def test_requests_are_not_counted_twice_where_they_are_logged_and_remembered(self) -> None:
        """A limit for the month comes while this process runs: its own requests are in the log already."""
        store = await self.before(killed=False)
        async with bank(store, at=NOON + 60, sellers=ONE) as rig:
            rig.script(CHEAP, said(5))
            await ask(rig, 5)
            for _ in range(2):
                await rig.state.spending.adopt(BudgetSettings(month=1000 * SAT), (), None)

            assert (spent(rig), spent(rig, Period.MONTH)) == (215, 215)

    async def test_a_clock_that_was_set_back_between_two_processes_gives_nothing_away(self) -> None:
        """An hour back, as by a wrong time zone: when the hour comes in which the first one had spent, and was killed,
        that is known."""
        store = await self.before(killed=True, lost=3, answers=9)
        async with bank(store, at=NOON - 1800, sellers=ONE) as rig:
            rig.script(CHEAP, said(400))
            before = [(await ask(rig, most)).status for most in (400, 601)]
            rig.clock.advance(1800)
            refused = await ask(rig, 400)

            assert before == [200, 429]
            assert refused.status == 429
            assert 630 <= spent(rig) <= 740
            assert meter(rig).start == NOON

    async def test_a_clock_that_was_wrong_altogether_is_not_believed(self) -> None:
        """A process ran in another year by mistake: the next one is not bound to its windows."""
        store = await self.before(killed=True, answers=9, at=NOON + 366 * 86400)
        async with bank(store, at=NOON, sellers=ONE) as rig:
            assert (spent(rig), meter(rig).start) == (0, NOON)

    async def test_a_store_that_cannot_be_read_stops_the_start(self) -> None:
        """A gateway that does not know what is spent does not begin to spend."""
        store = MemorySpend()
        store.refusal = LogUnavailable("gone", retry_after=1.0)

        with pytest.raises(LogUnavailable):
            async with bank(store):
                pass


class TestKeys:
    """Budgets of keys, beside that of the gateway."""

    async def test_a_key_has_its_own_budget_and_the_gateways(self) -> None:
        """Whichever is full refuses; what was refused by one is not reserved in the other."""
        keys = [key("sk-one", hour=100 * SAT), key("sk-two", hour=5000 * SAT), key("sk-three")]
        async with bank(MemorySpend(), keys=keys, sellers=ONE) as rig:
            rig.script(CHEAP, *[said(100)] * 3)

            by_key = [(await ask(rig, 100, secret="sk-one")) for _ in range(2)]
            by_gateway = await ask(rig, 901, secret="sk-two")
            others = [(await ask(rig, 100, secret=secret)).status for secret in ("sk-two", "sk-three")]

            assert [each.status for each in by_key] == [200, 429]
            assert error_of(by_key[1])["message"].startswith("the budget of key 'sk-one' is 100 sats an hour")
            told = "what is left of this gateway's budget for the hour is less than this may cost"
            assert error_of(by_gateway)["message"] == told  # what others spend is not this key's business
            assert others == [200, 200]
            assert spent(rig) == 300
            assert [spent(rig, secret=secret) for secret in ("sk-one", "sk-two", "sk-three")] == [100] * 3

    async def test_the_first_requests_of_a_key_share_one_account(self) -> None:
        """Twenty at once with a key that nobody has used before: two fit, and one account has both."""
        async with bank(MemorySpend(), keys=[key("sk-one", total=200 * SAT)], sellers=ONE) as rig:
            rig.script(CHEAP, *[said(100)] * 2)
            asking = [caller(100, secret="sk-one") for _ in range(20)]
            await asyncio.gather(*(rig.pipeline.handle(each) for each in asking))

            assert sorted(each.status or 0 for each in asking) == [200] * 2 + [429] * 18
            assert spent(rig, Period.TOTAL, secret="sk-one") == 200

    async def test_a_budget_that_comes_while_requests_run_counts_them(self) -> None:
        """The key had none; one is under way when it is given one, and is charged to it."""
        async with bank(MemorySpend(), keys=[key("sk-one")], sellers=ONE) as rig:
            gate = asyncio.Event()
            rig.script(CHEAP, said(30), [gate, *said(50)], said(20))
            await ask(rig, 100, secret="sk-one")
            task = await begin(rig, caller(100, secret="sk-one"))
            changed = key("sk-one", hour=100 * SAT)
            rig.state.keys = KeyRing([changed])
            await rig.state.spending.adopt(THOUSAND, [changed], None)
            first = meter(rig, secret="sk-one").available
            gate.set()
            await task
            refused, served = await ask(rig, 21, secret="sk-one"), await ask(rig, 20, secret="sk-one")

            assert first == 70 * SAT
            assert (refused.status, served.status) == (429, 200)
            assert spent(rig, secret="sk-one") == 100
            assert AlertKind.BUDGET_OVERRUN not in [alert.kind for alert in rig.alerts.raised]

    async def test_requests_wait_for_a_budget_that_is_being_looked_up(self) -> None:
        """Nothing is spent by the old one meanwhile; where it takes too long, they are refused."""
        async with bank(MemorySpend(), keys=[key("sk-one")], sellers=ONE) as rig:
            spending = rig.state.spending
            spending.pending |= {"sk-one"}
            late = await ask(rig, 10, secret="sk-one")
            waiting = caller(10, secret="sk-one")
            task = await begin(rig, waiting)
            changed = key("sk-one", hour=5 * SAT)
            rig.state.keys = KeyRing([changed])
            await spending.adopt(THOUSAND, [changed], None)
            spending.adopted({"sk-one"})
            await task

            assert (late.status, error_of(late)["code"]) == (503, "budget_unavailable")
            assert waiting.status == 429
            assert rig.asked == []

    async def test_a_key_that_is_used_while_others_are_looked_up_loses_nothing(self) -> None:
        """Its account is made by its first request, or by what looks it up, and is one."""
        store, new = MemorySpend(), key("sk-new")
        async with bank(store, keys=[key("sk-one")], sellers=ONE) as rig:
            rig.script(CHEAP, said(60), said(7))
            await ask(rig, 100, secret="sk-one")
            rig.state.keys = KeyRing([new])
            store.answers.clear()
            looking = asyncio.ensure_future(rig.state.spending.adopt(THOUSAND, [new], None))
            await asyncio.sleep(0)
            asking = caller(7, secret="sk-new")
            task = await begin(rig, asking)
            store.answers.set()
            await asyncio.gather(looking, task)

            assert asking.status == 200
            assert spent(rig, secret="sk-new") == 7

    async def test_two_changes_at_once_add_the_past_once(self) -> None:
        """A month's budget for the gateway and one for the key are looked up at the same time."""
        store = MemorySpend()
        async with bank(store, keys=[key("sk-one")], sellers=ONE) as rig:
            rig.script(CHEAP, said(60))
            await ask(rig, 100, secret="sk-one")
        monthly = BudgetSettings(month=1000 * SAT)
        async with bank(store, keys=[key("sk-one")], at=NOON + 60, sellers=ONE) as rig:
            changed = key("sk-one", month=100 * SAT)
            adopt = rig.state.spending.adopt
            await asyncio.gather(adopt(monthly, [changed], None), adopt(monthly, [changed], None))

            assert (spent(rig, Period.MONTH), spent(rig, Period.MONTH, secret="sk-one")) == (60, 60)

    async def test_a_key_whose_currency_changes_keeps_what_it_has_spent(self) -> None:
        """In satoshis before, in dollars from now on; one request is under way, and one row not in the log yet."""
        store = MemorySpend()
        async with bank(store, keys=[key("sk-one", hour=500 * SAT)], rate=RATE, sellers=ONE) as rig:
            gate = asyncio.Event()
            rig.script(CHEAP, said(100), [gate, *said(200)])
            await ask(rig, 100, secret="sk-one")
            store.rows.clear()
            task = await begin(rig, caller(200, secret="sk-one"))
            changed = msgspec.structs.replace(key("sk-one"), budgets=Budgets(USD, hour=DOLLAR // 2))
            rig.state.keys = KeyRing([changed])
            await rig.state.spending.adopt(THOUSAND, [changed], RATE)
            between = account(rig, "sk-one").meter(Period.HOUR, NOON).spent
            gate.set()
            await task
            refused = await ask(rig, 201, secret="sk-one")

            assert between == DOLLAR // 10
            assert spent(rig, secret="sk-one") == 0.3
            assert (refused.status, spent(rig)) == (429, 300)

    async def test_two_keys_of_one_name_are_two(self) -> None:
        """The first was revoked, and its name given to another: what it spent is not the other's."""
        old = msgspec.structs.replace(key("sk-one", hour=100 * SAT), name="team")
        new = msgspec.structs.replace(key("sk-two", hour=100 * SAT), name="team")
        async with bank(MemorySpend(), keys=[old, new], sellers=ONE) as rig:
            rig.script(CHEAP, said(100), said(100))
            statuses = [(await ask(rig, 100, secret=secret)).status for secret in ("sk-one", "sk-two")]

            assert statuses == [200, 200]
            assert [spent(rig, secret=secret) for secret in ("sk-one", "sk-two")] == [100, 100]


async def test_a_clock_that_is_set_under_way_gives_nothing_away() -> None:
    """An hour forward, an hour back, a day back: each hour's limit is spent once, and what is in flight is settled
    where it was reserved."""
    store = MemorySpend()
    async with bank(store, sellers=ONE) as rig:
        gate = asyncio.Event()
        rig.script(CHEAP, [gate, *said(10)], *[said(1000)] * 2)
        task = await begin(rig, caller(1000))
        first = meter(rig)
        rig.clock.epoch += 3600
        forward = [(await ask(rig, 1000)).status for _ in range(2)]
        rig.clock.epoch -= 3600
        back = (await ask(rig, 1)).status
        rig.clock.epoch -= 86400
        day_back = await ask(rig, 1)
        gate.set()
        await task
        rig.clock.epoch += 86400 + 7200
        later = (await ask(rig, 1000)).status

        assert (forward, back, day_back.status, later) == ([200, 429], 429, 429, 200)
        assert int(day_back.headers[b"retry-after"]) == 86400 + 7200
        assert (first.spent, first.reserved, spent(rig)) == (10 * SAT, 0, 1000)
        assert [row.charged_at for row in store.rows if row.charged_at] == [NOON + 3600, NOON, NOON + 7200]


async def test_limited_windows_are_what_is_shown() -> None:
    """The gateway's hour and a key's total; who has no limit is not in it."""
    async with bank(keys=[key("sk-one", total=5 * SAT), key("sk-two")]) as rig:
        found = [(each.account.id, each.period, each.limit) for each in rig.state.spending.limited_meters()]

    assert found == [("", Period.HOUR, 1000 * SAT), ("sk-one", Period.TOTAL, 5 * SAT)]


async def test_an_account_knows_what_its_requests_cost() -> None:
    """Those that cost something: what is left is estimated by them."""
    async with bank(MemorySpend(), sellers=ONE) as rig:
        rig.script(CHEAP, said(30), said(50))
        for most in (100, 5000, 100):
            await ask(rig, most)

        assert (account(rig).settled, account(rig).settled_cost) == (2, 80 * SAT)
