from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.dialects.responses import ResponsesCaller, ResponsesDecoder, ResponsesProvider
from arbstr.dialects.responses.usage import read_usage, usage_object
from arbstr.domain.answer import Finish, FinishReason, TextDelta, ToolCallBegin, ToolCallDelta
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage

CASES = Path(__file__).resolve().parent.parent / "golden" / "responses-responses"
PROVIDER = ResponsesProvider()
CALLER = ResponsesCaller()


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def frames(*pieces: bytes, events: bool = True) -> list[Frame]:
    decoder = PROVIDER.decoder(events=events)
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.finish()


def completed(**fields: Any) -> bytes:
    return event("response.completed", response={"status": "completed", "output": [], **fields})


def said(read: list[Frame]) -> list[Any]:
    return [(frame.data, frame.content, frame.finish, frame.events, frame.malformed) for frame in read if frame.data]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_frames_do_not_depend_on_how_the_bytes_are_cut(data: st.DataObject) -> None:
    """Any split of a stream's bytes gives the same frames."""
    case = data.draw(st.sampled_from(["text", "function-calls", "reasoning-summary", "odd-events"]))
    stream = (CASES / case / "answer.sse").read_bytes()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)))

    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert said(frames(*pieces)) == said(frames(stream))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"")))
def test_no_data_raises(data: bytes) -> None:
    """Whatever a provider sends as an event is a frame; as a whole answer, it is one or a failure."""
    frames(b"data: " + data + b"\n\n")
    with contextlib.suppress(UpstreamFailure):
        PROVIDER.parse_whole(data, events=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "item",
                    "response",
                    "delta",
                    "output",
                    "content",
                    "text",
                    "error",
                    "output_index",
                    "summary",
                    "status",
                ]
            ),
            inner
            | st.sampled_from(
                ["message", "function_call", "reasoning", "response.completed", "response.output_item.done"]
            ),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        ["error", "response.created", "response.completed", "response.failed", "response.output_item.added",
         "response.output_item.done", "response.output_text.delta", "response.function_call_arguments.delta"]
    ),
    st.dictionaries(st.sampled_from(["item", "response", "delta", "output_index", "summary_index"]), JSON),
)  # fmt: skip
def test_no_shape_raises(kind: str, fields: dict[str, Any]) -> None:
    """Fields of other types than agreed are as if absent."""
    frames(event(kind, **fields))
    with contextlib.suppress(UpstreamFailure):
        PROVIDER.parse_whole(json.dumps({"output": [], **fields}).encode(), events=True)


def test_what_only_announces_is_no_content() -> None:
    """A failure after it may still fall back."""
    read = frames(
        event("response.created", response={"id": "r"}),
        event("response.queued", response={"id": "r"}),
        event("response.in_progress", response={"id": "r"}),
        event("response.output_item.added", output_index=0, item={"type": "reasoning"}),
        event("response.output_item.added", output_index=1, item={"type": "message"}),
        event("response.content_part.added", part={"type": "output_text", "text": ""}),
        event("response.output_text.delta", delta=""),
        event("keepalive"),
    )

    assert not any(frame.content or frame.done for frame in read)


def test_nothing_counts_after_the_end() -> None:
    """What follows the end of a response is dropped, also in a later piece."""
    decoder = PROVIDER.decoder(events=True)

    first = decoder.feed(completed() + b"data: [DONE]\n\n")

    assert [frame.done for frame in first] == [True]
    assert decoder.feed(event("error", message="late")) == []
    assert decoder.finish() == []


def test_a_done_without_a_response_ends_the_stream() -> None:
    """Some servers end every stream as they end those of chat completions."""
    assert [frame.done for frame in frames(b"data: [DONE]\n\n")] == [True]


def test_an_endless_event_cannot_be_read() -> None:
    """What is larger than the limit raises, in a piece or at the end."""
    decoder = ResponsesDecoder(events=False, max_event=10)

    with pytest.raises(UpstreamFailure) as caught:
        decoder.feed(b"data: " + b"x" * 100)
    assert caught.value.kind is FailureKind.UNREADABLE
    with pytest.raises(UpstreamFailure):
        decoder.finish()


def test_a_call_without_a_name_or_an_id_is_still_a_call() -> None:
    """The caller gets an id to answer to."""
    item = {"type": "function_call", "arguments": "{}"}

    read = frames(event("response.output_item.done", output_index=3, item=item), completed())

    assert [found for frame in read for found in frame.events] == [
        ToolCallBegin(0, "call_3", ""),
        ToolCallDelta(0, "{}"),
        Finish(FinishReason.TOOL_CALLS),
    ]


