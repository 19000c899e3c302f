"""Compressed answers: decoded piece by piece, within bounds, and refused when they are not what they say."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator

import pytest

from arbstr.upstream.content import FREE_MEMBERS, MOST_OUT, Decoder, decoder
from arbstr.upstream.errors import CutBody, ProtocolError, TransportError
from arbstr.upstream.pool import Limits, Pool, Stats
from tests.upstream.servers import HEAD, LONG, Peer, fetch, once, serve

NOTHING = Stats(open=0, idle=0, busy=0, connecting=0, waiting=0, slots=0)
ONE_IDLE = Stats(open=1, idle=1, busy=0, connecting=0, waiting=0, slots=1)
TEXT = b'data: {"choices":[{"delta":{"content":"hello"}}]}\n\n' * 20


def raw_deflate(data: bytes) -> bytes:
    """Return `data` as a deflate stream without zlib's header, as some servers send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


ENCODED = {
    "gzip": (b"gzip", gzip.compress(TEXT)),
    "x-gzip": (b"x-gzip", gzip.compress(TEXT)),
    "two-members": (b"gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "empty-member-first": (b"gzip", gzip.compress(b"") + gzip.compress(TEXT)),
    "stored": (b"gzip", gzip.compress(TEXT, compresslevel=0)),
    "zlib": (b"deflate", zlib.compress(TEXT)),
    "raw-deflate": (b"deflate", raw_deflate(TEXT)),
}


def decoded(pieces: Iterator[bytes], decode: Decoder) -> bytes:
    """Push `pieces` one by one, pulling all there is after each, and check the end."""
    out = []
    for piece in pieces:
        decode.push(piece)
        while data := decode.pull():
            assert len(data) <= MOST_OUT
            out.append(data)
    decode.finish()
    return b"".join(out)


def gzipped(body: bytes, encoding: bytes = b"gzip") -> bytes:
    """Return a whole answer that has `body` as it is and says that it is `encoding`."""
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (encoding, len(body))
    return head + body


@pytest.mark.parametrize("name", ENCODED)
def test_any_cut_gives_the_same_bytes(name: str) -> None:
    """Cut in two at every offset, and cut into single bytes, the body decodes to the same text."""
    encoding, body = ENCODED[name]

    for cut in range(len(body) + 1):
        assert decoded(iter((body[:cut], body[cut:])), decoder(encoding, Limits())) == TEXT
    assert decoded((body[i : i + 1] for i in range(len(body))), decoder(encoding, Limits())) == TEXT


@pytest.mark.parametrize("name", ENCODED)
def test_every_truncation_is_noticed(name: str) -> None:
    """A body that stops anywhere before its end is never taken for a whole one."""
    encoding, body = ENCODED[name]
    boundaries = {len(gzip.compress(TEXT[:100])), len(gzip.compress(b""))} if "member" in name else set()

    for cut in set(range(1, len(body))) - boundaries:  # between two members nothing is missing
        with pytest.raises(CutBody):
            decoded(iter((body[:cut],)), decoder(encoding, Limits()))


def test_a_large_body_is_decoded_in_pieces() -> None:
    """What decodes to more than one piece comes in several, none lost."""
    text = bytes(range(256)) * 4000

    assert decoded(iter((gzip.compress(text),)), decoder(b"gzip", Limits())) == text


@pytest.mark.parametrize("size", [MOST_OUT - 1, MOST_OUT, MOST_OUT + 1, 2 * MOST_OUT])
def test_an_end_at_the_edge_of_a_piece_is_an_end(size: int) -> None:
    """Bodies about as long as one piece or two come out whole."""
    assert decoded(iter((gzip.compress(b"x" * size),)), decoder(b"gzip", Limits())) == b"x" * size


def test_an_end_inside_the_last_byte_is_an_end() -> None:
    """A stream whose last input byte decodes to more than fits into a piece gives the rest in the next."""
    for size in range(MOST_OUT, MOST_OUT + 600):
        assert decoded(iter((raw_deflate(b"x" * size),)), decoder(b"deflate", Limits())) == b"x" * size


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param(b"gzip", b"this is not gzip at all", id="plain-text"),
        pytest.param(b"gzip", gzip.compress(TEXT) + b"garbage", id="garbage-after-gzip"),
        pytest.param(b"gzip", gzip.compress(TEXT)[:-8] + b"\0\0\0\0\0\0\0\0", id="bad-checksum"),
        pytest.param(b"gzip", zlib.compress(TEXT), id="zlib-as-gzip"),
        pytest.param(b"deflate", zlib.compress(TEXT) + b"garbage", id="garbage-after-deflate"),
        pytest.param(b"deflate", zlib.compress(TEXT) * 2, id="two-deflate-streams"),
        pytest.param(b"deflate", b"\xff\xff\xff\xff", id="neither-kind-of-deflate"),
        pytest.param(b"br", b"\x0b\x02\x80hello\x03", id="br"),
        pytest.param(b"zstd", b"\x28\xb5\x2f\xfd", id="zstd"),
        pytest.param(b"gzip, gzip", gzip.compress(gzip.compress(TEXT)), id="gzip-twice"),
    ],
)
async def test_a_body_that_is_not_what_it_says_is_refused(encoding: bytes, body: bytes) -> None:
    """It is a ProtocolError when the body is read, and the connection is closed."""
    async with serve(once(gzipped(body, encoding))) as server:
        pool = Pool()
        with pytest.raises(ProtocolError):
            await fetch(pool, server)
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats == NOTHING


