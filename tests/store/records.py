"""What the tests of this room build on: records, a place for problems, and child processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import msgspec

from arbstr.domain.money import MicroSats
from arbstr.domain.record import AttemptRecord, CostSource, RequestRecord

ROOT = Path(__file__).resolve().parents[2]


def request(**changes: Any) -> RequestRecord:
    """A plain success with an id of its own, with whatever a test wants different."""
    record = RequestRecord(
        correlation_id=str(uuid.uuid4()),
        timestamp=1_800_000_000.0,
        model="gpt-4o",
        provider="alpha",
        upstream_model="gpt-4o-2024-08-06",
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
        attempts=(attempt(),),
    )
    return msgspec.structs.replace(record, **changes)


def attempt(**changes: Any) -> AttemptRecord:
    record = AttemptRecord(
        request_id="the request's id",
        provider="alpha",
        model="gpt-4o-2024-08-06",
        started_at=1_800_000_000.0,
        duration_ms=240.0,
        status=200,
        cost=MicroSats(1_600_000),
    )
    return msgspec.structs.replace(record, **changes)


class Problems:
    """Keeps what the log reports, and lets a test wait for the next report."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._news = threading.Condition()

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        with self._news:
            self.told.append((event, fields))
            self._news.notify_all()

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.told]

    def wait_for(self, event: str) -> dict[str, Any]:
        """The fields of the first report of ``event``; waits until it has come."""
        with self._news:
            assert self._news.wait_for(lambda: event in self.events, timeout=20), self.told
        return self.told[self.events.index(event)][1]


def child(module: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own that runs ``tests.store.<module>``, to be talked to by pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.store.{module}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
