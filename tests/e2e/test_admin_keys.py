"""Gateway keys handed out over HTTP, and used by the openai SDK: what is changed holds from the answer on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.gateway import MODEL, Gateway, gateway
from tests.e2e.test_sdk import MESSAGES
from tests.upstream.servers import LONG

ADMIN_KEY = "admin-0123456789-abcdefghij"


def client(running: Gateway, secret: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=secret, max_retries=0)


async def asked(running: Gateway, secret: str, model: str = MODEL) -> str:
    """What became of a chat completion with that key: ``ok``, or the error's code."""
    async with client(running, secret) as sdk:
        try:
            await sdk.chat.completions.create(model=model, messages=MESSAGES)
        except openai.APIStatusError as error:
            return str(error.code)
    return "ok"


async def admin(
    running: Gateway, method: str, path: str, body: object = None, *, status: int = 200, **headers: str
) -> dict[str, Any]:
    """A request to ``/admin/keys`` and what follows; in names of headers ``_`` is ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{running.url}/admin/keys{path}"
    async with running.http.request(method, url, json=body, headers=named) as response:
        answer = await response.json()
        assert response.status == status, answer
    assert isinstance(answer, dict)
    return answer


async def created(running: Gateway, name: str = "team-a", **fields: object) -> str:
    """A new key's secret."""
    return str((await admin(running, "POST", "", {"name": name, **fields}, status=201))["key"])


async def test_the_first_key_closes_the_gateway(tmp_path: Path) -> None:
    """Before it anybody may ask; after it who has the key, whose name is in the row. No provider sees it."""
    async with gateway(tmp_path) as running:
        before = await asked(running, "anything")
        secret = await created(running)
        async with client(running, secret) as sdk:
            raw = await sdk.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        row = await running.logged(raw.headers["x-arbstr-request-id"])

        assert before == "ok"
        assert await asked(running, "anything") == "invalid_api_key"
        assert row["key_name"] == "team-a"
        assert all(secret not in ask.head.decode() for ask in running.alpha.asks)


