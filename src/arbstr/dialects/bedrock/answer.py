"""What Converse answers with: whole answers, and the numbers and finishes that streams have in common with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.envelopes import is_error, what_came
from arbstr.dialects.openai.usage import MOST_TOKENS
from arbstr.domain.answer import (
    Begin,
    Event,
    Finish,
    FinishReason,
    TextDelta,
    ThinkingDelta,
    ToolCallBegin,
    ToolCallDelta,
)
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage

_FINISHES = {
    "end_turn": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "guardrail_intervened": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
    "refusal": FinishReason.REFUSAL,
    "pause_turn": FinishReason.PAUSE,
}
_FAILED = frozenset({"malformed_model_output", "malformed_tool_use"})
"""The model went astray: what there is of the answer is none. It happens to this request, and is nobody's health."""

_Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class _Inputs(msgspec.Struct, gc=False):
    """The arguments of one block as their bytes, so that no number loses a digit."""

    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Block(msgspec.Struct, gc=False, rename={"tool_use": "toolUse"}):
    tool_use: _Inputs | None = None


class _Message(msgspec.Struct, gc=False):
    content: list[_Block] = []


class _Output(msgspec.Struct, gc=False):
    message: _Message


class _Whole(msgspec.Struct, gc=False):
    output: _Output


_decode_inputs = msgspec.json.Decoder(_Whole).decode


def finish_of(event: _Json) -> Finish | UpstreamFailure | None:
    """The finish in a whole answer or a ``messageStop``: a failure where the model went astray, None where it has none.

    A reason that is not known yet is a plain stop.
    """
    reason = lenient.text(event.get("stopReason"))
    if reason is None:
        return None
    if reason in _FAILED:
        return UpstreamFailure(FailureKind.TRANSIENT, f"The model stopped without an answer ({reason}).", code=reason)
    more = event.get("additionalModelResponseFields")
    sequence = lenient.text(more.get("stop_sequence")) if type(more) is dict else None
    return Finish(_FINISHES.get(reason, FinishReason.STOP), sequence if reason == "stop_sequence" else None)


def read_usage(value: Any) -> Usage | None:
    """The counts in a ``usage``, or None where they cannot be used. ``inputTokens`` leaves out what the cache held."""
    if type(value) is not dict:
        return None
    read, written = _count(value, "cacheReadInputTokens"), _count(value, "cacheWriteInputTokens")
    input_tokens = _count(value, "inputTokens") + read + written
    output_tokens = _count(value, "outputTokens")
    if input_tokens + output_tokens == 0:
        return None
    hour = min(_written_for_an_hour(value.get("cacheDetails")), written) if written else 0
    return Usage(input_tokens, output_tokens, read, cache_write_tokens=written, cache_write_1h_tokens=hour)


def _written_for_an_hour(details: Any) -> int:
    entries = details if type(details) is list else ()
    return sum([_count(one, "inputTokens") for one in entries if type(one) is dict and one.get("ttl") == "1h"])


def _count(value: _Json, name: str) -> int:
    count = value.get(name)
    return count if type(count) is int and 0 <= count <= MOST_TOKENS else 0


def parse_whole(body: bytes, *, events: bool) -> Frame:
    """A whole answer. Raises UpstreamFailure for what is none, or is an error."""
    value = lenient.read_or_none(body)
    if type(value) is not dict:
        raise UpstreamFailure(FailureKind.UNREADABLE, f"The provider's answer {what_came(body)}")
    output = value.get("output")
    message = output.get("message") if type(output) is dict else None
    if type(message) is not dict and (is_error(body) or "stopReason" not in value):
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer has no message.")
    finish = finish_of(value)
    if isinstance(finish, UpstreamFailure):
        raise finish
    content = message.get("content") if type(message) is dict else None
    generated = list(_events(content if type(content) is list else [], _inputs(body)))
    if finish is None and not generated:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer is empty.")
    finish = finish or Finish(FinishReason.STOP)
    size = sum(map(size_of, generated))
    shown: tuple[Event, ...] = (Begin(), *generated, finish) if events else ()
    return Frame(body, b"", True, size, finish.reason.value, read_usage(value.get("usage")), done=True, events=shown)


def size_of(event: Event) -> int:
    """UTF-8 bytes of generated text."""
    match event:
        case TextDelta(text=text) | ThinkingDelta(text=text):
            return lenient.size(text)
        case ToolCallBegin(name=name):
            return lenient.size(name)
        case ToolCallDelta(arguments=arguments):
            return lenient.size(arguments)
        case _:
            return 0


def _events(content: list[Any], inputs: list[str | None]) -> Iterator[Event]:
    calls = 0
    for position, block in enumerate(content):
        if type(block) is not dict:
            continue
        if text := lenient.text(block.get("text")):
            yield TextDelta(text)
        if type(block.get("reasoningContent")) is dict:
            yield from _thinking(block["reasoningContent"])
        if type(cited := block.get("citationsContent")) is dict and type(cited.get("content")) is list:
            texts = (lenient.text(one.get("text")) for one in cited["content"] if type(one) is dict)
            yield from (TextDelta(text) for text in texts if text)
        if type(use := block.get("toolUse")) is dict:
            arguments = inputs[position] if position < len(inputs) else None
            if arguments is None:
                arguments = _encode(use.get("input") or {}).decode()
            name = lenient.text(use.get("name")) or ""
            yield ToolCallBegin(calls, lenient.text(use.get("toolUseId")) or f"call_{calls}", name)
            yield ToolCallDelta(calls, arguments)
            calls += 1


def _thinking(reasoning: _Json) -> Iterator[Event]:
    said = reasoning.get("reasoningText")
    if type(said) is dict:
        if text := lenient.text(said.get("text")):
            yield ThinkingDelta(text)
        if signature := lenient.text(said.get("signature")):
            yield ThinkingDelta(signature=signature)
    if redacted := lenient.text(reasoning.get("redactedContent")):
        yield ThinkingDelta(redacted=redacted)


def _inputs(body: bytes) -> list[str | None]:
    """By the block's position, the arguments as the model wrote them. None of them where the body is badly formed."""
    try:
        blocks = _decode_inputs(body).output.message.content
        return [None if block.tool_use is None else _compact(bytes(block.tool_use.input)) for block in blocks]
    except (ValueError, RecursionError):
        return []


def _compact(arguments: bytes) -> str:
    return msgspec.json.format(arguments, indent=-1).decode()
