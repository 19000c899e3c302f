"""In which hours the entries of a page can be: what roll-ups know of where to look.

A roll-up says how many requests there were in an hour, and between which cost and which latency. Where several
conditions hold together, and no roll-up is of just these, each condition's roll-ups bound what there can be.
"""

from __future__ import annotations

import math
import sqlite3
from functools import reduce

import msgspec

from arbstr.domain.statistics import Filter
from arbstr.store.filters import Filters
from arbstr.store.ranges import HOUR, LAST, hour_of, text
from arbstr.store.rollups import FACETS, FULL

FEW = 16
"""Combinations of all columns that are looked up in each hour, at most."""


class Hour(msgspec.Struct, frozen=True):
    """Bounds of what an hour has; costs in microsatoshis, None where none is known, latencies in microseconds."""

    start: int
    """Counted from 1970 in UTC."""
    rows: int
    cost_min: int | None
    cost_max: int | None
    latency_min: int
    latency_max: int

    @property
    def range(self) -> tuple[str, str]:
        """Its beginning and its end, as the log writes times."""
        return text(self.start * HOUR), text((self.start + 1) * HOUR)


class Hours(msgspec.Struct, frozen=True):
    """The hours in which there can be anything."""

    found: dict[int, Hour]
    exact: bool
    """``rows`` are not bounds, but how many there are: of all that was added up, whether or not it is still there."""


_BOUNDS = """
SELECT hours.start, sum({rows}), min(r.cost_min), max(r.cost_max), min(r.latency_min), max(r.latency_max)
FROM rollups AS hours CROSS JOIN rollups AS r
WHERE hours.facet = 0 AND hours.span = 1 AND hours.start >= ? AND hours.start < ?
    AND r.facet = ? AND r.span = 1 AND r.start = +hours.start AND r.slice IN ({slices})
GROUP BY hours.start HAVING sum({rows})
"""
# The hours come first, so that of each there is one look-up for each slice, and not a walk through all its slices; the
# plus keeps SQLite from such a walk where there are several slices.


def hours(connection: sqlite3.Connection, which: Filter) -> Hours:
    """Where the rows that match can be, of those that were added up; of the conditions that roll-ups do not know,
    ``status`` and ``min_cost``, the one on the cost is heeded, too."""
    if which.status not in (None, 200):
        return Hours({}, exact=False)  # an index has those, and nobody asks
    filters = Filters.of(which)
    of_rows = [name for name in filters.columns if name in ("success", "streaming")]
    names = [name for name in filters.columns if name not in of_rows]
    first, last = _span(connection, which)
    if len(names) > 1 or len(of_rows) > 1:
        slices = _slices(connection, FULL, filters)
        if len(slices) <= FEW:
            found = _bounds(connection, FULL, slices, "r.requests", first, last)
            return Hours(_dear(found, which), exact=filters.rolled)
    counted = _counted(which)
    parts = [
        _bounds(connection, facet, _slices(connection, facet, _alone(which, name)), counted, first, last)
        for facet, name in ((_facet(name), name) for name in names or [""])
    ]
    return Hours(_dear(reduce(_both, parts), which), exact=filters.rolled and len(parts) == 1 and len(of_rows) <= 1)


def _span(connection: sqlite3.Connection, which: Filter) -> tuple[int, int]:
    """The hours of the range, from the first in which there is still a row."""
    (oldest,) = connection.execute("SELECT min(timestamp) FROM requests").fetchone()
    if oldest is None:
        return 0, 0
    first = max(0 if which.since is None else math.floor(which.since / HOUR), hour_of(oldest))
    return first, math.ceil((LAST if which.until is None else which.until) / HOUR)


def _facet(name: str) -> int:
    return next(facet for facet, names in FACETS.items() if names == ((name,) if name else ()))


def _alone(which: Filter, name: str) -> Filters:
    alone = Filter()
    return Filters.of(msgspec.structs.replace(alone, **{name: getattr(which, name)}) if name else alone)


def _slices(connection: sqlite3.Connection, facet: int, filters: Filters) -> list[int]:
    query = f"SELECT id FROM slices WHERE facet = ? AND {filters.slices}"
    return [id for (id,) in connection.execute(query, [facet, *filters.slice_values])]


def _counted(which: Filter) -> str:
    """How many of a roll-up's requests can match, in SQL."""
    known = {
        (True, None): "r.successes",
        (False, None): "r.requests - r.successes",
        (None, True): "r.streamed",
        (None, False): "r.requests - r.streamed",
    }
    return known.get((which.success, which.streaming), "r.requests")


def _bounds(
    connection: sqlite3.Connection, facet: int, slices: list[int], rows: str, first: int, last: int
) -> dict[int, Hour]:
    query = _BOUNDS.format(rows=rows, slices=", ".join(map(str, slices)))
    return {values[0]: Hour(*values) for values in connection.execute(query, [first, last, facet])}


def _both(one: dict[int, Hour], other: dict[int, Hour]) -> dict[int, Hour]:
    """The bounds of what both conditions hold for."""
    return {start: _narrower(hour, other[start]) for start, hour in one.items() if start in other}


def _narrower(one: Hour, other: Hour) -> Hour:
    known = one.cost_max is not None and other.cost_max is not None
    return Hour(
        one.start,
        min(one.rows, other.rows),
        max(one.cost_min or 0, other.cost_min or 0) if known else None,
        min(one.cost_max or 0, other.cost_max or 0) if known else None,
        max(one.latency_min, other.latency_min),
        min(one.latency_max, other.latency_max),
    )


def _dear(found: dict[int, Hour], which: Filter) -> dict[int, Hour]:
    """Those in which something can have cost as much as is asked for."""
    least = which.min_cost
    if least is None:
        return found
    return {start: hour for start, hour in found.items() if hour.cost_max is not None and hour.cost_max >= least}
