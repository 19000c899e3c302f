from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.errors import RateLimited
from arbstr.domain.limits import NO_LIMITS, Limits
from arbstr.policy.limits import NO_SLOT, NO_VIEW, Gauge, Limit, Limiter, Limiters, Refused, Slot, View

SOME_LIMITS = st.builds(
    Limits,
    rpm=st.none() | st.integers(min_value=1, max_value=20),
    tpm=st.none() | st.integers(min_value=1, max_value=2000),
    max_parallel=st.none() | st.integers(min_value=1, max_value=5),
)
TOKENS = st.integers(min_value=0, max_value=3000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pause"), st.integers(min_value=0, max_value=90_000)),
        st.tuples(st.just("admit"), TOKENS),
        st.tuples(st.just("settle"), TOKENS),
    ),
    max_size=40,
)
"""Pauses in milliseconds; requests with an estimate; ends of the oldest request that is under way with what it used."""


class Day:
    """Requests of one caller, made as some steps say."""

    def __init__(self, limits: Limits, steps: list[tuple[str, int]]) -> None:
        self.limiter = Limiter(limits)
        self.limits = limits
        self.now = 1000.0
        self.open: list[Slot] = []
        self.admitted: list[float] = []
        for step, number in steps:
            self.take(step, number)

    def take(self, step: str, number: int) -> None:
        if step == "pause":
            self.now += number / 1000
        elif step == "admit":
            slot = self.limiter.admit(self.now)
            if isinstance(slot, Slot):
                self.admitted.append(self.now)
                if slot.charge(number, self.now) is None:
                    self.open.append(slot)
        elif self.open:
            self.open.pop(0).settle(number, self.now)
        self.check()

    def check(self) -> None:
        assert self.limiter.in_flight == len(self.open)
        assert self.limits.max_parallel is None or len(self.open) <= self.limits.max_parallel
        view = self.limiter.view(self.now)
        for gauge in (view.requests, view.tokens):
            assert gauge is None or (0 <= gauge.remaining <= gauge.limit and gauge.reset >= 0)


def slot(outcome: Slot | Refused) -> Slot:
    assert isinstance(outcome, Slot)
    return outcome


def refusal(outcome: Slot | Refused | None) -> Refused:
    assert isinstance(outcome, Refused)
    return outcome


class TestRequests:
    def test_a_minutes_worth(self) -> None:
        """Is admitted at once; the next one is told when to come back, and is admitted then."""
        limiter = Limiter(Limits(rpm=60))
        for _ in range(60):
            slot(limiter.admit(0.0)).settle(0, 0.0)
        refused = refusal(limiter.admit(0.0))

        assert (refused.limit, refused.allowed, refused.retry_after) == (Limit.REQUESTS, 60, 1.0)
        assert isinstance(limiter.admit(1.0), Slot)

    def test_what_the_caller_is_told(self) -> None:
        """The limit, and the wait in whole seconds."""
        limiter = Limiter(Limits(rpm=7))
        for _ in range(7):
            limiter.admit(0.0)
        error = refusal(limiter.admit(0.0)).error()

        assert isinstance(error, RateLimited)
        assert error.message == "this caller's limit of requests a minute is 7: try again in 9 s"
        assert error.retry_after == pytest.approx(60 / 7)

    @given(SOME_LIMITS, STEPS)
    def test_never_more_than_the_limit_says(self, limits: Limits, steps: list[tuple[str, int]]) -> None:
        """In any interval: a minute's worth, and what came back in it."""
        times, rpm = Day(limits, steps).admitted, limits.rpm or 10**9

        for first in range(len(times)):
            for last in range(first, len(times)):
                seconds = Fraction(times[last]) - Fraction(times[first]) + Fraction(1, 10**9)
                assert last - first + 1 <= rpm + Fraction(rpm, 60) * seconds

    @given(SOME_LIMITS, STEPS, st.integers(min_value=1, max_value=3000))
    def test_a_retry_that_waits_is_admitted(self, limits: Limits, steps: list[tuple[str, int]], tokens: int) -> None:
        """Exactly as long as it was told, if nobody else came; and what it asked for is there too."""
        day = Day(limits, steps)
        refused: Slot | Refused | None = day.limiter.admit(day.now)
        if isinstance(refused, Slot):
            refused = refused.charge(tokens, day.now)
        if not isinstance(refused, Refused):
            return
        for each in day.open if refused.limit is Limit.PARALLEL else ():
            each.settle(0, day.now)
        again = slot(day.limiter.admit(day.now + refused.retry_after))

        assert refused.limit is not Limit.TOKENS or again.charge(tokens, day.now + refused.retry_after) is None


