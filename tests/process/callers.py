"""Callers by plain sockets: cheap enough to be many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.edge.raw import Caller, Response
from tests.process.gateway import chat_body


def post(content: bytes) -> bytes:
    """A chat completion as bytes."""
    lines = (
        b"POST /v1/chat/completions HTTP/1.1",
        b"host: 127.0.0.1",
        b"content-type: application/json",
        b"content-length: %d" % len(content),
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


WHOLE = post(chat_body())
STREAM = post(chat_body(stream=True))
WRONG = post(b'{"model": "gpt-4o"}')


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    caller = Caller(reader, writer)
    try:
        yield caller
    finally:
        await caller.close()


async def ask(caller: Caller, request: bytes = WHOLE) -> Response:
    caller.send(request)
    return await caller.response()
