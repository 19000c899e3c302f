"""A LiteLLM proxy as a provider: real answers, streams and errors that were not written here.

Run by `make compat`; needs `LITELLM_PROGRAM`, which `run.sh` sets.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.compat.processes import free_port, running
from tests.compat.setups import NO_KEY, TEXT, UNKNOWN_MODEL, gateway_config, litellm_config

QUESTION: Any = [{"role": "user", "content": "Say hello."}]

# Attempts on a failing provider before the next one, by the verdict table.
FALLS_BACK = {
    "rate-limited": 1,
    "broken": 3,
    "overloaded": 3,
    "timed-out": 3,
    "unreachable": 3,
    UNKNOWN_MODEL: 1,
    NO_KEY: 3,  # LiteLLM without a database answers this with a plain-text 500
    "too-long": 1,  # to a candidate with a larger window
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway's root URL; LiteLLM runs behind it."""
    program = os.environ.get("LITELLM_PROGRAM")
    if not program:
        pytest.fail("LITELLM_PROGRAM is not set: run `make compat`")
    work = tmp_path_factory.mktemp("compat")
    port, litellm_port = free_port(), free_port()
    env = {
        "COMPAT_MASTER_KEY": f"sk-{secrets.token_hex(32)}",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    (work / "litellm.yaml").write_text(litellm_config())
    arbstr_toml = work / "arbstr.toml"
    arbstr_toml.write_text(gateway_config(port=port, litellm_port=litellm_port, database=str(work / "compat.db")))
    arbstr_toml.chmod(0o600)
    litellm: list[str | Path] = [
        program,
        "--config",
        work / "litellm.yaml",
        "--host",
        "127.0.0.1",
        "--port",
        str(litellm_port),
    ]
    arbstr: list[str | Path] = [Path(sys.executable).parent / "arbstr", "serve", "--config", arbstr_toml]
    with (
        running(
            [*litellm, "--num_workers", "1"], port=litellm_port, ready="/health/liveliness", log=work / "l.log", env=env
        ),
        running(arbstr, port=port, ready="/readyz", log=work / "a.log", env=env),
    ):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(gateway: str) -> Iterator[openai.OpenAI]:
    """A caller with a key of its own, which LiteLLM would refuse if it ever saw it."""
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key="the-callers-own", max_retries=0) as client:
        yield client


def row(gateway: str, request_id: str) -> dict[str, Any]:
    """The request's entry in the log, as soon as it is there."""
    deadline = time.monotonic() + 5
    while True:
        answer = httpx.get(f"{gateway}/v1/requests/{request_id}")
        if answer.status_code == 200:
            entry: dict[str, Any] = answer.json()
            return entry
        assert time.monotonic() < deadline, f"no row for {request_id}: {answer.text}"
        time.sleep(0.05)


def test_whole_answer(gateway: str, client: openai.OpenAI) -> None:
    """The text and the usage are LiteLLM's; provider and cost are in the headers; the row has the same cost."""
    raw = client.chat.completions.with_raw_response.create(model="hello", messages=QUESTION)

    answer = raw.parse()
    assert answer.choices[0].message.content == TEXT
    assert answer.usage is not None
    cost = (answer.usage.prompt_tokens * 10 + answer.usage.completion_tokens * 30) / 1000 + 1
    assert raw.headers["x-arbstr-provider"] == "litellm"
    assert float(raw.headers["x-arbstr-cost-sats"]) == pytest.approx(cost)
    assert "x-arbstr-retries" not in raw.headers
    entry = row(gateway, raw.headers["x-arbstr-request-id"])
    assert entry["model"] == "hello"
    assert entry["provider"] == "litellm"
    assert entry["success"] is True
    assert entry["streaming"] is False
    assert entry["tokens"]["input"] == answer.usage.prompt_tokens
    assert entry["tokens"]["output"] == answer.usage.completion_tokens
    assert entry["cost"]["sats"] == pytest.approx(cost)


def test_streamed_answer_with_usage(gateway: str, client: openai.OpenAI) -> None:
    """A caller that asks for usage gets LiteLLM's numbers, and the row is priced by them."""
    raw = client.chat.completions.with_raw_response.create(
        model="hello", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(raw.parse())

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(usages) == 1
    assert raw.headers["x-arbstr-streaming"] == "true"
    entry = row(gateway, raw.headers["x-arbstr-request-id"])
    assert entry["success"] is True
    assert entry["streaming"] is True
    assert entry["tokens"]["input"] == usages[0].prompt_tokens
    assert entry["tokens"]["output"] == usages[0].completion_tokens
    cost = (usages[0].prompt_tokens * 10 + usages[0].completion_tokens * 30) / 1000 + 1
    assert entry["cost"]["sats"] == pytest.approx(cost)


def test_streamed_answer_without_usage(gateway: str, client: openai.OpenAI) -> None:
    """A caller that does not ask for usage sees none, although the row has it."""
    raw = client.chat.completions.with_raw_response.create(model="hello", messages=QUESTION, stream=True)
    chunks = list(raw.parse())

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices].count("stop") == 1
    assert all(chunk.usage is None for chunk in chunks)
    entry = row(gateway, raw.headers["x-arbstr-request-id"])
    assert entry["tokens"]["output"] > 0
    assert entry["cost"]["sats"] > 1


