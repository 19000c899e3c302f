"""A caller made of bytes, and a server for it to call."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

from arbstr.edge.connection import Connection
from arbstr.edge.limits import Limits
from arbstr.edge.server import EdgeServer
from arbstr.edge.state import RefusalHook

PATIENCE = 10.0  # seconds until a test that waits in vain fails


@dataclasses.dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        """The error object, after checking that it has the shape of all our errors."""
        assert self.headers["content-type"] == "application/json"
        assert len(self.headers["x-arbstr-request-id"]) == 36
        assert self.headers["x-request-id"] == self.headers["x-arbstr-request-id"]
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error, dict)
        return error


class Caller:
    """One connection, seen from the other side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, *, to_head: bool = False) -> Response:
        """The next response; fails where the connection ends inside it."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status_line, *lines = head.split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            status = int(status_line.split(" ")[1])
            if to_head or status in (100, 204, 304):
                body = b""
            elif headers.get("transfer-encoding") == "chunked":
                body = await self._chunks()
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.read()
            return Response(status, headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = await self.reader.readexactly(size + 2)
            if size == 0:
                return body
            body += data[:-2]

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as an end."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while piece := await self.reader.read(65536):
                    data += piece
        return data

    def half_close(self) -> None:
        """Send a FIN, as a caller does who ends; the reading side stays open."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Send a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(
    app: Callable[..., Any], limits: Limits | None = None, *, on_refusal: RefusalHook | None = None
) -> AsyncIterator[EdgeServer]:
    """A server that is ended, with its connections and applications, at the end of the block."""
    server = EdgeServer(app, host="127.0.0.1", port=0, limits=limits, on_refusal=on_refusal)
    await server.start()
    try:
        yield server
    finally:
        server.abort()
        server.cancel()
        async with asyncio.timeout(PATIENCE):
            await server.wait_closed()


@contextlib.asynccontextmanager
async def calling(server: EdgeServer, *, read_limit: int = 65536) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection(*server.address, limit=read_limit)
    caller = Caller(reader, writer)
    try:
        yield caller
    finally:
        await caller.close()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until ``condition`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def only_connection(server: EdgeServer) -> Connection:
    """The server's side of its one connection."""
    await until(lambda: server.state.connections)
    (connection,) = server.state.connections
    return connection


def pass_time(server: EdgeServer, seconds: float) -> None:
    """Let the server's clock jump, so that nobody has to wait for a deadline."""
    server.state.tick(server.state.now + seconds)


def post(body: bytes = b"", *headers: bytes, path: bytes = b"/") -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: test", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"


class Echo:
    """Answers each request by its body, and keeps what it saw."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        self.scopes.append(scope)
        body = await read_body(receive)
        self.bodies.append(body)
        await answer(send, body)


async def read_body(receive: Callable[..., Any]) -> bytes:
    """The whole body; ConnectionError where the caller leaves before its end."""
    body = b""
    while True:
        message: dict[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


async def answer(send: Callable[..., Any], body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Waiter:
    """Begins, registers for the caller's departure, and answers when told to.

    ``events`` lists what happened: ``begun``, ``left`` (the departure callback), ``disconnect`` (from receive).
    """

    def __init__(self, *, read: bool = True, watch: bool = False) -> None:
        self.read = read
        self.watch = watch
        self.may_answer = asyncio.Event()
        self.events: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        scope["extensions"]["arbstr.departure"](lambda: self.events.append("left"))
        if self.read:
            await read_body(receive)
        self.events.append("begun")
        if self.watch:
            message = await receive()
            self.events.append(message["type"].removeprefix("http."))
        else:
            await self.may_answer.wait()
            await answer(send, b"done")
