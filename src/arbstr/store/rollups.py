"""Roll-ups: the figures of the request log, added up by hour and by day.

They follow the rows. ``rolled_up`` in ``settings`` is the id up to which rows are part of them; it and they change in
one transaction, so that at every moment, also after a crash, the roll-ups and the rows beyond that id are all rows,
each once. That makes them cheap: thousands of rows are added up at once, and a roll-up is written once for all of
them, not once for each batch. And nothing needs to be remembered: what is beyond the mark is read from the table.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from arbstr.policy.totals import Totals
from arbstr.store.errors import is_busy
from arbstr.store.figures import COLUMNS, OF_ROWS, prepare, read, written
from arbstr.store.ranges import DAY, hour_of

CHUNK = 10_000
"""Rows that are added up in one transaction, at most: a twentieth of a second."""

DIMENSIONS = ("model", "provider", "policy", "key_id", "tier", "streaming", "success")
"""The columns by which roll-ups tell requests apart."""
ALL, FULL = 0, 6
FACETS: dict[int, tuple[str, ...]] = {
    ALL: (),
    **{number: (name,) for number, name in enumerate(DIMENSIONS[:5], start=1)},
    FULL: DIMENSIONS,
}
"""By which columns the roll-ups of each facet tell requests apart: few rows for the usual question, all for others."""

Slice = tuple[Any, ...]
"""Values of DIMENSIONS."""
Rollup = tuple[int, int, int, Slice]
"""Facet, span, start, and which requests: what a roll-up is of."""

_PLACES = {facet: tuple(name in names for name in DIMENSIONS) for facet, names in FACETS.items() if facet != FULL}

_MARK = "SELECT value FROM settings WHERE name = 'rolled_up'"
_SET_MARK = "UPDATE settings SET value = ? WHERE name = 'rolled_up'"
_NEXT = "SELECT max(id) FROM (SELECT id FROM requests WHERE id > ? ORDER BY id LIMIT ?)"
BY_SLICE = f"""
SELECT substr(timestamp, 1, 13) AS hour, {", ".join(DIMENSIONS)}, {OF_ROWS}
FROM requests {{source}}
GROUP BY hour, {", ".join(DIMENSIONS)}
"""
_NEW = BY_SLICE.format(
    source="NOT INDEXED WHERE id > ? AND id <= ? AND (id > (SELECT value FROM settings WHERE name = 'counted')"
    " OR timestamp >= (SELECT value FROM settings WHERE name = 'counted_before'))"
)
_COUNT = "SELECT count(*) FROM requests NOT INDEXED WHERE id > ? AND id <= ?"
_FIND_SLICE = "SELECT id FROM slices WHERE facet = ? AND " + " AND ".join(f"{name} IS ?" for name in DIMENSIONS)
_ADD_SLICE = f"INSERT INTO slices (facet, {', '.join(DIMENSIONS)}) VALUES (?{', ?' * len(DIMENSIONS)})"
_FIND = f"SELECT {', '.join(COLUMNS)} FROM rollups WHERE facet = ? AND span = ? AND start = ? AND slice = ?"
_REPLACE = f"INSERT OR REPLACE INTO rollups VALUES (?, ?, ?, ?{', ?' * len(COLUMNS)})"


def mark(connection: sqlite3.Connection) -> int:
    """The id up to which rows are part of the roll-ups. Raises sqlite3.DatabaseError where that is not written."""
    row = connection.execute(_MARK).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("how far the roll-ups are is not written in it (arbstr db check tells more)")
    return int(row[0])


def roll(connection: sqlite3.Connection, *, chunk: int = CHUNK) -> int:
    """Add up to ``chunk`` rows beyond the mark to the roll-ups, in one transaction; how many there were.

    ``connection`` is in autocommit mode. Raises sqlite3.Error, and ValueError where a roll-up is damaged; then nothing
    has changed.
    """
    prepare(connection)
    with transaction(connection):
        done = mark(connection)
        (last,) = connection.execute(_NEXT, [done, chunk]).fetchone()
        if last is None:
            return 0
        add(connection, folded(connection.execute(_NEW, [done, last])))
        connection.execute(_SET_MARK, [last])
        (count,) = connection.execute(_COUNT, [done, last]).fetchone()
        return int(count)


def folded(rows: Iterable[Any]) -> dict[Rollup, Totals]:
    """The roll-ups, of every facet and both spans, of what BY_SLICE has told of some rows."""
    hours: dict[Rollup, Totals] = {}
    for row in rows:
        hour = _hour(row[0])
        kind = tuple(row[1 : 1 + len(DIMENSIONS)])
        totals = read(row[1 + len(DIMENSIONS) :])
        hours[FULL, 1, hour, kind] = totals
        for facet, places in _PLACES.items():
            part = tuple([value if used else None for value, used in zip(kind, places, strict=True)])
            _merge(hours, (facet, 1, hour, part), totals)
    days: dict[Rollup, Totals] = {}
    by_day: dict[Rollup, list[Totals]] = {}
    for (facet, _, hour, kind), totals in hours.items():
        by_day.setdefault((facet, DAY, hour // DAY * DAY, kind), []).append(totals)
    for of, parts in by_day.items():
        if len(parts) == 1:  # as a rule: and nobody changes what is found here
            days[of] = parts[0]
        else:
            for totals in parts:
                _merge(days, of, totals)
    return hours | days


_hour = functools.lru_cache(maxsize=64)(hour_of)


def _merge(found: dict[Rollup, Totals], of: Rollup, totals: Totals) -> None:
    if (sum_ := found.get(of)) is None:
        sum_ = found[of] = Totals()
    sum_.merge(totals)


def add(connection: sqlite3.Connection, some: Mapping[Rollup, Totals]) -> None:
    """Add to roll-ups, some of which may not be there yet."""
    numbers: dict[tuple[int, Slice], int | None] = {}
    for (facet, span, start, kind), totals in some.items():
        if (facet, kind) not in numbers:
            found = connection.execute(_FIND_SLICE, [facet, *kind]).fetchone()
            made = None if found else connection.execute(_ADD_SLICE, [facet, *kind])
            numbers[facet, kind] = found[0] if made is None else made.lastrowid
        key = (facet, span, start, numbers[facet, kind])
        kept = connection.execute(_FIND, key).fetchone()
        if kept is not None:
            known = read(kept)
            known.merge(totals)
            totals = known
        connection.execute(_REPLACE, (*key, *written(totals)))


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One that writes, whole or not at all; ``connection`` is in autocommit mode."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise


class Roller:
    """Keeps the roll-ups up with the rows, in the writer's thread, now and then.

    Rows never suffer from them: where roll-ups cannot be kept, figures are read from more rows instead, which takes
    longer. ``monotonic`` is the writer's clock.
    """

    EVERY = 5.0
    """Seconds, at most, for which rows wait to become part of the roll-ups."""
    AGAIN = 60.0
    """Seconds after which it is tried again where it failed."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rows = 1  # there may be some from before
        self._failed = False
        self._due = monotonic() + self.EVERY

    def wrote(self, rows: int) -> None:
        """So many more rows are in the log."""
        self._rows += rows

    def follow(self, connection: sqlite3.Connection) -> str | None:
        """Add up what is there, if it is time for it. Returns what is wrong, once, when it begins to be."""
        now = self._monotonic()
        if not self._rows or (now < self._due and (self._rows < CHUNK or self._failed)):
            return None
        try:
            done = roll(connection)
        except (sqlite3.Error, ValueError) as error:
            if is_busy(error):  # for the command line's short writes
                self._due = now + self.EVERY
                return None
            told, self._failed = self._failed, True
            self._due = now + self.AGAIN
            return None if told else str(error)
        self._failed = False
        self._due = now if done == CHUNK else now + self.EVERY
        self._rows = 1 if done == CHUNK else 0  # there may be more
        return None
