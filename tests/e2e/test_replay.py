"""A log that a real gateway wrote, replayed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from arbstr.config.load import load
from arbstr.policy.replay import Ending, Replay
from arbstr.store.replay_rows import reading
from tests.e2e.gateway import ANSWER, EMBEDDINGS, ROLE, STOP, Ask, busy, chunk, event, gateway
from tests.test_cli import run

TEMPLATE = """
[server]
listen = "127.0.0.1:0"
drain_timeout = "100ms"
{server}
[store]
url = "sqlite:///arbstr.db"
[pricing.exchange]
sats_per_usd = 1234.567
[providers.alpha]
base_url = "{alpha}"
api_key = "sk-alpha-0123456789"
models = ["gpt-4o", "gpt-4o-mini"]
input_rate = 0.123456
output_rate = 9.87
{provider}
[providers.beta]
base_url = "{beta}"
api_key = "sk-beta-0123456789"
models = ["gpt-4o", "gpt-4o-mini"]
rates = {{ currency = "usd", per = 1_000_000, input = 0.3, output = 1.1, cached_input = 0.07, base_fee = 0.0021 }}
[[policies.rules]]
name = "in_order"
strategy = "priority"
[[policies.rules]]
name = "code"
keywords = ["function"]
strategy = "priority"
{more}
"""
"""``beta`` has a fee and is cheaper for what is long: who is chosen depends on what was learnt of answers' lengths."""

FAST = '[resilience.retry]\nmax_attempts = 1\ninitial_backoff = "1ms"\nmax_backoff = "2ms"\n'


async def vary(ask: Ask, dice: random.Random) -> None:
    """An answer with a usage of its own, whole or streamed."""
    usage: dict[str, Any] = {
        "prompt_tokens": dice.randint(1, 5000),
        "completion_tokens": dice.randint(1, 700),
        "total_tokens": 0,
    }
    usage["prompt_tokens_details"] = {"cached_tokens": dice.randint(0, usage["prompt_tokens"])}
    if ask.path.endswith("/embeddings"):
        await ask.answer({**EMBEDDINGS, "usage": {"prompt_tokens": usage["prompt_tokens"], "total_tokens": 1}})
    elif ask.body.get("stream"):
        last = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage}
        await ask.stream(ROLE, chunk({"content": "Hello"}), STOP, event(last), b"data: [DONE]\n\n")
    else:
        await ask.answer({**ANSWER, "usage": usage})


def asked(dice: random.Random) -> tuple[str, dict[str, Any], dict[str, str]]:
    """A request of some length to some route, and its headers."""
    text = "word " * dice.randint(1, 3000) + dice.choice(["", "function"])
    body: dict[str, Any] = {"model": dice.choice(["gpt-4o", "gpt-4o-mini"])}
    kind = dice.random()
    if kind < 0.15:
        return "/v1/embeddings", {**body, "input": text}, {}
    if kind < 0.25:
        return "/v1/responses", {**body, "input": text, "max_output_tokens": dice.randint(16, 500)}, {}
    if kind < 0.35:
        user = [{"role": "user", "content": text}]
        return "/v1/messages", {**body, "messages": user, "max_tokens": dice.randint(1, 500)}, {}
    body |= {"messages": [{"role": "user", "content": text}], "stream": dice.random() < 0.3}
    if dice.random() < 0.5:
        body["max_tokens"] = dice.randint(1, 500)
    if dice.random() < 0.2:
        body["n"] = dice.randint(1, 3)
    return "/v1/chat/completions", body, dice.choice([{}, {}, {"X-Arbstr-Policy": "in_order"}])


async def logged(folder: Path, requests: int, *, seed: int = 7) -> list[dict[str, Any]]:
    """The rows, newest first, of a gateway that was asked so often, one after the other."""
    dice = random.Random(seed)
    async with gateway(folder, template=TEMPLATE, more=FAST) as running:
        running.alpha.usual = running.beta.usual = lambda ask: vary(ask, dice)
        for _ in range(requests):
            path, body, headers = asked(dice)
            reply = await running.post(path, body, headers=headers)
            assert reply.status == 200, reply.body
        return await running.rows(requests)


