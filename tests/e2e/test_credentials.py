"""How the gateway shows itself to providers: headers of one's own, and tokens that come from elsewhere."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.gateway import gateway

TOKEN = "cashuB-0123456789abcdef"


async def test_headers_go_with_every_request_and_are_masked(tmp_path: Path) -> None:
    """In place of what arbstr would say itself; an answer that quotes one is quoted without it."""
    lines = f'headers = {{ X-Cashu = "{TOKEN}", User-Agent = "mine/1" }}'
    async with gateway(tmp_path, provider=lines) as running:
        running.alpha.next.append(lambda ask: ask.refuse("400 Bad Request", f"spent: {ask.header('x-cashu')}"))

        refused = await running.chat()
        served = await running.chat()

        assert (refused.status, served.status) == (400, 200)
        assert refused.error["message"].endswith("spent: cashuB***")
        for ask in running.alpha.asks:
            assert ask.header("x-cashu") == TOKEN
            assert ask.head.lower().count(b"user-agent: ") == 1
            assert ask.header("user-agent") == "mine/1"
