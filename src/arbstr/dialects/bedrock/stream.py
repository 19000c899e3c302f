"""Streams of ``ConverseStream``, message by message."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.bedrock.answer import finish_of, read_usage
from arbstr.dialects.bedrock.errors import bedrock_exception
from arbstr.dialects.bedrock.eventstream import MAX_MESSAGE, BadEventStream, Message, MessageSplitter
from arbstr.dialects.envelopes import excerpt
from arbstr.domain.answer import Begin, Event, TextDelta, ThinkingDelta, ToolCallBegin, ToolCallDelta
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame


class _Delta(msgspec.Struct, gc=False, rename="camel"):
    text: Any = None
    tool_use: Any = None
    reasoning_content: Any = None


class _DeltaEvent(msgspec.Struct, gc=False, rename="camel"):
    delta: _Delta | None = None
    content_block_index: Any = None


_decode_delta = msgspec.json.Decoder(_DeltaEvent).decode


class BedrockDecoder:
    """A stream of ``ConverseStream``, as frames. Bytes may come in any pieces.

    There is no end mark: after ``messageStop`` comes ``metadata`` with the usage, and then the body ends. Raises
    UpstreamFailure (UNREADABLE) for bytes that are no event stream.
    """

    def __init__(self, *, events: bool, max_message: int = MAX_MESSAGE) -> None:
        self._splitter = MessageSplitter(limit=max_message)
        self._events = events
        self._first = b""
        self._calls: dict[int, int] = {}
        """By the index of its block, the how manieth call a call is."""
        self._silent: set[int] = set()
        """The blocks of calls whose arguments have not begun."""

    def feed(self, data: bytes) -> list[Frame]:
        if len(self._first) < 256:  # for the message, should it be a page and no stream
            self._first += data[:256]
        try:
            return [self._frame(message) for message in self._splitter.feed(data)]
        except BadEventStream as error:
            raise self._unreadable(error) from error

    def finish(self) -> list[Frame]:
        try:
            rest = self._splitter.rest()
        except BadEventStream as error:
            raise self._unreadable(error) from error
        return [Frame(rest, malformed=True)] if rest else []

    def _unreadable(self, error: BadEventStream) -> UpstreamFailure:
        page = self._first.lstrip()[:1] == b"<"
        said = f": {excerpt(self._first)}" if page else f": {error}."
        return UpstreamFailure(FailureKind.UNREADABLE, f"The stream cannot be read{said}")

    def _frame(self, message: Message) -> Frame:
        raw, data = message.raw, message.payload
        kind = message.text(":message-type")
        name = message.text(":event-type")
        if kind == "event" and name == "contentBlockDelta":
            return self._delta(raw, data)
        if kind == "exception":
            return Frame(raw, data, failure=bedrock_exception(message.text(":exception-type"), data))
        if kind == "error":
            said = message.text(":error-message").encode()
            return Frame(raw, data, failure=bedrock_exception(message.text(":error-code"), said))
        read = _READERS.get(name)
        if kind != "event" or read is None:
            return Frame(raw, data, comment=True)
        value = lenient.read_or_none(data)
        if type(value) is not dict:
            return Frame(raw, data, malformed=True)
        return read(self, raw, data, value)

    def _delta(self, raw: bytes, data: bytes) -> Frame:
        try:
            event = _decode_delta(data)
        except (ValueError, RecursionError):
            event = _tolerant(data)
        delta = event.delta
        if delta is None:
            return Frame(raw, data, malformed=True)
        text = delta.text
        if type(text) is str:
            if not text:
                return Frame(raw, data)
            size = len(text) if text.isascii() else lenient.size(text)
            return Frame(raw, data, True, size, events=(TextDelta(text),) if self._events else ())
        if type(delta.tool_use) is dict:
            return self._arguments(raw, data, delta.tool_use, event.content_block_index)
        if type(delta.reasoning_content) is dict:
            return self._thinking(raw, data, delta.reasoning_content)
        return Frame(raw, data)

    def _arguments(self, raw: bytes, data: bytes, use: dict[str, Any], block: Any) -> Frame:
        text = lenient.text(use.get("input"))
        index = self._calls.get(block) if type(block) is int else None
        if text is None or index is None:
            return Frame(raw, data, malformed=index is None)
        self._silent.discard(block)
        said = (ToolCallDelta(index, text),) if self._events else ()
        return Frame(raw, data, True, lenient.size(text), events=said)

    def _thinking(self, raw: bytes, data: bytes, reasoning: dict[str, Any]) -> Frame:
        text = lenient.text(reasoning.get("text")) or ""
        signature = lenient.text(reasoning.get("signature"))
        redacted = lenient.text(reasoning.get("redactedContent"))
        content = bool(text or signature or redacted)
        said = (ThinkingDelta(text, signature, redacted),) if self._events and content else ()
        return Frame(raw, data, content, lenient.size(text), events=said)

    def _begin(self, raw: bytes, data: bytes, value: dict[str, Any]) -> Frame:
        return Frame(raw, data, events=(Begin(),) if self._events else ())

    def _block_start(self, raw: bytes, data: bytes, value: dict[str, Any]) -> Frame:
        start = value.get("start")
        use = start.get("toolUse") if type(start) is dict else None
        block = value.get("contentBlockIndex")
        if type(use) is not dict or type(block) is not int:
            return Frame(raw, data)
        index = self._calls[block] = len(self._calls)
        self._silent.add(block)
        name = lenient.text(use.get("name")) or ""
        called = ToolCallBegin(index, lenient.text(use.get("toolUseId")) or f"call_{index}", name)
        return Frame(raw, data, True, lenient.size(name), events=(called,) if self._events else ())

    def _block_stop(self, raw: bytes, data: bytes, value: dict[str, Any]) -> Frame:
        block = value.get("contentBlockIndex")
        if type(block) is not int or block not in self._silent:
            return Frame(raw, data)
        self._silent.discard(block)
        said: tuple[Event, ...] = (ToolCallDelta(self._calls[block], "{}"),)  # no arguments are none, not no JSON
        return Frame(raw, data, events=said if self._events else ())

    def _stop(self, raw: bytes, data: bytes, value: dict[str, Any]) -> Frame:
        finish = finish_of(value)
        if finish is None:
            return Frame(raw, data, malformed=True)
        if isinstance(finish, UpstreamFailure):
            return Frame(raw, data, failure=finish)
        return Frame(raw, data, True, finish=finish.reason.value, events=(finish,) if self._events else ())

    def _metadata(self, raw: bytes, data: bytes, value: dict[str, Any]) -> Frame:
        return Frame(raw, data, usage=read_usage(value.get("usage")), usage_only=True)


_READERS = {
    "messageStart": BedrockDecoder._begin,
    "contentBlockStart": BedrockDecoder._block_start,
    "contentBlockStop": BedrockDecoder._block_stop,
    "messageStop": BedrockDecoder._stop,
    "metadata": BedrockDecoder._metadata,
}


def _tolerant(data: bytes) -> _DeltaEvent:
    """As the typed decoding, but broken text is replaced, and values of other types are as if absent."""
    value = lenient.read_or_none(data)
    delta = value.get("delta") if type(value) is dict else None
    if type(delta) is not dict:
        return _DeltaEvent()
    parts = _Delta(delta.get("text"), delta.get("toolUse"), delta.get("reasoningContent"))
    return _DeltaEvent(parts, value.get("contentBlockIndex"))
