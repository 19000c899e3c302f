"""TLS: verified always, and otherwise no different from a plain connection."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme

from arbstr.upstream.dial import default_tls
from arbstr.upstream.errors import ConnectError, ConnectTimeout, CutBody
from arbstr.upstream.pool import Pool, Stats
from tests.upstream.servers import HEAD, LONG, Peer, Server, answers, ask, once, serve, settled

NOTHING = Stats(open=0, idle=0, busy=0, connecting=0, waiting=0, slots=0)
ONE_IDLE = Stats(open=1, idle=1, busy=0, connecting=0, waiting=0, slots=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that nobody but these tests trusts. Keys take a while, so it is made once."""
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = default_tls()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def tls_server(authority: trustme.CA, *names: str) -> AsyncIterator[Server]:
    """Run a server over TLS, with a certificate for `names`, that answers with what was negotiated."""

    async def script(peer: Peer) -> None:
        session = peer.writer.get_extra_info("ssl_object")
        while True:
            await peer.request()
            await peer.answer(f"{session.version()} {session.selected_alpn_protocol()}".encode())

    async with serve(script, tls=server_context(authority, *names)) as server:
        yield server


async def test_a_trusted_server_is_spoken_to_over_tls(authority: trustme.CA) -> None:
    """By name or address, with HTTP/1.1 agreed upon, and its connection is used again."""
    async with tls_server(authority, "127.0.0.1", "localhost") as server:
        pool = Pool(tls=trusting(authority))
        bodies = [await ask(pool, server.origin) for _ in range(3)]
        by_name = await ask(pool, server.origin._replace(host="localhost"))
        stats = pool.stats()
        await pool.aclose()
        await server.nobody()

    assert bodies == [b"TLSv1.3 http/1.1"] * 3
    assert by_name == b"TLSv1.3 http/1.1"
    assert stats.open == stats.idle == 2


async def test_an_origin_may_have_an_authority_of_its_own(authority: trustme.CA) -> None:
    """Its context counts, not the pool's."""
    async with tls_server(authority, "127.0.0.1") as server:
        pool = Pool()
        body = await ask(pool, server.origin._replace(tls=trusting(authority)))
        await pool.aclose()

    assert body.startswith(b"TLSv1.3")


async def test_a_certificate_of_an_unknown_authority_is_not_accepted(authority: trustme.CA) -> None:
    """The default context trusts what the machine trusts; nothing of the request is sent."""
    async with tls_server(authority, "127.0.0.1") as server:
        pool = Pool()
        with pytest.raises(ConnectError, match=r"^tls: certificate not accepted: .*unable to get local issuer"):
            await ask(pool, server.origin)
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats == NOTHING
    assert server.requests == 0


async def test_a_certificate_for_another_host_is_not_accepted(authority: trustme.CA) -> None:
    """A good certificate of somebody else is no good."""
    async with tls_server(authority, "other.test") as server:
        pool = Pool(tls=trusting(authority))
        with pytest.raises(ConnectError, match=r"^tls: certificate not accepted: .*127\.0\.0\.1"):
            await ask(pool, server.origin)
        stats = pool.stats()
        await pool.aclose()

    assert stats == NOTHING
    assert server.requests == 0


async def test_an_expired_certificate_is_not_accepted(authority: trustme.CA) -> None:
    """It was good once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority.issue_cert("127.0.0.1", not_before=past, not_after=past.replace(day=2)).configure_cert(context)
    async with serve(answers(), tls=context) as server:
        pool = Pool(tls=trusting(authority))
        with pytest.raises(ConnectError, match=r"^tls: certificate not accepted: certificate has expired"):
            await ask(pool, server.origin)
        await pool.aclose()

    assert server.requests == 0


def test_the_default_context_verifies_and_is_modern() -> None:
    """Certificates and host names are checked, and nothing older than TLS 1.2 is spoken."""
    context = default_tls()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_handshake_that_stalls_is_given_up() -> None:
    """The handshake is part of connecting: a server that accepts and says nothing costs the connect timeout."""

    async def script(peer: Peer) -> None:
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        with pytest.raises(ConnectTimeout):
            await ask(pool, server.origin._replace(scheme="https"), connect_timeout=0.05)
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats == NOTHING


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["hangs-up", "speaks-http"])
async def test_a_server_without_tls_behind_an_https_url_is_told_apart(reply: bytes) -> None:
    """The reason begins with tls."""

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(reply)

    async with serve(script) as server:
        pool = Pool()
        with pytest.raises(ConnectError, match=r"^tls: "):
            await ask(pool, server.origin._replace(scheme="https"))
        stats = pool.stats()
        await pool.aclose()

    assert stats == NOTHING


async def test_a_request_for_tls_is_not_sent_in_the_clear() -> None:
    """What a plain server sees of an https request is a handshake, never a header."""
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.reader.read(65536))

    async with serve(script) as server:
        pool = Pool()
        with pytest.raises(ConnectError):
            await ask(pool, server.origin._replace(scheme="https"))
        await pool.aclose()

    assert seen[0][:1] == b"\x16"
    assert b"HTTP" not in seen[0]


async def test_a_stale_tls_connection_is_replaced(authority: trustme.CA) -> None:
    """As without TLS."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"%d" % peer.number)
        if peer.number == 0:
            await peer.head()
            peer.reset()
        else:
            await peer.left()

    async with serve(script, tls=server_context(authority, "127.0.0.1")) as server:
        pool = Pool(tls=trusting(authority))
        bodies = [await ask(pool, server.origin) for _ in range(2)]
        await pool.aclose()

    assert bodies == [b"0", b"1"]


async def test_back_pressure_and_large_bodies_work_over_tls(authority: trustme.CA) -> None:
    """Up and down, more than any buffer holds; a reader who pauses holds the server up."""
    size = 50_000_000
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        _, body = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 65536):
            await peer.send(body[start : start + 65536])
            sent = start
        await peer.left()

    async with serve(script, tls=server_context(authority, "127.0.0.1")) as server:
        pool = Pool(tls=trusting(authority))
        until = time.monotonic() + LONG
        got = 0
        async with pool.request(server.origin, HEAD, b"x" * size, connect_timeout=LONG, until=until) as response:
            while_unread = await settled(lambda: sent)
            while data := await response.read(until):
                got += len(data)
        stats = pool.stats()
        await pool.aclose()

    assert got == size
    assert while_unread < size // 2
    assert stats == ONE_IDLE


async def test_a_tls_connection_cut_inside_a_body_is_a_cut(authority: trustme.CA) -> None:
    """Whether TLS was ended in order or not."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await peer.server.seen.wait()
        peer.reset(hard=peer.number == 0)

    async with serve(script, tls=server_context(authority, "127.0.0.1")) as server:
        pool = Pool(tls=trusting(authority))
        until = time.monotonic() + LONG
        for _ in range(2):
            async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
                assert await response.read(until) == b"hello"
                server.seen.set()
                with pytest.raises(CutBody):
                    await response.read(until)
        await pool.aclose()


async def test_leaving_a_tls_exchange_hangs_up_at_once(authority: trustme.CA) -> None:
    """Without waiting for the other side to agree to the end."""
    script = once(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
    async with serve(script, tls=server_context(authority, "127.0.0.1")) as server:
        pool = Pool(tls=trusting(authority))
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            await response.read(until)
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats == NOTHING