def test_tool_call(client: openai.OpenAI) -> None:
    """A tool call reaches the caller as LiteLLM made it."""
    answer = client.chat.completions.create(model="tool", messages=QUESTION)

    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "get_weather"
    assert calls[0].function.arguments == '{"city": "Bern"}'


@pytest.mark.parametrize("group", FALLS_BACK)
def test_whole_answer_falls_back(gateway: str, client: openai.OpenAI, group: str) -> None:
    """A failing model group costs attempts, not the answer: the next provider gives it."""
    raw = client.chat.completions.with_raw_response.create(model=f"{group}-whole", messages=QUESTION)

    assert raw.parse().choices[0].message.content == TEXT
    assert raw.headers["x-arbstr-provider"] == "spare"
    assert raw.headers["x-arbstr-retries"] == f"{FALLS_BACK[group]}/{group}-whole"
    entry = row(gateway, raw.headers["x-arbstr-request-id"])
    assert entry["success"] is True
    assert entry["provider"] == "spare"
    tried = [attempt["provider"] for attempt in entry["attempts"]]
    assert tried == [f"{group}-whole"] * FALLS_BACK[group] + ["spare"]


@pytest.mark.parametrize("group", FALLS_BACK)
def test_streamed_answer_falls_back(gateway: str, client: openai.OpenAI, group: str) -> None:
    """Streams survive the same failures in the same way."""
    raw = client.chat.completions.with_raw_response.create(model=f"{group}-streamed", messages=QUESTION, stream=True)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices) == TEXT
    assert raw.headers["x-arbstr-provider"] == "spare"
    assert raw.headers["x-arbstr-retries"] == f"{FALLS_BACK[group]}/{group}-streamed"
    entry = row(gateway, raw.headers["x-arbstr-request-id"])
    assert entry["success"] is True
    assert entry["provider"] == "spare"


def test_content_filter_does_not_fall_back(gateway: str, client: openai.OpenAI) -> None:
    """A refusal is passed on as it is, although somebody else might answer."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="filtered-whole", messages=QUESTION)

    assert "content_filter_policy" in refused.value.message
    entry = row(gateway, refused.value.response.headers["x-arbstr-request-id"])
    assert [attempt["provider"] for attempt in entry["attempts"]] == ["filtered-whole"]
    assert entry["success"] is False
    assert entry["error"]["status"] == 400


def test_context_window_exceeded_with_nobody_larger(client: openai.OpenAI) -> None:
    """LiteLLM's wording of a prompt that is too long is recognised and named by the code that callers know."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="too-long-alone", messages=QUESTION)

    assert refused.value.code == "context_length_exceeded"


def test_rate_limit_with_nobody_else(client: openai.OpenAI) -> None:
    """A rate limit that no other provider can take over is a 429."""
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="rate-limited-alone", messages=QUESTION)


def test_missing_key_with_nobody_else(client: openai.OpenAI) -> None:
    """LiteLLM's plain-text 500 about the missing key of the operator is an upstream error like any other."""
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=f"{NO_KEY}-alone", messages=QUESTION)

    assert failed.value.status_code == 502
    assert failed.value.code == "upstream_error"


def test_unknown_model_with_nobody_else(client: openai.OpenAI) -> None:
    """A model that LiteLLM does not know is a 404, in whatever words LiteLLM says it."""
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=f"{UNKNOWN_MODEL}-alone", messages=QUESTION)


@pytest.mark.parametrize("group", ["broken", "unreachable", "overloaded"])
def test_failure_opens_the_circuit(gateway: str, client: openai.OpenAI, group: str) -> None:
    """Three failures of the only provider are a 502 with LiteLLM's message; then its circuit is open: 503 at once."""
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=f"{group}-alone", messages=QUESTION)
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model=f"{group}-alone", messages=QUESTION)

    assert failed.value.status_code == 502
    assert failed.value.code == "upstream_error"
    assert "litellm" in failed.value.message.lower()
    assert refused.value.status_code == 503
    assert refused.value.code == "circuit_open"
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 120
    entry = row(gateway, refused.value.response.headers["x-arbstr-request-id"])
    assert entry["attempts"] == []
    health = httpx.get(f"{gateway}/health").json()
    assert health["providers"][f"{group}-alone"]["state"] == "open"
    assert health["status"] == "degraded"


async def test_many_at_once(gateway: str) -> None:
    """Thirty callers at once, half of them streaming, all get the whole text."""
    async with openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key="x", max_retries=0) as client:

        async def whole() -> str | None:
            answer = await client.chat.completions.create(model="hello", messages=QUESTION)
            return answer.choices[0].message.content

        async def streamed() -> str:
            stream = await client.chat.completions.create(model="hello", messages=QUESTION, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        texts = await asyncio.gather(*(call() for call in [whole, streamed] * 15))

    assert texts == [TEXT] * 30
