"""Budgets and ceilings over real sockets: what callers see, what is charged, and what a restart knows."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.e2e.gateway import CONFIG, DONE, MODEL, QUESTION, ROLE, STOP, Ask, Gateway, chunk, event, gateway
from tests.e2e.test_admin_keys import admin, created
from tests.e2e.test_sdk import MESSAGES
from tests.process.gateway import rows
from tests.upstream.servers import LONG

BY_TOKEN = (
    CONFIG.replace("input_rate = 5\noutput_rate = 10", "input_rate = 0\noutput_rate = 1000")
    .replace("input_rate = 10\noutput_rate = 20", "input_rate = 0\noutput_rate = 1000")
    .replace("base_fee = 1", "base_fee = 0")
)
"""One satoshi for each token of an answer, at both providers."""


class Till:
    """A provider that knows what it has earned."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self.rng = rng
        self.earned = 0
        """Tokens of all answers …"""
        self.earned_whole = 0
        """… and of the whole ones, which are made to their end, whoever is there to hear it."""

    async def __call__(self, ask: Ask) -> None:
        most = int(ask.body["max_tokens"])
        tokens = self.rng.randint(1, most) if self.rng is not None else most
        usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
        self.earned += tokens
        if ask.body.get("stream"):
            numbers = event({"choices": [], "usage": usage})
            await ask.stream(ROLE, chunk({"content": "x" * tokens}), STOP, numbers, DONE)
        else:
            self.earned_whole += tokens
            choice = {"index": 0, "message": {"role": "assistant", "content": "x" * tokens}, "finish_reason": "stop"}
            await ask.answer({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})


async def budget(running: Gateway, window: str = "total", **query: str) -> dict[str, Any]:
    reply = await running.get("/v1/budget?" + "&".join(f"{name}={value}" for name, value in query.items()))
    assert reply.status == 200, reply.body
    found = reply.json()[window]
    assert isinstance(found, dict)
    return found


async def quiet(running: Gateway) -> dict[str, Any]:
    """The total, once nobody is in flight: then nothing is reserved."""
    async with asyncio.timeout(LONG):
        while running.service.state.in_flight:
            await asyncio.sleep(0.01)
    found = await budget(running)
    assert found["reserved"] == 0
    return found


async def test_of_sixty_four_at_once_exactly_ten_fit(tmp_path: Path) -> None:
    """1,000 satoshis, up to 100 for each: the others are refused while those are in flight."""
    async with gateway(tmp_path, template=BY_TOKEN, more="[budget]\nmax_cost_total = 1000") as running:
        till, gate = Till(), asyncio.Event()

        async def waits(ask: Ask) -> None:
            await gate.wait()
            await till(ask)

        running.alpha.usual = running.beta.usual = waits
        asking = [asyncio.ensure_future(running.chat(max_tokens=100)) for _ in range(64)]
        async with asyncio.timeout(LONG):
            while sum(task.done() for task in asking) < 54:
                await asyncio.sleep(0.01)
        between = await budget(running)
        gate.set()
        replies = await asyncio.gather(*asking)

        statuses = sorted(reply.status for reply in replies)
        assert statuses == [200] * 10 + [429] * 54
        assert (between["reserved"], between["spent"], between["remaining"]) == (1000, 0, 0)
        assert await quiet(running) == {
            **{"spent": 1000, "limit": 1000, "remaining": 0, "reserved": 0},
            "resets_at": None,
        }
        assert till.earned == 1000


async def test_openais_client_does_not_insist(tmp_path: Path) -> None:
    """It raises its own error at once, although it was told to retry; the row is there, and no provider was asked."""
    more = "[budget]\nmax_cost_per_month = 10"
    async with gateway(tmp_path, template=BY_TOKEN, more=more) as running:
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="any", max_retries=5) as client:
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=11)
        (row,) = await running.rows(1)
        month = await budget(running, "current_month")

        headers = caught.value.response.headers
        assert (caught.value.code, headers["x-should-retry"]) == ("insufficient_quota", "false")
        assert 1 <= int(headers["retry-after"]) <= 31 * 86400
        assert (row["error"]["status"], row["cost"]["sats"]) == (429, None)
        assert running.alpha.asks == running.beta.asks == []
        assert month["resets_at"] is not None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_soft_budget_warns(tmp_path: Path, stream: bool) -> None:
    """Nobody is refused; who passes the threshold or the limit is told how far."""
    more = '[budget]\nmax_cost_total = 100\naction_on_exceeded = "allow_with_warning"'
    async with gateway(tmp_path, template=BY_TOKEN, more=more) as running:
        running.alpha.usual = running.beta.usual = Till()

        replies = [await running.chat(max_tokens=50, stream=stream) for _ in range(3)]
        spent = (await quiet(running))["spent"]

        warned = [reply.headers.get("x-arbstr-budget-warning") for reply in replies]
        assert [reply.status for reply in replies] == [200] * 3
        assert warned[0] is None
        assert warned[2] == ("gateway total: 100% of 100 sats" if stream else "gateway total: 150% of 100 sats")
        assert spent == 150


