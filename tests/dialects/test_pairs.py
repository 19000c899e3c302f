"""Every caller's dialect with every provider's: what was recorded of the one, told in the other.

What a pair may not do is lose something in silence: it is said, or noted as dropped, or the request is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from arbstr.dialects.anthropic import CALLER as MESSAGES
from arbstr.dialects.anthropic import PROVIDER as ANTHROPIC
from arbstr.dialects.bedrock import BedrockDialect
from arbstr.dialects.chat import ChatCaller, ChatProvider
from arbstr.dialects.gemini import GeminiDialect
from arbstr.dialects.responses import ResponsesCaller, ResponsesProvider
from arbstr.dialects.translate import CallerDialect, ProviderDialect
from arbstr.domain.answer import Event, RefusalDelta, TextDelta, ToolCallBegin, ToolCallDelta
from arbstr.domain.conversation import Conversation, Media, Refusal, Text, ToolCall, ToolResult
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest
from tests.dialects.test_chat_sdk import client
from tests.dialects.vendors import GOLDEN, recorded

CALLERS: dict[str, CallerDialect] = {"openai": ChatCaller(), "anthropic": MESSAGES, "responses": ResponsesCaller()}
"""By the beginning of the folders with their requests."""

PROVIDERS: dict[str, ProviderDialect] = {
    "gpt-4.1": ChatProvider(),
    "o4-mini": ResponsesProvider(),
    "claude-opus-5-5": ANTHROPIC,
    "claude-sonnet-4-5": ANTHROPIC,
    "gemini-2.5-pro": GeminiDialect(),
    "gemini-3-pro": GeminiDialect(),
    "anthropic.claude-opus-4-5-20251101-v1:0": BedrockDialect(),
    "amazon.nova-pro-v1:0": BedrockDialect(),
}
"""By a model of theirs."""

STREAMS: dict[str, ProviderDialect] = {
    "openai-gemini/*/answer.sse": GeminiDialect(),
    "openai-bedrock/*/answer.jsonl": BedrockDialect(),
    "responses-responses/*/answer.sse": ResponsesProvider(),
}
ASKED = ChatRequest(model="m", stream=True, fields={}, input_bytes=0, last_user_text="", include_usage=True)


def requests() -> list[Any]:
    found = [(caller, path) for caller in CALLERS for path in sorted(GOLDEN.glob(f"{caller}-*/*/request.json"))]
    assert {caller for caller, _ in found} == CALLERS.keys()
    return [pytest.param(caller, path, id=f"{path.parts[-3]}-{path.parts[-2]}") for caller, path in found]


def loaded(text: str) -> Any:
    """What ``text`` says, if it is JSON."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def values(value: Any) -> Iterator[Any]:
    """``value`` and everything in it; a text that is JSON also as what it says."""
    yield value
    if isinstance(value, str) and (meant := loaded(value)) != value:
        yield from values(meant)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from values(each)


def said(conversation: Conversation) -> Iterator[str]:
    """The texts that a provider must be told."""
    yield from (part.text for part in conversation.instructions)
    for message in conversation.messages:
        for part in message.parts:
            if isinstance(part, Text | Refusal):
                yield part.text
            elif isinstance(part, ToolCall):
                yield part.name
            elif isinstance(part, ToolResult):
                yield from (each.text for each in part.content if isinstance(each, Text))


def shown(conversation: Conversation) -> Iterator[str]:
    """The media that a provider must be given."""
    for message in conversation.messages:
        for part in message.parts:
            for each in part.content if isinstance(part, ToolResult) else (part,):
                if isinstance(each, Media):
                    yield each.data or each.url or ""


@pytest.mark.parametrize("model", PROVIDERS)
@pytest.mark.parametrize(("caller", "path"), requests())
def test_what_a_caller_says_reaches_every_provider(caller: str, path: Path, model: str) -> None:
    """Texts, calls, results and media are in the body of every request that is not refused."""
    dialect = CALLERS[caller]
    try:
        conversation = dialect.read(dialect.parse(path.read_bytes()))
        written = PROVIDERS[model].write(conversation, model=model, stream=False)
    except InvalidRequest:
        return

    found = list(values(json.loads(written.body)))
    texts = "\n".join(each for each in found if isinstance(each, str))
    for text in said(conversation):
        assert text in texts or loaded(text) in found
    for data in shown(conversation):
        assert data in texts or base64.b64decode(data).decode() in texts  # a document of text may be said as text
    for message in conversation.messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                assert loaded(part.arguments) in found or part.arguments in texts


def streams() -> list[Any]:
    found = [(files, path) for files in STREAMS for path in sorted(GOLDEN.glob(files))]
    assert {files for files, _ in found} == STREAMS.keys()
    return [pytest.param(files, path, id=f"{path.parts[-3]}-{path.parts[-2]}") for files, path in found]


@pytest.mark.parametrize(("files", "path"), streams())
def test_every_recorded_stream_is_told_to_callers_of_chat(files: str, path: Path) -> None:
    """OpenAI's package puts together the text, the refusal and the calls of each choice, and its end."""
    decoder = STREAMS[files].decoder(events=True)
    frames = decoder.feed(recorded(path)) + decoder.finish()
    writer = ChatCaller().stream(ASKED, request_id="r", model="m", created=0)
    told = b"".join(writer.write(frame) for frame in frames if frame.failure is None) + writer.end(cost_sats=None)

    with client(lambda _: told, stream=True) as sdk:
        chunks = list(sdk.chat.completions.create(model="m", messages=[], stream=True))

    events = [event for frame in frames for event in frame.events]
    for choice in {getattr(event, "choice", 0) for event in events}:
        of_choice = [event for event in events if getattr(event, "choice", 0) == choice]
        assert heard(chunks, choice) == sent(of_choice)


def heard(chunks: list[openai.types.chat.ChatCompletionChunk], index: int) -> tuple[str, str, list[list[str]], bool]:
    text, refusal, calls, finished = "", "", list[list[str]](), False
    for chunk in chunks:
        for choice in chunk.choices:
            if choice.index != index:
                continue
            text += choice.delta.content or ""
            refusal += choice.delta.refusal or ""
            finished = finished or choice.finish_reason is not None
            for call in choice.delta.tool_calls or ():
                assert call.function is not None
                if call.index == len(calls):
                    calls.append([call.id or "", call.function.name or "", ""])
                calls[call.index][2] += call.function.arguments or ""
    return text, refusal, calls, finished


def sent(events: list[Event]) -> tuple[str, str, list[list[str]], bool]:
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    refusal = "".join(event.text for event in events if isinstance(event, RefusalDelta))
    calls = [[event.id, event.name, ""] for event in events if isinstance(event, ToolCallBegin)]
    for event in events:
        if isinstance(event, ToolCallDelta):
            calls[event.index][2] += event.arguments
    for call in calls:
        call[2] = call[2] or "{}"
    return text, refusal, calls, bool(events)
