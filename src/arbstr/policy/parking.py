"""What is set aside after a failure that is not a matter of health: an account, a key, a model.

A 429 cools the account down: until its Retry-After (at least 1 s), or for a time that doubles from 1 s to 60 s while
it keeps saying so. A refused key, or one without credit, is out until a timed re-test, which doubles from 60 s to
30 min. A model that a provider does not have is not asked for there for 5 min. A success at the same place, of an
attempt that began later, clears it.
"""

from __future__ import annotations

import msgspec

from arbstr.domain.errors import UpstreamFailure
from arbstr.policy.verdict import VERDICTS, Park

COOLDOWN = (1.0, 60.0)
"""Seconds: the first cooldown of an account, and the longest."""

KEY_RETEST = (60.0, 1800.0)
"""Seconds: the first re-test of a key, and the longest wait for one."""

MODEL_RETEST = 300.0
"""Seconds."""

MAX_COOLDOWN = 3600.0
"""Seconds. A Retry-After beyond it is cut to it."""


class Parked(msgspec.Struct, frozen=True):
    """Set aside from the monotonic instant ``since`` until the instant ``until``."""

    park: Park
    since: float
    until: float
    wait: float
    """Seconds that it was set aside for, from which the next wait doubles."""
    failure: UpstreamFailure


def park(failure: UpstreamFailure, previous: Parked | None, now: float) -> Parked | None:
    """What ``failure`` sets aside, given what was set aside there before; None for nothing."""
    kind = VERDICTS[failure.kind].park
    if kind is Park.NOTHING:
        return None
    if kind is Park.MODEL:
        return Parked(kind, now, now + MODEL_RETEST, MODEL_RETEST, failure)
    shortest, longest = COOLDOWN if kind is Park.ACCOUNT else KEY_RETEST
    if previous is not None and previous.park is kind:
        if now < previous.until and failure.retry_after is None:
            return previous
        wait = min(longest, previous.wait * 2)
    else:
        wait = shortest
    if failure.retry_after is not None:
        asked = max(shortest, min(failure.retry_after, MAX_COOLDOWN))
        return Parked(kind, now, now + asked, shortest, failure)
    return Parked(kind, now, now + wait, wait, failure)
