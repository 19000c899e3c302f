"""A mixture of requests as life brings it, and what the gateway holds when it is over."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.e2e.gateway import ANSWER, DONE, HEL, LO, ROLE, STOP, USAGE_CHUNK
from tests.process.callers import STREAM, WHOLE, WRONG, ask, calling, post
from tests.process.gateway import KEYS, chat_body, write_config
from tests.process.program import PATIENCE, Program, metrics, serving
from tests.upstream.servers import Peer, Script, Server, serve

MOST_GROWTH = 8 * 1024 * 1024
"""Bytes that resident memory may grow by after a warm-up, however many requests come."""
CALLERS = 16
"""At a time."""
MORE = """
[resilience.retry]
max_attempts = 1
[resilience.circuit_breaker]
timeout = "100ms"
"""
FAILING, LEAVING, STREAMED = b'"fails"', b'"leaves"', b'"stream":true'

_GOOD = json.dumps(ANSWER).encode()
_WHOLE_HEAD = b"content-type: application/json"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


_BEGINNING = _STREAM_HEAD + _chunks(ROLE, HEL)
_REST = _chunks(*[LO] * 10, STOP, USAGE_CHUNK, DONE) + b"0\r\n\r\n"


def provider(*, failures: Counter[str] | None = None) -> Script:
    """A provider that answers well, but for what is marked as left by its caller or, where there is something to count
    them in, as failing."""

    async def script(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            if failures is not None and FAILING in body:
                failures["503"] += 1
                await peer.answer(b'{"error": {"message": "busy"}}', _WHOLE_HEAD, status=b"503 Service Unavailable")
            elif LEAVING in body:
                await peer.send(_BEGINNING)
                await peer.left()
                return
            elif STREAMED in body:
                await peer.send(_BEGINNING)
                await peer.send(_REST)
            else:
                await peer.answer(_GOOD, _WHOLE_HEAD)

    return script


FAILED = post(chat_body(user="fails"))
LEFT = post(chat_body(user="leaves", stream=True))
MIXTURE = [WHOLE, STREAM, WHOLE, WRONG, WHOLE, STREAM, WHOLE, FAILED, WHOLE, STREAM] * 2
MIXTURE[-2] = LEFT


@dataclass(frozen=True)
class Holding:
    """What the gateway holds while nobody asks for anything."""

    requests: int
    rows: int
    dropped: int
    memory: int
    """Bytes, resident."""
    files: int
    threads: int
    in_flight: int


class Traffic:
    """A gateway in its own process, callers and providers in ours."""

    def __init__(
        self, program: Program, servers: list[Server], http: aiohttp.ClientSession, failures: Counter[str]
    ) -> None:
        self.program = program
        self.servers = servers
        self.http = http
        self.failures = failures
        """Answers of the first provider that made a second one necessary."""
        self.statuses: Counter[str] = Counter()
        """How the requests ended, by status; ``left`` for those whose caller did."""

    async def requests(self, count: int) -> None:
        """Send so many requests, by several callers at a time. Of twenty, nine are whole, six streamed, two wrong; two
        fail at the first provider, and from one the caller leaves in the middle."""
        numbers = iter(range(count))
        await asyncio.gather(*(self._caller(numbers) for _ in range(CALLERS)))

    async def _caller(self, numbers: Iterator[int]) -> None:
        while not await self._until_leaving(numbers):
            pass

    async def _until_leaving(self, numbers: Iterator[int]) -> bool:
        """Go on over one connection until the caller leaves it, or all is done; whether it is."""
        async with calling(self.program.port) as caller:
            for number in numbers:
                request = MIXTURE[number % len(MIXTURE)]
                if request is LEFT:
                    caller.send(request)
                    await caller.reader.readuntil(HEL)
                    caller.reset()
                    self.statuses["left"] += 1
                    return False
                response = await ask(caller, request)
                whole = b"[DONE]" in response.body if "x-arbstr-streaming" in response.headers else True
                self.statuses[str(response.status) if whole else "cut"] += 1
        return True

    @property
    def total(self) -> int:
        return sum(self.statuses.values())

    async def rest(self) -> Holding:
        """What is held when nobody asks for anything, and the providers have closed their connections."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await metrics(self.http, self.program.url)
                if not found["arbstr_in_flight"] and not found["arbstr_log_rows_queued"]:
                    break
                await asyncio.sleep(0.05)
        for server in self.servers:
            for peer in server.peers:
                peer.reset()
            server.peers.clear()
        folder = Path(f"/proc/{self.program.process.pid}")
        files = -1
        while files != (files := len(list((folder / "fd").iterdir()))):  # until it stays the same
            await asyncio.sleep(0.2)
        found = await metrics(self.http, self.program.url)
        return Holding(
            requests=self.total,
            rows=int(found["arbstr_log_rows_written_total"]),
            dropped=int(found["arbstr_log_rows_dropped_total"]),
            memory=int(found["process_resident_memory_bytes"]),
            files=files,
            threads=len(list((folder / "task").iterdir())),
            in_flight=int(found["arbstr_in_flight"]),
        )


def wrong(warm: Holding, held: Holding) -> list[str]:
    """What is held now and was not held after the warm-up, or is missing, in words."""
    problems = []
    if held.memory - warm.memory >= MOST_GROWTH:
        problems.append(f"resident memory has grown by {(held.memory - warm.memory) / 2**20:.1f} MB")
    if held.files > warm.files:
        problems.append(f"{held.files} files are open, after the warm-up it were {warm.files}")
    if held.threads > warm.threads:
        problems.append(f"{held.threads} threads are running, after the warm-up it were {warm.threads}")
    if held.in_flight:
        problems.append(f"{held.in_flight} requests are in flight, although nobody waits for them")
    if held.rows != held.requests or held.dropped:
        problems.append(f"{held.rows} rows were written for {held.requests} requests, {held.dropped} were dropped")
    return problems


@asynccontextmanager
async def traffic(folder: Path) -> AsyncIterator[Traffic]:
    """A gateway in ``folder`` with two providers, of which the cheaper fails now and then."""
    async with AsyncExitStack() as stack:
        failures: Counter[str] = Counter()
        scripts = (provider(failures=failures), provider())
        servers = [await stack.enter_async_context(serve(script)) for script in scripts]
        alpha, beta = (f"{server.origin}/v1" for server in servers)
        write_config(folder, alpha=alpha, beta=beta, more=MORE)
        program = await stack.enter_async_context(serving("--config", "arbstr.toml", folder=folder, environ=KEYS))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Traffic(program, servers, http, failures)
