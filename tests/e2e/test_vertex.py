"""Gemini through Vertex AI: by google-auth itself, whose token server is on this machine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.dialects.test_listings import GARDEN
from tests.e2e.gateway import CONFIG, Gateway, gateway
from tests.e2e.test_dialects import gemini
from tests.e2e.test_discovery import known, listing
from tests.upstream.servers import Peer, serve

TOKEN = "ya29.0123456789abcdef"
PLACE = "/v1/projects/my-project/locations/europe-west4/publishers/google/models/gpt-4o"


@asynccontextmanager
async def vertex(
    folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str = ""
) -> AsyncIterator[tuple[Gateway, list[bytes]]]:
    """A gateway whose ``alpha`` is Vertex AI, and what a service account asked its token server for."""
    asked: list[bytes] = []

    async def tokens(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            asked.append(body)
            answer = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
            await peer.answer(json.dumps(answer).encode(), b"content-type: application/json")

    async with serve(tokens) as server:
        account = folder / "account.json"
        account.write_text(json.dumps({**ACCOUNT, "private_key": private_key(), "token_uri": f"{server.origin}/token"}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
        template = CONFIG.replace('api_key = "sk-alpha-0123456789"\n', "", 1)
        place = 'kind = "gemini"\nproject = "my-project"\nlocation = "europe-west4"'
        async with gateway(folder, provider=f"{place}\n{lines}", template=template) as running:
            yield running, asked


ACCOUNT = {
    "type": "service_account",
    "project_id": "another-project",
    "private_key_id": "1",
    "client_email": "arbstr@another-project.iam.gserviceaccount.com",
    "client_id": "1",
}


def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


async def test_requests_go_to_the_project_with_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole and streamed, in Gemini's own format; the token is fetched once, and masked where it is quoted."""
    async with vertex(tmp_path, monkeypatch) as (running, asked):
        running.alpha.usual = gemini

        whole = await running.chat()
        streamed = await running.chat(stream=True)
        running.alpha.next = [lambda ask: ask.refuse("400 Bad Request", f"no: {ask.header('authorization')}")]
        refused = await running.chat()

        assert (whole.status, streamed.status) == (200, 200)
        assert whole.json()["choices"][0]["message"]["content"] == "Hello there"
        paths = [f"{PLACE}:generateContent", f"{PLACE}:streamGenerateContent?alt=sse", f"{PLACE}:generateContent"]
        assert [ask.path for ask in running.alpha.asks] == paths
        assert {ask.header("authorization") for ask in running.alpha.asks} == {f"Bearer {TOKEN}"}
        assert {ask.header("x-goog-api-key") for ask in running.alpha.asks} == {None}
        assert refused.error["message"].endswith("no: Bearer ya29.0***")
        assert len(asked) == 1
        assert (await running.get("/v1/providers")).json()["data"][0]["key_source"] == "google-auth"


async def test_its_models_are_those_of_the_model_garden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same token."""
    async with vertex(tmp_path, monkeypatch, "auto_discover = true") as (running, asked):
        answers = {"/v1beta1/publishers/google/models?pageSize=100": GARDEN}
        running.alpha.usual = listing(answers, gemini)

        await known(running, "gemini-2.5-flash")

        assert running.alpha.asks[-1].header("authorization") == f"Bearer {TOKEN}"
        assert len(asked) == 1


async def test_without_credentials_the_next_provider_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said of the key, not of the request."""
    async with vertex(tmp_path, monkeypatch) as (running, _):
        (tmp_path / "account.json").write_text("{}")

        reply = await running.chat()

        assert reply.headers["x-arbstr-provider"] == "beta"
        circuit = (await running.get("/v1/providers")).json()["data"][0]["circuit"]
        assert circuit["set_aside"]["error"] == "Google's credentials cannot be used (DefaultCredentialsError)."
