from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.dialects.chat import ChatProvider
from arbstr.dialects.sse import DONE, event
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
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame

PROVIDER = ChatProvider()


def chunk(delta: Any, finish: Any = None, **choice: Any) -> bytes:
    return event(json.dumps({"id": "x", "choices": [{"delta": delta, "finish_reason": finish, **choice}]}).encode())


def frames(*pieces: bytes) -> list[Frame]:
    decoder = PROVIDER.decoder(events=True)
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.finish()


def events(*pieces: bytes) -> list[Event]:
    """All events but the beginning."""
    first, *rest = [each for frame in frames(*pieces) for each in frame.events]
    assert isinstance(first, Begin)
    return rest


def calls(*deltas: dict[str, Any]) -> list[Event]:
    """The events of deltas of tool calls, without the finish that closes them."""
    *found, finish = events(*(chunk({"tool_calls": [delta]}) for delta in deltas), DONE)
    assert isinstance(finish, Finish)
    return found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("STOP", FinishReason.STOP),
        ("eos", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("refusal", FinishReason.REFUSAL),
        (7, FinishReason.STOP),
    ],
)
def test_finish_reasons(name: Any, reason: FinishReason) -> None:
    """By the names that servers have for them."""
    assert events(chunk({"content": "a"}, name))[-1] == Finish(reason)


def test_a_stop_sequence_is_told_where_the_server_tells_it() -> None:
    """vLLM does; its number of a token is none."""
    assert events(chunk({}, "stop", stop_reason="##")) == [Finish(FinishReason.STOP_SEQUENCE, "##")]
    assert events(chunk({}, "stop", stop_reason=7)) == [Finish(FinishReason.STOP)]
    assert events(chunk({}, "length", stop_reason="##")) == [Finish(FinishReason.LENGTH)]


def test_nothing_counts_after_the_finish() -> None:
    """A finish comes once for each choice, and is the last of it."""
    found = events(chunk({"content": "a"}, "stop"), chunk({"content": "b"}, "stop"), DONE)

    assert found == [TextDelta("a"), Finish(FinishReason.STOP)]


def test_an_answer_cut_short_has_no_finish() -> None:
    """Only ``[DONE]`` stands for one."""
    assert events(chunk({"content": "a"})) == [TextDelta("a")]
    assert events(chunk({"content": "a"}), DONE) == [TextDelta("a"), Finish(FinishReason.STOP)]
    assert frames(DONE)[0].events == ()


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"reasoning": "a"}, [ThinkingDelta("a")]),
        ({"reasoning": "a", "reasoning_content": "a"}, [ThinkingDelta("a")]),
        ({"reasoning_content": "a", "content": "b"}, [ThinkingDelta("a"), TextDelta("b")]),
        ({"reasoning_details": [{"text": "a", "signature": "s"}]}, [ThinkingDelta("a"), ThinkingDelta(signature="s")]),
        ({"reasoning_details": [{"summary": "a"}]}, [ThinkingDelta("a")]),
        ({"reasoning": "a", "reasoning_details": [{"text": "a"}]}, [ThinkingDelta("a")]),
        ({"reasoning_details": [{"data": "d"}]}, [ThinkingDelta(redacted="d")]),
        ({"reasoning_details": [{"data": "d", "format": "openai-responses-v1"}]}, []),
        ({"reasoning_details": [7, {}]}, []),
        ({"reasoning": {"a": 1}, "reasoning_details": "x"}, []),
        ({"content": [{"type": "thinking", "thinking": "a"}, {"text": "b"}, 7]}, [ThinkingDelta("a"), TextDelta("b")]),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, [RefusalDelta("no")]),
        ({"content": {"a": 1}, "refusal": 7, "tool_calls": "x", "function_call": []}, []),
        ({"tool_calls": [7, None]}, []),
    ],
)
def test_what_a_delta_says(delta: dict[str, Any], expected: list[Event]) -> None:
    """Each thing once, in the order in which it is thought and said; what has the wrong type says nothing."""
    assert events(chunk(delta)) == expected


def test_legacy_text() -> None:
    """Some servers answer chats as text completions."""
    assert events(event(b'{"choices":[{"text":"a","index":1}]}')) == [TextDelta("a", 1)]


