"""Every caller's dialect to every kind of provider, with the vendors' own SDKs in front and their formats behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.dialects.vendors import event as bedrock_event
from tests.e2e.gateway import DONE, ROLE, Ask, Behaviour, Gateway, chunk, gateway

QUESTION: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello"}]
ASKED: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Say hello"}]

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello there"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 60,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 10,
        "output_tokens": 200,
    },
}
GENERATED = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "Hello there"}]}, "finishReason": "STOP", "index": 0}
    ],
    "usageMetadata": {
        "promptTokenCount": 100,
        "candidatesTokenCount": 150,
        "thoughtsTokenCount": 50,
        "totalTokenCount": 300,
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r-1",
}
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello there"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 100, "outputTokens": 200, "totalTokens": 300},
    "metrics": {"latencyMs": 5},
}


def sse(name: str, value: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **value})}\n\n".encode()


async def claude(ask: Ask) -> None:
    """Anthropic's Messages API."""
    if not ask.body.get("stream"):
        await ask.answer(MESSAGE)
        return
    start = {**MESSAGE, "content": [], "stop_reason": None, "usage": {**MESSAGE["usage"], "output_tokens": 1}}  # type: ignore[dict-item]
    await ask.stream(
        sse("message_start", {"message": start}),
        sse("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        sse("ping", {}),
        sse("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Hello "}}),
        sse("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "there"}}),
        sse("content_block_stop", {"index": 0}),
        sse(
            "message_delta",
            {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 200}},
        ),
        sse("message_stop", {}),
    )


async def gemini(ask: Ask) -> None:
    """Google's generateContent."""
    if ":streamGenerateContent" not in ask.path:
        await ask.answer(GENERATED)
        return
    first = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello "}]}, "index": 0}]}
    last = {
        **GENERATED,
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "there"}]}, "finishReason": "STOP", "index": 0}
        ],
    }
    await ask.stream(*(f"data: {json.dumps(each)}\r\n\r\n".encode() for each in (first, last)))


async def bedrock(ask: Ask) -> None:
    """AWS's Converse."""
    if not ask.path.endswith("/converse-stream"):
        await ask.answer(CONVERSED)
        return
    await ask.peer.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for name, value in (
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello "}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "there"}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": CONVERSED["usage"], "metrics": {"latencyMs": 5}}),
    ):
        await ask.send(bedrock_event(name, value))
    await ask.end()


KINDS: dict[str, tuple[str, Behaviour | None]] = {
    "openai": ("", None),
    "azure": ('kind = "azure"\napi_version = "2024-10-21"', None),
    "ollama": ('kind = "ollama"', None),
    "anthropic": ('kind = "anthropic"', claude),
    "gemini": ('kind = "gemini"', gemini),
    "bedrock": ('kind = "bedrock"\nregion = "eu-central-1"', bedrock),
}


def running_kind(tmp_path: Path, kind: str) -> Any:
    return gateway(tmp_path, provider=KINDS[kind][0])


def script(running: Gateway, kind: str) -> None:
    behaviour = KINDS[kind][1]
    if behaviour is not None:
        running.alpha.usual = behaviour


async def check_row(running: Gateway) -> None:
    """Whatever the format: 100 tokens in, 200 out, 3.5 satoshis, from the provider's own numbers."""
    (row,) = await running.rows(1)
    assert (row["provider"], row["success"]) == ("alpha", True)
    assert (row["tokens"]["input"], row["tokens"]["output"]) == (100, 200)
    assert (row["cost"]["sats"], row["cost"]["source"]) == (3.5, "provider")


@pytest.mark.parametrize("kind", KINDS)
async def test_openai_callers_of_chat(tmp_path: Path, kind: str) -> None:
    """Whole and streamed, by the openai SDK."""
    async with running_kind(tmp_path, kind) as running:
        script(running, kind)
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0) as sdk:
            whole = await sdk.chat.completions.create(model="gpt-4o", messages=QUESTION)
            await check_row(running)

            assert whole.choices[0].message.content == "Hello there"
            assert whole.choices[0].finish_reason == "stop"
            assert whole.usage is not None
            assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (100, 200)


@pytest.mark.parametrize("kind", KINDS)
async def test_openai_callers_of_chat_streams(tmp_path: Path, kind: str) -> None:
    """With usage and its cost in the last chunk."""
    async with running_kind(tmp_path, kind) as running:
        script(running, kind)
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0) as sdk:
            stream = await sdk.chat.completions.create(
                model="gpt-4o", messages=QUESTION, stream=True, stream_options={"include_usage": True}
            )
            chunks = [each async for each in stream]

            text = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
            assert text in ("Hello there", "Hello")
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens == 200
            assert (chunks[-1].usage.model_extra or {}).get("cost_sats") == 3.5
            await check_row(running)


