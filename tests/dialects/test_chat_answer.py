from __future__ import annotations

import json
from typing import Any

import pytest

from arbstr.dialects.chat import ChatCaller
from arbstr.dialects.chat.answer import MOST_HELD
from arbstr.dialects.sse import DONE
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
from arbstr.domain.errors import UpstreamError
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage

CALLER = ChatCaller()


def chunks(*frames: Frame, cost_sats: float | None = None, **fields: Any) -> list[dict[str, Any]]:
    """The chunks of a stream, its end included."""
    asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}], **fields}
    request = CALLER.parse(json.dumps(asked).encode())
    writer = CALLER.stream(request, request_id="r", model="m", created=7)
    stream = b"".join(writer.write(frame) for frame in frames) + writer.end(cost_sats=cost_sats)
    assert stream.endswith(DONE)
    return [json.loads(event.removeprefix(b"data: ")) for event in stream.removesuffix(DONE).split(b"\n\n") if event]


def deltas(*events: Event, **fields: Any) -> list[tuple[int, dict[str, Any], str | None]]:
    """Index, delta and finish of each chunk."""
    choices = [chunk["choices"][0] for chunk in chunks(*(Frame(b"", events=(event,)) for event in events), **fields)]
    return [(choice["index"], choice["delta"], choice["finish_reason"]) for choice in choices]


def whole(*events: Event, usage: Usage | None = None, **fields: Any) -> dict[str, Any]:
    request = CALLER.parse(
        json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}).encode()
    )
    frames = [Frame(b"", events=(event,)) for event in events] + [Frame(b"", usage=usage)]
    return dict(json.loads(CALLER.whole(request, frames, request_id="r", model="m", created=7)))


def test_every_chunk_has_the_same_head() -> None:
    """Named after the request, with the model that answers."""
    found = chunks(Frame(b"", events=(Begin("theirs", "theirs"), TextDelta("a"))), Frame(b"", comment=True))

    heads = [{name: value for name, value in chunk.items() if name != "choices"} for chunk in found]
    assert heads == [{"id": "chatcmpl-r", "object": "chat.completion.chunk", "created": 7, "model": "m"}] * 3


def test_a_choice_begins_with_its_role() -> None:
    """Once, whether the provider said that it begins or not."""
    role = {"role": "assistant", "content": ""}

    assert deltas(Begin(), Begin(), TextDelta("a"), TextDelta("b", 1), TextDelta("c", 1)) == [
        (0, role, None),
        (0, {"content": "a"}, None),
        (1, role, None),
        (1, {"content": "b"}, None),
        (1, {"content": "c"}, None),
        (0, {}, "stop"),
        (1, {}, "stop"),
    ]


def test_calls() -> None:
    """One without arguments has the empty object, for callers read them as JSON. The end finishes what is open."""
    found = deltas(ToolCallBegin(0, "a", "f", signature="s"), ToolCallBegin(1, "b", "g"), ToolCallDelta(1, "{"))

    google = {"google": {"thought_signature": "s"}}
    first = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}, "extra_content": google}
    second = {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}
    assert found[1:] == [
        (0, {"tool_calls": [{"index": 0, **first}]}, None),
        (0, {"tool_calls": [{"index": 1, **second}]}, None),
        (0, {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}, None),
        (0, {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, None),
        (0, {}, "tool_calls"),
    ]


@pytest.mark.parametrize(
    ("events", "finish"),
    [
        ([Finish(FinishReason.STOP)], "stop"),
        ([Finish(FinishReason.STOP_SEQUENCE, "x")], "stop"),
        ([Finish(FinishReason.PAUSE)], "stop"),
        ([Finish(FinishReason.LENGTH)], "length"),
        ([ToolCallBegin(0, "a", "f"), Finish(FinishReason.TOOL_CALLS)], "tool_calls"),
        ([Finish(FinishReason.CONTENT_FILTER)], "content_filter"),
        ([Finish(FinishReason.REFUSAL)], "content_filter"),
        ([RefusalDelta("No."), Finish(FinishReason.REFUSAL)], "stop"),
    ],
)
def test_finish_reasons(events: list[Event], finish: str) -> None:
    """A refusal without words can only be told by its finish; one with words is told by these."""
    assert deltas(*events)[-1] == (0, {}, finish)
    assert whole(*events)["choices"][0]["finish_reason"] == finish


def test_a_proof_of_reasoning_comes_with_its_text() -> None:
    """For only together do they count when they are given back."""
    events: list[Event] = [
        ThinkingDelta("a"),
        ThinkingDelta("b"),
        ThinkingDelta(signature="s"),
        ThinkingDelta(redacted="d"),
    ]
    details = [
        {"type": "reasoning.text", "text": "ab", "signature": "s", "index": 0},
        {"type": "reasoning.encrypted", "data": "d", "index": 1},
    ]

    found = deltas(*events)
    message = whole(*events)["choices"][0]["message"]

    assert [delta for _, delta, _ in found[1:-1]] == [
        {"reasoning_content": "a"},
        {"reasoning_content": "b"},
        {"reasoning_details": [details[0]]},
        {"reasoning_details": [details[1]]},
    ]
    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "reasoning_content": "ab",
        "reasoning_details": details,
    }


