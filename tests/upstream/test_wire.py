"""Answers over real sockets: what the connection makes of the bytes a server sends."""

from __future__ import annotations

import time

from arbstr.upstream.pool import Limits, Pool, Stats
from tests.upstream.servers import LONG, Peer, Server, once, serve

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\n"
NOTHING_OPEN = Stats(open=0, idle=0, busy=0, connecting=0, waiting=0, slots=0)
ONE_IDLE = Stats(open=1, idle=1, busy=0, connecting=0, waiting=0, slots=1)


async def fetch(pool: Pool, server: Server, *, head: bytes = HEAD, body: bytes = b"{}") -> tuple[int, bytes]:
    """Send one request and return status and whole body of the answer."""
    until = time.monotonic() + LONG
    async with pool.request(server.origin, head, body, connect_timeout=LONG, until=until) as response:
        return response.status, await response.read_all(until, limit=1 << 30)


async def answer_to(raw: bytes, *, head: bytes = HEAD, limits: Limits = Limits()) -> tuple[int, bytes, Stats]:  # noqa: B008
    """Return what the client makes of `raw`, and the state of its pool afterwards."""
    async with serve(once(raw)) as server:
        pool = Pool(limits=limits)
        try:
            status, body = await fetch(pool, server, head=head)
            return status, body, pool.stats()
        finally:
            await pool.aclose()
            await server.nobody()


async def test_the_request_goes_out_whole_and_its_length_is_added() -> None:
    """The server gets the head as given, a Content-Length, and the body."""
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.answer()
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        await fetch(pool, server, body=b'{"model":"m"}')
        await pool.aclose()

    assert seen == [(HEAD + b"content-length: 13\r\n\r\n", b'{"model":"m"}')]


async def test_a_whole_answer_gives_its_connection_back() -> None:
    """After status and body have been read the connection is idle and nothing else is open."""
    status, body, stats = await answer_to(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    assert (status, body, stats) == (200, b"hello", ONE_IDLE)
