"""What a gateway does beside its requests: it must not end unseen, nor outlive the gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from arbstr.ports import Clock, Log

Work = Callable[[], Awaitable[None]]
"""Something that goes on until it is cancelled."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds until work that has failed begins anew: each failure doubles the pause, up to the longest."""


class Background:
    """Begins work, each in a task of its own, and ends it when ``stack`` is closed, the last first."""

    def __init__(self, stack: AsyncExitStack, *, clock: Clock, log: Log) -> None:
        self._stack = stack
        self._clock = clock
        self._log = log

    def start(self, name: str, work: Work) -> None:
        """Do ``work`` from now on. ``name`` is what the log calls it."""
        task = asyncio.create_task(self._keep_at(name, work), name=name)
        self._stack.push_async_callback(_cancelled, task)

    async def _keep_at(self, name: str, work: Work) -> None:
        """What work raises is a mistake in this gateway, as it deals with everything that is to be foreseen: it is
        told, and the work begins anew."""
        pause = FIRST_PAUSE
        while True:
            began = self._clock.monotonic()
            try:
                return await work()
            except Exception as error:
                if self._clock.monotonic() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE  # it went well in between
                self._log.error("work in the background failed, and begins anew", work=name, error=error, in_s=pause)
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Stop a task, and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
