"""What providers of other dialects were recorded to send, told to callers of the Responses API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from arbstr.dialects.anthropic import AnthropicProvider
from arbstr.dialects.bedrock import BedrockDialect
from arbstr.dialects.chat import ChatProvider
from arbstr.dialects.gemini import GeminiDialect
from arbstr.dialects.responses import ResponsesCaller
from arbstr.dialects.translate import ProviderDialect
from arbstr.domain.answer import Finish, FinishReason, TextDelta, ThinkingDelta, ToolCallBegin
from arbstr.domain.events import Frame
from tests.dialects import vendors

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CALLER = ResponsesCaller()
PROVIDERS: dict[str, ProviderDialect] = {
    "openai-openai/*/answer.sse": ChatProvider(),
    "openai-anthropic/*/anthropic.sse": AnthropicProvider(),
    "openai-gemini/*/answer.sse": GeminiDialect(),
    "openai-bedrock/*/answer.jsonl": BedrockDialect(),
}
CUT = (FinishReason.LENGTH, FinishReason.CONTENT_FILTER, FinishReason.PAUSE)


def recorded() -> list[Any]:
    found = [(files, path) for files in PROVIDERS for path in sorted(GOLDEN.glob(files))]
    assert {files for files, _ in found} == PROVIDERS.keys()
    return [pytest.param(files, path, id=f"{files.partition('/')[0]}-{path.parent.name}") for files, path in found]


def collected(stream: bytes) -> list[Any]:
    """The events that the vendor's own client makes of a stream."""
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )
    http_client = httpx2.Client(transport=transport)
    with openai.OpenAI(api_key="none", base_url="http://127.0.0.1/v1", http_client=http_client) as sdk:
        with sdk.responses.stream(model="m", input="x") as events:
            return list(events)


@pytest.mark.parametrize(("files", "path"), recorded())
def test_every_recorded_stream_can_be_told(files: str, path: Path) -> None:
    """The SDK follows it to its end, and finds the text, the reasoning and the calls that the provider sent."""
    decoder = PROVIDERS[files].decoder(events=True)
    frames: list[Frame] = [*decoder.feed(vendors.recorded(path)), *decoder.finish()]
    answer = [event for frame in frames for event in frame.events if not getattr(event, "choice", 0)]
    request = CALLER.parse(b'{"model":"m","input":"x","stream":true}')
    writer = CALLER.stream(request, request_id="0199", model="m", created=1)

    said = b"".join(writer.write(frame) for frame in frames if frame.failure is None)
    last = collected(said + writer.end(cost_sats=None))[-1]

    cut = any(isinstance(event, Finish) and event.reason in CUT for event in answer)
    assert last.type == ("response.incomplete" if cut else "response.completed")
    assert last.response.output_text == "".join(event.text for event in answer if isinstance(event, TextDelta))
    output = last.response.output
    thought = "".join(part.text for item in output if item.type == "reasoning" for part in item.summary)
    assert thought == "".join(event.text for event in answer if isinstance(event, ThinkingDelta))
    calls = [(item.call_id, item.name) for item in output if item.type == "function_call"]
    assert calls == [(event.id, event.name) for event in answer if isinstance(event, ToolCallBegin)]
