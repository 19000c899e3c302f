"""The connections to one origin: who has one, which are idle, who waits."""

from __future__ import annotations

import asyncio
from collections import deque

from arbstr.upstream.errors import PoolTimeout, TransportError
from arbstr.upstream.limits import Limits
from arbstr.upstream.origin import Origin
from arbstr.upstream.wire import Connection


class Waiter:
    """A request in the queue. ``granted`` becomes an open connection, or None: a slot to open one in."""

    __slots__ = ("deadline", "granted")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.granted: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()

    def expire(self) -> None:
        """Called by the sweep when ``deadline`` has passed."""
        self.refuse(PoolTimeout("no connection was free in time"))

    def refuse(self, error: TransportError) -> None:
        """End the waiting with `error`."""
        if not self.granted.done():
            self.granted.set_exception(error)


class Lane:
    """Slots and connections of one origin. Nothing here awaits.

    A slot is the right to one connection: it is taken before dialling and given back when the connection is closed. A
    request that is done hands its connection, or its slot, straight to the first in the queue, so that nobody who comes
    later can overtake.
    """

    __slots__ = ("idle", "limits", "origin", "taken", "waiters")

    def __init__(self, origin: Origin, limits: Limits) -> None:
        self.origin = origin
        self.limits = limits
        self.idle: deque[Connection] = deque()  # the one used last is on the right, and goes first
        self.taken = 0  # slots: connections that are open or being opened
        self.waiters: deque[Waiter] = deque()

    @property
    def unused(self) -> bool:
        """Nobody has a connection or waits for one."""
        return not self.taken and not self.waiters

    def take_idle(self) -> Connection | None:
        """Return the connection used last, None if there is none."""
        return self.idle.pop() if self.idle else None

    def take_slot(self) -> bool:
        """Take a slot if one is free."""
        if self.taken < self.limits.max_connections:
            self.taken += 1
            return True
        return False

    def enqueue(self, deadline: float) -> Waiter:
        """Join the queue. Raises PoolTimeout at once when it is full."""
        if len(self.waiters) >= self.limits.max_waiting:
            raise PoolTimeout("too many requests wait for a connection")
        waiter = Waiter(deadline)
        self.waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Leave the queue, unserved; what was granted in the same instant goes to the next."""
        if waiter.granted.done():
            if waiter.granted.cancelled() or waiter.granted.exception() is not None:
                self._forget(waiter)
            elif (connection := waiter.granted.result()) is not None:
                self.give_back(connection, connection.idle_since)
            else:
                self.free_slot()
        else:
            self._forget(waiter)

    def give_back(self, connection: Connection, now: float) -> None:
        """Take a connection back: to the first in the queue, or to the idle ones."""
        connection.idle_since = now
        if connection.closed:
            self.drop(connection)
        elif waiter := self._next():
            waiter.granted.set_result(connection)
        else:
            self.idle.append(connection)

    def drop(self, connection: Connection) -> None:
        """Close a connection that is not idle, and free its slot."""
        connection.close()
        self.free_slot()

    def drop_idle(self, connection: Connection) -> None:
        """Close an idle connection; anything else is left alone."""
        if connection in self.idle:
            self.idle.remove(connection)
            self.drop(connection)

    def free_slot(self) -> None:
        """Give a slot to the first in the queue, or back."""
        if waiter := self._next():
            waiter.granted.set_result(None)
        else:
            self.taken -= 1

    def expire_idle(self, before: float) -> None:
        """Close what has not been used since `before`."""
        while self.idle and self.idle[0].idle_since <= before:
            self.drop(self.idle.popleft())

    def _next(self) -> Waiter | None:
        """Remove and return the first who still waits."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.granted.done():
                return waiter
        return None

    def _forget(self, waiter: Waiter) -> None:
        if waiter in self.waiters:
            self.waiters.remove(waiter)
