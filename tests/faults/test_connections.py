"""Providers that cannot be reached, or only just: over real sockets, and what the caller sees of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from arbstr.upstream.dial import Dial
from arbstr.upstream.limits import Limits
from arbstr.upstream.resolve import Resolver
from arbstr.upstream.wire import Connection
from tests.e2e.gateway import QUESTION, gateway
from tests.faults.third import HASTY, gateway_before, third
from tests.upstream.servers import LONG, Peer, answers, serve


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a server that never accepts, with a backlog that is full: the kernel drops every further SYN."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


async def test_a_black_hole_falls_back_after_the_connect_timeout(tmp_path: Path) -> None:
    """It counts as a failure to connect, is not knocked at again, and costs no slot."""
    with black_hole() as url:
        async with gateway(tmp_path, more=third(url, HASTY)) as running:
            reply = await running.chat()
            row = await running.row(reply)

            assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "alpha")
            assert [each["error"] for each in row["attempts"]] == ["connect: no connection in time", None]
            assert (await running.get("/health")).json()["providers"]["third"]["failure_count"] == 1
            running.check_nothing_is_left()


@pytest.mark.parametrize("fault", ["nobody knows it", "for another host", "none at all"])
async def test_a_certificate_that_is_no_good_falls_back(tmp_path: Path, fault: str) -> None:
    """No request is sent to such a server; the error begins with tls and does not name its address."""
    context = None
    heard: list[bytes] = []
    if fault != "none at all":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority = trustme.CA()
        authority.issue_cert("127.0.0.1" if fault == "nobody knows it" else "other.example").configure_cert(context)

    async def script(peer: Peer) -> None:
        heard.append(await peer.reader.read(65536))
        await peer.answer(b"what?", status=b"400 Bad Request")

    async with serve(script, tls=context) as server:
        url = f"https://127.0.0.1:{server.origin.port}"
        async with gateway(tmp_path, more=third(url, HASTY)) as running:
            reply = await running.chat()
            row = await running.row(reply)

    assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "alpha")
    error = row["attempts"][0]["error"]
    assert error.startswith("connect: tls")
    assert str(server.origin.port) not in error
    assert b"HTTP" not in b"".join(heard)


async def test_a_connection_lost_in_the_upload_is_tried_again_with_the_whole_body(tmp_path: Path) -> None:
    """The body is still there: the second try at the same provider sends all of it."""
    question = [{"role": "user", "content": "x" * 900_000}]
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.reader.readexactly(10_000)
            peer.reset(hard=True)
            return
        bodies.append((await peer.request())[1])
        await peer.answer(b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}]}')

    async with gateway_before(tmp_path, script) as (running, _):
        reply = await running.chat(messages=question)

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "third")
        assert reply.headers["x-arbstr-retries"] == "1/third"
        assert [b"x" * 900_000 in body for body in bodies] == [True]
        running.check_nothing_is_left()


async def test_a_stale_connection_is_no_failure_of_anybody(tmp_path: Path) -> None:
    """A server that hangs up just as the next request comes: no failed attempt, no vote, no word to the caller."""
    answer = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}]}'

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(answer)
        if peer.number == 0:
            await peer.request()
            peer.reset(hard=True)
        else:
            await peer.left()

    async with gateway_before(tmp_path, script) as (running, server):
        await running.chat()
        reply = await running.chat()
        row = await running.row(reply)

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "third")
        assert "x-arbstr-retries" not in reply.headers
        assert [each["error"] for each in row["attempts"]] == [None]
        assert (await running.get("/health")).json()["providers"]["third"]["failure_count"] == 0
        assert (len(server.peers), server.requests) == (2, 3)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_trickle_is_not_an_answer_in_time(tmp_path: Path, stream: bool) -> None:
    """Bytes that never stop and never come to anything: the next provider answers."""
    typed = b"text/event-stream" if stream else b"application/json"

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: " + typed + b"\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            await peer.send(b":\n" if stream else b" ")
            await asyncio.sleep(0.02)

    async with gateway_before(tmp_path, script, extra=HASTY) as (running, server):
        reply = await running.chat(stream=stream)

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "alpha")
        assert reply.headers["x-arbstr-retries"] == "1/third"
        await server.nobody()


async def test_a_server_that_is_gone_without_a_word_is_looked_for() -> None:
    """The kernel asks on every upstream connection whether there is still somebody, a minute after the last word."""
    transports: list[asyncio.BaseTransport] = []

    class Seen(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(transport)
            super().connection_made(transport)

    loop = asyncio.get_running_loop()
    async with serve(answers()) as server:
        dial = Dial(
            server.origin,
            tls=None,
            resolver=Resolver(clock=time.monotonic),
            create=lambda: Seen(loop, Limits(), lambda connection: None),
            timeout=LONG,
            deadline=time.monotonic() + LONG,
        )
        connection = await dial.result
        ours = transports[0].get_extra_info("socket")
        idle, interval, count = (
            ours.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )

        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert idle + interval * count == 60
        connection.close()


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"303 See Other", b"307 Temporary", b"308 Permanent"])
async def test_a_redirect_is_not_followed(tmp_path: Path, status: bytes) -> None:
    """Wherever it leads, nobody there hears of us, let alone of our key; the next provider answers."""
    async with serve(answers()) as elsewhere:

        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.answer(b"{}", b"location: %b/v1/elsewhere" % str(elsewhere.origin).encode(), status=status)

        async with gateway_before(tmp_path, script) as (running, _):
            reply = await running.chat(messages=QUESTION)

            assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "alpha")
            assert (await running.get("/health")).json()["providers"]["third"]["failure_count"] > 0
        assert elsewhere.peers == []
