from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbstr.dialects.openai import StreamCollector, StreamDecoder, looks_like_sse, parse_whole, whole_to_stream
from arbstr.dialects.sse import DONE, event
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame

CASES = Path(__file__).resolve().parent.parent / "golden" / "openai-openai"
WHOLE = ["whole-text", "whole-tools", "whole-refusal", "whole-reasoning", "whole-filtered", "whole-no-usage"]


def collected(*pieces: bytes, limit: int = 10_000) -> Frame:
    collector = StreamCollector(limit=limit)
    for piece in pieces:
        collector.feed(piece)
    return collector.finish()


def chunks(*deltas: dict[str, Any], finish: str | None = "stop", **fields: Any) -> bytes:
    """A stream of one choice."""
    choices: list[Any] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices += [{"index": 0, "delta": {}, "finish_reason": finish}] if finish else []
    return b"".join(event(json.dumps({"id": "c", **fields, "choices": [choice]}).encode()) for choice in choices)


def message(stream: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(collected(stream).raw)["choices"][0]["message"]
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_becomes_the_stream_that_it_could_have_been(name: str) -> None:
    """Its events say the same as the body did, and it ends as a stream ends."""
    body = (CASES / name / "answer.json").read_bytes()

    frames = StreamDecoder().feed(whole_to_stream(body))

    whole = parse_whole(body)
    assert frames[-1].done
    assert sum(frame.content_bytes for frame in frames) == whole.content_bytes
    assert [frame.finish for frame in frames if frame.finish] == ([whole.finish] if whole.finish else [])
    assert [frame.usage for frame in frames if frame.usage_only] == ([whole.usage] if whole.usage else [])
    assert all(json.loads(frame.data)["object"] == "chat.completion.chunk" for frame in frames[:-1])


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "whole-no-usage"])
def test_there_and_back_is_where_it_was(name: str) -> None:
    """A whole answer made a stream and collected again is the same answer."""
    body = (CASES / name / "answer.json").read_bytes()
    stream = whole_to_stream(body)

    again = json.loads(collected(*(stream[at : at + 7] for at in range(0, len(stream), 7))).raw)

    assert again == json.loads(body)


def test_streamed_tool_calls_have_an_index() -> None:
    """Clients put them together by it."""
    body = (CASES / "whole-tools" / "answer.json").read_bytes()

    frames = StreamDecoder().feed(whole_to_stream(body))

    calls = json.loads(frames[0].data)["choices"][0]["delta"]["tool_calls"]
    assert [(call["index"], call["id"]) for call in calls] == [(0, "call_a"), (1, "call_b")]


def test_a_legacy_answer_becomes_a_stream_too() -> None:
    """Its text is content there."""
    frames = StreamDecoder().feed(whole_to_stream(b'{"choices":[{"text":"hi","finish_reason":"stop"}]}'))

    assert json.loads(frames[0].data)["choices"][0]["delta"] == {"role": "assistant", "content": "hi"}


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":"x"}', b'{"choices":[]}'])
def test_what_is_no_answer_is_no_stream(body: bytes) -> None:
    """It fails as it would have failed whole."""
    with pytest.raises(UpstreamFailure):
        whole_to_stream(body)


def test_an_answer_that_can_only_just_be_read_is_not_converted() -> None:
    """What cannot be written again is refused, not mangled."""
    with pytest.raises(UpstreamFailure) as caught:
        whole_to_stream(b'{"choices":[{"message":{"content":"x"},"logprobs":-Infinity}]}')

    assert caught.value.kind is FailureKind.UNREADABLE


def test_broken_text_is_converted() -> None:
    """With U+FFFD in it."""
    frames = StreamDecoder().feed(whole_to_stream(b'{"choices":[{"message":{"content":"\xff\\ud800"}}]}'))

    assert json.loads(frames[0].data)["choices"][0]["delta"]["content"] == "\ufffd\ufffd"


def test_a_stream_is_collected() -> None:
    """Head, text, finish and usage."""
    stream = (CASES / "text" / "answer.sse").read_bytes()

    frame = collected(stream)

    assert json.loads(frame.raw) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1763600000,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Héllo\n😀", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": json.loads(frame.raw)["usage"],
    }
    assert (frame.content_bytes, frame.finish, frame.done) == (11, "stop", True)
    assert frame.usage is not None
    assert (frame.usage.input_tokens, frame.usage.cached_input_tokens) == (12, 8)


