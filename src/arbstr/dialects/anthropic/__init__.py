"""The Anthropic dialect in one place: its two halves, and what the rooms below take from here beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arbstr.dialects import lenient
from arbstr.dialects.anthropic import answer as anthropic_answer
from arbstr.dialects.anthropic.answer import PING, STOP, StreamWriter
from arbstr.dialects.anthropic.convert import StreamCollector, whole_to_stream
from arbstr.dialects.anthropic.errors import error_body, error_event, failure_from_response
from arbstr.dialects.anthropic.models import API_VERSION
from arbstr.dialects.anthropic.read import read
from arbstr.dialects.anthropic.request import count_answer, count_tokens, encode_same, parse, parse_count
from arbstr.dialects.anthropic.stream import StreamDecoder, parse_whole
from arbstr.dialects.anthropic.usage import read_usage, usage_object
from arbstr.dialects.anthropic.write import write
from arbstr.dialects.metadata import with_cost
from arbstr.dialects.translate import CallerDialect, ProviderDialect, Written
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import GatewayError, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest

__all__ = [
    "API_VERSION",
    "CALLER",
    "KEY_HEADER",
    "MODELS_PATH",
    "PATH",
    "PING",
    "PROVIDER",
    "STOP",
    "AnthropicCaller",
    "AnthropicProvider",
    "StreamCollector",
    "count_answer",
    "count_tokens",
    "encode_same",
    "error_body",
    "error_event",
    "failure_from_response",
    "parse_count",
    "read_models",
    "read_usage",
    "usage_object",
    "whole_to_stream",
]


KEY_HEADER = "x-api-key"
PATH = "/v1/messages"
MODELS_PATH = "/v1/models?limit=1000"
"""Where the models are listed; a GET."""


def read_models(body: bytes) -> list[str]:
    """The names of the models in an answer of :data:`MODELS_PATH` that can still be asked.

    Raises ValueError for what is no such answer.
    """
    value = lenient.read(body)
    models = value.get("data") if type(value) is dict else None
    if type(models) is not list:
        raise ValueError("there is no list of models")
    return [
        name
        for model in models
        if type(model) is dict and (name := lenient.text(model.get("id"))) and model.get("lifecycle") != "retired"
    ]


class AnthropicProvider:
    """Implements :class:`~arbstr.dialects.translate.ProviderDialect`."""

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> Written:
        return write(conversation, model=model, stream=stream)

    def decoder(self, *, events: bool) -> StreamDecoder:
        return StreamDecoder(events=events)

    def parse_whole(self, body: bytes, *, events: bool) -> Frame:
        return parse_whole(body, events=events)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
        return failure_from_response(status, headers, body, now_epoch=now_epoch)


class AnthropicCaller:
    """Implements :class:`~arbstr.dialects.translate.CallerDialect`."""

    name = "anthropic"
    end_mark = STOP

    def parse(self, body: bytes) -> ChatRequest:
        return parse(body)

    def encode_same(self, request: ChatRequest, *, model: str, stream_options: bool = True) -> bytes:
        return encode_same(request, model=model)

    def with_cost(self, frame: Frame, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        return with_cost(frame, cost_sats, cost_usd)

    def read(self, request: ChatRequest) -> Conversation:
        return read(request)

    def stream(self, request: ChatRequest, *, request_id: str, model: str, created: int) -> StreamWriter:
        return StreamWriter(request_id=request_id, model=model)

    def whole(
        self, request: ChatRequest, frames: Sequence[Frame], *, request_id: str, model: str, created: int
    ) -> bytes:
        return anthropic_answer.whole(frames, request_id=request_id, model=model)

    def error(self, error: GatewayError, *, request_id: str | None = None) -> bytes:
        return error_body(error, request_id=request_id)

    def error_event(self, error: GatewayError, *, request_id: str | None = None) -> bytes:
        return error_event(error, request_id=request_id)


PROVIDER: ProviderDialect = AnthropicProvider()
CALLER: CallerDialect = AnthropicCaller()
