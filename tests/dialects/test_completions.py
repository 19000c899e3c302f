from __future__ import annotations

import json
from typing import Any

import pytest

from arbstr.dialects.completions import MAX_PROMPTS, CompletionCaller
from arbstr.dialects.openai import StreamDecoder
from arbstr.dialects.sse import DONE
from arbstr.domain.answer import Begin, Event, Finish, FinishReason, RefusalDelta, TextDelta, ThinkingDelta
from arbstr.domain.conversation import Conversation, Message, Role, Text
from arbstr.domain.errors import InvalidRequest, UpstreamError
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage

CALLER = CompletionCaller()


def parse(**fields: Any) -> ChatRequest:
    return CALLER.parse(json.dumps({"model": "m", "prompt": "Hi", **fields}).encode())


def stream(*events: Event, usage: Usage | None = None, **fields: Any) -> list[dict[str, Any]]:
    """The chunks of a stream, its end included."""
    writer = CALLER.stream(parse(stream=True, **fields), request_id="r", model="m", created=7)
    frames = [*(Frame(b"", events=(event,)) for event in events), Frame(b"", usage=usage)]
    written = b"".join(writer.write(frame) for frame in frames) + writer.end(cost_sats=0.5)
    assert written.endswith(DONE)
    return [json.loads(event.removeprefix(b"data: ")) for event in written.removesuffix(DONE).split(b"\n\n") if event]


def texts(*events: Event, **fields: Any) -> list[tuple[int, str, str | None]]:
    """Index, text and finish of each chunk."""
    choices = [chunk["choices"][0] for chunk in stream(*events, **fields)]
    return [(choice["index"], choice["text"], choice["finish_reason"]) for choice in choices]


def whole(*events: Event, **fields: Any) -> list[tuple[int, str, str]]:
    frames = [Frame(b"", events=events)]
    body = CALLER.whole(parse(**fields), frames, request_id="r", model="m", created=7)
    return [(choice["index"], choice["text"], choice["finish_reason"]) for choice in json.loads(body)["choices"]]


@pytest.mark.parametrize(
    ("prompt", "input_bytes", "last", "n"),
    [
        ("Hé", 3, "Hé", 1),
        ("", 0, "", 1),
        (["ab", "cde"], 5, "cde", 2),
        ([1, 2, 3], 12, "", 1),
        ([[1, 2], [3]], 12, "", 2),
    ],
)
def test_prompts(prompt: Any, input_bytes: int, last: str, n: int) -> None:
    """In the four forms; a token counts for four bytes, and each prompt is answered."""
    request = parse(prompt=prompt)

    assert (request.input_bytes, request.last_user_text, request.n) == (input_bytes, last, n)
    assert (request.dialect, request.stream, request.max_tokens) == ("completions", False, None)


def test_what_is_written_is_counted() -> None:
    """For each prompt ``n`` choices, or ``best_of`` of which few are shown; a suffix is input, too."""
    assert parse(prompt=["a", "b"], n=3).n == 6
    assert parse(prompt=["a", "b"], n=3, best_of=5).n == 10
    assert parse(prompt="ab", suffix="cd").input_bytes == 4
    assert parse(max_tokens=7).max_tokens == 7
    assert parse(stream=True, stream_options={"include_usage": True}).include_usage
    assert not parse(stream_options={"include_usage": True}).include_usage


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 7]}, "prompt[1]"),
        ({"prompt": ["a", [7]]}, "prompt[1]"),
        ({"prompt": [{}]}, "prompt[0]"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": [1, -1]}, "prompt[1]"),
        ({"prompt": [[1], [True]]}, "prompt[1][0]"),
        ({"prompt": ["a"] * (MAX_PROMPTS + 1)}, "prompt"),
        ({"suffix": 7}, "suffix"),
        ({"n": 0}, "n"),
        ({"best_of": 1000}, "best_of"),
        ({"max_tokens": "x"}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "stream_options": []}, "stream_options"),
    ],
)
def test_bad_requests(fields: dict[str, Any], param: str) -> None:
    """They are refused by the place where they are wrong."""
    with pytest.raises(InvalidRequest) as caught:
        parse(**fields)

    assert caught.value.param == param


def test_the_same_dialect_gets_what_was_written() -> None:
    """But for the model, and the wish for usage in a stream."""
    sent = CALLER.encode_same(parse(prompt=[[1]], stream=True, logprobs=5, odd=1e5), model="theirs")

    assert json.loads(sent) == {
        "model": "theirs",
        "prompt": [[1]],
        "stream": True,
        "logprobs": 5,
        "odd": 100000.0,
        "stream_options": {"include_usage": True},
    }