def test_tool_calls_grow_by_their_index() -> None:
    """Names and ids come once, arguments in pieces."""
    stream = (CASES / "tools" / "answer.sse").read_bytes()

    assert message(stream)["tool_calls"] == [
        {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}},
        {"id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]


def test_tool_calls_without_an_index_begin_with_their_id() -> None:
    """As some providers send them; a name that is repeated is still one name."""
    stream = chunks(
        {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]},
        {"tool_calls": [{"function": {"name": "f", "arguments": "}"}}]},
        {"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "{}"}}, "odd"]},
    )

    assert message(stream)["tool_calls"] == [
        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_reasoning_refusals_and_audio_are_collected() -> None:
    """Texts are joined, lists are extended, objects grow."""
    stream = chunks(
        {"role": "assistant", "content": None, "reasoning": "a", "reasoning_details": [{"text": "a"}]},
        {"role": "assistant", "reasoning": "b", "reasoning_details": [{"text": "b"}], "refusal": "n"},
        {"refusal": "o", "audio": {"id": "x", "transcript": "h"}, "score": 1, "annotations": []},
        {"audio": {"transcript": "i"}, "function_call": {"name": "f", "arguments": "1"}, "score": 2},
    )

    assert message(stream) == {
        "role": "assistant",
        "content": None,
        "reasoning": "ab",
        "reasoning_details": [{"text": "a"}, {"text": "b"}],
        "refusal": "no",
        "audio": {"id": "x", "transcript": "hi"},
        "function_call": {"name": "f", "arguments": "1"},
        "score": 2,
        "annotations": [],
    }


def test_a_legacy_stream_is_collected() -> None:
    """Its text becomes the message's content."""
    assert message((CASES / "legacy-text" / "answer.sse").read_bytes())["content"] == "Hi"


def test_choices_are_kept_apart() -> None:
    """By their index, in its order; log probabilities are joined."""
    odd = event(
        b'{"choices":[null,{"index":"x","delta":5},{"index":1,"delta":{"content":"y"},"logprobs":{"content":[1]}}]}'
    )
    more = event(b'{"choices":[{"index":1,"delta":{"content":"z"},"logprobs":{"content":[2],"refusal":[]}}]}')

    frame = collected(odd + more + chunks({"content": "x"}) + DONE)

    choices = json.loads(frame.raw)["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(0, "x"), (1, "yz")]
    assert choices[1]["logprobs"] == {"content": [1, 2], "refusal": []}


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (b"", FailureKind.UNREADABLE),
        (b": ping\n\n", FailureKind.UNREADABLE),
        (DONE, FailureKind.UNREADABLE),
        (chunks({"content": "x"}, finish=None), FailureKind.UNREADABLE),
        (chunks({"content": "x"}) + event(b'{"error":{"code":429,"message":"x"}}'), FailureKind.RATE_LIMITED),
        (event(b"{"), FailureKind.UNREADABLE),
        (chunks({"content": "x" * 20_000}), FailureKind.UNREADABLE),
    ],
    ids=["nothing", "comment", "done-only", "cut", "error", "malformed", "too-long"],
)
def test_only_a_complete_stream_is_collected(stream: bytes, kind: FailureKind) -> None:
    """A cut, an error or too much of it is a failure."""
    with pytest.raises(UpstreamFailure) as caught:
        collected(stream)

    assert caught.value.kind is kind


def test_a_stream_that_cannot_be_put_together_is_a_failure() -> None:
    """Nesting that passes in a relay is more than can be joined, but never more than an attempt's failure."""

    def nested(depth: int) -> bytes:
        audio = b'{"a":' * depth + b"1" + b"}" * depth
        return event(b'{"choices":[{"delta":{"content":"x","audio":' + audio + b"}}]}") + chunks({})

    def fits(depth: int) -> bool:
        try:
            return collected(nested(depth)).content
        except UpstreamFailure:
            return False

    assert fits(50)
    assert not all(fits(depth) for depth in range(100, 1000, 20))


def test_a_malformed_chunk_is_left_out() -> None:
    """As it is from a stream that is relayed."""
    assert message(event(b"{") + chunks({"content": "x"}, {"content": "y"}) + DONE)["content"] == "xy"


@pytest.mark.parametrize(
    "first", [b"data: x", b"d", b"event:", b": ping", b":", b"\n\ndata:", b"\xef\xbb\xbfdata", b"id: 1"]
)
def test_a_stream_is_known_by_its_first_bytes(first: bytes) -> None:
    """Whatever its content type says."""
    assert looks_like_sse(first)


@pytest.mark.parametrize("first", [b"", b"{", b'{"data":', b" {", b"[", b"<html>", b"datum", b"\n", b"error"])
def test_other_bodies_are_no_streams(first: bytes) -> None:
    """JSON and pages begin otherwise."""
    assert not looks_like_sse(first)
