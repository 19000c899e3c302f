from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.dialects.openai import StreamDecoder, parse_whole
from arbstr.dialects.sse import DONE, event
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage


def chunk(delta: Any, finish: Any = None, **extra: Any) -> bytes:
    return event(json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **extra}).encode())


def frames(*pieces: bytes) -> list[Frame]:
    decoder = StreamDecoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.finish()


def one(stream: bytes) -> Frame:
    (frame,) = frames(stream)
    return frame


@pytest.mark.parametrize(
    ("delta", "size"),
    [
        ({"content": "x"}, 1),
        ({"content": "é😀"}, 6),
        ({"content": [{"type": "text", "text": "ab"}]}, 2),
        ({"reasoning": "abc"}, 3),
        ({"reasoning_content": "abc"}, 3),
        ({"reasoning_details": [{"type": "reasoning.text", "id": "r", "text": "abc"}]}, 3),
        ({"reasoning": "abc", "reasoning_content": "abc", "reasoning_details": [{"text": "abc"}]}, 3),
        ({"refusal": "no"}, 2),
        (
            {
                "tool_calls": [
                    {"index": 0, "id": "call", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ]
            },
            3,
        ),
        ({"function_call": {"name": "f", "arguments": "{"}}, 2),
        ({"audio": {"id": "a", "data": "AAAA"}}, 0),
        ({"audio": {"transcript": "hi"}}, 2),
        ({"content": "a", "refusal": "b", "reasoning": "c"}, 3),
    ],
)
def test_whatever_is_generated_commits(delta: Any, size: int) -> None:
    """Text, reasoning, calls, refusals, audio; sizes are of text, each said once."""
    frame = one(chunk(delta))

    assert (frame.content, frame.content_bytes) == (True, size)


@pytest.mark.parametrize(
    "delta",
    [
        {},
        {"role": "assistant"},
        {"role": "assistant", "content": ""},
        {"content": None, "refusal": None, "tool_calls": None, "reasoning": None},
        {"content": [], "tool_calls": [], "reasoning_content": "", "audio": {}},
        None,
    ],
)
def test_a_delta_that_says_nothing_does_not_commit(delta: Any) -> None:
    """A role, or nothing at all."""
    frame = one(chunk(delta))

    assert not frame.content
    assert not frame.usage_only
    assert not frame.malformed


def test_a_finish_commits() -> None:
    """Whatever it is; what is no text has no name."""
    assert one(chunk({}, "stop")) == Frame(chunk({}, "stop"), chunk({}, "stop")[6:-2], True, 0, "stop")
    assert one(chunk({}, "")).content is False
    assert (one(chunk({}, 5)).content, one(chunk({}, 5)).finish) == (True, None)


def test_a_content_that_is_nested_without_end_is_still_content() -> None:
    """And costs no call stack."""
    deep = b'{"choices":[{"delta":{"content":' + b"[" * 800 + b'"x"' + b"]" * 800 + b"}}]}"

    assert (one(event(deep)).content, one(event(deep)).content_bytes) == (True, 0)
    assert one(event(b"[" * 100_000)).malformed


def test_done_ends_it() -> None:
    """What follows is dropped, in the same piece or later, whole events or not."""
    decoder = StreamDecoder()

    first = decoder.feed(chunk({"content": "x"}) + DONE + chunk({"content": "y"}))
    later = decoder.feed(b"data: " + b"x" * 20_000_000)

    assert [frame.done for frame in first] == [False, True]
    assert decoder.done
    assert later == decoder.finish() == []


def test_an_event_beyond_the_limit_is_unreadable() -> None:
    """What came before it is still handed on."""
    decoder = StreamDecoder(max_event=200)

    found = decoder.feed(chunk({"content": "x"}) + b"data: " + b"y" * 400)

    assert [frame.content for frame in found] == [True]
    with pytest.raises(UpstreamFailure) as caught:
        decoder.feed(b"y")
    assert caught.value.kind is FailureKind.UNREADABLE
    with pytest.raises(UpstreamFailure):
        decoder.finish()


def test_a_whole_answer_of_the_legacy_kind_is_read() -> None:
    """Its text stands beside a message's content."""
    frame = parse_whole(b'{"choices":[{"text":"hi","finish_reason":"stop"}]}')

    assert (frame.content_bytes, frame.finish, frame.done) == (2, "stop", True)


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"[]", b'{"choices":[]}', b'{"choices":{}}', b'{"choices":[{}]}', b'{"choices":[null]}', b"[" * 99_999],
)
def test_an_answer_with_nothing_in_it_is_unreadable(body: bytes) -> None:
    """Nothing was sent to the caller yet: somebody else may do better."""
    with pytest.raises(UpstreamFailure) as caught:
        parse_whole(body)

    assert caught.value.kind is FailureKind.UNREADABLE
    assert len(caught.value.message) <= 300


PIECES = st.lists(
    st.sampled_from(
        [
            chunk({"content": "é"}),
            chunk({"content": "x"}).replace(b"\n", b"\r\n"),
            chunk({}, "stop").replace(b"\n", b"\r"),
            chunk({"content": "x"}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
            event(b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'),
            event(b'{"error":{"message":"x"}}'),
            event(b'{"choices":[{"delta":{"content":"\xff\\ud800"}}]}'),
            event(b"{", name=b"x"),
            b": ping\n\n",
            b"data\n\n",
            DONE,
        ]
    ),
    max_size=6,
).map(b"".join)


@settings(max_examples=100)
@given(stream=PIECES, size=st.integers(1, 40))
def test_cutting_changes_nothing(stream: bytes, size: int) -> None:
    """The frames are the same however the bytes are cut; a comment is at most cut in two."""

    def said(found: list[Frame]) -> list[tuple[Any, ...]]:
        return [
            (f.data, f.content, f.content_bytes, f.finish, f.usage, f.usage_only, f.done, f.malformed, bool(f.failure))
            for f in found
            if not f.comment
        ]

    whole = frames(stream)
    cut = frames(*(stream[at : at + size] for at in range(0, len(stream), size)))

    assert said(cut) == said(whole)
    assert stream.startswith(b"".join(frame.raw for frame in cut))


USED = {"prompt_tokens": 19, "completion_tokens": 13, "total_tokens": 32}


@pytest.mark.parametrize(
    "last",
    [
        chunk({}, "stop", usage=USED),
        event(json.dumps({"choices": [{"delta": {}, "finish_reason": "stop", "usage": USED}]}).encode()),
        chunk({}, "stop", x_groq={"id": "req_1", "usage": USED}),
    ],
    ids=["openai", "moonshot", "groq"],
)
def test_where_a_stream_says_what_it_used(last: bytes) -> None:
    """Moonshot says it of the choice, and Groq in an object of its own where nobody asked."""
    frame = one(last)

    assert frame.usage == Usage(19, 13)
    assert (frame.finish, frame.usage_only) == ("stop", False)


@pytest.mark.parametrize("odd", [{"x_groq": {"id": "req_1"}}, {"x_groq": [1]}, {"x_groq": "u"}])
def test_objects_of_its_own_without_usage(odd: dict[str, Any]) -> None:
    """Groq's first chunk has one."""
    frame = one(chunk({"role": "assistant", "content": "x"}, **odd))

    assert (frame.content, frame.usage, frame.failure) == (True, None, None)
