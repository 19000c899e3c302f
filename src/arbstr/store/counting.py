"""How many entries match: exactly while they are few, and else about how many."""

from __future__ import annotations

import math
import sqlite3

import msgspec

from arbstr.domain.statistics import Filter
from arbstr.store.filters import Filters
from arbstr.store.hours import Hours
from arbstr.store.matching import where
from arbstr.store.ranges import DAY, HOUR, LAST, Cut, cut, text
from arbstr.store.removal import rows_from
from arbstr.store.rollups import FULL, mark


class Total(msgspec.Struct, frozen=True):
    rows: int
    estimated: bool = False


_SUM = """
SELECT coalesce(sum(r.requests), 0)
FROM rollups AS hours CROSS JOIN slices CROSS JOIN rollups AS r
WHERE hours.facet = 0 AND hours.span = ? AND hours.start >= ? AND hours.start < ?
    AND slices.facet = ? AND {slices}
    AND r.facet = slices.facet AND r.span = hours.span AND r.start = +hours.start AND r.slice = slices.id
"""


def count(connection: sqlite3.Connection, which: Filter, known: Hours, *, most: int) -> Total:
    """Exact up to ``most``. ``known`` is where the rows can be."""
    if which.status not in (None, 200):
        return _few(connection, which, most)  # there is an index of what failed
    rolled_to = mark(connection)
    conditions, values = where(which)
    beyond = f"SELECT count(*) FROM requests NOT INDEXED WHERE id > ? AND {conditions}"
    (new,) = connection.execute(beyond, [rolled_to, *values]).fetchone()
    if not Filters.of(which).rolled:
        return _one_by_one(connection, which, known, new, most)
    removed = rows_from(connection) or 0.0
    since = removed if which.since is None else max(which.since, removed)
    until = float(LAST) if which.until is None else max(which.until, since)
    stretch = cut(since, until)
    total = new + _whole(connection, which, known, stretch)
    if total > most:
        return Total(total, estimated=True)
    first, last = stretch.whole
    parts = [(since, first * HOUR), (last * HOUR, until)] if first < last else [(since, until)]
    query = f"SELECT count(*) FROM requests WHERE timestamp >= ? AND timestamp < ? AND id <= ? AND {conditions}"
    for begin, end in (*parts, (0.0, removed)):  # what is being removed is to be counted one by one, too
        (rows,) = connection.execute(query, [text(begin), text(end), rolled_to, *values]).fetchone()
        total += rows
    return Total(total, total > most)


def _whole(connection: sqlite3.Connection, which: Filter, known: Hours, stretch: Cut) -> int:
    """How many there are in whole hours."""
    if known.exact:
        first, last = stretch.whole
        return sum(hour.rows for hour in known.found.values() if first <= hour.start < last)
    filters, total = Filters.of(which), 0
    for span, hours in ((DAY, stretch.days), *((1, each) for each in stretch.hours)):
        found = connection.execute(_SUM.format(slices=filters.slices), [span, *hours, FULL, *filters.slice_values])
        total += found.fetchone()[0]
    return total


def _one_by_one(connection: sqlite3.Connection, which: Filter, known: Hours, new: int, most: int) -> Total:
    """Counted hour by hour, the newest first; of those that are not reached, as many as of the others."""
    conditions, values = where(which)
    query = f"SELECT count(*) FROM requests WHERE timestamp >= ? AND timestamp < ? AND id <= ? AND {conditions}"
    rolled_to = mark(connection)
    total, looked_at, possible = new, 0, sum(hour.rows for hour in known.found.values())
    for start in sorted(known.found, reverse=True):
        hour = known.found[start]
        (rows,) = connection.execute(query, [*hour.range, rolled_to, *values]).fetchone()
        total, looked_at = total + rows, looked_at + hour.rows
        if total > most:
            return Total(math.ceil(total * possible / looked_at), estimated=True)
    return Total(total, total > most)


def _few(connection: sqlite3.Connection, which: Filter, most: int) -> Total:
    conditions, values = where(which)
    query = f"SELECT count(*) FROM (SELECT 1 FROM requests WHERE {conditions} LIMIT ?)"
    (total,) = connection.execute(query, [*values, most + 1]).fetchone()
    return Total(total, total > most)
