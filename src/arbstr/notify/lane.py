"""One target: what waits for it, and the task that sends."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from arbstr.notify.notice import Notice, Redact
from arbstr.notify.sender import Sender, Undelivered
from arbstr.ports import Clock, Log

QUEUE_LIMIT = 1000
"""Alerts that may wait for one target."""

TRIES = 12
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Seconds between two tries: the first pause doubles up to the longest."""

TOO_LATE = 3600.0
"""Seconds after which an alert is not tried again; it is tried once, however long it had to wait."""

PATIENCE = 30.0
"""Seconds for one try."""


class Lane:
    """A queue and a task of its own, so that a target that is slow, or gone, holds up nobody else.

    Alerts go out one after the other, in the order in which they came.
    """

    def __init__(self, sender: Sender, *, clock: Clock, log: Log, redact: Redact, rng: random.Random) -> None:
        self.sender = sender
        self.sent = self.failed = self.dropped = 0
        self.waiting: deque[Notice] = deque()
        """The one that is being sent included."""
        self._clock = clock
        self._log = log
        self._redact = redact
        self._rng = rng
        self._wake = asyncio.Event()
        self._over = False
        self._ending: asyncio.Future[None] | None = None  # done: there is no time for pauses
        self._task: asyncio.Task[None] | None = None

    def put(self, notice: Notice) -> None:
        if len(self.waiting) >= QUEUE_LIMIT or self._over:
            self.dropped += 1
            self._tell("an alert was dropped", self._log.error, notice, waiting=len(self.waiting))
            return
        self.waiting.append(notice)
        self._wake.set()

    def start(self) -> None:
        """Send from now on, on the running loop."""
        self._ending = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"alerts to {self.sender.name}")

    def end(self) -> asyncio.Task[None] | None:
        """Take no more, and try what waits once more, without a pause. The task is done when that is."""
        self._over = True
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(None)
        self._wake.set()
        return self._task

    async def abandon(self) -> None:
        """Stop; what waits is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.waiting:
            self.dropped += len(self.waiting)
            self._log.error("alerts were not sent before the end", target=self.sender.name, dropped=len(self.waiting))
            self.waiting.clear()

    async def _run(self) -> None:
        assert self._ending is not None
        while True:
            while self.waiting:
                await self._deliver(self.waiting[0], self._ending)
                self.waiting.popleft()
            if self._ending.done():
                return
            self._wake.clear()
            await self._wake.wait()

    async def _deliver(self, notice: Notice, ending: asyncio.Future[None]) -> None:
        """Try until it is sent or given up."""
        tries = 0
        while True:
            tries += 1
            last = ending.done()
            problem = await self._try(notice)
            if problem is None:
                self.sent += 1
                self._tell("alert sent", self._log.info, notice, tries=tries)
                return
            pause = min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE) * self._rng.uniform(0.5, 1.0)
            too_late = self._clock.monotonic() + pause > notice.raised + TOO_LATE
            if last or too_late or tries >= TRIES or not problem.passing:
                self.failed += 1
                self._tell("an alert was given up", self._log.error, notice, error=problem.reason, tries=tries)
                return
            if tries == 1:
                wait = {"error": problem.reason, "again_in_s": round(pause, 1)}
                self._tell("an alert could not be sent yet", self._log.warning, notice, **wait)
            await self._clock.wait(ending, pause)

    async def _try(self, notice: Notice) -> Undelivered | None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.sender.send(notice)
        except Undelivered as problem:
            return Undelivered(self._redact(problem.reason), passing=problem.passing)
        except TimeoutError:
            return Undelivered("there was no answer in time", passing=True)
        except Exception as error:  # one alert, or one target, must not end the others
            self._log.error("a mistake in this gateway while an alert was sent", target=self.sender.name, error=error)
            return Undelivered("a mistake in this gateway", passing=False)
        return None

    def _tell(self, event: str, say: Callable[..., None], notice: Notice, **fields: object) -> None:
        say(event, target=self.sender.name, kind=notice.alert.kind.value, subject=notice.alert.subject, **fields)