def test_choices_without_an_index_are_counted() -> None:
    """By their place; and one of a strange type is as if there were none."""
    data = {"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}, {"index": [], "delta": None}]}

    assert events(event(json.dumps(data).encode())) == [TextDelta("a", 0), TextDelta("b", 1)]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (
            [{"id": "a", "function": {"name": "f"}}, {"function": {"arguments": "{}"}}],
            [ToolCallBegin(0, "a", "f"), ToolCallDelta(0, "{}")],
        ),
        (
            [
                {"id": "a", "function": {"name": "f"}},
                {"id": "b", "function": {"name": "g"}},
                {"id": "a", "function": {"arguments": "1"}},
            ],
            [ToolCallBegin(0, "a", "f"), ToolCallBegin(1, "b", "g"), ToolCallDelta(0, "1")],
        ),
        (
            [
                {"index": 7, "id": "a"},
                {"index": 7, "function": {"arguments": "1"}},
                {"index": 7, "function": {"name": "f", "arguments": "2"}},
            ],
            [ToolCallBegin(0, "a", "f"), ToolCallDelta(0, "12")],
        ),
        (
            [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}},
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}},
            ],
            [ToolCallBegin(0, "a", "f"), ToolCallDelta(0, "1")],
        ),
        ([{"index": 0, "id": "a", "function": {"arguments": "1"}}], [ToolCallBegin(0, "a", ""), ToolCallDelta(0, "1")]),
        ([{"index": 0, "id": "a", "function": "f"}], [ToolCallBegin(0, "a", "")]),
    ],
)
def test_calls_are_told_apart(deltas: list[dict[str, Any]], expected: list[Event]) -> None:
    """By their index, or by their id, or by neither; a call begins once it has a name, or when all is over."""
    assert calls(*deltas) == expected


def test_an_id_is_made_where_there_is_none() -> None:
    """The same however often the bytes are read, and another for each call."""
    deltas = [{"index": index, "function": {"name": "f"}} for index in range(2)]

    ids = [each.id for each in calls(*deltas) if isinstance(each, ToolCallBegin)]

    assert len(set(ids)) == 2
    assert ids == [each.id for each in calls(*deltas) if isinstance(each, ToolCallBegin)]
    assert all(0 < len(id) <= 40 for id in ids)


def test_errors_have_no_events() -> None:
    """And neither has what cannot be read."""
    found = frames(chunk({"content": "a"}), event(b"{"), event(b'{"error":{"message":"x","code":429}}'))

    assert [bool(frame.events) for frame in found] == [True, False, False]
    assert found[1].malformed
    assert found[2].failure is not None


def test_a_whole_answer_that_is_none() -> None:
    """It fails as it does without events."""
    with pytest.raises(UpstreamFailure) as caught:
        PROVIDER.parse_whole(b"<html>", events=True)

    assert caught.value.kind is FailureKind.UNREADABLE


ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | st.just([]) | st.just({"text": "a"})
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of the fields, now and then of a strange type."""
    return st.fixed_dictionaries({}, optional={name: ODD | field for name, field in fields.items()})


TEXT = st.text(max_size=3)
INDEX = st.integers(0, 2)
CALL = some(index=INDEX, id=st.sampled_from("abc"), function=some(name=TEXT, arguments=TEXT))
DELTA = some(content=TEXT, refusal=TEXT, reasoning=TEXT, tool_calls=st.lists(CALL, max_size=3), function_call=CALL)
CHOICE = some(index=INDEX, delta=DELTA, message=DELTA, finish_reason=st.sampled_from(["stop", "length"]), text=TEXT)


@settings(max_examples=300)
@given(st.lists(some(choices=st.lists(CHOICE, max_size=2), id=TEXT), max_size=5))
def test_whatever_a_provider_sends_has_events_in_order(chunks: list[dict[str, Any]]) -> None:
    """One beginning; of each choice, calls begin before they go on, and nothing follows the finish."""
    found = frames(*(event(json.dumps(each).encode()) for each in chunks), DONE)

    begun: set[tuple[int, int]] = set()
    finished: set[int] = set()
    seen = [each for frame in found for each in frame.events]
    assert [isinstance(each, Begin) for each in seen] == [number == 0 for number in range(len(seen))]
    for each in seen[1:]:
        assert not isinstance(each, Begin)
        assert each.choice not in finished
        if isinstance(each, Finish):
            finished.add(each.choice)
        if isinstance(each, ToolCallBegin):
            assert each.index == sum(choice == each.choice for choice, _ in begun)
            begun.add((each.choice, each.index))
        if isinstance(each, ToolCallDelta):
            assert (each.choice, each.index) in begun
