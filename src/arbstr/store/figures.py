"""The figures of the request log in SQL: from its rows, or from what was added up of them before.

Both give rows of the same shape (COLUMNS), so that what comes from rows and what comes from roll-ups can be added up,
and so that a roll-up is nothing but what a query of the rows has said. Every sum is one of integers, and exact.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from arbstr.policy.sketch import Sketch
from arbstr.policy.totals import EXTREMES, SUMS, Totals

_LATENCY = "CAST(round(latency_ms * 1000) AS INTEGER)"
_TTFT = "CAST(round(ttft_ms * 1000) AS INTEGER)"
_WRITING = "CAST(round(coalesce(stream_duration_ms, latency_ms) * 1000) AS INTEGER)"
_TIMED = "FILTER (WHERE success AND output_tokens > 0)"

_OF_ROWS = {
    "requests": "count(*)",
    "successes": "sum(success)",
    "streamed": "sum(streaming)",
    "estimated": "count(*) FILTER (WHERE cost_source = 'estimated')",
    "unpriced": "count(*) FILTER (WHERE success AND cost_sats IS NULL AND cost_usd IS NULL)",
    "cost_micro_sats": "sum(cost_micro_sats)",
    "cost_nano_usd": "sum(cost_nano_usd)",
    "failed_cost_micro_sats": "sum(failed_cost_micro_sats)",
    "failed_cost_nano_usd": "sum(failed_cost_nano_usd)",
    "provider_cost_micro_sats": "sum(provider_cost_micro_sats)",
    "baseline_micro_sats": "sum(iif(cost_sats IS NULL, NULL, coalesce(baseline_micro_sats, cost_micro_sats)))",
    "baseline_nano_usd": "sum(iif(cost_usd IS NULL, NULL, coalesce(baseline_nano_usd, cost_nano_usd)))",
    "compared": "sum((baseline_sats IS NOT NULL AND cost_sats IS NOT NULL)"
    " OR (baseline_usd IS NOT NULL AND cost_usd IS NOT NULL))",
    "input_tokens": "sum(input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cached_input_tokens": "sum(cached_input_tokens)",
    "cache_write_tokens": "sum(cache_write_tokens)",
    "reasoning_tokens": "sum(reasoning_tokens)",
    "latency_us": f"sum({_LATENCY})",
    "ttft_us": f"sum({_TTFT})",
    "timed_tokens": f"sum(output_tokens) {_TIMED}",
    "timed_us": f"sum({_WRITING}) {_TIMED}",
    "cost_min": "min(cost_micro_sats)",
    "latency_min": f"min({_LATENCY})",
    "cost_max": "max(cost_micro_sats)",
    "latency_max": f"max({_LATENCY})",
    "latency": f"sketch_of({_LATENCY})",
    "ttft": f"sketch_of({_TTFT})",
    "errors": "tally_of(coalesce(error_code, 'unknown')) FILTER (WHERE NOT success)",
}

COLUMNS = (*SUMS, *EXTREMES, "latency", "ttft", "errors")
"""Of the table ``rollups``, behind its key; and of every query of figures, behind what it is grouped by."""

OF_ROWS = ", ".join(_OF_ROWS[name] for name in COLUMNS)
"""What a query of ``requests`` selects."""
OF_ROLLUPS = ", ".join(
    [f"sum({name})" for name in SUMS]
    + [f"{name[-3:]}({name})" for name in EXTREMES]
    + ["sketch_sum(latency)", "sketch_sum(ttft)", "tally_sum(errors)"]
)
"""What a query of ``rollups`` selects."""

_BEFORE_EXTREMES = len(SUMS)
_BEFORE_REST = len(SUMS) + len(EXTREMES)

_counts = msgspec.json.Decoder(dict[str, int]).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def prepare(connection: sqlite3.Connection) -> None:
    """Teach the connection the functions that OF_ROWS and OF_ROLLUPS call."""
    for name, function in _FUNCTIONS.items():
        connection.create_aggregate(name, 1, function)


def read(values: Sequence[Any]) -> Totals:
    """The figures in the values of COLUMNS. Raises ValueError where they are damaged."""
    totals = Totals()
    totals.sums = tuple([value or 0 for value in values[:_BEFORE_EXTREMES]])
    totals.extremes = tuple(values[_BEFORE_EXTREMES:_BEFORE_REST])
    latency, ttft, errors = values[_BEFORE_REST:]
    if latency is not None:
        totals.latency.merge_encoded(latency)
    if ttft is not None:
        totals.ttft.merge_encoded(ttft)
    if errors is not None:
        totals.errors = _counts(errors)
    return totals


def written(totals: Totals) -> tuple[Any, ...]:
    """The values of COLUMNS. The same figures are always written alike."""
    return (
        *totals.sums,
        *totals.extremes,
        totals.latency.encode(),
        totals.ttft.encode(),
        _encode(totals.errors).decode() if totals.errors else None,
    )


# Aggregate functions that SQLite calls for each row: a method call each, so they do without one more.


class _SketchOf:
    def __init__(self) -> None:
        self._sketch = Sketch()
        self._add = self._sketch.add

    def step(self, value: int | None) -> None:
        if value is not None:
            self._add(value)

    def finalize(self) -> bytes | None:
        return self._sketch.encode() if self._sketch.total else None


class _SketchSum:
    def __init__(self) -> None:
        self._only: bytes | None = None
        self._sketch: Sketch | None = None

    def step(self, data: bytes) -> None:
        if self._only is None:
            self._only = data
            return
        if self._sketch is None:
            self._sketch = Sketch.decode(self._only)
        self._sketch.merge_encoded(data)

    def finalize(self) -> bytes | None:
        return self._only if self._sketch is None else self._sketch.encode()


class _TallyOf:
    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def step(self, code: str) -> None:
        self._counts[code] = self._counts.get(code, 0) + 1

    def finalize(self) -> str | None:
        return _encode(self._counts).decode() if self._counts else None


class _TallySum(_TallyOf):
    def step(self, data: str | None) -> None:
        if data is not None:
            for code, count in _counts(data).items():
                self._counts[code] = self._counts.get(code, 0) + count


_FUNCTIONS: dict[str, Any] = {
    "sketch_of": _SketchOf,
    "sketch_sum": _SketchSum,
    "tally_of": _TallyOf,
    "tally_sum": _TallySum,
}
