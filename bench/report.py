"""Medians, ratios, targets, and the tables made of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.gateways import GUARDED
from bench.measure import Measured

DIRECT = "direct"
OURS = "arbstr"
FOREIGN = 0.05
"""The share of the gateway's core that others may use before a reader is told."""

# The values of one contender by measure: the medians of all rounds.
Medians = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table. `better` is -1 where less is better, 1 where more is, 0 where neither."""

    key: str
    label: str
    digits: int
    better: int


MEASURES = (
    Measure("cpu_64_us", "CPU per request, 64 connections (µs)", 1, -1),
    Measure("cpu_4_us", "CPU per request, 4 connections (µs)", 1, -1),
    Measure("chunk_us", "CPU per paced chunk, 64 streams (µs)", 1, -1),
    Measure("rps_64", "requests per second, 64 connections", 0, 1),
    Measure("rps_4", "requests per second, 4 connections", 0, 1),
    Measure("p50_64_ms", "p50, 64 connections (ms)", 2, -1),
    Measure("p99_64_ms", "p99, 64 connections (ms)", 2, -1),
    Measure("p50_4_ms", "p50, 4 connections (ms)", 3, -1),
    Measure("p99_4_ms", "p99, 4 connections (ms)", 3, -1),
    Measure("added_p50_ms", "added p50, 4 connections (ms)", 3, -1),
    Measure("delay_p50_ms", "delay of a chunk, p50 (ms)", 2, -1),
    Measure("delay_p99_ms", "delay of a chunk, p99 (ms)", 2, -1),
    Measure("chunks_per_second", "chunks per second (6,400 sent)", 0, 0),
    Measure("start_s", "start to first answer (s)", 2, -1),
    Measure("rss_mb", "resident memory after load, RSS (MB)", 1, -1),
    Measure("pss_mb", "resident memory after load, PSS (MB)", 1, -1),
    Measure("translated_cpu_64_us", "CPU per translated request, 64 connections (µs)", 1, 0),
    Measure("translated_chunk_us", "CPU per translated paced chunk (µs)", 1, 0),
    Measure("idle_ms_per_s", "CPU when idle (ms per s)", 1, 0),
    Measure("busy_64", "share of its core used, 64 connections", 2, 0),
)


@dataclass(frozen=True, slots=True)
class Target:
    """What arbstr has to reach: `value` of all medians, at most (or at least) `bound`."""

    label: str
    unit: str
    bound: float
    at_least: bool
    value: Callable[[Mapping[str, Medians]], float]

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


TARGETS = (
    Target(
        "CPU per request, 64 connections, to nginx", "×", 10, False, lambda m: _ratio(m, OURS, "nginx", "cpu_64_us")
    ),
    Target(
        "CPU that a key, limits and budgets add to a request, to nginx's",
        "×",
        1,
        False,
        lambda m: (m[GUARDED]["cpu_64_us"] - m[OURS]["cpu_64_us"]) / m["nginx"]["cpu_64_us"],
    ),
    Target("CPU per paced chunk, to nginx", "×", 3, False, lambda m: _ratio(m, OURS, "nginx", "chunk_us")),
    Target("LiteLLM's CPU per request to ours", "×", 100, True, lambda m: _ratio(m, "LiteLLM", OURS, "cpu_64_us")),
    Target("Portkey's CPU per request to ours", "×", 10, True, lambda m: _ratio(m, "Portkey", OURS, "cpu_64_us")),
    Target("added p50, 4 connections", " ms", 0.5, False, lambda m: m[OURS]["added_p50_ms"]),
    Target("start to first answer", " s", 1, False, lambda m: m[OURS]["start_s"]),
    Target(
        "translated request to one of the same dialect",
        "×",
        2.5,
        False,
        lambda m: m[OURS]["translated_cpu_64_us"] / m[OURS]["cpu_64_us"],
    ),
    Target(
        "translated paced chunk to one of the same dialect",
        "×",
        2,
        False,
        lambda m: m[OURS]["translated_chunk_us"] / m[OURS]["chunk_us"],
    ),
    Target("resident memory after load (RSS)", " MB", 64, False, lambda m: m[OURS]["rss_mb"]),
)


def medians(rounds: Sequence[Mapping[str, Measured]]) -> dict[str, dict[str, float]]:
    """The median of each value over the rounds; `added_p50_ms` is taken within each round first."""
    values: dict[str, dict[str, list[float]]] = {}
    for one in rounds:
        for name, measured in one.items():
            of_name = values.setdefault(name, {})
            for key, value in _with_added(measured, one.get(DIRECT)).items():
                of_name.setdefault(key, []).append(value)
    return {name: {key: statistics.median(some) for key, some in keys.items()} for name, keys in values.items()}


def table(results: Mapping[str, Medians]) -> str:
    """All measures, one column for each contender."""
    head = ["", *results]
    rows = []
    for measure in MEASURES:
        cells = [_number(results[name].get(measure.key), measure.digits) for name in results]
        rows.append([measure.label, *cells])
    return _markdown(head, rows)


def ratios(results: Mapping[str, Medians]) -> str:
    """Ours divided by each other's, for the measures where less or more is better."""
    others = [name for name in results if name not in (OURS, DIRECT)]
    rows = []
    for measure in MEASURES:
        if measure.better and measure.key in results.get(OURS, {}):
            cells = [_times(_ratio(results, OURS, other, measure.key)) for other in others]
            rows.append([measure.label, *cells])
    return _markdown(["arbstr divided by", *others], rows)


