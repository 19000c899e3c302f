"""OpenAI chat as one end of a translation: providers of kind openai, and callers of ``/v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arbstr.dialects.chat.answer import ChatStreamWriter
from arbstr.dialects.chat.events import EventDecoder, parse_whole_events
from arbstr.dialects.chat.read import is_legacy, read_chat
from arbstr.dialects.chat.whole import whole_chat
from arbstr.dialects.chat.write import write_chat
from arbstr.dialects.envelopes import failure_from_response
from arbstr.dialects.openai.caller import OpenAICaller
from arbstr.dialects.openai.request import parse_chat
from arbstr.dialects.openai.stream import StreamDecoder, parse_whole
from arbstr.dialects.translate import Decoder, StreamWriter, Written
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest

OLLAMA_IGNORES = frozenset({"n", "tool_choice", "parallel_tool_calls", "user"})
"""Fields that Ollama takes without a word and without effect."""


class ChatProvider:
    """A provider that is asked by ``/chat/completions``: a :class:`~arbstr.dialects.translate.ProviderDialect`."""

    def __init__(self, *, stream_options: bool = True, ignores: frozenset[str] = frozenset()) -> None:
        self._stream_options = stream_options
        self._ignores = ignores

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> Written:
        return write_chat(
            conversation, model=model, stream=stream, stream_options=self._stream_options, ignores=self._ignores
        )

    def decoder(self, *, events: bool) -> Decoder:
        return EventDecoder() if events else StreamDecoder()

    def parse_whole(self, body: bytes, *, events: bool) -> Frame:
        return parse_whole_events(body) if events else parse_whole(body)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
        return failure_from_response(status, headers, body, now_epoch=now_epoch)


class ChatCaller(OpenAICaller):
    """A caller of ``/v1/chat/completions``: a :class:`~arbstr.dialects.translate.CallerDialect`."""

    name = "openai"

    def parse(self, body: bytes) -> ChatRequest:
        return parse_chat(body)

    def read(self, request: ChatRequest) -> Conversation:
        return read_chat(request)

    def stream(self, request: ChatRequest, *, request_id: str, model: str, created: int) -> StreamWriter:
        return ChatStreamWriter(
            id=f"chatcmpl-{request_id}",
            model=model,
            created=created,
            include_usage=request.include_usage,
            legacy=is_legacy(request),
        )

    def whole(
        self, request: ChatRequest, frames: Sequence[Frame], *, request_id: str, model: str, created: int
    ) -> bytes:
        id = f"chatcmpl-{request_id}"
        return whole_chat(frames, id=id, model=model, created=created, legacy=is_legacy(request))