@pytest.mark.parametrize("kind", KINDS)
async def test_anthropic_callers(tmp_path: Path, kind: str) -> None:
    """Whole, by the anthropic SDK."""
    async with running_kind(tmp_path, kind) as running:
        script(running, kind)
        async with anthropic.AsyncAnthropic(base_url=running.url, api_key="x", max_retries=0) as sdk:
            message = await sdk.messages.create(model="gpt-4o", max_tokens=500, messages=ASKED)

            assert message.content[0].type == "text"
            assert message.content[0].text == "Hello there"
            assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 200)
            await check_row(running)


@pytest.mark.parametrize("kind", KINDS)
async def test_anthropic_callers_streams(tmp_path: Path, kind: str) -> None:
    """The SDK's own accumulation of the events gives the whole message."""
    async with running_kind(tmp_path, kind) as running:
        script(running, kind)
        async with anthropic.AsyncAnthropic(base_url=running.url, api_key="x", max_retries=0) as sdk:
            async with sdk.messages.stream(model="gpt-4o", max_tokens=500, messages=ASKED) as stream:
                message = await stream.get_final_message()

            assert message.content[0].type == "text"
            assert message.content[0].text in ("Hello there", "Hello")
            assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 200)
            await check_row(running)


@pytest.mark.parametrize("kind", KINDS)
async def test_callers_of_responses(tmp_path: Path, kind: str) -> None:
    """Whole and streamed, by the openai SDK."""
    async with running_kind(tmp_path, kind) as running:
        script(running, kind)
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0) as sdk:
            async with sdk.responses.stream(model="gpt-4o", input="Say hello") as stream:
                final = await stream.get_final_response()
            await check_row(running)
            whole = await sdk.responses.create(model="gpt-4o", input="Say hello")

            assert final.output_text in ("Hello there", "Hello")
            assert final.status == "completed"
            assert whole.output_text == "Hello there"
            assert whole.usage is not None
            assert whole.usage.output_tokens == 200


@pytest.mark.parametrize(
    ("kind", "path", "header", "value"),
    [
        ("openai", "/v1/chat/completions", "authorization", "Bearer sk-alpha-0123456789"),
        (
            "azure",
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            "api-key",
            "sk-alpha-0123456789",
        ),
        ("ollama", "/v1/chat/completions", "authorization", "Bearer sk-alpha-0123456789"),
        ("anthropic", "/v1/messages", "x-api-key", "sk-alpha-0123456789"),
        ("gemini", "/v1beta/models/gpt-4o:generateContent", "x-goog-api-key", "sk-alpha-0123456789"),
        ("bedrock", "/model/gpt-4o/converse", "authorization", "Bearer sk-alpha-0123456789"),
    ],
)
async def test_each_kind_is_called_where_and_as_it_wants(
    tmp_path: Path, kind: str, path: str, header: str, value: str
) -> None:
    """Path and credential; never the key in a URL."""
    async with running_kind(tmp_path, kind) as running:
        script(running, kind)

        assert (await running.chat()).status == 200

        ask = running.alpha.asks[0]
        assert (ask.path, ask.header(header)) == (path, value)
        assert "sk-alpha" not in ask.path


async def test_azure_without_a_version_is_called_by_its_v1_path(tmp_path: Path) -> None:
    """The newer of its two ways."""
    async with gateway(tmp_path, provider='kind = "azure"') as running:
        assert (await running.chat()).status == 200

        assert running.alpha.asks[0].path == "/openai/v1/chat/completions"
        assert running.alpha.asks[0].body["model"] == "gpt-4o"


async def test_same_dialect_bytes_are_untouched(tmp_path: Path) -> None:
    """An Anthropic caller and an Anthropic provider: the request as it came but for the model, the answer as it is."""
    async with running_kind(tmp_path, "anthropic") as running:
        running.alpha.usual = claude
        sent = {"model": "gpt-4o", "max_tokens": 5, "messages": ASKED, "next_year": {"x": 1.50}, "stream": True}

        reply = await running.post("/v1/messages", sent)

        assert running.alpha.asks[0].body == sent
        assert reply.body.startswith(b"event: message_start")
        assert b"event: ping" in reply.body
        await check_row(running)


async def test_what_a_provider_cannot_say_is_named(tmp_path: Path) -> None:
    """x-arbstr-dropped: never silently wrong."""
    async with running_kind(tmp_path, "anthropic") as running:
        running.alpha.usual = claude

        reply = await running.chat(seed=7, logprobs=True)

        dropped = reply.headers["x-arbstr-dropped"].split(", ")
        assert {"seed", "logprobs"} <= set(dropped)


async def test_embeddings_go_only_where_they_are_sold(tmp_path: Path) -> None:
    """Not to the cheaper provider that has none."""
    async with running_kind(tmp_path, "anthropic") as running:
        reply = await running.post("/v1/embeddings", {"model": "gpt-4o", "input": "Say hello"})

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "beta")
        assert running.alpha.asks == []


