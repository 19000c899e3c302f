"""Requests a minute, tokens a minute and requests in flight, for each caller.

The line of a request is :meth:`Limiters.admit` when it has come (one request, one place in flight, both or neither),
:meth:`Slot.charge` when its body is known (an estimate of its tokens), and :meth:`Slot.settle` at its end (the true
number, and the place given back).
"""

from __future__ import annotations

import enum
import math

import msgspec

from arbstr.domain.errors import RateLimited
from arbstr.domain.limits import NO_LIMITS, Limits
from arbstr.policy.bucket import Bucket
from arbstr.policy.tracked import MOST, Tracked

PARALLEL_WAIT = 1.0
"""Seconds after which to try again where too many are in flight: nobody knows when one of them ends."""


class Limit(enum.Enum):
    """Which limit was met."""

    REQUESTS = "requests a minute"
    TOKENS = "tokens a minute"
    PARALLEL = "requests at a time"


class Gauge(msgspec.Struct, frozen=True, gc=False):
    """How a limit of so many a minute stands."""

    limit: int
    remaining: int
    """What may be used at once."""
    reset: float
    """Seconds until ``remaining`` is ``limit``, if nothing more is used."""


class View(msgspec.Struct, frozen=True, gc=False):
    """How a caller's limits stand; None where it has no such limit."""

    requests: Gauge | None = None
    tokens: Gauge | None = None


NO_VIEW = View()


class Refused(msgspec.Struct, frozen=True):
    """A request that may not be made now."""

    limit: Limit
    allowed: int
    """What the limit is."""
    retry_after: float
    """Seconds. A retry exactly then is admitted, if nobody else has used the limits meanwhile; of PARALLEL it is when
    to try."""
    view: View

    def error(self) -> RateLimited:
        """What the caller is told."""
        wait = f"try again in {math.ceil(self.retry_after)} s"
        return RateLimited(
            f"this caller's limit of {self.limit.value} is {self.allowed}: {wait}", retry_after=self.retry_after
        )


def _bucket(bucket: Bucket | None, limit: int | None) -> Bucket | None:
    """``bucket``, or a new one, for ``limit``."""
    if limit is None:
        return None
    if bucket is None:
        return Bucket(limit)
    bucket.resize(limit)
    return bucket


def _gauge(bucket: Bucket | None, now: float) -> Gauge | None:
    if bucket is None:
        return None
    remaining, reset = bucket.level(now)
    return Gauge(bucket.limit, remaining, reset)


class Limiter:
    """The limits of one caller, and what it has used of them."""

    __slots__ = ("_requests", "_tokens", "in_flight", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.in_flight = 0
        self._requests = _bucket(None, limits.rpm)
        self._tokens = _bucket(None, limits.tpm)

    def adopt(self, limits: Limits) -> None:
        """Hold to ``limits`` from now on. What was used of the old ones counts, by its share, against the new."""
        self.limits = limits
        self._requests = _bucket(self._requests, limits.rpm)
        self._tokens = _bucket(self._tokens, limits.tpm)

    def admit(self, now: float) -> Slot | Refused:
        """Take one request and one place in flight. Whoever is refused has taken nothing."""
        most = self.limits.max_parallel
        if most is not None and self.in_flight >= most:
            return self._refused(Limit.PARALLEL, most, max(PARALLEL_WAIT, self._next_request(now)), now)
        requests = self._requests
        if requests is not None and not requests.take(1, now):
            return self._refused(Limit.REQUESTS, requests.limit, requests.wait(1, now), now)
        self.in_flight += 1
        return Slot(self)

    def charge(self, tokens: int, now: float) -> int | Refused:
        """Take an estimate, and say how much was taken: no more than the bucket holds.

        So a request that is larger than the limit is admitted when the bucket is full, and no guess, however wild,
        leaves a debt: only the truth does, at the end.
        """
        bucket = self._tokens
        if bucket is None:
            return 0
        tokens = min(tokens, bucket.limit)
        if bucket.take(tokens, now):
            return tokens
        wait = max(bucket.wait(tokens, now), self._next_request(now))
        return self._refused(Limit.TOKENS, bucket.limit, wait, now)

    def release(self, tokens: int, now: float) -> None:
        """Give a place back. ``tokens``: how many more were used than were charged."""
        self.in_flight -= 1
        if self._tokens is not None and tokens:
            self._tokens.correct(tokens, now)

    def view(self, now: float) -> View:
        return View(_gauge(self._requests, now), _gauge(self._tokens, now))

    def idle(self, now: float) -> bool:
        """Whether nothing is in flight and nothing is missing: then a new limiter is as good as this one."""
        if self.in_flight:
            return False
        return all(bucket is None or bucket.idle(now) for bucket in (self._requests, self._tokens))

    def _next_request(self, now: float) -> float:
        return 0.0 if self._requests is None else self._requests.wait(1, now)

    def _refused(self, limit: Limit, allowed: int, retry_after: float, now: float) -> Refused:
        return Refused(limit, allowed, retry_after, self.view(now))

    def __repr__(self) -> str:
        return f"Limiter({self.in_flight} in flight, requests={self._requests}, tokens={self._tokens})"


class Slot:
    """A request's leave to be made, which is given back once, by :meth:`settle` or where :meth:`charge` refuses."""

    __slots__ = ("_charged", "_limiter", "_open")

    def __init__(self, limiter: Limiter, *, open: bool = True) -> None:
        self._limiter = limiter
        self._charged = 0
        self._open = open

    def charge(self, tokens: int, now: float) -> Refused | None:
        """Take an estimate of the tokens that the request will use, of input and output together.

        Where they are not there, the place in flight is given back at once and the slot is settled. The request still
        counts as one of the minute's: its body has been read, which is the work that the limit on requests protects
        us from, so that a caller that keeps asking for too much is soon refused before its body is. Retry-After is
        long enough for both.
        """
        if not self._open:
            return None
        taken = self._limiter.charge(tokens, now)
        if isinstance(taken, Refused):
            self.settle(0, now)
            return taken
        self._charged += taken
        return None

    def settle(self, tokens: int, now: float) -> None:
        """The request is over and has used ``tokens``: what was charged is corrected. Only the first call counts."""
        if self._open:
            self._open = False
            self._limiter.release(tokens - self._charged, now)

    def view(self, now: float) -> View:
        """How the caller's limits stand, this request included."""
        return self._limiter.view(now)

    def __repr__(self) -> str:
        return f"Slot({'open' if self._open else 'settled'}, charged={self._charged})"


NO_SLOT = Slot(Limiter(NO_LIMITS), open=False)
"""Of a request that nothing limits."""


class Limiters:
    """The limiters of many callers, by key or by address; at most ``most`` of them (:class:`Tracked`)."""

    __slots__ = ("_callers",)

    def __init__(self, most: int = MOST) -> None:
        self._callers: Tracked[Limiter] = Tracked(most)

    def admit(self, caller: str, limits: Limits, now: float) -> Slot | Refused:
        """As :meth:`Limiter.admit`. ``limits`` are those that hold now; they may be others than the last time."""
        if limits == NO_LIMITS:
            return NO_SLOT
        limiter = self._callers.get(caller)
        if limiter is None:
            limiter = self._callers.add(caller, Limiter(limits), now)
        elif limiter.limits is not limits:
            limiter.adopt(limits)
        return limiter.admit(now)

    def __len__(self) -> int:
        return len(self._callers)
