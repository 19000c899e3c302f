"""May this request come in? Before its body is read: is there room. After it: what did the caller wish."""

from __future__ import annotations

import enum
from typing import TypeVar

from arbstr.domain.errors import Draining, InvalidRequest, Overloaded
from arbstr.domain.request import ChatRequest, Wishes
from arbstr.domain.routing import Commit, StreamMetadata
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.state import LiveState

Choice = TypeVar("Choice", bound=enum.Enum)


def enter(state: LiveState, exchange: Exchange) -> None:
    """Is there room? ``exchange`` is counted already. Raises Draining or Overloaded."""
    if state.draining:
        raise Draining("the gateway is stopping: send the request to another instance", retry_after=1.0)
    if len(state.in_flight) > exchange.snapshot.max_in_flight:
        raise Overloaded(
            f"{exchange.snapshot.max_in_flight} requests are in flight, which is this gateway's limit", retry_after=1.0
        )


def admit(request: ChatRequest, wishes: Wishes, exchange: Exchange) -> ChatRequest:
    """Take down what the caller asks for. Raises InvalidRequest for a wish that is none of the choices."""
    exchange.request = request
    route = exchange.snapshot.route_for(request.model)
    if route is not None:
        exchange.commit = route.commit
    if wishes.commit is not None:
        exchange.commit = _choice(Commit, wishes.commit, "X-Arbstr-Commit")
    if wishes.stream_metadata is not None:
        exchange.metadata = _choice(StreamMetadata, wishes.stream_metadata, "X-Arbstr-Stream-Metadata")
    return request


def _choice(kind: type[Choice], value: str, header: str) -> Choice:
    try:
        return kind(value.strip().lower())
    except ValueError:
        choices = ", ".join(each.value for each in kind)
        raise InvalidRequest(f"{header} is {value!r}, expected one of: {choices}", param=header) from None
