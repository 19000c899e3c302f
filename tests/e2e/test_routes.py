"""Every model route goes down the one pipeline: what holds for one holds for all."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from arbstr.edge.app import MODEL_ENDPOINTS
from tests.e2e.gateway import Ask, Gateway, Reply, busy, gateway
from tests.e2e.test_admin_keys import admin, created
from tests.upstream.servers import LONG

FAST = '[resilience.retry]\ninitial_backoff = "1ms"\nmax_backoff = "2ms"\n'
USER = [{"role": "user", "content": "Say hello"}]

ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": USER},
    "/v1/completions": {"prompt": "Say hello"},
    "/v1/embeddings": {"input": "Say hello"},
    "/v1/responses": {"input": "Say hello"},
    "/v1/messages": {"messages": USER, "max_tokens": 100},
}
NAMES = {
    "/v1/chat/completions": "chat.completions",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
}


def body(path: str) -> dict[str, Any]:
    return {"model": "gpt-4o", **ROUTES[path]}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def check_refusal(path: str, reply: Reply, status: int, *, code: str, anthropic: str) -> None:
    """An error with that code, or of that type where the route speaks Anthropic's dialect."""
    assert reply.status == status, reply.body
    told = reply.json()
    assert told["error"]["message"]
    if path == "/v1/messages":
        assert (told["type"], told["error"]["type"]) == ("error", anthropic)
    else:
        assert told["error"]["code"] == code


async def budget_of(running: Gateway, key: str) -> dict[str, Any]:
    total = (await running.get(f"/v1/budget?key={key}")).json()["total"]
    assert isinstance(total, dict)
    return total


def test_this_list_is_the_applications() -> None:
    """A new model route has to prove the same."""
    assert set(ROUTES) == MODEL_ENDPOINTS


@pytest.mark.parametrize("path", ROUTES)
async def test_it_answers_with_its_cost_and_leaves_one_row(tmp_path: Path, path: str) -> None:
    """The row has the route's name, the tokens and the price."""
    async with gateway(tmp_path) as running:
        reply = await running.post(path, body(path))

        assert reply.status == 200, reply.body
        row = await running.row(reply)
        assert (row["endpoint"], row["model"], row["provider"]) == (NAMES[path], "gpt-4o", "alpha")
        cost = 1.5 if path == "/v1/embeddings" else 3.5
        assert (row["cost"]["sats"], reply.headers["x-arbstr-cost-sats"]) == (cost, str(cost))
        await running.rows(1)


@pytest.mark.parametrize("path", ROUTES)
async def test_it_is_retried(tmp_path: Path, path: str) -> None:
    """At the same provider."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.next = [busy]

        reply = await running.post(path, body(path))

        assert (reply.status, reply.headers["x-arbstr-retries"]) == (200, "1/alpha")


@pytest.mark.parametrize("path", ROUTES)
async def test_it_falls_back(tmp_path: Path, path: str) -> None:
    """To the next provider."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = busy

        reply = await running.post(path, body(path))

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "beta")


