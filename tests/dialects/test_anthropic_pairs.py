"""The Anthropic dialect with others at the other end: what was recorded there, told here, and the other way round.

In ``golden/openai-anthropic``: ``sent.json`` in a folder ``chat-…`` is what Anthropic is sent for the chat request of
that name in ``golden/openai-conversation``, and ``chat.sse`` what a caller of OpenAI's dialect is told of a stream.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from arbstr.dialects.anthropic import CALLER, PROVIDER
from arbstr.dialects.bedrock import BedrockDialect
from arbstr.dialects.chat import ChatCaller, ChatProvider
from arbstr.dialects.gemini import GeminiDialect
from arbstr.dialects.responses import ResponsesProvider
from arbstr.dialects.translate import Decoder, ProviderDialect
from arbstr.domain.answer import Event, Finish, FinishReason, RefusalDelta, TextDelta, ThinkingDelta, ToolCallBegin
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from tests.dialects import vendors
from tests.dialects.test_anthropic_golden import GOLDEN, expect, folders
from tests.dialects.test_anthropic_sdk import BROKEN, streamed
from tests.dialects.test_golden import UPDATE

CHAT = ChatCaller()
ASKED = ChatRequest(model="m", stream=True, fields={}, input_bytes=0, last_user_text="", include_usage=True)
OTHERS: dict[str, ProviderDialect] = {
    "openai-answer/*/provider.sse": ChatProvider(),
    "openai-gemini/*/answer.sse": GeminiDialect(),
    "openai-bedrock/*/answer.jsonl": BedrockDialect(),
    "responses-responses/*/answer.sse": ResponsesProvider(),
}
REASONS = {
    FinishReason.STOP: ("end_turn", "tool_use", "refusal"),  # some say no more of calls and refusals
    FinishReason.LENGTH: ("max_tokens",),
    FinishReason.TOOL_CALLS: ("tool_use",),
    FinishReason.CONTENT_FILTER: ("refusal",),
    FinishReason.REFUSAL: ("refusal",),
    FinishReason.STOP_SEQUENCE: ("stop_sequence",),
    FinishReason.PAUSE: ("pause_turn",),
}


def read(decoder: Decoder, stream: bytes) -> list[Frame]:
    return decoder.feed(stream) + decoder.finish()


def first_choice(frames: list[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events if not getattr(event, "choice", 0)]


def recorded() -> list[Any]:
    found = [(files, path) for files in OTHERS for path in sorted(GOLDEN.glob(files))]
    assert {files for files, _ in found} == OTHERS.keys()
    return [pytest.param(files, path, id=f"{files.partition('/')[0]}-{path.parent.name}") for files, path in found]


@pytest.mark.parametrize("folder", folders("openai-conversation", "request.json"))
def test_chat_requests_are_told_to_anthropic(folder: Path) -> None:
    """Every recorded chat request becomes this body, or is refused for what nobody there could be told."""
    conversation = CHAT.read(CHAT.parse((folder / "request.json").read_bytes()))
    expected = GOLDEN / "openai-anthropic" / f"chat-{folder.name}"
    if UPDATE:
        expected.mkdir(exist_ok=True)

    try:
        written = PROVIDER.write(conversation, model="claude-sonnet-4-5", stream=True)
    except InvalidRequest as refusal:
        expect({"refused": refusal.message}, expected / "sent.json")
        return

    expect({"dropped": list(written.dropped), "body": json.loads(written.body)}, expected / "sent.json")


@pytest.mark.parametrize(
    "folder",
    [
        one
        for one in folders("openai-anthropic", "anthropic.sse")
        if one.id in ("after-stop", "json-answer") or not one.id.startswith(BROKEN)
    ],
)
def test_anthropic_streams_are_told_to_callers_of_chat(folder: Path) -> None:
    """OpenAI's package puts the same text, calls and usage together from what it is told."""
    frames = read(PROVIDER.decoder(events=True), (folder / "anthropic.sse").read_bytes())
    writer = CHAT.stream(ASKED, request_id="r", model="claude", created=0)

    told = b"".join(map(writer.write, frames)) + writer.end(cost_sats=None)

    if UPDATE:
        (folder / "chat.sse").write_bytes(told)
    assert told == (folder / "chat.sse").read_bytes()
    chunks = heard(told)
    events = first_choice(frames)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == text_of(events, TextDelta)
    calls = [call for delta in deltas for call in delta.tool_calls or () if call.id]
    begun = [event for event in events if isinstance(event, ToolCallBegin)]
    assert [(call.id, call.function.name if call.function else "") for call in calls] == [
        (event.id, event.name) for event in begun
    ]
    usage = next(frame.usage for frame in reversed(frames) if frame.usage is not None)
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (
        usage.input_tokens,
        usage.output_tokens,
    )


def heard(stream: bytes) -> list[Any]:
    """The chunks that OpenAI's package makes of a stream."""
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=stream))
    http_client = httpx2.Client(transport=transport)
    with openai.OpenAI(api_key="none", base_url="http://127.0.0.1/v1", http_client=http_client) as sdk:
        return list(sdk.chat.completions.create(model="m", messages=[], stream=True))


@pytest.mark.parametrize(("files", "path"), recorded())
def test_streams_of_others_are_told_to_callers_of_anthropic(files: str, path: Path) -> None:
    """Anthropic's package finds the text, the thoughts and the calls that another provider sent, and its reason."""
    frames = read(OTHERS[files].decoder(events=True), vendors.recorded(path))
    writer = CALLER.stream(CALLER.parse(BODY), request_id="r", model="m", created=0)
    events = first_choice(frames)

    told = b"".join(writer.write(frame) for frame in frames if frame.failure is None) + writer.end(cost_sats=None)
    message = streamed(told)

    blocks = message.content
    assert "".join(one.text for one in blocks if one.type == "text") == text_of(events, TextDelta, RefusalDelta)
    assert "".join(one.thinking for one in blocks if one.type == "thinking") == text_of(events, ThinkingDelta)
    assert [(one.id, one.name) for one in blocks if one.type == "tool_use"] == [
        (event.id, event.name) for event in events if isinstance(event, ToolCallBegin)
    ]
    finish = next((event.reason for event in events if isinstance(event, Finish)), FinishReason.STOP)
    assert message.stop_reason in REASONS[finish]


def text_of(events: list[Event], *kinds: type[TextDelta | RefusalDelta | ThinkingDelta]) -> str:
    return "".join(event.text for event in events if isinstance(event, kinds))


BODY = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}]}'
