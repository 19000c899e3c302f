from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.domain.health import CircuitState
from arbstr.domain.routing import BreakerSettings
from arbstr.policy.breaker import Breaker, Permit

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def breaker(*, failures: int = 3, successes: int = 1, timeout: float = 30.0, probes: int = 1) -> Breaker:
    return Breaker(BreakerSettings(failures, successes, timeout, probes))


def permit(circuit: Breaker, now: float = 0.0, *, lease: float = 10.0) -> Permit:
    given_permit = circuit.acquire(now, lease=lease)
    assert given_permit is not None
    return given_permit


def tripped(*, at: float = 0.0, successes: int = 1, probes: int = 1) -> Breaker:
    circuit = breaker(failures=1, successes=successes, probes=probes)
    permit(circuit).fail(at)
    return circuit


def test_the_third_failure_in_a_row_opens_it() -> None:
    """Two do not; the third does, and nobody is admitted."""
    circuit = breaker()

    permit(circuit).fail(1.0)
    permit(circuit).fail(2.0)
    assert circuit.state(2.0) is CLOSED
    permit(circuit).fail(3.0)

    assert circuit.state(3.0) is OPEN
    assert circuit.acquire(3.0, lease=1) is None
    assert circuit.failure_count == 3


def test_a_success_resets_the_count() -> None:
    """Only failures in a row count."""
    circuit = breaker()

    permit(circuit).fail(1.0)
    permit(circuit).fail(1.0)
    permit(circuit).succeed()
    permit(circuit).fail(2.0)

    assert circuit.state(2.0) is CLOSED
    assert circuit.failure_count == 1


def test_an_abandoned_attempt_changes_nothing() -> None:
    """A caller who left neither adds to the failures nor resets them."""
    circuit = breaker()
    permit(circuit).fail(1.0)

    permit(circuit).abandon()

    assert (circuit.state(1.0), circuit.failure_count) == (CLOSED, 1)


def test_an_attempt_votes_once() -> None:
    """The first word holds; leaving the permit's scope afterwards adds nothing."""
    circuit = breaker(failures=2)

    with permit(circuit) as attempt:
        attempt.fail(1.0)
        attempt.fail(1.0)
        attempt.succeed()

    assert (circuit.state(1.0), circuit.failure_count) == (CLOSED, 1)


def test_it_is_half_open_after_its_time_and_not_before() -> None:
    """At exactly 30 s a probe may go."""
    circuit = tripped()

    assert circuit.state(29.999) is OPEN
    assert not circuit.admits(29.999)
    assert circuit.opens_in(20.0) == pytest.approx(10.0)
    assert circuit.state(30.0) is HALF_OPEN
    assert circuit.admits(30.0)
    assert circuit.opens_in(31.0) == 0.0


def test_a_closed_circuit_opens_in_no_time() -> None:
    """There is nothing to wait for."""
    assert breaker().opens_in(5.0) == 0.0


@given(callers=st.integers(2, 60))
def test_half_open_admits_exactly_one_probe(callers: int) -> None:
    """However many ask at once."""
    circuit = tripped()

    permits = [circuit.acquire(30.0, lease=10) for _ in range(callers)]

    assert sum(each is not None for each in permits) == 1


def test_as_many_probes_as_configured() -> None:
    """half_open_max_requests."""
    circuit = tripped(probes=3)

    permits = [circuit.acquire(30.0, lease=10) for _ in range(10)]

    assert sum(each is not None for each in permits) == 3


def test_a_successful_probe_closes_it() -> None:
    """And the failures are forgotten."""
    circuit = tripped()

    permit(circuit, 30.0).succeed()

    assert (circuit.state(30.0), circuit.failure_count) == (CLOSED, 0)


def test_a_failed_probe_reopens_it_with_a_fresh_timer() -> None:
    """The next probe goes 30 s after the failed one ended."""
    circuit = tripped()

    permit(circuit, 30.0).fail(35.0)

    assert circuit.state(64.9) is OPEN
    assert circuit.state(65.0) is HALF_OPEN
    assert circuit.failure_count == 2


def test_it_closes_only_after_enough_successful_probes() -> None:
    """success_threshold."""
    circuit = tripped(successes=2)

    permit(circuit, 30.0).succeed()
    assert circuit.state(30.0) is HALF_OPEN
    permit(circuit, 30.0).succeed()

    assert circuit.state(30.0) is CLOSED


def test_an_abandoned_probe_gives_its_place_back() -> None:
    """The next one may go at once; the state has not changed."""
    circuit = tripped()
    probe = permit(circuit, 30.0)
    assert not circuit.admits(30.0)

    with probe:
        pass

    assert circuit.state(30.0) is HALF_OPEN
    assert circuit.admits(30.0)


def test_a_lost_probe_expires() -> None:
    """A probe that never reports does not keep the circuit half-open for ever."""
    circuit = tripped()
    lost = permit(circuit, 30.0, lease=5.0)

    assert circuit.acquire(34.9, lease=5) is None
    second = permit(circuit, 35.0)
    lost.succeed()

    assert circuit.state(35.0) is HALF_OPEN, "what the lost probe says later is ignored"
    second.succeed()
    assert circuit.state(35.0) is CLOSED


