"""Rows of the request log as they come."""

from __future__ import annotations

import sqlite3
from typing import Any

from arbstr.domain.statistics import Filter
from arbstr.store.matching import where
from arbstr.store.rows import entry

MOST = 1_000
"""Rows that are handed out at a time."""


def latest(connection: sqlite3.Connection, which: Filter, *, most: int) -> tuple[int, list[dict[str, Any]]]:
    """The entries that were written last, in that order, and the id after which new ones come. Raises sqlite3.Error."""
    condition, values = where(which)
    query = f"SELECT * FROM requests WHERE {condition} AND id <= ? ORDER BY id DESC LIMIT ?"
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM requests").fetchone()
    rows = connection.execute(query, [*values, last, most]).fetchall()
    return last, [entry(row) for row in reversed(rows)]


def newer(connection: sqlite3.Connection, which: Filter, *, after: int) -> tuple[int, list[dict[str, Any]]]:
    """The next entries after the id ``after``, MOST of them at most, and the id to go on from. Raises sqlite3.Error."""
    condition, values = where(which)
    query = f"SELECT * FROM requests WHERE id > ? AND id <= ? AND {condition} ORDER BY id LIMIT ?"
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM requests").fetchone()
    rows = connection.execute(query, [after, last, *values, MOST]).fetchall()
    return rows[-1]["id"] if len(rows) == MOST else max(last, after), [entry(row) for row in rows]
