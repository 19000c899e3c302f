"""Models that providers list themselves can be asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.test_listings import ANTHROPIC, AZURE, OLLAMA, OPENAI
from tests.e2e.gateway import CONFIG, Ask, Behaviour, Gateway, gateway, good
from tests.e2e.test_dialects import bedrock, claude, gemini
from tests.upstream.servers import LONG

GEMINI = {
    "models": [
        {"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent"]},
        {"name": "models/embedding-001", "supportedGenerationMethods": ["embedContent"]},
    ]
}
FOUNDATION = {
    "modelSummaries": [
        {
            "modelId": "amazon.nova-lite-v1:0",
            "inferenceTypesSupported": ["ON_DEMAND"],
            "modelLifecycle": {"status": "ACTIVE"},
        }
    ]
}
PROFILES = {"inferenceProfileSummaries": [{"inferenceProfileId": "eu.amazon.nova-pro-v1:0", "status": "ACTIVE"}]}

KINDS: dict[str, tuple[str, dict[str, Any], Behaviour, str, list[str]]] = {
    "openai": ("", {"/v1/models": OPENAI}, good, "authorization", ["gpt-4o", "o3"]),
    "azure": ('kind = "azure"', {"/openai/v1/models": AZURE}, good, "api-key", ["gpt-4o-2024-08-06"]),
    "azure by deployment": (
        'kind = "azure"\napi_version = "2024-10-21"',
        {"/openai/models?api-version=2024-10-21": AZURE},
        good,
        "api-key",
        ["gpt-4o-2024-08-06"],
    ),
    "anthropic": (
        'kind = "anthropic"',
        {"/v1/models?limit=1000": ANTHROPIC},
        claude,
        "x-api-key",
        ["claude-sonnet-4-5"],
    ),
    "ollama": ('kind = "ollama"', {"/api/tags": OLLAMA}, good, "authorization", ["llama3.2", "qwen3:8b"]),
    "gemini": (
        'kind = "gemini"',
        {"/v1beta/models?pageSize=1000": GEMINI},
        gemini,
        "x-goog-api-key",
        ["gemini-2.5-flash"],
    ),
    "bedrock": (
        'kind = "bedrock"',
        {
            "/foundation-models?byOutputModality=TEXT": FOUNDATION,
            "/inference-profiles?maxResults=1000": PROFILES,
        },
        bedrock,
        "authorization",
        ["amazon.nova-lite-v1:0", "eu.amazon.nova-pro-v1:0"],
    ),
}


def listing(answers: dict[str, Any], otherwise: Behaviour) -> Behaviour:
    """A provider that lists its models, and serves."""

    async def behaviour(ask: Ask) -> None:
        if not ask.head.startswith(b"GET "):
            await otherwise(ask)
        elif ask.path in answers:
            await ask.answer(answers[ask.path])
        else:
            await ask.refuse("404 Not Found")

    return behaviour


async def known(running: Gateway, *names: str) -> None:
    """Wait until these models can be asked for."""
    await until(running, lambda found: set(names) <= found)


async def until(running: Gateway, holds: Callable[[set[str]], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not holds({each["id"] for each in (await running.get("/v1/models")).json()["data"]}):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_lists_its_models_by_its_own_call(tmp_path: Path, kind: str) -> None:
    """With its credential; and what was found is served, at the provider's rates."""
    lines, answers, serve, header, names = KINDS[kind]
    async with gateway(tmp_path, provider=f"{lines}\nauto_discover = true") as running:
        running.alpha.usual = listing(answers, serve)

        await known(running, "gpt-4o-mini", *names)
        reply = await running.chat(model=names[-1])

        assert reply.status == 200, reply.body
        assert reply.headers["x-arbstr-provider"] == "alpha"
        row = await running.row(reply)
        assert (row["model"], row["cost"]["sats"]) == (names[-1], 3.5)
        asks = [ask for ask in running.alpha.asks if ask.head.startswith(b"GET ")]
        assert {ask.path for ask in asks} == set(answers)
        assert all("sk-alpha-0123456789" in (ask.header(header) or "") for ask in asks)
        assert all(ask.header("content-length") is None for ask in asks)
        shown = (await running.get("/v1/providers")).json()["data"][0]["models"]
        assert set(names) <= {each["model"] for each in shown}


