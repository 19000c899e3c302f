"""Who may serve a request, and in which order.

The straight line is :func:`choose_rule`, then :func:`decide`: the route, who the rule leaves, in which order, and how
each stands now. It decides without asking anyone, so that a dry run and a replay are the same code.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from arbstr.domain.errors import ContextTooLong, GatewayError, InvalidRequest, ModelNotFound, PolicyViolation
from arbstr.domain.money import Currency, ExchangeRate, MicroSats, Pico, PicoSats, Rates, sats_text
from arbstr.domain.request import ChatRequest, Needs
from arbstr.domain.routing import (
    Candidate,
    Deployment,
    Plan,
    PolicyRule,
    Rejection,
    Route,
    Snapshot,
    Strategy,
    Why,
)
from arbstr.policy.pricing import comparable, expected_tokens
from arbstr.policy.terms import FREE, Money, Terms


class Standing(enum.Enum):
    """How a deployment stands at this moment."""

    READY = "ready"
    PROBE = "probe"
    """Its circuit waits for a probe: it goes first, so that it is learnt soon whether it is well again."""
    PROBING = "a probe is out"
    """It may be waited for where there is nobody else."""
    COOLING = "asked us to wait"
    """Likewise."""
    OPEN = "open circuit"
    KEY_OUT = "its key is out of use"
    MODEL_OUT = "does not have the model"


_ORDER = {Standing.PROBE: 0, Standing.READY: 1, Standing.PROBING: 2, Standing.COOLING: 3, Standing.MODEL_OUT: 4}
"""Who stands otherwise is rejected. Within a place, the strategy's order holds."""

NO_NEEDS = Needs()
"""Nothing is known to be needed."""

_DEARER_THAN_ANY = 1 << 120
"""Who has no price is ranked behind all who have one, and behind whose price cannot be compared."""

_NOT_COMPARABLE = 1 << 110

_READY = _ORDER[Standing.READY]


def decide(
    request: ChatRequest,
    rule: PolicyRule | None,
    *,
    needs: Needs = NO_NEEDS,
    snapshot: Snapshot,
    mean_output: Callable[[str], int],
    standing: Callable[[Deployment], Standing],
    terms: Terms = FREE,
) -> Plan:
    """The candidates of ``request``, in the order in which they are tried, and who was rejected and why.

    ``needs`` is what a model must be able to do for it.
    ``mean_output`` gives the output tokens to expect of a model, ``standing`` how a deployment stands now, ``terms``
    what it may cost. A plan may have no candidates: then its rejections say why. Raises ModelNotFound.
    """
    route = snapshot.route_for(request.model)
    if route is None:
        raise ModelNotFound(f"no route and no provider lists the model {request.model!r}", param="model")
    refusal: GatewayError | None
    allowed, rejected, refusal = allow(route, rule, request.model, terms.rate)
    strategy = rule.strategy if rule is not None and rule.strategy is not None else route.strategy
    by_cost = strategy is Strategy.CHEAPEST
    input_tokens, output_tokens = expected_tokens(request, mean_output(route.model))
    entries: list[tuple[int, int, str, str, Candidate]] = []
    money = Money(terms)
    dearest = -1
    baseline: Deployment | None = None
    for position, each in enumerate(allowed):
        lacking = lacks(each, request, needs, input_tokens)
        if lacking is not None:
            rejected.append(Rejection(each, lacking))
            continue
        if terms.binding and (too_dear := money.refuses(each)) is not None:
            rejected.append(Rejection(each, too_dear, Why.PRICE))
            continue
        stands = standing(each)
        place = _READY if stands is Standing.READY else _ORDER.get(stands)  # an enum's hash is slow
        if place is None:
            rejected.append(Rejection(each, stands.value, Why.KEY if stands is Standing.KEY_OUT else Why.CIRCUIT))
            continue
        rates = each.rates
        pico = None if rates is None else rates.expected(input_tokens, output_tokens)
        price = _rank(pico, rates, terms.rate)
        if dearest < price < _NOT_COMPARABLE:
            dearest, baseline = price, each
        candidate = Candidate(each, pico, strategy.value if stands is Standing.READY else stands.value, money.worst)
        # Ties go by name, and no two deployments of a route have both names in common.
        entries.append((place, price if by_cost else position, each.provider, each.model, candidate))
    if not entries and refusal is None and rejected:
        refusal = money.refusal(request.model) or incapable(request, rejected, allowed)
    entries.sort()
    if snapshot.baseline is not None:
        baseline = next((each for each in route.deployments if each.provider == snapshot.baseline), None)
    return Plan(
        route=route,
        strategy=strategy,
        policy=rule.name if rule is not None else None,
        candidates=tuple([entry[4] for entry in entries]),
        rejected=tuple(rejected),
        refusal=refusal,
        rate=terms.rate,
        baseline=baseline,
    )


def rank(deployment: Deployment, input_tokens: int, output_tokens: int, rate: ExchangeRate | None) -> int:
    """By what candidates are sorted under ``cheapest``: the expected price, in one currency."""
    rates = deployment.rates
    return _rank(None if rates is None else rates.expected(input_tokens, output_tokens), rates, rate)


