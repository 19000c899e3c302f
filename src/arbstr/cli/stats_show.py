"""Statistics and savings as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arbstr.cli import cells
from arbstr.cli.table import NOTHING, Table, without_empty

Answer = Mapping[str, Any]
"""As ``GET /v1/stats`` or ``/v1/savings`` answers."""

_MAPS = {"model": "models", "provider": "providers", "policy": "policies", "key": "keys", "tier": "tiers"}
_NOBODY = "(none)"
"""What stands for those without."""
_SAVED = ("spent", "failed", "baseline", "saved", "saved %")


def stats(answer: Answer, group_by: str | None) -> Table:
    """A row for each figure, or for each group where they are told apart."""
    return _figures(answer) if group_by is None else _groups(answer, group_by)


def _figures(answer: Answer) -> Table:
    counts, costs, timing = answer["counts"], answer["costs"], answer["performance"]
    total = counts["total"]
    rows = {
        "requests": cells.count(total),
        "succeeded": _part(counts["success"], total),
        "failed": _part(counts["error"], total),
        **{f"  {cells.text(code)}": _part(each["count"], total) for code, each in counts["errors_by_code"].items()},
        "streaming": _part(counts["streaming"], total),
        "cost in sats": cells.amount(costs["total_cost_sats"]),
        "cost in usd": cells.amount(costs["total_cost_usd"]),
        "failed attempts in sats": cells.amount(costs["failed_cost_sats"]),
        "failed attempts in usd": cells.amount(costs["failed_cost_usd"]),
        "with estimated tokens": _part(costs["estimated_requests"], total),
        "without a price": _part(costs["unpriced_requests"], total),
        "input tokens": cells.count(costs["total_input_tokens"]),
        "of them cached": cells.count(costs["total_cached_input_tokens"]),
        "written to a cache": cells.count(costs["total_cache_write_tokens"]),
        "output tokens": cells.count(costs["total_output_tokens"]),
        "of them reasoning": cells.count(costs["total_reasoning_tokens"]),
        **{f"{name} latency": _time(timing, f"{name}_latency_ms") for name in _SPREAD},
        **{f"{name} time to first token": _time(timing, f"{name}_ttft_ms") for name in _SPREAD},
        "tokens a second": _speed(timing),
    }
    return Table(("what", "value"), list(rows.items()), frozenset({"value"}))


_SPREAD = ("avg", "p50", "p95", "p99")


def _groups(answer: Answer, group_by: str) -> Table:
    numbers = ("requests", "failed", "sats", "usd", "in", "out", "avg", "p95", "first token p95", "tok/s")
    rows = []
    for name, each in answer[_MAPS[group_by]].items():
        counts, costs, timing = each["counts"], each["costs"], each["performance"]
        shown = each.get("name") or name
        rows.append(
            (
                cells.text(shown) if shown else _NOBODY,
                cells.count(counts["total"]),
                cells.share(counts["error"], counts["total"]),
                cells.amount(costs["total_cost_sats"]),
                cells.amount(costs["total_cost_usd"]),
                cells.count(costs["total_input_tokens"]),
                cells.count(costs["total_output_tokens"]),
                _time(timing, "avg_latency_ms"),
                _time(timing, "p95_latency_ms"),
                _time(timing, "p95_ttft_ms"),
                _speed(timing),
            )
        )
    fold = ("tok/s", "first token p95", "p95", "usd", "avg", "in", "out")
    table = Table((group_by, *numbers), rows, frozenset(numbers), fold)
    return without_empty(table, fold, ("0", NOTHING))


def savings(answer: Answer) -> Table:
    """A row for each day, model or provider, and one for all together. A currency without amounts is left out."""
    by = answer["by"]
    parts = answer["days" if by == "day" else _MAPS[by]]
    rows = [_saved(cells.text(name) if name else _NOBODY, part) for name, part in parts.items()]
    rows.append(_saved("in all", answer["total"]))
    money = [f"{what} {unit}" for unit in ("sats", "usd") for what in _SAVED]
    columns = ("requests", "compared", *money)
    unused = [name for unit in ("sats", "usd") if not _spent(answer, unit) for name in money if name.endswith(unit)]
    fold = ("compared", *(f"{what} {unit}" for what in ("failed", "baseline") for unit in ("usd", "sats")))
    table = Table((by, *columns), rows, frozenset(columns), fold)
    return without_empty(table, unused, ("0", NOTHING))


def _spent(answer: Answer, unit: str) -> bool:
    return bool(answer["total"][f"spent_{unit}"] or answer["total"][f"baseline_{unit}"])


def _saved(name: str, part: Mapping[str, Any]) -> tuple[str, ...]:
    money: list[str] = []
    for unit in ("sats", "usd"):
        spent, failed, baseline, gain = (part[f"{what}_{unit}"] for what in _SAVED[:-1])
        money += [cells.amount(spent), cells.amount(failed), cells.amount(baseline), cells.amount(gain)]
        money.append(f"{100 * gain / baseline:.1f}%" if baseline else NOTHING)
    return (name, cells.count(part["requests"]), cells.count(part["compared"]), *money)


def _part(count: int, of: int) -> str:
    """``12 (3.4%)``."""
    return f"{cells.count(count)} ({cells.share(count, of)})" if of else cells.count(count)


def _time(timing: Mapping[str, float], name: str) -> str:
    return cells.milliseconds(timing[name]) if timing[name] else NOTHING


def _speed(timing: Mapping[str, float]) -> str:
    return f"{timing['tokens_per_second']:.1f}" if timing["tokens_per_second"] else NOTHING