async def test_the_secret_is_kept_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Once it was answered it is in no file of the gateway's, in no list of keys, and in no line of its log."""
    async with gateway(tmp_path) as running:
        secret = await created(running)
        assert await asked(running, secret) == "ok"
        (listed,) = (await admin(running, "GET", ""))["data"]
        shown = await admin(running, "GET", "/team-a")

    kept = [path.name for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    log = capfd.readouterr().out
    assert kept == []
    assert "a key was created" in log
    assert secret not in log
    assert listed == shown
    assert secret not in str(shown)


async def test_a_revoked_key(tmp_path: Path) -> None:
    """From the answer on it is refused, and the gateway does not fall open."""
    async with gateway(tmp_path) as running:
        secret = await created(running)
        allowed = await asked(running, secret)
        revoked = await admin(running, "DELETE", "/team-a")

        assert allowed == "ok"
        assert revoked["standing"] == "revoked"
        assert await asked(running, secret) == "invalid_api_key"
        assert await asked(running, "anything") == "invalid_api_key"
        assert await admin(running, "DELETE", f"/{revoked['id']}") == revoked


async def test_other_models(tmp_path: Path) -> None:
    """A key is for the models that it is changed to be for."""
    async with gateway(tmp_path) as running:
        secret = await created(running)
        first = [await asked(running, secret, model) for model in ("gpt-4o", "gpt-4o-mini")]
        await admin(running, "PATCH", "/team-a", {"models": ["*-mini"]})
        then = [await asked(running, secret, model) for model in ("gpt-4o", "gpt-4o-mini")]
        await admin(running, "PATCH", "/team-a", {"models": None})

        assert first == ["ok", "ok"]
        assert then == ["model_not_allowed", "ok"]
        assert await asked(running, secret) == "ok"


async def test_other_limits_and_budgets(tmp_path: Path) -> None:
    """They hold from the answer on, as does their removal."""
    async with gateway(tmp_path) as running:
        secret = await created(running, rpm=1)
        limited = [await asked(running, secret) for _ in range(2)]
        await admin(running, "PATCH", "/team-a", {"rpm": None, "budget_total": 0.5})
        broke = await asked(running, secret)
        await admin(running, "PATCH", "/team-a", {"budget_total": None})

        assert limited == ["ok", "rate_limit_exceeded"]
        assert broke == "insufficient_quota"
        assert await asked(running, secret) == "ok"


async def test_a_rotated_key(tmp_path: Path) -> None:
    """With a grace both secrets are good, without one the new one alone; it is the same key."""
    async with gateway(tmp_path) as running:
        first = await created(running, "Team A")
        rotated = await admin(running, "POST", "/Team%20A/rotate", {"grace": "1h"})
        during = [await asked(running, secret) for secret in (first, rotated["key"])]
        again = await admin(running, "POST", f"/{rotated['id']}/rotate")
        after = [await asked(running, secret) for secret in (first, rotated["key"], again["key"])]

        assert during == ["ok", "ok"]
        assert after == ["invalid_api_key", "invalid_api_key", "ok"]
        assert rotated["previous_until"] is not None
        assert again["previous_until"] is None
        assert len((await admin(running, "GET", ""))["data"]) == 1


async def test_an_expired_key(tmp_path: Path) -> None:
    """Its end can be an instant that comes while the gateway runs."""
    async with gateway(tmp_path) as running:
        secret = await created(running, expires="1ms")
        async with asyncio.timeout(LONG):
            while (await admin(running, "GET", "/team-a"))["standing"] == "active":
                await asyncio.sleep(0.001)

        assert await asked(running, secret) == "invalid_api_key"


async def test_many_at_once(tmp_path: Path) -> None:
    """Of those who want the same name one gets it, and of those who change a key each does."""
    async with gateway(tmp_path) as running:

        async def status(method: str, path: str, body: object) -> int:
            async with running.http.request(method, f"{running.url}/admin/keys{path}", json=body) as response:
                return response.status

        making = await asyncio.gather(*(status("POST", "", {"name": "team-a"}) for _ in range(8)))
        fields = ({"rpm": 5}, {"tpm": 6}, {"max_parallel": 7}, {"budget_day": 8}, {"models": ["gpt-4o"]})
        changing = await asyncio.gather(*(status("PATCH", "/team-a", each) for each in fields))
        key = await admin(running, "GET", "/team-a")

    assert sorted(making) == [201] + [409] * 7
    assert changing == [200] * len(fields)
    for each in fields:
        assert each.items() <= key.items()


class TestWhoMay:
    @pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}])
    async def test_pages_of_others(self, tmp_path: Path, headers: dict[str, str]) -> None:
        """They make no key, and so close the gateway to nobody."""
        async with gateway(tmp_path) as running:
            refusal = await admin(running, "POST", "", {"name": "evil"}, status=403, **headers)

            assert refusal["error"]["code"] == "forbidden_origin"
            assert (await admin(running, "GET", ""))["data"] == []
            assert await asked(running, "anything") == "ok"

    async def test_without_an_admin_key(self, tmp_path: Path) -> None:
        """Only this machine is the operator's: what came from elsewhere is refused, with a gateway key too."""
        async with gateway(tmp_path) as running:
            secret = await created(running)
            elsewhere = {"X_Forwarded_For": "203.0.113.7"}
            nobody = await admin(running, "GET", "", status=403, **elsewhere)
            somebody = await admin(running, "GET", "", status=403, Authorization=f"Bearer {secret}", **elsewhere)

            assert [refusal["error"]["code"] for refusal in (nobody, somebody)] == ["admin_only", "admin_only"]

    async def test_with_an_admin_key(self, tmp_path: Path) -> None:
        """Nobody does without it, and who has it may be anywhere. It is no key for models."""
        async with gateway(tmp_path, server=f'admin_key = "{ADMIN_KEY}"') as running:
            for wrong in ({}, {"X_Admin_Key": ADMIN_KEY[:-1]}, {"Authorization": f"Bearer {ADMIN_KEY}x"}):
                refusal = await admin(running, "POST", "", {"name": "evil"}, status=401, **wrong)
                assert refusal["error"]["code"] == "invalid_api_key"
            elsewhere = {"X_Forwarded_For": "203.0.113.7", "X_Admin_Key": ADMIN_KEY}
            secret = (await admin(running, "POST", "", {"name": "team-a"}, status=201, **elsewhere))["key"]

            assert await asked(running, secret) == "ok"
            assert await asked(running, ADMIN_KEY) == "invalid_api_key"
