"""Work beside requests: seen to fail, begun anew, and ended with the gateway."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from arbstr.service.background import FIRST_PAUSE, LONGEST_PAUSE, Background
from arbstr.testing import FakeClock, ListLog


async def test_work_that_fails_is_told_and_begun_anew() -> None:
    """An exception that nobody foresaw costs a pause and a line in the log, and not the work for good."""
    clock, log, done = FakeClock(), ListLog(), asyncio.Event()
    troubles = [ValueError("a mistake"), KeyError("another")]

    async def work() -> None:
        if troubles:
            raise troubles.pop(0)
        done.set()
        await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        Background(stack, clock=clock, log=log).start("counting", work)
        await done.wait()

    assert [(level, fields["work"], str(fields["error"])) for level, _, fields in log.lines] == [
        ("error", "counting", "a mistake"),
        ("error", "counting", "'another'"),
    ]
    assert clock.slept == [FIRST_PAUSE, 2 * FIRST_PAUSE]


async def test_the_pause_grows_up_to_a_bound() -> None:
    """Work that fails at once, for ever, keeps neither the processor nor the log busy."""
    clock, left = FakeClock(), asyncio.Event()

    async def work() -> None:
        if len(clock.slept) == 9:
            left.set()
            await asyncio.Event().wait()
        raise RuntimeError("a mistake")

    async with AsyncExitStack() as stack:
        Background(stack, clock=clock, log=ListLog()).start("counting", work)
        await left.wait()

    assert clock.slept == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


async def test_work_that_went_well_for_long_is_begun_anew_soon() -> None:
    """Failures that are far apart do not add up."""
    clock, left = FakeClock(), asyncio.Event()

    async def work() -> None:
        if len(clock.slept) == 3:
            left.set()
            await asyncio.Event().wait()
        clock.advance(LONGEST_PAUSE + 1)
        raise RuntimeError("a mistake")

    async with AsyncExitStack() as stack:
        Background(stack, clock=clock, log=ListLog()).start("counting", work)
        await left.wait()

    assert clock.slept == [FIRST_PAUSE] * 3


async def test_work_ends_with_the_stack_the_last_first() -> None:
    """What was started last may need what was started before it, up to its own end."""
    ended: list[str] = []
    begun = asyncio.Event()

    async def first() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("first")

    async def second() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("second")

    async with AsyncExitStack() as stack:
        background = Background(stack, clock=FakeClock(), log=ListLog())
        background.start("one", first)
        background.start("two", second)
        await begun.wait()

    assert ended == ["second", "first"]


async def test_work_that_has_nothing_more_to_do_is_left_alone() -> None:
    """Its end is no failure."""
    log, runs = ListLog(), []

    async def work() -> None:
        runs.append(True)

    async with AsyncExitStack() as stack:
        Background(stack, clock=FakeClock(), log=log).start("counting", work)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert (len(runs), len(log.lines)) == (1, 0)