def _rank(expected: Pico | None, rates: Rates | None, rate: ExchangeRate | None) -> int:
    if expected is None or rates is None:
        return _DEARER_THAN_ANY
    if rates.currency is Currency.SATS:
        return expected
    return _NOT_COMPARABLE + expected if rate is None else comparable(expected, rates.currency, rate)


def lacks(deployment: Deployment, request: ChatRequest, needs: Needs, input_tokens: int) -> str | None:
    """Why a deployment cannot serve a request at all, or None. What is not known of a model is not held against it."""
    if deployment.refuses and request.dialect in deployment.refuses:
        return f"this kind of provider has no {request.dialect}"
    if needs != NO_NEEDS:
        able = deployment.capabilities
        for name in _CAPABILITIES:
            if getattr(needs, name) and getattr(able, name) is False:
                return f"the model cannot do what is asked for: {name}"
    longest = deployment.capabilities.max_output
    if longest is not None and request.max_tokens is not None and request.max_tokens > longest:
        return f"the model writes at most {longest} tokens"
    window = deployment.context_window
    if window is not None and input_tokens * CERTAINTY > window:
        return f"the request is too long for its window of {window} tokens"
    return None


_CAPABILITIES = ("tools", "vision", "json", "reasoning")

CERTAINTY = 0.5
"""An estimate of input tokens may be twice the truth: only a request that is too long even then is not sent."""


def incapable(
    request: ChatRequest, rejected: Sequence[Rejection], allowed: Sequence[Deployment]
) -> GatewayError | None:
    """What a caller is told where nobody can serve a request for what it is, whatever their health."""
    found = {each.deployment.name: each.reason for each in rejected if each.reason not in _HEALTH}
    if any(each.name not in found for each in allowed):
        return None
    reasons = {each.name: found[each.name] for each in allowed}
    able = [found[each.name] for each in allowed if request.dialect not in each.refuses]
    if able and all("window" in reason for reason in able):
        return ContextTooLong(f"the request is too long for every provider of {request.model!r}", param="messages")
    said = "; ".join(sorted({f"{name}: {reason}" for name, reason in reasons.items()}))
    return InvalidRequest(f"no provider of {request.model!r} can serve this request ({said})", param="model")


_HEALTH = frozenset(standing.value for standing in Standing)


def choose_rule(rules: Sequence[PolicyRule], name: str | None, request: ChatRequest) -> PolicyRule | None:
    """The rule that holds: the one that is named, or else the first with a keyword in the last user message.

    Raises InvalidRequest for a name that is none.
    """
    if name is not None:
        for rule in rules:
            if rule.name == name:
                return rule
        known = ", ".join(rule.name for rule in rules) or "none is configured"
        raise InvalidRequest(f"unknown policy {name!r} in X-Arbstr-Policy (known: {known})", param="X-Arbstr-Policy")
    for rule in rules:
        if rule.keywords and _keywords(rule.keywords).search(_searched(request.last_user_text)):
            return rule
    return None


SEARCHED = 64 * 1024
"""Characters at each end of the last user message that are searched for keywords: of a longer one, the middle is not,
so that one large document does not stop everybody."""


def _searched(text: str) -> str:
    return text if len(text) <= 2 * SEARCHED else f"{text[:SEARCHED]} {text[-SEARCHED:]}"


@lru_cache(maxsize=1024)
def _keywords(words: tuple[str, ...]) -> re.Pattern[str]:
    """Any of ``words`` as a whole word, in any case. Literal alternatives: linear in the text."""
    return re.compile(r"(?<!\w)(?:" + "|".join(re.escape(word) for word in words) + r")(?!\w)", re.IGNORECASE)


def allow(
    route: Route, rule: PolicyRule | None, model: str, rate: ExchangeRate | None
) -> tuple[Sequence[Deployment], list[Rejection], PolicyViolation | None]:
    """Split a route's deployments by what ``rule`` allows, and say what its caller is told where it leaves none."""
    if rule is None:
        return route.deployments, [], None
    if rule.allowed_models is not None and model not in rule.allowed_models:
        allowed = ", ".join(sorted(rule.allowed_models))
        said = f"policy {rule.name!r} does not allow the model {model!r}"
        return (
            (),
            [Rejection(each, said, Why.POLICY) for each in route.deployments],
            PolicyViolation(f"{said} (allowed: {allowed})"),
        )
    if rule.max_output_rate is None:
        return route.deployments, [], None
    limit = rule.max_output_rate
    kept = [each for each in route.deployments if _within(each.rates, limit, rate)]
    shown = sats_text(MicroSats(limit // 1000))
    rejected = [
        Rejection(each, f"policy {rule.name!r}: output dearer than {shown} sats per 1,000 tokens", Why.POLICY)
        for each in route.deployments
        if each not in kept
    ]
    if kept:
        return kept, rejected, None
    return (
        (),
        rejected,
        PolicyViolation(
            f"policy {rule.name!r} leaves no provider for {model!r}: all charge more than {shown} sats per 1,000"
            " output tokens"
        ),
    )


def _within(rates: Rates | None, limit: PicoSats, rate: ExchangeRate | None) -> bool:
    """Whether an output rate is known to be at most ``limit``."""
    if rates is not None and rates.free:
        return True
    if rates is None or (rates.currency is Currency.USD and rate is None):
        return False
    return comparable(rates.output, rates.currency, rate) <= limit
