"""What the writer does when the database does not play along."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from arbstr.domain.errors import LogUnavailable
from arbstr.domain.statistics import Filter
from arbstr.store.connection import open_writer
from arbstr.store.sqlite import SqliteLog
from arbstr.store.writer import Writer
from tests.store.records import Problems, attempt, request

CANNOT = "the request log cannot be written"
AGAIN = "the request log is written again"
FULL = "the request log's queue is full, rows are dropped"
ROOM = "the request log's queue has room again"


async def test_a_locked_database_delays_nobody(tmp_path: Path) -> None:
    """Rows queue up while another program holds the database; health and one report say so; then they are written."""
    problems = Problems()
    log = SqliteLog.open(tmp_path / "log.db", on_problem=problems)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    for _ in range(1000):
        log.request(request())
    fields = problems.wait_for(CANNOT)
    locked = log.health()
    seen_meanwhile = await log.page(Filter(), page=1, per_page=1)
    other.execute("ROLLBACK")
    other.close()
    written = log.flush(20)

    assert fields == {"error": "database is locked", "queued": 1000}
    assert (locked.ok, locked.queued, locked.error) == (False, 1000, "database is locked")
    assert seen_meanwhile.total == 0
    assert written
    assert "recovered" not in fields
    assert problems.wait_for(AGAIN) == {"recovered": True, "dropped": 0}
    assert problems.events == [CANNOT, AGAIN]
    assert (await log.page(Filter(), page=1, per_page=1)).total == 1000
    assert (log.health().ok, log.health().written, log.health().queued) == (True, 1000, 0)
    await log.aclose()


def test_a_full_queue_counts_what_it_drops(tmp_path: Path) -> None:
    """The queue is bounded: what comes beyond is counted and reported once, what was accepted is written later."""
    problems = Problems()
    log = SqliteLog.open(tmp_path / "log.db", on_problem=problems, queue_limit=10)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    for _ in range(25):
        log.request(request())
    fields = problems.wait_for(FULL)
    problems.wait_for(CANNOT)
    full = log.health()
    other.execute("ROLLBACK")
    other.close()
    log.flush(20)

    assert (fields["limit"], "recovered" in fields) == (10, False)
    assert (full.ok, full.queued, full.dropped) == (False, 10, 15)
    assert problems.wait_for(ROOM) == {"recovered": True, "dropped": 15}
    assert (log.health().ok, log.health().written, log.health().dropped) == (True, 10, 15)
    assert problems.events.count(FULL) == 1
    log.close()


def test_a_queue_that_is_full_while_all_else_is_well_is_called_so(tmp_path: Path) -> None:
    """Rows that come faster than they are written are a problem too, from the first one dropped."""
    problems = Problems()
    seen: list[str | None] = []

    def look(event: str, fields: dict[str, Any]) -> None:
        seen.append(log.health().error)
        problems(event, fields)

    log = SqliteLog.open(tmp_path / "log.db", on_problem=look, queue_limit=0)
    log.request(request())
    problems.wait_for(FULL)

    assert seen[0] == "the queue is full"
    assert (log.health().written, log.health().dropped) == (0, 1)
    log.close()


@pytest.mark.parametrize(
    "poison",
    [
        request(timestamp=float("nan")),
        request(input_tokens=2**63),
        request(latency_ms=None),
        request(model=b"bytes are no text"),
        request(attempts=(attempt(), attempt(started_at=1e300))),
    ],
    ids=["time", "number", "missing", "type", "attempt"],
)
def test_one_row_that_cannot_be_written_costs_no_other(tmp_path: Path, poison: Any) -> None:
    """The batch is halved until the row is alone; it is dropped, counted and named, its neighbours are written."""
    problems = Problems()
    log = SqliteLog.open(tmp_path / "log.db", on_problem=problems, flush_interval=3600)
    records = [request() for _ in range(100)]

    for record in [*records[:37], poison, *records[37:]]:
        log.request(record)
    flushed = log.flush(20)

    health = log.health()
    log.close()
    database = sqlite3.connect(tmp_path / "log.db")
    found = [row[0] for row in database.execute("SELECT correlation_id FROM requests ORDER BY id")]
    attempts = database.execute("SELECT count(*) FROM attempts").fetchone()
    database.close()
    assert flushed
    assert found == [record.correlation_id for record in records]
    assert attempts == (100,)
    assert (health.ok, health.written, health.dropped, health.queued) == (True, 100, 1, 0)
    assert problems.events == ["a row of the request log cannot be written"]
    assert problems.told[0][1]["id"] == poison.correlation_id


def test_a_full_database_is_written_again_when_there_is_room(tmp_path: Path) -> None:
    """SQLite's own word for a full disk: the rows wait, and one report each says when it begins and ends."""
    problems = Problems()
    path = tmp_path / "log.db"
    connection = open_writer(path, wait=1)
    connection.execute("PRAGMA max_page_count = 10")
    writer = Writer(path, connection, on_problem=problems, queue_limit=1000, flush_interval=0.01)

    for _ in range(100):
        writer.put(request())
    told = problems.wait_for(CANNOT)
    full = writer.health()
    connection.execute("PRAGMA max_page_count = 100000")
    flushed = writer.flush(20)
    problems.wait_for(AGAIN)

    assert told["error"] == "database or disk is full"
    assert (full.ok, full.error, full.dropped) == (False, "database or disk is full", 0)
    assert flushed
    assert writer.health().written == 100
    assert problems.events == [CANNOT, AGAIN]
    writer.stop(5)
    assert writer.join(20)


