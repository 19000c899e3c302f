"""One record of a decision, in three forms: for people (:func:`shown`), for the log (:func:`compact`, and back by
:func:`expand`), and for a header (:func:`route_text`). A dry run, the log and the header tell the same."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.domain.decision import Decision
from arbstr.domain.money import Cost, Currency, ExchangeRate, sats, usd
from arbstr.domain.request import Needs
from arbstr.domain.routing import Plan

MOST_SHOWN = 50
"""Candidates, and likewise rejected ones, that are kept of one decision."""

_NEEDS = ("tools", "vision", "json", "reasoning")
_NO_NEEDS = Needs()

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def compact(decision: Decision) -> bytes:
    """The record as the request log keeps it: JSON in which places stand for names, and estimates are as they were
    multiplied."""
    plan, needs = decision.plan, decision.needs
    baseline, rate = plan.baseline, plan.rate
    candidates: list[list[Any]] = []
    for each in plan.candidates[:MOST_SHOWN]:
        deployment = each.deployment
        rates = deployment.rates
        in_usd = rates is not None and rates.currency is Currency.USD
        candidates.append([deployment.provider, deployment.model, in_usd, each.expected, each.reason])
    kept = {
        "s": plan.strategy.value,
        "p": plan.policy,
        "m": decision.matched.value if decision.matched is not None else None,
        "c": candidates,
        "r": [
            [each.deployment.provider, each.deployment.model, each.why.value, each.reason]
            for each in plan.rejected[:MOST_SHOWN]
        ],
        "b": [baseline.provider, baseline.model] if baseline is not None else None,
        "q": [
            decision.input_bytes,
            decision.max_tokens,
            decision.n,
            [name for name in _NEEDS if getattr(needs, name)] if needs != _NO_NEEDS else [],
        ],
        "x": rate.micro_sats_per_usd if rate is not None else None,
    }
    return _encode(kept)


def expand(record: str | bytes) -> dict[str, Any]:
    """A record of :func:`compact` with its names; what cannot be read is as if nothing had been kept."""
    try:
        kept = _decode(record)
        rate = None if kept["x"] is None else ExchangeRate(kept["x"])
        input_bytes, max_tokens, n, needs = kept["q"]
        return {
            "policy": kept["p"],
            "matched": kept["m"],
            "strategy": kept["s"],
            "candidates": [_candidate(each, rate) for each in kept["c"]],
            "rejected": [_rejected(*each) for each in kept["r"]],
            "baseline": None if kept["b"] is None else {"provider": kept["b"][0], "model": kept["b"][1]},
            "request": {"input_bytes": input_bytes, "max_tokens": max_tokens, "n": n, "needs": needs},
        }
    except (ValueError, TypeError, LookupError, RecursionError):
        return {}


def shown(decision: Decision) -> dict[str, Any]:
    """The record for people, as ``/v1/route/explain`` and ``/v1/requests/{id}`` answer it."""
    return expand(compact(decision))


def _candidate(kept: list[Any], rate: ExchangeRate | None) -> dict[str, Any]:
    provider, model, in_usd, pico, reason = kept
    cost = None if pico is None else Cost.of_pico(pico, Currency.USD if in_usd else Currency.SATS, rate)
    return {
        "provider": provider,
        "model": model,
        "estimated_cost_sats": None if cost is None or cost.sats is None else sats(cost.sats),
        "estimated_cost_usd": None if cost is None or cost.usd is None else usd(cost.usd),
        "reason": reason,
    }


def _rejected(provider: str, model: str, why: str, reason: str) -> dict[str, Any]:
    return {"provider": provider, "model": model, "why": why, "reason": reason}


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
