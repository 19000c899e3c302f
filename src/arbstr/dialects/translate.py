"""What a dialect offers to those who translate: two protocols, one for each side.

A caller's dialect is parsed into a ChatRequest, and where the provider speaks another one, read into a Conversation
and answered from events. A provider's dialect is written from a Conversation, and its answers are read into frames
with events. So the cost of a new dialect is its own two halves, not a pair with every other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import GatewayError, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest


class Written(msgspec.Struct, frozen=True):
    """A request in a provider's dialect."""

    body: bytes
    dropped: tuple[str, ...] = ()
    """What the conversation has and this dialect cannot say, by OpenAI's name of the field (``seed``, ``logprobs``)."""


class Decoder(Protocol):
    """A stream in a provider's dialect, as frames. Bytes may come in any pieces; the frames do not depend on them.

    Raises UpstreamFailure (UNREADABLE) only for what cannot be framed at all; whatever else is wrong is in a frame.
    """

    def feed(self, data: bytes) -> list[Frame]: ...
    def finish(self) -> list[Frame]:
        """What the clean end of the body completes."""
        ...


class ProviderDialect(Protocol):
    """A format in which providers are asked and answer."""

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> Written:
        """The request. Raises InvalidRequest only for what no reader of this dialect could be told at all."""
        ...

    def decoder(self, *, events: bool) -> Decoder:
        """``events``: frames carry events, for a caller of another dialect; without, only what the gateway needs."""
        ...

    def parse_whole(self, body: bytes, *, events: bool) -> Frame:
        """A whole answer. Raises UpstreamFailure for what is none."""
        ...

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
        """Why a provider answered with ``status``, which is not 200. Header names are in lower case."""
        ...


class StreamWriter(Protocol):
    """A stream in a caller's dialect, made from a provider's frames."""

    def write(self, frame: Frame) -> bytes:
        """The bytes that a frame becomes; none for what says nothing in this dialect."""
        ...

    def end(self, *, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        """What closes the stream after the last frame: final events, usage, the end mark."""
        ...

    def error(self, error: GatewayError) -> bytes:
        """The end of a stream that broke."""
        ...


class CallerDialect(Protocol):
    """A format in which callers ask and are answered."""

    name: str
    """``openai``, ``completions``, ``embeddings``, ``responses`` or ``anthropic``."""

    end_mark: bytes
    """What a stream of this dialect ends with, for one that has finished without it."""

    def parse(self, body: bytes) -> ChatRequest:
        """The request, checked. Raises InvalidRequest with what was found and what is expected."""
        ...

    def encode_same(self, request: ChatRequest, *, model: str, stream_options: bool = True) -> bytes:
        """The request for a provider of the same dialect: as it came, but for ``model`` and what must be injected."""
        ...

    def with_cost(self, frame: Frame, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        """The bytes of an event of the same dialect that reports usage, with the cost in it."""
        ...

    def read(self, request: ChatRequest) -> Conversation:
        """What was asked for, in no vendor's words. Raises InvalidRequest for content that has no meaning."""
        ...

    def stream(self, request: ChatRequest, *, request_id: str, model: str, created: int) -> StreamWriter:
        """A writer for the answer to ``request``. ``model`` is the provider's name of it, ``created`` epoch seconds."""
        ...

    def whole(
        self, request: ChatRequest, frames: Sequence[Frame], *, request_id: str, model: str, created: int
    ) -> bytes:
        """The whole answer that the frames' events and usage add up to."""
        ...

    def error(self, error: GatewayError) -> bytes:
        """The body of an error answer."""
        ...

    def error_event(self, error: GatewayError) -> bytes:
        """The last event of a stream that broke."""
        ...
