"""What endpoints are given: the gateway behind them, and the request before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arbstr.edge.respond import Receive, Scope, Send
from arbstr.pipeline.handle import Pipeline
from arbstr.ports import Clock, Log, RequestLog


@dataclass(frozen=True, slots=True)
class Context:
    """Shared by all requests. ``started_at``: seconds since the epoch."""

    pipeline: Pipeline
    request_log: RequestLog
    clock: Clock
    log: Log
    expose_metrics: Callable[[], tuple[bytes, bytes]]
    """The exposition and its content type."""
    started_at: int


@dataclass(slots=True)
class Request:
    """One HTTP request on its way to an endpoint."""

    scope: Scope
    receive: Receive
    send: Send
    id: str
    headers: dict[bytes, bytes]
    """By lower-case name; of repeated ones the last."""
    rest: str = ""
    """What the path has beyond a route that ends in ``/``."""
