"""One line for each request, and one for each upstream try that failed."""

from __future__ import annotations

import logging

from arbstr.domain.money import sats, usd
from arbstr.domain.record import AttemptRecord, RequestRecord
from arbstr.telemetry.formats import Fields, Redact, Renderer, shorten, timestamp, to_the_microsecond
from arbstr.telemetry.lines import LineWriter


class RequestLines:
    """A :class:`~arbstr.ports.RecordSink` that prints.

    The event loop pays for an append to a queue (0.3 µs); the line itself is made in the writer's thread (2.5 µs). They
    do not go through structlog, whose chain costs several times that. Bodies are not in the records, so they
    cannot be in the lines. A request that ends in a 5xx is a warning, as is a failed attempt.
    """

    def __init__(
        self, writer: LineWriter, *, render: Renderer, redact: Redact = str, level: int = logging.INFO
    ) -> None:
        self._put = writer.put
        self._render = render
        self._redact = redact
        self._all = level <= logging.INFO
        self._failures = level <= logging.WARNING

    def attempt(self, record: AttemptRecord) -> None:
        if record.error is not None and self._failures:
            self._put(self._attempt_line, record)

    def request(self, record: RequestRecord) -> None:
        if self._all or (self._failures and _is_warning(record)):
            self._put(self._request_line, record)

    def _attempt_line(self, record: AttemptRecord) -> bytes:
        return self._render(
            {
                "timestamp": timestamp(record.started_at + record.duration_ms / 1000),
                "level": "warning",
                "event": "attempt failed",
                "request_id": record.request_id,
                "provider": record.provider,
                "model": shorten(record.model),
                "status": record.status,
                "error": shorten(self._redact(record.error or "")),
                "duration_ms": to_the_microsecond(record.duration_ms),
            }
        )

    def _request_line(self, record: RequestRecord) -> bytes:
        fields: Fields = {
            "timestamp": timestamp(record.timestamp + record.latency_ms / 1000),
            "level": "warning" if _is_warning(record) else "info",
            "event": "request",
            "request_id": record.correlation_id,
            "model": None if record.model is None else shorten(record.model),
            "provider": record.provider,
            "status": record.status,
            "input_tokens": record.input_tokens,
            "output_tokens": record.output_tokens,
            "cost_sats": None if record.cost is None else sats(record.cost),
            "latency_ms": to_the_microsecond(record.latency_ms),
            "streaming": record.streaming,
            "attempts": len(record.attempts),
        }
        if record.ttft_ms is not None:
            fields["ttft_ms"] = to_the_microsecond(record.ttft_ms)
        if record.stream_status is not None:
            fields["stream_status"] = record.stream_status.value
        if record.policy is not None:
            fields["policy"] = record.policy
        if record.cost_usd is not None:
            fields["cost_usd"] = usd(record.cost_usd)
        if record.key_id is not None:
            fields["key"], fields["key_id"] = record.key_name, record.key_id
        if len(record.attempts) > 1 or not record.success:
            _add_failure(fields, record, self._redact)
        return self._render(fields)


def _is_warning(record: RequestRecord) -> bool:
    return not record.success and record.status >= 500


def _add_failure(fields: Fields, record: RequestRecord, redact: Redact) -> None:
    """``retries`` as in the ``x-arbstr-retries`` header, and ``error``, where there were any."""
    failed: dict[str, int] = {}
    for attempt in record.attempts:
        if attempt.error is not None:
            failed[attempt.provider] = failed.get(attempt.provider, 0) + 1
    if failed:
        fields["retries"] = ", ".join(f"{count}/{provider}" for provider, count in failed.items())
    if record.error_message is not None:
        fields["error"] = shorten(redact(record.error_message))
