"""Answers of the Messages API: read in any pieces, and whatever a provider may send."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects import sse
from arbstr.dialects.anthropic import CALLER, PROVIDER
from arbstr.dialects.anthropic.options import JSON_TOOL
from arbstr.dialects.anthropic.stream import StreamDecoder, parse_whole
from arbstr.domain.answer import Event, Finish, FinishReason, TextDelta, ToolCallBegin, ToolCallDelta
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage
from tests.dialects.test_anthropic_golden import GOLDEN

REQUEST = ChatRequest(model="m", stream=True, fields={}, input_bytes=0, last_user_text="", dialect="anthropic")
STREAMS = [path.read_bytes() for path in sorted((GOLDEN / "openai-anthropic").glob("*/anthropic.sse"))]


def event(kind: str, **fields: Any) -> bytes:
    return sse.event(json.dumps({"type": kind, **fields}).encode(), name=kind.encode())


def read(*pieces: bytes, events: bool = True) -> list[Frame]:
    decoder = PROVIDER.decoder(events=events)
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.finish()


def events_of(frames: list[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


@given(st.sampled_from(STREAMS), st.lists(st.floats(0, 1), max_size=8))
def test_cutting_changes_nothing(stream: bytes, cuts: list[float]) -> None:
    """The frames are the same, wherever the bytes are cut."""
    places = [0, *sorted(int(cut * len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]

    assert said(read(*pieces)) == said(read(stream))


def said(frames: list[Frame]) -> list[str]:
    """All but the bytes: an LF that comes after its CR is in a piece of its own."""
    return [str(msgspec.structs.replace(frame, raw=b"")) for frame in frames if frame.data]


@pytest.mark.parametrize(
    "name", ["text", "tools", "tool-without-arguments", "thinking", "redacted-thinking", "stop-sequence"]
)
def test_what_is_written_for_a_caller_is_read_again(name: str) -> None:
    """The events of a provider's stream, written as ours, are the same events."""
    frames = read((GOLDEN / "openai-anthropic" / name / "anthropic.sse").read_bytes())
    writer = CALLER.stream(REQUEST, request_id="r", model="m", created=0)

    again = read(b"".join(map(writer.write, frames)) + writer.end(cost_sats=None))

    assert events_of(again)[1:] == events_of(frames)[1:]  # all but who it is
    assert again[-1].done
    assert [frame.usage for frame in again if frame.finish] == [frame.usage for frame in frames if frame.finish]


def test_an_event_beyond_the_limit_cannot_be_read() -> None:
    """What came before it is; at its end at the latest, it is refused."""
    whole = StreamDecoder(events=False, max_event=64)
    cut = StreamDecoder(events=False, max_event=64)

    assert len(cut.feed(event("ping") + b"data: " + b"x" * 64)) == 1
    with pytest.raises(UpstreamFailure) as at_the_end:
        cut.finish()
    with pytest.raises(UpstreamFailure) as at_once:
        whole.feed(b"data: " + b"x" * 64 + b"\n\n")
    assert at_the_end.value.kind is at_once.value.kind is FailureKind.UNREADABLE


def test_after_the_end_nothing_counts() -> None:
    """Whatever is fed."""
    decoder = PROVIDER.decoder(events=True)

    assert decoder.feed(event("message_stop"))[0].done
    assert decoder.feed(event("error", error={"type": "api_error", "message": "x"})) == []
    assert decoder.finish() == []


def test_the_answer_tool_beside_others_is_text_and_the_others_are_calls() -> None:
    """A model that calls a tool of the caller's has not ended yet."""
    other = event(
        "content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}
    )
    frames = read(
        event("content_block_start", index=0, content_block={"type": "tool_use", "id": "a", "name": JSON_TOOL}),
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "{}"}),
        event("content_block_stop", index=0),
        other,
        event("content_block_stop", index=1),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 1}),
    )

    assert events_of(frames) == [
        TextDelta("{}"),
        ToolCallBegin(0, "t", "f"),
        ToolCallDelta(0, "{}"),
        Finish(FinishReason.TOOL_CALLS),
    ]


def test_usage_grows_and_is_never_counted_twice() -> None:
    """Counts are cumulative; what a later report leaves out, or says to be less, still holds."""
    frames = read(
        event(
            "message_start", message={"usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}}
        ),
        event("message_delta", delta={}, usage={"output_tokens": 7, "input_tokens": 0}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9.0, "input_tokens": None}),
    )

    assert [frame.usage for frame in frames] == [
        Usage(15, 1, cached_input_tokens=5),
        Usage(15, 7, cached_input_tokens=5),
        Usage(15, 9, cached_input_tokens=5),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "error",
    "ping",
    "text",
    "tool_use",
    "text_delta",
    "input_json_delta",
    "thinking",
]
NAMES = ["index", "delta", "content_block", "message", "usage", "error", "text", "input", "content", "stop_reason"]
ODD = st.dictionaries(
    st.sampled_from(["type", *NAMES]),
    st.sampled_from(KINDS) | JSON | st.dictionaries(st.sampled_from(["type", *NAMES]), st.sampled_from(KINDS) | JSON),
)


@given(st.lists(ODD | JSON, max_size=6))
def test_a_stream_of_nonsense_raises_nothing(values: list[Any]) -> None:
    """What is wrong is said in the frames, and the writer for a caller makes something of them, too."""
    stream = b"".join(sse.event(json.dumps(value).encode()) for value in values)
    writer = CALLER.stream(REQUEST, request_id="r", model="m", created=0)

    frames = read(stream)
    written = b"".join(map(writer.write, frames)) + writer.end(cost_sats=None)

    assert b"".join(frame.raw for frame in frames) == stream
    assert all(not frame.malformed and frame.failure is None for frame in read(written))


@given(ODD | JSON)
def test_a_whole_answer_of_nonsense_is_none(value: Any) -> None:
    """It is an answer, or a failure that says why not; nothing else comes of it."""
    body = json.dumps(value).encode()

    try:
        frame = parse_whole(body, events=True)
    except UpstreamFailure:
        return

    assert frame.done
    assert frame.raw == body
    assert json.loads(CALLER.whole(REQUEST, [frame], request_id="r", model="m", created=0))["type"] == "message"


def test_what_is_nested_beyond_reading_is_malformed() -> None:
    """And no reason to fall over."""
    deep = b"[" * 100_000 + b"]" * 100_000
    call = (
        b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"f","input":' + deep + b"}}"
    )

    assert [frame.malformed for frame in read(sse.event(call))] == [True]
    with pytest.raises(UpstreamFailure):
        parse_whole(deep, events=True)
