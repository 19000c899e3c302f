"""A record as a row, and a row as a JSON-ready entry."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from arbstr.domain.money import MicroSats, NanoUsd, sats, usd
from arbstr.domain.record import RequestRecord
from arbstr.policy.decision import compact, expand

Row = tuple[Any, ...]

MESSAGE_LIMIT = 500
"""Characters of an error message that are kept."""
NAME_LIMIT = 200
"""Characters of a model's or policy's name that are kept: callers choose them."""

REQUEST_COLUMNS = (
    "correlation_id",
    "timestamp",
    "endpoint",
    "model",
    "provider",
    "upstream_model",
    "policy",
    "key_id",
    "key_name",
    "streaming",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_sats",
    "cost_usd",
    "failed_cost_sats",
    "failed_cost_usd",
    "provider_cost_sats",
    "cost_source",
    "price_source",
    "sats_per_usd",
    "charged_at",
    "latency_ms",
    "ttft_ms",
    "stream_duration_ms",
    "success",
    "stream_status",
    "error_status",
    "error_message",
    "malformed_events",
    "tier",
    "error_code",
    "baseline_sats",
    "baseline_usd",
    "decision",
)
ATTEMPT_COLUMNS = (
    "request_id",
    "ordinal",
    "provider",
    "model",
    "started_at",
    "duration_ms",
    "status",
    "error",
    "cost_sats",
    "cost_usd",
)

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def clipped(record: RequestRecord) -> RequestRecord:
    """The record with its texts cut to what is kept, so that a queue of them is bounded in bytes too.

    What a provider or the configuration has named is short. Long are a model's name that a caller made up, and the
    messages of what went wrong; the usual record is looked at and given back.
    """
    if record.success and len(record.attempts) <= 1 and (record.model is None or len(record.model) <= NAME_LIMIT):
        return record
    return msgspec.structs.replace(
        record,
        model=_cut(record.model, NAME_LIMIT),
        policy=_cut(record.policy, NAME_LIMIT),
        error_message=_cut(record.error_message, MESSAGE_LIMIT),
        attempts=tuple(
            msgspec.structs.replace(attempt, error=_cut(attempt.error, MESSAGE_LIMIT)) for attempt in record.attempts
        ),
    )


def _cut(value: str | None, limit: int) -> str | None:
    return value if value is None or len(value) <= limit else value[: limit - 1] + "…"


def request_row(record: RequestRecord) -> Row:
    """The values of REQUEST_COLUMNS. Raises ValueError or OverflowError where the time is none."""
    return (
        storable(record.correlation_id),
        time_text(record.timestamp),
        record.endpoint,
        storable(record.model),
        storable(record.provider),
        storable(record.upstream_model),
        storable(record.policy),
        storable(record.key_id),
        storable(record.key_name),
        record.streaming,
        record.input_tokens,
        record.output_tokens,
        record.cached_input_tokens,
        record.cache_write_tokens,
        record.reasoning_tokens,
        _sats(record.cost),
        _usd(record.cost_usd),
        _sats(record.failed_cost),
        _usd(record.failed_cost_usd),
        _sats(record.provider_cost),
        record.cost_source.value,
        storable(record.price_source),
        record.sats_per_usd,
        None if record.charged_at is None else time_text(record.charged_at),
        round(record.latency_ms, 3),
        _milliseconds(record.ttft_ms),
        _milliseconds(record.stream_duration_ms),
        record.success,
        None if record.stream_status is None else record.stream_status.value,
        record.error_status,
        storable(record.error_message),
        record.malformed_events,
        storable(record.tier),
        storable(record.error_code),
        _sats(record.baseline_cost),
        _usd(record.baseline_cost_usd),
        None if record.decision is None else storable(compact(record.decision).decode()),
    )


def attempt_rows(record: RequestRecord) -> list[Row]:
    """The values of ATTEMPT_COLUMNS for each attempt of the request."""
    return [
        (
            storable(record.correlation_id),
            ordinal,
            storable(attempt.provider),
            storable(attempt.model),
            time_text(attempt.started_at),
            round(attempt.duration_ms, 3),
            attempt.status,
            storable(attempt.error),
            _sats(attempt.cost),
            _usd(attempt.cost_usd),
        )
        for ordinal, attempt in enumerate(record.attempts)
    ]


def entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ``requests`` as ``/v1/requests`` shows it."""
    return {
        "id": row["correlation_id"],
        "timestamp": row["timestamp"],
        "endpoint": row["endpoint"],
        "model": row["model"],
        "provider": row["provider"],
        "upstream_model": row["upstream_model"],
        "policy": row["policy"],
        "key_id": row["key_id"],
        "key_name": row["key_name"],
        "tier": row["tier"],
        "streaming": bool(row["streaming"]),
        "success": bool(row["success"]),
        "stream_status": row["stream_status"],
        "malformed_events": row["malformed_events"],
        "tokens": {
            "input": row["input_tokens"],
            "output": row["output_tokens"],
            "cached_input": row["cached_input_tokens"],
            "cache_write": row["cache_write_tokens"],
            "reasoning": row["reasoning_tokens"],
        },
        "cost": {
            "sats": row["cost_sats"],
            "usd": row["cost_usd"],
            "source": row["cost_source"],
            "provider_sats": row["provider_cost_sats"],
            "failed_sats": row["failed_cost_sats"],
            "failed_usd": row["failed_cost_usd"],
            "price_source": row["price_source"],
            "sats_per_usd": row["sats_per_usd"],
            "baseline_sats": row["baseline_sats"],
            "baseline_usd": row["baseline_usd"],
        },
        "timing": {
            "latency_ms": row["latency_ms"],
            "ttft_ms": row["ttft_ms"],
            "stream_duration_ms": row["stream_duration_ms"],
        },
        "error": None
        if row["success"]
        else {"status": row["error_status"], "code": row["error_code"], "message": row["error_message"]},
    }


def entry_with_attempts(row: Mapping[str, Any], attempts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of ``requests`` with its decision and its rows of ``attempts``, as ``/v1/requests/{id}`` shows it."""
    return entry(row) | {
        "decision": None if row["decision"] is None else expand(row["decision"]),
        "attempts": [
            {
                "provider": attempt["provider"],
                "model": attempt["model"],
                "status": attempt["status"],
                "error": attempt["error"],
                "started_at": attempt["started_at"],
                "duration_ms": attempt["duration_ms"],
                "cost": attempt["cost_sats"],
                "cost_usd": attempt["cost_usd"],
            }
            for attempt in attempts
        ],
    }


def time_text(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, always with six decimals, so that texts sort as the times do."""
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second_text(whole)}.{microseconds:06d}Z"


@functools.lru_cache(maxsize=128)  # a batch is a few seconds at most, and datetime is the dearest part of a row
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def storable(value: str | None) -> str | None:
    """The text with what SQLite cannot keep, or shows cut off, replaced by U+FFFD: lone surrogates and NUL."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return _UNSTORABLE.sub("\ufffd", value)


def _sats(amount: MicroSats | None) -> float | None:
    return None if amount is None else sats(amount)


def _usd(amount: NanoUsd | None) -> float | None:
    return None if amount is None else usd(amount)


def _milliseconds(duration: float | None) -> float | None:
    return None if duration is None else round(duration, 3)
