"""Servers on 127.0.0.1 whose every byte a test decides."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from arbstr.upstream.pool import Origin, Pool

LONG = 20.0
"""Seconds after which a test is broken rather than slow."""
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\n"


class Peer:
    """The server's side of one connection."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.number = len(server.peers)
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()  # this connection is over, seen from here
        self.requests = 0

    async def head(self) -> bytes:
        """Read one request head, blank line included."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        self.server.requests += 1
        return head

    async def request(self) -> tuple[bytes, bytes]:
        """Read one request: head and body."""
        head = await self.head()
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return head, await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        """Write `data` and wait until there is room for more."""
        if self.writer.transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"ok", *headers: bytes, status: bytes = b"200 OK") -> None:
        """Send a whole answer with Content-Length."""
        lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
        await self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    async def left(self) -> None:
        """Wait until the client has closed the connection; whatever it still sends is thrown away."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def reset(self, *, hard: bool = False) -> None:
        """Drop the connection; `hard`: by a TCP reset."""
        if hard:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """What a test knows of a running server."""

    def __init__(self) -> None:
        self.origin = Origin("http", "127.0.0.1", 0)
        self.peers: list[Peer] = []
        self.requests = 0
        self.seen = asyncio.Event()  # for the test to set

    async def nobody(self) -> None:
        """Wait until every connection is over, seen from here: its script has met the end, or returned."""
        async with asyncio.timeout(LONG):
            for peer in tuple(self.peers):
                await peer.gone.wait()


@asynccontextmanager
async def serve(script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    """Run `script` for every connection. It ends by returning: then the connection is closed.

    What a script raises, except for the loss of its connection, fails the test.
    """
    server = Server()
    tasks: set[asyncio.Task[None]] = set()
    errors: list[BaseException] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(server, reader, writer)
        server.peers.append(peer)
        try:
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        except Exception as exc:
            errors.append(exc)
        finally:
            peer.gone.set()
            writer.close()
            tasks.discard(task)

    listener = await asyncio.start_server(handle, host, 0, ssl=tls, backlog=1024, limit=1 << 20)
    port = listener.sockets[0].getsockname()[1]
    server.origin = Origin("https" if tls else "http", host, port)
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if errors:
        raise errors[0]


def answers(body: bytes = b"ok") -> Script:
    """Return a script that answers every request with `body`, on and on."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(body)

    return script


def once(raw: bytes) -> Script:
    """Return a script that answers the first request of a connection with `raw` and then waits for the client to go."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        await peer.left()

    return script


async def fetch(
    pool: Pool, server: Server, *, head: bytes = HEAD, body: bytes = b"{}", limit: int = 1 << 30, patience: float = LONG
) -> tuple[int, bytes]:
    """Send one request; return status and whole body of its answer. `patience` is for head and body, in seconds."""
    until = time.monotonic() + patience
    async with pool.request(server.origin, head, body, connect_timeout=LONG, until=until) as response:
        return response.status, await response.read_all(until, limit=limit)


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds; fail the test if it never does."""
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0)


async def ask(pool: Pool, origin: Origin, *, connect_timeout: float = LONG, patience: float = LONG) -> bytes:
    """Send one request to `origin` and return the body of its answer."""
    until = pool.clock() + patience
    async with pool.request(origin, HEAD, b"", connect_timeout=connect_timeout, until=until) as response:
        return await response.read_all(until, limit=100)


async def settled(value: Callable[[], int]) -> int:
    """Wait until `value` has stopped changing for a while, and return it."""
    async with asyncio.timeout(LONG):
        while True:
            before = value()
            await asyncio.sleep(0.2)
            if value() == before:
                return before
