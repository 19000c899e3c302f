"""Entries of the request log as tables and lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbstr.cli import cells
from arbstr.cli.table import NOTHING, Table, without_empty

Entry = Mapping[str, Any]
"""As ``GET /v1/requests`` answers it."""

_NUMBERS = ("in", "out", "sats", "usd", "latency", "ttft")
_COLUMNS = ("time", "status", "model", "provider", *_NUMBERS, "policy", "key", "error", "id")
_FOLD = ("id", "policy", "key", "ttft", "usd", "error", "in", "out", "latency")

_FIXED = {"time": 20, "status": 6, "model": 24, "provider": 12, "in": 8, "out": 7, "sats": 12, "latency": 9}
"""Columns of a line, with their widths: what comes later cannot be waited for."""


def requests(entries: Sequence[Entry]) -> Table:
    """A row for each request."""
    rows = [tuple(_cells(each)[name] for name in _COLUMNS) for each in entries]
    return without_empty(Table(_COLUMNS, rows, frozenset(_NUMBERS), _FOLD), _FOLD)


def heading() -> str:
    """What stands above lines of :func:`line`."""
    return _fixed({name: name for name in _FIXED}, "id, error")


def line(entry: Entry) -> str:
    """A request in one line, whose columns stand beneath each other as far as they fit."""
    found = _cells(entry)
    return _fixed(found, " ".join(found[name] for name in ("id", "error") if found[name] != NOTHING))


def _fixed(values: Mapping[str, str], rest: str) -> str:
    parts = [
        values[name].rjust(width) if name in _NUMBERS else values[name].ljust(width) for name, width in _FIXED.items()
    ]
    return "  ".join([*parts, rest])


def request(entry: Entry) -> Table:
    """All that is known of one request, but for its attempts and its decision."""
    tokens, cost, timing = entry["tokens"], entry["cost"], entry["timing"]
    rows = {
        "id": cells.text(entry["id"]),
        "time": cells.text(entry["timestamp"]),
        "status": _status(entry),
        "error": cells.text((entry["error"] or {}).get("message")),
        "endpoint": cells.text(entry["endpoint"]),
        "model": cells.text(entry["model"]),
        "provider": cells.text(entry["provider"]),
        "upstream model": cells.text(entry["upstream_model"]),
        "policy": cells.text(entry["policy"]),
        "key": cells.text(entry["key_name"] or entry["key_id"]),
        "streaming": "yes" if entry["streaming"] else "no",
        "stream status": cells.text(entry["stream_status"]),
        "input tokens": cells.count(tokens["input"]),
        "of them cached": cells.count(tokens["cached_input"]),
        "written to a cache": cells.count(tokens["cache_write"]),
        "output tokens": cells.count(tokens["output"]),
        "of them reasoning": cells.count(tokens["reasoning"]),
        "cost": _cost(cost["sats"], cost["usd"]),
        "tokens counted by": cells.text(cost["source"]),
        "rates from": cells.text(cost["price_source"]),
        "failed attempts cost": _cost(cost["failed_sats"], cost["failed_usd"]),
        "provider says it charged": _cost(cost["provider_sats"], None),
        "latency": cells.milliseconds(timing["latency_ms"]),
        "time to first token": cells.milliseconds(timing["ttft_ms"]),
        "stream took": cells.milliseconds(timing["stream_duration_ms"]),
    }
    return Table(("what", "value"), [(name, value) for name, value in rows.items() if value != NOTHING])


def attempts(entries: Sequence[Entry]) -> Table:
    """A row for each upstream try, in their order."""
    columns = ("started", "provider", "model", "status", "took", "cost", "error")
    rows = [
        (
            cells.moment(each["started_at"]),
            cells.text(each["provider"]),
            cells.text(each["model"]),
            cells.text(each["status"]),
            cells.milliseconds(each["duration_ms"]),
            _cost(each["cost"], each["cost_usd"]),
            cells.text(each["error"]),
        )
        for each in entries
    ]
    return Table(columns, rows, frozenset({"took", "cost"}), fold=("error", "started", "model"))


def _cells(entry: Entry) -> dict[str, str]:
    tokens, cost, timing = entry["tokens"], entry["cost"], entry["timing"]
    return {
        "time": cells.moment(entry["timestamp"]),
        "status": _status(entry),
        "model": cells.text(entry["model"]),
        "provider": cells.text(entry["provider"]),
        "in": cells.count(tokens["input"]),
        "out": cells.count(tokens["output"]),
        "sats": cells.amount(cost["sats"]),
        "usd": cells.amount(cost["usd"]),
        "latency": cells.milliseconds(timing["latency_ms"]),
        "ttft": cells.milliseconds(timing["ttft_ms"]),
        "policy": cells.text(entry["policy"]),
        "key": cells.text(entry["key_name"] or entry["key_id"]),
        "error": cells.text((entry["error"] or {}).get("message")),
        "id": cells.text(entry["id"]),
    }


def _status(entry: Entry) -> str:
    return "200" if entry["error"] is None else cells.text(entry["error"]["status"])


def _cost(in_sats: float | None, in_usd: float | None) -> str:
    """``12.5 sats, $0.0125``."""
    parts = [] if in_sats is None else [f"{cells.amount(in_sats)} sats"]
    return ", ".join([*parts, *([] if in_usd is None else [f"${cells.amount(in_usd)}"])]) or NOTHING