def test_a_prompt_is_a_users_message() -> None:
    """With the options that chats have, too; the others are noted."""
    request = parse(
        prompt=["Hi"], n=2, max_tokens=5, temperature=0, stop="x", seed=1, best_of=3, logprobs=2, user="u", echo=True
    )

    assert CALLER.read(request) == Conversation(
        instructions=(),
        messages=(Message(Role.USER, (Text("Hi"),)),),
        max_tokens=5,
        n=2,
        temperature=0.0,
        stop=("x",),
        seed=1,
        user="u",
        dropped=("best_of", "logprobs"),
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1]}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"temperature": "x"}, "temperature"),
    ],
)
def test_what_is_no_conversation(fields: dict[str, Any], param: str) -> None:
    """Only a provider of the same dialect can be asked for it."""
    request = parse(**fields)

    with pytest.raises(InvalidRequest) as caught:
        CALLER.read(request)

    assert caught.value.param == param


def test_an_empty_suffix_asks_for_nothing() -> None:
    """As many clients send it."""
    assert CALLER.read(parse(suffix="")).dropped == CALLER.read(parse(suffix=None)).dropped == ()


def test_a_stream_of_text() -> None:
    """Reasoning has no place here; what is open is finished at the end."""
    events: list[Event] = [
        Begin(),
        ThinkingDelta("Hm."),
        TextDelta("a"),
        TextDelta("b", 1),
        Finish(FinishReason.LENGTH, choice=1),
    ]

    assert texts(*events) == [(0, "a", None), (1, "b", None), (1, "", "length"), (0, "", "stop")]
    assert stream(TextDelta("a"))[0] == {
        "id": "cmpl-r",
        "object": "text_completion",
        "created": 7,
        "model": "m",
        "choices": [{"text": "a", "index": 0, "logprobs": None, "finish_reason": None}],
    }


@pytest.mark.parametrize(
    ("events", "text", "finish"),
    [
        ([TextDelta("a"), Finish(FinishReason.STOP)], "a", "stop"),
        ([TextDelta("a"), Finish(FinishReason.STOP_SEQUENCE, "x")], "a", "stop"),
        ([RefusalDelta("No."), Finish(FinishReason.REFUSAL)], "No.", "content_filter"),
        ([Finish(FinishReason.CONTENT_FILTER)], "", "content_filter"),
        ([Finish(FinishReason.REFUSAL)], "", "content_filter"),
    ],
)
def test_finishes(events: list[Event], text: str, finish: str) -> None:
    """A refusal is text whose finish says what it is."""
    assert whole(*events) == [(0, text, finish)]
    assert "".join(each for _, each, _ in texts(*events)) == text
    assert texts(*events)[-1] == (0, "", finish)


def test_an_echo() -> None:
    """The prompt comes first, in every choice."""
    events: list[Event] = [Begin(), TextDelta("a"), TextDelta("b", 1)]

    assert whole(*events, echo=True) == [(0, "Hia", "stop"), (1, "Hib", "stop")]
    assert texts(*events, echo=True)[:3] == [(0, "Hi", None), (0, "a", None), (1, "Hib", None)]


def test_usage_comes_last_for_those_who_asked() -> None:
    """With the cost."""
    asked = stream(TextDelta("a"), usage=Usage(3, 1), stream_options={"include_usage": True})

    assert [chunk["usage"] for chunk in asked[:-1]] == [None, None]
    assert asked[-1]["choices"] == []
    assert (asked[-1]["usage"]["total_tokens"], asked[-1]["usage"]["cost_sats"]) == (4, 0.5)
    assert not any("usage" in chunk for chunk in stream(TextDelta("a"), usage=Usage(3, 1)))


def test_our_streams_are_read_by_the_observer_of_theirs() -> None:
    """A completion is a completion, whoever wrote it."""
    writer = CALLER.stream(parse(stream=True), request_id="r", model="m", created=7)
    written = writer.write(Frame(b"", events=(TextDelta("é"), Finish(FinishReason.LENGTH)))) + writer.end(
        cost_sats=None
    )

    frames = StreamDecoder().feed(written)

    assert [(frame.content, frame.content_bytes, frame.finish, frame.done) for frame in frames] == [
        (True, 2, None, False),
        (True, 0, "length", False),
        (False, 0, None, True),
    ]


def test_errors() -> None:
    """The same object as everywhere in this API."""
    error = UpstreamError("It broke.")
    writer = CALLER.stream(parse(stream=True), request_id="r", model="m", created=7)

    assert writer.error(error) == CALLER.error_event(error) == b"data: " + CALLER.error(error) + b"\n\n"
