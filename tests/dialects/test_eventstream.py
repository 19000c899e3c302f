"""AWS event streams are cut alike whatever the pieces, and damage is seen."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.bedrock.eventstream import BadEventStream, Message, MessageSplitter
from tests.dialects.vendors import byte_by_byte, framed, message

HEADERS = st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=4)
MESSAGES = st.lists(st.tuples(HEADERS, st.binary(max_size=200)), max_size=5)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def fed(*pieces: bytes, limit: int = 1 << 24) -> list[Message]:
    splitter = MessageSplitter(limit=limit)
    return [found for piece in pieces for found in splitter.feed(piece)]


@given(MESSAGES, st.data())
def test_any_cut(messages: list[tuple[dict[str, str], bytes]], data: st.DataObject) -> None:
    """The messages are those that were sent, wherever the bytes are cut, and their bytes are those that came."""
    encoded = [message(headers, payload) for headers, payload in messages]
    stream = b"".join(encoded)
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))

    found = fed(*cut(stream, at))

    assert [(one.headers, one.payload) for one in found] == messages
    assert [one.raw for one in found] == encoded


def test_all_types_of_headers() -> None:
    """Each of the ten types of values is read."""
    values = [
        (b"yes", b"\x00"),
        (b"no", b"\x01"),
        (b"byte", b"\x02" + struct.pack(">b", -5)),
        (b"short", b"\x03" + struct.pack(">h", -300)),
        (b"int", b"\x04" + struct.pack(">i", 70_000)),
        (b"long", b"\x05" + struct.pack(">q", -(2**40))),
        (b"bytes", b"\x06\x00\x02ab"),
        (b"text", b"\x07\x00\x03\xe2\x82\xac"),
        (b"time", b"\x08" + struct.pack(">q", 1_700_000_000_000)),
        (b"uuid", b"\x09" + bytes(range(16))),
    ]
    block = b"".join(bytes([len(name)]) + name + value for name, value in values)

    [found] = fed(framed(block, b"{}"))

    assert found.headers == {
        "yes": True,
        "no": False,
        "byte": -5,
        "short": -300,
        "int": 70_000,
        "long": -(2**40),
        "bytes": b"ab",
        "text": "€",
        "time": 1_700_000_000_000,
        "uuid": bytes(range(16)),
    }
    assert found.text("text") == "€"
    assert found.text("int") == found.text("absent") == ""


@given(st.data())
def test_damage(data: st.DataObject) -> None:
    """A flipped bit anywhere is an error, or a message that never ends: never a wrong message."""
    sent = message({":event-type": "messageStop"}, b'{"stopReason":"end_turn"}')
    damaged = bytearray(sent)
    damaged[data.draw(st.integers(0, len(sent) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    splitter = MessageSplitter()

    with pytest.raises(BadEventStream):
        splitter.feed(bytes(damaged))
    with pytest.raises(BadEventStream):
        splitter.feed(sent)
    with pytest.raises(BadEventStream):
        splitter.rest()


def test_messages_before_damage() -> None:
    """What came before the damage is returned first."""
    splitter = MessageSplitter()
    good = message({"a": "b"}, b"1")

    found = splitter.feed(good + b"\xff" * 32)

    assert [one.raw for one in found] == [good]
    with pytest.raises(BadEventStream, match="checksum of a prelude"):
        splitter.feed(b"")


@pytest.mark.parametrize("piecewise", [False, True])
def test_limit(piecewise: bool) -> None:
    """A message beyond the limit is refused as soon as its length is known; one at the limit is read."""
    sent = message({"a": "b"}, b"x" * 1000)

    assert fed(sent, limit=len(sent))
    with pytest.raises(BadEventStream, match="has 1022 bytes"):
        fed(*(byte_by_byte(sent[:12]) if piecewise else [sent]), limit=len(sent) - 1)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (b"\x01a", "cannot be read"),
        (b"\x05a", "cannot be read"),
        (b"\x01a\x07\x00\x09ab", "cut short"),
        (b"\x01a\x04\x00", "cannot be read"),
        (b"\x01a\x0a", "unknown type 10"),
        (b"\x01\xff\x00", "cannot be read"),
    ],
)
def test_bad_headers(block: bytes, said: str) -> None:
    """Headers that contradict themselves are an error, although the checksums are right."""
    with pytest.raises(BadEventStream, match=said):
        fed(framed(block, b""))


def test_contradicting_lengths() -> None:
    """Headers that are longer than their message are an error."""
    prelude = struct.pack(">II", 20, 10)

    with pytest.raises(BadEventStream, match="contradict"):
        fed(prelude + struct.pack(">I", zlib.crc32(prelude)))


def test_rest() -> None:
    """What is left of a message that never ended can be seen."""
    splitter = MessageSplitter()
    sent = message({"a": "b"}, b"1")

    splitter.feed(sent + sent[:-1])

    assert splitter.rest() == sent[:-1]
