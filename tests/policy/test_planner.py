from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.errors import CeilingTooLow, ContextTooLong, InvalidRequest, ModelNotFound, PolicyViolation
from arbstr.domain.money import Cost, Currency, ExchangeRate, MicroSats, NanoUsd, PicoSats, Rates
from arbstr.domain.request import ChatRequest, Needs
from arbstr.domain.routing import Capabilities, Deployment, Plan, PolicyRule, Route, Snapshot, Strategy
from arbstr.policy.planner import Standing, choose_rule, rank
from arbstr.policy.planner import decide as planned
from arbstr.policy.terms import FREE, Ceiling, Terms


def plan(*asked: Any, **terms: Any) -> Plan:
    """What is decided; raises what the caller would be told where that is a refusal."""
    decided = planned(*asked, **terms)
    if decided.refusal is not None:
        raise decided.refusal
    return decided


def deployment(name: str, input: str, output: str, fee: str = "0", *, model: str = "gpt-4o") -> Deployment:
    rates = Rates.per_thousand(input=Decimal(input), output=Decimal(output), base_fee=Decimal(fee))
    return Deployment(name, model, rates)


CHEAP = deployment("cheap", "5", "15")
MIDDLE = deployment("middle", "8", "20")
DEAR = deployment("dear", "10", "30")


def snapshot(
    *deployments: Deployment, strategy: Strategy = Strategy.CHEAPEST, rules: tuple[PolicyRule, ...] = ()
) -> Snapshot:
    return Snapshot(routes={"gpt-4o": Route("gpt-4o", strategy, deployments)}, rules=rules)


def ask(
    text: str = "hello", *, model: str = "gpt-4o", input_bytes: int = 400, max_tokens: int | None = None
) -> ChatRequest:
    return ChatRequest(model, False, {}, input_bytes, text, max_tokens)


def decide(
    among: Snapshot,
    request: ChatRequest | None = None,
    *,
    policy: str | None = None,
    standing: Callable[[Deployment], Standing] = lambda _: Standing.READY,
) -> Plan:
    request = request if request is not None else ask()
    return plan(
        request,
        choose_rule(among.rules, policy, request),
        snapshot=among,
        mean_output=lambda _: 512,
        standing=standing,
    )


def names(decision: Plan) -> list[str]:
    return [candidate.deployment.provider for candidate in decision.candidates]


def test_the_cheapest_goes_first() -> None:
    """Whatever the order in the file."""
    decision = decide(snapshot(DEAR, CHEAP, MIDDLE))

    assert names(decision) == ["cheap", "middle", "dear"]
    assert decision.candidates[0].reason == "cheapest"
    assert decision.candidates[0].expected_cost(None) == Cost(MicroSats(100 * 5000 + 512 * 15000), None)


def test_the_rank_is_this_requests_cost() -> None:
    """A base fee decides over a short answer, the output rate over a long one."""
    with_fee = deployment("fee", "1", "1", "5")
    without = deployment("rate", "1", "20")
    among = snapshot(with_fee, without)

    assert names(decide(among, ask(max_tokens=10))) == ["rate", "fee"]
    assert names(decide(among, ask(max_tokens=5000))) == ["fee", "rate"]


def test_ties_go_by_name() -> None:
    """The same request always goes the same way."""
    twins = [deployment(name, "5", "15") for name in ("zeta", "alpha", "mid")]

    assert names(decide(snapshot(*twins))) == ["alpha", "mid", "zeta"]


def test_priority_keeps_the_configured_order() -> None:
    """Primary, then fallbacks, whatever they cost."""
    decision = decide(snapshot(DEAR, CHEAP, strategy=Strategy.PRIORITY))

    assert names(decision) == ["dear", "cheap"]
    assert decision.candidates[0].reason == "priority"


def test_an_unknown_model_is_not_found() -> None:
    """The error names it."""
    with pytest.raises(ModelNotFound, match="'gpt-9'"):
        decide(snapshot(CHEAP), ask(model="gpt-9"))


