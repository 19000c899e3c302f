"""Anthropic's blocks and messages as they are read, and what they say as events in no vendor's words."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.anthropic.options import JSON_TOOL
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

REASONS = {
    "end_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.REFUSAL,
    "pause_turn": FinishReason.PAUSE,
}
"""``stop_reason``; one that is not known is an end like any other."""


class Delta(msgspec.Struct, gc=False):
    """Of a block or of the message. Types are checked where the fields are used."""

    type: Any = None
    text: Any = None
    partial_json: Any = None
    thinking: Any = None
    signature: Any = None
    stop_reason: Any = None
    stop_sequence: Any = None
    stop_details: Any = None


class Block(msgspec.Struct, gc=False):
    type: Any = None
    id: Any = None
    name: Any = None
    input: Any = None
    text: Any = None
    thinking: Any = None
    signature: Any = None
    data: Any = None


class MessageObject(msgspec.Struct, gc=False):
    type: Any = None
    id: Any = None
    model: Any = None
    content: list[Block] | None = None
    stop_reason: Any = None
    stop_sequence: Any = None
    stop_details: Any = None
    usage: Any = None
    error: Any = None


class EventObject(msgspec.Struct, gc=False):
    type: Any = None
    index: Any = None
    delta: Delta | None = None
    content_block: Block | None = None
    message: MessageObject | None = None
    usage: Any = None


_decode_event = msgspec.json.Decoder(EventObject).decode
_decode_message = msgspec.json.Decoder(MessageObject).decode

_Kind = TypeVar("_Kind", bound=msgspec.Struct)


def read_event(data: bytes) -> EventObject:
    """One event. Raises ValueError where ``data`` is no JSON object."""
    try:
        return _decode_event(data)
    except (ValueError, RecursionError):
        value = _object(lenient.read(data))
    event = _some(EventObject, value)
    event.delta = _maybe(Delta, value.get("delta"))
    event.content_block = _maybe(Block, value.get("content_block"))
    message = value.get("message")
    event.message = _tolerant(message) if type(message) is dict else None
    return event


def read_message(body: bytes) -> MessageObject:
    """A whole message. Raises ValueError where ``body`` is no JSON object."""
    try:
        return _decode_message(body)
    except (ValueError, RecursionError):
        return _tolerant(_object(lenient.read(body)))


def _tolerant(value: dict[str, Any]) -> MessageObject:
    """As the typed decoding, but values of other types than agreed are as if absent."""
    message = _some(MessageObject, value)
    listed = value.get("content")
    message.content = [_some(Block, item) for item in listed if type(item) is dict] if type(listed) is list else None
    return message


def _some(kind: type[_Kind], value: dict[str, Any]) -> _Kind:
    return kind(*(value.get(name) for name in kind.__struct_fields__))


def _maybe(kind: type[_Kind], value: Any) -> _Kind | None:
    return _some(kind, value) if type(value) is dict else None


def _object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError("not an object")
    return value


class Reader:
    """Anthropic's blocks, as the events of an answer in no vendor's words. It keeps count of the tool calls."""

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}
        """The number of the tool call that a block is, by the block's index."""
        self._silent: dict[int, str] = {}
        """Calls that have sent no arguments so far, by the block's index, with what their start said of them."""
        self._answers: set[int] = set()
        """Blocks that are the answer of a JSON_TOOL."""
        self._begun = False

    def begin(self, message: MessageObject) -> tuple[Event, ...]:
        self._begun = True
        return (Begin(lenient.text(message.id), lenient.text(message.model)),)

    def start(self, index: int, block: Block) -> tuple[Event, ...]:
        match block.type:
            case "text" if text := lenient.text(block.text):
                return (TextDelta(text),)
            case "thinking" if block.thinking or block.signature:
                return (ThinkingDelta(lenient.text(block.thinking) or "", lenient.text(block.signature)),)
            case "redacted_thinking" if data := lenient.text(block.data):
                return (ThinkingDelta(redacted=data),)
            case "tool_use":
                self._silent[index] = arguments_of(block)
                if block.name == JSON_TOOL:
                    self._answers.add(index)
                    return ()
                number = self._calls[index] = len(self._calls)
                return (ToolCallBegin(number, lenient.text(block.id) or f"call_{number}", _text(block.name)),)
            case _:
                return ()

    def delta(self, index: int, delta: Delta) -> tuple[Event, ...]:
        text = delta.text
        if type(text) is str and text:
            return (TextDelta(text),)
        match delta.type:
            case "input_json_delta" if piece := lenient.text(delta.partial_json):
                self._silent.pop(index, None)
                return self._arguments(index, piece)
            case "thinking_delta" if text := lenient.text(delta.thinking):
                return (ThinkingDelta(text),)
            case "signature_delta" if signature := lenient.text(delta.signature):
                return (ThinkingDelta(signature=signature),)
            case _:
                return ()

    def stop(self, index: int) -> tuple[Event, ...]:
        arguments = self._silent.pop(index, None)
        return () if arguments is None else self._arguments(index, arguments)

    def end(self, reason: str, sequence: Any, details: Any) -> tuple[Event, ...]:
        finish = REASONS.get(reason, FinishReason.STOP)
        if finish is FinishReason.TOOL_CALLS and self._answers and not self._calls:
            finish = FinishReason.STOP
        said: list[Event] = []
        explanation = lenient.text(details.get("explanation")) if type(details) is dict else None
        if finish is FinishReason.REFUSAL and explanation:
            said.append(RefusalDelta(explanation))
        said.append(Finish(finish, lenient.text(sequence)))
        return tuple(said)

    def whole(self, message: MessageObject) -> tuple[Event, ...]:
        """All events of a whole message."""
        said = list(self.begin(message))
        for index, block in enumerate(message.content or ()):
            said += self.start(index, block)
            said += self.stop(index)
        reason = lenient.text(message.stop_reason) or "end_turn"
        return (*said, *self.end(reason, message.stop_sequence, message.stop_details))

    def _arguments(self, index: int, piece: str) -> tuple[Event, ...]:
        if index in self._answers:
            return (TextDelta(piece),)
        number = self._calls.get(index)
        return () if number is None else (ToolCallDelta(number, piece),)


def _text(value: Any) -> str:
    return value if type(value) is str else ""


def arguments_of(block: Block) -> str:
    """The arguments that came with the start of a call, as JSON."""
    try:
        return msgspec.json.encode(block.input).decode() if type(block.input) is dict else "{}"
    except (ValueError, RecursionError):  # a lone surrogate, or nested as deeply as could just be read
        return "{}"
