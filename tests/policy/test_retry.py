from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.routing import RetrySettings
from arbstr.policy.retry import RetryBudget, backoff, pause


@given(nth=st.integers(1, 40), seed=st.integers())
def test_the_wait_is_between_half_the_step_and_the_step(nth: int, seed: int) -> None:
    """The step doubles and is capped."""
    settings = RetrySettings(initial_backoff=0.25, max_backoff=10.0, backoff_multiplier=2.0)

    wait = backoff(settings, nth, random.Random(seed))

    step = min(10.0, 0.25 * 2 ** (nth - 1))
    assert step / 2 <= wait <= step


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (2.5, 2.5), (120.0, 120.0), (3600.0, 120.0)])
def test_retry_after_replaces_the_backoff(asked: float, waited: float) -> None:
    """Clamped to 120 s, not to max_backoff."""
    failure = UpstreamFailure(FailureKind.SERVER_ERROR, "busy", retry_after=asked)

    assert pause(RetrySettings(), failure, 1, random.Random(0)) == waited


def test_without_retry_after_the_backoff_holds() -> None:
    """The same draw as the backoff's own."""
    failure = UpstreamFailure(FailureKind.SERVER_ERROR, "busy")

    waited = pause(RetrySettings(), failure, 2, random.Random(5))

    assert waited == backoff(RetrySettings(), 2, random.Random(5))


def allowed(budget: RetryBudget, now: float) -> int:
    """How many retries a budget still gives at one instant."""
    count = 0
    while budget.try_retry(now):
        count += 1
    return count


def test_a_quiet_provider_has_the_floor() -> None:
    """Ten a second over the ten seconds of the window."""
    assert allowed(RetryBudget(), 1000.0) == 100


def test_a_busy_provider_has_a_fifth_of_its_requests_more() -> None:
    """1,000 recent requests allow 200 retries beyond the floor."""
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(1000.0)

    assert allowed(budget, 1000.0) == 300


def test_what_is_older_than_ten_seconds_is_forgotten() -> None:
    """Requests and retries alike."""
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(1000.0)
    allowed(budget, 1000.5)

    assert allowed(budget, 1009.9) == 0
    assert allowed(budget, 1010.0) == 100


def test_a_pause_longer_than_the_window_clears_all_of_it() -> None:
    """However long nobody came."""
    budget = RetryBudget()
    allowed(budget, 1003.0)

    assert allowed(budget, 99_999.0) == 100


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 30)), max_size=40))
def test_retries_never_exceed_the_share_and_the_floor(steps: list[tuple[float, int]]) -> None:
    """In any window of ten seconds, for any traffic."""
    budget, now = RetryBudget(), 0.0
    requests: list[float] = []
    retries: list[float] = []
    for wait, count in steps:
        now += wait
        for _ in range(count):
            budget.request(now)
            requests.append(now)
            if budget.try_retry(now):
                retries.append(now)
        recent = sum(int(at) > int(now) - 10 for at in requests)
        assert sum(int(at) > int(now) - 10 for at in retries) <= recent * 0.2 + 100 + 1
