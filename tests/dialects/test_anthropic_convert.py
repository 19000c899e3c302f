from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects import sse
from arbstr.dialects.anthropic import PROVIDER
from arbstr.dialects.anthropic.convert import StreamCollector, whole_to_stream
from arbstr.domain.errors import FailureKind, UpstreamFailure
from tests.dialects.test_anthropic_golden import folders
from tests.dialects.test_anthropic_sdk import streamed
from tests.dialects.test_anthropic_stream import ODD, event

WRONG = ("whole-cut", "whole-empty", "whole-error", "whole-html", "whole-list", "whole-no-", "whole-wrong")
WHOLE = [one for one in folders("openai-anthropic", "anthropic.json") if not one.id.startswith(WRONG[:5])]
SAID = [one for one in WHOLE if not one.id.startswith(WRONG)]


def collected(stream: bytes, size: int = 100) -> bytes:
    collector = StreamCollector()
    for at in range(0, len(stream), size):
        collector.feed(stream[at : at + size])
    return collector.finish().raw


@pytest.mark.parametrize("folder", SAID)
def test_a_whole_message_becomes_the_stream_that_it_could_have_been(folder: Path) -> None:
    """Anthropic's package reads the same message from it, and collected again it is the same."""
    body = (folder / "anthropic.json").read_bytes()

    stream = whole_to_stream(body)

    told = streamed(stream)
    whole = json.loads(body)
    assert [block.type for block in told.content] == [block["type"] for block in whole["content"]]
    assert (told.stop_reason, told.stop_sequence) == (whole["stop_reason"], whole["stop_sequence"])
    assert told.usage.output_tokens == whole["usage"]["output_tokens"]
    assert json.loads(collected(stream)) == whole


def test_citations_are_kept() -> None:
    """Each as a delta of its own, as the API streams them."""
    cited = {"type": "char_location", "cited_text": "x", "document_index": 0}
    block = {"type": "text", "text": "y", "citations": [cited]}
    body = json.dumps({"type": "message", "content": [block], "stop_reason": "end_turn"}).encode()

    stream = whole_to_stream(body)

    assert stream.count(b"citations_delta") == 1
    assert json.loads(collected(stream))["content"] == [block]


@pytest.mark.parametrize(
    "folder", [one for one in folders("openai-anthropic", "anthropic.sse") if one.id != "wrong-types"]
)
def test_a_stream_becomes_the_message_that_it_tells(folder: Path) -> None:
    """It says what the stream's events say; a broken one fails as it would have."""
    stream = (folder / "anthropic.sse").read_bytes()
    decoder = PROVIDER.decoder(events=False)
    frames = decoder.feed(stream) + decoder.finish()
    failure = next((frame.failure for frame in frames if frame.failure is not None), None)
    finish = next((frame.finish for frame in frames if frame.finish is not None), None)

    if failure is not None or finish is None:
        with pytest.raises(UpstreamFailure) as raised:
            collected(stream)
        assert raised.value.kind is (FailureKind.UNREADABLE if failure is None else failure.kind)
        return

    frame = PROVIDER.parse_whole(collected(stream), events=True)
    usage = next((frame.usage for frame in reversed(frames) if frame.usage is not None), None)
    assert (frame.finish, frame.usage) == (finish, usage)
    assert json.loads(frame.raw)["content"] == content(stream)


def content(stream: bytes) -> object:
    """The blocks, put together the slow way."""
    blocks: dict[int, dict[str, object]] = {}
    for line in stream.replace(b"\r\n", b"\n").split(b"\n"):
        try:
            said = json.loads(line.removeprefix(b"data: "))
        except ValueError:
            continue
        match said.get("type"):
            case "message_stop":
                break
            case "content_block_start":
                blocks[said["index"]] = dict(said["content_block"])
            case "content_block_delta":
                grow(blocks[said["index"]], said["delta"])
    for block in blocks.values():
        if "arguments" in block:
            arguments = str(block.pop("arguments"))
            block["input"] = json.loads(arguments) if arguments else block["input"]
    return list(blocks.values())


def grow(block: dict[str, object], delta: dict[str, object]) -> None:
    match delta["type"]:
        case "input_json_delta":
            block["arguments"] = f"{block.get('arguments', '')}{delta['partial_json']}"
        case "text_delta" | "thinking_delta" | "signature_delta":
            field = str(delta["type"]).removesuffix("_delta")
            block[field] = f"{block.get(field, '')}{delta[field]}".replace("\ud83d", "\ufffd")
        case "citations_delta":
            block["citations"] = [*block.get("citations", []), delta["citation"]]  # type: ignore[misc]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"type":"message"}', b'{"type":"error","error":{"type":"api_error"}}']
)
def test_what_is_no_message_becomes_no_stream(body: bytes) -> None:
    """It fails as a whole answer does."""
    with pytest.raises(UpstreamFailure):
        whole_to_stream(body)


def test_what_is_too_long_is_not_collected() -> None:
    """Memory is bounded, whatever is sent."""
    collector = StreamCollector(limit=100)
    collector.feed(b": " + b"x" * 90 + b"\n\n")

    with pytest.raises(UpstreamFailure, match="too long"):
        collector.feed(b": " + b"x" * 90 + b"\n\n")


def test_arguments_that_were_cut_are_none() -> None:
    """A message's calls have objects."""
    stream = b"".join(
        (
            event("message_start", message={"id": "m"}),
            event(
                "content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}
            ),
            event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"a": '}),
            event("message_delta", delta={"stop_reason": "max_tokens"}),
            event("message_stop"),
        )
    )

    assert json.loads(collected(stream))["content"][0]["input"] == {}


@given(st.lists(ODD, max_size=6))
def test_a_stream_of_nonsense_is_no_message_or_a_failure(values: list[object]) -> None:
    """And nothing else."""
    stream = b"".join(sse.event(json.dumps(value).encode()) for value in values) + event("message_stop")

    try:
        body = collected(stream)
    except UpstreamFailure:
        return

    assert PROVIDER.parse_whole(body, events=True).done
