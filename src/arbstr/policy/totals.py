"""What is counted of requests and added up: the same in a roll-up, in a query and in an answer."""

from __future__ import annotations

from collections.abc import Callable
from operator import add

from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.statistics import Figures, Saved, Spread
from arbstr.policy.sketch import Sketch

SUMS = (
    "requests",
    "successes",
    "streamed",
    "estimated",  # costs that were estimated
    "unpriced",  # successes whose cost is not known
    "cost_micro_sats",
    "cost_nano_usd",
    "failed_cost_micro_sats",
    "failed_cost_nano_usd",
    "provider_cost_micro_sats",
    "baseline_micro_sats",  # of requests whose cost is known; their cost, where they have no baseline
    "baseline_nano_usd",
    "compared",  # requests that have a baseline and a cost
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "latency_us",
    "ttft_us",
    "timed_tokens",  # output tokens of successes that had any, and how long these took to be written
    "timed_us",
)
"""What is added up, as integers: money in its smallest units, times in microseconds."""
EXTREMES = ("cost_min", "latency_min", "cost_max", "latency_max")
"""The least and the most of one request: microsatoshis and microseconds."""

_PLACE = {name: place for place, name in enumerate(SUMS)}
_NOTHING = (0,) * len(SUMS)


class Totals:
    """What some requests come to, which may be none."""

    __slots__ = ("errors", "extremes", "latency", "sums", "ttft")

    def __init__(self) -> None:
        self.sums: tuple[int, ...] = _NOTHING
        """In the order of SUMS."""
        self.extremes: tuple[int | None, ...] = (None,) * len(EXTREMES)
        self.latency = Sketch()
        """In microseconds."""
        self.ttft = Sketch()
        self.errors: dict[str, int] = {}
        """Failures by the code that the caller was told."""

    def merge(self, other: Totals) -> None:
        """Be what both one's requests come to."""
        self.sums = tuple(map(add, self.sums, other.sums))
        self.extremes = wider(self.extremes, other.extremes)
        self.latency.merge(other.latency)
        self.ttft.merge(other.ttft)
        for code, count in other.errors.items():
            self.errors[code] = self.errors.get(code, 0) + count

    def __getitem__(self, name: str) -> int:
        """One of SUMS."""
        return self.sums[_PLACE[name]]


def wider(ones: tuple[int | None, ...], others: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Of EXTREMES: the lesser of the first two each, and the greater of the others."""
    pairs = list(zip(ones, others, strict=True))
    return (*(_either(min, *pair) for pair in pairs[:2]), *(_either(max, *pair) for pair in pairs[2:]))


def _either(choose: Callable[[int, int], int], one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return choose(one, other)


def figures(totals: Totals) -> Figures:
    """The figures that the totals say."""
    return Figures(
        requests=totals["requests"],
        successes=totals["successes"],
        streaming=totals["streamed"],
        input_tokens=totals["input_tokens"],
        output_tokens=totals["output_tokens"],
        cached_input_tokens=totals["cached_input_tokens"],
        cache_write_tokens=totals["cache_write_tokens"],
        reasoning_tokens=totals["reasoning_tokens"],
        cost=MicroSats(totals["cost_micro_sats"]),
        cost_usd=NanoUsd(totals["cost_nano_usd"]),
        failed_cost=MicroSats(totals["failed_cost_micro_sats"]),
        failed_cost_usd=NanoUsd(totals["failed_cost_nano_usd"]),
        provider_cost=MicroSats(totals["provider_cost_micro_sats"]),
        estimated=totals["estimated"],
        unpriced=totals["unpriced"],
        latency=_spread(totals["latency_us"], totals.latency),
        ttft=_spread(totals["ttft_us"], totals.ttft),
        tokens_per_second=_ratio(totals["timed_tokens"] * 1_000_000, totals["timed_us"]),
        errors=dict(totals.errors),
    )


def saved(totals: Totals) -> Saved:
    """What the totals say was saved."""
    return Saved(
        requests=totals["requests"],
        compared=totals["compared"],
        cost=MicroSats(totals["cost_micro_sats"]),
        baseline=MicroSats(totals["baseline_micro_sats"]),
        failed_cost=MicroSats(totals["failed_cost_micro_sats"]),
        cost_usd=NanoUsd(totals["cost_nano_usd"]),
        baseline_usd=NanoUsd(totals["baseline_nano_usd"]),
        failed_cost_usd=NanoUsd(totals["failed_cost_nano_usd"]),
    )


def _spread(microseconds: int, sketch: Sketch) -> Spread | None:
    count = sketch.total
    if not count:
        return None
    p50, p95, p99 = (round(value / 1000, 3) for value in sketch.quantiles(0.5, 0.95, 0.99))
    return Spread(mean=round(microseconds / count / 1000, 3), p50=p50, p95=p95, p99=p99)


def _ratio(above: int, below: int) -> float | None:
    return round(above / below, 3) if below else None
