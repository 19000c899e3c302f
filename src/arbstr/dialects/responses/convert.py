"""Responses of the wrong form, put right: JSON where a stream was asked for, and a stream where JSON was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from arbstr.dialects import lenient, sse
from arbstr.dialects.responses.events import items_of, objects_in
from arbstr.dialects.responses.stream import ResponsesDecoder, parse_whole
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame

_encode = msgspec.json.Encoder().encode

MAX_COLLECTED = 16 * 1024 * 1024
"""Bytes of a stream that are collected into a whole response."""

_Events = Iterator[tuple[str, dict[str, Any]]]


def whole_to_stream(body: bytes) -> bytes:
    """A whole response as the stream that it could have been.

    Raises :class:`~arbstr.domain.errors.UpstreamFailure` as :func:`~arbstr.dialects.responses.stream.parse_whole` does.
    """
    parse_whole(body, events=False)
    try:
        events = [
            sse.event(_encode({"type": kind, "sequence_number": number, **fields}), name=kind.encode())
            for number, (kind, fields) in enumerate(_events(lenient.read(body)))
        ]
    except (ValueError, RecursionError) as error:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer cannot be made a stream.") from error
    return b"".join(events)


def _events(response: dict[str, Any]) -> _Events:
    status = "incomplete" if response.get("status") == "incomplete" else "completed"
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(items_of(response)):
        yield from _item(item, index)
    yield f"response.{status}", {"response": {**response, "status": status}}


def _item(item: dict[str, Any], index: int) -> _Events:
    """An item's events: its texts whole, each as a single delta."""
    place = {"item_id": item.get("id"), "output_index": index}
    begun = {**item, "status": "in_progress"} if "status" in item else item
    match item.get("type"):
        case "message":
            yield "response.output_item.added", {"output_index": index, "item": {**begun, "content": []}}
            yield from _parts(item.get("content"), place)
        case "function_call":
            said = {**place, "arguments": item.get("arguments")}
            yield "response.output_item.added", {"output_index": index, "item": {**begun, "arguments": ""}}
            yield "response.function_call_arguments.delta", {**place, "delta": item.get("arguments")}
            yield "response.function_call_arguments.done", said
        case "reasoning":
            yield "response.output_item.added", {"output_index": index, "item": {**begun, "summary": []}}
            yield from _summary(item.get("summary"), place)
        case _:
            yield "response.output_item.added", {"output_index": index, "item": begun}
    yield "response.output_item.done", {"output_index": index, "item": item}


def _parts(content: Any, place: dict[str, Any]) -> _Events:
    for number, part in enumerate(objects_in(content)):
        where = {**place, "content_index": number}
        kind, field = ("refusal", "refusal") if part.get("type") == "refusal" else ("output_text", "text")
        more: dict[str, Any] = {} if kind == "refusal" else {"logprobs": []}
        yield "response.content_part.added", {**where, "part": {**part, field: ""}}
        yield f"response.{kind}.delta", {**where, "delta": part.get(field), **more}
        yield f"response.{kind}.done", {**where, field: part.get(field), **more}
        yield "response.content_part.done", {**where, "part": part}


def _summary(summary: Any, place: dict[str, Any]) -> _Events:
    for number, part in enumerate(objects_in(summary)):
        where = {**place, "summary_index": number}
        yield "response.reasoning_summary_part.added", {**where, "part": {**part, "text": ""}}
        yield "response.reasoning_summary_text.delta", {**where, "delta": part.get("text")}
        yield "response.reasoning_summary_text.done", {**where, "text": part.get("text")}
        yield "response.reasoning_summary_part.done", {**where, "part": part}


class StreamCollector:
    """A stream, collected into the whole response that its last event has. At most ``limit`` bytes long."""

    def __init__(self, *, limit: int = MAX_COLLECTED) -> None:
        self._decoder = ResponsesDecoder(events=False, max_event=limit)
        self._left = limit
        self._last: Frame | None = None

    def feed(self, data: bytes) -> None:
        """Take in bytes of the stream. Raises :class:`~arbstr.domain.errors.UpstreamFailure` where it cannot go on."""
        self._left -= len(data)
        if self._left < 0:
            raise UpstreamFailure(FailureKind.UNREADABLE, "The provider sent a stream, too long to be collected.")
        self._collect(self._decoder.feed(data))

    def finish(self) -> Frame:
        """The whole response. Raises :class:`~arbstr.domain.errors.UpstreamFailure` if it is not complete."""
        self._collect(self._decoder.finish())
        if self._last is None:
            raise UpstreamFailure(FailureKind.UNREADABLE, "The provider sent a stream, and cut it short.")
        return parse_whole(_encode(lenient.read(self._last.data)["response"]), events=False)

    def _collect(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.failure is not None:
                raise frame.failure
            if frame.done and frame.finish is not None:
                self._last = frame
