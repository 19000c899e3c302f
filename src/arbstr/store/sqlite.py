"""The request log in a SQLite file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from arbstr.domain.record import AttemptRecord, RequestRecord
from arbstr.domain.statistics import Filter, Sort
from arbstr.ports import LogHealth, Page
from arbstr.store.connection import open_writer
from arbstr.store.lock import ServingLock
from arbstr.store.reader import Reader
from arbstr.store.writer import OnProblem, Writer

QUEUE_LIMIT = 20_000
"""Rows that may wait to be written: several seconds of the heaviest traffic, in a few tens of megabytes."""
OPEN_WAIT = 5.0
"""Seconds for which the start waits for a lock of somebody else, for example of the command line."""
JOIN_GRACE = 2.0
"""Seconds after its deadline in which the writer may finish the try that it is in."""


class SqliteLog:
    """Implements :class:`~arbstr.ports.RequestLog`: one writer thread, a few reading ones, one file.

    ``request``, ``health`` and the queries belong to the event loop's thread; ``flush`` and ``close`` block and may be
    called from anywhere.
    """

    def __init__(self, lock: ServingLock, writer: Writer, reader: Reader) -> None:
        self._lock = lock
        self._writer = writer
        self._reader = reader

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        on_problem: OnProblem,
        queue_limit: int = QUEUE_LIMIT,
        flush_interval: float = 0.1,
        read_timeout: float = 5.0,
    ) -> SqliteLog:
        """Lock the file for this process, create it where it is missing, bring its schema up to date, and start.

        ``flush_interval`` is how many seconds a row waits at most before it is written. ``on_problem`` is told once
        that the log cannot be written, and once, with ``recovered=True`` among the fields, that it can again; it is
        called in the writer's thread. Raises StoreError, with one clear line, where the file cannot be used.
        """
        path = path.resolve()
        lock = ServingLock.acquire(path)
        try:
            connection = open_writer(path, wait=OPEN_WAIT)
        except BaseException:
            lock.release()
            raise
        writer = Writer(path, connection, on_problem=on_problem, queue_limit=queue_limit, flush_interval=flush_interval)
        return cls(lock, writer, Reader(path, timeout=read_timeout))

    def attempt(self, record: AttemptRecord) -> None:
        """Nothing: attempts are written with their request."""

    def request(self, record: RequestRecord) -> None:
        """Queue a row; a full queue drops and counts it. Returns at once and never raises."""
        self._writer.put(record)

    async def page(
        self,
        which: Filter,
        *,
        page: int = 1,
        per_page: int,
        sort: Sort = Sort.TIMESTAMP,
        descending: bool = True,
        cursor: str | None = None,
    ) -> Page:
        """One page of the entries that match; see :class:`~arbstr.ports.RequestLog`."""
        return await self._reader.page(
            which, page=page, per_page=per_page, sort=sort, descending=descending, cursor=cursor
        )

    async def find(self, request_id: str, *, key_id: str | None = None) -> dict[str, Any] | None:
        """One entry with its attempts, or None; with ``key_id``, of that key's alone."""
        return await self._reader.find(request_id, key_id=key_id)

    def health(self) -> LogHealth:
        return self._writer.health()

    def flush(self, timeout: float) -> bool:
        """Wait until everything handed over so far is settled, at most ``timeout`` seconds; whether it is."""
        return self._writer.flush(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, for at most ``timeout`` seconds, and let the file go; whether all was written."""
        self._writer.stop(timeout)
        self._reader.close()
        written = self._writer.join(timeout + JOIN_GRACE)
        self._lock.release()
        return written

    async def aclose(self, timeout: float = 5.0) -> bool:
        """:meth:`close` without blocking the event loop."""
        self._writer.stop(timeout)  # here, so that it cannot happen between the two halves of a `request`
        return await asyncio.to_thread(self.close, timeout)
