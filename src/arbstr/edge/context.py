"""What endpoints are given: the gateway behind them, and the request before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from arbstr.domain.identity import Key
from arbstr.domain.secret import Secret
from arbstr.edge.address import CallerAddress
from arbstr.edge.respond import Receive, Scope, Send
from arbstr.pipeline.handle import Pipeline
from arbstr.ports import Clock, KeyStore, Log, RequestLog, StatsStore

BODIES_IN_FLIGHT = 1024 * 1024 * 1024
"""Bytes of request bodies that are held at once, at most; one more byte is a 503."""


@dataclass(slots=True)
class BodyBudget:
    """The memory that request bodies may take together. A body counts for twice its bytes: it is held as it came, and
    as it is sent on."""

    left: int = BODIES_IN_FLIGHT

    def take(self, size: int) -> bool:
        if size * 2 > self.left:
            return False
        self.left -= size * 2
        return True

    def give_back(self, size: int) -> None:
        self.left += size * 2


@dataclass(frozen=True, slots=True)
class Context:
    """Shared by all requests. ``started_at``: seconds since the epoch."""

    pipeline: Pipeline
    request_log: RequestLog
    stats: StatsStore
    clock: Clock
    log: Log
    expose_metrics: Callable[[], tuple[bytes, bytes]]
    """The exposition and its content type."""
    started_at: int
    key_store: KeyStore
    admin_key: Secret | None = None
    bodies: BodyBudget = field(default_factory=BodyBudget)


@dataclass(slots=True)
class Request:
    """One HTTP request on its way to an endpoint."""

    scope: Scope
    receive: Receive
    send: Send
    id: str
    headers: dict[bytes, bytes]
    """By lower-case name; of repeated ones the last."""
    address: CallerAddress
    credential: bytes | None
    """What it shows to be let in."""
    key: Key | None = None
    """Whose request it is, where keys are asked for."""
    operator: bool = False
    """It is the operator's, where keys are asked for."""
    rest: str = ""
    """What the path has beyond a route that ends in ``/``."""
