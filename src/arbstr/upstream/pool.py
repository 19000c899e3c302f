"""Connections to upstream servers, kept and shared by the requests of one event loop.

The pool decides and never awaits on the way of a request that finds an idle connection. Every deadline, of a read, of a
dial or of a place in the queue, is a number on an object in one set, and one timer looks at them all.
"""

from __future__ import annotations

import asyncio
import contextvars
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from arbstr.upstream.dial import Dial, default_tls
from arbstr.upstream.errors import PoolClosed
from arbstr.upstream.exchange import Exchange, Response
from arbstr.upstream.lane import Lane
from arbstr.upstream.limits import Limits
from arbstr.upstream.origin import Origin
from arbstr.upstream.resolve import Lookup, Resolver
from arbstr.upstream.wire import Connection

__all__ = ["Exchange", "Limits", "Origin", "Pool", "Response", "Stats"]

CLOSED = "the connection pool is closed"
IDLE_SWEEP = 1.0
"""Seconds between sweeps while there are only idle connections to watch."""


class Timed(Protocol):
    """Something with a deadline, an instant of the pool's clock, that is to be told when it has passed."""

    deadline: float

    def expire(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stats:
    """What a pool holds now. ``open`` is ``idle`` + ``busy``; ``slots`` also counts what is being opened."""

    open: int
    idle: int
    busy: int
    connecting: int
    waiting: int
    slots: int


class Pool:
    """HTTP/1.1 connections by origin. To be used from one event loop only.

    `tls` is the context of https origins that bring none; by default certificates are verified against the machine's
    authorities. `lookup` replaces the machine's resolver. `clock` is monotonic, in seconds; deadlines are its instants.
    """

    def __init__(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        clock: Callable[[], float] = time.monotonic,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self._tls = tls
        self._resolver = Resolver(clock=clock, lookup=lookup)
        self._lanes: dict[Origin, Lane] = {}
        self._timed: set[Timed] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._swift = False  # the timer runs at the pace of deadlines, not of idle connections
        self._closed = False

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<Pool origins={len(self._lanes)} open={stats.open} idle={stats.idle} busy={stats.busy} "
            f"connecting={stats.connecting} waiting={stats.waiting}{'' if self._timer else ' unwatched'}>"
        )

    def request(self, origin: Origin, head: bytes, body: bytes, *, connect_timeout: float, until: float) -> Exchange:
        """Return one request to `origin`, not begun yet; entering it sends the request.

        `head` is the request line and the header lines, each with its CRLF, without Content-Length and the blank line.
        `connect_timeout` is in seconds, for address lookup, TCP and TLS together. `until` is the instant by which the
        response head must be here.
        """
        return Exchange(self, origin, head, body, connect_timeout, until)

    def stats(self) -> Stats:
        """Count what is there now, over all origins."""
        lanes = self._lanes.values()
        slots = sum(lane.taken for lane in lanes)
        idle = sum(len(lane.idle) for lane in lanes)
        busy = sum(isinstance(timed, Connection) for timed in self._timed)
        waiting = sum(len(lane.waiters) for lane in lanes)
        return Stats(idle + busy, idle, busy, slots - idle - busy, waiting, slots)

    async def aclose(self) -> None:
        """Close every connection; requests that run or wait fail with PoolClosed."""
        self._closed = True
        error = PoolClosed(CLOSED)
        for lane in self._lanes.values():
            for waiter in tuple(lane.waiters):
                waiter.refuse(error)
            while lane.idle:
                lane.drop(lane.idle.pop())
        for timed in tuple(self._timed):
            if isinstance(timed, Connection):
                if not timed.complete:  # an answer that is all here may still be read
                    timed.fail(error)
            elif isinstance(timed, Dial):
                timed.abandon(error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._resolver.aclose()
        await asyncio.gather(*self._dials, return_exceptions=True)

    # For the exchange.

    def lane(self, origin: Origin) -> Lane:
        """Return the lane of `origin`. It stays the one while a connection or a place in the queue is held there."""
        lane = self._lanes.get(origin)
        if lane is None:
            lane = self._lanes[origin] = Lane(origin, self.limits)
        return lane

    def lend(self, connection: Connection) -> None:
        """Watch the deadlines of a connection from now on."""
        self._watch(connection)
        if self._closed:  # between being granted a connection and using it
            connection.fail(PoolClosed(CLOSED))

    def take_back(self, lane: Lane, connection: Connection, *, reuse: bool) -> None:
        """End the use of a connection; `reuse` tells whether its exchange ended cleanly."""
        self._timed.discard(connection)
        if reuse and not self._closed:
            connection.rest()
            lane.give_back(connection, self.clock())
        else:
            lane.drop(connection)

    async def obtain(self, lane: Lane, connect_timeout: float, until: float) -> Connection:
        """Open a connection, or wait for one where no more may be opened. Raises PoolTimeout, ConnectError."""
        if self._closed:
            raise PoolClosed(CLOSED)
        if not lane.take_slot():
            waiter = lane.enqueue(min(self.clock() + self.limits.pool_wait, until))
            self._watch(waiter)
            try:
                granted = await waiter.granted
            except BaseException:
                lane.leave(waiter)
                raise
            finally:
                self._timed.discard(waiter)
            if granted is not None:
                return granted
        return await self.dial(lane, connect_timeout, until)

    async def redial(self, lane: Lane, stale: Connection, connect_timeout: float, until: float) -> Connection:
        """Open a connection in place of one that died idle."""
        self._timed.discard(stale)
        return await self.dial(lane, connect_timeout, until)

    async def dial(self, lane: Lane, connect_timeout: float, until: float) -> Connection:
        """Open a connection in a slot that the caller holds; the slot is freed if that fails."""
        deadline = min(self.clock() + connect_timeout, until)
        dial = Dial(
            lane.origin,
            tls=self._context(lane.origin),
            resolver=self._resolver,
            create=lambda: Connection(asyncio.get_running_loop(), self.limits, lane.drop_idle),
            timeout=connect_timeout,
            deadline=deadline,
        )
        self._dials.add(dial.task)
        dial.task.add_done_callback(self._dials.discard)
        self._watch(dial)
        try:
            return await dial.result
        except BaseException:
            dial.abandon()
            lane.free_slot()
            raise
        finally:
            self._timed.discard(dial)

    def _context(self, origin: Origin) -> ssl.SSLContext | None:
        """Return the TLS context of `origin`. The default one reads the machine's authorities, so it is made late."""
        if origin.scheme == "http":
            return None
        if origin.tls is not None:
            return origin.tls
        if self._tls is None:
            self._tls = default_tls()
        return self._tls

    # Deadlines.

    def _watch(self, timed: Timed) -> None:
        self._timed.add(timed)
        if not self._swift:
            self._hurry()

    def _hurry(self) -> None:
        """Sweep at the pace of deadlines from now on."""
        if self._timer is not None:
            self._timer.cancel()
        self._swift = True
        self._arm(self.limits.sweep)

    def _arm(self, delay: float) -> None:
        # In an empty context: the timer outlives the request that happened to start it.
        self._timer = asyncio.get_running_loop().call_later(delay, self._sweep, context=contextvars.Context())

    def _sweep(self) -> None:
        """Tell everything whose deadline has passed, close what was idle for too long, and come again if need be."""
        # Armed again before anything else: whatever fails below, deadlines go on being kept.
        self._arm(self.limits.sweep)
        now = self.clock()
        self._swift = bool(self._timed)
        for timed in [timed for timed in self._timed if timed.deadline <= now]:
            timed.expire()
        for lane in tuple(self._lanes.values()):
            lane.expire_idle(now - self.limits.keepalive_idle)
            if lane.unused:
                del self._lanes[lane.origin]
        if not self._swift and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._lanes:
                self._arm(IDLE_SWEEP)