class TestParallel:
    def test_too_many_at_a_time(self) -> None:
        """One more is told to try in a second; when one has ended, there is room."""
        limiter = Limiter(Limits(max_parallel=2))
        first, _second = slot(limiter.admit(0.0)), slot(limiter.admit(0.0))
        refused = refusal(limiter.admit(0.0))
        first.settle(0, 0.0)

        assert (refused.limit, refused.allowed, refused.retry_after) == (Limit.PARALLEL, 2, 1.0)
        assert isinstance(limiter.admit(0.0), Slot)

    def test_whoever_is_refused_has_taken_nothing(self) -> None:
        """Neither a request where it is too many at a time, nor a place where it is too many a minute."""
        limiter = Limiter(Limits(rpm=2, max_parallel=1))
        held = slot(limiter.admit(0.0))
        assert refusal(limiter.admit(0.0)).limit is Limit.PARALLEL
        held.settle(0, 0.0)
        slot(limiter.admit(0.0)).settle(0, 0.0)

        assert refusal(limiter.admit(0.0)).limit is Limit.REQUESTS
        assert limiter.in_flight == 0

    def test_both_limits_at_once(self) -> None:
        """The wait is long enough for the one that is known."""
        limiter = Limiter(Limits(rpm=1, max_parallel=1))
        slot(limiter.admit(0.0))
        refused = refusal(limiter.admit(0.0))

        assert (refused.limit, refused.retry_after) == (Limit.PARALLEL, 60.0)

    def test_a_slot_is_given_back_once(self) -> None:
        """However many ways out a request takes."""
        limiter = Limiter(Limits(tpm=100, max_parallel=3))
        first, _second = slot(limiter.admit(0.0)), slot(limiter.admit(0.0))
        first.charge(50, 0.0)
        first.settle(10, 0.0)
        first.settle(99, 0.0)
        first.charge(50, 0.0)

        assert limiter.in_flight == 1
        assert limiter.view(0.0).tokens == Gauge(100, 90, 6.0)

    @given(SOME_LIMITS, STEPS)
    def test_nothing_is_left_behind(self, limits: Limits, steps: list[tuple[str, int]]) -> None:
        """When all requests have ended and all debts are paid, it is as if nobody had ever come."""
        day = Day(limits, steps)
        for each in day.open:
            each.settle(0, day.now)

        assert day.limiter.in_flight == 0
        assert day.limiter.idle(day.now + 40 * 3000 * 60)


