"""Answers in the Messages API, made from events: streams, and whole messages.

Blocks follow one another in a stream, so that each event that belongs to another kind of block closes the open one, and
what a provider mixes is put in order.
The reason of the end waits for the usage, with which it shares an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from arbstr.dialects import sse
from arbstr.dialects.anthropic.errors import error_event
from arbstr.dialects.anthropic.usage import usage_object
from arbstr.dialects.metadata import cost_fields
from arbstr.dialects.openai.usage import merge_usage
from arbstr.dialects.sequence import Sequencer
from arbstr.domain.answer import (
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

PING = sse.event(b'{"type":"ping"}', name=b"ping")
STOP = sse.event(b'{"type":"message_stop"}', name=b"message_stop")
"""The end of a stream."""

STOP_REASONS = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.REFUSAL: "refusal",
    FinishReason.STOP_SEQUENCE: "stop_sequence",
    FinishReason.PAUSE: "pause_turn",
}

_json = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class StreamWriter:
    """A stream of the Messages API. See :class:`~arbstr.dialects.translate.StreamWriter`."""

    def __init__(self, *, request_id: str, model: str) -> None:
        self._request_id = request_id
        self._head = _head(request_id, model)
        self._begun = False
        self._usage: Usage | None = None
        self._end = _End()
        self._open = ""
        """The type of the open block; none if empty."""
        self._index = -1
        """Of the open block, or of the last."""
        self._text_start = b""
        """What every delta of the open text begins with."""
        self._sequencer = Sequencer()

    def write(self, frame: Frame) -> bytes:
        if frame.usage is not None:
            self._usage = merge_usage(self._usage, frame.usage)
        events = frame.events
        if not events:
            return PING if frame.comment and self._begun else b""
        if len(events) == 1 and type(events[0]) is TextDelta and self._open == "text" and not events[0].choice:
            return self._text_start + _string(events[0].text) + b"}}\n\n"
        said = [self._start()]
        for event in events:
            if not getattr(event, "choice", 0):  # who asks in this dialect has asked for one
                said += map(self._event, self._sequencer.take(event))
        return b"".join(said)

    def end(self, *, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        said = self._start() + b"".join(map(self._event, self._sequencer.rest())) + self._close()
        usage = usage_object(self._usage)
        usage |= cost_fields(cost_sats, cost_usd)
        return said + _sse("message_delta", {"delta": self._end.fields(), "usage": usage}) + STOP

    def error(self, error: GatewayError) -> bytes:
        return error_event(error, request_id=self._request_id)

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        usage = {**usage_object(self._usage), "output_tokens": 0}
        unfinished: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return _sse("message_start", {"message": {**self._head, **unfinished}}) + PING

    def _event(self, event: Event) -> bytes:
        self._end.see(event)
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                return self._delta("text", "text_delta", "text", text) if text else b""
            case ThinkingDelta():
                return self._thinking(event)
            case ToolCallBegin():
                return self._begin("tool_use", {"id": event.id, "name": event.name, "input": {}})
            case ToolCallDelta(arguments=piece) if piece:
                delta = {"type": "input_json_delta", "partial_json": _clean(piece)}
                return _sse("content_block_delta", {"index": self._index, "delta": delta})
            case Finish():
                return self._close()
            case _:
                return b""

    def _thinking(self, event: ThinkingDelta) -> bytes:
        if event.redacted is not None:
            return self._begin("redacted_thinking", {"data": event.redacted}) + self._close()
        said = self._delta("thinking", "thinking_delta", "thinking", event.text) if event.text else b""
        if event.signature is not None:  # it seals the block
            said += self._delta("thinking", "signature_delta", "signature", event.signature) + self._close()
        return said

    def _delta(self, block: str, kind: str, field: str, value: str) -> bytes:
        said = b""
        if self._open != block:
            said = self._begin(block, {"thinking": "", "signature": ""} if block == "thinking" else {field: ""})
        return said + _sse("content_block_delta", {"index": self._index, "delta": {"type": kind, field: _clean(value)}})

    def _begin(self, kind: str, fields: dict[str, Any]) -> bytes:
        said = self._close()
        self._index += 1
        self._open = kind
        if kind == "text":
            self._text_start = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"text_delta","text":' % self._index
            )
        return said + _sse("content_block_start", {"index": self._index, "content_block": {"type": kind, **fields}})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _sse("content_block_stop", {"index": self._index})


def whole(frames: Sequence[Frame], *, request_id: str, model: str, cost_sats: float | None = None) -> bytes:
    """The message that the frames' events and usage add up to."""
    end = _End()
    usage: Usage | None = None
    blocks: list[dict[str, Any]] = []
    calls: dict[int, dict[str, Any]] = {}
    for frame in frames:
        usage = merge_usage(usage, frame.usage)
        for event in frame.events:
            if not getattr(event, "choice", 0):
                end.see(event)
                _collect(event, blocks, calls)
    for call in calls.values():
        call["input"] = _arguments("".join(call["input"]))
    for block in blocks:
        for field in ("text", "thinking"):
            if type(block.get(field)) is list:
                block[field] = _clean("".join(block[field]))
    counted = usage_object(usage)
    if cost_sats is not None:
        counted["cost_sats"] = cost_sats
    return _json({**_head(request_id, model), "content": blocks, **end.fields(), "usage": counted})


