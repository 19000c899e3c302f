"""All alerts go through here: each cause once, to every target, in nobody's way."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence

from arbstr.domain.alert import Alert, AlertCounts, Cause
from arbstr.notify.lane import Lane
from arbstr.notify.notice import Redact, notice_of
from arbstr.notify.sender import Sender
from arbstr.ports import Clock, Log

REMEMBERED = 10_000
"""Causes that are not told again; beyond that the oldest are forgotten."""


def _new_id() -> str:
    return str(uuid.uuid4())


class Dispatcher:
    """Implements :class:`~arbstr.ports.Alerts`. To be used from one event loop, that of :meth:`start`.

    ``redact`` masks secrets in whatever leaves the process.
    """

    def __init__(
        self,
        senders: Sequence[Sender],
        *,
        clock: Clock,
        log: Log,
        redact: Redact,
        rng: random.Random | None = None,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        rng = rng if rng is not None else random.Random()
        self._lanes = tuple(Lane(sender, clock=clock, log=log, redact=redact, rng=rng) for sender in senders)
        self._clock = clock
        self._log = log
        self._redact = redact
        self._new_id = new_id
        self._told: dict[Cause, None] = {}

    def start(self) -> None:
        """Send from now on, also what was raised before."""
        for lane in self._lanes:
            lane.start()

    def raise_alert(self, alert: Alert) -> None:
        """Queue it for every target, unless its cause was told already. Returns at once and never raises."""
        try:
            if alert.cause not in self._told:
                self._remember(alert.cause)
                self._queue(alert)
        except Exception as error:  # whoever raises alerts has more important things to do
            self._log.error("a mistake in this gateway while an alert was raised", error=error)

    def counts(self) -> AlertCounts:
        lanes = self._lanes
        return AlertCounts(
            sent=sum(lane.sent for lane in lanes),
            failed=sum(lane.failed for lane in lanes),
            dropped=sum(lane.dropped for lane in lanes),
            waiting=sum(len(lane.waiting) for lane in lanes),
        )

    async def aclose(self, timeout: float) -> None:
        """Take no more; what waits is tried once more, within ``timeout`` seconds, and then dropped."""
        tasks = [task for lane in self._lanes if (task := lane.end()) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        for lane in self._lanes:
            await lane.abandon()

    def _remember(self, cause: Cause) -> None:
        if len(self._told) >= REMEMBERED:
            del self._told[next(iter(self._told))]
        self._told[cause] = None

    def _queue(self, alert: Alert) -> None:
        notice = notice_of(alert, id=self._new_id(), raised=self._clock.monotonic(), redact=self._redact)
        for lane in self._lanes:
            lane.put(notice)
