"""What all connections of one server share: the limits, the clock they are kept by, and the sweep that keeps them.

There is one timer for the whole process instead of one or more per request: a deadline is a number on its connection,
set against a clock that is read twice a second, and arming one costs no more than storing it.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING

from uvicorn.server import ServerState

from arbstr.edge.limits import Limits, Refusal

if TYPE_CHECKING:
    from arbstr.edge.connection import Connection

NEVER = float("inf")

# Where poll cannot report a FIN (anything but Linux), a departure behind unread input is noticed with that input.
_GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR

RefusalHook = Callable[[Refusal, str], None]
"""Called with each refusal and its request id, for metrics and logs. It must not raise."""


def _ignore(refusal: Refusal, request_id: str) -> None:
    pass


class EdgeState(ServerState):
    """Shared by the connections of one server, and known to them as ``edge``."""

    connections: set[Connection]  # type: ignore[assignment]
    stalled: set[Connection]
    """Connections whose peer owes us some reading."""
    paused: set[Connection]
    """Connections that we do not read from, where a FIN would go unseen."""

    def __init__(self, limits: Limits, *, on_refusal: RefusalHook | None = None) -> None:
        super().__init__()
        self.limits = limits
        self.on_refusal = on_refusal or _ignore
        self.stalled = set()
        self.paused = set()
        self.turned_away = 0
        """Connections beyond the limit that still linger over their 503."""
        self.draining = False
        self.now = 0.0
        self.date = b""
        self._date_second = -1
        self._idle: asyncio.Future[None] | None = None

    def tick(self, now: float) -> None:
        """Set the clock to ``now`` (monotonic seconds) and act on every deadline that has passed."""
        self.now = now
        second = int(time.time())
        if second != self._date_second:
            self._date_second = second
            self.date = b"date: " + formatdate(second, usegmt=True).encode()
        for connection in [c for c in self.connections if c.deadline <= now]:
            connection.expire()
        for connection in list(self.stalled):
            connection.check_writing()
        if self.paused:
            self._notice_departures()

    def _notice_departures(self) -> None:
        """Ask the kernel which peers have left connections that we are not reading from."""
        by_fd = {c.transport.get_extra_info("socket").fileno(): c for c in self.paused if not c.transport.is_closing()}
        poll = select.poll()
        for fd in by_fd:
            poll.register(fd, _GONE)
        for fd, _ in poll.poll(0):
            by_fd[fd].peer_left()

    def check_idle(self) -> None:
        """Wake who waits for the end, if this is it."""
        if self._idle is not None and not self._idle.done() and not self.connections and not self.tasks:
            self._idle.set_result(None)

    async def wait_idle(self) -> None:
        """Return when no connection is open and no application task runs."""
        while self.connections or self.tasks:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)
            self._idle = None