async def test_an_unknown_encoding_leaves_status_and_headers_to_read() -> None:
    """A 429 in br can be acted upon; its body is out of reach, however often one tries, and the reason names why."""
    raw = b"HTTP/1.1 429 Slow\r\nretry-after: 3\r\ncontent-encoding: br\r\ncontent-length: 3\r\n\r\nabc"
    async with serve(once(raw)) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            for _ in range(2):
                with pytest.raises(ProtocolError, match="unsupported content-encoding 'br'"):
                    await response.read_all(until, limit=100)
        await pool.aclose()

    assert (response.status, response.headers[b"retry-after"]) == (429, b"3")


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("status", [b"200 OK", b"503 Unavailable"], ids=["answer", "error"])
async def test_a_compressed_answer_is_read_decoded(name: str, status: bytes) -> None:
    """Answers and errors alike, in one segment, and the connection is kept."""
    encoding, body = ENCODED[name]
    raw = gzipped(body, encoding).replace(b"200 OK", status)

    async with serve(once(raw)) as server:
        pool = Pool()
        result = await fetch(pool, server)
        stats = pool.stats()
        await pool.aclose()

    assert result == (int(status[:3]), TEXT)
    assert stats == ONE_IDLE


@pytest.mark.parametrize(
    "headers",
    [b"content-encoding: identity", b"content-encoding: ", b"content-encoding:  Identity "],
    ids=["identity", "empty", "capital"],
)
async def test_identity_is_no_encoding(headers: bytes) -> None:
    """The body is given out as it came."""
    async with serve(once(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\ncontent-length: 5\r\n\r\nhello")) as server:
        pool = Pool()
        result = await fetch(pool, server)
        stats = pool.stats()
        await pool.aclose()

    assert (result, stats) == ((200, b"hello"), ONE_IDLE)


@pytest.mark.parametrize("encoding", [b"gzip", b"br"])
async def test_nothing_needs_no_decoding(encoding: bytes) -> None:
    """An empty body is empty in every encoding."""
    async with serve(once(gzipped(b"", encoding))) as server:
        pool = Pool()
        result = await fetch(pool, server)
        await pool.aclose()

    assert result == (200, b"")


async def test_each_flush_of_a_compressed_stream_is_read_at_once() -> None:
    """What the server has flushed is there to read while it waits for us to have read it."""
    events = [b"data: %d\n\n" % number for number in range(5)]
    seen = []
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in events:
            data = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
            await peer.send(b"%x\r\n%b\r\n" % (len(data), data))
            await peer.server.seen.wait()
            peer.server.seen.clear()
        data = packer.flush()
        await peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        await peer.left()

    async with serve(script) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            while data := await response.read(until):
                seen.append(data)
                server.seen.set()
        stats = pool.stats()
        await pool.aclose()

    assert seen == events
    assert stats == ONE_IDLE


async def test_a_connection_cut_inside_compressed_data_is_a_cut() -> None:
    """Also where the transfer itself ended in order, but the encoded body did not."""
    body = gzip.compress(TEXT)[:-4]
    async with serve(once(gzipped(body))) as server:
        pool = Pool()
        with pytest.raises(CutBody, match="encoded body is incomplete"):
            await fetch(pool, server)
        stats = pool.stats()
        await pool.aclose()

    assert stats == NOTHING


async def test_an_encoded_body_left_before_its_end_costs_the_connection() -> None:
    """The bytes are all here, but nobody knows whether they were right."""
    async with serve(once(gzipped(gzip.compress(b"x" * 200_000)))) as server:
        pool = Pool()
        until = time.monotonic() + LONG
        async with pool.request(server.origin, HEAD, b"", connect_timeout=LONG, until=until) as response:
            assert len(await response.read(until)) == MOST_OUT
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats == NOTHING


def bomb(size: int) -> bytes:
    """Return gzip that decodes to `size` zeros, about a thousandth of that in length."""
    packer = zlib.compressobj(level=9, wbits=16 + zlib.MAX_WBITS)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*parts, packer.flush()])


