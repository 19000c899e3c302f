"""What a provider's answer says, read beside the relay: streams event by event, and whole bodies.

Only what the gateway needs is decoded. Nothing here changes a byte of what is relayed. Who needs the events of an
answer as well (:mod:`~arbstr.dialects.chat.events`) is handed what was decoded, so that nothing is decoded twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.charges import charge_beside
from arbstr.dialects.envelopes import error_in_answer, is_error, what_came
from arbstr.dialects.openai.usage import read_usage
from arbstr.dialects.sse import MAX_EVENT, Event, EventSplitter, EventTooLarge
from arbstr.domain.answer import Event as AnswerEvent
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage


class Message(msgspec.Struct, gc=False):
    """A delta or a message: the fields by which something is generated. Their types are checked where they are used."""

    role: Any = None
    content: Any = None
    tool_calls: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    function_call: Any = None
    audio: Any = None


class Choice(msgspec.Struct, gc=False):
    delta: Message | None = None
    message: Message | None = None
    finish_reason: Any = None
    text: Any = None
    """Of the legacy completions, which some providers send here."""
    index: Any = None
    stop_reason: Any = None
    """vLLM's: the stop sequence that was met."""
    usage: Any = None
    """Moonshot's: it stands here in a stream."""


class Answer(msgspec.Struct, gc=False):
    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None
    id: Any = None
    model: Any = None
    x_groq: Any = None
    """Groq's: it has the usage of a stream for which nobody asked."""
    cost: Any = None
    """Routstr's."""


EventsOf = Callable[[Answer], tuple[AnswerEvent, ...]]
"""What an answer, or a chunk of one, says in no vendor's words. It keeps count from one chunk to the next."""


def no_events(answer: Answer) -> tuple[AnswerEvent, ...]:
    """For the same dialect on both sides."""
    return ()


_decode = msgspec.json.Decoder(Answer).decode