def test_reasoning_is_not_held_without_a_bound() -> None:
    """Beyond it, a proof comes alone."""
    found = deltas(ThinkingDelta("a" * MOST_HELD), ThinkingDelta("a"), ThinkingDelta(signature="s"))

    assert found[3][1]["reasoning_details"][0]["text"] == ""


def test_usage_is_told_to_those_who_asked() -> None:
    """Last, with the cost; merged from what the provider said more than once."""
    frames = [
        Frame(b"", events=(TextDelta("a"),), usage=Usage(10, 1)),
        Frame(b"", usage=Usage(10, 5, 4, 3, cache_write_tokens=2)),
    ]

    last = chunks(*frames, cost_sats=0.125, stream_options={"include_usage": True})

    assert [chunk["usage"] for chunk in last[:-1]] == [None] * 3
    assert (last[-1]["choices"], last[-1]["usage"]) == (
        [],
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 3},
            "cost_sats": 0.125,
        },
    )
    assert not any("usage" in chunk for chunk in chunks(*frames, cost_sats=0.125))


def test_usage_without_a_cost_and_without_numbers() -> None:
    """What is not known is not said."""
    asked = {"include_usage": True}

    assert "cost_sats" not in chunks(Frame(b"", usage=Usage(1, 1)), stream_options=asked)[-1]["usage"]
    assert chunks(Frame(b""), stream_options=asked) == []
    assert "usage" not in whole(TextDelta("a"))


def test_legacy_callers_get_a_function_call() -> None:
    """They gave ``functions``, and know no ``tool_calls``."""
    events: list[Event] = [ToolCallBegin(0, "a", "f"), ToolCallDelta(0, "{}"), Finish(FinishReason.TOOL_CALLS)]
    functions = [{"name": "f"}]

    streamed = deltas(*events, functions=functions)
    answer = whole(*events, functions=functions)["choices"][0]

    assert streamed[1:] == [
        (0, {"function_call": {"name": "f", "arguments": ""}}, None),
        (0, {"function_call": {"arguments": "{}"}}, None),
        (0, {}, "function_call"),
    ]
    assert answer["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert answer["finish_reason"] == "function_call"


def test_a_whole_answer_lists_its_choices_in_order() -> None:
    """However they were mixed; an answer without any still has one."""
    answer = whole(TextDelta("b", 1), TextDelta("a"), TextDelta("c"), Finish(FinishReason.LENGTH, choice=1))

    found = [(each["index"], each["message"]["content"], each["finish_reason"]) for each in answer["choices"]]
    assert found == [(0, "ac", "stop"), (1, "b", "length")]
    assert whole()["choices"][0]["message"] == {"role": "assistant", "content": None, "refusal": None}


def test_surrogates_are_written_as_something() -> None:
    """Lone ones cannot be encoded, and are no reason to break an answer."""
    found = deltas(Begin(), TextDelta("a\ud800"), ThinkingDelta("\udc00", signature="\ud800"))

    assert found[1] == (0, {"content": "a?"}, None)
    assert whole(TextDelta("a\ud800"))["choices"][0]["message"]["content"] == "a?"


def test_errors() -> None:
    """An error object, alone or as the last event; and the mark of an end that is none of these."""
    error = UpstreamError("It broke.")
    request = CALLER.parse(b'{"model":"m","messages":[{"role":"user","content":"x"}]}')
    body = CALLER.error(error)

    assert json.loads(body)["error"] == {
        "message": "It broke.",
        "type": "upstream_error",
        "param": None,
        "code": "upstream_error",
    }
    assert CALLER.error_event(error) == b"data: " + body + b"\n\n"
    assert CALLER.stream(request, request_id="r", model="m", created=7).error(error) == CALLER.error_event(error)
    assert CALLER.end_mark == DONE
