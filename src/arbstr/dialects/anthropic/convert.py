"""Messages of the wrong form, put right: JSON where a stream was asked for, and a stream where JSON was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from arbstr.dialects import lenient, sse
from arbstr.dialects.anthropic.stream import StreamDecoder, parse_whole
from arbstr.dialects.anthropic.usage import grown
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame

Object = dict[str, Any]

MAX_COLLECTED = 16 * 1024 * 1024
"""Bytes of a stream that are collected into a whole message."""

_CALLS = ("tool_use", "server_tool_use")
_PIECES = {"text": "text", "thinking": "thinking", "signature": "signature", "partial_json": "input"}
"""The field of a block that a delta's field adds to."""
_END = ("stop_reason", "stop_sequence", "stop_details", "container")

_encode = msgspec.json.Encoder().encode


def whole_to_stream(body: bytes) -> bytes:
    """A whole message as the stream that it could have been.

    Raises :class:`~arbstr.domain.errors.UpstreamFailure` as :func:`~arbstr.dialects.anthropic.stream.parse_whole` does.
    """
    parse_whole(body, events=False)
    try:
        events = [
            sse.event(_encode({"type": kind, **fields}), name=kind.encode())
            for kind, fields in _events(lenient.read(body))
        ]
    except (ValueError, RecursionError) as error:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer cannot be made a stream.") from error
    return b"".join(events)


def _events(message: Object) -> Iterator[tuple[str, Object]]:
    usage = _object(message.get("usage"))
    begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    begun["usage"] = {**usage, "output_tokens": 0}
    yield "message_start", {"message": begun}
    for index, block in enumerate(item for item in message["content"] if type(item) is dict):
        start, deltas = _deltas(block)
        yield "content_block_start", {"index": index, "content_block": start}
        for delta in deltas:
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    end = {name: message[name] for name in _END if name in message}
    yield "message_delta", {"delta": end, "usage": usage}
    yield "message_stop", {}


def _deltas(block: Object) -> tuple[Object, list[Object]]:
    """A block as it begins, and what it is then given, each field at once."""
    match block.get("type"):
        case "text":
            cited = block.get("citations")
            if type(cited) is not list:
                return {**block, "text": ""}, [{"type": "text_delta", "text": block.get("text", "")}]
            deltas = [{"type": "citations_delta", "citation": one} for one in cited]
            start = {**block, "text": "", "citations": []}
            return start, [*deltas, {"type": "text_delta", "text": block.get("text", "")}]
        case "thinking":
            said = {"type": "thinking_delta", "thinking": block.get("thinking", "")}
            signed = {"type": "signature_delta", "signature": block.get("signature", "")}
            return {**block, "thinking": "", "signature": ""}, [said, signed]
        case kind if kind in _CALLS:
            arguments = _encode(block.get("input") or {}).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": arguments}]
        case _:
            return block, []


class StreamCollector:
    """A stream, collected into the message that it tells. It must be complete and at most ``limit`` bytes long."""

    def __init__(self, *, limit: int = MAX_COLLECTED) -> None:
        self._decoder = StreamDecoder(events=False, max_event=limit)
        self._left = limit
        self._message: Object = {}
        self._usage: Object = {}
        self._blocks: dict[int, _Block] = {}
        self._complete = False

    def feed(self, data: bytes) -> None:
        """Take in bytes of the stream. Raises :class:`~arbstr.domain.errors.UpstreamFailure` where it cannot go on."""
        self._left -= len(data)
        if self._left < 0:
            raise UpstreamFailure(FailureKind.UNREADABLE, "The provider sent a stream, too long to be collected.")
        self._collect(self._decoder.feed(data))

    def finish(self, *, events: bool = False) -> Frame:
        """The whole message. Raises :class:`~arbstr.domain.errors.UpstreamFailure` if it is cut short or empty."""
        self._collect(self._decoder.finish())
        if not self._complete:
            raise UpstreamFailure(FailureKind.UNREADABLE, "The provider sent a stream, and cut it short.")
        content = [block.whole() for _, block in sorted(self._blocks.items())]
        message = {"type": "message", "role": "assistant", **self._message, "content": content, "usage": self._usage}
        try:
            whole = _encode(message)
        except (ValueError, RecursionError) as error:
            raise _unfit() from error
        return parse_whole(whole, events=events)

    def _collect(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.failure is not None:
                raise frame.failure
            self._complete = self._complete or frame.done or frame.finish is not None
            if frame.data and not frame.malformed and not frame.comment:
                try:
                    self._add(lenient.read(frame.data))
                except (ValueError, RecursionError) as error:
                    raise _unfit() from error

    def _add(self, event: Object) -> None:
        index = event.get("index")
        index = index if type(index) is int else 0
        delta = _object(event.get("delta"))
        match event.get("type"):
            case "message_start":
                self._message.update(_object(event.get("message")))
                self._usage = grown(self._usage, self._message.get("usage"))
            case "content_block_start":
                self._blocks[index] = _Block(_object(event.get("content_block")))
            case "content_block_delta" if index in self._blocks:
                self._blocks[index].add(delta)
            case "message_delta":
                self._message.update((name, delta[name]) for name in _END if name in delta)
                self._usage = grown(self._usage, event.get("usage"))
            case _:
                pass


class _Block:
    """One block as it grows. Texts are kept in pieces, so that a long one costs no more than its length."""

    def __init__(self, start: Object) -> None:
        self._start = start
        self._pieces: dict[str, list[str]] = {}

    def add(self, delta: Object) -> None:
        for name, field in _PIECES.items():
            if type(delta.get(name)) is str:
                self._pieces.setdefault(field, []).append(delta[name])
        if "citation" in delta:
            cited = self._start.get("citations")
            self._start["citations"] = [*(cited if type(cited) is list else ()), delta["citation"]]

    def whole(self) -> Object:
        texts: Object = {field: "".join(pieces) for field, pieces in self._pieces.items()}
        if texts.get("input"):
            texts["input"] = lenient.read_or_none(texts["input"].encode("utf-8", "replace")) or {}
        else:
            texts.pop("input", None)
        return {**self._start, **texts}


def _object(value: Any) -> Object:
    return value if type(value) is dict else {}


def _unfit() -> UpstreamFailure:
    """Nested too deeply: it can be read in passing, but not be put together."""
    return UpstreamFailure(FailureKind.UNREADABLE, "The provider's stream cannot be made a whole answer.")
