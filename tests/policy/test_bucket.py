from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.policy.bucket import Bucket

LIMITS = st.integers(min_value=1, max_value=10_000_000)
STARTS = st.sampled_from([0.0, 0.3, 1000.0, 86_400.7, 1e6 + 0.1, 1e9 + 0.1])
PAUSES = st.one_of(st.just(0.0), st.floats(min_value=0, max_value=90), st.floats(min_value=1e-9, max_value=1e-3))
TAKES = st.lists(st.tuples(PAUSES, st.integers(min_value=0, max_value=100)), max_size=40)


def remaining(bucket: Bucket, now: float) -> int:
    return bucket.level(now)[0]


def used(limit: int, start: float, takes: list[tuple[float, int]]) -> tuple[Bucket, float]:
    """A bucket after some takes, each a percentage of it, and the time of the last."""
    bucket, now = Bucket(limit), start
    for pause, percent in takes:
        now += pause
        bucket.take(limit * percent // 100, now)
    return bucket, now


def test_it_begins_full() -> None:
    """A minute's worth can be had at once, and no more."""
    bucket = Bucket(60)

    assert all(bucket.take(1, 5.0) for _ in range(60))
    assert not bucket.take(1, 5.0)
    assert bucket.level(5.0) == (0, 60.0)


def test_it_refills_evenly() -> None:
    """Of sixty a minute, one comes back each second, and none before."""
    bucket = Bucket(60)
    bucket.take(60, 5.0)

    assert not bucket.take(1, 5.999)
    assert bucket.take(1, 6.0)
    assert not bucket.take(1, 6.0)
    assert remaining(bucket, 65.0) == 59
    assert remaining(bucket, 66.0) == 60
    assert remaining(bucket, 1e6) == 60


def test_what_is_not_all_there_is_not_taken() -> None:
    """Whoever is turned away has used up nothing."""
    bucket = Bucket(10)
    bucket.take(6, 0.0)

    assert not bucket.take(5, 0.0)
    assert bucket.take(4, 0.0)


@given(LIMITS, STARTS, TAKES)
def test_in_no_interval_is_more_taken_than_the_limit_says(
    limit: int, start: float, takes: list[tuple[float, int]]
) -> None:
    """From any instant to any later one: what it holds, and what comes back meanwhile."""
    bucket = Bucket(limit)
    times = list(accumulate((pause for pause, _ in takes), initial=start))[1:]
    wanted = [limit * percent // 100 for _, percent in takes]
    taken = [each if bucket.take(each, now) else 0 for now, each in zip(times, wanted, strict=True)]
    nanosecond = Fraction(1, 10**9)

    for first in range(len(taken)):
        for last in range(first, len(taken)):
            seconds = Fraction(times[last]) - Fraction(times[first]) + nanosecond
            assert sum(taken[first : last + 1]) <= limit + Fraction(limit, 60) * seconds


@given(LIMITS, STARTS, TAKES, st.integers(min_value=1, max_value=100))
def test_the_wait_is_honest(limit: int, start: float, takes: list[tuple[float, int]], percent: int) -> None:
    """Whoever comes back exactly then gets it; a microsecond sooner, it was not there yet."""
    bucket, now = used(limit, start, takes)
    tokens = max(1, limit * percent // 100)
    wait = bucket.wait(tokens, now)

    assert 0 <= wait <= 60.001
    if start < 1e9 and wait > 1e-6:
        assert not bucket.take(tokens, now + wait - 1e-6)
    assert bucket.take(tokens, now + wait)


def test_a_wait_is_no_longer_than_it_must_be() -> None:
    """Where the clock shows whole seconds, so does the wait: rounding it up to seconds adds none."""
    bucket = Bucket(60)
    bucket.take(60, 1000.0)

    assert bucket.wait(1, 1000.0) == 1.0
    assert bucket.wait(60, 1000.0) == 60.0
    assert bucket.wait(1, 1001.0) == 0.0


@given(LIMITS, st.lists(st.floats(min_value=0, max_value=0.5), max_size=50))
def test_asking_often_changes_nothing(limit: int, pauses: list[float]) -> None:
    """However many times it is looked at on the way, it stands as if it had been looked at once: no error grows."""
    often, once = Bucket(limit), Bucket(limit)
    often.take(limit, 7.0)
    once.take(limit, 7.0)
    now = 7.0
    for pause in pauses:
        now += pause
        often.level(now)

    assert often.level(now) == once.level(now)


@given(LIMITS, STARTS, TAKES, st.floats(min_value=0, max_value=1000))
def test_a_clock_that_goes_back_stands_still(
    limit: int, start: float, takes: list[tuple[float, int]], back: float
) -> None:
    """Nothing comes back for time that was counted already, and nothing is lost."""
    bucket, now = used(limit, start, takes)
    before = bucket.level(now)

    assert bucket.level(now - back) == before
    assert bucket.level(now) == before


def test_a_wait_counts_from_a_clock_that_went_back() -> None:
    """It is as long as it takes the clock to get there."""
    bucket = Bucket(60)
    bucket.take(60, 100.0)

    assert bucket.wait(1, 90.0) == 11.0
    assert bucket.take(1, 90.0 + 11.0)


def test_a_correction_may_leave_a_debt() -> None:
    """What was used without being there has to come back first."""
    bucket = Bucket(60)
    bucket.take(60, 0.0)
    bucket.correct(60, 0.0)

    assert bucket.level(0.0) == (0, 120.0)
    assert remaining(bucket, 60.0) == 0
    assert bucket.wait(1, 0.0) == 61.0
    assert bucket.take(1, 61.0)


def test_a_correction_never_overfills() -> None:
    """What does not fit is lost."""
    bucket = Bucket(60)
    bucket.take(30, 0.0)
    bucket.correct(-45, 0.0)

    assert remaining(bucket, 0.0) == 60
    assert not bucket.take(61, 0.0)
    assert bucket.take(60, 0.0)


def test_it_is_idle_when_it_is_full() -> None:
    """Not a moment before."""
    bucket = Bucket(60)
    assert bucket.idle(0.0)
    bucket.take(1, 0.0)

    assert not bucket.idle(0.999)
    assert bucket.idle(1.0)


@pytest.mark.parametrize(("limit", "left"), [(120, 60), (30, 15), (60, 30), (1, 0)])
def test_a_new_limit_keeps_the_share(limit: int, left: int) -> None:
    """Half full stays half full, and it is full again at the same time as before."""
    bucket = Bucket(60)
    bucket.take(30, 0.0)
    bucket.resize(limit)

    assert bucket.level(0.0) == (left, 30.0)
    assert bucket.level(30.0) == (limit, 0.0)


@given(LIMITS, STARTS, TAKES, st.lists(LIMITS, min_size=1, max_size=5))
def test_new_limits_give_nothing_away(
    limit: int, start: float, takes: list[tuple[float, int]], limits: list[int]
) -> None:
    """However often they change, the bucket is not fuller than it was, nor than it can be."""
    bucket, now = used(limit, start, takes)
    reset = bucket.level(now)[1]
    for each in limits:
        bucket.resize(each)

    left, later = bucket.level(now)
    assert later >= reset or later == pytest.approx(reset)
    assert 0 <= left <= limits[-1]


def test_a_new_limit_brings_nothing_back_sooner() -> None:
    """Not even by a nanosecond: what cannot be divided is rounded up."""
    bucket = Bucket(7)
    bucket.take(1, 0.0)  # 8.571428571428… seconds
    bucket.resize(1)

    assert not bucket.idle(8.5714285715)
    assert bucket.idle(8.5714285725)


def test_it_shows_how_it_stands() -> None:
    """Its repr tells what is missing."""
    bucket = Bucket(60)
    bucket.take(15, 0.0)

    assert repr(bucket) == "Bucket(limit=60, missing=15)"
