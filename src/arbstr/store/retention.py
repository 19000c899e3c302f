"""Rows of the request log that are older than they are to be kept, removed while the gateway runs."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from arbstr.ports import Clock, Log, LogHealth
from arbstr.store.connection import identity, open_writer
from arbstr.store.errors import StoreError, is_busy
from arbstr.store.removal import STEP, cutoff, remove

PAUSE = 0.05
"""Seconds between two steps, while there is more to remove."""
LOOK = 60.0
"""Seconds between two looks at whether there is something to remove."""
WAIT = 1.0
"""Seconds for which a step waits for somebody else's lock."""
QUEUE_MOST = 1_000
"""Rows that may wait to be written while others are removed: what comes is more urgent than what goes."""


class Retention:
    """Removes rows that are older than ``keep`` seconds, in small steps, with a connection and a thread of its own.

    Nothing is removed while the log cannot be written, or its writer has much to do. Statistics do not change by it,
    as far as they are by the hour, and budgets do not at all. ``path`` is that of a log that is open.
    """

    def __init__(
        self, path: Path, *, keep: float, clock: Clock, log: Log, health: Callable[[], LogHealth], step: int = STEP
    ) -> None:
        self._path = path.resolve()
        self._keep = keep
        self._clock = clock
        self._log = log
        self._health = health
        self._step = step
        self._began = clock.time()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="arbstr-retention")
        self._removed = 0
        self._failing = False

    async def run(self) -> None:
        """Remove what is old enough, now and from now on, until cancelled."""
        while True:
            await self._clock.sleep(PAUSE if await self.step() else LOOK)

    async def step(self) -> bool:
        """Remove some rows, if that is possible now; whether there may be more to remove at once."""
        health = self._health()
        if not health.ok or health.queued > QUEUE_MOST:
            return False
        before = cutoff(self._clock.time(), self._keep)
        try:
            removed = await asyncio.get_running_loop().run_in_executor(self._thread, self._remove, before)
        except (sqlite3.Error, StoreError, OSError, ValueError) as error:
            if not is_busy(error) and not self._failing:
                self._failing = True
                self._log.error("old rows of the request log cannot be removed", error=str(error))
            return False
        if self._failing:
            self._failing = False
            self._log.info("old rows of the request log can be removed again")
        self._removed += removed
        more = removed == self._step
        if self._removed and not more:
            self._log.info("old rows of the request log were removed", rows=self._removed)
            self._removed = 0
        return more

    async def aclose(self) -> None:
        """Finish the step that is under way, and let the file go."""
        await asyncio.to_thread(self._thread.shutdown)
        self._disconnect()

    def _remove(self, before: float) -> int:
        if self._connection is not None and identity(self._path) != self._opened:
            self._disconnect()  # of a file that is gone
        if self._connection is None:
            self._connection = open_writer(self._path, wait=WAIT)
            self._connection.execute(f"PRAGMA busy_timeout = {WAIT * 1000:.0f}")
            self._opened = identity(self._path)
        try:
            return remove(self._connection, before=before, began=self._began, step=self._step)
        except sqlite3.Error as error:
            if not is_busy(error):
                self._disconnect()  # to begin anew: the file may be gone, or its damage repaired
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
