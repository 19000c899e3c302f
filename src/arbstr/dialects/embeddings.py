"""Callers of ``POST /v1/embeddings``, whose providers speak the same dialect: what is read beside the relay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from arbstr.dialects import body as bodies
from arbstr.dialects import lenient
from arbstr.dialects.chat import ChatProvider
from arbstr.dialects.completions import measure
from arbstr.dialects.envelopes import error_in_answer, is_error, what_came
from arbstr.dialects.openai.caller import OpenAICaller
from arbstr.dialects.openai.usage import read_usage
from arbstr.dialects.translate import StreamWriter, Written
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import FailureKind, InvalidRequest, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage


class _Answer(msgspec.Struct, gc=False):
    """Vectors are left as their bytes: an answer can have megabytes of them."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Answer).decode


def parse_embeddings(body: bytes) -> ChatRequest:
    """The request in ``body``, never a stream. Raises :class:`InvalidRequest`."""
    return bodies.parse(body, _request)


def _request(whole: dict[str, Any], fields: bodies.Fields) -> ChatRequest:
    found = whole.get("input")
    _, input_bytes = measure(found, "input")
    fields.pop("stream", None)  # some callers send it everywhere; here it says nothing
    texts = found if type(found) is list else [found]
    return ChatRequest(
        model=bodies.model_name(whole.get("model")),
        stream=False,
        fields=fields,
        input_bytes=input_bytes,
        last_user_text=texts[-1] if type(texts[-1]) is str else "",
        max_tokens=0,  # vectors are not charged as output
        dialect="embeddings",
    )


def parse_whole(body: bytes) -> Frame:
    """A whole answer, as one frame with its usage. Raises :class:`~arbstr.domain.errors.UpstreamFailure` for what is
    none: an error inside a 200 as its own code says, anything else without vectors as UNREADABLE."""
    try:
        answer = _read(body)
    except ValueError:
        raise UpstreamFailure(FailureKind.UNREADABLE, f"The provider's answer {what_came(body)}") from None
    vectors = bytes(answer.data).strip()
    if answer.error or (vectors[:1] != b"[" and is_error(body)):
        raise error_in_answer(body)
    if vectors[:1] != b"[" or not vectors[1:-1].strip():
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer has no data.")
    return Frame(body, b"", True, usage=_usage(answer.usage), done=True)


def _usage(value: Any) -> Usage | None:
    """There is nothing but input; some (Voyage) say only how much there was in all."""
    if type(value) is dict and "prompt_tokens" not in value and "total_tokens" in value:
        value = {**value, "prompt_tokens": value["total_tokens"]}
    return read_usage(value)


def _read(body: bytes) -> _Answer:
    try:
        return _decode(body)
    except (ValueError, RecursionError):
        value = lenient.read(body)
    if type(value) is not dict:
        raise ValueError("not an object")
    data = value.get("data")
    listed = b"[0]" if type(data) is list and data else b"null"
    return _Answer(msgspec.Raw(listed), value.get("usage"), value.get("error"))


class EmbeddingsProvider(ChatProvider):
    """A provider that is asked by ``/embeddings``, by callers of the same dialect alone."""

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> Written:
        _refuse()

    def parse_whole(self, body: bytes, *, events: bool) -> Frame:
        return parse_whole(body)


class EmbeddingsCaller(OpenAICaller):
    """A caller of ``/v1/embeddings``: a :class:`~arbstr.dialects.translate.CallerDialect` whose requests cannot be
    read as conversations, so that nothing else speaks for it."""

    name = "embeddings"

    def parse(self, body: bytes) -> ChatRequest:
        return parse_embeddings(body)

    def read(self, request: ChatRequest) -> Conversation:
        _refuse()

    def stream(self, request: ChatRequest, *, request_id: str, model: str, created: int) -> StreamWriter:
        _refuse()

    def whole(
        self, request: ChatRequest, frames: Sequence[Frame], *, request_id: str, model: str, created: int
    ) -> bytes:
        _refuse()


def _refuse() -> NoReturn:
    raise InvalidRequest("Embeddings can only be had from a provider that offers them in OpenAI's way.", param="model")
