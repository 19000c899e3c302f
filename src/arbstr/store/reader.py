"""The queries of the request log, in threads of their own."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from arbstr.ports import Page
from arbstr.store.read_pool import ReadPool
from arbstr.store.rows import entry, entry_with_attempts, storable, time_text

THREADS = 2
"""Queries at a time."""

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
    """What ``/v1/requests`` shows.

    ``path`` is absolute. A query that takes longer than ``timeout`` seconds is stopped. Everything that goes wrong is
    raised as LogUnavailable.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._pool = ReadPool(path, name="The request log", threads=THREADS, timeout=timeout)

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

        return await self._pool.run(work)

    async def find(self, request_id: str, *, key_id: str | None = None) -> dict[str, Any] | None:
        """The entry of one request with its attempts in their order, or None. With ``key_id``, of that key's alone."""
        key = storable(request_id)

        def work(connection: sqlite3.Connection) -> dict[str, Any] | None:
            row = connection.execute("SELECT * FROM requests WHERE correlation_id = ?", [key]).fetchone()
            if row is None or (key_id is not None and row["key_id"] != key_id):
                return None
            attempts = connection.execute("SELECT * FROM attempts WHERE request_id = ? ORDER BY ordinal", [key])
            return entry_with_attempts(row, attempts)

        return await self._pool.run(work)

    def close(self) -> None:
        """Stop running queries, which raise LogUnavailable, and answer no more."""
        self._pool.close()
