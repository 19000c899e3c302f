"""Answers in OpenAI chat, made from events as a stream of chunks. Whole ones: :mod:`~arbstr.dialects.chat.whole`."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects.envelopes import error_event
from arbstr.dialects.metadata import cost_fields
from arbstr.dialects.openai.usage import merge_usage
from arbstr.dialects.sse import DONE
from arbstr.domain.answer import (
    Begin,
    Event,
    Finish,
    FinishReason,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallBegin,
    ToolCallDelta,
)
from arbstr.domain.errors import GatewayError
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage

_encode = msgspec.json.Encoder().encode

_FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.STOP_SEQUENCE: "stop",
    FinishReason.PAUSE: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.REFUSAL: "content_filter",
}

NO_ARGUMENTS = "{}"

MOST_HELD = 4 * 1024 * 1024
"""Characters of reasoning that are kept until its signature comes, which is only worth something beside its text."""


def json_of(value: object) -> bytes:
    """``value`` as JSON; what is no text in it (lone surrogates) as ``?``."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_clean(value))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def usage_object(usage: Usage, *, cost_sats: float | None = None, cost_usd: float | None = None) -> dict[str, Any]:
    """``usage`` as this API reports it; tokens written to a cache only where there are any."""
    prompt = {"cached_tokens": usage.cached_input_tokens}
    if usage.cache_write_tokens:
        prompt["cache_write_tokens"] = usage.cache_write_tokens
    said: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    return said | cost_fields(cost_sats, cost_usd)


class ChoiceState:
    """What is known of one choice while it is written."""

    __slots__ = ("bare", "called", "details", "finished", "held", "held_size", "refused")

    def __init__(self) -> None:
        self.called = self.refused = self.finished = False
        self.bare: set[int] = set()
        """Calls without arguments so far: they are given the empty object, for callers read them as JSON."""
        self.details = 0
        self.held: list[str] = []
        self.held_size = 0

    def think(self, text: str) -> None:
        self.held_size += len(text)
        if self.held_size <= MOST_HELD:
            self.held.append(text)

    def detail(self, event: ThinkingDelta) -> dict[str, Any]:
        """A signature with the text that it signs, or an encrypted piece, as the ``reasoning_details`` of OpenRouter:
        what a caller must give back for its reasoning to count."""
        index = self.details
        self.details += 1
        if event.redacted is not None:
            return {"type": "reasoning.encrypted", "data": event.redacted, "index": index}
        return {"type": "reasoning.text", "text": self.thought(), "signature": event.signature, "index": index}

    def thought(self) -> str:
        """The text since the last signature, once."""
        text = "".join(self.held) if self.held_size <= MOST_HELD else ""
        self.held, self.held_size = [], 0
        return text

    def reason(self, reason: FinishReason, *, legacy: bool) -> str:
        if reason is FinishReason.REFUSAL and self.refused:
            return "stop"  # the refusal says it
        said = _FINISH[reason]
        return "function_call" if legacy and said == "tool_calls" else said


class ChatStreamWriter:
    """A stream of chat completion chunks.

    ``legacy``: the caller gave ``functions``, which ``tools`` replaced, and is answered with a ``function_call``.
    """

    def __init__(self, *, id: str, model: str, created: int, include_usage: bool, legacy: bool = False) -> None:
        head = json_of({"id": id, "object": "chat.completion.chunk", "created": created, "model": model})
        self._head = b"data: " + head[:-1] + b',"choices":['
        self._tail = (b'],"usage":null}' if include_usage else b"]}") + b"\n\n"
        self._text_head = self._head + b'{"index":0,"delta":{"content":'
        self._text_tail = b'},"finish_reason":null}' + self._tail
        self._include_usage = include_usage
        self._legacy = legacy
        self._choices: dict[int, ChoiceState] = {}
        self._usage: Usage | None = None

    def write(self, frame: Frame) -> bytes:
        """The chunks of a frame's events. Its usage is kept for the end."""
        if frame.usage is not None:
            self._usage = merge_usage(self._usage, frame.usage)
        events = frame.events
        if len(events) == 1:
            event = events[0]
            if type(event) is TextDelta and not event.choice and 0 in self._choices:  # nearly all events
                try:
                    return self._text_head + _encode(event.text) + self._text_tail
                except UnicodeEncodeError:
                    pass
            return self._event(event)
        return b"".join([self._event(event) for event in events])

    def end(self, *, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        """The finishes that are missing, the usage if it was asked for and is known, and ``[DONE]``."""
        parts = [
            self._event(Finish(FinishReason.TOOL_CALLS if choice.called else FinishReason.STOP, choice=index))
            for index, choice in list(self._choices.items())
            if not choice.finished
        ]
        if self._include_usage and self._usage is not None:
            usage = json_of(usage_object(self._usage, cost_sats=cost_sats, cost_usd=cost_usd))
            parts.append(self._head + b'],"usage":' + usage + b"}\n\n")
        return b"".join(parts) + DONE

    def error(self, error: GatewayError) -> bytes:
        return error_event(error)

    def _event(self, event: Event) -> bytes:
        if isinstance(event, Begin):
            return b"" if 0 in self._choices else self._begin(0)
        index = event.choice
        choice = self._choices.get(index)
        begin = b""
        if choice is None:
            begin = self._begin(index)
            choice = self._choices[index]
        if type(event) is Finish:
            choice.finished = True
            bare = [self._event(ToolCallDelta(call, NO_ARGUMENTS, index)) for call in sorted(choice.bare)]
            return begin + b"".join(bare) + self._chunk(index, {}, choice.reason(event.reason, legacy=self._legacy))
        delta = self._delta(event, choice)
        return begin + self._chunk(index, delta) if delta else begin

    def _begin(self, index: int) -> bytes:
        self._choices[index] = ChoiceState()
        return self._chunk(index, {"role": "assistant", "content": ""})

    def _chunk(self, index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._head + json_of({"index": index, "delta": delta, "finish_reason": finish}) + self._tail

    def _delta(self, event: Event, choice: ChoiceState) -> dict[str, Any]:
        match event:
            case TextDelta():
                return {"content": event.text}
            case ThinkingDelta():
                choice.think(event.text)
                delta: dict[str, Any] = {"reasoning_content": event.text} if event.text else {}
                if event.signature is not None or event.redacted is not None:
                    delta["reasoning_details"] = [choice.detail(event)]
                return delta
            case RefusalDelta():
                choice.refused = True
                return {"refusal": event.text}
            case ToolCallBegin():
                choice.called = True
                choice.bare.add(event.index)
                if self._legacy:
                    return {"function_call": {"name": event.name, "arguments": ""}} if not event.index else {}
                return {"tool_calls": [{"index": event.index, **call_object(event, "")}]}
            case ToolCallDelta():
                choice.bare.discard(event.index)
                if self._legacy:
                    return {"function_call": {"arguments": event.arguments}} if not event.index else {}
                return {"tool_calls": [{"index": event.index, "function": {"arguments": event.arguments}}]}
        return {}


def call_object(call: ToolCallBegin, arguments: str) -> dict[str, Any]:
    """A tool call. A vendor's signature is where Gemini's own OpenAI endpoint puts it, so that it comes back."""
    said = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
    if call.signature is not None:
        said["extra_content"] = {"google": {"thought_signature": call.signature}}
    return said
