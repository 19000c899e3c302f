"""Who may serve a request, and in which order.

The straight line is :func:`choose_rule`, then :func:`plan`: the route, who the rule leaves, in which order, and how
each stands now. It decides without asking anyone, so that a dry run and a replay are the same code.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from arbstr.domain.errors import InvalidRequest, ModelNotFound, PolicyViolation
from arbstr.domain.money import MicroSats, sats_text
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Candidate, Deployment, Plan, PolicyRule, Rejection, Route, Snapshot, Strategy
from arbstr.policy.pricing import expected_tokens


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

_READY = _ORDER[Standing.READY]


def plan(
    request: ChatRequest,
    rule: PolicyRule | None,
    *,
    snapshot: Snapshot,
    mean_output: Callable[[str], int],
    standing: Callable[[Deployment], Standing],
) -> Plan:
    """The candidates of ``request``, in the order in which they are tried, and who was rejected and why.

    ``mean_output`` gives the output tokens to expect of a model, ``standing`` how a deployment stands now. A plan may
    have no candidates: then its rejections say why. Raises ModelNotFound; PolicyViolation where ``rule`` leaves nobody.
    """
    route = snapshot.route_for(request.model)
    if route is None:
        raise ModelNotFound(f"no route and no provider lists the model {request.model!r}", param="model")
    allowed, rejected = allow(route, rule, request.model)
    strategy = rule.strategy if rule is not None and rule.strategy is not None else route.strategy
    by_cost = strategy is Strategy.CHEAPEST
    input_tokens, output_tokens = expected_tokens(request, mean_output(route.model))
    entries: list[tuple[int, int, str, str, MicroSats, Deployment, Standing]] = []
    for position, each in enumerate(allowed):
        stands = standing(each)
        place = _READY if stands is Standing.READY else _ORDER.get(stands)  # an enum's hash is slow
        if place is None:
            rejected.append(Rejection(each, stands.value))
            continue
        cost = each.rates.cost(input_tokens, output_tokens)
        # Ties go by name, and no two deployments of a route have both names in common.
        entries.append((place, cost if by_cost else position, each.provider, each.model, cost, each, stands))
    entries.sort()
    return Plan(
        route=route,
        strategy=strategy,
        policy=rule.name if rule is not None else None,
        candidates=tuple([_candidate(entry, strategy) for entry in entries]),
        rejected=tuple(rejected),
    )


def _candidate(entry: tuple[int, int, str, str, MicroSats, Deployment, Standing], strategy: Strategy) -> Candidate:
    *_, cost, deployment, stands = entry
    return Candidate(deployment, cost, strategy.value if stands is Standing.READY else stands.value)


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


def allow(route: Route, rule: PolicyRule | None, model: str) -> tuple[Sequence[Deployment], list[Rejection]]:
    """Split a route's deployments by what ``rule`` allows. Raises PolicyViolation where it leaves none."""
    if rule is None:
        return route.deployments, []
    if rule.allowed_models is not None and model not in rule.allowed_models:
        allowed = ", ".join(sorted(rule.allowed_models))
        raise PolicyViolation(f"policy {rule.name!r} does not allow the model {model!r} (allowed: {allowed})")
    if rule.max_output_rate is None:
        return route.deployments, []
    limit = rule.max_output_rate
    kept = [deployment for deployment in route.deployments if deployment.rates.output <= limit]
    shown = sats_text(MicroSats(limit // 1000))
    rejected = [
        Rejection(deployment, f"policy {rule.name!r}: output dearer than {shown} sats per 1,000 tokens")
        for deployment in route.deployments
        if deployment.rates.output > limit
    ]
    if not kept:
        raise PolicyViolation(
            f"policy {rule.name!r} leaves no provider for {model!r}: all charge more than {shown} sats per 1,000"
            " output tokens"
        )
    return kept, rejected
