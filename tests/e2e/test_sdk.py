"""Real clients: the openai SDK (sync, async, streams, raw headers) and langchain-openai."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.e2e.gateway import ANSWER, DONE, HEL, LO, MODEL, QUESTION, ROLE, Ask, busy, chunk, event, gateway

MESSAGES: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello"}]


def client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0)


async def test_a_whole_answer_with_its_headers(tmp_path: Path) -> None:
    """What the SDK parses is what the provider sent; the cost is in the headers and in the row."""
    async with gateway(tmp_path) as running, client(running.url) as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        answer = raw.parse()

        assert answer.choices[0].message.content == "Hello there"
        assert answer.model == "gpt-4o-2024"
        assert raw.headers["x-arbstr-provider"] == "alpha"
        assert raw.headers["x-arbstr-cost-sats"] == "3.5"
        row = await running.logged(raw.headers["x-arbstr-request-id"])
        assert (row["cost"]["sats"], row["tokens"]["input"], row["tokens"]["output"]) == (3.5, 100, 200)
        (ask,) = running.alpha.asks
        assert ask.header("authorization") == "Bearer sk-alpha-0123456789", "never the caller's own"
        assert "anything" not in ask.head.decode()


async def test_a_stream(tmp_path: Path) -> None:
    """Chunks, no usage chunk that nobody asked for, and the metadata that no client chokes on."""
    async with gateway(tmp_path) as running, client(running.url) as sdk:
        stream = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        chunks = [each async for each in stream]

        assert "".join(each.choices[0].delta.content or "" for each in chunks) == "Hello"
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert all(each.usage is None for each in chunks)
        (row,) = await running.rows(1)
        assert (row["cost"]["sats"], row["stream_status"]) == (3.5, "complete")
        assert running.alpha.asks[0].body["stream_options"] == {"include_usage": True}


async def test_a_stream_with_usage(tmp_path: Path) -> None:
    """The usage chunk arrives with the cost beside the provider's numbers."""
    async with gateway(tmp_path) as running, client(running.url) as sdk:
        stream = await sdk.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [each async for each in stream]

        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 200
        assert chunks[-1].usage.model_extra == {"cost_sats": 3.5}


async def test_metadata_as_an_event_is_a_chunk_to_the_sdk(tmp_path: Path) -> None:
    """For clients that want to read it."""
    async with gateway(tmp_path) as running, client(running.url) as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(
            model=MODEL, messages=MESSAGES, stream=True, extra_headers={"X-Arbstr-Stream-Metadata": "event"}
        )
        body = await raw.http_response.aread()

        last = body.rstrip().rsplit(b"\n\n", 1)[-1]
        assert json.loads(last.removeprefix(b"data: "))["arbstr_cost_sats"] == 3.5


async def test_the_synchronous_client(tmp_path: Path) -> None:
    """In a thread, whole and streamed, over one connection."""

    def use(url: str) -> tuple[str | None, str]:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0) as sdk:
            whole = sdk.chat.completions.create(model=MODEL, messages=MESSAGES)
            stream = sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            return whole.choices[0].message.content, "".join(each.choices[0].delta.content or "" for each in stream)

    async with gateway(tmp_path) as running:
        assert await asyncio.to_thread(use, running.url) == ("Hello there", "Hello")


async def test_a_fallback_is_nothing_to_the_client(tmp_path: Path) -> None:
    """The first provider is down; the answer comes from the second, and says so."""
    async with gateway(tmp_path) as running, client(running.url) as sdk:
        running.alpha.usual = busy

        raw = await sdk.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)

        assert raw.headers["x-arbstr-provider"] == "beta"
        assert raw.headers["x-arbstr-retries"] == "3/alpha"


