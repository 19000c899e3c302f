"""Records for the tests of this room: a plain success, with whatever a test wants different."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.domain.money import MicroSats
from arbstr.domain.record import AttemptRecord, CostSource, RequestRecord

SUCCESS = RequestRecord(
    correlation_id="0c0ffee0-0000-4000-8000-000000000001",
    timestamp=1_800_000_000.0,
    model="gpt-4o",
    provider="alpha",
    upstream_model="gpt-4o",
    policy=None,
    key_id=None,
    streaming=False,
    input_tokens=100,
    output_tokens=20,
    cached_input_tokens=0,
    reasoning_tokens=0,
    cost=MicroSats(1_600_000),
    provider_cost=None,
    cost_source=CostSource.PROVIDER,
    latency_ms=250.0,
    ttft_ms=None,
    stream_duration_ms=None,
    success=True,
    stream_status=None,
    status=200,
    error_message=None,
    malformed_events=0,
    attempts=(),
)


def request(**changes: Any) -> RequestRecord:
    return msgspec.structs.replace(SUCCESS, **changes)


def attempt(provider: str = "alpha", error: str | None = None, status: int | None = 200) -> AttemptRecord:
    return AttemptRecord(
        request_id=SUCCESS.correlation_id,
        provider=provider,
        model="gpt-4o",
        started_at=1_800_000_000.0,
        duration_ms=12.5,
        status=status,
        error=error,
    )
