"""Asking where a request would go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.gateway import MODEL, QUESTION, gateway

EXPLAIN = "/v1/route/explain"


async def explain(running: Any, **more: object) -> tuple[int, dict[str, Any]]:
    headers = {str(name): str(value) for name, value in dict(more.pop("headers", {})).items()}  # type: ignore[call-overload]
    body = {"model": MODEL, "messages": QUESTION, **more}
    async with running.http.post(f"{running.url}{EXPLAIN}", json=body, headers=headers) as response:
        return response.status, await response.json()


async def test_it_tells_what_then_happens(tmp_path: Path) -> None:
    """The order, who is first, and the header of the answer: one decision. Nobody is asked, and no row is written."""
    async with gateway(tmp_path) as running:
        status, told = await explain(running)
        asked_before = len(running.alpha.asks) + len(running.beta.asks)
        reply = await running.chat()
        row = await running.row(reply)

    assert (status, asked_before) == (200, 0)
    assert [each["provider"] for each in told["candidates"]] == ["alpha", "beta"]
    assert told["refusal"] is None
    assert reply.headers["x-arbstr-provider"] == told["candidates"][0]["provider"]
    assert reply.headers["x-arbstr-route"] == "cheapest; alpha, beta"
    assert row["decision"]["candidates"] == told["candidates"]
    assert told["baseline"]["provider"] == "beta"


async def test_what_would_be_refused_is_said(tmp_path: Path) -> None:
    """A ceiling that nobody fits: with what the request would be answered, and why each is out."""
    async with gateway(tmp_path) as running:
        status, told = await explain(running, headers={"X-Arbstr-Max-Cost-Sats": "0.001"})

    assert status == 200
    assert told["candidates"] == []
    assert {each["why"] for each in told["rejected"]} == {"price"}
    assert (told["refusal"]["status"], told["refusal"]["code"]) == (402, "ceiling_too_low")


async def test_a_request_that_cannot_be_is_refused_as_itself(tmp_path: Path) -> None:
    """An unknown model, an unknown policy, a body that is none."""
    async with gateway(tmp_path) as running:
        unknown, _ = await explain(running, model="nobody-has-this")
        policy, error = await explain(running, headers={"X-Arbstr-Policy": "nope"})
        broken, _ = await explain(running, messages=1)

    assert (unknown, policy, broken) == (404, 400, 400)
    assert "nope" in error["error"]["message"]