def pulled_before_refusal(body: bytes, encoding: bytes = b"gzip", limits: Limits = Limits()) -> tuple[int, str]:  # noqa: B008
    """Return how many bytes come out before the decoder refuses `body`, and why it does."""
    decode = decoder(encoding, limits)
    decode.push(body)
    size = 0
    try:
        while data := decode.pull():
            size += len(data)
    except TransportError as exc:
        return size, exc.reason
    raise AssertionError("not refused")


def test_a_bomb_is_stopped_soon_after_the_free_bytes() -> None:
    """128 MiB out of 128 KiB: refused at a hundred times what was consumed, not when memory is full."""
    body = bomb(128 << 20)

    size, reason = pulled_before_refusal(body)

    assert reason == "the body decodes to more than 100 times its size"
    assert size <= (1 << 20) + MOST_OUT


def test_a_bomb_in_many_members_is_stopped_as_well() -> None:
    """Splitting it up does not help it."""
    body = bomb(1 << 20) * 1000

    size, reason = pulled_before_refusal(body)

    assert reason == "the body decodes to more than 100 times its size"
    assert size <= (2 << 20) + MOST_OUT


def test_a_compressible_body_below_the_free_bytes_is_fine() -> None:
    """A megabyte of spaces is no attack."""
    assert decoded(iter((gzip.compress(b" " * (1 << 20)),)), decoder(b"gzip", Limits())) == b" " * (1 << 20)


def test_empty_members_are_limited() -> None:
    """A megabyte of empty gzip members is refused after the first few, not decoded one by one."""
    size, reason = pulled_before_refusal(gzip.compress(b"") * 50_000)

    assert (size, reason) == (0, "the body has too many gzip members")


def test_many_members_with_something_in_them_are_fine() -> None:
    """A server that compresses each part by itself may send as many as it likes."""
    part = b'{"some":"part of a body","of":"usual size"}' * 10
    body = gzip.compress(part) * (FREE_MEMBERS * 10)

    assert decoded(iter((body,)), decoder(b"gzip", Limits())) == part * (FREE_MEMBERS * 10)


async def test_a_bomb_over_the_wire_ends_the_connection() -> None:
    """It is a ProtocolError in the middle of the body, and the server is hung up on."""
    async with serve(once(gzipped(bomb(64 << 20)))) as server:
        pool = Pool()
        with pytest.raises(ProtocolError, match="100 times"):
            await fetch(pool, server)
        stats = pool.stats()
        await server.nobody()
        await pool.aclose()

    assert stats == NOTHING