async def test_a_failing_vendor_falls_back_to_another_format(tmp_path: Path) -> None:
    """Price and health decide, not format: Anthropic is overloaded, an OpenAI-compatible provider answers."""

    async def overloaded(ask: Ask) -> None:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        await ask.answer(error, status="529 Overloaded")

    more = '[resilience.retry]\ninitial_backoff = "1ms"\nmax_backoff = "2ms"\n'
    async with gateway(tmp_path, provider='kind = "anthropic"', more=more) as running:
        running.alpha.usual = overloaded
        async with anthropic.AsyncAnthropic(base_url=running.url, api_key="x", max_retries=0) as sdk:
            raw = await sdk.messages.with_raw_response.create(model="gpt-4o", max_tokens=5, messages=ASKED)

            assert raw.headers["x-arbstr-provider"] == "beta"
            assert raw.headers["x-arbstr-retries"] == "3/alpha"
            message = await raw.parse()
            assert message.content[0].type == "text"
            assert message.content[0].text == "Hello there"


async def test_an_error_inside_a_vendors_stream_before_content_falls_back(tmp_path: Path) -> None:
    """message_start is a lifecycle event: the caller sees one lifecycle, the other provider's."""

    async def breaks(ask: Ask) -> None:
        error = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
        await ask.stream(sse("message_start", {"message": {**MESSAGE, "content": []}}), sse("error", error))

    more = "[resilience.retry]\nmax_attempts = 1\n"
    async with gateway(tmp_path, provider='kind = "anthropic"', more=more) as running:
        running.alpha.usual = breaks

        reply = await running.chat(stream=True)

        assert reply.headers["x-arbstr-provider"] == "beta"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_a_translated_stream_that_breaks_says_so(tmp_path: Path, path: str) -> None:
    """In the caller's dialect, and without its end mark."""

    async def cut(ask: Ask) -> None:
        await ask.begin()
        await ask.send(sse("message_start", {"message": {**MESSAGE, "content": []}}))
        await ask.send(sse("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}))
        await ask.send(sse("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Hello "}}))
        ask.peer.reset()

    asked: dict[str, Any] = {"model": "gpt-4o", "stream": True, "max_tokens": 9}
    asked |= {"input": "Say hello"} if path == "/v1/responses" else {"messages": QUESTION}
    if path == "/v1/responses":
        del asked["max_tokens"]
    async with running_kind(tmp_path, "anthropic") as running:
        running.alpha.usual = cut

        reply = await running.post(path, asked)

        assert reply.status == 200
        assert b"Hello" in reply.body
        assert b"error" in reply.body
        for end in (b"[DONE]", b"message_stop", b"response.completed"):
            assert end not in reply.body
        (row,) = await running.rows(1)
        assert row["stream_status"] == "truncated"


def tool_chunk(index: int, **function: str) -> bytes:
    begun = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
    return chunk({"tool_calls": [{"index": index, **begun, "function": function}]})


async def test_calls_that_a_provider_mixes_reach_callers_of_other_dialects(tmp_path: Path) -> None:
    """Each whole, in the order in which they began, as the vendors' SDKs understand it."""
    pieces = [
        tool_chunk(0, name="weather", arguments='{"city":'),
        tool_chunk(1, name="time", arguments='{"zone"'),
        tool_chunk(0, arguments='"Oslo"}'),
        tool_chunk(1, arguments=':"CET"}'),
    ]
    async with gateway(tmp_path) as running:
        running.alpha.usual = lambda ask: ask.stream(ROLE, *pieces, chunk({}, "tool_calls"), DONE)
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0) as sdk:
            async with sdk.responses.stream(model="gpt-4o", input="Say hello") as told:
                response = await told.get_final_response()
        async with anthropic.AsyncAnthropic(base_url=running.url, api_key="x", max_retries=0) as client:
            async with client.messages.stream(model="gpt-4o", max_tokens=9, messages=ASKED) as heard:
                message = await heard.get_final_message()

        items = [(item.name, item.arguments) for item in response.output if item.type == "function_call"]
        blocks = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
        assert items == [("weather", '{"city":"Oslo"}'), ("time", '{"zone":"CET"}')]
        assert blocks == [("weather", {"city": "Oslo"}), ("time", {"zone": "CET"})]
        assert [row["stream_status"] for row in await running.rows(2)] == ["complete", "complete"]


async def test_more_choices_than_a_provider_gives_are_asked_of_another(tmp_path: Path) -> None:
    """One answer for two that were asked for would be silently wrong."""
    async with running_kind(tmp_path, "anthropic") as running:
        running.alpha.usual = claude

        reply = await running.chat(n=2)

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "beta")
        assert running.alpha.asks == []


async def test_anthropic_is_told_the_limit_that_the_operator_knows(tmp_path: Path) -> None:
    """It must be told one, and a caller of chat need not have said any."""
    more = '[providers.gamma]\nkind = "anthropic"\nbase_url = "{url}"\ninput_rate = 1\noutput_rate = 1\n'
    more += '[providers.gamma.models."small"]\nmax_output = 4096\n'
    async with gateway(tmp_path) as first:
        first.alpha.usual = claude
        (tmp_path / "second").mkdir()
        async with gateway(tmp_path / "second", more=more.replace("{url}", first.alpha.url)) as running:
            assert (await running.chat(model="small")).status == 200

            assert first.alpha.asks[0].body["max_tokens"] == 4096
