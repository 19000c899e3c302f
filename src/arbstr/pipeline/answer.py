"""An answer that has begun: what the attempts hand to the relay."""

from __future__ import annotations

from types import TracebackType

from arbstr.domain.events import Frame
from arbstr.domain.routing import Deployment
from arbstr.pipeline.state import Circuit
from arbstr.policy.breaker import Permit
from arbstr.ports import Opening, Upstream


class Answer:
    """An upstream at its commit point, as an async context manager: leaving it frees the connection and the permit."""

    __slots__ = ("_opening", "circuit", "deployment", "ended", "held", "idle", "permit", "upstream")

    def __init__(
        self,
        deployment: Deployment,
        opening: Opening,
        upstream: Upstream,
        circuit: Circuit,
        permit: Permit,
        held: list[Frame],
        ended: bool,
    ) -> None:
        self.deployment = deployment
        self.circuit = circuit
        self.upstream = upstream
        self.permit = permit
        self.held = held
        """What was read up to the commit point, and with it."""
        self.ended = ended
        """The upstream has ended cleanly: there is nothing more to read."""
        self.idle = deployment.timeouts.idle
        self._opening = opening

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.permit.abandon()
        await self._opening.__aexit__(kind, error, trace)
