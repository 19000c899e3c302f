"""The token bucket: so many a minute, and no more than a minute's worth at once.

A bucket of ``limit`` a minute holds ``limit`` and gets one back every 60 / ``limit`` seconds. What is missing from it
is kept in *grains*, 60 · 10⁹ to the token, of which every nanosecond brings ``limit`` back. These are whole numbers, so
that nothing is rounded and no error grows, however long it runs and however often it is asked.
"""

from __future__ import annotations

GRAINS = 60 * 10**9
"""In one token: the nanoseconds of a minute."""


class Bucket:
    """``limit`` a minute, at least 1. It begins full.

    ``now`` is a monotonic instant in seconds. A clock that goes back stands still here until it has caught up.
    """

    __slots__ = ("_at", "_missing", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._missing = 0
        """Grains, at the instant ``_at``. More than the bucket holds is a debt."""
        self._at = 0
        """Nanoseconds."""

    def take(self, tokens: int, now: float) -> bool:
        """Take ``tokens`` if they are there; if they are not, take none."""
        missing = self._refill(now) + tokens * GRAINS
        if missing > self.limit * GRAINS:
            return False
        self._missing = missing
        return True

    def correct(self, tokens: int, now: float) -> None:
        """Take ``tokens`` that are used already, whether they are there or not; give back as many if it is negative.

        It may leave a debt, and what does not fit is lost.
        """
        self._missing = max(0, self._refill(now) + tokens * GRAINS)

    def wait(self, tokens: int, now: float) -> float:
        """Seconds until ``tokens``, which must be no more than the bucket holds, can be taken if nobody else does.

        :meth:`take` at exactly ``now`` plus this many seconds takes them.
        """
        lacking = self._refill(now) + (tokens - self.limit) * GRAINS
        if lacking <= 0:
            return 0.0
        due = self._at - (lacking // -self.limit)
        seconds, more = (due - _nanoseconds(now)) / 1e9, 1e-9
        while _nanoseconds(now + seconds) < due:  # floats are coarser than nanoseconds where the clock is large
            seconds += more
            more *= 2
        return seconds

    def level(self, now: float) -> tuple[int, float]:
        """Whole tokens that are there, and seconds until nothing is missing."""
        missing = self._refill(now)
        return max(0, self.limit + missing // -GRAINS), missing / self.limit / 1e9

    def idle(self, now: float) -> bool:
        """Whether nothing is missing: then a new bucket is as good as this one."""
        return self._refill(now) == 0

    def resize(self, limit: int) -> None:
        """Hold ``limit`` from now on. A bucket that was half full is half full again; a debt lasts as long as before.

        (That is why this needs no ``now``: the share that is missing shrinks at the same pace for every limit.)
        """
        self._missing = -(self._missing * limit // -self.limit)
        self.limit = limit

    def _refill(self, now: float) -> int:
        """Bring it up to ``now``, and say how many grains are missing then."""
        instant = _nanoseconds(now)
        missing = self._missing
        elapsed = instant - self._at
        if elapsed > 0:
            self._at = instant
            if missing:
                missing -= elapsed * self.limit
                self._missing = missing = missing if missing > 0 else 0
        return missing

    def __repr__(self) -> str:
        return f"Bucket(limit={self.limit}, missing={self._missing / GRAINS:g})"


def _nanoseconds(now: float) -> int:
    return int(now * 1e9)