@pytest.mark.parametrize("path", ROUTES)
async def test_its_errors_are_in_its_dialect(tmp_path: Path, path: str) -> None:
    """When everybody fails, and for a body that is none."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = running.beta.usual = busy

        failed = await running.post(path, body(path))
        broken = await running.post(path, {"model": "gpt-4o"})

        assert (failed.status, broken.status) == (502, 400)
        for reply in (failed, broken):
            error = reply.json()["error"]
            assert error["message"]
            assert (reply.json().get("type") == "error") is (path == "/v1/messages")
        assert len(await running.rows(2)) == 2


@pytest.mark.parametrize("path", ROUTES)
async def test_a_caller_who_leaves_cancels_it(tmp_path: Path, path: str) -> None:
    """Upstream is gone at once; one row says 499."""

    async def silent(ask: Ask) -> None:
        await ask.peer.left()

    async with gateway(tmp_path) as running:
        running.alpha.usual = silent
        host, _, port = running.url.removeprefix("http://").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        sent = json.dumps(body(path)).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(sent)}\r\n\r\n"
        )
        writer.write(head.replace("host: x", "host: 127.0.0.1").encode() + sent)
        async with asyncio.timeout(LONG):
            while not running.alpha.asks:
                await asyncio.sleep(0.01)

        writer.close()

        async with asyncio.timeout(1.0):
            await running.alpha.asks[0].peer.gone.wait()
        (row,) = await running.rows(1)
        assert (row["endpoint"], row["error"]["status"]) == (NAMES[path], 499)
        running.check_nothing_is_left()


@pytest.mark.parametrize("path", ROUTES)
async def test_pages_of_other_origins_are_refused_with_a_row(tmp_path: Path, path: str) -> None:
    """The guard stands in the same place for all of them."""
    async with gateway(tmp_path) as running:
        reply = await running.post(path, body(path), headers={"Origin": "https://evil.example"})

        assert reply.status == 403
        assert running.alpha.asks == []
        (row,) = await running.rows(1)
        assert row["error"]["status"] == 403


@pytest.mark.parametrize("path", ROUTES)
async def test_once_there_is_a_key_it_needs_one(tmp_path: Path, path: str) -> None:
    """Without one, with a wrong one and with a revoked one it asks nobody, and leaves a row."""
    async with gateway(tmp_path) as running:
        secret = await created(running)
        allowed = await running.post(path, body(path), headers=bearer(secret))
        asked = len(running.alpha.asks)

        nobody = await running.post(path, body(path))
        wrong = await running.post(path, body(path), headers=bearer(f"{secret[:-4]}zzzz"))
        await admin(running, "DELETE", "/team-a")
        revoked = await running.post(path, body(path), headers=bearer(secret))

        assert allowed.status == 200, allowed.body
        for reply in (nobody, wrong, revoked):
            check_refusal(path, reply, 401, code="invalid_api_key", anthropic="authentication_error")
        assert len(running.alpha.asks) == asked
        rows = await running.rows(4)
        assert [row["key_name"] for row in rows] == ["team-a" if row["success"] else None for row in rows]
        assert sorted(row["error"]["status"] for row in rows if row["error"]) == [401, 401, 401]
        assert {row["endpoint"] for row in rows} == {NAMES[path]}


@pytest.mark.parametrize("path", ROUTES)
async def test_it_heeds_its_callers_limits(tmp_path: Path, path: str) -> None:
    """They stand in the headers of every answer, and the request beyond them is refused with a row, and not sent."""
    async with gateway(tmp_path) as running:
        secret = await created(running, rpm=1, tpm=100_000)

        first, second = [await running.post(path, body(path), headers=bearer(secret)) for _ in range(2)]

        assert first.status == 200, first.body
        check_refusal(path, second, 429, code="rate_limit_exceeded", anthropic="rate_limit_error")
        for reply in (first, second):
            assert reply.headers["x-ratelimit-limit-requests"] == "1"
            assert reply.headers["x-ratelimit-remaining-requests"] == "0"
            assert reply.headers["x-ratelimit-limit-tokens"] == "100000"
        assert int(second.headers["retry-after"]) >= 1
        assert len(running.alpha.asks) == 1
        row = await running.row(second)
        assert (row["endpoint"], row["key_name"], row["error"]["status"]) == (NAMES[path], "team-a", 429)


@pytest.mark.parametrize("path", ROUTES)
async def test_it_is_paid_from_a_budget(tmp_path: Path, path: str) -> None:
    """What its row says it cost is what the key has spent, and nothing stays reserved; what no longer fits is refused,
    and nobody is asked."""
    async with gateway(tmp_path) as running:
        secret = await created(running, budget_total=1000)
        paid = await running.post(path, body(path), headers=bearer(secret))
        row = await running.row(paid)
        after = await budget_of(running, "team-a")

        await admin(running, "PATCH", "/team-a", {"budget_total": after["spent"]})
        refused = await running.post(path, body(path), headers=bearer(secret))

        assert paid.status == 200, paid.body
        assert row["cost"]["sats"] == after["spent"] == float(paid.headers["x-arbstr-cost-sats"]) > 0
        check_refusal(path, refused, 429, code="insufficient_quota", anthropic="rate_limit_error")
        assert refused.headers["x-should-retry"] == "false"
        assert len(running.alpha.asks) + len(running.beta.asks) == 1
        assert (await budget_of(running, "team-a")) | {"limit": 0} == after | {"limit": 0, "remaining": 0}
        assert after["reserved"] == 0
        assert (await running.row(refused))["cost"]["sats"] is None
