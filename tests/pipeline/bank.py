"""A gateway with budgets, on a fake clock: what a request costs is what its provider's script says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from arbstr.domain.identity import Budgets, Key, secret_hash
from arbstr.domain.money import Currency, ExchangeRate, Rates
from arbstr.domain.request import Wishes
from arbstr.domain.routing import BudgetSettings, Deployment
from arbstr.policy.budget import Account, Meter, Period
from arbstr.policy.keys import KeyRing
from arbstr.testing import FakeClock, MemorySpend, ScriptedCaller
from tests.pipeline.rig import CHEAP, DEAR, Rig, body, whole

SAT = 10**6
DOLLAR = 10**9
THOUSAND = BudgetSettings(hour=1000 * SAT)
"""Satoshis an hour, and not one more."""

NOON = 1_800_014_400.0
"""Of 2027-01-15, UTC."""


def seller(name: str, price: int = 1, currency: Currency = Currency.SATS, *, fee: int = 0) -> Deployment:
    """Charges ``price`` for each output token and ``fee`` for each request: satoshis, or dollars."""
    return Deployment(name, f"{name}-model", Rates(0, price * 10**12, fee * 10**12, currency))


def said(tokens: int) -> list[bytes]:
    """A whole answer of so many tokens."""
    answer = json.loads(whole()[0])
    answer["usage"] = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    return [json.dumps(answer).encode()]


def key(id: str, **limits: int) -> Key:
    """A key whose secret is its id, with budgets in microsatoshis."""
    budgets = Budgets(Currency.SATS, **limits) if limits else None
    return Key(id, id, secret_hash(id), 0.0, budgets=budgets)


@asynccontextmanager
async def bank(
    store: MemorySpend | None = None,
    *,
    at: float = NOON,
    clock: FakeClock | None = None,
    budget: BudgetSettings = THOUSAND,
    keys: Sequence[Key] = (),
    rate: ExchangeRate | None = None,
    sellers: tuple[Deployment, ...] = (seller(CHEAP), seller(DEAR, 2)),
    killed: bool = False,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """A gateway that has started; stopped in an orderly way at the end of the block, or ``killed``.

    ``settings`` are more of its snapshot."""
    rig = Rig(sellers, {"budget": budget, **settings}, clock=clock or FakeClock(epoch=at), store=store)
    rig.state.rate, rig.state.keys = rate, KeyRing(keys)
    spending = rig.state.spending
    await spending.adopt(budget, keys, rate)
    task = asyncio.ensure_future(spending.run())
    try:
        yield rig
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if not killed:
            await spending.aclose()


def caller(
    most: int = 100, *, secret: str | None = None, stream: bool = False, wishes: Wishes | None = None
) -> ScriptedCaller:
    """Somebody who takes ``most`` tokens."""
    credential = secret.encode() if secret is not None else None
    return ScriptedCaller(body(stream=stream, max_tokens=most), credential=credential, wishes=wishes)


async def ask(rig: Rig, most: int = 100, *, secret: str | None = None, wishes: Wishes | None = None) -> ScriptedCaller:
    """One whole answer of at most so many tokens."""
    asking = caller(most, secret=secret, wishes=wishes)
    await rig.pipeline.handle(asking)
    return asking


async def begin(rig: Rig, asking: ScriptedCaller, *, turns: int = 20) -> asyncio.Task[None]:
    """A request that is under way."""
    task = asyncio.create_task(rig.pipeline.handle(asking))
    for _ in range(turns):
        await asyncio.sleep(0)
    return task


def account(rig: Rig, secret: str | None = None) -> Account:
    spending = rig.state.spending
    return spending.gateway if secret is None else spending.book.accounts[secret]


def meter(rig: Rig, period: Period = Period.HOUR, *, secret: str | None = None) -> Meter:
    """Of the running window, of the gateway or of a key."""
    return account(rig, secret).meter(period, rig.state.spending.now())


def spent(rig: Rig, period: Period = Period.HOUR, *, secret: str | None = None) -> float:
    """In satoshis or dollars, after a look at that nothing is reserved anywhere."""
    for one in rig.state.spending.book.accounts.values():
        assert [each.reserved for each in one.running(rig.state.spending.now())] == [0] * len(Period)
    found = meter(rig, period, secret=secret)
    return found.spent / found.account.currency.smallest


def usage(tokens: int) -> bytes:
    """The event of a stream that says so many tokens."""
    return b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":%d}}\n\n' % tokens
