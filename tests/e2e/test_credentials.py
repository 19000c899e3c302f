"""How the gateway shows itself to providers: headers of one's own, and tokens that come from elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.gateway import CONFIG, Ask, Gateway, gateway
from tests.e2e.test_dialects import bedrock

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


async def test_a_token_from_a_command(tmp_path: Path) -> None:
    """One run for many requests, in the header of bearer tokens, masked where a provider quotes it."""
    script = tmp_path / "token.py"
    script.write_text(
        f"import os\nopen({str(tmp_path / 'runs')!r}, 'a').write('x')\nprint('{{\"access_token\": \"{TOKEN}\"}}')\n"
    )
    async with keyless(tmp_path, f'kind = "azure"\ntoken_command = "{sys.executable} -I {script}"') as running:
        running.alpha.next.append(lambda ask: ask.refuse("400 Bad Request", f"no: {ask.header('authorization')}"))

        refused = await running.chat()
        served = [await running.chat() for _ in range(3)]

        assert refused.error["message"].endswith("no: Bearer cashuB***")
        assert [reply.status for reply in served] == [200] * 3
        assert {ask.header("authorization") for ask in running.alpha.asks} == {f"Bearer {TOKEN}"}
        assert (tmp_path / "runs").read_text() == "x"
        view = (await running.get("/v1/providers")).json()["data"][0]
        assert (view["key_source"], view["api_key"]) == ("token_command", None)


async def test_a_token_command_that_fails_is_the_keys_failure(tmp_path: Path) -> None:
    """The provider is set aside, and the next one serves."""
    async with keyless(tmp_path, f'token_command = "{tmp_path}/nothing"') as running:
        reply = await running.chat()

        assert reply.headers["x-arbstr-provider"] == "beta"
        health = (await running.get("/v1/providers")).json()["data"][0]
        assert health["circuit"]["set_aside"]["reason"] == "key"
        assert "The token command cannot be started" in health["circuit"]["set_aside"]["error"]
        assert running.alpha.asks == []


async def test_aws_requests_are_signed_by_the_credential_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Here, the environment; and what of it a provider quotes is masked for callers, in the log and in its lines."""
    secret, session = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjEXAMPLETOKEN=="
    for name, value in (("ACCESS_KEY_ID", "AKIDEXAMPLE"), ("SECRET_ACCESS_KEY", secret), ("SESSION_TOKEN", session)):
        monkeypatch.setenv(f"AWS_{name}", value)

    async def quote(ask: Ask, status: str, kind: str) -> None:
        message = f"no: {ask.header('x-amz-security-token')}, {secret}"
        await ask.answer({"message": message}, status=status, headers=(b"x-amzn-errortype: " + kind.encode(),))

    async with keyless(tmp_path, 'kind = "bedrock"\nregion = "eu-central-1"') as running:
        running.alpha.usual = bedrock
        running.alpha.next = [
            bedrock,
            lambda ask: quote(ask, "400 Bad Request", "ValidationException"),
            lambda ask: quote(ask, "403 Forbidden", "InvalidSignatureException"),
        ]

        replies = [await running.chat() for _ in range(3)]
        shown = [reply.body for reply in replies]
        shown += [json.dumps(await running.row(reply)).encode() for reply in replies]
        shown.append((await running.get("/v1/providers")).body)
        shown.append((await running.get("/health")).body)

    served, refused, elsewhere = replies
    assert (served.status, refused.status, elsewhere.headers["x-arbstr-provider"]) == (200, 400, "beta")
    signature = running.alpha.asks[0].header("authorization") or ""
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/bedrock/aws4_request" in signature
    assert running.alpha.asks[0].header("x-amz-security-token") == session
    assert refused.error["message"].endswith("no: IQoJb3***, wJalrX***")
    lines = capfd.readouterr().out
    assert "IQoJb3***" in lines
    for text in (*shown, lines.encode()):
        assert secret.encode() not in text
        assert session.encode() not in text


@asynccontextmanager
async def keyless(folder: Path, lines: str) -> AsyncIterator[Gateway]:
    """A gateway whose ``alpha`` has no key of its own but these lines."""
    template = CONFIG.replace('api_key = "sk-alpha-0123456789"\n', "", 1)
    async with gateway(folder, provider=lines, template=template) as running:
        yield running
