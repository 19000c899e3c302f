"""``POST /v1/route/explain``: where a request would go, and why, without sending it."""

from __future__ import annotations

from typing import Any

from arbstr.dialects.callers import caller_dialect
from arbstr.domain.decision import Decision
from arbstr.edge import body, respond
from arbstr.edge.caller import wishes_of
from arbstr.edge.context import Context, Request
from arbstr.pipeline.planning import explain as decide
from arbstr.policy.decision import shown


async def explain(context: Context, request: Request) -> None:
    """The decision for a chat request: nobody is called, no row is written."""
    snapshot = context.pipeline.snapshot
    with body.Held(context.bodies) as held:
        read = await body.read(request.receive, request.headers, held, most=snapshot.max_body, limit="server.max_body")
        asked = caller_dialect("openai").parse(read)
        decision = await decide(
            asked, wishes_of(request.headers), request.key, snapshot=snapshot, state=context.pipeline.state
        )
        await respond.json(request.send, request.id, explained(asked.model, decision))


def explained(model: str, decision: Decision) -> dict[str, Any]:
    """The record, and what a request would be refused with, if it would be."""
    refusal = decision.plan.refusal
    return {
        "model": model,
        **shown(decision),
        "refusal": None
        if refusal is None
        else {"status": refusal.status, "code": refusal.code, "message": refusal.message},
    }
