from __future__ import annotations

from arbstr.policy.guessing import FAILURES, Guesses


def test_anybody_may_be_wrong() -> None:
    """Thirty times a minute."""
    guesses = Guesses()

    assert FAILURES == 30
    assert all(guesses.failed("203.0.113.9", 0.0) is None for _ in range(30))


def test_whoever_goes_on_is_told_to_wait() -> None:
    """The wait is honest: after it, one more is answered as before."""
    guesses = Guesses()
    for _ in range(30):
        guesses.failed("203.0.113.9", 5.0)

    assert guesses.failed("203.0.113.9", 5.0) == 2.0
    assert guesses.failed("203.0.113.9", 6.0) == 1.0
    assert guesses.failed("203.0.113.9", 7.0) is None
    assert guesses.failed("203.0.113.9", 7.0) == 2.0


def test_others_are_not_concerned() -> None:
    """Each address is counted for itself."""
    guesses = Guesses(failures=1)
    guesses.failed("203.0.113.9", 0.0)

    assert guesses.failed("203.0.113.9", 0.0) is not None
    assert guesses.failed("198.51.100.1", 0.0) is None


def test_addresses_do_not_fill_the_memory() -> None:
    """Neither many at once nor many one after the other."""
    at_once, by_and_by = Guesses(most=100), Guesses(most=100)
    for number in range(1000):
        at_once.failed(str(number), 0.0)
        by_and_by.failed(str(number), number * 60.0)

    assert len(at_once) == 100
    assert len(by_and_by) <= 3