def test_an_item_that_is_done_twice_is_told_once() -> None:
    """Repetitions say nothing new."""
    item = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
    done = event("response.output_item.done", output_index=0, item=item)

    read = frames(done, done, completed(output=[item]))

    assert [found for frame in read for found in frame.events] == [TextDelta("a"), Finish(FinishReason.STOP)]


def test_the_response_need_not_repeat_what_was_streamed() -> None:
    """Calls and refusals are known from the stream where the last event has no output."""
    call = event(
        "response.output_item.added", output_index=0, item={"type": "function_call", "call_id": "c", "name": "f"}
    )
    refusal = event("response.refusal.delta", output_index=0, content_index=0, delta="No.")

    for events in (True, False):
        assert frames(call, completed(), events=events)[-1].finish == "tool_calls"
        assert frames(refusal, completed(), events=events)[-1].finish == "refusal"


@pytest.mark.parametrize(
    ("details", "finish"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": "steered"}, "length"),
        ({"reason": None}, "length"),
        (None, "length"),
    ],
)
def test_why_a_response_is_incomplete(details: Any, finish: str) -> None:
    """Every reason but the filter means that there is more to come."""
    last = event("response.incomplete", response={"output": [], "incomplete_details": details})

    assert frames(last)[-1].finish == finish


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_a_whole_answer_must_be_over(status: str) -> None:
    """What the vendor goes on with in the background cannot be waited for."""
    with pytest.raises(UpstreamFailure) as caught:
        PROVIDER.parse_whole(json.dumps({"status": status, "output": []}).encode(), events=False)

    assert caught.value.kind is FailureKind.UNREADABLE


def test_a_cancelled_stream_failed() -> None:
    """It is over, but not at its end."""
    assert frames(event("response.cancelled", response={"status": "cancelled"}))[-1].failure is not None


def test_an_untyped_error_is_an_error() -> None:
    """Servers that break send the error object of chat completions into the stream."""
    read = frames(b'data: {"error": {"message": "overloaded", "code": 503}}\n\n', b"event: error\ndata: boom\n\n")

    assert [frame.failure.kind for frame in read if frame.failure] == [FailureKind.SERVER_ERROR, FailureKind.UNREADABLE]


def test_errors_by_status() -> None:
    """An answer that is not 200 is told apart as in chat completions, for the error objects are the same."""
    body = b'{"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}}'

    failure = PROVIDER.failure(429, {"retry-after": "2"}, body, now_epoch=0)

    assert (failure.kind, failure.retry_after) == (FailureKind.RATE_LIMITED, 2)


def test_usage() -> None:
    """Counts are believed as those of chat completions, and written as they are read."""
    usage = Usage(100, 50, 40, 30, cache_write_tokens=10)

    assert read_usage(usage_object(usage)) == usage
    assert read_usage({"input_tokens": -1, "output_tokens": 3}) is None
    assert read_usage({"input_tokens": 5, "total_tokens": 8}) == Usage(5, 3)
    assert read_usage("many") is None


def test_the_cost_is_put_into_the_usage_of_the_response() -> None:
    """All other values keep their bytes, an event in several lines becomes one, and one without usage stays."""
    plain = completed(usage={"input_tokens": 3, "output_tokens": 4}, temperature=1.5)
    lines = b'data: {"type":"response.completed",\ndata: "response":{"usage":{"input_tokens":1}}}\n\n'

    [frame] = frames(plain)
    [broken] = frames(lines)
    [without] = frames(completed())

    response = json.loads(CALLER.with_cost(frame, 1.25).split(b"data: ")[1])["response"]
    assert response == {
        **json.loads(frame.data)["response"],
        "usage": {"input_tokens": 3, "output_tokens": 4, "cost_sats": 1.25},
    }
    assert CALLER.with_cost(broken, 2.5).endswith(b'{"input_tokens":1,"cost_sats":2.5}}}\n\n')
    assert CALLER.with_cost(without, 1.0) == without.raw


@pytest.mark.parametrize("case", ["text", "function-calls", "reasoning-summary", "refusal", "web-search"])
def test_the_recorded_streams_are_real(case: str) -> None:
    """The vendor's own client collects them, so they are witnesses."""
    stream = (CASES / case / "answer.sse").read_bytes()
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )

    with (
        openai.OpenAI(
            api_key="none", base_url="http://127.0.0.1/v1", http_client=httpx2.Client(transport=transport)
        ) as sdk,
        sdk.responses.stream(model="m", input="x") as collected,
    ):
        text = collected.get_final_response().output_text

    told = [found.text for frame in frames(stream) for found in frame.events if isinstance(found, TextDelta)]
    assert text == "".join(told)
