"""Bearer tokens are fetched once for all, kept, renewed and forgotten."""

from __future__ import annotations

import asyncio

import pytest

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.secret import Secret
from arbstr.testing import FakeClock
from arbstr.upstream.tokens import SETTLED, Token, TokenSigner


class Issuer:
    """Gives another token each time; a gate holds it back."""

    def __init__(self, *, fresh: float = 300, usable: float = 300) -> None:
        self.given = 0
        self.fresh, self.usable = fresh, usable
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing = False
        self.learned: list[Secret] = []

    async def fetch(self) -> Token:
        await self.gate.wait()
        if self.failing:
            raise UpstreamFailure(FailureKind.KEY_REFUSED, "none")
        self.given += 1
        return Token(Secret(f"t{self.given}"), self.fresh, self.usable)


def signer(issuer: Issuer, clock: FakeClock) -> TokenSigner:
    return TokenSigner(issuer.fetch, clock=clock, learn=issuer.learned.append)


async def test_one_question_for_all_until_it_is_old() -> None:
    """Who asks at the same time waits for the same answer, and it serves for as long as it says."""
    issuer, clock = Issuer(), FakeClock()
    tokens = signer(issuer, clock)

    first = await asyncio.gather(*(tokens.sign("/", b"") for _ in range(20)))
    clock.advance(299)
    later = await tokens.sign("/", b"")
    clock.advance(1)
    renewed = await tokens.sign("/", b"")

    assert {*first, later} == {("authorization: Bearer t1",)}
    assert renewed == ("authorization: Bearer t2",)
    assert issuer.learned == [Secret("t1"), Secret("t2")]


async def test_a_usable_one_serves_while_another_is_asked_for() -> None:
    """And where none can be had; once it is of no use, requests fail until there is one."""
    issuer, clock = Issuer(fresh=60, usable=180), FakeClock()
    tokens = signer(issuer, clock)
    await tokens.sign("/", b"")
    issuer.failing = True

    clock.advance(61)
    assert await tokens.sign("/", b"") == ("authorization: Bearer t1",)
    await asyncio.sleep(0)
    clock.advance(120)
    with pytest.raises(UpstreamFailure):
        await tokens.sign("/", b"")
    issuer.failing = False

    assert await tokens.sign("/", b"") == ("authorization: Bearer t2",)


async def test_who_leaves_takes_nobodys_token_away() -> None:
    """The question goes on for the others."""
    issuer = Issuer()
    issuer.gate.clear()
    tokens = signer(issuer, FakeClock())
    leaving, staying = (asyncio.create_task(tokens.sign("/", b"")) for _ in range(2))
    await asyncio.sleep(0)

    leaving.cancel()
    issuer.gate.set()

    assert await staying == ("authorization: Bearer t1",)
    assert leaving.cancelled()


async def test_a_refused_one_is_forgotten_but_not_its_successor() -> None:
    """Requests that were under way with the old one come back refused after the new one was fetched."""
    issuer, clock = Issuer(), FakeClock()
    tokens = signer(issuer, clock)
    await tokens.sign("/", b"")
    clock.advance(SETTLED + 1)

    tokens.refused()
    second = await tokens.sign("/", b"")
    tokens.refused()
    third = await tokens.sign("/", b"")

    assert second == third == ("authorization: Bearer t2",)
