"""Statistics of the request log: from roll-ups where these know, from rows where they do not."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from arbstr.domain.statistics import Bucket, Filter, Group, Point, Savings
from arbstr.domain.statistics import Statistics as Found
from arbstr.policy.totals import Totals, figures, saved
from arbstr.store.figures import OF_ROLLUPS, OF_ROWS, prepare, read
from arbstr.store.filters import Filters
from arbstr.store.ranges import DAY, HOUR, LAST, Cut, cut, hour_of, pieces, text
from arbstr.store.read_pool import ReadPool
from arbstr.store.removal import rows_from
from arbstr.store.rollups import mark

THREADS = 2
"""Queries at a time."""
TIMEOUT = 10.0
"""Seconds that a query may take: it reads about half a million rows a second."""
ADVICE = "Narrow the range, or ask without status and min_cost, for which each row has to be looked at."

_COLUMNS = {group: "key_id" if group is Group.KEY else group.value for group in Group}
_PREFIX = {Bucket.MINUTE: 16, Bucket.HOUR: 13, Bucket.DAY: 10}
"""As many characters of a time as the log writes it say which bucket it is in."""
_REST = "1970-01-01T00:00"
_NEVER: tuple[float, float] = (0.0, float(LAST))

Parts = dict[tuple[str | None, int | None], Totals]
"""By group and by the beginning of the bucket, in seconds since the epoch; None where they are not told apart."""


class Statistics:
    """Implements :class:`~arbstr.ports.StatsStore` with connections of its own, apart from the writer's."""

    def __init__(self, path: Path, *, timeout: float = TIMEOUT) -> None:
        """``path`` is that of a request log whose schema is up to date; a query that takes longer is stopped."""
        self._pool = ReadPool(path.resolve(), name="The request log", threads=THREADS, timeout=timeout, advice=ADVICE)

    async def stats(self, which: Filter, *, group_by: Group | None = None) -> Found:
        """See :meth:`~arbstr.ports.StatsStore.stats`."""
        parts = await self._parts(which, group_by, None)
        return Found(
            total=figures(_sum(parts.values())),
            groups={} if group_by is None else {name: figures(each) for name, each in _by_name(parts).items()},
        )

    async def series(self, which: Filter, *, bucket: Bucket) -> list[Point]:
        """See :meth:`~arbstr.ports.StatsStore.series`."""
        parts = await self._parts(which, None, bucket)
        nothing = Totals()
        return [Point(start, figures(parts.get((None, start), nothing))) for start in _starts(which, bucket)]

    async def savings(self, which: Filter, *, by: Group | None = None) -> Savings:
        """See :meth:`~arbstr.ports.StatsStore.savings`."""
        parts = await self._parts(which, by, Bucket.DAY if by is None else None)
        total = saved(_sum(parts.values()))
        if by is not None:
            return Savings(total, {name: saved(each) for name, each in _by_name(parts).items()})
        nothing = Totals()
        days = {_date(start): saved(parts.get((None, start), nothing)) for start in _starts(which, Bucket.DAY)}
        return Savings(total, days)

    async def seen(self, which: Filter) -> bool:
        """See :meth:`~arbstr.ports.StatsStore.seen`."""
        meant = Filters.of(Filter(model=which.model, provider=which.provider, policy=which.policy, key_id=which.key_id))

        def work(connection: sqlite3.Connection) -> bool:
            in_rollups = f"SELECT 1 FROM slices WHERE facet = ? AND {meant.slices} LIMIT 1"
            if connection.execute(in_rollups, [meant.facet(), *meant.slice_values]).fetchone():
                return True
            in_rows = f"SELECT 1 FROM requests NOT INDEXED WHERE id > ? AND {meant.rows} LIMIT 1"
            return connection.execute(in_rows, [mark(connection), *meant.values]).fetchone() is not None

        return await self._pool.run(work)

    async def aclose(self) -> None:
        """Stop running queries, which raise LogUnavailable, and answer no more."""
        self._pool.close()

    async def _parts(self, which: Filter, group: Group | None, bucket: Bucket | None) -> Parts:
        return await self._pool.run(lambda connection: find(connection, which, group=group, bucket=bucket))


