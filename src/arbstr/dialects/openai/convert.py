"""Answers of the wrong form, put right: JSON where a stream was asked for, and a stream where JSON was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from arbstr.dialects import lenient, sse
from arbstr.dialects.openai.stream import StreamDecoder, parse_whole
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame

_Object = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(_Object).decode
_decode_list = msgspec.json.Decoder(list[_Object]).decode
_encode = msgspec.json.Encoder().encode

MAX_COLLECTED = 16 * 1024 * 1024
"""Bytes of a stream that are collected into a whole answer."""

_FIELDS = (b"data", b"event", b"id", b"retry", b":")
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_NULL = msgspec.Raw(b"null")


def looks_like_sse(first: bytes) -> bool:
    """Whether a body that begins with ``first`` (a few bytes suffice) is a stream of events, whatever its type says."""
    start = first.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    return bool(start) and any(start[: len(field)] == field[: len(start)] for field in _FIELDS)


def whole_to_stream(body: bytes) -> bytes:
    """A whole answer as the stream that it could have been, usage chunk and ``[DONE]`` included.

    Raises :class:`~arbstr.domain.errors.UpstreamFailure` as :func:`~arbstr.dialects.openai.stream.parse_whole` does.
    """
    parse_whole(body)
    try:
        text = lenient.replace_lone_surrogates(body).decode("utf-8", "replace").encode()
        # In JSON a line end is white space; in an event it is the end.
        chunks = list(_chunks(_decode(text.translate(_ONE_LINE))))
    except (ValueError, RecursionError) as error:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer cannot be made a stream.") from error
    return b"".join(sse.event(_encode(chunk)) for chunk in chunks) + sse.DONE


def _chunks(answer: _Object) -> Iterator[dict[str, Any]]:
    head: dict[str, Any] = {**answer, "object": "chat.completion.chunk"}
    usage = head.pop("usage", None)
    choices = _decode_list(head.pop("choices"))
    for index, choice in enumerate(choices):
        rest: dict[str, Any] = {"index": index, **choice}
        message = rest.pop("message", None) or rest.pop("delta", None)
        delta: dict[str, Any] = dict(_decode(message)) if message not in (None, _NULL) else {}
        if "text" in rest:
            delta["content"] = rest.pop("text")
        if (calls := delta.get("tool_calls")) not in (None, _NULL):
            delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(_decode_list(calls))]
        finish = rest.pop("finish_reason", None)
        yield {**head, "choices": [{**rest, "delta": {"role": "assistant", **delta}, "finish_reason": None}]}
        yield {**head, "choices": [{"index": rest["index"], "delta": {}, "finish_reason": finish}]}
    if usage not in (None, _NULL):
        yield {**head, "choices": [], "usage": usage}


class StreamCollector:
    """A stream, collected into the whole answer that it tells. It must be complete and at most ``limit`` bytes long."""

    def __init__(self, *, limit: int = MAX_COLLECTED) -> None:
        self._decoder = StreamDecoder(max_event=limit)
        self._left = limit
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self._complete = False

    def feed(self, data: bytes) -> None:
        """Take in bytes of the stream. Raises :class:`~arbstr.domain.errors.UpstreamFailure` where it cannot go on."""
        self._left -= len(data)
        if self._left < 0:
            raise UpstreamFailure(FailureKind.UNREADABLE, "The provider sent a stream, too long to be collected.")
        self._collect(self._decoder.feed(data))

    def finish(self) -> Frame:
        """The whole answer. Raises :class:`~arbstr.domain.errors.UpstreamFailure` if it is not complete or is empty."""
        self._collect(self._decoder.finish())
        if not self._complete:
            raise UpstreamFailure(FailureKind.UNREADABLE, "The provider sent a stream, and cut it short.")
        try:
            whole = self._whole()
        except (ValueError, RecursionError) as error:
            raise _unfit() from error
        return parse_whole(whole)

    def _whole(self) -> bytes:
        choices = [choice.whole(index) for index, choice in sorted(self._choices.items())]
        usage = self._head.pop("usage", None)
        whole = {**self._head, "object": "chat.completion", "choices": choices}
        return _encode(whole if usage is None else {**whole, "usage": usage})

    def _collect(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.failure is not None:
                raise frame.failure
            self._complete = self._complete or frame.done or frame.finish is not None
            if frame.data and not frame.done and not frame.malformed:
                try:
                    self._add(lenient.read(frame.data))
                except (ValueError, RecursionError) as error:
                    raise _unfit() from error

    def _add(self, chunk: dict[str, Any]) -> None:
        self._head.update((key, value) for key, value in chunk.items() if key != "choices" and value is not None)
        choices = chunk.get("choices")
        for choice in choices if type(choices) is list else ():
            if type(choice) is dict:
                index = choice.get("index")
                self._choices.setdefault(index if type(index) is int else 0, _Choice()).add(choice)


def _unfit() -> UpstreamFailure:
    """Nested too deeply: it can be read in passing, but not be put together."""
    return UpstreamFailure(FailureKind.UNREADABLE, "The provider's stream cannot be made a whole answer.")


class _Choice:
    """One choice as it grows. Texts are kept in pieces, so that a long one costs no more than its length."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {"finish_reason": None}
        self._message = _Growing()

    def add(self, choice: dict[str, Any]) -> None:
        for key, value in choice.items():
            if key in ("delta", "message"):
                if type(value) is dict:
                    self._message.add(value)
            elif key == "text":
                self._message.add({"content": value})
            elif key == "logprobs" and type(value) is dict and type(self._fields.get(key)) is dict:
                _extend(self._fields[key], value)
            elif key != "index":
                self._fields[key] = value if value not in (None, "") else self._fields.get(key)

    def whole(self, index: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": None, **self._message.whole()}
        return {"index": index, "message": message, **self._fields}


class _Growing:
    """An object of which each delta brings a part: texts are joined, lists are extended, calls grow by their index."""

    _ONCE = frozenset({"role", "id", "type", "name", "index", "format"})

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._parts: dict[str, Any] = {}
        self._calls: dict[str, dict[int, _Growing]] = {}

    def add(self, delta: dict[str, Any]) -> None:
        for key, value in delta.items():
            known = self._parts.get(key)
            if value is None or key in self._ONCE:
                if known is None:
                    self._parts[key] = value or None
            elif type(value) is str:
                self._texts.setdefault(key, []).append(value)
            elif type(value) is dict:
                if not isinstance(known, _Growing):
                    known = self._parts[key] = _Growing()
                known.add(value)
            elif key == "tool_calls" and type(value) is list:
                self._add_calls(key, value)
            elif type(value) is list and type(known) is list:
                known += value
            else:
                self._parts[key] = value

    def whole(self) -> dict[str, Any]:
        parts = {key: part.whole() if isinstance(part, _Growing) else part for key, part in self._parts.items()}
        texts = {key: "".join(pieces) for key, pieces in self._texts.items()}
        calls = {key: [call.whole() for _, call in sorted(of.items())] for key, of in self._calls.items()}
        return {**parts, **texts, **calls}

    def _add_calls(self, key: str, deltas: list[Any]) -> None:
        calls = self._calls.setdefault(key, {})
        for delta in deltas:
            if type(delta) is dict:
                index = delta.get("index")
                if type(index) is not int:  # none given: an id begins the next call
                    index = len(calls) if delta.get("id") or not calls else max(calls)
                calls.setdefault(index, _Growing()).add({name: part for name, part in delta.items() if name != "index"})


def _extend(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if type(value) is list and type(into.get(key)) is list:
            into[key] += value
        elif value is not None:
            into[key] = value
