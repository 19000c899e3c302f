"""What of a caller's headers an Anthropic provider sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.gateway import MODEL, Ask, Gateway, gateway
from tests.e2e.test_dialects import claude

ANTHROPIC = 'kind = "anthropic"'
OURS = "2023-06-01"
BODY = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello"}]}


async def asked(running: Gateway, headers: dict[str, str]) -> Ask:
    """How the provider is asked by a caller of messages with ``headers``."""
    running.alpha.usual = claude
    reply = await running.post("/v1/messages", BODY, headers=headers)
    assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "alpha"), reply.body
    return running.alpha.asks[-1]


def lines(ask: Ask, name: str) -> list[str]:
    """The values of each line of a header."""
    found = (line.partition(":") for line in ask.head.decode("latin-1").split("\r\n"))
    return [value.strip() for key, _, value in found if key.lower() == name]


async def test_a_callers_version_goes_along_in_the_place_of_ours(tmp_path: Path) -> None:
    """And who names none is served by ours."""
    async with gateway(tmp_path, provider=ANTHROPIC) as running:
        theirs = await asked(running, {"anthropic-version": "2026-10-21"})
        same = await asked(running, {"Anthropic-Version": OURS})
        none = await asked(running, {})

        assert [lines(ask, "anthropic-version") for ask in (theirs, same, none)] == [["2026-10-21"], [OURS], [OURS]]


async def test_a_configured_version_holds_for_every_caller(tmp_path: Path) -> None:
    """The operator's word is the last."""
    configured = f'{ANTHROPIC}\nheaders = {{ "Anthropic-Version" = "2024-01-01" }}'
    async with gateway(tmp_path, provider=configured) as running:
        theirs = await asked(running, {"anthropic-version": "2026-10-21", "anthropic-beta": "a"})
        none = await asked(running, {})

        assert lines(theirs, "anthropic-version") == lines(none, "anthropic-version") == ["2024-01-01"]
        assert lines(theirs, "anthropic-beta") == ["a"]


async def test_a_callers_betas_go_along_beside_the_configured_ones(tmp_path: Path) -> None:
    """For that header is a list."""
    configured = f'{ANTHROPIC}\nheaders = {{ anthropic-beta = "context-1m" }}'
    async with gateway(tmp_path, provider=configured) as running:
        ask = await asked(running, {"anthropic-beta": "one-2026-01-01, two"})

        assert lines(ask, "anthropic-beta") == ["context-1m", "one-2026-01-01, two"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("anthropic-version", "latest"),
        ("anthropic-version", "2023-06-01, 2023-01-01"),
        ("anthropic-version", "bedrock-2023-05-31"),
        ("anthropic-version", "2023-06-0١"),
        ("anthropic-version", ""),
        ("anthropic-beta", "one;two"),
        ("anthropic-beta", "a" * 501),
    ],
)
async def test_what_is_no_version_and_no_list_is_the_callers_mistake(tmp_path: Path, name: str, value: str) -> None:
    """A 400 that names the header, and nobody is asked."""
    async with gateway(tmp_path, provider=ANTHROPIC) as running:
        reply = await running.post("/v1/messages", BODY, headers={name: value})

        assert reply.status == 400
        assert f"{name} is " in reply.json()["error"]["message"]
        assert running.alpha.asks == running.beta.asks == []


async def test_other_providers_and_other_callers_know_nothing_of_them(tmp_path: Path) -> None:
    """A provider of another dialect does not see them, and in requests of another dialect they are not read."""
    told = {"anthropic-version": "2026-10-21", "anthropic-beta": "one"}
    async with gateway(tmp_path, provider=ANTHROPIC, more='[models.chat]\nprimary = { provider = "beta" }') as running:
        running.alpha.usual = claude
        translated = await running.post("/v1/messages", {**BODY, "model": "chat"}, headers=told)
        reply = await running.chat(headers={**told, "anthropic-version": "latest"})

        assert (translated.status, reply.status) == (200, 200)
        assert "anthropic" not in running.beta.asks[0].head.decode()
        assert lines(running.alpha.asks[0], "anthropic-version") == [OURS]
        assert lines(running.alpha.asks[0], "anthropic-beta") == []
