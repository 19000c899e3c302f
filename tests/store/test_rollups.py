"""Roll-ups: that they follow the rows, when, and what happens where they cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from arbstr.domain.record import RequestRecord
from arbstr.domain.statistics import Filter
from arbstr.policy.totals import figures
from arbstr.store import rollups
from arbstr.store.connection import open_writer
from arbstr.store.rebuild import MOST_PROBLEMS, rebuild, verify
from arbstr.store.removal import remove
from arbstr.store.rollups import Roller, mark, roll
from arbstr.store.rows import REQUEST_COLUMNS, request_row
from arbstr.store.stats import find
from arbstr.store.writer import Writer
from arbstr.testing import FakeClock
from tests.store.records import Problems, request

T0 = 1_800_000_000 - 1_800_000_000 % 86400
HOUR = 3600


def insert(connection: sqlite3.Connection, *records: RequestRecord) -> None:
    values = ", ".join("?" * len(REQUEST_COLUMNS))
    statement = f"INSERT INTO requests ({', '.join(REQUEST_COLUMNS)}) VALUES ({values})"
    connection.executemany(statement, map(request_row, records))


def counted(connection: sqlite3.Connection, which: Filter) -> int:
    return sum(figures(totals).requests for totals in find(connection, which).values())


def test_a_row_that_comes_late_is_part_of_its_hour(tmp_path: Path) -> None:
    """A long stream is written long after the hour in which it began, which had been added up by then."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, request(timestamp=T0 + 1.0), request(timestamp=T0 + 2 * HOUR))
    roll(connection)

    insert(connection, request(timestamp=T0 + 2.0))
    before = counted(connection, Filter(since=T0, until=T0 + HOUR))
    rolled = roll(connection)
    after = counted(connection, Filter(since=T0, until=T0 + HOUR))

    problems = verify(connection)
    connection.close()
    assert (before, rolled, after, problems) == (2, 1, 2, [])


def test_a_row_that_came_twice_counts_once(tmp_path: Path) -> None:
    """What counts is what is in the table, whatever was handed to the writer."""
    problems = Problems()
    path = tmp_path / "log.db"
    writer = Writer(path, open_writer(path, wait=1), on_problem=problems, queue_limit=10, flush_interval=0.01)
    twice = request(timestamp=T0 + 1.0)
    for record in (twice, twice, request(timestamp=T0 + 2.0)):
        writer.put(record)
    writer.flush(20)
    writer.stop(5)
    writer.join(5)

    connection = open_writer(path, wait=1)
    seen = counted(connection, Filter())
    rolled = roll(connection)
    again = counted(connection, Filter())

    connection.close()
    assert (seen, rolled, again) == (2, 2, 2)


def test_the_writer_adds_up_what_it_has_written(tmp_path: Path) -> None:
    """When rows have waited for a while, and without waiting for that when there are many."""
    clock = FakeClock()
    path = tmp_path / "log.db"
    writer = Writer(
        path,
        open_writer(path, wait=1),
        on_problem=Problems(),
        queue_limit=100_000,
        flush_interval=0.001,
        monotonic=clock.monotonic,
    )
    reader = sqlite3.connect(path)

    writer.put(request())
    writer.flush(20)
    writer.flush(20)
    at_once = mark(reader)
    clock.advance(Roller.EVERY)
    until(lambda: mark(reader) == 1)
    for _ in range(rollups.CHUNK):
        writer.put(request())
    until(lambda: mark(reader) == 1 + rollups.CHUNK)

    writer.stop(5)
    writer.join(20)
    reader.close()
    assert at_once == 0


def until(true: Callable[[], bool]) -> None:
    """Ask again, a bounded number of times, each of which reads the database."""
    assert any(true() for _ in range(1_000_000))


def test_a_backlog_is_added_up_in_pieces(tmp_path: Path) -> None:
    """A log from before there were roll-ups, or one that was repaired: one piece after the other."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, *(request() for _ in range(rollups.CHUNK + 1)))
    clock = FakeClock()
    roller = Roller(clock.monotonic)

    marks = []
    for seconds in (0.0, Roller.EVERY, 0.0, 0.0):
        clock.advance(seconds)
        assert roller.follow(connection) is None
        marks.append(mark(connection))

    connection.close()
    assert marks == [0, rollups.CHUNK, rollups.CHUNK + 1, rollups.CHUNK + 1]


def test_where_roll_ups_cannot_be_kept_it_is_said_once(tmp_path: Path) -> None:
    """And tried again now and then; the rows have nothing to do with it."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, request())
    connection.execute("ALTER TABLE rollups RENAME TO elsewhere")
    clock = FakeClock()
    roller = Roller(clock.monotonic)
    told = []
    for _ in range(3):
        clock.advance(Roller.AGAIN)
        told.append(roller.follow(connection))
    connection.execute("ALTER TABLE elsewhere RENAME TO rollups")
    roller.wrote(rollups.CHUNK)
    too_early = (roller.follow(connection), mark(connection))

    clock.advance(Roller.AGAIN)
    told.append(roller.follow(connection))

    assert told == ["no such table: rollups", None, None, None]
    assert (too_early, mark(connection)) == ((None, 0), 1)
    connection.close()


