"""Figures of the request log as JSON: what the store says, as ``/v1/stats``, its series and ``/v1/savings`` show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arbstr.domain.money import Currency
from arbstr.domain.span import instant_text
from arbstr.domain.statistics import Bucket, Figures, Filter, Group, Point, Saved, Savings, Spread, Statistics

GROUPS = {
    Group.MODEL: "models",
    Group.PROVIDER: "providers",
    Group.POLICY: "policies",
    Group.KEY: "keys",
    Group.TIER: "tiers",
}
"""What the map of each group is called."""

BUCKETS = {"minute": Bucket.MINUTE, "hour": Bucket.HOUR, "day": Bucket.DAY}

_NOTHING = Figures()


def stats_answer(
    which: Filter,
    found: Statistics,
    *,
    group_by: Group | None = None,
    listed: Iterable[str] = (),
    key_names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The figures, and those of each group. Groups of ``listed`` are shown even where they have none; keys, which are
    told apart by their ids, get their names."""
    answer = _range(which) | figures(found.total)
    if group_by is None:
        return answer
    names = key_names or {}
    answer[GROUPS[group_by]] = {
        name: ({"name": names.get(name)} if group_by is Group.KEY else {}) | figures(found.groups.get(name, _NOTHING))
        for name in sorted({*found.groups, *listed})
    }
    return answer


def series_answer(which: Filter, points: Sequence[Point], *, bucket: str) -> dict[str, Any]:
    """The figures of each bucket, which is one of BUCKETS."""
    data = [{"start": instant_text(point.start)} | figures(point.figures) for point in points]
    return _range(which) | {"bucket": bucket, "data": data}


def savings_answer(which: Filter, found: Savings, *, by: Group | None = None) -> dict[str, Any]:
    """What was saved, and by which model or provider, or on which day where ``by`` is None."""
    parts = {name: saved(part) for name, part in found.parts.items()}
    return _range(which) | {
        "by": "day" if by is None else by.value,
        "total": saved(found.total),
        "days" if by is None else GROUPS[by]: parts,
    }


def figures(of: Figures) -> dict[str, Any]:
    """The three sections of the contract. What was never measured is 0."""
    errors = of.requests - of.successes
    return {
        "counts": {
            "total": of.requests,
            "success": of.successes,
            "error": errors,
            "streaming": of.streaming,
            "errors_by_code": {
                code: {"count": count, "share": round(count / of.requests, 6)}
                for code, count in sorted(of.errors.items(), key=lambda item: (-item[1], item[0]))
            },
        },
        "costs": {
            "total_cost_sats": _sats(of.cost),
            "total_cost_usd": _usd(of.cost_usd),
            "failed_cost_sats": _sats(of.failed_cost),
            "failed_cost_usd": _usd(of.failed_cost_usd),
            "provider_cost_sats": _sats(of.provider_cost),
            "estimated_requests": of.estimated,
            "unpriced_requests": of.unpriced,
            "total_input_tokens": of.input_tokens,
            "total_output_tokens": of.output_tokens,
            "total_cached_input_tokens": of.cached_input_tokens,
            "total_cache_write_tokens": of.cache_write_tokens,
            "total_reasoning_tokens": of.reasoning_tokens,
        },
        "performance": {
            **_spread(of.latency, "latency_ms"),
            **_spread(of.ttft, "ttft_ms"),
            "tokens_per_second": round(of.tokens_per_second or 0.0, 3),
        },
    }


def saved(of: Saved) -> dict[str, Any]:
    """``spent`` is with failed attempts, so that what was saved is net of them."""
    spent, spent_usd = of.cost + of.failed_cost, of.cost_usd + of.failed_cost_usd
    return {
        "requests": of.requests,
        "compared": of.compared,
        "spent_sats": _sats(spent),
        "failed_sats": _sats(of.failed_cost),
        "baseline_sats": _sats(of.baseline),
        "saved_sats": _sats(of.baseline - spent),
        "spent_usd": _usd(spent_usd),
        "failed_usd": _usd(of.failed_cost_usd),
        "baseline_usd": _usd(of.baseline_usd),
        "saved_usd": _usd(of.baseline_usd - spent_usd),
    }


def _range(which: Filter) -> dict[str, Any]:
    return {
        "since": None if which.since is None else instant_text(which.since),
        "until": None if which.until is None else instant_text(which.until),
    }


def _spread(of: Spread | None, what: str) -> dict[str, float]:
    values = (of.mean, of.p50, of.p95, of.p99) if of is not None else (0.0,) * 4
    return {f"{name}_{what}": round(value, 3) for name, value in zip(("avg", "p50", "p95", "p99"), values, strict=True)}


def _sats(amount: int) -> float:
    return amount / Currency.SATS.smallest


def _usd(amount: int) -> float:
    return amount / Currency.USD.smallest
