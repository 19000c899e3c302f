"""Requests that never became one."""

from __future__ import annotations

from arbstr.edge.limits import Refusal
from arbstr.ports import Clock, Log
from arbstr.telemetry.metrics import Metrics

REFUSAL_LINES = 5
"""Lines a second, at most, about requests that were refused before they could be read."""


class Refusals:
    """Counts the requests that the server refused by itself, and tells of some: an attack must not fill the log."""

    def __init__(self, log: Log, clock: Clock, metrics: Metrics) -> None:
        self._log = log
        self._clock = clock
        self._metrics = metrics
        self._second = 0
        self._lines = 0

    def __call__(self, refusal: Refusal, request_id: str) -> None:
        self._metrics.refused(refusal.status)
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= REFUSAL_LINES:
            self._log.warning(
                "request refused unread", request_id=request_id, status=refusal.status, error=refusal.message
            )
