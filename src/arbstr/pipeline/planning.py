"""Who is to serve a request: for one that is to be sent, and for one that is only asked about."""

from __future__ import annotations

from arbstr.dialects.needs import needs_of
from arbstr.domain.decision import Decision
from arbstr.domain.identity import Key
from arbstr.domain.request import ChatRequest, Wishes
from arbstr.domain.routing import Plan, Snapshot
from arbstr.pipeline.admission import admit, policy_of
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.state import LiveState
from arbstr.policy import planner


def make_plan(request: ChatRequest, wishes: Wishes, exchange: Exchange, state: LiveState) -> Plan:
    """Decide, and take down what was decided. A plan that leaves nobody has a refusal. Raises InvalidRequest for a
    policy that is none, ModelNotFound."""
    snapshot = exchange.snapshot
    named, matched = policy_of(exchange, wishes)
    rule = planner.choose_rule(snapshot.rules, named, request)
    if rule is not None:
        exchange.policy, exchange.matched = rule.name, matched
    if snapshot.knows_capabilities:
        exchange.needs = needs_of(request)
    exchange.plan = planner.decide(
        request,
        rule,
        needs=exchange.needs,
        snapshot=snapshot,
        mean_output=state.mean_output,
        standing=state.standing,
        terms=state.spending.terms(request, exchange),
    )
    return exchange.plan


async def explain(
    request: ChatRequest, wishes: Wishes, key: Key | None, *, snapshot: Snapshot, state: LiveState
) -> Decision:
    """What would become of a request if it came now: nobody is asked, nothing is reserved, counted or written.

    Raises what the request itself would be refused with, but for what its plan's refusal says.
    """
    exchange = Exchange.begin(
        "",
        snapshot,
        endpoint="route.explain",
        now=state.clock.monotonic(),
        received_at=state.clock.time(),
        rate=state.rate,
    )
    exchange.key = key
    admit(request, wishes, exchange, state)
    if key is not None and state.spending.pending:
        await state.spending.ready(key)
    plan = make_plan(request, wishes, exchange, state)
    return Decision(plan, exchange.matched, request.input_bytes, request.max_tokens, request.n, exchange.needs)
