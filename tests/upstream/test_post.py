"""A POST for alerts: through the pool, to where its URL says and nowhere else."""

from __future__ import annotations

import asyncio

import pytest

from arbstr.domain.secret import Secret
from arbstr.upstream.pool import Pool
from arbstr.upstream.post import LARGEST, PoolPost
from tests.upstream.servers import Peer, Server, once, serve

HEADERS = [("content-type", "application/json"), ("x-one", "1")]


def url(server: Server, path: str = "") -> Secret:
    return Secret(f"{server.origin}{path}")


@pytest.mark.parametrize(
    ("path", "target"),
    [("", b"/"), ("/", b"/"), ("/a/b/", b"/a/b/"), ("?q=1", b"/?q=1"), ("/a?b=c%20d&e", b"/a?b=c%20d&e")],
)
async def test_it_posts_what_it_is_given(path: str, target: bytes) -> None:
    """Path and query as they are written, headers in order, the body untouched."""
    requests = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.answer(status=b"202 Accepted")

    async with serve(script) as server:
        pool = Pool()
        status = await PoolPost(pool)(url(server, path), HEADERS, b'{"a":1}')
        await pool.aclose()

    ((head, body),) = requests
    assert status == 202
    assert body == b'{"a":1}'
    assert head.split(b"\r\n") == [
        b"POST " + target + b" HTTP/1.1",
        f"host: {server.origin.authority}".encode(),
        b"accept-encoding: identity",
        b"content-type: application/json",
        b"x-one: 1",
        b"content-length: 7",
        b"",
        b"",
    ]


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    """Nobody is called whom the configuration does not name."""
    async with serve(
        once(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n")
    ) as server:
        pool = Pool()
        status = await PoolPost(pool)(url(server), HEADERS, b"{}")
        await pool.aclose()

    assert (status, server.requests) == (302, 1)


async def test_a_long_answer_is_not_read_to_its_end() -> None:
    """Its status counts; then the connection is closed."""
    async with serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\nx" % (LARGEST + 1))) as server:
        pool = Pool()
        status = await PoolPost(pool)(url(server), HEADERS, b"{}")
        await server.nobody()
        await pool.aclose()

    assert status == 200


async def test_a_short_answer_leaves_the_connection_for_the_next() -> None:
    """Two alerts, one connection."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(b"thanks")

    async with serve(script) as server:
        pool = Pool()
        post = PoolPost(pool)
        statuses = [await post(url(server), HEADERS, b"{}") for _ in range(2)]
        await pool.aclose()

    assert (statuses, len(server.peers)) == ([200, 200], 1)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "connection closed before the response head"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "not a valid HTTP response"),
    ],
)
async def test_where_there_is_no_answer_the_reason_says_nothing_of_the_url(raw: bytes, reason: str) -> None:
    """An OSError, for those who know nothing of this room."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)

    async with serve(script) as server:
        pool = Pool()
        with pytest.raises(OSError, match=reason) as caught:
            await PoolPost(pool)(url(server, "/canary?canary"), HEADERS, b"{}")
        await pool.aclose()

    assert "canary" not in str(caught.value)


async def test_it_can_be_cancelled() -> None:
    """The connection is closed at once."""
    heard = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        heard.set()
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        posting = asyncio.ensure_future(PoolPost(pool)(url(server), HEADERS, b"{}"))
        await heard.wait()
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        await server.nobody()
        await pool.aclose()