def _collect(event: Event, blocks: list[dict[str, Any]], calls: dict[int, dict[str, Any]]) -> None:
    """Add what ``event`` says to the blocks, whose texts are kept in pieces."""
    last: dict[str, Any] = blocks[-1] if blocks else {"type": ""}
    match event:
        case TextDelta(text=text) | RefusalDelta(text=text) if text:
            if last["type"] != "text":
                blocks.append({"type": "text", "text": [text]})
            else:
                last["text"].append(text)
        case ThinkingDelta(redacted=data) if data is not None:
            blocks.append({"type": "redacted_thinking", "data": data})
        case ThinkingDelta(text=text, signature=signature) if text or signature is not None:
            if last["type"] != "thinking" or last["signature"]:
                last = {"type": "thinking", "thinking": [], "signature": ""}
                blocks.append(last)
            last["thinking"].append(text)
            last["signature"] = signature or ""
        case ToolCallBegin():
            calls[event.index] = {"type": "tool_use", "id": event.id, "name": event.name, "input": []}
            blocks.append(calls[event.index])
        case ToolCallDelta() if event.index in calls:
            calls[event.index]["input"].append(event.arguments)
        case _:
            pass


class _End:
    """Why an answer ended, as its events tell it. Some providers say no more than ``stop`` of calls and refusals."""

    def __init__(self) -> None:
        self._finish = Finish(FinishReason.STOP)
        self._called = False
        self._refusal: list[str] = []

    def see(self, event: Event) -> None:
        if type(event) is Finish:
            self._finish = event
        elif type(event) is ToolCallBegin:
            self._called = True
        elif type(event) is RefusalDelta:
            self._refusal.append(event.text)

    def fields(self) -> dict[str, Any]:
        """``stop_reason`` and what goes with it."""
        reason = self._finish.reason
        if reason is FinishReason.STOP and (self._called or self._refusal):
            reason = FinishReason.TOOL_CALLS if self._called else FinishReason.REFUSAL
        found = {"stop_reason": STOP_REASONS[reason], "stop_sequence": self._finish.stop_sequence}
        if found["stop_reason"] != "refusal":
            return found
        said = _clean("".join(self._refusal)) or None
        return {**found, "stop_details": {"type": "refusal", "category": None, "explanation": said}}


def _head(request_id: str, model: str) -> dict[str, Any]:
    return {"id": f"msg_{request_id.replace('-', '')}", "type": "message", "role": "assistant", "model": model}


def _arguments(text: str) -> Any:
    """A call's arguments as the object that they should be."""
    text = _clean(text)
    if not text.strip():
        return {}
    raw = text.encode()
    try:
        _OBJECT.decode(raw)
    except (ValueError, RecursionError):
        return {"invalid_json": text}
    return msgspec.Raw(raw)


def _sse(kind: str, fields: dict[str, Any]) -> bytes:
    return sse.event(_json({"type": kind, **fields}), name=kind.encode())


def _string(text: str) -> bytes:
    try:
        return _json(text)
    except UnicodeEncodeError:
        return _json(_clean(text))


def _clean(text: str) -> str:
    """``text`` without lone surrogates, which are none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
