"""One record of a decision, in three forms: for people (:func:`shown`), for the log (:func:`compact`, and back by
:func:`expand`), and for a header (:func:`route_text`). A dry run, the log and the header tell the same."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.domain.decision import Decision
from arbstr.domain.money import Cost, sats, usd
from arbstr.domain.routing import Plan

MOST_SHOWN = 50
"""Candidates, and likewise rejected ones, that are kept of one decision."""

_NEEDS = ("tools", "vision", "json", "reasoning")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def compact(decision: Decision) -> bytes:
    """The record as the request log keeps it: JSON in which places stand for names."""
    plan = decision.plan
    baseline = plan.baseline
    return _encode(
        {
            "s": plan.strategy.value,
            "p": plan.policy,
            "m": decision.matched.value if decision.matched is not None else None,
            "c": [
                [each.deployment.provider, each.deployment.model, *_amounts(each.expected_cost(plan.rate)), each.reason]
                for each in plan.candidates[:MOST_SHOWN]
            ],
            "r": [
                [each.deployment.provider, each.deployment.model, each.why.value, each.reason]
                for each in plan.rejected[:MOST_SHOWN]
            ],
            "b": [baseline.provider, baseline.model] if baseline is not None else None,
            "q": [
                decision.input_bytes,
                decision.max_tokens,
                decision.n,
                [name for name in _NEEDS if getattr(decision.needs, name)],
            ],
        }
    )


def expand(record: str | bytes) -> dict[str, Any]:
    """A record of :func:`compact` with its names; what cannot be read is as if nothing had been kept."""
    try:
        kept = _decode(record)
        asked = kept["q"]
        return {
            "policy": kept["p"],
            "matched": kept["m"],
            "strategy": kept["s"],
            "candidates": [_candidate(*each) for each in kept["c"]],
            "rejected": [_rejected(*each) for each in kept["r"]],
            "baseline": None if kept["b"] is None else {"provider": kept["b"][0], "model": kept["b"][1]},
            "request": {"input_bytes": asked[0], "max_tokens": asked[1], "n": asked[2], "needs": asked[3]},
        }
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return {}


def shown(decision: Decision) -> dict[str, Any]:
    """The record for people, as ``/v1/route/explain`` and ``/v1/requests/{id}`` answer it."""
    return expand(compact(decision))


def _candidate(provider: str, model: str, in_sats: float | None, in_usd: float | None, reason: str) -> dict[str, Any]:
    return {
        "provider": provider,
        "model": model,
        "estimated_cost_sats": in_sats,
        "estimated_cost_usd": in_usd,
        "reason": reason,
    }


def _rejected(provider: str, model: str, why: str, reason: str) -> dict[str, Any]:
    return {"provider": provider, "model": model, "why": why, "reason": reason}


def _amounts(cost: Cost | None) -> tuple[float | None, float | None]:
    if cost is None:
        return None, None
    return (
        None if cost.sats is None else sats(cost.sats),
        None if cost.usd is None else usd(cost.usd),
    )


def route_text(plan: Plan) -> bytes:
    """The short form: ``cheapest; alpha, beta; rejected gamma (circuit)``: the strategy, who would be tried in which
    order, and who would not, with the kind of reason."""
    how = plan.strategy.value if plan.policy is None else f"{plan.strategy.value} by {plan.policy}"
    candidates, rejected = plan.candidates, plan.rejected
    parts = [how]
    if candidates:
        parts.append(_named([each.deployment.provider for each in candidates[:MOST_NAMED]], len(candidates)))
    if rejected:
        named = [f"{each.deployment.provider} ({each.why.value})" for each in rejected[:MOST_NAMED]]
        parts.append(f"rejected {_named(named, len(rejected))}")
    return "; ".join(parts).encode("ascii", "backslashreplace")


MOST_NAMED = 8
"""Of each in the short form."""


def _named(names: list[str], of: int) -> str:
    text = ", ".join(names)
    return text if of == len(names) else f"{text} and {of - len(names)} more"