@pytest.mark.parametrize("seed", range(3))
async def test_the_same_configuration_decides_and_charges_the_same(tmp_path: Path, seed: int) -> None:
    """Each request goes to the same provider and costs the same, to the millionth of a satoshi and the thousand
    millionth of a dollar. What the gateway had learnt of the length of answers is part of that."""
    entries = await logged(tmp_path, 60, seed=seed)

    snapshot = load(tmp_path / "arbstr.toml", environ={}).snapshot
    again = Replay(snapshot)
    with reading(tmp_path / "arbstr.db") as log:
        rows = list(log.rows(*log.stretch(0.0, 4e9)))
    outcomes = [again.decide(row) for row in rows]

    assert {entry["provider"] for entry in entries} == {"alpha", "beta"}
    assert {row.policy for row in rows} == {None, "in_order", "code"}
    assert [row.provider for row in rows] == [
        outcome.deployment.provider if outcome.deployment else None for outcome in outcomes
    ]
    assert [row.cost for row in rows] == [outcome.cost for outcome in outcomes]
    assert [row.policy for row in rows] == [outcome.policy for outcome in outcomes]
    assert [each.deployment for each in outcomes] != [Replay(snapshot).decide(row).deployment for row in rows]


async def test_the_command_says_so(tmp_path: Path) -> None:
    """Nothing moves, nothing is dearer, and the sums are those of the rows."""
    entries = await logged(tmp_path, 25)

    result = run(tmp_path, "replay", "--json", "--fail-if-dearer", "0%")

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["requests"], told["moved"], told["lost"], told["gained"]) == (25, 0, 0, 0)
    assert told["then"]["cost"] == told["now"]["cost"]
    assert round(sum(entry["cost"]["sats"] for entry in entries), 6) == told["then"]["cost"]["sats"]
    for each in told["providers"]:
        assert each["then"] == each["now"]
        assert each["now"]["requests"] == sum(entry["provider"] == each["provider"] for entry in entries)


async def test_what_failed_is_decided_and_not_charged(tmp_path: Path) -> None:
    """A provider that was down is well now, and who fell back goes to it; of what failed altogether no cost is known,
    and what was refused for its key or its body is left out."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.next = [busy]
        fell_back = await running.chat()
        running.alpha.next, running.beta.next = [busy], [busy]
        failed = await running.chat()
        unknown = await running.chat(model="nobody-has-this")
        broken = await running.chat(messages=1)
        await running.rows(4)

    told = json.loads(run(tmp_path, "replay", "--json").stdout)

    assert [each.status for each in (fell_back, failed, unknown, broken)] == [200, 502, 404, 400]
    assert (told["then"]["served"], told["then"]["failed"]) == (1, 1)
    assert told["then"]["rejected"] == told["now"]["rejected"] == {"model_not_found": 1}
    assert told["kept_out"] == {"invalid_request": 1}
    assert (told["moved"], told["gained"], told["now"]["served"]) == (1, 1, 2)
    assert told["compared"]["requests"] == 1
    assert told["compared"]["now"] < told["compared"]["then"]


async def test_it_asks_nobody(tmp_path: Path) -> None:
    """And writes nothing."""
    async with gateway(tmp_path) as running:
        await running.chat()
        await running.rows(1)
        asked_before = len(running.alpha.asks)

        with reading(tmp_path / "arbstr.db") as log:
            rows = list(log.rows(*log.stretch(0.0, 4e9)))
        result = run(tmp_path, "replay", "--json", "--outage", "alpha")

        assert [row.ending for row in rows] == [Ending.SERVED]
        assert json.loads(result.stdout)["providers"][0]["provider"] == "beta"
        assert len(running.alpha.asks) + len(running.beta.asks) == asked_before == 1
        await running.rows(1)
