"""Tells the sinks what happened. One that fails is no reason for a request to fail, or for the others not to hear."""

from __future__ import annotations

from collections.abc import Sequence

from arbstr.domain.record import AttemptRecord, RequestRecord
from arbstr.ports import Log, RecordSink


class Publisher:
    """Implements :class:`~arbstr.ports.RecordSink` for many."""

    def __init__(self, sinks: Sequence[RecordSink], log: Log) -> None:
        self._sinks = sinks
        self._log = log

    def attempt(self, record: AttemptRecord) -> None:
        for sink in self._sinks:
            try:
                sink.attempt(record)
            except Exception as bug:
                self._log.error("a record was not taken", request_id=record.request_id, error=bug)

    def request(self, record: RequestRecord) -> None:
        for sink in self._sinks:
            try:
                sink.request(record)
            except Exception as bug:
                self._log.error("a record was not taken", request_id=record.correlation_id, error=bug)
