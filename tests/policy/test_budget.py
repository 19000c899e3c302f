"""The ledger of budgets: what is reserved and spent is exact in every window, whatever comes in whatever order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from arbstr.domain.money import Cost, Currency, MicroSats, NanoUsd
from arbstr.domain.routing import BudgetSettings
from arbstr.policy.budget import GATEWAY, Account, Book, Happening, Hold, Meter, Period, Refusal

HOUR, DAY, MONTH, TOTAL = Period.HOUR, Period.DAY, Period.MONTH, Period.TOTAL
SATS, USD = Currency.SATS, Currency.USD
NOON = datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp()
HARD = BudgetSettings()
SOFT = BudgetSettings(hard=False)


def at(text: str) -> float:
    """The instant in seconds since the epoch; UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def sats(amount: int) -> Cost:
    return Cost(MicroSats(amount), None)


def fixed(amount: int) -> Callable[[Currency], int]:
    """A request that may cost so much, in any currency."""
    return lambda currency: amount


class Told:
    """A book, and what it told and wanted to lease."""

    def __init__(self) -> None:
        self.happenings: list[tuple[Happening, str, Period, int]] = []
        self.wanted: list[Meter] = []
        self.book = Book(tell=self._tell, lease=self.wanted.append)

    def _tell(self, happening: Happening, meter: Meter) -> None:
        self.happenings.append((happening, meter.account.id, meter.period, meter.start))

    @property
    def said(self) -> list[Happening]:
        return [happening for happening, *_ in self.happenings]


def account(
    id: str = GATEWAY, *, currency: Currency = SATS, settings: BudgetSettings = HARD, **limits: int | None
) -> Account:
    """An account with limits by the names of their periods."""
    made = Account(id, id or "gateway", currency)
    made.limit({Period(name): limit for name, limit in limits.items()}, settings)
    return made


def held(outcome: Hold | Refusal) -> Hold:
    assert isinstance(outcome, Hold), outcome.message
    return outcome


def refused(outcome: Hold | Refusal) -> Refusal:
    assert isinstance(outcome, Refusal)
    return outcome


@pytest.mark.parametrize(
    ("period", "instant", "start", "end"),
    [
        (HOUR, "2027-01-15T12:59:59.999999", "2027-01-15T12:00", "2027-01-15T13:00"),
        (HOUR, "2027-01-15T13:00", "2027-01-15T13:00", "2027-01-15T14:00"),
        (HOUR, "2026-12-31T23:30", "2026-12-31T23:00", "2027-01-01T00:00"),
        (DAY, "2027-03-28T01:30", "2027-03-28T00:00", "2027-03-29T00:00"),  # clocks go forward in Europe
        (DAY, "2028-02-29T00:00", "2028-02-29T00:00", "2028-03-01T00:00"),
        (MONTH, "2028-02-29T23:59:59", "2028-02-01T00:00", "2028-03-01T00:00"),
        (MONTH, "2027-02-28T23:59:59", "2027-02-01T00:00", "2027-03-01T00:00"),
        (MONTH, "2026-12-31T23:59:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        (MONTH, "2027-01-01T00:00", "2027-01-01T00:00", "2027-02-01T00:00"),
    ],
)
def test_windows_are_those_of_the_calendar_in_utc(period: Period, instant: str, start: str, end: str) -> None:
    """An instant at a border belongs to the window that begins there."""
    begun = period.start(at(instant))

    assert begun == at(start)
    assert period.end(begun) == at(end)


def test_a_total_is_never_over() -> None:
    """It began with time itself."""
    assert (TOTAL.start(NOON), TOTAL.end(0)) == (0, math.inf)


@given(st.sampled_from([HOUR, DAY, MONTH]), st.floats(0, 4e9))
def test_every_instant_is_in_one_window(period: Period, instant: float) -> None:
    """Windows follow one another without a gap and do not overlap."""
    start = period.start(instant)

    assert start <= instant < period.end(start)
    assert period.start(start) == start
    assert period.start(period.end(start)) == period.end(start)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**5), st.integers(0, 40))