class TestTokens:
    def test_an_estimate_is_taken_and_corrected(self) -> None:
        """Either way, when the request is over."""
        limiter = Limiter(Limits(tpm=1000))
        less, more = slot(limiter.admit(0.0)), slot(limiter.admit(0.0))
        less.charge(400, 0.0)
        more.charge(400, 0.0)

        assert limiter.view(0.0).tokens == Gauge(1000, 200, 48.0)
        less.settle(100, 0.0)
        assert limiter.view(0.0).tokens == Gauge(1000, 500, 30.0)
        more.settle(700, 0.0)
        assert limiter.view(0.0).tokens == Gauge(1000, 200, 48.0)

    def test_a_request_that_was_never_made(self) -> None:
        """Gets back all that was taken for it."""
        limiter = Limiter(Limits(tpm=1000))
        leave = slot(limiter.admit(0.0))
        leave.charge(400, 0.0)
        leave.settle(0, 0.0)

        assert limiter.view(0.0).tokens == Gauge(1000, 1000, 0.0)

    def test_a_request_that_was_never_estimated(self) -> None:
        """Pays for what it used all the same."""
        limiter = Limiter(Limits(tpm=1000))
        slot(limiter.admit(0.0)).settle(250, 0.0)

        assert limiter.view(0.0).tokens == Gauge(1000, 750, 15.0)

    def test_too_many(self) -> None:
        """The request is told when they are there, gives its place back, and counts as one of the minute's."""
        limiter = Limiter(Limits(rpm=10, tpm=600, max_parallel=1))
        slot(limiter.admit(0.0)).settle(500, 0.0)
        leave = slot(limiter.admit(0.0))
        refused = refusal(leave.charge(200, 0.0))
        leave.settle(0, 0.0)

        assert (refused.limit, refused.allowed, refused.retry_after) == (Limit.TOKENS, 600, 10.0)
        assert limiter.in_flight == 0
        assert limiter.view(0.0) == View(Gauge(10, 8, 12.0), Gauge(600, 100, 50.0))
        assert slot(limiter.admit(10.0)).charge(200, 10.0) is None

    def test_the_wait_for_tokens_and_for_a_request(self) -> None:
        """Is the longer of the two."""
        limiter = Limiter(Limits(rpm=1, tpm=600))
        leave = slot(limiter.admit(0.0))
        leave.charge(600, 0.0)
        refused = refusal(leave.charge(10, 0.0))

        assert (refused.limit, refused.retry_after) == (Limit.TOKENS, 60.0)

    def test_a_request_larger_than_the_limit(self) -> None:
        """Is admitted when nothing is missing, and what it used beyond the limit is a debt."""
        limiter = Limiter(Limits(tpm=100))
        huge = slot(limiter.admit(0.0))
        assert huge.charge(10_000, 0.0) is None
        assert limiter.view(0.0).tokens == Gauge(100, 0, 60.0)
        huge.settle(300, 0.0)

        assert limiter.view(0.0).tokens == Gauge(100, 0, 180.0)
        assert refusal(slot(limiter.admit(0.0)).charge(10_000, 0.0)).retry_after == 180.0
        assert slot(limiter.admit(180.0)).charge(10_000, 180.0) is None

    def test_what_is_given_back_late(self) -> None:
        """Never makes more of it than the limit."""
        limiter = Limiter(Limits(tpm=100))
        slow = slot(limiter.admit(0.0))
        slow.charge(100, 0.0)
        slow.settle(0, 3600.0)

        assert limiter.view(3600.0).tokens == Gauge(100, 100, 0.0)


class TestNewLimits:
    def test_use_counts_by_its_share(self) -> None:
        """Half used of the old is half used of the new, and requests in flight stay so."""
        limiter = Limiter(Limits(rpm=10, tpm=1000, max_parallel=2))
        leave = slot(limiter.admit(0.0))
        leave.charge(500, 0.0)
        limiter.adopt(Limits(rpm=100, tpm=10, max_parallel=1))

        assert limiter.view(0.0) == View(Gauge(100, 90, 6.0), Gauge(10, 5, 30.0))
        assert refusal(limiter.admit(0.0)).limit is Limit.PARALLEL
        leave.settle(500, 0.0)
        assert isinstance(limiter.admit(0.0), Slot)

    def test_limits_come_and_go(self) -> None:
        """One that is new begins full, whoever is under way; one that is gone refuses nobody."""
        limiter = Limiter(NO_LIMITS)
        leave = slot(limiter.admit(0.0))
        assert leave.charge(10**9, 0.0) is None
        assert leave.view(0.0) == NO_VIEW
        limiter.adopt(Limits(rpm=1, tpm=100))
        assert leave.view(0.0) == View(Gauge(1, 1, 0.0), Gauge(100, 100, 0.0))
        limiter.adopt(NO_LIMITS)
        leave.settle(10**9, 0.0)

        assert limiter.in_flight == 0
        assert limiter.idle(0.0)

    @pytest.mark.parametrize("limits", [{"rpm": 0}, {"tpm": -1}, {"max_parallel": 0}])
    def test_a_limit_of_nothing(self, limits: dict[str, int]) -> None:
        """Is no limit that one could wait for."""
        with pytest.raises(ValueError, match="expected at least 1"):
            Limits(**limits)


