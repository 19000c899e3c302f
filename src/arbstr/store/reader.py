"""The queries of the request log, in threads of their own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from arbstr.domain.errors import LogUnavailable
from arbstr.ports import Page
from arbstr.store.connection import identity, open_reader
from arbstr.store.rows import entry, entry_with_attempts, storable, time_text

T = TypeVar("T")

THREADS = 2
"""Queries at a time; others wait for their turn, within the same deadline."""
_OPERATIONS_PER_LOOK = 20_000
"""How many steps of SQLite's machine, about a millisecond, pass between two looks at the clock."""

_ORDERS = {"asc": "timestamp ASC, id ASC", "desc": "timestamp DESC, id DESC"}
_FILTERS = {
    "since": "timestamp >= ?",
    "until": "timestamp < ?",
    "model": "model = ?",
    "provider": "provider = ?",
    "success": "success = ?",
    "streaming": "streaming = ?",
    "key_id": "key_id = ?",
}


class Reader:
    """Reads with connections of its own, so that it never waits for the writer: in WAL mode neither blocks the other.

    ``path`` is absolute. A query that takes longer than ``timeout`` seconds is stopped. Everything that goes wrong is
    raised as LogUnavailable.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="arbstr-log-reader")
        self._idle: list[tuple[sqlite3.Connection, tuple[int, int] | None]] = []
        self._closed = False

    async def page(
        self,
        *,
        page: int,
        per_page: int,
        order: str = "desc",
        since: float | None = None,
        until: float | None = None,
        model: str | None = None,
        provider: str | None = None,
        success: bool | None = None,
        streaming: bool | None = None,
        key_id: str | None = None,
    ) -> Page:
        """The ``page``-th page, from 1, of the entries that match every filter given; ``total`` counts all of them.

        ``order`` is ``desc``, newest first, or ``asc``. ``since`` is part of the range, ``until`` is not; both are in
        seconds since the epoch.
        """
        given = {
            "since": None if since is None else time_text(since),
            "until": None if until is None else time_text(until),
            "model": storable(model),
            "provider": storable(provider),
            "success": success,
            "streaming": streaming,
            "key_id": storable(key_id),
        }
        filters = {name: value for name, value in given.items() if value is not None}
        where = " AND ".join(_FILTERS[name] for name in filters) or "1"
        values = list(filters.values())
        offset = (page - 1) * per_page

        def work(connection: sqlite3.Connection) -> Page:
            (total,) = connection.execute(f"SELECT count(*) FROM requests WHERE {where}", values).fetchone()
            entries: list[dict[str, Any]] = []
            if offset < total:  # beyond, nothing; and a number too large for SQLite stays here
                query = f"SELECT * FROM requests WHERE {where} ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?"
                entries = [entry(row) for row in connection.execute(query, [*values, per_page, offset])]
            return Page(entries=entries, total=total, since=since, until=until)

        return await self._read(work)

    async def find(self, request_id: str, *, key_id: str | None = None) -> dict[str, Any] | None:
        """The entry of one request with its attempts in their order, or None. With ``key_id``, of that key's alone."""
        key = storable(request_id)

        def work(connection: sqlite3.Connection) -> dict[str, Any] | None:
            row = connection.execute("SELECT * FROM requests WHERE correlation_id = ?", [key]).fetchone()
            if row is None or (key_id is not None and row["key_id"] != key_id):
                return None
            attempts = connection.execute("SELECT * FROM attempts WHERE request_id = ? ORDER BY ordinal", [key])
            return entry_with_attempts(row, attempts)

        return await self._read(work)

    def close(self) -> None:
        """Stop running queries, which raise LogUnavailable, and answer no more."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        while self._idle:
            self._idle.pop()[0].close()

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise LogUnavailable("The request log is closed.", retry_after=1.0)
        deadline = time.monotonic() + self._timeout
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._threads, self._in_transaction, work, deadline)
        except TimeoutError as error:
            raise LogUnavailable("The request log did not answer in time.", retry_after=1.0) from error
        except (sqlite3.Error, OSError) as error:
            raise LogUnavailable(f"The request log cannot be read: {error}.", retry_after=1.0) from error

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T], deadline: float) -> T:
        """Do ``work`` on one snapshot of the database, with a connection that is kept for the next if all went well."""
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
        return open_reader(self._path), current
