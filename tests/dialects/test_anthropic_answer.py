"""What the golden files do not show of answers in the Messages API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arbstr.dialects.anthropic import CALLER, PING, STOP, read_usage, usage_object
from arbstr.domain.answer import (
    Begin,
    Event,
    Finish,
    FinishReason,
    TextDelta,
    ThinkingDelta,
    ToolCallBegin,
    ToolCallDelta,
)
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage

REQUEST = ChatRequest(model="m", stream=True, fields={}, input_bytes=0, last_user_text="", dialect="anthropic")


def frame(*events: Event, **fields: Any) -> Frame:
    return Frame(b"", events=events, **fields)


def data(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: ")]


def test_nothing_is_said_before_there_is_something() -> None:
    """Neither a usage nor a sign of life begins the message; after its beginning, a sign of life is a ping."""
    writer = CALLER.stream(REQUEST, request_id="r", model="m", created=0)

    assert writer.write(frame(comment=True)) == b""
    assert writer.write(frame(usage=Usage(5, 1))) == b""
    begun = data(writer.write(frame(Begin("x", "y"))))
    assert begun[0]["message"]["usage"] == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }
    assert writer.write(frame(comment=True)) == PING
    assert writer.write(frame()) == b""


def test_calls_that_a_provider_mixes_are_blocks_one_after_another() -> None:
    """Some announce all calls before the arguments of the first; clients know of one open block."""
    writer = CALLER.stream(REQUEST, request_id="r", model="m", created=0)
    calls: list[Event] = [
        ToolCallBegin(0, "a", "f"),
        ToolCallBegin(1, "b", "g"),
        ToolCallDelta(0, "{}"),
        ToolCallDelta(1, "[]"),
        Finish(FinishReason.TOOL_CALLS),
    ]

    said = [one for one in data(writer.write(frame(*calls))) if "index" in one]

    assert [(one["type"].removeprefix("content_block_"), one["index"]) for one in said] == [
        ("start", 0),
        ("delta", 0),
        ("stop", 0),
        ("start", 1),
        ("delta", 1),
        ("stop", 1),
    ]
    assert [one["delta"]["partial_json"] for one in said if "delta" in one] == ["{}", "[]"]


def test_arguments_of_a_call_that_never_began_belong_to_nothing() -> None:
    """There is no block for them, and without them the answer would be another."""
    writer = CALLER.stream(REQUEST, request_id="r", model="m", created=0)
    writer.write(frame(Begin()))

    with pytest.raises(UpstreamFailure):
        writer.write(frame(ToolCallDelta(3, "{}")))


def test_half_a_character_is_written_as_a_mark() -> None:
    """In every place where a model's text may stand."""
    events = (TextDelta("a"), TextDelta("\ud83d"), ThinkingDelta("\ud83d", signature="s"))
    call = (ToolCallBegin(0, "c", "f"), ToolCallDelta(0, '{"a": "\ud83d"}'), Finish(FinishReason.TOOL_CALLS))
    writer = CALLER.stream(REQUEST, request_id="r", model="m", created=0)

    stream = b"".join(writer.write(frame(event)) for event in (*events, *call))
    whole = json.loads(CALLER.whole(REQUEST, [frame(*events, *call)], request_id="r", model="m", created=0))

    deltas = [one["delta"] for one in data(stream) if one["type"] == "content_block_delta"]
    assert [delta.get("text") or delta.get("thinking") or delta.get("partial_json") for delta in deltas] == [
        "a",
        "?",
        "?",
        None,
        '{"a": "?"}',
    ]
    assert whole["content"][0] == {"type": "text", "text": "a?"}
    assert whole["content"][1] == {"type": "thinking", "thinking": "?", "signature": "s"}
    assert whole["content"][2]["input"] == {"a": "?"}


def test_a_stream_of_the_same_dialect_has_its_end_mark() -> None:
    """And the cost in the event that ends the counting, not in the one that begins it."""
    start = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":1}}}\n\n'
    last = b'{"type":"message_delta","usage":{"output_tokens":1}}'

    assert CALLER.end_mark == STOP == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    assert CALLER.with_cost(Frame(start, start[27:-2]), 0.5) == start
    assert CALLER.with_cost(Frame(b"event: message_delta\ndata: " + last + b"\n\n", last), 0.5) == (
        b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":1,"cost_sats":0.5}}\n\n'
    )


def test_tokens_written_for_an_hour_are_told_apart() -> None:
    """In Anthropic's own way, which is read back as it was; without any, the object that tells them is left out."""
    usage = Usage(100, 5, 20, 3, cache_write_tokens=30, cache_write_1h_tokens=10)

    written = usage_object(usage)

    assert written["cache_creation"] == {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10}
    assert read_usage(written) == usage
    assert "cache_creation" not in usage_object(Usage(100, 5, 20, cache_write_tokens=30))


def test_iterations_count_where_they_say_more() -> None:
    """What one of them leaves out counts as nothing, and a single one repeats the whole."""
    whole = {"input_tokens": 10, "output_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 4}}
    more = {"input_tokens": 7, "cache_read_input_tokens": 3, "cache_creation": {"ephemeral_1h_input_tokens": 2}}

    assert read_usage({**whole, "iterations": [{"input_tokens": 99}]}) == Usage(14, 5, cache_write_tokens=4)
    assert read_usage({**whole, "iterations": [whole, more, "x"]}) == Usage(
        17 + 3 + 6, 5, 3, cache_write_tokens=6, cache_write_1h_tokens=2
    )