def verdicts(results: Mapping[str, Medians]) -> str:
    """The targets, each reached or missed; those whose contenders did not run are left open."""
    rows = []
    for target in TARGETS:
        bound = f"{'≥' if target.at_least else '≤'} {target.bound:g}{target.unit}"
        try:
            value = target.value(results)
        except KeyError:
            rows.append([target.label, bound, "–", "not measured"])
            continue
        reached = "reached" if target.reached(value) else "**missed**"
        rows.append([target.label, bound, f"{value:.3g}{target.unit}", reached])
    return _markdown(["target", "bound", "measured", ""], rows)


def losing(results: Mapping[str, Medians]) -> list[str]:
    """For everybody else, the measures in which they are better than arbstr."""
    found = []
    for name in results:
        if name in (OURS, DIRECT):
            continue
        better = [measure.label for measure in MEASURES if _beats(results[name], results[OURS], measure)]
        found.append(f"{name}: {'; '.join(better) or 'in nothing'}")
    return found


def _beats(theirs: Medians, ours: Medians, measure: Measure) -> bool:
    if measure.key not in theirs or measure.key not in ours:
        return False
    return (theirs[measure.key] - ours[measure.key]) * measure.better > 0


def problems(rounds: Sequence[Mapping[str, Measured]]) -> list[str]:
    """What makes rows invalid, each kind once with its contender."""
    return _said((name, error) for one in rounds for name, measured in one.items() for error in measured.errors)


def notes(rounds: Sequence[Mapping[str, Measured]]) -> list[str]:
    """What a reader of the numbers has to know, although it does not make them invalid."""
    said = _said((name, note) for one in rounds for name, measured in one.items() for note in measured.notes)
    foreign = max((measured.values.get("foreign", 0) for one in rounds for measured in one.values()), default=0)
    if foreign > FOREIGN:
        said.append(f"this machine was busy: other programs used up to {foreign:.0%} of the gateway's core")
    return said


def _said(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(f"{name}: {text}" for name, text in pairs))


def _with_added(measured: Measured, direct: Measured | None) -> Medians:
    if direct is None or direct is measured or "p50_4_ms" not in measured.values:
        return measured.values
    return {**measured.values, "added_p50_ms": measured.values["p50_4_ms"] - direct.values["p50_4_ms"]}


def _ratio(results: Mapping[str, Medians], above: str, below: str, key: str) -> float:
    over, under = results[above][key], results[below][key]
    return over / under if under else float("nan")


def _times(value: float) -> str:
    return "–" if value != value else f"{value:.3g} ×"  # nan: nothing to divide by


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table whose columns are also aligned in a terminal."""
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])
