"""One record of a decision in three forms."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.decision import Decision, Matched
from arbstr.domain.money import ExchangeRate, Rates
from arbstr.domain.request import Needs
from arbstr.domain.routing import Candidate, Deployment, Plan, Rejection, Route, Strategy, Why
from arbstr.policy.decision import MOST_SHOWN, compact, expand, route_text, shown

RATES = Rates.per_thousand(input=Decimal(1), output=Decimal(2))


def deployment(name: str) -> Deployment:
    return Deployment(name, f"{name}-model", RATES)


def candidate(name: str, expected: int | None = None) -> Candidate:
    return Candidate(deployment(name), expected, "cheapest")


def decision(*candidates: Candidate, rejected: tuple[Rejection, ...] = (), matched: Matched | None = None) -> Decision:
    deployments = (*(each.deployment for each in candidates), *(each.deployment for each in rejected))
    plan = Plan(
        route=Route("m", Strategy.CHEAPEST, deployments),
        strategy=Strategy.CHEAPEST,
        policy="code" if matched is not None else None,
        candidates=candidates,
        rejected=rejected,
        rate=ExchangeRate.of(Decimal(1000)),
        baseline=candidates[-1].deployment if candidates else None,
    )
    return Decision(plan, matched, 400, 100, 2, Needs(tools=True))


def test_it_says_who_would_be_tried_and_who_not() -> None:
    """In order, with what each would cost in both currencies, and the kind of reason against the others."""
    rejected = (Rejection(deployment("gamma"), "open circuit", Why.CIRCUIT),)

    told = shown(
        decision(candidate("alpha", 1_500_000_000_000), candidate("beta"), rejected=rejected, matched=Matched.KEYWORD)
    )

    assert told == {
        "policy": "code",
        "matched": "keyword",
        "strategy": "cheapest",
        "candidates": [
            {
                "provider": "alpha",
                "model": "alpha-model",
                "estimated_cost_sats": 1.5,
                "estimated_cost_usd": 0.0015,
                "reason": "cheapest",
            },
            {
                "provider": "beta",
                "model": "beta-model",
                "estimated_cost_sats": None,
                "estimated_cost_usd": None,
                "reason": "cheapest",
            },
        ],
        "rejected": [{"provider": "gamma", "model": "gamma-model", "why": "circuit", "reason": "open circuit"}],
        "baseline": {"provider": "beta", "model": "beta-model"},
        "request": {"input_bytes": 400, "max_tokens": 100, "n": 2, "needs": ["tools"]},
    }


def test_a_decision_that_left_nobody_is_one_too() -> None:
    """Then there is nothing to compare with."""
    told = shown(decision(rejected=(Rejection(deployment("alpha"), "too dear", Why.PRICE),)))

    assert (told["candidates"], told["baseline"], told["matched"]) == ([], None, None)
    assert told["rejected"][0]["why"] == "price"


def test_a_record_is_bounded() -> None:
    """A route with thousands of candidates does not fill the log."""
    record = compact(decision(*(candidate(f"p{nth}") for nth in range(1000))))

    assert len(expand(record)["candidates"]) == MOST_SHOWN


@given(
    st.binary(max_size=200) | st.sampled_from([b"{}", b"[]", b'{"q":1}', b'{"s":1,"p":1,"m":1,"c":[1],"r":[],"q":[]}'])
)
def test_what_cannot_be_read_is_as_if_nothing_had_been_kept(record: bytes) -> None:
    """A row of another program's hand does no harm."""
    assert expand(record) == {}


def test_the_short_form_names_them_in_order() -> None:
    """For a header: ASCII, and short."""
    rejected = (Rejection(deployment("gamma"), "open circuit", Why.CIRCUIT),)

    assert route_text(decision(candidate("alpha"), candidate("beta")).plan) == b"cheapest; alpha, beta"
    assert (
        route_text(decision(candidate("alpha"), rejected=rejected, matched=Matched.HEADER).plan)
        == b"cheapest by code; alpha; rejected gamma (circuit)"
    )
    assert route_text(decision(rejected=rejected).plan) == b"cheapest; rejected gamma (circuit)"


def test_the_short_form_is_short_whatever_there_is() -> None:
    """Eight of each, and how many more."""
    many = tuple(candidate(f"p{nth}") for nth in range(20))
    refused = tuple(Rejection(deployment(f"r{nth}"), "no", Why.POLICY) for nth in range(10))

    told = route_text(decision(*many, rejected=refused).plan).decode()

    assert told.startswith("cheapest; p0, p1, p2, p3, p4, p5, p6, p7 and 12 more; rejected r0 (policy), ")
    assert told.endswith("r7 (policy) and 2 more")
