"""Reading a body: piece by piece, no more than is allowed, and counted while it is held."""

from __future__ import annotations

import gzip
import zlib
from decimal import Decimal
from typing import Any

import pytest

from arbstr.domain.errors import CallerLeft, InvalidRequest, Overloaded, RequestTooLarge
from arbstr.edge import body
from arbstr.edge.context import BodyBudget
from arbstr.edge.respond import Receive


def receiving(*pieces: bytes, ended: bool = True) -> Receive:
    """A caller that sends ``pieces``, and leaves unless the last of them is the end."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left) or not ended}

    return receive


async def test_pieces() -> None:
    """They are put together, whatever their number."""
    held = body.Held(BodyBudget())

    assert await body.read(receiving(b"{", b"", b'"a": 1', b"}"), {}, held, most=100) == b'{"a": 1}'
    assert await body.read(receiving(b""), {}, held, most=100) == b""


async def test_a_caller_that_leaves() -> None:
    """Its body is not taken for whole."""
    with pytest.raises(CallerLeft):
        await body.read(receiving(b"{}", ended=False), {}, body.Held(BodyBudget()), most=100)


async def test_what_is_held() -> None:
    """What came counts, and what it is inflated to, until it is given back; twice gives nothing back twice."""
    bodies = BodyBudget(left=10_000)
    sent = zlib.compress(b" " * 1000)

    with body.Held(bodies) as held:
        await body.read(receiving(sent), {b"content-encoding": b"deflate"}, held, most=1000)
        during = bodies.left
        held.give_back()

    assert during == 10_000 - 2 * 1000
    assert bodies.left == 10_000


async def test_memory_that_others_fill() -> None:
    """A body for which there is none is refused for now, and gives back what it took."""
    bodies = BodyBudget(left=10)

    with pytest.raises(Overloaded), body.Held(bodies) as held:
        await body.read(receiving(b"1234", b"5678"), {}, held, most=100)

    assert bodies.left == 10


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([b"1" * 101], {b"content-length": b"101"}),
        ([b"1" * 100, b"1"], {}),
        ([gzip.compress(b"1" * 101)], {b"content-encoding": b"gzip"}),
    ],
)
async def test_too_large(pieces: list[bytes], headers: dict[bytes, bytes]) -> None:
    """The limit holds for what is announced, for what comes, and for what it is inflated to; its setting is named."""
    with pytest.raises(RequestTooLarge, match=r"larger than 100 bytes.*\(server\.max_body\)"):
        await body.read(receiving(*pieces), headers, body.Held(BodyBudget()), most=100, limit="server.max_body")


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"application/json; charset=utf-8", b"Application/JSON", b"application/x+json"],
)
async def test_json(content_type: bytes) -> None:
    """Every name of it is taken, as is none."""
    headers = {b"content-type": content_type}

    assert await body.read(receiving(b"{}"), headers, body.Held(BodyBudget()), most=5) == b"{}"


async def test_nothing() -> None:
    """It may be called anything: some clients name the type of bodies that they do not send."""
    headers = {b"content-type": b"application/octet-stream", b"content-length": b"0"}

    assert await body.read(receiving(b""), headers, body.Held(BodyBudget()), most=5) == b""


def test_numbers() -> None:
    """A fraction is exact, and a whole number whole, however large."""
    read = body.json_object(b'{"a": 0.1, "b": 12345678901234567890123, "c": 1e2}')

    assert read == {"a": Decimal("0.1"), "b": 12345678901234567890123, "c": Decimal(100)}
    assert isinstance(read["a"], Decimal)


def test_no_object() -> None:
    """What the body is instead is said."""
    with pytest.raises(InvalidRequest, match="but is a list"):
        body.json_object(b"[1]")
