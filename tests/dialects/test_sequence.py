"""Tool calls that a provider mixes are told one after another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.dialects import anthropic as anthropic_dialect
from arbstr.dialects.chat import ChatCaller
from arbstr.dialects.responses import ResponsesCaller
from arbstr.dialects.sequence import MOST_HELD, Sequencer
from arbstr.dialects.translate import CallerDialect
from arbstr.domain.answer import Event, Finish, FinishReason, TextDelta, ThinkingDelta, ToolCallBegin, ToolCallDelta
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame

END = Finish(FinishReason.TOOL_CALLS)
RESPONSES: CallerDialect = ResponsesCaller()
CHAT: CallerDialect = ChatCaller()


def sequenced(events: Sequence[Event]) -> list[Event]:
    sequencer = Sequencer()
    return [told for event in events for told in sequencer.take(event)]


def call(index: int, *pieces: str) -> list[Event]:
    """All events of one call."""
    return [ToolCallBegin(index, f"call_{index}", f"f{index}"), *(ToolCallDelta(index, piece) for piece in pieces)]


def test_calls_one_after_another_wait_for_nothing() -> None:
    """As nearly all providers send them; also where text stands between, and a call has no arguments."""
    events = [*call(0, '{"a": "}"', "}"), TextDelta("x"), *call(1, "[", "]\n"), *call(2, '{"b":"\\"', '}"}'), *call(3)]
    sequencer = Sequencer()

    assert [sequencer.take(event) for event in events] == [(event,) for event in events]


def test_a_later_call_waits_until_the_earlier_is_over() -> None:
    """Told in one go, as soon as the earlier call's JSON is closed; the next one then goes on as it comes."""
    sequencer = Sequencer()
    begin, piece = call(1, "{")
    before: list[Event] = [*call(0, '{"a":'), begin, piece]

    waiting = [sequencer.take(event) for event in before]
    closed = sequencer.take(ToolCallDelta(0, "1}"))
    after = sequencer.take(ToolCallDelta(1, "}"))

    assert waiting == [(before[0],), (before[1],), (), ()]
    assert closed == (ToolCallDelta(0, "1}"), begin, piece)
    assert after == (ToolCallDelta(1, "}"),)


def test_what_stands_between_calls_keeps_its_place() -> None:
    """Text and thoughts come after the call that they came in the middle of, and before those that began later."""
    first, second, third = call(0, "{"), call(1, "{"), call(2, "{}")
    between: list[Event] = [TextDelta("a"), ThinkingDelta("b"), TextDelta("c"), TextDelta("d")]
    mixed = [*first, *between[:2], second[0], *between[2:3], second[1], *between[3:], *third]

    told = sequenced([*mixed, ToolCallDelta(0, "}"), TextDelta("e"), ToolCallDelta(1, "}"), END])

    assert told == [
        *first,
        ToolCallDelta(0, "}"),
        *between[:2],
        *second,
        ToolCallDelta(1, "}"),
        *between[2:],
        *third,
        TextDelta("e"),
        END,
    ]


def test_what_is_never_closed_is_over_at_the_finish() -> None:
    """A model may write what is no JSON, and an answer may be cut at its limit."""
    mixed: list[Event] = [*call(0, '"a'), *call(1, '{"b'), ToolCallDelta(0, "!"), ToolCallDelta(1, '"')]
    sequencer = Sequencer()

    told = [each for event in mixed for each in sequencer.take(event)]
    rest = sequencer.rest()

    assert told == [*call(0, '"a', "!")]
    assert list(rest) == call(1, '{"b', '"')
    assert sequenced([*mixed, END]) == [*told, *rest, END]


@pytest.mark.parametrize(
    "events",
    [
        [*call(0, "{}"), *call(1, "{}"), ToolCallDelta(0, "x")],
        [*call(0, "{}"), TextDelta("a"), ToolCallDelta(0, "x")],
        [ToolCallDelta(3, "{}")],
    ],
    ids=["after the next call", "after text", "never begun"],
)
def test_a_call_that_is_over_does_not_go_on(events: list[Event]) -> None:
    """It was told as it is: rather no answer than arguments without their end."""
    sequencer = Sequencer()
    for event in events[:-1]:
        sequencer.take(event)

    with pytest.raises(UpstreamFailure) as caught:
        sequencer.take(events[-1])

    assert caught.value.kind is FailureKind.UNREADABLE


def test_white_space_behind_a_call_is_nothing() -> None:
    """It changes no arguments."""
    assert sequenced([*call(0, "{}"), *call(1, "{}"), ToolCallDelta(0, "\n"), ToolCallDelta(0, "")]) == [
        *call(0, "{}"),
        *call(1, "{}"),
    ]