class TestMany:
    def test_each_for_itself(self) -> None:
        """One caller's use is nobody else's."""
        limiters, limits = Limiters(), Limits(rpm=1)
        slot(limiters.admit("key_a", limits, 0.0))

        assert isinstance(limiters.admit("key_a", limits, 0.0), Refused)
        assert isinstance(limiters.admit("key_b", limits, 0.0), Slot)

    def test_whom_nothing_limits(self) -> None:
        """Costs nothing, and is not remembered."""
        limiters = Limiters()
        leave = slot(limiters.admit("key_a", NO_LIMITS, 0.0))
        leave.settle(100, 0.0)

        assert leave is NO_SLOT
        assert leave.charge(10**9, 0.0) is None
        assert leave.view(0.0) == NO_VIEW
        assert len(limiters) == 0

    def test_limits_that_changed_meanwhile(self) -> None:
        """Hold from the next request on; the same limits, read again, change nothing."""
        limiters = Limiters()
        slot(limiters.admit("key_a", Limits(rpm=2), 0.0))
        slot(limiters.admit("key_a", Limits(rpm=2), 0.0))

        assert isinstance(limiters.admit("key_a", Limits(rpm=2), 0.0), Refused)
        assert slot(limiters.admit("key_a", Limits(rpm=60), 1.0)).view(1.0).requests == Gauge(60, 0, 60.0)

    def test_many_addresses_do_not_fill_the_memory(self) -> None:
        """Those who stopped calling are forgotten; of too many at a time, the oldest."""
        at_once, by_and_by, limits = Limiters(most=100), Limiters(most=100), Limits(rpm=10, tpm=10)
        for number in range(1000):
            slot(at_once.admit(str(number), limits, 0.0)).settle(5, 0.0)
            slot(by_and_by.admit(str(number), limits, number * 60.0)).settle(5, number * 60.0)

        assert len(at_once) == 100
        assert len(by_and_by) <= 3

    def test_whoever_has_a_request_under_way_is_known(self) -> None:
        """Though its buckets are full again."""
        limiters, limits = Limiters(), Limits(rpm=600, max_parallel=1)
        slot(limiters.admit("slow", limits, 0.0))
        for number in range(100):
            slot(limiters.admit(str(number), limits, number * 60.0)).settle(0, number * 60.0)

        assert refusal(limiters.admit("slow", limits, 1e6)).limit is Limit.PARALLEL

    def test_a_forgotten_caller_still_ends_its_request(self) -> None:
        """On the limits it began with; it changes nothing for whoever came after."""
        limiters, limits = Limiters(most=1), Limits(max_parallel=1)
        old = slot(limiters.admit("a", limits, 0.0))
        slot(limiters.admit("b", limits, 0.0))
        new = slot(limiters.admit("a", limits, 0.0))
        old.settle(0, 0.0)

        assert refusal(limiters.admit("a", limits, 0.0)).limit is Limit.PARALLEL
        new.settle(0, 0.0)
        assert isinstance(limiters.admit("a", limits, 0.0), Slot)


@given(SOME_LIMITS, STEPS, st.floats(min_value=0, max_value=2000), TOKENS)
def test_a_clock_that_goes_back(limits: Limits, steps: list[tuple[str, int]], back: float, tokens: int) -> None:
    """Is one that stands still: nobody is admitted or refused for it, and a request that ends meanwhile has ended."""
    still, gone_back = Day(limits, steps), Day(limits, steps)
    gone_back.now -= back
    for step in ("admit", "settle", "admit"):
        still.take(step, tokens)
        gone_back.take(step, tokens)

    assert len(gone_back.open) == len(still.open)
    assert gone_back.limiter.view(gone_back.now) == still.limiter.view(still.now)


def test_they_show_how_they_stand() -> None:
    """In a repr, for whoever looks at night."""
    limiter = Limiter(Limits(rpm=60))
    leave = slot(limiter.admit(0.0))

    assert repr(limiter) == "Limiter(1 in flight, requests=Bucket(limit=60, missing=1), tokens=None)"
    assert repr(leave) == "Slot(open, charged=0)"
    assert repr(NO_SLOT) == "Slot(settled, charged=0)"