async def test_a_deleted_file_is_begun_anew(tmp_path: Path) -> None:
    """Whoever deletes the file under a running server loses what was in it, and nothing that comes later."""
    problems = Problems()
    log = SqliteLog.open(tmp_path / "log.db", on_problem=problems)
    log.request(request())
    log.flush(20)
    before = await log.page(Filter(), page=1, per_page=1)

    (tmp_path / "log.db").unlink()
    log.request(request())
    flushed = log.flush(20)

    problems.wait_for(AGAIN)
    after = await log.page(Filter(), page=1, per_page=1)
    await log.aclose()
    assert (before.total, after.total) == (1, 1)
    assert flushed
    assert "was deleted or replaced while in use" in problems.told[0][1]["error"]
    assert problems.events == [CANNOT, AGAIN]


async def test_a_folder_that_goes_and_comes_back_loses_no_row(tmp_path: Path) -> None:
    """While there is nowhere to write to, rows wait and queries are told; then everything goes on by itself."""
    problems = Problems()
    folder = tmp_path / "folder"
    folder.mkdir()
    log = SqliteLog.open(folder / "log.db", on_problem=problems)
    log.request(request())
    log.flush(20)

    folder.rename(tmp_path / "away")
    log.request(request())
    problems.wait_for(CANNOT)
    with pytest.raises(LogUnavailable, match="unable to open"):
        await log.page(Filter(), page=1, per_page=1)
    (tmp_path / "away").rename(folder)
    flushed = log.flush(20)

    assert flushed
    assert (await log.page(Filter(), page=1, per_page=1)).total == 2
    assert problems.events[-1] == AGAIN
    assert log.health().ok
    await log.aclose()


def test_a_table_that_somebody_dropped_is_no_reason_to_lose_rows(tmp_path: Path) -> None:
    """An error that is not about one row keeps all rows: they are written once the database is as it should be."""
    problems = Problems()
    log = SqliteLog.open(tmp_path / "log.db", on_problem=problems)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("ALTER TABLE attempts RENAME TO hidden")

    log.request(request())
    told = problems.wait_for(CANNOT)
    other.execute("ALTER TABLE hidden RENAME TO attempts")
    flushed = log.flush(20)

    counts = other.execute("SELECT (SELECT count(*) FROM requests), (SELECT count(*) FROM attempts)").fetchone()
    other.close()
    log.close()
    assert "no such table" in told["error"]
    assert flushed
    assert counts == (1, 1)


def test_closing_a_locked_log_gives_up_in_time_and_says_what_is_lost(tmp_path: Path) -> None:
    """A server must end although its log cannot be written; the rows are counted and reported."""
    problems = Problems()
    log = SqliteLog.open(tmp_path / "log.db", on_problem=problems)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    for _ in range(3):
        log.request(request())
    written = log.close(timeout=0.0)

    other.close()
    assert not written
    assert problems.told[-1][0] == "the request log was closed with rows unwritten"
    assert problems.told[-1][1]["dropped"] == 3
    assert (log.health().dropped, log.health().queued) == (3, 0)


def test_a_reporter_that_fails_does_not_end_the_writer(tmp_path: Path) -> None:
    """Rows are written although nobody can be told what was wrong before."""

    def broken(event: str, fields: dict[str, Any]) -> None:
        raise RuntimeError(event)

    log = SqliteLog.open(tmp_path / "log.db", on_problem=broken)

    log.request(request(timestamp=float("inf")))
    log.request(request())

    assert log.flush(20)
    assert (log.health().written, log.health().dropped) == (1, 1)
    log.close()


def test_a_writer_that_does_not_come_back_is_called_stuck(tmp_path: Path) -> None:
    """A disk that hangs raises no error; health sees rows waiting and no sign of life."""
    now = 1000.0
    entered, leave = threading.Event(), threading.Event()

    def hanging(event: str, fields: dict[str, Any]) -> None:
        entered.set()
        leave.wait(20)

    connection = open_writer(tmp_path / "log.db", wait=0.1)
    writer = Writer(
        tmp_path / "log.db",
        connection,
        on_problem=hanging,
        queue_limit=100,
        flush_interval=0.01,
        monotonic=lambda: now,
    )

    writer.put(request(timestamp=float("nan")))
    entered.wait(20)
    writer.put(request())
    before = writer.health()
    now += 7
    stuck = writer.health()
    flushed_while_stuck = writer.flush(0)
    leave.set()
    flushed = writer.flush(20)

    assert before.ok
    assert (stuck.ok, stuck.queued, stuck.error) == (False, 1, "the writer has been stuck for 7 s")
    assert (flushed_while_stuck, flushed) == (False, True)
    assert writer.health().ok
    writer.stop(5)
    assert writer.join(20)
