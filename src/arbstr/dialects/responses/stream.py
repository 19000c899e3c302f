"""What a provider's answer in the Responses dialect says: streams of typed events, and whole responses.

Where the caller speaks this dialect, too, the bytes are relayed as they are and only what the gateway needs is read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.envelopes import error_in_answer, is_error, what_came
from arbstr.dialects.responses.events import REFUSAL_DELTA, Translator, finish_reason, item_size, items_of
from arbstr.dialects.responses.usage import read_usage
from arbstr.dialects.sse import MAX_EVENT, Event, EventSplitter, EventTooLarge
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame

_encode = msgspec.json.Encoder().encode
_NOT_YET = ("message", "reasoning")
"""Items that, when they are added, have nothing in them yet. Any other is the call of a tool."""


class _Typed(msgspec.Struct, gc=False):
    """An event: the fields that are read of any. Their types are checked where they are used."""

    type: Any = None
    delta: Any = None
    output_index: Any = 0
    content_index: Any = 0
    summary_index: Any = None
    item: Any = None
    response: Any = None


_decode = msgspec.json.Decoder(_Typed).decode


class ResponsesDecoder:
    """A stream of typed events, as frames; see :class:`~arbstr.dialects.translate.Decoder`.

    ``response.created`` and what else only announces is no content. The stream is done with ``response.completed`` or
    ``response.incomplete``; what follows them is dropped. ``response.failed`` and ``error`` are failures.
    """

    def __init__(self, *, events: bool, max_event: int = MAX_EVENT) -> None:
        self._splitter = EventSplitter(limit=max_event)
        self._translator = Translator() if events else None
        self._streamed = False
        self._called = False
        self._refused = False
        self.done = False

    def feed(self, data: bytes) -> list[Frame]:
        if self.done:
            return []
        try:
            events = self._splitter.feed(data)
        except EventTooLarge as error:
            raise _too_large(error) from error
        return self._frames(events)

    def finish(self) -> list[Frame]:
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
            frame = self._frame(event)
            frames.append(frame)
            self.done = frame.done
        return frames

    def _frame(self, event: Event) -> Frame:
        data = event.data
        if not data:
            return Frame(event.raw, comment=True)
        if data[:6] == b"[DONE]":
            return Frame(event.raw, data, done=True)
        try:
            typed = _read(data)
        except ValueError:
            if event.name == b"error":
                return Frame(event.raw, data, failure=error_in_answer(data))
            return Frame(event.raw, data, malformed=True)
        kind = typed.type if type(typed.type) is str else event.name.decode("utf-8", "replace")
        if type(typed.delta) is str and kind.endswith(".delta"):
            return self._delta(event, data, kind, typed)
        if kind == "error" or (not kind and is_error(data)):
            return Frame(event.raw, data, failure=error_in_answer(data))
        if type(typed.response) is dict:
            return self._lifecycle(event, data, kind, typed.response)
        if type(typed.item) is dict:
            return self._item(event, data, kind, typed)
        return Frame(event.raw, data, _is_tool_event(kind))

    def _delta(self, event: Event, data: bytes, kind: str, typed: _Typed) -> Frame:
        text: str = typed.delta
        if not text:
            return Frame(event.raw, data)
        self._streamed = True
        if kind == REFUSAL_DELTA:
            self._refused = True
        size = len(text) if text.isascii() else lenient.size(text)
        if self._translator is None:
            return Frame(event.raw, data, True, size)
        part = typed.content_index if typed.summary_index is None else typed.summary_index
        told = self._translator.delta(kind, text, _index(typed.output_index), _index(part))
        return Frame(event.raw, data, True, size, events=told)

    def _item(self, event: Event, data: bytes, kind: str, typed: _Typed) -> Frame:
        item, index = typed.item, _index(typed.output_index)
        if kind == "response.output_item.done":
            size = 0 if self._streamed else item_size(item)
            self._streamed = True
            told = self._translator.item_done(item, index) if self._translator is not None else ()
            return Frame(event.raw, data, True, size, events=told)
        if kind != "response.output_item.added" or item.get("type") in _NOT_YET:
            return Frame(event.raw, data)
        self._called = self._called or item.get("type") in ("function_call", "custom_tool_call")
        told = self._translator.item_added(item, index) if self._translator is not None else ()
        return Frame(event.raw, data, True, events=told)

    def _lifecycle(self, event: Event, data: bytes, kind: str, response: dict[str, Any]) -> Frame:
        if kind in ("response.failed", "response.cancelled"):
            return Frame(event.raw, data, failure=_failure(response))
        if kind not in ("response.completed", "response.incomplete"):
            told = (self._translator.begin(response),) if kind == "response.created" and self._translator else ()
            return Frame(event.raw, data, events=told)
        response = {**response, "status": kind.removeprefix("response.")}
        return Frame(
            event.raw,
            data,
            content=True,
            content_bytes=0 if self._streamed else sum(map(item_size, items_of(response))),
            finish=finish_reason(response, called=self._called, refused=self._refused).value,
            usage=read_usage(response.get("usage")),
            done=True,
            events=self._translator.finish(response) if self._translator is not None else (),
        )


def parse_whole(body: bytes, *, events: bool) -> Frame:
    """A whole response. Raises :class:`~arbstr.domain.errors.UpstreamFailure` for what is none.

    A response that failed, and an error inside a 200, fail as their own code says; what is empty, cut, no JSON, not
    over yet, or has no output is UNREADABLE.
    """
    try:
        response = lenient.read(body)
    except ValueError:
        raise UpstreamFailure(FailureKind.UNREADABLE, f"The provider's answer {what_came(body)}") from None
    if type(response) is not dict or type(response.get("output")) is not list:
        if is_error(body):
            raise error_in_answer(body)
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer has no output.")
    status = response.get("status")
    if status == "failed" or (response.get("error") and not response["output"]):
        raise _failure(response)
    if status not in ("completed", "incomplete", None):
        raise UpstreamFailure(FailureKind.UNREADABLE, f"The provider's answer is not over: its status is {status!r}.")
    if status is None and not response["output"]:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer is empty.")
    translator = Translator()
    return Frame(
        body,
        content=True,
        content_bytes=sum(map(item_size, items_of(response))),
        finish=finish_reason(response, called=False, refused=False).value,
        usage=read_usage(response.get("usage")),
        done=True,
        events=(translator.begin(response), *translator.finish(response)) if events else (),
    )


def _failure(response: dict[str, Any]) -> UpstreamFailure:
    """Why a response failed: by its own error's code."""
    error = response.get("error")
    if not error:
        return UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer failed, and does not say why.")
    return error_in_answer(_encode({"error": error}))


def _too_large(error: EventTooLarge) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.UNREADABLE, f"The stream cannot be read: {error}.")


def _read(data: bytes) -> _Typed:
    """What is needed of an event. Raises ValueError where ``data`` is no JSON object."""
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        value = lenient.read(data)
    if type(value) is not dict:
        raise ValueError("not an object")
    return _Typed(**{name: value[name] for name in _Typed.__struct_fields__ if name in value})


def _index(value: Any) -> int:
    return value if type(value) is int else 0


def _is_tool_event(kind: str) -> bool:
    """Whether an event tells the progress of a tool that the provider runs (``response.web_search_call.searching``)."""
    subject = kind.split(".")[1:2]
    return bool(subject) and subject[0].endswith("_call")