def test_exactly_as_many_as_fit_are_admitted(limit: int, spent: int, bound: int, requests: int) -> None:
    """Of N at once the floor of what is left by what each may cost, whatever N; and the limit is never exceeded."""
    told, gateway = Told(), account(hour=limit)
    gateway.restore(HOUR, HOUR.start(NOON), sats(spent), now=NOON)

    outcomes = [told.book.reserve([gateway], fixed(bound), NOON) for _ in range(requests)]

    admitted = sum(isinstance(outcome, Hold) for outcome in outcomes)
    assert admitted == min(requests, max(0, limit - spent) // bound)
    meter = gateway.meter(HOUR, NOON)
    assert (meter.spent, meter.reserved) == (spent, admitted * bound)
    assert meter.available == limit - spent - admitted * bound


def test_the_true_cost_is_settled_and_the_rest_given_back() -> None:
    """In every window, those without a limit included: what was spent is shown there, too."""
    told, gateway = Told(), account(hour=100, day=300)
    hold = held(told.book.reserve([gateway], fixed(60), NOON))
    reserved = {meter.period: meter.reserved for meter in gateway.running(NOON)}

    hold.settle(sats(25))

    assert reserved == {HOUR: 60, DAY: 60, MONTH: 0, TOTAL: 0}
    assert {meter.period: (meter.spent, meter.reserved) for meter in gateway.running(NOON)} == dict.fromkeys(
        Period, (25, 0)
    )
    assert gateway.meter(HOUR, NOON).available == 75
    assert (gateway.settled, gateway.settled_cost) == (1, 25)


def test_it_is_settled_once() -> None:
    """A second time changes nothing, be it with another cost; nor can it grow any more."""
    told, gateway = Told(), account(hour=100)
    hold = held(told.book.reserve([gateway], fixed(60), NOON))
    hold.settle(sats(25))

    hold.settle(sats(60))
    hold.settle(None)
    grown = hold.grow(fixed(80))

    meter = gateway.meter(HOUR, NOON)
    assert (meter.spent, meter.reserved, gateway.settled) == (25, 0, 1)
    assert grown is None


def test_what_cost_nothing_is_given_back_in_whole() -> None:
    """Nobody was asked, or nobody knows what it cost; it does not count for the estimate of what is left."""
    told, gateway = Told(), account(hour=100)

    held(told.book.reserve([gateway], fixed(60), NOON)).settle(None)
    held(told.book.reserve([gateway], fixed(60), NOON)).settle(sats(0))
    held(told.book.reserve([gateway], fixed(60), NOON)).settle(Cost(None, NanoUsd(5)))

    meter = gateway.meter(HOUR, NOON)
    assert (meter.spent, meter.reserved, gateway.settled) == (0, 0, 0)


def test_all_windows_of_all_accounts_or_none() -> None:
    """A key with room in a gateway without, and a gateway with room for a key without: nothing stays reserved."""
    told, gateway, key = Told(), account(hour=100, day=1000), account("key_1", hour=1000, month=50)

    by_key = refused(told.book.reserve([gateway, key], fixed(60), NOON))
    held(told.book.reserve([gateway], fixed(90), NOON))
    by_gateway = refused(told.book.reserve([gateway, key], fixed(40), NOON))

    assert (by_key.meter, by_key.amount) == (key.meter(MONTH, NOON), 60)
    assert (by_gateway.meter, by_gateway.amount) == (gateway.meter(HOUR, NOON), 40)
    assert [meter.reserved for meter in key.running(NOON)] == [0] * 4
    assert [meter.reserved for meter in gateway.running(NOON)] == [90, 90, 0, 0]


def test_each_account_reserves_in_its_own_currency() -> None:
    """A gateway that counts satoshis, a key that counts dollars, one request."""
    told, gateway, key = Told(), account(hour=1000), account("key_1", currency=USD, hour=1000)
    hold = held(told.book.reserve([gateway, key], {SATS: 70, USD: 7}.__getitem__, NOON))
    reserved = gateway.meter(HOUR, NOON).reserved, key.meter(HOUR, NOON).reserved

    hold.settle(Cost(MicroSats(40), NanoUsd(4)))

    assert reserved == (70, 7)
    assert (gateway.meter(HOUR, NOON).spent, key.meter(HOUR, NOON).spent) == (40, 4)


def test_the_window_that_ends_last_says_when_to_come_again() -> None:
    """Where the hour and the day are both used up, the next hour is of no use."""
    told, gateway, key = Told(), account(hour=10, day=10, month=1000), account("key_1", hour=10)

    refusal = refused(told.book.reserve([gateway, key], fixed(60), NOON))

    assert refusal.meter is gateway.meter(DAY, NOON)


def test_what_costs_nothing_passes_a_budget_that_is_overspent() -> None:
    """A free model needs no money; one that costs anything is refused."""
    told, gateway = Told(), account(hour=100)
    held(told.book.reserve([gateway], fixed(10), NOON)).settle(sats(150))

    free = told.book.reserve([gateway], fixed(0), NOON)
    priced = told.book.reserve([gateway], fixed(1), NOON)

    assert isinstance(free, Hold)
    assert refused(priced).meter.available == -50


def test_what_cost_more_than_was_reserved_is_charged_in_full() -> None:
    """The limit may be passed by that much, somebody is told, and the next one is refused."""
    told, gateway = Told(), account(hour=100)
    hold = held(told.book.reserve([gateway], fixed(60), NOON))

    hold.settle(sats(130))

    assert gateway.meter(HOUR, NOON).available == -30
    assert told.said == [Happening.OVERRUN, Happening.THRESHOLD, Happening.EXHAUSTED]
    assert isinstance(told.book.reserve([gateway], fixed(1), NOON), Refusal)


def test_a_limit_that_came_under_way_was_not_overrun() -> None:
    """Nothing was set aside for it when the request began: what it cost counts, and nobody is alarmed."""
    told, gateway = Told(), account()
    hold = held(told.book.reserve([gateway], fixed(0), NOON))
    gateway.limit({HOUR: 1000}, HARD)

    hold.settle(sats(60))

    assert gateway.meter(HOUR, NOON).available == 940
    assert told.said == []


def test_a_soft_limit_lets_pass_and_says_so() -> None:
    """What is reserved or spent beyond it is counted; every answer carries a warning with the share that is used."""
    told, gateway = Told(), account(hour=100, settings=SOFT)

    first = held(told.book.reserve([gateway], fixed(90), NOON))
    warned_at_first = first.low()
    second = held(told.book.reserve([gateway], fixed(90), NOON))

    meter = gateway.meter(HOUR, NOON)
    assert warned_at_first == []
    assert [each for each, _ in second.low()] == [meter]
    first.settle(sats(50))
    assert second.low(sats(70)) == [(meter, 1.2)]
    second.settle(sats(70))
    assert second.low(sats(70)) == [(meter, 1.2)]
    assert meter.available == -20


def test_a_warning_comes_with_the_threshold() -> None:
    """From 80 % on, that of the request itself included; of unlimited accounts there is nothing to say."""
    told, gateway, key = Told(), account(hour=1000, day=100_000), account("key_1")
    held(told.book.reserve([gateway, key], fixed(700), NOON)).settle(sats(700))
    hold = held(told.book.reserve([gateway, key], fixed(200), NOON))

    assert hold.low() == []
    assert hold.low(sats(99)) == []
    assert hold.low(sats(100)) == [(gateway.meter(HOUR, NOON), 0.8)]


@pytest.mark.parametrize("late", [False, True])
def test_each_window_tells_each_thing_once(late: bool) -> None:
    """However often the threshold or the limit is met; and again in the next window."""
    told, gateway = Told(), account(hour=100)
    for _ in range(5):
        held(told.book.reserve([gateway], fixed(10), NOON)).settle(sats(20))
        refused(told.book.reserve([gateway], fixed(90), NOON))
    held(told.book.reserve([gateway], fixed(0), NOON)).settle(sats(30))
    first = list(told.said)

    if late:
        held(told.book.reserve([gateway], fixed(100), NOON + 3600)).settle(sats(100))

    assert sorted(each.value for each in first) == ["exhausted", "overrun", "threshold"]
    assert told.said[len(first) :] == ([Happening.THRESHOLD, Happening.EXHAUSTED] if late else [])


def test_one_request_that_is_too_large_is_no_alarm() -> None:
    """It is refused, and the budget is not used up at all."""
    told, gateway = Told(), account(hour=100)

    refusal = refused(told.book.reserve([gateway], fixed(101), NOON))

    assert told.said == []
    assert "is 0.0001 sats an hour, of which 0 sats is spent and 0 sats reserved" in refusal.message
    assert "may cost up to 0.000101 sats" in refusal.message


@pytest.mark.parametrize(
    ("id", "period", "said"),
    [
        (GATEWAY, DAY, "this gateway's budget is 0.000001 sats a day,"),
        ("key_1", TOTAL, "the budget of key 'key_1' is 0.000001 sats in all,"),
    ],
)
def test_a_refusal_says_whose_budget_of_what(id: str, period: Period, said: str) -> None:
    """So that the caller knows whom to ask, and how long to wait."""
    one = account(id)
    one.limit({period: 1}, HARD)

    refusal = refused(Told().book.reserve([one], fixed(2), NOON))

    assert refusal.message.startswith(said)


def test_a_request_is_charged_to_the_window_in_which_it_reserved() -> None:
    """It ends a minute into the next hour: that hour has nothing of it, and both sums are exact."""
    told, gateway = Told(), account(hour=100, day=1000)
    before, after = at("2027-01-15T12:59:59"), at("2027-01-15T13:00:01")
    hold = held(told.book.reserve([gateway], fixed(60), before))
    old = gateway.meter(HOUR, before)
    later = held(told.book.reserve([gateway], fixed(80), after))

    hold.settle(sats(50))
    later.settle(sats(20))

    new = gateway.meter(HOUR, after)
    assert (old.spent, old.reserved) == (50, 0)
    assert (new.spent, new.reserved, new.start) == (20, 0, at("2027-01-15T13:00"))
    assert gateway.meter(DAY, after).spent == 70
    assert (hold.charged_at, later.charged_at) == (before, after)


def test_a_clock_that_is_set_back_opens_no_closed_window() -> None:
    """Neither for the account that had gone on, nor for one that had not: they are charged at the same instant, which
    is in all their windows."""
    told, gateway, key = Told(), account(hour=100), account("key_1", hour=100)
    held(told.book.reserve([gateway, key], fixed(90), NOON - 1)).settle(sats(90))
    held(told.book.reserve([gateway], fixed(90), NOON)).settle(sats(90))

    refusal = told.book.reserve([gateway, key], fixed(20), NOON - 1800)
    hold = held(told.book.reserve([gateway, key], fixed(10), NOON - 1800))

    assert refused(refusal).meter.start == NOON
    assert hold.charged_at == NOON
    assert [meter.start for meter in hold.meters] == [NOON, NOON]
    assert key.meter(HOUR, NOON).available == 90


def test_a_clock_that_jumps_ahead_stays_ahead() -> None:
    """An hour forward and back again: the hour that it jumped to goes on until it is really over."""
    told, gateway = Told(), account(hour=100)
    held(told.book.reserve([gateway], fixed(90), NOON)).settle(sats(90))
    held(told.book.reserve([gateway], fixed(90), NOON + 3600)).settle(sats(90))

    within = [
        told.book.reserve([gateway], fixed(20), now) for now in (NOON + 1, NOON + 3599, NOON + 3600, NOON + 7199.9)
    ]
    over = told.book.reserve([gateway], fixed(20), NOON + 7200)

    assert all(isinstance(each, Refusal) for each in within)
    assert isinstance(over, Hold)


def test_a_hold_grows_to_what_is_needed() -> None:
    """By what is missing, in each currency; less than is held changes nothing."""
    told, gateway, key = Told(), account(hour=100), account("key_1", currency=USD, day=100)
    hold = held(told.book.reserve([gateway, key], fixed(30), NOON))

    assert hold.grow({SATS: 50, USD: 20}.__getitem__) is None

    assert (gateway.meter(HOUR, NOON).reserved, key.meter(DAY, NOON).reserved) == (50, 30)
    hold.settle(Cost(MicroSats(1), NanoUsd(1)))
    assert (gateway.meter(HOUR, NOON).reserved, key.meter(DAY, NOON).reserved) == (0, 0)


def test_a_hold_grows_everywhere_or_nowhere() -> None:
    """Where the last of its windows has no room, the first have not grown either."""
    told, gateway, key = Told(), account(hour=1000), account("key_1", hour=1000, day=50)
    hold = held(told.book.reserve([gateway, key], fixed(30), NOON))

    refusal = hold.grow(fixed(60))

    assert refusal is not None
    assert (refusal.meter, refusal.amount) == (key.meter(DAY, NOON), 30)
    assert [meter.reserved for meter in hold.meters] == [30, 30, 30]
    hold.settle(None)
    assert [meter.reserved for meter in hold.meters] == [0, 0, 0]


def test_a_hold_that_need_not_grow_is_not_refused() -> None:
    """Also where its budget was overspent by others meanwhile."""
    told, gateway = Told(), account(hour=100)
    hold = held(told.book.reserve([gateway], fixed(30), NOON))
    held(told.book.reserve([gateway], fixed(30), NOON)).settle(sats(500))

    assert hold.grow(fixed(30)) is None


def test_a_soft_limit_lets_holds_grow() -> None:
    """It refuses nothing."""
    told, gateway = Told(), account(hour=100, settings=SOFT)
    hold = held(told.book.reserve([gateway], fixed(30), NOON))

    assert hold.grow(fixed(300)) is None
    assert gateway.meter(HOUR, NOON).available == -200


def test_a_changed_limit_holds_at_once() -> None:
    """Lowered, for the next request, with what is spent and reserved; raised or taken away likewise."""
    told, gateway = Told(), account(hour=100)
    held(told.book.reserve([gateway], fixed(50), NOON)).settle(sats(50))
    under_way = held(told.book.reserve([gateway], fixed(30), NOON))

    gateway.limit({HOUR: 60}, HARD)
    lowered = refused(told.book.reserve([gateway], fixed(1), NOON)).message
    gateway.limit({HOUR: 120, DAY: None}, HARD)
    raised = told.book.reserve([gateway], fixed(40), NOON)
    gateway.limit({}, HARD)
    free = told.book.reserve([gateway], fixed(10**9), NOON)

    assert "0.00005 sats is spent and 0.00003 sats reserved" in lowered
    for each in (under_way, raised, free):
        held(each).settle(sats(1))
    assert (gateway.meter(HOUR, NOON).spent, gateway.meter(HOUR, NOON).reserved) == (53, 0)
    assert gateway.meter(HOUR, NOON).available is None


def test_what_is_reserved_under_one_limit_is_given_back_under_another() -> None:
    """Limits of other periods came and went while the request was under way; nothing of it stays reserved."""
    told, gateway = Told(), account(hour=100)
    hold = held(told.book.reserve([gateway], fixed(50), NOON))

    gateway.limit({DAY: 100}, HARD)
    between = held(told.book.reserve([gateway], fixed(20), NOON))
    hold.settle(sats(10))
    gateway.limit({HOUR: 100, DAY: 100}, HARD)
    between.settle(sats(10))

    assert {meter.period: (meter.spent, meter.reserved) for meter in gateway.running(NOON)} == dict.fromkeys(
        Period, (20, 0)
    )


def test_another_currency_counts_what_was_spent_in_it() -> None:
    """Each meter counts in both, as far as both are known, so that a change forgets nothing; what is under way is
    charged in the new one, and was reserved in the old one alone."""
    told, key = Told(), account("key_1", hour=1000)
    held(told.book.reserve([key], fixed(100), NOON)).settle(Cost(MicroSats(50), NanoUsd(7)))
    under_way = held(told.book.reserve([key], fixed(100), NOON))
    meter = key.meter(HOUR, NOON)
    told.book.leased(meter, 500)

    key.denominate(USD)
    key.limit({HOUR: 20}, HARD)

    assert (meter.spent, meter.reserved, meter.leased, meter.available) == (7, 0, 0, 13)
    refusal = refused(told.book.reserve([key], fixed(14), NOON))
    assert refusal.meter is meter
    assert under_way.grow(fixed(5000)) is None
    under_way.settle(Cost(MicroSats(60), NanoUsd(9)))
    assert (meter.spent, meter.reserved) == (16, 0)
    key.denominate(SATS)
    assert meter.spent == 110


def test_its_own_currency_is_no_change() -> None:
    """What is reserved stays so."""
    told, key = Told(), account("key_1", hour=1000)
    hold = held(told.book.reserve([key], fixed(100), NOON))

    key.denominate(SATS)

    assert key.meter(HOUR, NOON).reserved == 100
    hold.settle(None)
    assert key.meter(HOUR, NOON).reserved == 0


def test_the_past_counts_beside_what_was_spent_since() -> None:
    """Once for each period, and only in the window that it is of."""
    told, gateway = Told(), account(hour=1000, day=1000)
    held(told.book.reserve([gateway], fixed(5), NOON)).settle(sats(5))

    gateway.restore(HOUR, HOUR.start(NOON), Cost(MicroSats(70), NanoUsd(8)), now=NOON)
    gateway.restore(DAY, DAY.start(NOON) - 86400, sats(10), now=NOON)

    assert (gateway.meter(HOUR, NOON).spent, gateway.meter(DAY, NOON).spent) == (75, 5)
    assert gateway.restored == {HOUR, DAY}
    gateway.denominate(USD)
    assert gateway.meter(HOUR, NOON).spent == 8


class TestLeases:
    """What is to be written down before it may be spent."""

    def test_a_lease_is_a_share_of_the_limit_ahead(self) -> None:
        """1 % by default, at least one unit, of the limit and never beyond it where it is hard."""
        told, gateway = Told(), account(hour=10_000, total=50)
        hold = held(told.book.reserve([gateway], fixed(30), NOON))

        wanted = {meter.period: meter.wanted for meter in told.wanted}

        assert wanted == {HOUR: 130, TOTAL: 31}
        assert not hold.covered
        for meter in hold.meters:
            told.book.leased(meter, meter.wanted or 0)
        assert hold.covered

    def test_nothing_is_wanted_while_half_a_step_is_ahead(self) -> None:
        """So that a lease is taken before it is needed."""
        told, gateway = Told(), account(hour=10_000)
        meter = gateway.meter(HOUR, NOON)
        held(told.book.reserve([gateway], fixed(30), NOON))
        told.book.leased(meter, 130)

        held(told.book.reserve([gateway], fixed(50), NOON))
        enough = meter.wanted
        held(told.book.reserve([gateway], fixed(1), NOON))

        assert enough is None
        assert meter.wanted == 181
        assert told.wanted[-1] is meter

    def test_a_hard_limit_is_the_end_of_leases(self) -> None:
        """What is committed beyond it is written down nevertheless; a soft one goes on as before."""
        told, hard, soft = Told(), account(hour=1000), account("key_1", hour=1000, settings=SOFT)
        for each in (hard, soft):
            held(told.book.reserve([each], fixed(995), NOON))
        near = [each.meter(HOUR, NOON).wanted for each in (hard, soft)]
        for each in (hard, soft):
            held(told.book.reserve([each], fixed(0), NOON)).settle(sats(300))

        beyond = [each.meter(HOUR, NOON).wanted for each in (hard, soft)]

        assert near == [1000, 1005]
        assert beyond == [1295, 1305]

    def test_a_lease_that_is_larger_than_a_lowered_limit_covers_all(self) -> None:
        """Nothing more is written, and what may still be spent is what the new limit says."""
        told, gateway = Told(), account(hour=10_000)
        meter = gateway.meter(HOUR, NOON)
        held(told.book.reserve([gateway], fixed(5000), NOON)).settle(sats(10))
        told.book.leased(meter, 5100)

        gateway.limit({HOUR: 100}, HARD)

        assert (meter.wanted, meter.available) == (None, 90)
        assert held(told.book.reserve([gateway], fixed(90), NOON)).covered

    def test_a_free_request_asks_for_the_lease_that_it_waits_for(self) -> None:
        """What an earlier process had spent is to be covered before anything is sent, whoever sends it."""
        told, gateway = Told(), account(hour=1000)
        gateway.restore(HOUR, HOUR.start(NOON), sats(500), now=NOON)

        hold = held(told.book.reserve([gateway], fixed(0), NOON))

        assert hold.covered or told.wanted == [gateway.meter(HOUR, NOON)]

    def test_a_lease_never_shrinks(self) -> None:
        """One that was written late does not take back one that is larger."""
        told, gateway = Told(), account(hour=1000)
        meter = gateway.meter(HOUR, NOON)
        told.book.leased(meter, 500)

        told.book.leased(meter, 300)

        assert meter.leased == 500

    @pytest.mark.parametrize(
        ("limit", "leased", "left"), [(1000, 30, 30), (1000, 31, 10), (1000, 5, 5), (None, 500, 500)]
    )
    def test_far_more_than_is_needed_is_given_back(self, limit: int | None, leased: int, left: int) -> None:
        """From more than two steps ahead on: then nothing is spent by it any more, and one step is wanted instead."""
        told, gateway = Told(), account(hour=limit)
        meter = gateway.meter(HOUR, NOON)
        held(told.book.reserve([gateway], fixed(10), NOON))
        told.book.leased(meter, leased)

        done = meter.give_back()

        assert (done, meter.leased) == (left < leased, left)
        assert meter.wanted == (20 if done or leased == 5 else None)

    def test_who_is_not_limited_needs_none(self) -> None:
        """No lease is wanted, and every hold is covered."""
        told, gateway = Told(), account()
        hold = held(told.book.reserve([gateway], fixed(0), NOON))
        hold.settle(sats(1000))
        told.book.look(gateway.meter(HOUR, NOON))

        assert (told.wanted, hold.covered, hold.hard) == ([], True, False)
        assert gateway.meter(HOUR, NOON).wanted is None
        assert not gateway.meter(HOUR, NOON).is_low()


@dataclass(eq=False)
class Row:
    """What one request has to do with one account."""

    account: int
    windows: dict[Period, int]
    """Those it is charged to, by their beginnings."""
    limited: set[Period]
    """Those in which it has reserved ``amount``."""
    amount: int
    void: bool = False
    """The currency has changed, so that nothing is reserved any more."""
    cost: dict[Currency, int] = field(default_factory=dict)


def amounts(most: int) -> st.SearchStrategy[dict[Currency, int]]:
    """Something in each currency."""
    return st.fixed_dictionaries({currency: st.integers(0, most) for currency in Currency})


class Ledger(RuleBasedStateMachine):
    """A book against a model that only adds up: two accounts, limits of both kinds that change, a clock that is set at
    will, holds that grow and are settled in any order, for less or more than they reserved."""

    def __init__(self) -> None:
        super().__init__()
        self.told = Told()
        self.now = self.latest = NOON
        self.accounts = [account(hour=1000, day=5000), account("key_1", currency=USD, hour=400, month=3000, total=9000)]
        self.open: list[tuple[Hold, list[Row]]] = []
        self.rows: list[Row] = []
        self.limits: dict[tuple[int, Period, int], int | None] = {}
        """Of each window, those that were the last to hold while it was running."""

    def row(self, nth: int, amount: int) -> Row:
        """What a request that comes now holds of an account."""
        one = self.accounts[nth]
        return Row(nth, {period: period.start(self.latest) for period in Period}, set(one.limits), amount)

    def spent(self, nth: int, period: Period, start: int) -> int:
        currency = self.accounts[nth].currency
        return sum(row.cost[currency] for row in self.rows if (row.account, row.windows[period]) == (nth, start))

    def reserved(self, nth: int, period: Period, start: int) -> int:
        rows = [row for _, parts in self.open for row in parts if row.account == nth and period in row.limited]
        return sum(row.amount for row in rows if row.windows[period] == start)

    def room(self, row: Row, amount: int) -> bool:
        """Whether so much more fits into all windows in which the row reserves."""
        one = self.accounts[row.account]
        if not one.hard or not amount:
            return True
        for period in row.limited:
            window = row.account, period, row.windows[period]
            limit = self.limits.get(window, one.limits.get(period))
            if limit is not None and self.spent(*window) + self.reserved(*window) + amount > limit:
                return False
        return True

    @rule(which=st.sampled_from([[0], [1], [0, 1]]), amounts=amounts(300))
    def reserve(self, which: list[int], amounts: dict[Currency, int]) -> None:
        self.latest = max(self.latest, self.now)
        rows = [self.row(nth, amounts[self.accounts[nth].currency]) for nth in which]
        fits = all(self.room(row, row.amount) for row in rows)

        outcome = self.told.book.reserve([self.accounts[nth] for nth in which], amounts.__getitem__, self.now)

        assert isinstance(outcome, Hold) is fits
        if isinstance(outcome, Hold):
            assert outcome.charged_at == self.latest
            self.open.append((outcome, rows))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), amounts=amounts(400))
    def grow(self, data: st.DataObject, amounts: dict[Currency, int]) -> None:
        hold, rows = data.draw(st.sampled_from(self.open))
        more = [0 if row.void else max(0, amounts[self.accounts[row.account].currency] - row.amount) for row in rows]
        fits = all(self.room(row, amount) for row, amount in zip(rows, more, strict=True))

        refusal = hold.grow(amounts.__getitem__)

        assert (refusal is None) is fits
        if fits:
            for row, amount in zip(rows, more, strict=True):
                row.amount += amount

    @precondition(lambda self: self.open)
    @rule(data=st.data(), cost=st.none() | amounts(400))
    def settle(self, data: st.DataObject, cost: dict[Currency, int] | None) -> None:
        hold, rows = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        for row in rows:
            row.cost = cost or dict.fromkeys(Currency, 0)
            self.rows.append(row)

        hold.settle(None if cost is None else Cost(MicroSats(cost[SATS]), NanoUsd(cost[USD])))
        hold.settle(Cost(MicroSats(10**9), NanoUsd(10**9)))

    @rule(seconds=st.sampled_from([1, 1800, 3599, 3600, 86400, 40 * 86400, -1, -3600, -7200, -86400]))
    def set_the_clock(self, seconds: int) -> None:
        self.now += seconds

    @rule(
        nth=st.integers(0, 1),
        limits=st.dictionaries(st.sampled_from(Period), st.none() | st.integers(1, 3000)),
        settings=st.sampled_from([HARD, SOFT]),
    )
    def change_limits(self, nth: int, limits: dict[Period, int | None], settings: BudgetSettings) -> None:
        self.accounts[nth].limit(limits, settings)
        self.look(nth)

    def look(self, nth: int) -> None:
        """What is committed is covered again by the limits that hold now."""
        for meter in self.accounts[nth].running(self.told.book.at(self.latest)):
            self.told.book.look(meter)

    @rule(nth=st.integers(0, 1), currency=st.sampled_from(Currency))
    def change_currency(self, nth: int, currency: Currency) -> None:
        one = self.accounts[nth]
        if one.currency is not currency:
            self.told.happenings = [each for each in self.told.happenings if each[1] != one.id]
            for row in [row for _, rows in self.open for row in rows if row.account == nth]:
                row.amount, row.void = 0, True
        one.denominate(currency)

    @rule()
    def write_leases(self) -> None:
        """What is wanted is written down; then all that was reserved until now is covered."""
        for meter in set(self.told.wanted):
            amount = meter.wanted
            if amount is not None:
                assert amount >= meter.committed
                assert not meter.account.hard or amount <= max(meter.limit or 0, meter.committed)
                self.told.book.leased(meter, amount)
        self.told.wanted.clear()

        assert all(hold.covered for hold, _ in self.open)

    @invariant()
    def every_window_adds_up(self) -> None:
        """What is spent, reserved and available is the limit; spent and reserved are what the model has added up."""
        for nth, one in enumerate(self.accounts):
            for meter in one.running(self.told.book.at(self.latest)):
                assert meter.start == meter.period.start(self.latest)
                assert meter.spent == self.spent(nth, meter.period, meter.start)
                assert meter.reserved == self.reserved(nth, meter.period, meter.start)
                self.limits[nth, meter.period, meter.start] = one.limits.get(meter.period)
                assert meter.limit == one.limits.get(meter.period)
                if meter.limit is not None:
                    assert meter.spent + meter.reserved + (meter.available or 0) == meter.limit
                if not self.open:
                    assert meter.reserved == 0

    @invariant()
    def what_is_not_covered_is_wanted(self) -> None:
        """No request waits for a lease that nobody will write."""
        for hold, _ in self.open:
            for meter in hold.meters:
                lacks = meter.limit is not None and meter.leased < meter.committed
                assert not lacks or meter in self.told.wanted

    @invariant()
    def nothing_is_told_twice_of_a_window(self) -> None:
        """By any account, of any window."""
        assert len(self.told.happenings) == len(set(self.told.happenings))

    def teardown(self) -> None:
        """When all requests have ended, nothing is reserved anywhere."""
        for hold, _ in self.open:
            hold.settle(None)
        self.open.clear()
        self.every_window_adds_up()


TestLedger = Ledger.TestCase
TestLedger.settings = hypothesis_settings(max_examples=100, stateful_step_count=50, deadline=None)