def test_no_more_waits_than_memory_bears() -> None:
    """However large or many the pieces are; what was let go counts no more."""
    large, sequencer = "x" * (MOST_HELD // 2), Sequencer()
    for first in (0, 2, 4):
        for event in [*call(first, "{"), *call(first + 1, large)]:
            sequencer.take(event)
        for index, piece in ((first, "}"), (first + 1, "{}")):
            sequencer.take(ToolCallDelta(index, piece))
    for event in [*call(8, "{"), *call(9, large)]:
        sequencer.take(event)

    with pytest.raises(UpstreamFailure) as caught:
        sequencer.take(ToolCallDelta(9, large))

    assert caught.value.kind is FailureKind.UNREADABLE


ARGUMENTS = st.dictionaries(st.text(max_size=3), st.text(st.sampled_from('ab"\\{}[]é'), max_size=5), max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False)
)


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """The events of some calls, one after another, and mixed: in each, calls begin in the same order."""
    calls = []
    for index, arguments in enumerate(draw(st.lists(ARGUMENTS, min_size=1, max_size=4))):
        cuts = sorted(draw(st.sets(st.integers(1, len(arguments) - 1), max_size=4)))
        calls.append(call(index, *(arguments[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True))))
    left = [list(events) for events in calls]
    mixed: list[Event] = []
    while any(left):
        begun = 1 + max((index for index, events in enumerate(left) if len(events) < len(calls[index])), default=-1)
        turn = draw(st.sampled_from([index for index, events in enumerate(left) if events and index <= begun]))
        mixed.append(left[turn].pop(0))
    return [event for events in calls for event in events], mixed


@given(mixtures())
def test_any_mixture_of_calls_is_told_as_if_it_had_been_none(mixture: tuple[list[Event], list[Event]]) -> None:
    """The same events, one call after another."""
    apart, mixed = mixture

    assert sequenced([*mixed, END]) == [*apart, END]


@given(mixtures(), st.data())
def test_whatever_else_is_mixed_in_interrupts_no_call(
    mixture: tuple[list[Event], list[Event]], data: st.DataObject
) -> None:
    """Nothing is lost, no call is interrupted, and text stays in its order."""
    _, mixed = mixture
    for number in range(data.draw(st.integers(0, 5))):
        mixed.insert(data.draw(st.integers(0, len(mixed))), TextDelta(str(number)))

    told = sequenced([*mixed, END])

    assert sorted(map(repr, told)) == sorted(map(repr, [*mixed, END]))
    assert [event for event in told if type(event) is TextDelta] == [
        event for event in mixed if type(event) is TextDelta
    ]
    open_call = None
    for event in told:
        if type(event) is ToolCallDelta:
            assert event.index == open_call
        else:
            open_call = event.index if type(event) is ToolCallBegin else None


def stream(dialect: CallerDialect, events: Sequence[Event], request: dict[str, Any]) -> bytes:
    asked = dialect.parse(json.dumps({"model": "m", "stream": True, **request}).encode())
    writer = dialect.stream(asked, request_id="0199-ab", model="served", created=1763640000)
    return b"".join(writer.write(Frame(b"", events=(event,))) for event in events) + writer.end(cost_sats=None)


def data_of(said: bytes) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in said.decode().split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


@given(mixtures())
def test_a_response_has_the_same_items(mixture: tuple[list[Event], list[Event]]) -> None:
    """In the same order, each done before the next is added, with the sequence numbers in a row."""
    expected, said = (data_of(stream(RESPONSES, [*events, END], {"input": "hello"})) for events in mixture)

    assert said[-1] == expected[-1]
    assert [event["sequence_number"] for event in said] == list(range(len(said)))
    added = [event["output_index"] for event in said if "output_index" in event]
    assert added == sorted(added)


@settings(max_examples=25)
@given(mixtures())
def test_a_message_has_the_same_blocks(mixture: tuple[list[Event], list[Event]]) -> None:
    """In the same order, each stopped before the next is started; and the vendor's SDK collects them."""
    request = {"max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}

    expected, said = (stream(anthropic_dialect.CALLER, [*events, END], request) for events in mixture)

    blocks = [event["index"] for event in data_of(said) if event["type"].startswith("content_block")]
    assert blocks == sorted(blocks)
    assert collected(said) == collected(expected)


def collected(said: bytes) -> Any:
    """The blocks of the message that Anthropic's SDK makes of a stream."""
    answer = httpx2.Response(200, content=said, headers={"content-type": "text/event-stream"})
    with (
        httpx2.Client(transport=httpx2.MockTransport(lambda request: answer)) as http,
        anthropic.Anthropic(api_key="key", http_client=http) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hello"}]) as found,
    ):
        return [block.model_dump() for block in found.get_final_message().content]


@given(mixtures())
def test_chat_completions_take_a_mixture_as_it_is(mixture: tuple[list[Event], list[Event]]) -> None:
    """There each piece says whose it is."""
    apart, mixed = mixture
    said = data_of(stream(CHAT, [*mixed, END], {"messages": [{"role": "user", "content": "hello"}]}))

    arguments: dict[int, str] = {}
    for chunk in said:
        for piece in chunk["choices"][0]["delta"].get("tool_calls", ()):
            arguments[piece["index"]] = arguments.get(piece["index"], "") + piece["function"]["arguments"]

    expected: dict[int, str] = {}
    for event in apart:
        if type(event) is ToolCallDelta:
            expected[event.index] = expected.get(event.index, "") + event.arguments
    assert arguments == expected