def test_the_default_route_takes_models_that_nobody_lists() -> None:
    """[models.default]."""
    among = Snapshot(routes={}, default_route=Route("default", Strategy.CHEAPEST, (CHEAP,)))

    assert names(decide(among, ask(model="gpt-9"))) == ["cheap"]


CODE = PolicyRule("code", keywords=("code", "function", "c++"), max_output_rate=PicoSats(20 * 10**9))
STRICT = PolicyRule("strict", allowed_models=frozenset({"gpt-4o-mini"}))
FIRST = PolicyRule("first", strategy=Strategy.PRIORITY, keywords=("explain",))
RULES = (CODE, STRICT, FIRST)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("Write some CODE please", "code"),
        ("a function, please", "code"),
        ("explain this", "first"),
        ("explain this code", "code"),
        ("decode the barcode", None),
        ("functional programming", None),
        ("I like C++!", "code"),
        ("", None),
    ],
)
def test_keywords_are_whole_words_in_any_case_and_the_first_rule_wins(text: str, policy: str | None) -> None:
    """Of the last user message."""
    assert decide(snapshot(CHEAP, DEAR, rules=RULES), ask(text)).policy == policy


def test_the_header_beats_keywords() -> None:
    """And its strategy beats the route's."""
    decision = decide(snapshot(DEAR, CHEAP, rules=RULES), ask("some code"), policy="first")

    assert decision.policy == "first"
    assert names(decision) == ["dear", "cheap"]


def test_an_unknown_policy_is_the_callers_mistake() -> None:
    """The error names those that there are."""
    with pytest.raises(InvalidRequest, match=r"'nope'.*known: code, strict, first"):
        decide(snapshot(CHEAP, rules=RULES), policy="nope")
    with pytest.raises(InvalidRequest, match="none is configured"):
        decide(snapshot(CHEAP), policy="nope")


def test_a_rule_rejects_what_is_too_dear() -> None:
    """The limit itself is still allowed, and the plan says who was rejected and why."""
    decision = decide(snapshot(DEAR, MIDDLE, CHEAP, rules=RULES), policy="code")

    assert names(decision) == ["cheap", "middle"]
    assert [(each.deployment.provider, each.reason) for each in decision.rejected] == [
        ("dear", "policy 'code': output dearer than 20 sats per 1,000 tokens")
    ]


def test_a_rule_that_leaves_nobody_is_a_policy_violation() -> None:
    """By model and by price."""
    with pytest.raises(PolicyViolation, match="does not allow the model 'gpt-4o'"):
        decide(snapshot(CHEAP, rules=RULES), policy="strict")
    with pytest.raises(PolicyViolation, match="leaves no provider"):
        decide(snapshot(DEAR, rules=RULES), policy="code")


def test_a_probe_goes_first_and_the_waiting_go_last() -> None:
    """A circuit that may be well again is asked before the cheapest; who must be waited for comes after all others."""
    standings = {
        "cheap": Standing.COOLING,
        "middle": Standing.READY,
        "dear": Standing.PROBE,
        "probing": Standing.PROBING,
        "missing": Standing.MODEL_OUT,
    }
    probing, missing = deployment("probing", "1", "1"), deployment("missing", "1", "1")

    decision = decide(snapshot(CHEAP, MIDDLE, DEAR, probing, missing), standing=lambda each: standings[each.provider])

    assert names(decision) == ["dear", "middle", "probing", "cheap", "missing"]
    assert decision.candidates[0].reason == "probe"


