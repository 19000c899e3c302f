"""What requests come to, added up and shown."""

from __future__ import annotations

from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.statistics import Figures, Saved, Spread
from arbstr.policy.totals import SUMS, Totals, figures, saved


def totals(*, latencies: tuple[int, ...] = (), errors: dict[str, int] | None = None, **sums: int) -> Totals:
    made = Totals()
    made.sums = tuple(sums.get(name, 0) for name in SUMS)
    for latency in latencies:
        made.latency.add(latency)
    made.extremes = (None, min(latencies, default=None), None, max(latencies, default=None))
    made.errors = errors or {}
    return made


def test_nothing_comes_to_nothing() -> None:
    """Sums are 0; what was never measured is not."""
    assert figures(Totals()) == Figures()
    assert saved(Totals()) == Saved()


def test_what_is_merged_is_added_up() -> None:
    """Sums, sketches and errors, and the wider of the extremes, whichever of the two knows one."""
    one = totals(latencies=(1000, 3000), errors={"a": 1, "b": 1}, requests=2, cost_micro_sats=5)
    other = totals(latencies=(2000,), errors={"b": 2}, requests=1, cost_micro_sats=-1)

    one.merge(other)
    one.merge(Totals())

    assert (one["requests"], one["cost_micro_sats"], one.latency.total) == (3, 4, 3)
    assert one.extremes == (None, 1000, None, 3000)
    assert one.errors == {"a": 1, "b": 3}


def test_one_that_knows_no_extreme_takes_the_others() -> None:
    """The first rows of a group whose costs are unknown say nothing of those that follow."""
    nothing = Totals()

    nothing.merge(totals(latencies=(7,)))

    assert nothing.extremes == (None, 7, None, 7)


def test_figures_are_in_milliseconds_and_a_second() -> None:
    """The mean is exact, the percentiles are within a percent of it here, the speed is in tokens a second."""
    found = figures(
        totals(latencies=(2_000_000,), requests=1, latency_us=2_000_000, timed_tokens=50, timed_us=2_000_000, errors={})
    )

    assert found.tokens_per_second == 25
    assert found.ttft is None
    assert isinstance(found.latency, Spread)
    assert found.latency.mean == 2000
    assert abs(found.latency.p99 - 2000) <= 20


def test_savings_are_told_in_both_currencies() -> None:
    """With what failed attempts cost beside them."""
    found = saved(
        totals(
            requests=3,
            compared=2,
            cost_micro_sats=1,
            baseline_micro_sats=2,
            failed_cost_micro_sats=3,
            cost_nano_usd=4,
            baseline_nano_usd=5,
            failed_cost_nano_usd=6,
        )
    )

    assert found == Saved(3, 2, MicroSats(1), MicroSats(2), MicroSats(3), NanoUsd(4), NanoUsd(5), NanoUsd(6))
