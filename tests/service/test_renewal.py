"""The snapshot that holds, where models are found and prices change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from arbstr.domain.routing import Route, Snapshot, Strategy
from arbstr.service.renewal import LOOK_AT_PRICES, Renewal
from arbstr.testing import FakeClock
from arbstr.upstream.discover import Found

PROMPTLY = 5.0


def compiled(found: Found, *, prices_until: float | None = None) -> Snapshot:
    """One whose routes are the models that were found."""
    names = sorted(name for names in found.values() for name in names)
    return Snapshot(routes={name: Route(name, Strategy.CHEAPEST, ()) for name in names}, prices_until=prices_until)


async def until(holds: Callable[[], object]) -> None:
    """Let others run until something holds."""
    async with asyncio.timeout(PROMPTLY):
        while not holds():
            await asyncio.sleep(0)


async def test_what_is_found_later_is_not_replaced_by_what_was_found_before() -> None:
    """A price changes, and while that is compiled a model is found: it stays."""
    clock, held, asked = FakeClock(), list[Snapshot](), list[Found]()
    compiling, go_on = threading.Event(), threading.Event()

    def compile_with(found: Found) -> Snapshot:
        asked.append(found)
        compiling.set()
        if len(asked) == 1:
            assert go_on.wait(PROMPTLY)
        return compiled(found)

    renewal = Renewal(compiled({}, prices_until=clock.time()), compile_with=compile_with, hold=held.append, clock=clock)
    following = asyncio.create_task(renewal.follow_prices())
    await until(compiling.is_set)
    finding = asyncio.create_task(renewal.adopt({"alpha": ["gpt-4o"]}))
    await asyncio.sleep(0)
    go_on.set()
    await finding
    following.cancel()

    assert asked == [{}, {"alpha": ["gpt-4o"]}]
    assert [list(snapshot.routes) for snapshot in held] == [[], ["gpt-4o"]]


async def test_a_price_that_changes_is_compiled_with_what_was_found() -> None:
    """At its date, and once: the next snapshot says when prices change again."""
    clock, held = FakeClock(), list[Snapshot]()
    change = clock.time() + 2.5 * LOOK_AT_PRICES

    def compile_with(found: Found) -> Snapshot:
        return compiled(found, prices_until=change if not held else None)

    renewal = Renewal(compiled({}), compile_with=compile_with, hold=held.append, clock=clock)
    await renewal.adopt({"alpha": ["gpt-4o"]})
    following = asyncio.create_task(renewal.follow_prices())
    await until(lambda: len(clock.slept) > 10)
    following.cancel()

    assert [list(snapshot.routes) for snapshot in held] == [["gpt-4o"], ["gpt-4o"]]


async def test_what_cannot_be_compiled_changes_nothing() -> None:
    """Whoever found it is told, and what was found before still holds."""
    clock, held = FakeClock(), list[Snapshot]()

    def compile_with(found: Found) -> Snapshot:
        if "beta" in found:
            raise ValueError("two models of one name")
        return compiled(found, prices_until=clock.time() if len(held) < 1 else None)

    renewal = Renewal(compiled({}), compile_with=compile_with, hold=held.append, clock=clock)
    await renewal.adopt({"alpha": ["gpt-4o"]})
    with pytest.raises(ValueError, match="two models"):
        await renewal.adopt({"beta": ["gpt-4o"]})
    following = asyncio.create_task(renewal.follow_prices())
    await until(lambda: len(held) == 2)
    following.cancel()

    assert [list(snapshot.routes) for snapshot in held] == [["gpt-4o"], ["gpt-4o"]]
