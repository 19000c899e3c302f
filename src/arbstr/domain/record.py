"""What is remembered of a request: the rows of the request log."""

from __future__ import annotations

import enum

import msgspec

from arbstr.domain.decision import Decision
from arbstr.domain.money import MicroSats, NanoUsd


class StreamStatus(enum.Enum):
    COMPLETE = "complete"
    TRUNCATED = "truncated"
    CLIENT_DISCONNECT = "client_disconnect"


class CostSource(enum.Enum):
    PROVIDER = "provider"
    """Tokens as the provider counted them."""
    ESTIMATED = "estimated"
    """Tokens as this gateway estimated them: the provider gave no usable numbers."""
    NONE = "none"
    """No cost is known."""


class AttemptRecord(msgspec.Struct, frozen=True):
    """One upstream try. ``status`` and ``error`` are None where there was none."""

    request_id: str
    provider: str
    model: str
    """The name that the provider knows the model by."""
    started_at: float
    """Seconds since the epoch, UTC."""
    duration_ms: float
    status: int | None = None
    """The provider's HTTP status."""
    error: str | None = None
    """``kind: message``, sanitised."""
    cost: MicroSats | None = None
    cost_usd: NanoUsd | None = None


class RequestRecord(msgspec.Struct, frozen=True):
    """One client request, whatever happened to it. Written once, when it is over."""

    correlation_id: str
    timestamp: float
    """Receipt, in seconds since the epoch, UTC."""
    model: str | None
    """As asked for; None where the body could not be read."""
    provider: str | None
    upstream_model: str | None
    policy: str | None
    key_id: str | None
    streaming: bool
    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int | None
    reasoning_tokens: int | None
    cost: MicroSats | None
    """None if unknown, never a silent 0."""
    provider_cost: MicroSats | None
    cost_source: CostSource
    latency_ms: float
    """Receipt to last byte."""
    ttft_ms: float | None
    """Receipt to the first content-bearing event."""
    stream_duration_ms: float | None
    """First content-bearing event to the end."""
    success: bool
    stream_status: StreamStatus | None
    status: int
    """The HTTP status that the caller was given, or would have been: 499 if it left, the error's if a stream broke."""
    error_message: str | None
    malformed_events: int
    attempts: tuple[AttemptRecord, ...]
    endpoint: str = "chat.completions"
    cost_usd: NanoUsd | None = None
    """The same cost in dollars; each is None where the other is all that is known."""
    cache_write_tokens: int | None = None
    key_name: str | None = None
    """The key's name when the request was made."""
    sats_per_usd: float | None = None
    """The exchange rate that was used, where one was known."""
    price_source: str | None = None
    """Where the rates of the provider that served are from, with their date where it is known."""
    charged_at: float | None = None
    """The instant whose budget windows the request is charged to: seconds since the epoch."""
    failed_cost: MicroSats | None = None
    """What failed attempts cost, where they cost something: not part of ``cost``."""
    failed_cost_usd: NanoUsd | None = None
    tier: str | None = None
    """Of the provider that served."""
    error_code: str | None = None
    """The code of the error that the caller was given, or would have been."""
    decision: Decision | None = None
    """Why it went where it went; None where nothing was decided."""
    baseline_cost: MicroSats | None = None
    """What the same usage would have cost at the decision's baseline."""
    baseline_cost_usd: NanoUsd | None = None

    @property
    def error_status(self) -> int | None:
        return None if self.success else self.status
