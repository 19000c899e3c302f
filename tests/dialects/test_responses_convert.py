from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from arbstr.dialects.responses import ResponsesProvider
from arbstr.dialects.responses.convert import StreamCollector, whole_to_stream
from arbstr.domain.errors import FailureKind, UpstreamFailure

CASES = Path(__file__).resolve().parent.parent / "golden" / "responses-responses"
PROVIDER = ResponsesProvider()


def read(case: str) -> bytes:
    return next((CASES / case).glob("answer.*")).read_bytes()


@pytest.mark.parametrize("case", ["whole-everything", "whole-text", "whole-refusal", "whole-cut", "whole-filtered"])
def test_a_whole_response_becomes_the_stream_that_it_could_have_been(case: str) -> None:
    """It says the same, and collected again it is the same."""
    body = read(case)

    stream = whole_to_stream(body)
    decoder = PROVIDER.decoder(events=True)
    frames = [*decoder.feed(stream), *decoder.finish()]
    collector = StreamCollector()
    for at in range(0, len(stream), 100):
        collector.feed(stream[at : at + 100])

    whole = PROVIDER.parse_whole(body, events=True)
    told = [event for frame in frames for event in frame.events]
    assert "".join(getattr(event, "text", "") for event in told) == "".join(
        getattr(event, "text", "") for event in whole.events
    )
    assert [type(event) for event in told if not hasattr(event, "text")] == [
        type(event) for event in whole.events if not hasattr(event, "text")
    ]
    assert (frames[-1].finish, frames[-1].usage) == (whole.finish, whole.usage)
    assert json.loads(collector.finish().raw) == json.loads(body)


def test_the_sdk_collects_what_was_made_a_stream() -> None:
    """The vendor's own client follows it, items, parts and all."""
    stream = whole_to_stream(read("whole-everything"))
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )

    http_client = httpx2.Client(transport=transport)
    with openai.OpenAI(api_key="none", base_url="http://127.0.0.1/v1", http_client=http_client) as sdk:
        with sdk.responses.stream(model="m", input="x") as events:
            kinds = [event.type for event in events]
            final = events.get_final_response()

    assert final.output_text == "Hello."
    assert kinds.count("response.output_item.done") == 3
    assert kinds.count("response.reasoning_summary_text.done") == 2


def test_parts_of_other_types_than_agreed_are_as_if_absent() -> None:
    """The item itself still comes as it was sent."""
    output = [{"type": "message", "content": [1]}, {"type": "reasoning", "summary": "x"}, "y"]

    collector = StreamCollector()
    collector.feed(whole_to_stream(json.dumps({"status": "completed", "output": output}).encode()))

    assert json.loads(collector.finish().raw)["output"] == output


def test_items_of_other_types_are_added_and_done() -> None:
    """What has no pieces is whole from the start."""
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}

    stream = whole_to_stream(json.dumps({"status": "completed", "output": [item]}).encode())

    kinds = [line.removeprefix(b"event: ") for line in stream.split(b"\n") if line.startswith(b"event: ")]
    assert kinds[2:4] == [b"response.output_item.added", b"response.output_item.done"]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"output":[],"status":"failed"}',
        b"<html></html>",
    ],
)
def test_what_is_no_response_becomes_no_stream(body: bytes) -> None:
    """A failure before the first byte can still fall back."""
    with pytest.raises(UpstreamFailure):
        whole_to_stream(body)


@pytest.mark.parametrize("case", ["cut-short", "failed-before-content", "failed-after-content"])
def test_a_stream_that_broke_is_no_response(case: str) -> None:
    """Half an answer is none where a whole one was asked for."""

    def collect() -> None:
        collector = StreamCollector()
        collector.feed(read(case))
        collector.finish()

    with pytest.raises(UpstreamFailure):
        collect()


def test_a_stream_that_is_too_long_is_not_collected() -> None:
    """Memory has an end."""
    collector = StreamCollector(limit=10)

    with pytest.raises(UpstreamFailure) as caught:
        collector.feed(b": " + b"x" * 20)
    assert caught.value.kind is FailureKind.UNREADABLE


def test_a_stream_becomes_the_response_that_ends_it() -> None:
    """Nothing of it is put together from pieces."""
    collector = StreamCollector()
    collector.feed(read("function-calls"))

    response: dict[str, Any] = json.loads(collector.finish().raw)

    assert [item["name"] for item in response["output"]] == ["get_weather", "get_weather"]