def test_an_open_circuit_and_a_dead_key_are_rejected() -> None:
    """A plan may have no candidates; it says why."""
    standings = {"cheap": Standing.OPEN, "dear": Standing.KEY_OUT}

    decision = decide(snapshot(CHEAP, DEAR), standing=lambda each: standings[each.provider])

    assert decision.candidates == ()
    assert [each.reason for each in decision.rejected] == ["open circuit", "its key is out of use"]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 3)), min_size=1, max_size=8),
    st.integers(0, 10_000),
    st.one_of(st.none(), st.integers(1, 5000)),
    st.randoms(),
)
def test_the_first_candidate_is_never_dearer_than_another(
    prices: list[tuple[int, int, int]], input_bytes: int, max_tokens: int | None, rng: object
) -> None:
    """And the order does not depend on that of the file."""
    all_of_them = [deployment(f"p{nth}", str(a), str(b), str(c)) for nth, (a, b, c) in enumerate(prices)]
    shuffled = list(all_of_them)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    request = ask(input_bytes=input_bytes, max_tokens=max_tokens)

    one, other = decide(snapshot(*all_of_them), request), decide(snapshot(*shuffled), request)

    assert names(one) == names(other)
    costs = [each.expected for each in one.candidates]
    assert costs == sorted(costs, key=lambda cost: cost or 0)


def able(name: str, rate: str, *, window: int | None = None, **can: bool | int) -> Deployment:
    base = deployment(name, rate, rate)
    return msgspec.structs.replace(base, context_window=window, capabilities=Capabilities(**can))  # type: ignore[arg-type]


def test_who_cannot_do_what_is_asked_for_is_rejected_with_the_reason() -> None:
    """What is not known of a model is not held against it."""
    among = snapshot(able("blind", "1", vision=False), able("unknown", "2"), able("seeing", "3", vision=True))

    decision = plan(
        ask(),
        None,
        needs=Needs(vision=True),
        snapshot=among,
        mean_output=lambda _: 512,
        standing=lambda _: Standing.READY,
    )

    assert names(decision) == ["unknown", "seeing"]
    assert [each.reason for each in decision.rejected] == ["the model cannot do what is asked for: vision"]


def test_a_request_goes_to_a_window_that_it_fits() -> None:
    """One that is too long by twice the estimate is certain not to; an estimate that is near it is tried."""
    among = snapshot(able("small", "1", window=1000), able("large", "2", window=100_000))

    assert names(decide(among, ask(input_bytes=40_000))) == ["large"]
    assert names(decide(among, ask(input_bytes=5_000))) == ["small", "large"]


def test_more_output_than_a_model_writes_is_asked_elsewhere() -> None:
    """max_tokens is never lowered behind the caller's back."""
    among = snapshot(able("short", "1", max_output=4096), able("long", "2", max_output=64_000))

    assert names(decide(among, ask(max_tokens=8000))) == ["long"]


def test_where_nobody_can_the_caller_is_told_why() -> None:
    """As its mistake: 400, each provider with its reason; too long a context has its own code."""
    with pytest.raises(InvalidRequest, match=r"short/gpt-4o: the model writes at most 10 tokens"):
        decide(snapshot(able("short", "1", max_output=10)), ask(max_tokens=11))
    with pytest.raises(ContextTooLong):
        decide(snapshot(able("small", "1", window=10)), ask(input_bytes=4000))


def test_incapable_and_ill_together_is_a_matter_of_health() -> None:
    """Whoever could serve the request has an open circuit: that passes."""
    among = snapshot(able("small", "1", window=10), able("large", "2"))

    decision = decide(among, ask(input_bytes=4000), standing=lambda _: Standing.OPEN)

    assert decision.candidates == ()
    assert [each.reason for each in decision.rejected][1] == "open circuit"


def test_a_kind_of_provider_without_embeddings_is_not_asked_for_them() -> None:
    """Whatever it costs."""
    without = msgspec.structs.replace(CHEAP, refuses=frozenset({"embeddings"}))
    request = msgspec.structs.replace(ask(), dialect="embeddings")

    assert names(decide(snapshot(without, DEAR), request)) == ["dear"]


IN_DOLLARS = Deployment("dollars", "gpt-4o", Rates(0, 0, 6 * 10**12, Currency.USD))
IN_SATS = Deployment("sats", "gpt-4o", Rates(0, 0, 5000 * 10**12))
FREE_HERE = Deployment("here", "gpt-4o", Rates(0, 0, 0))
UNPRICED = Deployment("unpriced", "gpt-4o", None)
THOUSAND = ExchangeRate(1000 * 10**6)
"""Six dollars are 6,000 satoshis."""


