"""Lists of models are asked for over and over; what was found stays until a list says otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.testing import FakeClock, ListLog
from arbstr.upstream.discover import EVERY, Discovery, Found

DOWN = UpstreamFailure(FailureKind.CONNECT, "refused")


class Script:
    """Answers one after the other; the last one is ``over`` and then silence."""

    def __init__(self, name: str, *answers: Sequence[str] | Exception) -> None:
        self.name = name
        self.answers = list(answers)
        self.over = asyncio.Event()

    async def models(self) -> tuple[str, ...]:
        if not self.answers:
            self.over.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return tuple(answer)


class Rig:
    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.clock = FakeClock()
        self.log = ListLog()
        self.adopted: list[Found] = []
        self.failing = 0
        self.discovery = Discovery(scripts, clock=self.clock, log=self.log, adopt=self.adopt)

    async def adopt(self, found: Found) -> None:
        if self.failing:
            self.failing -= 1
            raise RuntimeError("a bug")
        self.adopted.append(found)

    async def played(self) -> None:
        """Run until every script is over."""
        task = asyncio.create_task(self.discovery.run())
        async with asyncio.timeout(20):
            for script in self.scripts:
                await script.over.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def said(self) -> list[tuple[str, str]]:
        return [(level, event) for level, event, _ in self.log.lines]


CHANGED = ("info", "a provider's models have changed")
UNLISTED = ("warning", "a provider's models cannot be listed")


async def test_only_changes_are_handed_on_and_told() -> None:
    """The order of an answer is no change."""
    rig = Rig(Script("alpha", ["a", "b"], ["b", "a"], ["b", "c"]))

    await rig.played()

    assert rig.adopted == [{"alpha": ("a", "b")}, {"alpha": ("b", "c")}]
    assert rig.said() == [CHANGED, CHANGED]
    assert rig.log.lines[1][2] == {"provider": "alpha", "models": 2, "added": 1, "gone": 1, "names": ["c", "a"]}
    assert all(0.9 * EVERY <= slept <= EVERY for slept in rig.clock.slept)


async def test_a_provider_that_is_down_is_asked_ever_more_slowly() -> None:
    """It is told once, and no wait is longer than the usual one; after an answer all begins anew."""
    rig = Rig(Script("alpha", *[DOWN] * 11, ["a"], DOWN))

    await rig.played()

    waits = rig.clock.slept
    for nth, wait in enumerate(waits[:11]):
        step = min(2.0**nth, EVERY)
        assert 0.75 * step <= wait <= step
    assert waits[12] <= 1.0
    assert rig.adopted == [{"alpha": ("a",)}]
    assert rig.said() == [UNLISTED, CHANGED, UNLISTED]
    assert rig.log.lines[0][2] == {"provider": "alpha", "error": "refused"}


async def test_what_was_found_stays_when_a_later_list_fails() -> None:
    """Of the other providers', too, and of the other lists of the same one; an empty list is one."""
    rig = Rig(
        Script("alpha", ["a"], DOWN, DOWN),
        Script("alpha", ["b"], []),
        Script("beta", ["c"], ["c"]),
    )

    await rig.played()

    assert rig.adopted[2] == {"alpha": ("a", "b"), "beta": ("c",)}
    assert rig.adopted[-1] == {"alpha": ("a",), "beta": ("c",)}
    assert len(rig.adopted) == 4


async def test_a_mistake_of_ours_ends_nothing() -> None:
    """What could not be handed on is handed on the next time."""
    rig = Rig(Script("alpha", ["a"], ["a"]), Script("beta", ["b"]))
    rig.failing = 1

    await rig.played()

    assert rig.adopted[-1] == {"alpha": ("a",), "beta": ("b",)}
    assert ("error", "a mistake in this gateway while models were listed") in rig.said()
