"""A gateway in a process of its own, with two providers in ours."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.gateway import MODEL, QUESTION, FakeProvider, Reply
from tests.process.program import PATIENCE, Program, metrics, serving
from tests.upstream.servers import serve

CHAT = "/v1/chat/completions"
KEYS = {"ARBSTR_ALPHA_API_KEY": "sk-alpha-0123456789", "ARBSTR_BETA_API_KEY": "sk-beta-0123456789"}

CONFIG = """
[server]
listen = "127.0.0.1:0"
drain_timeout = "{drain_timeout}"
{server}
[store]
url = "sqlite:///arbstr.db"
[providers.alpha]
base_url = "{alpha}"
models = ["gpt-4o"]
input_rate = 5
output_rate = 10
base_fee = 1
[providers.beta]
base_url = "{beta}"
models = ["gpt-4o", "gpt-4o-mini"]
input_rate = 10
output_rate = 20
base_fee = 1
{more}
"""
NOBODY = "http://127.0.0.1:9/v1"


class Gateway:
    """``alpha`` is cheaper than ``beta``."""

    def __init__(self, program: Program, alpha: FakeProvider, beta: FakeProvider, http: aiohttp.ClientSession) -> None:
        self.program = program
        self.alpha = alpha
        self.beta = beta
        self.http = http

    @property
    def url(self) -> str:
        return self.program.url

    async def chat(self, *, headers: Mapping[str, str] | None = None, **fields: object) -> Reply:
        """One chat completion, read to its end, however it ends."""
        body = {"model": MODEL, "messages": QUESTION, **fields}
        async with self.http.post(f"{self.url}{CHAT}", json=body, headers=headers) as response:
            data, cut = b"", False
            try:
                async for piece in response.content.iter_any():
                    data += piece
            except aiohttp.ClientPayloadError:
                cut = True
            return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, data, cut)

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.http.get(f"{self.url}{path}") as response:
            return response.status, await response.json()

    async def metrics(self) -> dict[str, float]:
        return await metrics(self.http, self.url)

    async def health_of_log(self) -> dict[str, Any]:
        _, body = await self.get("/health")
        found = body["request_log"]
        assert isinstance(found, dict)
        return found

    async def log_says(self, status: str) -> dict[str, Any]:
        """What ``/health`` says of the request log, once it is ``ok`` or ``failing``."""
        async with asyncio.timeout(PATIENCE):
            while (found := await self.health_of_log())["status"] != status:
                await asyncio.sleep(0.05)
        return found

    async def idle(self) -> dict[str, float]:
        """The metrics, once nothing is in flight and no row waits to be written."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.metrics()
                if not found["arbstr_in_flight"] and not found["arbstr_log_rows_queued"]:
                    return found
                await asyncio.sleep(0.05)

    async def asked(self, count: int) -> None:
        """Wait until the providers have been asked so often."""
        async with asyncio.timeout(PATIENCE):
            while len(self.alpha.asks) + len(self.beta.asks) < count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def gateway(
    folder: Path,
    *,
    drain_timeout: str = "100ms",
    server: str = "",
    more: str = "",
    environ: Mapping[str, str] | None = None,
    **how: Any,
) -> AsyncIterator[Gateway]:
    """A gateway with a configuration file in ``folder``, to which ``server`` and ``more`` are added; ``how`` is as for
    :func:`~tests.process.program.running`."""
    async with AsyncExitStack() as stack:
        alpha, beta = FakeProvider(), FakeProvider()
        for fake in (alpha, beta):
            fake.server = await stack.enter_async_context(serve(fake.script))
        path = write_config(
            folder, alpha=alpha.url, beta=beta.url, drain_timeout=drain_timeout, server=server, more=more
        )
        environ = {**KEYS, **(environ or {})}
        program = await stack.enter_async_context(serving("--config", path.name, folder=folder, environ=environ, **how))
        connector = aiohttp.TCPConnector(limit=0)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield Gateway(program, alpha, beta, http)


def write_config(
    folder: Path,
    *,
    alpha: str = NOBODY,
    beta: str = NOBODY,
    drain_timeout: str = "100ms",
    server: str = "",
    more: str = "",
) -> Path:
    """``arbstr.toml`` in ``folder``, which is made where it is missing."""
    folder.mkdir(exist_ok=True)
    path = folder / "arbstr.toml"
    path.write_text(CONFIG.format(alpha=alpha, beta=beta, drain_timeout=drain_timeout, server=server, more=more))
    path.chmod(0o600)
    return path


def rows(folder: Path) -> list[dict[str, Any]]:
    """The request log on the disk, in the order of writing, after a look at whether the file is whole."""
    database = sqlite3.connect(folder / "arbstr.db")
    database.row_factory = sqlite3.Row
    try:
        assert [tuple(row) for row in database.execute("PRAGMA integrity_check")] == [("ok",)]
        return [dict(row) for row in database.execute("SELECT * FROM requests ORDER BY id")]
    finally:
        database.close()


def chat_body(**fields: object) -> bytes:
    return json.dumps({"model": MODEL, "messages": QUESTION, **fields}).encode()
