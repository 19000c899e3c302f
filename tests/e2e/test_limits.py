"""Limits over real sockets: what callers see, and whom a proxy's word makes of them."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.e2e.gateway import gateway

LIMITS = "[limits]\nrpm = 2\ntpm = 100_000\n"
STRANGER, OTHER = {"x-forwarded-for": "203.0.113.9"}, {"x-forwarded-for": "198.51.100.1"}


async def test_limits_are_told_in_headers_and_kept(tmp_path: Path) -> None:
    """Of streams and whole answers alike; the third request of two is refused, and its row is there."""
    async with gateway(tmp_path, more=LIMITS) as it:
        whole, stream, refused = await it.chat(), await it.chat(stream=True), await it.chat()
        row = await it.row(refused)

    assert (whole.status, stream.status, refused.status) == (200, 200, 429)
    assert [each.headers["x-ratelimit-remaining-requests"] for each in (whole, stream, refused)] == ["1", "0", "0"]
    assert {each.headers["x-ratelimit-limit-tokens"] for each in (whole, stream, refused)} == {"100000"}
    assert refused.error["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert row["error"]["status"] == 429


async def test_openais_client_knows_what_to_do(tmp_path: Path) -> None:
    """It raises its own error for it, with the headers that it would wait by."""
    async with gateway(tmp_path, more="[limits]\nrpm = 1") as it:
        async with openai.AsyncOpenAI(base_url=f"{it.url}/v1", api_key="any", max_retries=0) as client:
            await client.embeddings.create(model="gpt-4o", input="hello")
            with pytest.raises(openai.RateLimitError) as caught:
                await client.embeddings.create(model="gpt-4o", input="hello")

    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["x-ratelimit-limit-requests"] == "1"


async def test_callers_behind_a_trusted_proxy_are_told_apart(tmp_path: Path) -> None:
    """By the address that the proxy added; what a caller made up itself changes nothing."""
    made_up = {"x-forwarded-for": "192.0.2.1, 203.0.113.9"}
    async with gateway(tmp_path, server='trusted_proxies = ["127.0.0.1"]', more="[limits]\nrpm = 1") as it:
        one, two, again = [await it.chat(headers=each) for each in (STRANGER, OTHER, made_up)]

    assert (one.status, two.status, again.status) == (200, 200, 429)


async def test_nobody_else_can_say_who_it_is(tmp_path: Path) -> None:
    """Without trusted proxies, the header gives no second try."""
    async with gateway(tmp_path, more="[limits]\nrpm = 1") as it:
        one, two = [await it.chat(headers=each) for each in (STRANGER, OTHER)]

    assert (one.status, two.status) == (200, 429)