def find(
    connection: sqlite3.Connection, which: Filter, *, group: Group | None = None, bucket: Bucket | None = None
) -> Parts:
    """What the requests that match come to. ``connection`` is in a transaction, so that all is of one moment."""
    prepare(connection)
    filters = Filters.of(which)
    column = None if group is None else _COLUMNS[group]
    stretch = _cut(connection, which, bucket, rolled=filters.rolled)
    parts: Parts = {}

    by_group = f" GROUP BY {column}" if column else ""
    rest = f"timestamp >= ? AND timestamp < ? AND {filters.rows}"
    of_rows = f"SELECT {column or 'NULL'}, ?, {OF_ROWS} FROM requests WHERE {rest}{by_group}"
    for edge in stretch.edges:
        for start, (since, until) in ((None, edge),) if bucket is None else pieces(edge, bucket.value):
            # A query for each bucket: rows come in order of time, and would be sorted again to be told apart.
            _add(parts, connection.execute(of_rows, [start, text(since), text(until), *filters.values]))

    first, last = stretch.whole
    if first < last:
        when = "NULL" if bucket is None else f"substr(timestamp, 1, {_PREFIX[bucket]})"
        of_rows = f"SELECT {column or 'NULL'}, {when}, {OF_ROWS} FROM requests NOT INDEXED"
        values = [mark(connection), text(first * HOUR), text(last * HOUR), *filters.values]
        _add(parts, connection.execute(f"{of_rows} WHERE id > ? AND {rest} GROUP BY 1, 2", values), _begin)

    when = "NULL" if bucket is None else "start"
    of_rollups = (
        f"SELECT {f'slices.{column}' if column else 'NULL'}, {when}, {OF_ROLLUPS}"
        " FROM rollups JOIN slices ON slices.id = rollups.slice"
        f" WHERE rollups.facet = ? AND span = ? AND start >= ? AND start < ? AND {filters.slices}"
        " GROUP BY 1, 2"
    )
    size = 1 if bucket is None else bucket.value
    for span, (first, last) in ((DAY, stretch.days), *((1, each) for each in stretch.hours)):
        values = [filters.facet(column), span, first, last, *filters.slice_values]
        _add(parts, connection.execute(of_rollups, values), lambda hour: hour * HOUR // size * size)
    return parts


def _add(parts: Parts, found: Iterable[Any], begin: Callable[[Any], int] | None = None) -> None:
    for kind, when, *values in found:
        key = (kind, when if when is None or begin is None else begin(when))
        totals = read(values)
        if key in parts:
            parts[key].merge(totals)
        elif totals["requests"]:
            parts[key] = totals


def _cut(connection: sqlite3.Connection, which: Filter, bucket: Bucket | None, *, rolled: bool) -> Cut:
    """The range in whole days and hours, as far as roll-ups can say what is asked for.

    Where it ends after the last row, or begins before the first, it is rounded, so that the rows of that hour need not
    be read: there is nothing that would not belong to it. So it is where rows may have been removed.
    """
    since, until = _range(which)
    oldest, newest = connection.execute(
        "SELECT (SELECT min(timestamp) FROM requests), (SELECT max(timestamp) FROM requests)"
    ).fetchone()
    removed = rows_from(connection) or 0.0
    if since < removed:
        since = math.ceil(since / HOUR) * HOUR
    elif oldest is None or text(since) <= oldest:
        since = math.floor(since / HOUR) * HOUR
    if newest is None or text(until) > newest:
        until = math.ceil(until / (DAY * HOUR)) * DAY * HOUR
    elif until < removed:
        until = math.ceil(until / HOUR) * HOUR
    found = cut(since, until, hours=rolled and bucket is not Bucket.MINUTE, days=bucket is not Bucket.HOUR)
    if oldest is None:
        return Cut(found.days, found.hours, ())
    first, last = hour_of(oldest) * HOUR, (hour_of(newest) + 1) * HOUR  # there are no rows before or after
    return Cut(found.days, found.hours, tuple((max(edge[0], first), min(edge[1], last)) for edge in found.edges))


def _range(which: Filter) -> tuple[float, float]:
    since = _NEVER[0] if which.since is None else max(which.since, _NEVER[0])
    until = _NEVER[1] if which.until is None else min(which.until, _NEVER[1])
    return since, max(since, until)


def _begin(prefix: str) -> int:
    """The beginning of the bucket that the first characters of a time name."""
    return int(datetime.fromisoformat(f"{prefix}{_REST[len(prefix) :]}+00:00").timestamp())


def _starts(which: Filter, bucket: Bucket) -> range:
    """The beginnings of all buckets that the range touches."""
    since, until = _range(which)
    size = bucket.value
    return range(math.floor(since / size) * size, math.ceil(until / size) * size, size)


def _date(start: int) -> str:
    return datetime.fromtimestamp(start, UTC).date().isoformat()


def _sum(parts: Iterable[Totals]) -> Totals:
    total = Totals()
    for each in parts:
        total.merge(each)
    return total


def _by_name(parts: Parts) -> dict[str, Totals]:
    """By group, in order; what has no name is called "", as is what has that one."""
    names = sorted({name or "" for name, _ in parts})
    return {name: _sum(each for (kind, _), each in parts.items() if (kind or "") == name) for name in names}
