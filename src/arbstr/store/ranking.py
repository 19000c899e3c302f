"""The first entries in an order, found where they can be: hour by hour, the most promising first.

What an hour has is bounded by its roll-ups. Once as many entries are found as are wanted, and no hour that is left can
have one that would come before the last of them, there is nothing more to look at.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from arbstr.domain.statistics import Filter, Sort
from arbstr.store.cursors import Cursor
from arbstr.store.hours import Hour, Hours
from arbstr.store.matching import where
from arbstr.store.rollups import mark

COLUMNS = {Sort.TIMESTAMP: "timestamp", Sort.COST: "cost_micro_sats", Sort.LATENCY: "latency_ms"}

Place = tuple[Any, int]
"""What is sorted by, and the id."""

_BEST: dict[Sort, dict[bool, Callable[[Hour], Any]]] = {
    Sort.TIMESTAMP: {True: lambda hour: hour.range[1], False: lambda hour: hour.range[0]},
    Sort.COST: {True: lambda hour: hour.cost_max, False: lambda hour: hour.cost_min},
    Sort.LATENCY: {  # a microsecond more, or less: they were rounded
        True: lambda hour: (hour.latency_max + 1) / 1000,
        False: lambda hour: (hour.latency_min - 1) / 1000,
    },
}
"""The best that an hour can have, where the order is descending and where it is not."""


def first(
    connection: sqlite3.Connection,
    which: Filter,
    known: Hours,
    *,
    count: int,
    sort: Sort,
    descending: bool,
    begin: Cursor | None,
) -> list[int]:
    """The ids of the first ``count`` entries after ``begin``, in order; ``known`` is where they can be."""
    search = _Search(connection, which, sort, descending, begin)
    places: list[Place] = []
    if begin is None or begin.value is not None:
        places = search.known(known.found.values(), count)
    ids = [id for _, id in places]
    if sort is Sort.COST and len(ids) < count:
        ids += search.unknown(count - len(ids))
    return ids


class _Search:
    def __init__(
        self, connection: sqlite3.Connection, which: Filter, sort: Sort, descending: bool, begin: Cursor | None
    ) -> None:
        self._connection = connection
        self._rolled_to = mark(connection)
        self._conditions, self._values = where(which)
        self._column, self._descending, self._begin = COLUMNS[sort], descending, begin
        self._best = _BEST[sort][descending]
        direction, self._sign = ("DESC", "<") if descending else ("ASC", ">")
        self._order = f"ORDER BY {self._column} {direction}, id {direction} LIMIT ?"

    def known(self, hours: Iterable[Hour], count: int) -> list[Place]:
        """Those of which it is known what is sorted by."""
        found = self._find("NOT INDEXED WHERE id > ?", [self._rolled_to], count, None)
        promising = [(best, hour) for hour in hours if (best := self._best(hour)) is not None]
        for best, hour in sorted(promising, key=lambda each: each[0], reverse=self._descending):
            last = found[-1][0] if len(found) >= count else None
            if last is not None and (best < last if self._descending else best > last):
                break
            source, values = "WHERE timestamp >= ? AND timestamp < ? AND id <= ?", [*hour.range, self._rolled_to]
            if more := self._find(source, values, count, last):
                found = sorted([*found, *more], reverse=self._descending)[:count]
        return found

    def _find(self, source: str, values: list[Any], count: int, last: Any) -> list[Place]:
        """The first of one source; of those that are worse than ``last`` none is wanted."""
        conditions, values = f"{self._conditions} AND {self._column} IS NOT NULL", [*values, *self._values]
        if last is not None:
            conditions, values = f"{conditions} AND {self._column} {_WITH[self._sign]} ?", [*values, last]
        if self._begin is not None:
            conditions = f"{conditions} AND ({self._column}, id) {self._sign} (?, ?)"
            values += [self._begin.value, self._begin.id]
        query = f"SELECT {self._column}, id FROM requests {source} AND {conditions} {self._order}"
        return [(value, id) for value, id in self._connection.execute(query, [*values, count])]

    def unknown(self, count: int) -> list[int]:
        """The ids of those of which it is not."""
        conditions, values = f"{self._conditions} AND {self._column} IS NULL", [*self._values]
        if self._begin is not None and self._begin.value is None:
            conditions, values = f"{conditions} AND id {self._sign} ?", [*values, self._begin.id]
        query = (
            f"SELECT id FROM requests WHERE {conditions} ORDER BY id {'DESC' if self._descending else 'ASC'} LIMIT ?"
        )
        return [id for (id,) in self._connection.execute(query, [*values, count])]


_WITH = {"<": ">=", ">": "<="}
"""As good as the last, or better, by the sign of what comes after it."""
