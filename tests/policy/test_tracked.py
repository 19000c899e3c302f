from __future__ import annotations

from arbstr.policy.tracked import LOOKS, Tracked


class Guest:
    """Somebody who is idle or not, and counts how often that was asked."""

    asked = 0

    def __init__(self, *, idle: bool) -> None:
        self._idle = idle

    def idle(self, now: float) -> bool:
        Guest.asked += 1
        return self._idle


def test_whoever_came_is_known() -> None:
    """By name, and others are not."""
    tracked: Tracked[Guest] = Tracked()
    guest = tracked.add("a", Guest(idle=False), 0.0)

    assert tracked.get("a") is guest
    assert tracked.get("b") is None


def test_those_who_are_idle_are_forgotten() -> None:
    """Newcomers make room, long before there is none."""
    tracked: Tracked[Guest] = Tracked(most=1000)
    for number in range(100):
        tracked.add(f"idle {number}", Guest(idle=True), 0.0)

    assert len(tracked) <= LOOKS


def test_those_who_are_not_are_kept() -> None:
    """However many come, as long as there is room."""
    tracked: Tracked[Guest] = Tracked(most=1000)
    for number in range(500):
        tracked.add(f"busy {number}", Guest(idle=False), 0.0)
        tracked.add(f"idle {number}", Guest(idle=True), 0.0)

    assert all(tracked.get(f"busy {number}") for number in range(500))


def test_one_who_stays_does_not_shield_those_behind() -> None:
    """Idle ones are found though somebody older is not idle."""
    tracked: Tracked[Guest] = Tracked(most=1000)
    tracked.add("busy", Guest(idle=False), 0.0)
    for number in range(100):
        tracked.add(f"idle {number}", Guest(idle=True), 0.0)

    assert tracked.get("busy") is not None
    assert len(tracked) <= LOOKS + 2


def test_there_is_a_bound() -> None:
    """Beyond it the newcomer is let in, and somebody is forgotten for it."""
    tracked: Tracked[Guest] = Tracked(most=10)
    for number in range(1000):
        tracked.add(str(number), Guest(idle=False), 0.0)
        assert tracked.get(str(number)) is not None

    assert len(tracked) == 10


def test_a_newcomer_costs_the_same_among_many() -> None:
    """Strangers cannot make each other's requests slow."""
    tracked: Tracked[Guest] = Tracked(most=1000)
    for number in range(2000):
        tracked.add(str(number), Guest(idle=False), 0.0)
    Guest.asked = 0
    tracked.add("one more", Guest(idle=False), 0.0)

    assert Guest.asked == LOOKS
