from __future__ import annotations

import pytest

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.policy.parking import Parked, park
from arbstr.policy.verdict import Park


def limited(retry_after: float | None = None) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.RATE_LIMITED, "slow down", status=429, retry_after=retry_after)


def parked(failure: UpstreamFailure, previous: Parked | None = None, now: float = 0.0) -> Parked:
    result = park(failure, previous, now)
    assert result is not None
    return result


def test_a_failure_of_health_parks_nothing() -> None:
    """That is the breaker's business."""
    assert park(UpstreamFailure(FailureKind.SERVER_ERROR, "oops", retry_after=5), None, 0.0) is None


@pytest.mark.parametrize(("asked", "until"), [(0.0, 101.0), (7.0, 107.0), (99_999.0, 3700.0)])
def test_a_rate_limited_account_rests_as_long_as_it_was_told(asked: float, until: float) -> None:
    """At least a second, at most an hour."""
    assert parked(limited(asked), now=100.0).until == until


def test_without_being_told_the_rest_doubles_from_one_second_to_sixty() -> None:
    """As long as it keeps saying so after each rest."""
    rests: list[float] = []
    now, last = 0.0, None
    for _ in range(9):
        last = parked(limited(), last, now)
        rests.append(last.until - now)
        now = last.until

    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_answers_that_were_under_way_do_not_double_the_rest() -> None:
    """Ten requests refused together are one reason to rest, not ten."""
    first = parked(limited())

    assert parked(limited(), first, 0.5) is first


def test_a_refused_key_is_tested_again_after_a_minute() -> None:
    """And twice as long after each further refusal, at most half an hour."""
    refused = UpstreamFailure(FailureKind.KEY_REFUSED, "bad key", status=401)
    rests: list[float] = []
    now, last = 0.0, None
    for _ in range(7):
        last = parked(refused, last, now)
        rests.append(last.until - now)
        now = last.until

    assert rests == [60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0]
    assert last is not None
    assert last.park is Park.KEY


def test_credit_that_is_gone_is_not_back_within_a_minute() -> None:
    """Whatever a short Retry-After says: it speaks of requests, not of money."""
    gone = UpstreamFailure(FailureKind.OUT_OF_CREDIT, "insufficient_quota", status=429, retry_after=1.0)

    assert parked(gone).until == 60.0


def test_a_different_reason_starts_from_its_own_beginning() -> None:
    """A key refused after a rate limit waits a minute, not a doubled second."""
    cooling = parked(limited())

    assert parked(UpstreamFailure(FailureKind.KEY_REFUSED, "bad key"), cooling, 1.0).until == 61.0


def test_a_missing_model_is_not_asked_for_there_for_five_minutes() -> None:
    """Only the model, not the account."""
    missing = parked(UpstreamFailure(FailureKind.MODEL_MISSING, "no such model", status=404), now=10.0)

    assert (missing.park, missing.until) == (Park.MODEL, 310.0)
