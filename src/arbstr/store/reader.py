"""The queries of the request log, in threads of their own."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from arbstr.domain.statistics import Filter, Sort
from arbstr.ports import Page
from arbstr.store.pages import page_of
from arbstr.store.read_pool import ReadPool
from arbstr.store.rows import entry_with_attempts, storable

THREADS = 2
"""Queries at a time."""


class Reader:
    """What ``/v1/requests`` shows.

    ``path`` is absolute. A query that takes longer than ``timeout`` seconds is stopped. Everything that goes wrong is
    raised as LogUnavailable.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._pool = ReadPool(path, name="The request log", threads=THREADS, timeout=timeout)

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
        """As :meth:`~arbstr.ports.RequestLog.page`."""

        def work(connection: sqlite3.Connection) -> Page:
            return page_of(
                connection, which, page=page, per_page=per_page, sort=sort, descending=descending, cursor=cursor
            )

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
