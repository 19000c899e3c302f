"""What a provider of OpenAI chat answers, as events: chunks of a stream, and whole answers.

The observer of :mod:`~arbstr.dialects.openai.stream` decodes and frames; here its answers become events, whatever the
many servers that imitate this API make of indices, ids and finish reasons.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.openai.stream import Answer, Choice, Message, StreamDecoder, parse_whole
from arbstr.dialects.sse import MAX_EVENT
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
from arbstr.domain.events import Frame

_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,  # Mistral
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "safety": FinishReason.CONTENT_FILTER,
    "refusal": FinishReason.REFUSAL,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
}
"""Finish reasons in lower case, imitators' included; others are a plain stop."""


class EventDecoder:
    """A stream of chat completion chunks, as frames with events."""

    def __init__(self, *, max_event: int = MAX_EVENT) -> None:
        self._events = AnswerEvents()
        self._decoder = StreamDecoder(max_event=max_event, events_of=self._events.of)

    def feed(self, data: bytes) -> list[Frame]:
        return self._closed(self._decoder.feed(data))

    def finish(self) -> list[Frame]:
        return self._closed(self._decoder.finish())

    def _closed(self, frames: list[Frame]) -> list[Frame]:
        """``[DONE]`` finishes the choices whose finish the provider left out."""
        if frames and frames[-1].done:
            frames[-1] = msgspec.structs.replace(frames[-1], events=self._events.closing())
        return frames


def parse_whole_events(body: bytes) -> Frame:
    """A whole answer as one frame with all its events. Raises UpstreamFailure for what is none."""
    events = AnswerEvents()
    frame = parse_whole(body, events.of)
    return msgspec.structs.replace(frame, events=frame.events + events.closing())


class AnswerEvents:
    """The events of one answer, chunk by chunk."""

    def __init__(self) -> None:
        self._choices: dict[int, _Growing] = {}
        self._id = ""

    def of(self, answer: Answer) -> tuple[Event, ...]:
        """What ``answer`` adds: a chunk, or the whole."""
        choices = answer.choices or ()
        events: list[Event] = []
        if not self._choices and choices:
            self._id = lenient.text(answer.id) or ""
            events.append(Begin(self._id or None, lenient.text(answer.model)))
        for position, choice in enumerate(choices):
            index = choice.index if type(choice.index) is int else position
            growing = self._choices.get(index)
            if growing is None:
                growing = self._choices[index] = _Growing(index, self._id)
            events += growing.add(choice)
        return tuple(events)

    def closing(self) -> tuple[Event, ...]:
        """The finishes that are missing, once the provider has said that the answer is over."""
        return tuple(event for growing in self._choices.values() for event in growing.finish(FinishReason.STOP, None))


class _Call:
    """A tool call as it grows. It begins once it has a name; arguments that come earlier wait."""

    __slots__ = ("begun", "id", "name", "order", "signature", "waiting")

    def __init__(self, order: int) -> None:
        self.order = order
        self.id = ""
        self.name = ""
        self.signature: str | None = None
        self.begun = False
        self.waiting: list[str] = []