def test_a_lock_of_somebody_else_is_nothing_to_speak_of(tmp_path: Path) -> None:
    """The command line's short writes; it is tried again."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, request())
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    clock = FakeClock()
    roller = Roller(clock.monotonic)
    clock.advance(Roller.EVERY)

    meanwhile = roller.follow(connection)
    other.execute("ROLLBACK")
    clock.advance(Roller.EVERY)
    afterwards = roller.follow(connection)

    assert (meanwhile, afterwards, mark(connection)) == (None, None, 1)
    other.close()
    connection.close()


def test_a_damaged_roll_up_is_found_and_mended(tmp_path: Path) -> None:
    """A figure that is wrong, one that is missing, one of which there are no rows, one that is garbage."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, *(request(timestamp=T0 + hours * HOUR) for hours in (0, 25, 49, 73)))
    roll(connection)
    day = T0 // HOUR
    connection.execute("UPDATE rollups SET cost_micro_sats = 1 WHERE facet = 0 AND span = 1 AND start = ?", [day])
    connection.execute("DELETE FROM rollups WHERE facet = 1 AND span = 1 AND start = ?", [day + 25])
    connection.execute("UPDATE rollups SET start = start + 24 WHERE facet = 0 AND span = 24 AND start = ?", [day + 72])
    connection.execute("UPDATE rollups SET latency = x'c1' WHERE facet = 0 AND span = 1 AND start = ?", [day + 49])

    found = verify(connection)
    told: list[tuple[int, int]] = []
    count = rebuild(connection, lambda done, total: told.append((done, total)))

    assert [line.partition(" (")[0] for line in found[:2]] == [
        "the roll-up of 2027-01-15T00",
        "the roll-up of 2027-01-16T01",
    ]
    assert any("are damaged" in line for line in found)
    assert (verify(connection), count, told[-1]) == ([], 4, (4, 4))
    connection.close()


def test_figures_outlive_their_rows(tmp_path: Path) -> None:
    """By the full hour; also when roll-ups are made anew, and for a day of which half the rows are gone."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, *(request(timestamp=T0 + hours * HOUR + 60.0) for hours in range(48)))
    roll(connection)
    while remove(connection, before=T0 + 30.0 * HOUR, began=0.0):
        pass

    ranges = [(T0, T0 + 48 * HOUR), (T0, T0 + 29 * HOUR), (T0 + 10 * HOUR, T0 + 31 * HOUR), (T0 + 1, T0 + 2 * HOUR + 1)]
    before = [counted(connection, Filter(since=since, until=until)) for since, until in ranges]
    made = rebuild(connection)
    after = [counted(connection, Filter(since=since, until=until)) for since, until in ranges]

    problems = verify(connection)
    connection.close()
    assert before == after == [48, 29, 21, 2]
    assert (made, problems) == (18, [])


@pytest.mark.parametrize("rows", [0, 1])
def test_a_log_of_nothing_is_sound(tmp_path: Path, rows: int) -> None:
    """There is nothing to add up, to compare, or to make anew."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, *(request() for _ in range(rows)))

    found = (verify(connection), rebuild(connection), counted(connection, Filter()))

    connection.close()
    assert found == ([], rows, rows)


def test_a_check_says_how_far_it_is_and_not_too_much(tmp_path: Path) -> None:
    """Day by day; where nothing is right, twenty lines say it as well as a thousand."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, *(request(timestamp=T0 + hours * HOUR) for hours in range(72)))
    roll(connection)
    told: list[tuple[int, int]] = []

    sound = verify(connection, lambda done, total: told.append((done, total)))
    connection.execute("UPDATE rollups SET requests = requests + 1")
    unsound = verify(connection)

    connection.close()
    assert (sound, told) == ([], [(1, 3), (2, 3), (3, 3)])
    assert len(unsound) == MOST_PROBLEMS


def test_a_mark_that_is_gone_is_damage_and_said_so(tmp_path: Path) -> None:
    """Somebody has deleted its row by hand: nothing is guessed."""
    connection = open_writer(tmp_path / "log.db", wait=1.0)
    connection.execute("DELETE FROM settings WHERE name = 'rolled_up'")

    with pytest.raises(sqlite3.DatabaseError, match="arbstr db check"):
        mark(connection)
    connection.close()
