"""The object of which Gemini's answers are made, as far as it is read, however badly it is formed."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.openai.usage import MOST_TOKENS
from arbstr.domain.usage import Usage


class Call(msgspec.Struct, gc=False):
    name: Any = None
    id: Any = None
    args: msgspec.Raw = msgspec.Raw(b"{}")


class Part(msgspec.Struct, gc=False, rename="camel"):
    text: Any = None
    thought: Any = None
    thought_signature: Any = None
    function_call: Call | None = None
    inline_data: Any = None


class Content(msgspec.Struct, gc=False):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: Content | None = None
    finish_reason: Any = None
    index: Any = None


class Answer(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[Candidate] | None = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    response_id: Any = None
    model_version: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(Answer).decode
_encode = msgspec.json.Encoder().encode


def read_usage(value: Any) -> Usage | None:
    """The counts in a ``usageMetadata``, or None where they cannot be used: they grow with each event.

    Input is the prompt and what tools of Google's own put into it, output is what was said and what was thought.
    ``totalTokenCount`` is the sum of them all; where it is the sum without the thoughts, as at Vertex AI at first,
    these are among what was said.
    """
    if type(value) is not dict:
        return None
    prompt = _count(value, "promptTokenCount")
    tools = _count(value, "toolUsePromptTokenCount")
    thoughts = _count(value, "thoughtsTokenCount")
    said = _count(value, "candidatesTokenCount")
    inside = thoughts <= said and _count(value, "totalTokenCount") == prompt + tools + said
    output = said if inside else said + thoughts
    if prompt + output == 0:
        return None
    cached = min(_count(value, "cachedContentTokenCount"), prompt)
    return Usage(prompt + tools, output, cached, thoughts)


def _count(value: dict[str, Any], name: str) -> int:
    count = value.get(name)
    return count if type(count) is int and 0 <= count <= MOST_TOKENS else 0


def read_answer(data: bytes) -> Answer:
    """What is needed of an answer. Raises ValueError where ``data`` is no JSON object."""
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        return _tolerant(lenient.read(data))


def _tolerant(value: Any) -> Answer:
    """As the typed decoding, but values of other types than agreed are as if absent."""
    if type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is not dict:
        raise ValueError("not an object")
    candidates = value.get("candidates")
    return Answer(
        [_candidate(one) for one in candidates if type(one) is dict] if type(candidates) is list else None,
        *(value.get(name) for name in ("promptFeedback", "usageMetadata", "responseId", "modelVersion", "error")),
    )


def _candidate(value: dict[str, Any]) -> Candidate:
    content = value.get("content")
    parts = content.get("parts") if type(content) is dict else None
    found = [_tolerant_part(one) for one in parts if type(one) is dict] if type(parts) is list else None
    return Candidate(Content(found), value.get("finishReason"), value.get("index"))


def _tolerant_part(value: dict[str, Any]) -> Part:
    call = value.get("functionCall")
    found = None
    if type(call) is dict:
        args = call.get("args")
        found = Call(call.get("name"), call.get("id"), msgspec.Raw(_encode(args if type(args) is dict else {})))
    return Part(value.get("text"), value.get("thought"), value.get("thoughtSignature"), found, value.get("inlineData"))
