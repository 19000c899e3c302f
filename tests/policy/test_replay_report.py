"""What a replay came to."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.decision import Matched
from arbstr.domain.money import Cost, Currency, MicroSats, NanoUsd
from arbstr.domain.routing import Deployment
from arbstr.policy.asked import Asked
from arbstr.policy.replay import Ending, Logged, Outcome
from arbstr.policy.replay_report import Comparison, Report

ALPHA, BETA = Deployment("alpha", "m", None), Deployment("beta", "m", None)


def sats(amount: int) -> Cost:
    return Cost(MicroSats(amount), None)


def usd(amount: int) -> Cost:
    return Cost(None, NanoUsd(amount))


def both(in_sats: int, in_usd: int) -> Cost:
    return Cost(MicroSats(in_sats), NanoUsd(in_usd))


def row(**changes: object) -> Logged:
    plain = Logged(0.0, Ending.SERVED, "m", provider="alpha", asked=Asked(4), cost=sats(10))
    return msgspec.structs.replace(plain, **changes)


def now(deployment: Deployment | None = ALPHA, cost: Cost | None = None, *, code: str | None = None) -> Outcome:
    return Outcome(deployment, code, cost=cost)


def report(*entries: tuple[Logged, Outcome]) -> Report:
    counted = Report()
    for logged, outcome in entries:
        counted.add(logged, outcome)
    return counted


def test_what_was_served_and_would_be() -> None:
    """By provider, with what it cost; who goes elsewhere is counted."""
    it = report((row(), now(ALPHA, sats(8))), (row(), now(BETA, sats(7))), (row(cost=None), now(BETA)))

    assert (it.requests, it.decided, it.moved, it.lost, it.gained) == (3, 3, 2, 0, 0)
    assert (it.total_then.requests, it.total_then.sats, it.total_then.unpriced) == (3, 20, 1)
    assert (it.served_now, it.total_now.sats, it.total_now.unpriced) == (3, 15, 1)
    assert {name: (each.requests, each.sats) for name, each in it.then.items()} == {"alpha": (3, 20)}
    assert {name: (each.requests, each.sats) for name, each in it.now.items()} == {"alpha": (1, 8), "beta": (2, 7)}


def test_what_is_rejected() -> None:
    """Then and now, by its code; what would no longer be served is lost."""
    it = report(
        (row(), now(None, code="circuit_open")),
        (row(ending=Ending.REJECTED, code="model_not_found", cost=None), now(None, code="model_not_found")),
        (row(ending=Ending.REJECTED, code=None, cost=None), now(None)),
    )

    assert it.rejected_then == {"model_not_found": 1, "unknown": 1}
    assert it.rejected_now == {"circuit_open": 1, "model_not_found": 1, "unknown": 1}
    assert (it.lost, it.served_now, it.moved) == (1, 0, 0)


def test_what_failed_is_no_success() -> None:
    """It would be served, but what that costs nobody knows; what it cost is told apart."""
    it = report(
        (row(ending=Ending.FAILED, provider=None, cost=sats(3), failed_cost=both(4, 5)), now(BETA)),
        (row(ending=Ending.REJECTED, provider=None, cost=None), now(BETA)),
        (row(failed_cost=sats(2)), now(BETA, sats(1))),
    )

    assert (it.failed, it.failed_cost.sats, it.failed_cost.usd) == (1, 9, 5)
    assert (it.gained, it.served_now, it.total_then.requests, it.total_now.requests) == (2, 3, 1, 1)
    assert (it.now["beta"].requests, it.now["beta"].sats, it.now["beta"].unpriced) == (3, 1, 0)


def test_what_was_kept_out() -> None:
    """It is counted, and nothing else."""
    it = Report()
    for code in ("invalid_api_key", "invalid_api_key", None):
        it.keep_out(row(ending=Ending.KEPT_OUT, code=code))

    assert it.kept_out == {"invalid_api_key": 2, "unknown": 1}
    assert (it.requests, it.decided) == (3, 0)


def test_what_was_not_known_of_a_request() -> None:
    """Older rows, and policies that a keyword chose, or may have chosen."""
    it = report(
        (row(asked=None), now()),
        (row(asked=None, policy="gone"), now()),
        (row(asked=Asked(4, matched=Matched.KEYWORD), policy="code"), Outcome(ALPHA, policy="code")),
        (row(asked=Asked(4, matched=Matched.HEADER), policy="gone"), now(None, code="invalid_request")),
    )

    assert (it.unrecorded, it.by_keyword, it.policy_gone) == (2, 2, 1)


class TestComparing:
    def test_like_is_compared_with_like(self) -> None:
        """Requests whose cost is known then and now, and no others."""
        it = report(
            (row(cost=both(10, 1)), now(BETA, both(9, 2))),
            (row(cost=sats(1000)), now(None, code="circuit_open")),
            (row(cost=sats(1000)), now(BETA)),
            (row(cost=None), now(BETA, sats(1000))),
            (row(cost=usd(1000)), now(BETA, sats(1000))),
        )

        found = it.comparison
        assert (found.currency, found.requests, found.then, found.now) == (Currency.SATS, 1, 10, 9)
        assert found.change == Fraction(-1, 10)
        assert not it.tells_nothing

    def test_it_is_in_the_currency_of_most_requests(self) -> None:
        """Where no exchange rate was known."""
        it = report((row(), now(cost=sats(5))), *[(row(cost=usd(1)), now(cost=usd(2)))] * 2)

        assert (it.comparison.currency, it.comparison.requests) == (Currency.USD, 2)

    def test_where_nothing_can_be_compared(self) -> None:
        """It tells nothing, unless there was nothing."""
        assert report((row(), now(BETA))).tells_nothing
        assert not report((row(ending=Ending.FAILED), now(BETA))).tells_nothing
        assert not Report().tells_nothing

    @pytest.mark.parametrize(
        ("then", "after", "change", "dearer"),
        [
            (100, 105, Fraction(5, 100), False),
            (100, 106, Fraction(6, 100), True),
            (100, 50, Fraction(-1, 2), False),
            (0, 0, Fraction(0), False),
            (0, 1, None, True),
        ],
    )
    def test_what_is_too_dear(self, then: int, after: int, change: Fraction | None, dearer: bool) -> None:
        """Above the limit, not at it; from nothing to something is dearer by more than any share."""
        found = Comparison(Currency.SATS)
        found.add(sats(then), sats(after))

        assert found.change == change
        assert found.dearer(Fraction(5, 100)) is dearer


@given(st.lists(st.tuples(st.sampled_from(Ending), st.booleans(), st.none() | st.integers(0, 10**15)), max_size=30))
def test_the_figures_add_up(entries: list[tuple[Ending, bool, int | None]]) -> None:
    """Whatever happened: every row is in one place then and in one place now."""
    it = Report()
    for ending, served, amount in entries:
        cost = None if amount is None else sats(amount)
        logged = row(ending=ending, cost=cost if ending is Ending.SERVED else None)
        if ending is Ending.KEPT_OUT:
            it.keep_out(logged)
        elif served:
            it.add(logged, now(BETA, cost if ending is Ending.SERVED else None))
        else:
            it.add(logged, now(None, code="circuit_open"))

    assert it.requests == len(entries)
    assert it.decided == it.total_then.requests + it.failed + it.rejected_then.total()
    assert it.decided == it.served_now + it.rejected_now.total()
    assert it.served_now == sum(each.requests for each in it.now.values())
    assert it.total_then.sats == sum(each.sats for each in it.then.values())
    assert it.total_now.sats == sum(each.sats for each in it.now.values())
    assert it.comparison.then == it.comparison.now
