"""A gateway in this process, and the providers behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from arbstr.config.load import load
from arbstr.service import Service
from tests.upstream.servers import LONG, Peer, Server, serve

MODEL = "gpt-4o"
QUESTION = [{"role": "user", "content": "Say hello"}]
USAGE = {"prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 300}

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello there"},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": USAGE,
}


def chunk(delta: Mapping[str, object], finish: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event(
        {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    )


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
HEL, LO = chunk({"content": "Hel"}), chunk({"content": "lo"})
STOP = chunk({}, "stop")
USAGE_CHUNK = event(
    {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": USAGE}
)
DONE = b"data: [DONE]\n\n"


@dataclass
class Ask:
    """One request as a provider sees it."""

    peer: Peer
    head: bytes
    body: dict[str, Any]

    @property
    def path(self) -> str:
        """What was called, query included."""
        return self.head.split(b" ", 2)[1].decode()

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    async def answer(self, value: object = ANSWER, *, status: str = "200 OK", headers: tuple[bytes, ...] = ()) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        await self.peer.answer(body, b"content-type: application/json", *headers, status=status.encode())

    async def refuse(
        self, status: str, message: str = "no", *, code: str | None = None, headers: tuple[bytes, ...] = ()
    ) -> None:
        error = {"error": {"message": message, "type": "some_error", "param": None, "code": code}}
        await self.answer(error, status=status, headers=headers)

    async def begin(self) -> None:
        """The head of a stream."""
        await self.peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )

    async def send(self, data: bytes) -> None:
        await self.peer.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.peer.send(b"0\r\n\r\n")

    async def stream(self, *events: bytes) -> None:
        await self.begin()
        for each in events:
            await self.send(each)
        await self.end()


EMBEDDINGS = {
    "object": "list",
    "model": "gpt-4o",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
    "usage": {"prompt_tokens": 100, "total_tokens": 100},
}
COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "text": "Hello there", "finish_reason": "stop", "logprobs": None}],
    "usage": USAGE,
}


async def good(ask: Ask) -> None:
    """A good answer of an OpenAI-compatible API, streamed or whole, as it was asked for."""
    if ask.path.endswith("/embeddings"):
        await ask.answer(EMBEDDINGS)
    elif ask.path.endswith("/completions") and not ask.path.endswith("/chat/completions"):
        await ask.answer(COMPLETION)
    elif ask.body.get("stream"):
        await ask.stream(ROLE, HEL, LO, STOP, USAGE_CHUNK, DONE)
    else:
        await ask.answer()


async def busy(ask: Ask) -> None:
    await ask.refuse("503 Service Unavailable", "try later")


Behaviour = Callable[[Ask], Awaitable[None]]


@dataclass
class FakeProvider:
    """An HTTP server whose next answers a test decides; ``usual`` is what it does when nothing else is queued."""

    usual: Behaviour = good
    next: list[Behaviour] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    server: Server | None = None

    async def script(self, peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            ask = Ask(peer, head, json.loads(body or b"{}"))
            self.asks.append(ask)
            behaviour = self.next.pop(0) if self.next else self.usual
            await behaviour(ask)

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"{self.server.origin}/v1"


@dataclass
class Gateway:
    """A running gateway and its two providers: ``alpha`` is cheaper than ``beta``."""

    service: Service
    alpha: FakeProvider
    beta: FakeProvider
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.service.url

    async def chat(self, *, headers: Mapping[str, str] | None = None, **fields: object) -> Reply:
        """One chat completion by plain HTTP, read to its end, however it ends."""
        body = {"model": MODEL, "messages": QUESTION, **fields}
        async with self.http.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as response:
            data, cut = b"", False
            try:
                async for piece in response.content.iter_any():
                    data += piece
            except aiohttp.ClientPayloadError:
                cut = True
            return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, data, cut)

    async def post(self, path: str, body: object, *, headers: Mapping[str, str] | None = None) -> Reply:
        async with self.http.post(f"{self.url}{path}", json=body, headers=headers) as response:
            data = await response.read()
            return Reply(
                response.status, {name.lower(): value for name, value in response.headers.items()}, data, False
            )

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        async with self.http.get(f"{self.url}{path}", headers=headers) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, dict(headers), await response.read(), False)

    async def row(self, reply: Reply) -> dict[str, Any]:
        """The logged request of a reply, once it is there."""
        return await self.logged(reply.headers["x-arbstr-request-id"])

    async def logged(self, request_id: str) -> dict[str, Any]:
        async with asyncio.timeout(LONG):
            while (reply := await self.get(f"/v1/requests/{request_id}")).status != 200:
                await asyncio.sleep(0.02)
        found = reply.json()
        assert isinstance(found, dict)
        return found

    async def rows(self, count: int) -> list[dict[str, Any]]:
        """All logged requests, newest first, once there are ``count``."""
        async with asyncio.timeout(LONG):
            while (page := (await self.get("/v1/requests?per_page=100")).json())["total"] < count:
                await asyncio.sleep(0.02)
        assert page["total"] == count
        rows = page["data"]
        assert isinstance(rows, list)
        return rows

    def check_nothing_is_left(self) -> None:
        """No request in flight, no connection in use."""
        assert not self.service.state.in_flight
        assert self.service.pool.stats().busy == 0


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool
    """The body was not ended properly."""

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error, dict)
        return error


CONFIG = """
[server]
listen = "127.0.0.1:0"
drain_timeout = "100ms"
{server}
[store]
url = "sqlite:///arbstr.db"
[providers.alpha]
base_url = "{alpha}"
api_key = "sk-alpha-0123456789"
models = ["gpt-4o"]
input_rate = 5
output_rate = 10
base_fee = 1
{provider}
[providers.beta]
base_url = "{beta}"
api_key = "sk-beta-0123456789"
models = ["gpt-4o", "gpt-4o-mini"]
input_rate = 10
output_rate = 20
base_fee = 1
{more}
"""


@asynccontextmanager
async def gateway(
    folder: Path, *, server: str = "", provider: str = "", more: str = "", template: str = CONFIG
) -> AsyncIterator[Gateway]:
    """A gateway with a configuration file of its own in ``folder``; the arguments are added to it."""
    async with AsyncExitStack() as stack:
        alpha, beta = FakeProvider(), FakeProvider()
        for fake in (alpha, beta):
            fake.server = await stack.enter_async_context(serve(fake.script))
        path = folder / "arbstr.toml"
        path.write_text(template.format(alpha=alpha.url, beta=beta.url, server=server, provider=provider, more=more))
        service = await stack.enter_async_context(Service(load(path, environ={})))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Gateway(service, alpha, beta, http)
        await http.close()
