"""Answers of providers that are refusals, or not quite answers: what follows for the request and for the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arbstr.domain.errors import FailureKind
from arbstr.domain.record import CostSource
from tests.e2e.gateway import ANSWER, QUESTION, Ask, Behaviour, gateway
from tests.faults.third import FAST
from tests.pipeline.rig import CHEAP, DEAR, Rig, deployment, failure, whole


def refusing(status: str, message: str = "no", *, code: str | None = None) -> Behaviour:
    async def behave(ask: Ask) -> None:
        await ask.refuse(status, message, code=code)

    return behave


@pytest.mark.parametrize("status", ["408 Request Timeout", "500 No", "502 No", "503 No", "504 No", "529 Overloaded"])
async def test_once_and_then_well_again_is_one_retry(tmp_path: Path, status: str) -> None:
    """Each status that is retryable by default costs one more try at the same, cheapest provider."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.next = [refusing(status)]

        reply = await running.chat()

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "alpha")
        assert reply.headers["x-arbstr-retries"] == "1/alpha"
        assert (await running.get("/health")).json()["providers"]["alpha"]["failure_count"] == 0


@pytest.mark.parametrize("status", ["409 Conflict", "425 Too Early"])
async def test_a_conflict_is_not_insisted_on(tmp_path: Path, status: str) -> None:
    """The next provider is asked at once, and nobody's health is in doubt."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = refusing(status)

        reply = await running.chat()

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "beta")
        assert reply.headers["x-arbstr-retries"] == "1/alpha"
        assert (await running.get("/health")).json()["providers"]["alpha"]["failure_count"] == 0


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        ("402 Payment Required", "Insufficient credits", None),
        ("429 Too Many Requests", "You exceeded your current quota", "insufficient_quota"),
        ("429 Too Many Requests", "Spend limit reached", "enforced_spend_limit_reached"),
        ("400 Bad Request", "Your credit balance is too low to access the API", None),
    ],
)
async def test_an_account_without_money_is_left_alone(
    tmp_path: Path, status: str, message: str, code: str | None
) -> None:
    """Asked once and not insisted on; the next request does not ask it at all, and its circuit stays closed."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = refusing(status, message, code=code)

        first, second = await running.chat(), await running.chat()

        assert [reply.headers["x-arbstr-provider"] for reply in (first, second)] == ["beta", "beta"]
        assert len(running.alpha.asks) == 1
        assert (await running.get("/health")).json()["providers"]["alpha"]["state"] == "closed"


async def test_with_nobody_else_an_account_without_money_is_a_502(tmp_path: Path) -> None:
    """It is the operator's account, so the caller is not told to pay."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = running.beta.usual = refusing("402 Payment Required", "Insufficient credits")

        reply = await running.chat()

        assert (reply.status, reply.error["code"]) == (502, "upstream_error")


async def test_a_rate_limit_rests_all_models_of_its_account(tmp_path: Path) -> None:
    """Another route that leads to the same account does not hammer it in the meantime."""
    other = """
[models."other"]
primary = { provider = "alpha", model = "gpt-4o" }
fallbacks = [ { provider = "beta", model = "gpt-4o" } ]
"""
    async with gateway(tmp_path, more=other) as running:
        running.alpha.usual = refusing("429 Too Many Requests", "Rate limit reached", code="rate_limit_exceeded")
        await running.chat()

        reply = await running.chat(model="other")

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "beta")
        assert "x-arbstr-retries" not in reply.headers
        assert len(running.alpha.asks) == 1


@pytest.mark.parametrize("own_id", ["always-the-same", None, 7])
async def test_the_providers_ids_are_not_ours(tmp_path: Path, own_id: object) -> None:
    """Two answers under one id, or under none, are two rows; the answers reach the caller as they were."""
    answer = {**ANSWER, "id": own_id}

    async def same(ask: Ask) -> None:
        await ask.answer(answer)

    async with gateway(tmp_path) as running:
        running.alpha.usual = same

        replies = [await running.chat(), await running.chat()]

        rows = await running.rows(2)
        assert [reply.json() for reply in replies] == [answer, answer]
        assert {row["id"] for row in rows} == {reply.headers["x-arbstr-request-id"] for reply in replies}


USAGES: dict[str, object] = {
    "missing": None,
    "zero": {"prompt_tokens": 0, "completion_tokens": 0},
    "negative": {"prompt_tokens": -5, "completion_tokens": 7},
    "text": {"prompt_tokens": "5", "completion_tokens": "7"},
    "a fraction": {"prompt_tokens": 5.5, "completion_tokens": 7},
    "absurd": {"prompt_tokens": 10**12, "completion_tokens": 7},
    "booleans": {"prompt_tokens": True, "completion_tokens": True},
    "a list": [5, 7],
}


@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
async def test_usage_that_cannot_be_true_is_estimated(usage: object) -> None:
    """The row says so, and has a cost that somebody could have paid."""
    rig = Rig()
    answer = json.loads(whole("x" * 40, usage=False)[0])
    rig.script(CHEAP, [json.dumps({**answer, "usage": usage}).encode()])

    await rig.ask()

    row = rig.row
    assert (row.cost_source, row.output_tokens) == (CostSource.ESTIMATED, 10)
    assert row.cost is not None
    assert 0 < row.cost < 2_000_000


async def test_a_total_that_disagrees_is_ignored() -> None:
    """What is charged are the two counts."""
    rig = Rig()
    answer = json.loads(whole(usage=False)[0])
    usage = {"prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 9}
    rig.script(CHEAP, [json.dumps({**answer, "usage": usage}).encode()])

    await rig.ask()

    assert (rig.row.cost_source, rig.row.cost) == (CostSource.PROVIDER, 3_500_000)


async def test_a_fallback_is_asked_what_the_caller_asked(tmp_path: Path) -> None:
    """No half of a broken answer is put into its mouth: the messages are the caller's, and end with the caller's."""

    async def cut(ask: Ask) -> None:
        await ask.begin()
        await ask.send(b'data: {"choices":[{"index":0,"delta":{"content":"Half of an ans')
        ask.peer.reset()

    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = cut

        reply = await running.chat(stream=True)

        assert reply.headers["x-arbstr-provider"] == "beta"
        assert [ask.body["messages"] for ask in running.alpha.asks + running.beta.asks] == [QUESTION] * 4


async def test_an_exact_failure_that_repeats_counts_each_time() -> None:
    """Requests that fail in the same words are as many failures: the circuit opens by the third of them."""
    rig = Rig(deployments=(deployment(CHEAP, "5"), deployment(DEAR, "10")))
    timeout = failure(FailureKind.TIMEOUT, "no response head in time")
    rig.script(CHEAP, timeout, timeout, timeout)
    rig.script(DEAR, *[whole()] * 4)

    for _ in range(4):
        await rig.ask()

    assert rig.circuit(CHEAP) == "open"
    assert rig.asked.count(CHEAP) == 3