def with_terms(among: Snapshot, terms: Terms, *, policy: str | None = None, ill: frozenset[str] = frozenset()) -> Plan:
    return plan(
        ask(),
        choose_rule(among.rules, policy, ask()),
        snapshot=among,
        mean_output=lambda _: 512,
        standing=lambda each: Standing.OPEN if each.provider in ill else Standing.READY,
        terms=terms,
    )


def fee(deployment: Deployment, rates: Rates) -> int:
    return rates.base_fee


def test_prices_in_two_currencies_are_compared_by_the_rate() -> None:
    """Without one, those in satoshis come first; who has no price comes last in any case."""
    among = snapshot(UNPRICED, IN_DOLLARS, IN_SATS)

    by_rate = [names(with_terms(among, Terms(rate=ExchangeRate(sats * 10**6)))) for sats in (1000, 500)]
    without = names(with_terms(among, FREE))

    assert by_rate == [["sats", "dollars", "unpriced"], ["dollars", "sats", "unpriced"]]
    assert without == ["sats", "dollars", "unpriced"]
    assert [rank(each, 1, 1, THOUSAND) for each in (IN_SATS, IN_DOLLARS)] == [5000 * 10**12, 6000 * 10**12]


def test_who_is_too_dear_is_rejected_before_circuits_are_looked_at() -> None:
    """The only one below the ceiling is ill: that is a matter of health, and not of money. Without it, it is money."""
    ceiling = Terms(THOUSAND, fee, (Ceiling(5500 * 10**6, Currency.SATS, "X-Arbstr-Max-Cost-Sats"),))

    ill = with_terms(snapshot(IN_DOLLARS, IN_SATS), ceiling, ill=frozenset({"sats", "dollars"}))
    with pytest.raises(CeilingTooLow, match="may cost up to 6000 sats at dollars"):
        with_terms(snapshot(IN_DOLLARS), ceiling, ill=frozenset({"dollars"}))

    assert (ill.candidates, ill.refusal) == ((), None)
    assert [each.reason for each in ill.rejected] == [
        "may cost 6000 sats, more than X-Arbstr-Max-Cost-Sats allows",
        Standing.OPEN.value,
    ]


def test_a_candidate_knows_its_worst_case() -> None:
    """In the currencies that are known; without terms nobody needed to know."""
    (known,) = with_terms(snapshot(IN_SATS), Terms(THOUSAND, fee)).candidates
    (plain,) = with_terms(snapshot(IN_SATS), FREE).candidates

    assert known.worst_cost(THOUSAND) == Cost(MicroSats(5000 * 10**6), NanoUsd(5 * 10**9))
    assert known.worst_cost(None) == Cost(MicroSats(5000 * 10**6), None)
    assert plain.worst_cost(THOUSAND) is None


def test_what_would_have_been_paid_otherwise_is_known() -> None:
    """At the dearest candidate whose price can be compared, or at the provider that is configured."""
    among = snapshot(CHEAP, DEAR, UNPRICED, IN_DOLLARS)

    dearest = with_terms(among, FREE).baseline
    named = with_terms(msgspec.structs.replace(among, baseline="cheap"), FREE).baseline
    absent = with_terms(msgspec.structs.replace(among, baseline="elsewhere"), FREE).baseline

    assert (dearest, named, absent) == (DEAR, CHEAP, None)


def test_a_rule_about_prices_needs_to_know_them() -> None:
    """Who has none, or one that nothing converts, is not known to be cheap enough; who is free is."""
    rules = (PolicyRule("cheap", max_output_rate=PicoSats(10**9)),)
    cents = Deployment("cents", "gpt-4o", Rates(0, 10**5, 0, Currency.USD))
    among = snapshot(UNPRICED, cents, FREE_HERE, rules=rules)

    assert names(with_terms(among, FREE, policy="cheap")) == ["here"]
    assert names(with_terms(among, Terms(rate=THOUSAND), policy="cheap")) == ["here", "cents"]
