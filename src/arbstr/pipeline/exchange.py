"""One client request while it is under way: what is known of it so far."""

from __future__ import annotations

import asyncio

from arbstr.domain.errors import CallerLeft, GatewayError
from arbstr.domain.record import AttemptRecord
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Commit, Deployment, Plan, Snapshot
from arbstr.domain.usage import Usage


class Exchange:
    """Mutable, and owned by the task that handles the request; settled once, at its end."""

    __slots__ = (
        "answered_by",
        "attempt_started",
        "attempts",
        "commit",
        "committed_at",
        "complete",
        "content_bytes",
        "deadline",
        "error",
        "interruption",
        "malformed",
        "metadata",
        "plan",
        "policy",
        "received_at",
        "request",
        "request_id",
        "snapshot",
        "started",
        "task",
        "usage",
    )

    def __init__(self, request_id: str, snapshot: Snapshot, *, now: float, received_at: float) -> None:
        self.request_id = request_id
        self.snapshot = snapshot
        self.started = now
        """Monotonic instant of receipt."""
        self.received_at = received_at
        """Seconds since the epoch."""
        self.deadline = now + snapshot.request_timeout
        self.task: asyncio.Task[object] | None = asyncio.current_task()
        self.request: ChatRequest | None = None
        self.commit = Commit.FIRST_CONTENT
        self.metadata = snapshot.stream_metadata
        self.policy: str | None = None
        self.plan: Plan | None = None
        self.attempts: list[AttemptRecord] = []
        """Attempts that are over; the one that serves is added when the exchange is settled."""
        self.answered_by: Deployment | None = None
        self.attempt_started = (now, received_at)
        """When the attempt that serves began: monotonic, and seconds since the epoch."""
        self.committed_at: float | None = None
        """Monotonic instant of the commit point."""
        self.complete = False
        """The caller has had the whole answer: whatever happens now changes nothing for it."""
        self.usage: Usage | None = None
        """As the provider reported it."""
        self.content_bytes = 0
        self.malformed = 0
        self.error: GatewayError | None = None
        self.interruption: GatewayError | None = None

    def interrupt(self, reason: GatewayError) -> None:
        """Stop the request where it stands, for ``reason``. The first reason holds."""
        if self.interruption is None and self.task is not None:
            self.interruption = reason
            self.task.cancel()

    def caller_left(self) -> None:
        self.interrupt(CallerLeft("the caller left before the answer was complete"))

    @property
    def streaming(self) -> bool:
        return self.request is not None and self.request.stream

    def retries(self) -> str | None:
        """Failed attempts by provider, in order of first appearance: ``"2/alpha, 1/beta"``; None where none failed."""
        counts: dict[str, int] = {}
        for attempt in self.attempts:
            if attempt.error is not None:
                counts[attempt.provider] = counts.get(attempt.provider, 0) + 1
        return ", ".join(f"{count}/{provider}" for provider, count in counts.items()) or None
