"""One page of the request log: in which order, from where on, and how many entries there are."""

from __future__ import annotations

import sqlite3
from typing import Any

from arbstr.domain.statistics import Filter, Sort
from arbstr.ports import Page
from arbstr.store.cursors import Cursor, cursor_of
from arbstr.store.matching import where
from arbstr.store.rows import entry

COUNTED = 100_000
"""Entries that are counted one by one; more are estimated."""

COLUMNS = {Sort.TIMESTAMP: "timestamp", Sort.COST: "cost_micro_sats", Sort.LATENCY: "latency_ms"}


def page_of(
    connection: sqlite3.Connection,
    which: Filter,
    *,
    page: int,
    per_page: int,
    sort: Sort,
    descending: bool,
    cursor: str | None,
    counted: int = COUNTED,
) -> Page:
    """As :meth:`~arbstr.ports.RequestLog.page`; more than ``counted`` entries are estimated.

    Those that are equal in what is sorted by stand in the order in which they were written, or against it where the
    order is descending.
    """
    begin = None if cursor is None else cursor_of(cursor, sort=sort, descending=descending)
    total, estimated = count(connection, which, most=counted)
    offset = (page - 1) * per_page if begin is None else 0
    (most,) = connection.execute("SELECT coalesce(max(id), 0) FROM requests").fetchone()
    if offset >= (most if estimated else total):  # nothing there, and perhaps a number too large for SQLite
        return Page([], total, estimated)
    conditions, values = where(which)
    if begin is not None:
        after, more = _after(begin)
        conditions, values = f"{conditions} AND {after}", [*values, *more]
    direction = "DESC" if descending else "ASC"
    order = f"{COLUMNS[sort]} {direction} NULLS LAST, id {direction}"
    query = f"SELECT * FROM requests WHERE {conditions} ORDER BY {order} LIMIT ? OFFSET ?"
    rows = connection.execute(query, [*values, per_page + 1, offset]).fetchall()
    shown = rows[:per_page]
    last = None
    if len(rows) > len(shown):
        last = Cursor(sort, descending, shown[-1][COLUMNS[sort]], shown[-1]["id"]).text()
    return Page([entry(row) for row in shown], total, estimated, last)


def count(connection: sqlite3.Connection, which: Filter, *, most: int) -> tuple[int, bool]:
    """How many entries match, and whether that is an estimate."""
    conditions, values = where(which)
    query = f"SELECT count(*) FROM (SELECT 1 FROM requests WHERE {conditions} LIMIT ?)"
    (total,) = connection.execute(query, [*values, most + 1]).fetchone()
    return total, total > most


def _after(place: Cursor) -> tuple[str, list[Any]]:
    """The condition that an entry comes later in the order."""
    column, sign = COLUMNS[place.sort], "<" if place.descending else ">"
    if place.value is None:
        return f"{column} IS NULL AND id {sign} ?", [place.id]
    later = f"({column}, id) {sign} (?, ?)"
    if place.sort is Sort.COST:
        later = f"({later} OR {column} IS NULL)"
    return later, [place.value, place.id]
