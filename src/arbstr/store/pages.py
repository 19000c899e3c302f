"""One page of the request log: in which order, from where on, and how many entries there are."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from arbstr.domain.statistics import Filter, Sort
from arbstr.ports import Page
from arbstr.store import ranking
from arbstr.store.counting import count
from arbstr.store.cursors import Cursor, cursor_of
from arbstr.store.hours import hours
from arbstr.store.matching import where
from arbstr.store.rows import entry

COUNTED = 100_000
"""Entries that are counted; how many more there are is estimated."""
RANKED = 20_000
"""Entries that are looked for by roll-ups; a page further down is sorted as a whole."""

_FREE = Filter()


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
    ranked: int = RANKED,
) -> Page:
    """As :meth:`~arbstr.ports.RequestLog.page`, on one moment of the log; more than ``counted`` entries are estimated.

    Those that are equal in what is sorted by stand in the order in which they were written, or against it where the
    order is descending. What comes before the ``ranked``-th entry is found without a look at everything.
    """
    begin = None if cursor is None else cursor_of(cursor, sort=sort, descending=descending)
    if which.status == 200:  # a success, said so that roll-ups know it
        if which.success is False:
            return Page([], 0)
        which = msgspec.structs.replace(which, status=None, success=True)
    known = hours(connection, which)
    total = count(connection, which, known, most=counted)
    offset = (page - 1) * per_page if begin is None else 0
    (most,) = connection.execute("SELECT coalesce(max(id), 0) FROM requests").fetchone()
    if offset >= (most if total.estimated else total.rows):  # nothing there, and perhaps a number too large for SQLite
        return Page([], total.rows, total.estimated)
    wanted = offset + per_page + 1
    if begin is None and not total.estimated:
        wanted = min(wanted, total.rows)
    if wanted > ranked or _is_indexed(which, sort):
        ids = _sorted(connection, which, sort, descending, begin, wanted - offset, offset)
    else:
        found = ranking.first(connection, which, known, count=wanted, sort=sort, descending=descending, begin=begin)
        ids = found[offset:]
    marks = ", ".join(map(str, ids[:per_page]))
    rows = {row["id"]: row for row in connection.execute(f"SELECT * FROM requests WHERE id IN ({marks})")}
    shown = [rows[id] for id in ids[:per_page]]
    following = None
    if len(ids) > per_page:
        following = Cursor(sort, descending, shown[-1][ranking.COLUMNS[sort]], shown[-1]["id"]).text()
    return Page([entry(row) for row in shown], total.rows, total.estimated, following)


def _is_indexed(which: Filter, sort: Sort) -> bool:
    """Whether an index has them in order, or has few enough to sort: what failed, and what a key asked for."""
    if which.status not in (None, 200) or (which.success is False and sort is not Sort.TIMESTAMP):
        return True
    others = msgspec.structs.replace(which, since=None, until=None, key_id=None)
    return sort is Sort.TIMESTAMP and others == _FREE


def _sorted(
    connection: sqlite3.Connection,
    which: Filter,
    sort: Sort,
    descending: bool,
    begin: Cursor | None,
    limit: int,
    offset: int,
) -> list[int]:
    """The ids of the entries on a page, by SQLite's own means."""
    conditions, values = where(which)
    if which.success is False:
        conditions += " AND error_status IS NOT NULL"  # so that the index of what failed is of use
    if begin is not None:
        after, more = _after(begin)
        conditions, values = f"{conditions} AND {after}", [*values, *more]
    direction = "DESC" if descending else "ASC"
    order = f"{ranking.COLUMNS[sort]} {direction} NULLS LAST, id {direction}"
    query = f"SELECT id FROM requests WHERE {conditions} ORDER BY {order} LIMIT ? OFFSET ?"
    return [id for (id,) in connection.execute(query, [*values, limit, offset])]


def _after(place: Cursor) -> tuple[str, list[Any]]:
    """The condition that an entry comes later in the order."""
    column, sign = ranking.COLUMNS[place.sort], "<" if place.descending else ">"
    if place.value is None:
        return f"{column} IS NULL AND id {sign} ?", [place.id]
    later = f"({column}, id) {sign} (?, ?)"
    if place.sort is Sort.COST:
        later = f"({later} OR {column} IS NULL)"
    return later, [place.value, place.id]
