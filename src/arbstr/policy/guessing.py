"""Who guesses keys: an address from which too many wrong ones come.

Thirty wrong credentials a minute are answered 401, as anybody's may be. Beyond that they are answered 429, which tells
the honest caller with an old key to stop, and costs us less. A right credential always passes, whoever else guesses at
the same address: so nobody can lock out the others behind a shared one.
"""

from __future__ import annotations

from arbstr.policy.bucket import Bucket
from arbstr.policy.tracked import MOST, Tracked

FAILURES = 30
"""A minute, from one address."""


class Guesses:
    """Wrong credentials by address, of at most ``most`` addresses at a time."""

    __slots__ = ("_addresses", "_failures")

    def __init__(self, *, failures: int = FAILURES, most: int = MOST) -> None:
        self._failures = failures
        self._addresses: Tracked[Bucket] = Tracked(most)

    def failed(self, address: str, now: float) -> float | None:
        """A credential from ``address`` was wrong. None: it is a 401. Else seconds of Retry-After, and it is a 429."""
        bucket = self._addresses.get(address) or self._addresses.add(address, Bucket(self._failures), now)
        return None if bucket.take(1, now) else bucket.wait(1, now)

    def __len__(self) -> int:
        return len(self._addresses)