async def test_a_ceiling_leaves_out_who_is_too_dear(tmp_path: Path) -> None:
    """402 with the cheapest price seen where nobody is left, also while their circuits are open; and max_tokens reaches
    the provider as it was said."""
    async with gateway(tmp_path) as running:
        fits = await running.chat(max_tokens=200, headers={"X-Arbstr-Max-Cost-Sats": "4"})
        dear = await running.chat(max_tokens=200, headers={"X-Arbstr-Max-Cost-Sats": "0.5"})
        dollars = await running.chat(max_tokens=200, headers={"X-Arbstr-Max-Cost-Usd": "1"})
        for circuit in running.service.state.circuits.values():
            for _ in range(3):
                permit = circuit.breaker.acquire(0, lease=1)
                assert permit is not None
                permit.fail(running.service.clock.monotonic())
        still_dear = await running.chat(max_tokens=200, headers={"X-Arbstr-Max-Cost-Sats": "0.5"})
        ill = await running.chat(max_tokens=200, headers={"X-Arbstr-Max-Cost-Sats": "4"})

        assert (fits.status, fits.headers["x-arbstr-provider"]) == (200, "alpha")
        assert running.alpha.asks[0].body["max_tokens"] == 200
        for reply in (dear, still_dear):
            assert (reply.status, reply.error["code"], reply.error["param"]) == (
                *(402, "ceiling_too_low"),
                "X-Arbstr-Max-Cost-Sats",
            )
            assert "at alpha, the cheapest provider" in reply.error["message"]
        assert (dollars.status, dollars.error["code"]) == (400, "unpriced_model")
        assert (ill.status, ill.error["code"]) == (503, "circuit_open")


async def test_a_caller_bounds_the_time(tmp_path: Path) -> None:
    """All providers are silent: 504 when the caller's time is over, not the configured ten minutes later."""
    async with gateway(tmp_path, template=BY_TOKEN, more="[budget]\nmax_cost_total = 1000") as running:

        async def silent(ask: Ask) -> None:
            await ask.peer.left()

        running.alpha.usual = running.beta.usual = silent
        reply = await running.chat(max_tokens=5, headers={"X-Arbstr-Timeout-Ms": "100"})

        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
        await quiet(running)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Arbstr-Max-Cost-Sats", "-1"),
        ("X-Arbstr-Max-Cost-Sats", "1e3"),
        ("X-Arbstr-Max-Cost-Sats", "nan"),
        ("X-Arbstr-Max-Cost-Sats", "inf"),
        ("X-Arbstr-Max-Cost-Sats", ""),
        ("X-Arbstr-Max-Cost-Usd", "0x10"),
        ("X-Arbstr-Max-Cost-Usd", "1,5"),
        ("X-Arbstr-Timeout-Ms", "0"),
        ("X-Arbstr-Timeout-Ms", "1.5"),
        ("X-Arbstr-Timeout-Ms", "99999999999"),
    ],
)
async def test_what_is_no_amount_is_the_callers_mistake(tmp_path: Path, name: str, value: str) -> None:
    """400 that names the header; nobody is asked."""
    async with gateway(tmp_path) as running:
        reply = await running.chat(headers={name: value})

        assert (reply.status, reply.error["param"]) == (400, name)
        assert running.alpha.asks == []