IN_PARTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "gemini": (
        {
            "/v1beta/models?pageSize=1000": {**GEMINI, "nextPageToken": "a/b="},
            "/v1beta/models?pageSize=1000&pageToken=a%2Fb%3D": {
                "models": [{"name": "models/gemini-9", "supportedGenerationMethods": ["generateContent"]}]
            },
        },
        ["gemini-2.5-flash", "gemini-9"],
    ),
    "anthropic": (
        {
            "/v1/models?limit=1000": {**ANTHROPIC, "has_more": True, "last_id": "claude-sonnet-4-5"},
            "/v1/models?limit=1000&after_id=claude-sonnet-4-5": {
                "data": [{"id": "claude-old", "lifecycle": "retired"}, {"id": "claude/x"}],
                "has_more": True,
                "last_id": "claude/x",
            },
            "/v1/models?limit=1000&after_id=claude%2Fx": {"data": [{"id": "claude-9"}], "has_more": False},
        },
        ["claude-sonnet-4-5", "claude/x", "claude-9"],
    ),
    "bedrock": (
        {
            "/foundation-models?byOutputModality=TEXT": FOUNDATION,
            "/inference-profiles?maxResults=1000": {**PROFILES, "nextToken": "+"},
            "/inference-profiles?maxResults=1000&nextToken=%2B": {
                "inferenceProfileSummaries": [{"inferenceProfileId": "us.amazon.nova-pro-v1:0", "status": "ACTIVE"}]
            },
        },
        ["amazon.nova-lite-v1:0", "eu.amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1:0"],
    ),
}


@pytest.mark.parametrize("kind", IN_PARTS)
async def test_lists_in_parts_are_read_to_their_end(tmp_path: Path, kind: str) -> None:
    """Each vendor says in its own way by what to ask for the next part."""
    answers, names = IN_PARTS[kind]
    async with gateway(tmp_path, provider=f'kind = "{kind}"\nauto_discover = true') as running:
        running.alpha.usual = listing(answers, good)

        await known(running, *names)

        shown = (await running.get("/v1/providers")).json()["data"][0]["models"]
        assert [each["model"] for each in shown if each["model"] != "gpt-4o"] == names
        assert sorted(ask.path for ask in running.alpha.asks) == sorted(answers)


async def test_a_list_whose_next_part_is_the_same_again_is_read_once_more(tmp_path: Path) -> None:
    """As imitators of Anthropic send it, which do not know of parts."""
    whole = {**ANTHROPIC, "has_more": True, "last_id": "claude-sonnet-4-5"}
    answers = {path: whole for path in IN_PARTS["anthropic"][0]}
    async with gateway(tmp_path, provider='kind = "anthropic"\nauto_discover = true') as running:
        running.alpha.usual = listing(answers, good)

        await known(running, "claude-sonnet-4-5")

        assert [ask.path for ask in running.alpha.asks] == list(answers)[:2]


async def test_a_provider_that_is_down_at_the_start_blocks_nothing(tmp_path: Path) -> None:
    """It is asked again, and its models come when it does; what a later list says replaces them."""
    async with gateway(tmp_path, provider="auto_discover = true") as running:
        answers = {"/v1/models": {"data": [{"id": "late"}]}}
        running.alpha.next = [lambda ask: ask.refuse("503 Service Unavailable")]
        running.alpha.usual = listing(answers, good)

        assert (await running.chat(model="gpt-4o-mini")).status == 200
        await known(running, "late")

        assert (await running.chat(model="late")).status == 200
        assert (await running.chat(model="never")).status == 404


async def test_a_request_keeps_the_snapshot_it_began_with(tmp_path: Path) -> None:
    """While it is under way, the models of its provider change."""
    async with gateway(tmp_path, provider="auto_discover = true") as running:
        listed, asked, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow(ask: Ask) -> None:
            if ask.head.startswith(b"GET "):
                await listed.wait()
                await ask.answer({"data": [{"id": "new"}]})
                return
            asked.set()
            await go_on.wait()
            await good(ask)

        running.alpha.usual = slow
        under_way = asyncio.create_task(running.chat())
        await asked.wait()
        listed.set()
        await known(running, "new")
        go_on.set()

        reply = await under_way

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "alpha")
        assert json.loads(reply.body)["choices"]


async def test_bedrock_lists_are_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the credential chain, for the GET that they are."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    lines, answers, serve, _, names = KINDS["bedrock"]
    template = CONFIG.replace('api_key = "sk-alpha-0123456789"\n', "", 1)
    async with gateway(tmp_path, provider=f"{lines}\nauto_discover = true", template=template) as running:
        running.alpha.usual = listing(answers, serve)

        await known(running, *names)

        for ask in running.alpha.asks:
            assert (ask.header("authorization") or "").startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
