"""Threads that read the database, each with a connection that only it uses at the time."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from arbstr.domain.errors import LogUnavailable, QueryTimeout
from arbstr.store.connection import LOCK_WAIT, identity, open_reader

T = TypeVar("T")

_OPERATIONS_PER_LOOK = 20_000
"""How many steps of SQLite's machine, about a millisecond, pass between two looks at the clock."""


class ReadPool:
    """Reads with connections of its own, so that it never waits for the writer: in WAL mode neither blocks the other.

    ``path`` is absolute. ``threads`` queries run at a time; others wait for their turn, within the same deadline: what
    takes longer than ``timeout`` seconds is stopped. A lock of somebody else is waited for, ``lock_wait`` seconds at
    most. ``name`` is what is read, in the words of an error: all that goes wrong is raised as LogUnavailable, what
    takes too long as QueryTimeout, which gives the ``advice``.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        threads: int,
        timeout: float,
        lock_wait: float = LOCK_WAIT,
        advice: str = "",
    ) -> None:
        self._path = path
        self._name = name
        self._advice = advice
        self._timeout = timeout
        self._lock_wait = lock_wait
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="arbstr-reader")
        self._idle: list[tuple[sqlite3.Connection, tuple[int, int] | None]] = []
        self._closed = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in a thread, on one snapshot of the database."""
        if self._closed:
            raise LogUnavailable(f"{self._name} is closed.", retry_after=1.0)
        deadline = time.monotonic() + self._timeout
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._threads, self._in_transaction, work, deadline)
        except TimeoutError as error:
            raise self._too_slow() from error
        except (sqlite3.Error, OSError, ValueError) as error:
            if time.monotonic() > deadline and _is_stopped(error):
                raise self._too_slow() from error
            raise LogUnavailable(f"{self._name} cannot be read: {error}.", retry_after=1.0) from error

    def _too_slow(self) -> QueryTimeout:
        return QueryTimeout(
            f"{self._name} did not answer in time.{self._advice and ' '}{self._advice}", retry_after=1.0
        )

    def close(self) -> None:
        """Stop what is running, which raises LogUnavailable, and answer no more."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        while self._idle:
            self._idle.pop()[0].close()

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T], deadline: float) -> T:
        """Do ``work`` with a connection that is kept for the next if all went well."""
        connection, opened = self._take()
        try:
            connection.set_progress_handler(lambda: self._closed or time.monotonic() > deadline, _OPERATIONS_PER_LOOK)
            connection.execute("BEGIN")
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._idle.append((connection, opened))
        return result

    def _take(self) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
        current = identity(self._path)
        while self._idle:
            connection, opened = self._idle.pop()
            if opened == current:
                return connection, opened
            connection.close()  # of a file that is gone
        connection = open_reader(self._path)
        connection.execute(f"PRAGMA busy_timeout = {self._lock_wait * 1000:.0f}")
        return connection, current


def _is_stopped(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