async def test_a_key_sees_and_spends_its_own_budget(tmp_path: Path) -> None:
    """It is refused at its own limit while others are served; a budget that is cut under way holds for the next request
    at once, and what was under way is charged to it."""
    async with gateway(tmp_path, template=BY_TOKEN) as running:
        till, gate = Till(), asyncio.Event()

        async def waits(ask: Ask) -> None:
            await gate.wait()
            await till(ask)

        running.alpha.usual = running.beta.usual = waits
        one, two = [await created(running, name, budget_total=100) for name in ("one", "two")]
        mine, others = ({"authorization": f"Bearer {secret}"} for secret in (one, two))
        task = asyncio.ensure_future(running.chat(max_tokens=60, headers=mine))
        async with asyncio.timeout(LONG):
            while not running.alpha.asks + running.beta.asks:
                await asyncio.sleep(0.01)

        await admin(running, "PATCH", "/one", {"budget_total": 70})
        refused = await running.chat(max_tokens=20, headers=mine)
        gate.set()
        answered = await task
        served = await running.chat(max_tokens=100, headers=others)
        shown = (await running.get("/v1/budget", headers=mine)).json()
        foreign = await running.get("/v1/budget?key=two", headers=mine)

        assert (refused.status, answered.status, served.status) == (429, 200, 200)
        assert (
            "the budget of key 'one' is 70 sats in all, of which 0 sats is spent and 60 sats reserved"
            in (refused.error["message"])
        )
        assert (shown["key"]["name"], shown["total"]["spent"], shown["total"]["remaining"]) == ("one", 60, 10)
        assert foreign.status == 403
        assert (await budget(running, key="two"))["spent"] == 100


async def test_a_changed_configuration_holds_for_what_is_spent_already(tmp_path: Path) -> None:
    """Lowered below it, raised, and in dollars, one start after the other."""
    spent, statuses = [], []
    for limit in (
        "max_cost_total = 100",
        "max_cost_total = 50",
        "max_cost_total = 200",
        'currency = "usd"\nmax_cost_total = 1',
    ):
        more = f"[pricing.exchange]\nsats_per_usd = 1000\n[budget]\n{limit}"
        async with gateway(tmp_path, template=BY_TOKEN, more=more) as running:
            running.alpha.usual = running.beta.usual = Till()
            spent.append((await budget(running))["spent"])
            statuses.append((await running.chat(max_tokens=60)).status)
            await quiet(running)

    assert spent == [0, 60, 60, 0.12]
    assert statuses == [200, 429, 200, 200]


async def test_sixty_four_callers_several_starts_and_not_a_satoshi_lost(tmp_path: Path) -> None:
    """Callers ask for random amounts, streamed and whole, and some leave; providers fail now and then; the gateway is
    stopped in the middle of it, and started again on its database. What is spent is what the rows say, no less than
    what the providers have made whole answers for, and the limit holds; when all is quiet nothing is reserved."""
    rng = random.Random(64)
    earned = known = 0
    statuses: Counter[int] = Counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        for start in range(4):
            async with gateway(tmp_path, template=BY_TOKEN, more="[budget]\nmax_cost_total = 6000") as running:
                till = Till(rng)

                async def erratic(ask: Ask, till: Till = till) -> None:
                    await (ask.refuse("503 Service Unavailable") if rng.random() < 0.1 else till(ask))

                running.alpha.usual = running.beta.usual = erratic
                assert (await budget(running))["spent"] * 10**6 == known
                url = f"{running.url}/v1/chat/completions"
                callers = [asyncio.ensure_future(_call(http, url, rng, statuses)) for _ in range(64)]
                in_the_middle = start % 2 == 1
                while not all(task.done() for task in callers) and not (in_the_middle and till.earned > 500):
                    await asyncio.sleep(0.02)
                    shown = await budget(running)
                    assert shown["spent"] + shown["reserved"] + shown["remaining"] == 6000
                if not in_the_middle:
                    await quiet(running)
            await asyncio.gather(*callers)
            found = rows(tmp_path)
            known = sum(map(_cost, found))
            earned += till.earned_whole
            assert known <= 6000 * 10**6
            assert earned * 10**6 <= sum(_cost(row) for row in found if not row["streaming"])

    assert statuses[200] > 100
    assert statuses[429] > 0


def _cost(row: Mapping[str, Any]) -> int:
    """In microsatoshis, failed tries included."""
    return (row["cost_micro_sats"] or 0) + (row["failed_cost_micro_sats"] or 0)


async def _call(http: aiohttp.ClientSession, url: str, rng: random.Random, statuses: Counter[int]) -> None:
    """One caller with several requests, who leaves now and then before it is answered."""
    for _ in range(4):
        body = {"model": MODEL, "messages": QUESTION, "max_tokens": rng.randint(1, 40), "stream": rng.random() < 0.5}
        patience = rng.uniform(0, 0.05) if rng.random() < 0.2 else LONG
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(patience), http.post(url, json=body) as response:
                statuses[response.status] += 1
                await response.read()