def test_a_lost_probes_late_failure_is_ignored_too() -> None:
    """Its place was given to another."""
    circuit = tripped()
    lost = permit(circuit, 30.0, lease=5.0)
    permit(circuit, 35.0)

    lost.fail(36.0)

    assert circuit.state(36.0) is HALF_OPEN


@pytest.mark.parametrize("vote", [Permit.succeed, Permit.abandon, lambda late: late.fail(31.0)])
def test_late_news_from_before_the_trip_is_ignored(vote: Callable[[Permit], None]) -> None:
    """An attempt that began while the circuit was closed has no say once it is half-open."""
    circuit = breaker(failures=1)
    late = permit(circuit)
    permit(circuit).fail(0.0)
    permit(circuit, 30.0)

    vote(late)

    assert circuit.state(31.0) is HALF_OPEN
    assert not circuit.admits(31.0)


def test_late_failures_do_not_prolong_the_opening() -> None:
    """The timer runs from the trip, not from the last straggler."""
    circuit = breaker(failures=1)
    late = permit(circuit)
    permit(circuit).fail(0.0)

    late.fail(20.0)

    assert circuit.state(30.0) is HALF_OPEN


def test_a_probe_votes_success_at_the_commit_point_and_a_later_cut_is_a_new_failure() -> None:
    """The circuit closes as soon as the stream has content; the cut counts as the first failure of the new time."""
    circuit = tripped()
    circuit.settings = BreakerSettings(failure_threshold=3)
    probe = permit(circuit, 30.0)

    probe.commit()
    assert (circuit.state(30.0), circuit.failure_count) == (CLOSED, 0)
    probe.fail(40.0)

    assert (circuit.state(40.0), circuit.failure_count) == (CLOSED, 1)


def test_the_commit_point_of_an_ordinary_attempt_is_no_vote() -> None:
    """A stream votes once, at its end."""
    circuit = breaker()
    permit(circuit).fail(1.0)
    stream = permit(circuit)

    stream.commit()
    assert circuit.failure_count == 1
    stream.succeed()

    assert circuit.failure_count == 0


def test_a_committed_probe_that_is_not_enough_may_still_fail() -> None:
    """Where two successes are needed, a cut after the first one's commit point reopens."""
    circuit = tripped(successes=2)
    probe = permit(circuit, 30.0)

    probe.commit()
    probe.fail(33.0)

    assert circuit.state(33.0) is OPEN


def test_a_committed_probe_ends_well_without_a_second_vote() -> None:
    """success_threshold counts probes, not votes."""
    circuit = tripped(successes=2)
    probe = permit(circuit, 30.0)

    probe.commit()
    probe.succeed()

    assert circuit.state(30.0) is HALF_OPEN


def test_a_probe_that_was_lost_has_no_say_at_its_commit_point() -> None:
    """Neither then nor later, not even once the circuit has closed by another's success."""
    circuit = breaker(failures=1)
    permit(circuit).fail(0.0)
    lost = permit(circuit, 30.0, lease=5.0)
    permit(circuit, 35.0).succeed()

    lost.commit()
    lost.fail(36.0)

    assert circuit.state(36.0) is CLOSED


def test_changes_are_announced() -> None:
    """Who waits for a probe's verdict hears of it: the trip, the probe given back, the closing."""
    heard: list[CircuitState] = []
    circuit = Breaker(BreakerSettings(failure_threshold=1), on_change=lambda: heard.append(circuit.state(30.0)))

    permit(circuit, 29.0).fail(29.0)
    circuit.settings = BreakerSettings(failure_threshold=1, timeout=0.5)
    permit(circuit, 30.0).abandon()
    permit(circuit, 30.0).succeed()

    assert heard == [OPEN, HALF_OPEN, CLOSED]


def test_its_repr_tells_the_state() -> None:
    """For whoever debugs at night."""
    assert repr(tripped()) == "Breaker(open, failures=1, probes=0)"


@settings(max_examples=200)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["ask", "succeed", "fail", "abandon", "commit", "wait"]), st.integers(0, 5)),
        max_size=60,
    )
)
def test_never_more_probes_than_allowed_and_never_stuck(steps: list[tuple[str, int]]) -> None:
    """Whatever attempts do: at most one probe is out, and after silence a half-open circuit admits again."""
    now = 0.0
    circuit = breaker(failures=2, timeout=3.0)
    out: list[Permit] = []
    for step, which in steps:
        if step == "wait":
            now += which
        elif step == "ask":
            asked = circuit.acquire(now, lease=2.0)
            out += [asked] if asked is not None else []
        elif out:
            attempt = out.pop(which % len(out))
            if step == "commit":
                attempt.commit()
                out.append(attempt)
            elif step == "fail":
                attempt.fail(now)
            elif step == "succeed":
                attempt.succeed()
            else:
                attempt.abandon()
        assert sum(each.probing and now < each.expires_at for each in circuit._probes) <= 1

    assert circuit.admits(now + 3.0 + 2.0)


def test_who_waits_for_a_probe_knows_when_it_is_given_up() -> None:
    """The first of those that are out; without one there is nothing to wait for."""
    circuit = tripped(probes=2)
    without = circuit.probe_expires_in(30.0)
    permit(circuit, 30.0, lease=10.0)
    permit(circuit, 32.0, lease=3.0)

    assert (without, circuit.probe_expires_in(33.0)) == (float("inf"), 2.0)
    assert (circuit.closed, breaker().closed) == (False, True)
