"""Whether the roll-ups say what the rows say; and the roll-ups made anew from the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from arbstr.policy.totals import Totals
from arbstr.store.figures import COLUMNS, prepare, read, written
from arbstr.store.ranges import DAY, HOUR, hour_of, text
from arbstr.store.removal import rows_from
from arbstr.store.rollups import ALL, BY_SLICE, CHUNK, DIMENSIONS, FULL, Rollup, add, folded, mark, roll, transaction

MOST_PROBLEMS = 20
"""That are told."""

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

_DAY = BY_SLICE.format(source="WHERE timestamp >= ? AND timestamp < ? AND id <= ?")
_KEPT = (
    f"SELECT rollups.facet, span, start, {', '.join(DIMENSIONS)}, {', '.join(COLUMNS)}"
    " FROM rollups JOIN slices ON slices.id = rollups.slice WHERE rollups.facet = ? AND span = ?"
    " AND start >= ? AND start < ?"
)


def verify(connection: sqlite3.Connection, progress: Progress | None = None) -> list[str]:
    """What of the roll-ups is not what the rows say, a line each, at most MOST_PROBLEMS; none where all is well.

    As far as there are rows: what is older than the first hour that has all of its rows stays unproven. It is all of
    one moment. Raises sqlite3.Error.
    """
    prepare(connection)
    connection.execute("BEGIN")
    try:
        return _verify(connection, progress)
    finally:
        connection.execute("ROLLBACK")


def _verify(connection: sqlite3.Connection, progress: Progress | None) -> list[str]:
    problems: list[str] = []
    last_id = mark(connection)
    kept_from = int(rows_from(connection) or 0) // HOUR
    oldest, newest = connection.execute("SELECT min(timestamp), max(timestamp) FROM requests").fetchone()
    in_rollups = connection.execute("SELECT min(start), max(start) FROM rollups").fetchone()
    hours = [hour for hour in (*in_rollups, *(hour_of(time) for time in (oldest, newest) if time)) if hour is not None]
    days = range(max(min(hours), kept_from) // DAY, max(hours) // DAY + 1) if hours else range(0)
    for done, day in enumerate(days, start=1):
        first, last = max(day * DAY, kept_from), (day + 1) * DAY
        try:
            problems += _differences(connection, first, last, last_id)
        except ValueError as error:
            problems.append(f"the roll-ups of {text(first * HOUR)[:10]} are damaged: {error}")
        if progress is not None:
            progress(done, len(days))
        if len(problems) >= MOST_PROBLEMS:
            break
    return problems[:MOST_PROBLEMS]


def _differences(connection: sqlite3.Connection, first: int, last: int, last_id: int) -> list[str]:
    """What differs between two hours of one day. The day's own roll-ups are looked at where all its rows are there."""
    rows = connection.execute(_DAY, [text(first * HOUR), text(last * HOUR), last_id])
    spans = (1, DAY) if first % DAY == 0 else (1,)
    expected = {of: written(totals) for of, totals in folded(rows).items() if of[1] in spans}
    kept = {of: written(totals) for of, totals in _kept(connection, first, last, spans).items()}
    return [
        f"the roll-up of {_name(of)} is {'missing' if of not in kept else 'not what the rows say'}"
        for of in sorted(expected.keys() | kept.keys(), key=repr)
        if expected.get(of) != kept.get(of)
    ]


def _kept(connection: sqlite3.Connection, first: int, last: int, spans: tuple[int, ...]) -> dict[Rollup, Totals]:
    before = 3 + len(DIMENSIONS)
    return {
        (row[0], row[1], row[2], tuple(row[3:before])): read(row[before:])
        for facet in range(ALL, FULL + 1)
        for span in spans
        for row in connection.execute(_KEPT, [facet, span, first, last])
    }


def _name(of: Rollup) -> str:
    facet, span, start, kind = of
    stretch = text(start * HOUR)[: 13 if span == 1 else 10]
    which = ", ".join(f"{name} {value!r}" for name, value in zip(DIMENSIONS, kind, strict=True) if value is not None)
    return f"{stretch} (facet {facet}{which and ': '}{which})"


def rebuild(connection: sqlite3.Connection, progress: Progress | None = None) -> int:
    """Make the roll-ups anew, as far as there are rows; how many rows they hold.

    In many transactions, beside a gateway too, which helps; until it is over, figures are as exact as ever but take
    longer. Interrupted, it is completed by the next gateway that serves. ``connection`` is in autocommit mode. Raises
    sqlite3.Error, and ValueError where roll-ups of which the rows are gone are damaged.
    """
    prepare(connection)
    with transaction(connection):
        _forget(connection)
    (total,) = connection.execute("SELECT count(*) FROM requests").fetchone()
    done, rolled = 0, CHUNK
    while rolled == CHUNK:  # a gateway adds a few all the time
        rolled = roll(connection)
        done += rolled
        if progress is not None:
            progress(min(done, total), total)
    return done


def _forget(connection: sqlite3.Connection) -> None:
    """Empty the roll-ups of which there are rows, and let the next ones begin with the first row."""
    removed = rows_from(connection)
    kept_from = int(removed or 0) // HOUR
    today = kept_from // DAY * DAY
    half_day = _kept(connection, today, kept_from, (1,))
    for facet in range(ALL, FULL + 1):
        delete = "DELETE FROM rollups WHERE facet = ? AND span = ? AND start >= ?"
        connection.execute(delete, [facet, 1, kept_from])
        connection.execute(delete, [facet, DAY, today])
    for (facet, _, _, kind), totals in half_day.items():
        add(connection, {(facet, DAY, today, kind): totals})
    connection.execute("DELETE FROM slices WHERE id NOT IN (SELECT slice FROM rollups)")
    counted = mark(connection) if removed is not None else 0
    before = "" if removed is None else text(removed)
    for name, value in (("counted", counted), ("counted_before", before), ("rolled_up", 0)):
        connection.execute("UPDATE settings SET value = ? WHERE name = ?", [value, name])
