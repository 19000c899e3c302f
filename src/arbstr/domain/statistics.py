"""Questions to the request log, and the figures that answer them."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from arbstr.domain.money import MicroSats, NanoUsd


class Group(enum.Enum):
    """By what figures can be told apart."""

    MODEL = "model"
    """As asked for."""
    PROVIDER = "provider"
    """That served."""
    POLICY = "policy"
    KEY = "key"
    """By its id."""
    TIER = "tier"
    """Of the provider that served."""


class Bucket(enum.Enum):
    """Stretches of time, in UTC. The value is its length in seconds."""

    MINUTE = 60
    HOUR = 3600
    DAY = 86400


class Sort(enum.Enum):
    """What entries of the log can be sorted by."""

    TIMESTAMP = "timestamp"
    COST = "cost_sats"
    """Unknown ones last, whichever the order."""
    LATENCY = "latency_ms"


class Filter(msgspec.Struct, frozen=True):
    """Which requests are meant: those that all of it holds for. None: whichever.

    In the texts, ``""`` stands for none: requests that nobody served, for which no policy held, or without a key.
    """

    since: float | None = None
    """Receipt, in seconds since the epoch; part of the range."""
    until: float | None = None
    """Likewise, and not part of it."""
    model: str | None = None
    provider: str | None = None
    policy: str | None = None
    key_id: str | None = None
    tier: str | None = None
    success: bool | None = None
    streaming: bool | None = None
    status: int | None = None
    """The HTTP status that the caller was given, or would have been: 200 for a success, whose row has none."""
    min_cost: MicroSats | None = None
    """Requests that are known to have cost as much."""


class Spread(msgspec.Struct, frozen=True):
    """How a duration is distributed, in milliseconds. The percentiles are within 1 % of the true ones."""

    mean: float
    p50: float
    p95: float
    p99: float


class Figures(msgspec.Struct, frozen=True):
    """What requests came to, together. Amounts are exact sums of what the rows say; unknown costs are not in them."""

    requests: int = 0
    successes: int = 0
    streaming: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: MicroSats = MicroSats(0)
    cost_usd: NanoUsd = NanoUsd(0)
    failed_cost: MicroSats = MicroSats(0)
    """What failed attempts cost: not part of ``cost``."""
    failed_cost_usd: NanoUsd = NanoUsd(0)
    provider_cost: MicroSats = MicroSats(0)
    """What providers themselves say that they charged."""
    estimated: int = 0
    """Requests whose tokens, and so whose cost, were estimated."""
    unpriced: int = 0
    """Successes whose cost is known in no currency."""
    latency: Spread | None = None
    """Of all requests; None where there are none."""
    ttft: Spread | None = None
    """Of those that have one."""
    tokens_per_second: float | None = None
    """Output tokens of successful requests by the time in which they were written: the stream's, or else the latency.
    None where there are none."""
    errors: Mapping[str, int] = {}
    """How many requests failed, by the code of their error."""


class Statistics(msgspec.Struct, frozen=True):
    """The figures of all that was asked for, and of its parts, by name; ``""`` for those without."""

    total: Figures
    groups: Mapping[str, Figures] = {}


class Point(msgspec.Struct, frozen=True):
    """The figures of one bucket."""

    start: int
    """Seconds since the epoch: a whole minute, hour or day in UTC, also where the range begins within it."""
    figures: Figures


class Saved(msgspec.Struct, frozen=True):
    """What was spent, and what it would have been at the baseline: ``baseline - cost - failed_cost`` was saved.

    A request that has no baseline, or whose cost is not known, saves nothing: it counts alike on both sides.
    """

    requests: int = 0
    compared: int = 0
    """Those that have a cost and a baseline."""
    cost: MicroSats = MicroSats(0)
    baseline: MicroSats = MicroSats(0)
    failed_cost: MicroSats = MicroSats(0)
    """What failed attempts cost: not part of ``cost``."""
    cost_usd: NanoUsd = NanoUsd(0)
    baseline_usd: NanoUsd = NanoUsd(0)
    failed_cost_usd: NanoUsd = NanoUsd(0)


class Savings(msgspec.Struct, frozen=True):
    total: Saved
    parts: Mapping[str, Saved] = {}
    """By model or provider (``""``: none), or by day, as ``2026-11-21`` in UTC, in order and without gaps."""