class StreamDecoder:
    """A stream of chat completion chunks, as frames. Bytes may come in any pieces.

    After ``[DONE]`` nothing counts: what follows it is dropped. Only an event beyond the size limit raises
    (:class:`~arbstr.domain.errors.UpstreamFailure`, UNREADABLE); whatever else is wrong is said in its frame.
    """

    def __init__(self, *, max_event: int = MAX_EVENT, events_of: EventsOf = no_events) -> None:
        self._splitter = EventSplitter(limit=max_event)
        self._events_of = events_of
        self.done = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes."""
        if self.done:
            return []
        try:
            events = self._splitter.feed(data)
        except EventTooLarge as error:
            raise _too_large(error) from error
        return self._frames(events)

    def finish(self) -> list[Frame]:
        """The frame of a last event that has no blank line, if there is one. Call it at the clean end of the body."""
        if self.done:
            return []
        try:
            events = self._splitter.finish()
        except EventTooLarge as error:
            raise _too_large(error) from error
        return self._frames(events)

    def _frames(self, events: list[Event]) -> list[Frame]:
        frames: list[Frame] = []
        for event in events:
            if self.done:
                break
            frame = read_event(event, self._events_of)
            frames.append(frame)
            self.done = frame.done
        return frames


def _too_large(error: EventTooLarge) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.UNREADABLE, f"The stream cannot be read: {error}.")


def read_event(event: Event, events_of: EventsOf = no_events) -> Frame:
    """What one event of a stream says."""
    data = event.data
    if not data:
        return Frame(event.raw, comment=True)
    if data[:6] == b"[DONE]":
        return Frame(event.raw, data, done=True)
    try:
        answer = _read(data)
    except ValueError:
        if event.name == b"error":
            return Frame(event.raw, data, failure=error_in_answer(data))
        return Frame(event.raw, data, malformed=True)
    choices = answer.choices
    if answer.error or event.name == b"error":
        return Frame(event.raw, data, failure=error_in_answer(data))
    usage = _usage(answer)
    if not choices:
        if choices is None and answer.usage is None and is_error(data):
            return Frame(event.raw, data, failure=error_in_answer(data))
        return Frame(event.raw, data, usage=usage, usage_only=type(answer.usage) is dict)
    content, size, finish = _generated(choices)
    # Some send their usage beside an empty delta.
    only = usage is not None and not content and not any(each.delta is not None and each.delta.role for each in choices)
    return Frame(event.raw, data, content, size, finish, usage, only, events=events_of(answer))


def parse_whole(body: bytes, events_of: EventsOf = no_events) -> Frame:
    """A whole answer. Raises :class:`~arbstr.domain.errors.UpstreamFailure` for what is none.

    An error inside a 200 fails as its own code says; what is empty, cut, no JSON, or has no choice with anything in it
    (content, a tool call, a refusal, at least a finish) is UNREADABLE.
    """
    try:
        answer = _read(body)
    except ValueError:
        raise UpstreamFailure(FailureKind.UNREADABLE, f"The provider's answer {what_came(body)}") from None
    if answer.error or (answer.choices is None and is_error(body)):
        raise error_in_answer(body)
    if not answer.choices:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer has no choices.", usage=_usage(answer))
    content, size, finish = _generated(answer.choices)
    if not content:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer is empty.", usage=_usage(answer))
    return Frame(body, b"", True, size, finish, _usage(answer), done=True, events=events_of(answer))


def _usage(answer: Answer) -> Usage | None:
    """What the answer used, wherever it says so."""
    reported = answer.usage
    if reported is None:
        if answer.x_groq is not None:
            reported = answer.x_groq.get("usage") if type(answer.x_groq) is dict else None
        elif answer.choices:
            reported = answer.choices[0].usage
        if reported is None:
            return None
    usage = read_usage(reported, model=answer.model)
    if answer.cost is None or usage is None:
        return usage
    charge = charge_beside(answer.cost)
    return usage if charge is None else msgspec.structs.replace(usage, reported_cost=charge)


def _read(data: bytes) -> Answer:
    """What is needed of a chunk or an answer. Raises ValueError where ``data`` is no JSON object."""
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        return _tolerant(lenient.read(data))


def _tolerant(value: Any) -> Answer:
    """As the typed decoding, but values of other types than agreed are as if absent."""
    if type(value) is not dict:
        raise ValueError("not an object")
    choices = value.get("choices")
    return Answer(
        [_choice(item) for item in choices if type(item) is dict] if type(choices) is list else None,
        value.get("usage"),
        value.get("error"),
        *(value.get(name) for name in ("id", "model", "x_groq", "cost")),
    )


def _choice(item: dict[str, Any]) -> Choice:
    parts = [
        Message(*(part.get(name) for name in Message.__struct_fields__)) if type(part) is dict else None
        for part in (item.get("delta"), item.get("message"))
    ]
    return Choice(parts[0], parts[1], *(item.get(name) for name in Choice.__struct_fields__[2:]))


def _generated(choices: list[Choice]) -> tuple[bool, int, str | None]:
    """Whether something was generated, its UTF-8 bytes, and the last finish."""
    content = False
    size = 0
    finish: str | None = None
    for choice in choices:
        message = choice.delta or choice.message
        if message is not None:
            text = message.content
            if text:
                content = True
                size += len(text) if type(text) is str and text.isascii() else _text_size(text)
            if (
                message.tool_calls
                or message.reasoning
                or message.reasoning_content
                or message.reasoning_details
                or message.refusal
                or message.function_call
                or message.audio
            ):
                content = True
                size += _rest_size(message)
        if choice.text:
            content = True
            size += _text_size(choice.text)
        if choice.finish_reason:  # some send "" until there is one
            content = True
            finish = lenient.text(choice.finish_reason) or finish
    return content, size, finish


def _rest_size(message: Message) -> int:
    size = sum(
        [
            _text_size(each)
            for each in (message.tool_calls, message.refusal, message.function_call, message.audio)
            if each
        ]
    )
    thought = [
        _text_size(each) for each in (message.reasoning, message.reasoning_content, message.reasoning_details) if each
    ]
    return size + max(thought) if thought else size  # it is often sent under two of these names at once


_NOT_TEXT = frozenset({"id", "type", "index", "format", "signature", "data"})


def _text_size(value: Any, depth: int = 8) -> int:
    """The UTF-8 bytes of all text in ``value``, down to ``depth``; identifiers and binary data are none."""
    if type(value) is str:
        return lenient.size(value)
    if depth and type(value) is list:
        return sum([_text_size(item, depth - 1) for item in value])
    if depth and type(value) is dict:
        return sum([_text_size(item, depth - 1) for key, item in value.items() if key not in _NOT_TEXT])
    return 0
