"""Usage as the vendors document it, and what their price lists make of it.

Each of the :data:`~tests.dialects.invoices.CASES` is fed as a whole answer and as a stream in which usage is repeated
while it grows.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from arbstr.dialects.anthropic import PROVIDER as ANTHROPIC
from arbstr.dialects.bedrock import BedrockDialect
from arbstr.dialects.chat import ChatProvider
from arbstr.dialects.embeddings import EmbeddingsProvider
from arbstr.dialects.gemini import GeminiDialect
from arbstr.dialects.openai import merge_usage
from arbstr.dialects.responses import ResponsesProvider
from arbstr.dialects.translate import ProviderDialect
from arbstr.domain.money import Cost, Currency
from arbstr.domain.usage import Usage
from tests.dialects.invoices import CASES, Case, Json
from tests.dialects.vendors import event, fed

PROVIDERS: dict[str, ProviderDialect] = {
    "anthropic": ANTHROPIC,
    "bedrock": BedrockDialect(),
    "chat": ChatProvider(),
    "embeddings": EmbeddingsProvider(),
    "gemini": GeminiDialect(),
    "responses": ResponsesProvider(),
}


def whole(case: Case) -> bytes:
    said: dict[str, Json] = {
        "anthropic": {"type": "message", "content": [{"type": "text", "text": "x"}], "usage": case.usage},
        "bedrock": {
            "output": {"message": {"content": [{"text": "x"}]}},
            "stopReason": "end_turn",
            "usage": case.usage,
        },
        "chat": {"model": case.model, "choices": [{"message": {"content": "x"}}], "usage": case.usage},
        "embeddings": {"data": [{"embedding": [0]}], "usage": case.usage},
        "gemini": {"candidates": [{"content": {"parts": [{"text": "x"}]}}], "usageMetadata": case.usage},
        "responses": {"status": "completed", "output": [{"type": "message"}], "usage": case.usage},
    }
    return json.dumps(said[case.dialect]).encode()


def sse(*events: Json) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)


def grown(usage: Json, said: str) -> Json:
    """As it stands while the answer is still being said."""
    return {name: count if name != said else 1 for name, count in usage.items() if "total" not in name.lower()}


def chat_stream(case: Case) -> bytes:
    """Usage on every chunk, as at xAI; then at the end, twice."""
    head = {"model": case.model}
    delta = {"choices": [{"delta": {"role": "assistant", "content": "x"}}]}
    last = {**head, "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": case.usage}
    early = {**head, **delta, "usage": grown(case.usage, "completion_tokens")}
    return sse(early, last, {**head, "choices": [], "usage": case.usage}) + b"data: [DONE]\n\n"


def anthropic_stream(case: Case) -> bytes:
    """The output grows; of the cache's kinds only the beginning tells, and of iterations the end."""
    begun = {**grown(case.usage, "output_tokens")}
    ended = {name: count for name, count in case.usage.items() if name != "cache_creation"}
    begun.pop("iterations", None)
    return sse(
        {"type": "message_start", "message": {"usage": begun}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "x"}},
        {"type": "message_delta", "delta": {}, "usage": {**ended, "output_tokens": 2}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ended},
        {"type": "message_stop"},
    )


def gemini_stream(case: Case) -> bytes:
    said = {"candidates": [{"content": {"parts": [{"text": "x"}]}}]}
    early = {"promptTokenCount": case.usage["promptTokenCount"], "candidatesTokenCount": 1}
    return sse(
        {**said, "usageMetadata": early},
        {**said, "usageMetadata": case.usage},
        {"candidates": [{"finishReason": "STOP"}], "usageMetadata": case.usage},
    )


def bedrock_stream(case: Case) -> bytes:
    return (
        event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x"}})
        + event("messageStop", {"stopReason": "end_turn"})
        + event("metadata", {"usage": case.usage})
    )


def responses_stream(case: Case) -> bytes:
    return sse(
        {"type": "response.created", "response": {"usage": None}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "x"},
        {"type": "response.completed", "response": {"status": "completed", "output": [], "usage": case.usage}},
    )


STREAMS: dict[str, Callable[[Case], bytes]] = {
    "anthropic": anthropic_stream,
    "bedrock": bedrock_stream,
    "chat": chat_stream,
    "gemini": gemini_stream,
    "responses": responses_stream,
}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_whole_answers(case: Case) -> None:
    """The tokens of the vendor's own example."""
    assert PROVIDERS[case.dialect].parse_whole(whole(case), events=False).usage == case.counts


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES if case.dialect in STREAMS])
def test_streams(case: Case) -> None:
    """Usage that is repeated in a stream is cumulative: it is never added up."""
    usage: Usage | None = None

    for frame in fed(PROVIDERS[case.dialect].decoder(events=False), STREAMS[case.dialect](case)):
        usage = merge_usage(usage, frame.usage)

    assert usage == case.counts


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_invoices(case: Case) -> None:
    """What the vendor's price list makes of it, to the nanodollar."""
    usage = case.counts
    pico = case.prices.rates().charge(
        usage.input_tokens,
        usage.output_tokens,
        cached=usage.cached_input_tokens,
        cache_write=usage.cache_write_tokens,
        cache_write_1h=usage.cache_write_1h_tokens,
        reasoning=usage.reasoning_tokens,
    )

    assert Cost.of_pico(pico, Currency.USD, None).usd == case.invoice() * 10**9