class _Growing:
    """One choice as it grows."""

    def __init__(self, index: int, answer_id: str) -> None:
        self._index = index
        self._answer_id = answer_id
        self._calls: dict[int, _Call] = {}
        """By the provider's index, or what stands for it."""
        self._order = 0
        self._plain = False
        """Reasoning came as plain text: its details repeat it."""
        self._refused = False
        self._finished = False

    def add(self, choice: Choice) -> list[Event]:
        """The events of one chunk. After the finish nothing counts."""
        if self._finished:
            return []
        message = choice.delta or choice.message
        events: list[Event] = []
        if message is None:
            pass
        elif (
            message.content
            and type(message.content) is str
            and not message.tool_calls
            and not message.reasoning
            and not message.reasoning_content
            and not message.reasoning_details
            and not message.refusal
            and not message.function_call
        ):  # nearly all chunks are a piece of text
            events.append(TextDelta(message.content, self._index))
        else:
            events += self._said(message, whole=choice.delta is None)
        if choice.text and type(choice.text) is str:
            events.append(TextDelta(choice.text, self._index))
        if choice.finish_reason:
            name = lenient.text(choice.finish_reason) or ""
            events += self.finish(_FINISH.get(name.lower(), FinishReason.STOP), lenient.text(choice.stop_reason))
        return events

    def finish(self, reason: FinishReason, stop_sequence: str | None) -> list[Event]:
        """The finish, once. A plain stop after a tool call or a refusal is one that many servers do not tell apart."""
        if self._finished:
            return []
        self._finished = True
        events = [event for call in self._calls.values() for event in self._begin(call)]
        if reason is FinishReason.STOP:
            if self._calls:
                reason = FinishReason.TOOL_CALLS
            elif self._refused:
                reason = FinishReason.REFUSAL
            elif stop_sequence:
                reason = FinishReason.STOP_SEQUENCE
        at = stop_sequence if reason is FinishReason.STOP_SEQUENCE else None
        return [*events, Finish(reason, at, self._index)]

    def _said(self, message: Message, *, whole: bool) -> Iterator[Event]:
        yield from self._thought(message, whole=whole)
        yield from self._content(message.content)
        if message.refusal and type(message.refusal) is str:
            self._refused = True
            yield RefusalDelta(message.refusal, self._index)
        calls = message.tool_calls
        if type(calls) is list:
            for position, call in enumerate(calls):
                if type(call) is dict:
                    yield from self._called(call, position if whole else None)
        if type(message.function_call) is dict:
            yield from self._called({"index": 0, "function": message.function_call}, None)

    def _thought(self, message: Message, *, whole: bool) -> Iterator[Event]:
        """Reasoning, which comes under up to three names at once. Details count where they say more than its text."""
        plain = lenient.text(message.reasoning_content) or lenient.text(message.reasoning)
        details = message.reasoning_details if type(message.reasoning_details) is list else []
        told = [event for item in details if type(item) is dict for event in self._detail(item)]
        if plain and not (whole and any(event.text for event in told)):
            self._plain = True
            yield ThinkingDelta(plain, choice=self._index)
        for event in told:
            if event.text and self._plain:
                event = msgspec.structs.replace(event, text="")
            if event.text or event.signature or event.redacted:
                yield event

    def _detail(self, item: dict[str, Any]) -> Iterator[ThinkingDelta]:
        """One of OpenRouter's ``reasoning_details``. Proofs count if they are Anthropic's, which others know, too."""
        if text := lenient.text(item.get("text")) or lenient.text(item.get("summary")):
            yield ThinkingDelta(text, choice=self._index)
        if not (lenient.text(item.get("format")) or "anthropic").startswith("anthropic"):
            return
        if signature := lenient.text(item.get("signature")):
            yield ThinkingDelta(signature=signature, choice=self._index)
        if data := lenient.text(item.get("data")):
            yield ThinkingDelta(redacted=data, choice=self._index)

    def _content(self, content: Any) -> Iterator[Event]:
        """A text, or parts as Mistral's reasoning models send them."""
        if type(content) is str:
            if content:
                yield TextDelta(content, self._index)
            return
        for part in content if type(content) is list else ():
            if type(part) is not dict:
                continue
            thinking = part.get("thinking")
            for piece in thinking if type(thinking) is list else [{"text": thinking}]:
                if type(piece) is dict and (text := lenient.text(piece.get("text"))):
                    yield ThinkingDelta(text, choice=self._index)
            if text := lenient.text(part.get("text")):
                yield TextDelta(text, self._index)
            if text := lenient.text(part.get("refusal")):
                self._refused = True
                yield RefusalDelta(text, self._index)

    def _called(self, delta: dict[str, Any], position: int | None) -> Iterator[Event]:
        call = self._call(delta, position)
        function = delta.get("function")
        function = function if type(function) is dict else {}
        if not call.begun:
            call.name = call.name or lenient.text(function.get("name")) or ""
            call.id = call.id or lenient.text(delta.get("id")) or ""
            call.signature = call.signature or _signature(delta)
        arguments = _json(function.get("arguments"))
        if call.begun:
            if arguments:
                yield ToolCallDelta(call.order, arguments, self._index)
            return
        if arguments:
            call.waiting.append(arguments)
        if call.name:
            yield from self._begin(call)

    def _begin(self, call: _Call) -> list[Event]:
        """The beginning of a call, and what it had to wait for; at the end of the choice even without a name."""
        if call.begun:
            return []
        call.begun = True
        if not call.id:
            seed = f"{self._answer_id}/{self._index}/{call.order}".encode("utf-8", "replace")
            call.id = "call_" + hashlib.blake2b(seed, digest_size=12).hexdigest()
        arguments, call.waiting = "".join(call.waiting), []
        begin = ToolCallBegin(call.order, call.id, call.name, self._index, call.signature)
        return [begin, ToolCallDelta(call.order, arguments, self._index)] if arguments else [begin]

    def _call(self, delta: dict[str, Any], position: int | None) -> _Call:
        """The call that ``delta`` belongs to. Some number none of them, and some number all of them 0."""
        index = delta.get("index") if position is None else position
        known = lenient.text(delta.get("id"))
        if type(index) is not int:
            same = [key for key, call in self._calls.items() if known and call.id == known]
            index = same[0] if same else len(self._calls) if known or not self._calls else max(self._calls)
        call = self._calls.get(index)
        if call is None or (known and call.begun and known != call.id and _named(delta)):
            if call is not None:  # another call under the same number
                self._calls[-1 - call.order] = call
            call = self._calls[index] = _Call(self._order)
            self._order += 1
        return call


def _json(arguments: Any) -> str:
    """The arguments' JSON; some send an object where its JSON is due."""
    if not arguments or type(arguments) is str:
        return arguments or ""
    try:
        return msgspec.json.encode(arguments).decode()
    except (ValueError, RecursionError):
        return ""


def _named(delta: dict[str, Any]) -> bool:
    function = delta.get("function")
    return type(function) is dict and bool(function.get("name"))


def _signature(delta: dict[str, Any]) -> str | None:
    """Gemini's proof of its reasoning, where its own OpenAI endpoint puts it."""
    extra = delta.get("extra_content")
    google = extra.get("google") if type(extra) is dict else None
    return lenient.text(google.get("thought_signature")) if type(google) is dict else None