async def test_a_stream_that_breaks_raises_in_the_client(tmp_path: Path) -> None:
    """It never looks finished."""

    async def cut(ask: Ask) -> None:
        await ask.begin()
        await ask.send(ROLE + HEL)
        ask.peer.reset()

    async with gateway(tmp_path) as running, client(running.url) as sdk:
        running.alpha.next = [cut]
        stream = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)

        pieces: list[str | None] = []

        async def consume() -> None:
            async for each in stream:
                pieces.append(each.choices[0].delta.content)

        with pytest.raises(openai.APIError, match="alpha"):
            await consume()

        assert pieces == ["", "Hel"]
        (row,) = await running.rows(1)
        assert (row["stream_status"], row["success"]) == ("truncated", False)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("400 Bad Request", openai.BadRequestError),
        ("404 Not Found", openai.NotFoundError),
        ("422 Unprocessable Entity", openai.UnprocessableEntityError),
    ],
)
async def test_the_providers_refusals_are_the_sdks_exceptions(
    tmp_path: Path, status: str, error: type[openai.APIStatusError]
) -> None:
    """With the provider's message."""

    async def refuse(ask: Ask) -> None:
        await ask.refuse(status, "temperature must be at most 2", code="bad_value")

    async with gateway(tmp_path) as running, client(running.url) as sdk:
        running.alpha.usual = refuse

        with pytest.raises(error) as caught:
            await sdk.chat.completions.create(model=MODEL, messages=MESSAGES)

        assert "temperature must be at most 2" in caught.value.message
        assert caught.value.code == "bad_value"
        assert caught.value.request_id is not None


async def test_models(tmp_path: Path) -> None:
    """Each model once, in the SDK's shape."""
    async with gateway(tmp_path) as running, client(running.url) as sdk:
        names = [each.id async for each in sdk.models.list()]
        one = await sdk.models.retrieve("gpt-4o-mini")

        assert names == ["gpt-4o", "gpt-4o-mini"]
        assert (one.id, one.object, one.owned_by) == ("gpt-4o-mini", "model", "arbstr")
        with pytest.raises(openai.NotFoundError):
            await sdk.models.retrieve("gpt-9")


async def test_tool_calls_pass_unchanged(tmp_path: Path) -> None:
    """Arguments in pieces, streamed, two at once."""
    deltas = [
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    ]

    async def tools(ask: Ask) -> None:
        await ask.stream(ROLE, *(chunk(each) for each in deltas), chunk({}, "tool_calls"), DONE)

    async with gateway(tmp_path) as running, client(running.url) as sdk:
        running.alpha.next = [tools]
        stream = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        arguments: dict[int, str] = {0: "", 1: ""}
        async for each in stream:
            for call in each.choices[0].delta.tool_calls or []:
                assert call.function is not None
                arguments[call.index] += call.function.arguments or ""

        assert arguments == {0: '{"x":1}', 1: "{}"}


async def test_langchain_whole_and_streamed(tmp_path: Path) -> None:
    """ChatOpenAI with its base_url pointed here."""
    async with gateway(tmp_path) as running, httpx.AsyncClient() as http:
        model = ChatOpenAI(
            model=MODEL,
            base_url=f"{running.url}/v1",
            api_key=SecretStr("anything"),
            max_retries=0,
            http_async_client=http,
        )

        answer = await model.ainvoke("Say hello")
        pieces = [piece.content async for piece in model.astream("Say hello")]

        assert answer.content == "Hello there"
        assert "".join(str(piece) for piece in pieces) == "Hello"
        assert {row["cost"]["sats"] for row in await running.rows(2)} == {3.5}


async def test_usage_beside_content_is_relayed_as_it_came(tmp_path: Path) -> None:
    """Some providers put usage on their last chunk, asked or not."""
    last = event({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
                  "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                  "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})  # fmt: skip

    async def answer(ask: Ask) -> None:
        await ask.stream(ROLE, HEL, LO, last, DONE)

    async with gateway(tmp_path) as running, client(running.url) as sdk:
        running.alpha.next = [answer]
        stream = await sdk.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        chunks = [each async for each in stream]

        assert chunks[-1].usage is not None
        (row,) = await running.rows(1)
        assert row["tokens"]["output"] == 3


async def test_the_bytes_of_a_whole_answer_are_the_providers(tmp_path: Path) -> None:
    """Odd spacing, unknown fields and number formats included."""
    odd = json.dumps(ANSWER, indent=3).replace('"created": 1', '"created":   1.50e0, "made_up": [ ]').encode()

    async def answer(ask: Ask) -> None:
        await ask.answer(odd)

    async with gateway(tmp_path) as running:
        running.alpha.next = [answer]

        reply = await running.chat(messages=QUESTION)

        assert reply.body == odd
