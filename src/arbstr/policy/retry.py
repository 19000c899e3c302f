"""When to try again, and how long to wait before it."""

from __future__ import annotations

import random

from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.routing import RetrySettings

MAX_RETRY_AFTER = 120.0
"""Seconds. What a provider asks for beyond it is cut to it."""

BUDGET_WINDOW = 10
"""Seconds of the past that count as recent for the retry budget."""

BUDGET_RATIO = 0.2
"""Retries as a share of recent requests."""

BUDGET_FLOOR = 10
"""Retries a second that are always allowed, so that a quiet provider can be retried at all."""


def backoff(settings: RetrySettings, nth: int, rng: random.Random) -> float:
    """Seconds before the ``nth`` retry (1 is the first): uniform between half the step and the step.

    The step is ``initial_backoff × backoff_multiplier^(nth-1)``, at most ``max_backoff``. Half of it is kept as a
    floor (*equal jitter*), so that a retry is never immediate.
    """
    step = min(settings.max_backoff, settings.initial_backoff * settings.backoff_multiplier ** (nth - 1))
    return rng.uniform(step / 2, step)


def pause(settings: RetrySettings, failure: UpstreamFailure, nth: int, rng: random.Random) -> float:
    """Seconds before the ``nth`` retry after ``failure``: its Retry-After, clamped to 120 s, or else the backoff."""
    if failure.retry_after is not None:
        return min(failure.retry_after, MAX_RETRY_AFTER)
    return backoff(settings, nth, rng)


class RetryBudget:
    """Bounds how much load retries add: at most a fifth of recent requests, plus a floor of ten a second.

    Recent is the last ten seconds, counted in buckets of one second. Without it, a provider in trouble gets
    ``max_attempts`` times its load at the very moment when it can bear least.
    """

    __slots__ = ("_buckets", "_second")

    def __init__(self) -> None:
        self._buckets = [[0, 0] for _ in range(BUDGET_WINDOW)]
        self._second = 0

    def request(self, now: float) -> None:
        """A first attempt is made."""
        self._bucket(now)[0] += 1

    def try_retry(self, now: float) -> bool:
        """Take leave for one retry; False where the budget is spent."""
        bucket = self._bucket(now)
        requests = sum(requests for requests, _ in self._buckets)
        retries = sum(retries for _, retries in self._buckets)
        if retries >= requests * BUDGET_RATIO + BUDGET_FLOOR * BUDGET_WINDOW:
            return False
        bucket[1] += 1
        return True

    def _bucket(self, now: float) -> list[int]:
        second = int(now)
        if second != self._second:
            for stale in range(max(self._second + 1, second - BUDGET_WINDOW + 1), second + 1):
                self._buckets[stale % BUDGET_WINDOW] = [0, 0]
            self._second = max(self._second, second)
        return self._buckets[second % BUDGET_WINDOW]
