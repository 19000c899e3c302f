"""One client request while it is under way: what is known of it so far."""

from __future__ import annotations

import asyncio

import msgspec

from arbstr.dialects.translate import StreamWriter
from arbstr.domain.decision import Matched
from arbstr.domain.errors import GatewayError, UpstreamRejected
from arbstr.domain.identity import Key
from arbstr.domain.money import Cost, ExchangeRate
from arbstr.domain.record import AttemptRecord
from arbstr.domain.request import ChatRequest, Needs
from arbstr.domain.routing import Commit, Deployment, Plan, Snapshot, StreamMetadata
from arbstr.domain.usage import Usage
from arbstr.policy.budget import Hold
from arbstr.policy.limits import NO_SLOT, Slot, View
from arbstr.policy.terms import Ceiling


class Exchange(msgspec.Struct, eq=False):
    """Mutable, and owned by the task that handles the request; settled once, at its end."""

    request_id: str
    snapshot: Snapshot
    started: float
    """Monotonic instant of receipt."""
    received_at: float
    """Seconds since the epoch."""
    deadline: float
    """Monotonic instant at which everything ends."""
    task: asyncio.Task[object] | None
    """Who handles the request; None once it is over."""
    metadata: StreamMetadata
    endpoint: str = "chat.completions"
    writer: StreamWriter | None = None
    """Who writes a translated stream in the caller's dialect."""
    dropped: tuple[str, ...] = ()
    """Fields of the request that the serving provider's dialect could not say."""
    commit: Commit = Commit.FIRST_CONTENT
    request: ChatRequest | None = None
    rate: ExchangeRate | None = None
    """What a dollar was worth when the request came, where that was known."""
    key: Key | None = None
    """Whose request it is."""
    slot: Slot = NO_SLOT
    """What it has taken of its caller's limits."""
    limits_view: View | None = None
    """How its caller's limits stood when they refused it."""
    ceilings: tuple[Ceiling, ...] = ()
    hold: Hold | None = None
    """What it has reserved of budgets."""
    priced: tuple[Usage, Cost] | None = None
    """What was used, and what it cost: kept, as it is asked for more than once."""
    time_limit: float | None = None
    """Seconds that the caller gave it, where these are fewer than ours."""
    failed_cost: Cost | None = None
    """What failed attempts have cost."""
    policy: str | None = None
    matched: Matched | None = None
    """How the policy came to hold."""
    needs: Needs = Needs()
    plan: Plan | None = None
    attempts: list[AttemptRecord] = []
    """Attempts that are over; the one that serves is added when the exchange is settled."""
    answered_by: Deployment | None = None
    refused_by: Deployment | None = None
    """Whose failure was the last word."""
    abandoned: Deployment | None = None
    """Who was at work on it, and had not answered yet, when the request was interrupted."""
    attempt_started: tuple[float, float] = (0.0, 0.0)
    """When the attempt that serves began: monotonic, and seconds since the epoch."""
    committed_at: float | None = None
    """Monotonic instant of the commit point."""
    completed_at: float | None = None
    """Monotonic instant at which the caller had been given the whole answer: what happens later changes nothing."""
    usage: Usage | None = None
    """As the provider reported it."""
    content_bytes: int = 0
    malformed: int = 0
    error: GatewayError | None = None
    interruption: GatewayError | None = None

    @classmethod
    def begin(
        cls,
        request_id: str,
        snapshot: Snapshot,
        *,
        endpoint: str,
        now: float,
        received_at: float,
        rate: ExchangeRate | None,
    ) -> Exchange:
        """An exchange of the current task."""
        return cls(
            request_id,
            snapshot,
            now,
            received_at,
            now + snapshot.request_timeout,
            asyncio.current_task(),
            snapshot.stream_metadata,
            endpoint,
            rate=rate,
        )

    @property
    def deadline_text(self) -> str:
        """Which limit the deadline is, for whoever wants to know which one to change."""
        if self.time_limit is not None:
            return f"X-Arbstr-Timeout-Ms = {self.time_limit * 1000:g}"
        return f"timeout.request = {self.snapshot.request_timeout:g} s"

    def interrupt(self, reason: GatewayError) -> None:
        """Stop the request where it stands, for ``reason``. The first reason holds."""
        if self.interruption is None and self.task is not None:
            self.interruption = reason
            self.task.cancel()

    @property
    def passes_a_refusal(self) -> bool:
        """The caller is told what a provider said of its request: that provider has answered it."""
        return isinstance(self.error, UpstreamRejected)

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
