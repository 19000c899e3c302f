"""The OpenAI Responses dialect (``POST /v1/responses``) in one place: for callers who speak it, and for providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from arbstr.dialects import sse
from arbstr.dialects.body import Fields
from arbstr.dialects.envelopes import error_envelope, failure_from_response
from arbstr.dialects.metadata import cost_fields
from arbstr.dialects.responses.answer import ResponseStream, error_event, whole_response
from arbstr.dialects.responses.convert import StreamCollector, whole_to_stream
from arbstr.dialects.responses.read import read_conversation
from arbstr.dialects.responses.request import encode_same, parse_responses
from arbstr.dialects.responses.stream import ResponsesDecoder, parse_whole
from arbstr.dialects.responses.write import write_responses
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import GatewayError, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest

__all__ = [
    "ResponseStream",
    "ResponsesCaller",
    "ResponsesDecoder",
    "ResponsesProvider",
    "StreamCollector",
    "encode_same",
    "parse_responses",
    "whole_to_stream",
    "with_cost",
]

_decode = msgspec.json.Decoder(Fields).decode
_encode = msgspec.json.Encoder().encode


class ResponsesCaller:
    """Callers of the Responses API; see :class:`~arbstr.dialects.translate.CallerDialect`."""

    name = "responses"
    end_mark = b""
    """Nothing follows the event that ends a response; one that lacks it cannot be given it."""

    def parse(self, body: bytes) -> ChatRequest:
        return parse_responses(body)

    def read(self, request: ChatRequest) -> Conversation:
        return read_conversation(request)

    def stream(self, request: ChatRequest, *, request_id: str, model: str, created: int) -> ResponseStream:
        return ResponseStream(request, request_id=request_id, model=model, created=created)

    def whole(
        self, request: ChatRequest, frames: Sequence[Frame], *, request_id: str, model: str, created: int
    ) -> bytes:
        return whole_response(request, frames, request_id=request_id, model=model, created=created)

    def error(self, error: GatewayError) -> bytes:
        return error_envelope(error)

    def error_event(self, error: GatewayError) -> bytes:
        return error_event(error)

    def with_cost(self, frame: Frame, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        return with_cost(frame, cost_sats, cost_usd)

    def encode_same(self, request: ChatRequest, *, model: str, stream_options: bool = True) -> bytes:
        return encode_same(request, model=model)


class ResponsesProvider:
    """Providers of the Responses API; see :class:`~arbstr.dialects.translate.ProviderDialect`."""

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> Written:
        return write_responses(conversation, model=model, stream=stream)

    def decoder(self, *, events: bool) -> ResponsesDecoder:
        return ResponsesDecoder(events=events)

    def parse_whole(self, body: bytes, *, events: bool) -> Frame:
        return parse_whole(body, events=events)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
        return failure_from_response(status, headers, body, now_epoch=now_epoch)


def with_cost(frame: Frame, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
    """The bytes of the event that ends a stream, with what the answer cost in the usage of its response.

    The values of all other fields stay as their bytes. An event without a usage object is returned as it is.
    """
    try:
        fields = _decode(frame.data)
        response = _decode(fields["response"])
        usage = _decode(response["usage"])
    except (KeyError, ValueError, RecursionError):
        return frame.raw
    usage |= {name: msgspec.Raw(_encode(value)) for name, value in cost_fields(cost_sats, cost_usd).items()}
    response["usage"] = msgspec.Raw(_encode(usage))
    data = _encode({**fields, "response": response})
    if frame.data in frame.raw:
        return frame.raw.replace(frame.data, data, 1)
    return sse.event(data.replace(b"\n", b" "), name=b"response.completed")  # it came in several lines
