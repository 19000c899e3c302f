"""The database file looked after: checked, copied, written anew."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from arbstr.store.care import backup, check, vacuum
from arbstr.store.connection import open_writer
from arbstr.store.errors import StoreError
from arbstr.store.lock import ServingLock
from arbstr.store.migrate import migrate, shipped
from arbstr.store.opened import reading
from tests.store.records import request
from tests.store.test_retention import count, insert, logged

NEWEST = shipped()[-1].version


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writer(path, wait=1)) as connection:
        yield connection


def damaged(folder: Path) -> Path:
    """A database in whose middle somebody has written."""
    path = logged(folder, *(request() for _ in range(200)))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'requests_timestamp'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    return path


# check


def test_a_sound_file_has_no_problem(tmp_path: Path) -> None:
    """What is in it is counted; a server's write-ahead log counts too."""
    path = logged(tmp_path, request(), request(), request(attempts=()))
    with writing(path) as server:
        insert(server, request())

        found = check(path)

    assert (found.schema, found.newest) == (NEWEST, NEWEST)
    assert (found.rows, found.problems) == ({"requests": 4, "attempts": 3, "keys": 0}, ())
    assert found.bytes > found.free_bytes == 0


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    """Not even the time at which the file was changed."""
    path = logged(tmp_path, request())
    before = (path.read_bytes(), path.stat().st_mtime_ns)

    check(path)

    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_damage_is_found(tmp_path: Path) -> None:
    """Wherever it is: here in an index, which no query may have read for long."""
    found = check(damaged(tmp_path))

    assert found.problems
    assert all("\n" not in line for line in found.problems)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DROP TABLE attempts", "the table attempts is missing"),
        ("DROP INDEX requests_timestamp", "the index requests_timestamp is missing"),
        ("DROP TRIGGER keys_updated", "the trigger keys_updated is missing"),
        ("ALTER TABLE attempts ADD COLUMN mine", "the table attempts is not as arbstr makes it"),
    ],
)
def test_a_schema_that_somebody_has_changed_is_told(tmp_path: Path, statement: str, problem: str) -> None:
    """What arbstr needs is missed; what is there beside it is the operator's."""
    path = logged(tmp_path, request())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE INDEX mine ON requests (provider)")
        connection.execute(statement)

    assert check(path).problems == (problem,)


def test_an_older_schema_is_no_problem(tmp_path: Path) -> None:
    """The next start brings it up to date; until then it is compared with what it was."""
    path = tmp_path / "arbstr.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, shipped()[:2])

    found = check(path)

    assert (found.schema, found.problems) == (2, ())
    assert found.rows == {"requests": 0, "attempts": 0, "keys": 0}


def _newer(path: Path) -> None:
    with writing(path) as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def _garbage(path: Path) -> None:
    path.write_bytes(b"no database at all, " * 100)


def _folder(path: Path) -> None:
    path.mkdir()


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (lambda path: None, "is not there: no gateway has served with this [store] url yet"),
    "newer": (_newer, f"has schema {NEWEST + 1}, but this arbstr knows none newer than {NEWEST}: a newer one wrote it"),
    "foreign": (_foreign, "is the SQLite database of another program"),
    "garbage": (_garbage, "file is not a database"),
    "folder": (_folder, "is no file"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, kind: str) -> None:
    """Whatever is asked of it; it stays as it is, and nothing is created."""
    path = tmp_path / "arbstr.db"
    make, line = UNUSABLE[kind]
    make(path)
    before = files(tmp_path)

    for work in (check, vacuum, lambda path: backup(path, tmp_path / "copy.db")):
        with pytest.raises(StoreError) as caught:
            work(path)
        assert str(caught.value) == f"{path}: {line}"

    assert files(tmp_path) == before


def test_queries_need_the_newest_schema(tmp_path: Path) -> None:
    """And say who brings it up to date."""
    path = tmp_path / "arbstr.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, shipped()[:1])

    with pytest.raises(StoreError, match=f"has schema 1, and this arbstr reads {NEWEST}: `arbstr serve` brings"):
        reading(path).__enter__()


def test_what_goes_wrong_while_reading_is_one_line(tmp_path: Path) -> None:
    """A query that the file cannot answer is told with the file's name."""
    path = logged(tmp_path, request())

    with pytest.raises(StoreError, match=r"arbstr\.db: no such table: nowhere"), reading(path) as connection:
        connection.execute("SELECT * FROM nowhere")


def test_roll_ups_that_do_not_agree_with_the_rows_are_told_and_repaired(tmp_path: Path) -> None:
    """Somebody has changed a sum, or a row: each is told, and after a repair nothing is left to tell."""
    path = rolled(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE requests SET cost_sats = cost_sats + 1 WHERE id = 3")

    told = check(path)
    repaired = check(path, repair=True)

    assert told.problems
    assert all("is not what the rows say" in line for line in told.problems)
    assert (repaired.problems, repaired.repaired) == ((), told.problems)
    assert check(path).problems == ()


def test_a_repair_of_what_is_sound_changes_nothing(tmp_path: Path) -> None:
    """It is not even opened for writing."""
    path = rolled(tmp_path)
    before = (path.read_bytes(), path.stat().st_mtime_ns)

    found = check(path, repair=True)

    assert (found.problems, found.repaired) == ((), ())
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_repair_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    """The file is another's for too long: nothing has changed."""
    path = rolled(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE rollups SET requests = requests + 1")
        other.execute("CREATE TRIGGER theirs BEFORE DELETE ON rollups BEGIN SELECT RAISE(FAIL, 'not this'); END")

    with pytest.raises(StoreError, match=r"arbstr\.db: the roll-ups cannot be made anew: not this"):
        check(path, repair=True)


def rolled(folder: Path) -> Path:
    """A database with some rows, and their roll-ups."""
    path = logged(folder, *(request() for _ in range(10)))
    with writing(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


# backup


def files(folder: Path) -> list[str]:
    """Without what SQLite keeps beside a file that was only read."""
    return sorted(each.name for each in folder.iterdir() if not each.name.endswith(("arbstr.db-wal", "arbstr.db-shm")))


def rows(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM requests ORDER BY id").fetchall()


def test_a_backup_is_the_same_and_its_owners_alone(tmp_path: Path) -> None:
    """One file with everything in it, which opens as a gateway's."""
    path, target = logged(tmp_path, *(request() for _ in range(2000))), tmp_path / "copy.db"
    told: list[tuple[int, int]] = []

    found = backup(path, target, progress=lambda done, total: told.append((done, total)))

    assert rows(target) == rows(path)
    assert target.stat().st_mode & 0o777 == 0o600
    assert found == check(target)
    assert (found.rows, found.problems) == (check(path).rows, ())
    assert files(tmp_path) == ["arbstr.db", "copy.db"]
    assert told[-1][0] == told[-1][1] > 0
    with writing(target) as connection:
        insert(connection, request())


def test_a_backup_is_of_one_moment_though_somebody_writes(tmp_path: Path) -> None:
    """Rows that come between two of its steps are not in it, and do not begin it anew."""
    path, target = logged(tmp_path, *(request() for _ in range(6000))), tmp_path / "copy.db"
    steps = []
    with writing(path) as server:

        def write(done: int, total: int) -> None:
            steps.append((done, total))
            insert(server, request())

        found = backup(path, target, progress=write)

    assert len(steps) > 1
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert found.rows["requests"] == 6000
    assert count(path) == 6000 + len(steps)


def test_a_backup_never_overwrites(tmp_path: Path) -> None:
    """Not even an empty file, nor what a link points to."""
    path, target, link = logged(tmp_path, request()), tmp_path / "copy.db", tmp_path / "link.db"
    target.touch()
    link.symlink_to(tmp_path / "nowhere.db")

    for taken in (target, link, path):
        with pytest.raises(StoreError, match=f"{taken.name}: is there already; nothing was written"):
            backup(path, taken)

    assert target.read_bytes() == b""
    assert not (tmp_path / "nowhere.db").exists()
    assert count(path) == 1


def test_of_a_damaged_file_there_is_no_copy(tmp_path: Path) -> None:
    """A backup that would not help is none."""
    path, target = damaged(tmp_path), tmp_path / "copy.db"

    with pytest.raises(StoreError, match="is damaged, so that there is no copy of it: "):
        backup(path, target)

    assert not target.exists()


def test_an_interrupted_backup_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle: no half of a copy is taken for a whole one."""
    path, target = logged(tmp_path, *(request() for _ in range(6000))), tmp_path / "copy.db"

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(path, target, progress=interrupt)

    assert files(tmp_path) == ["arbstr.db"]


# vacuum


def test_a_vacuum_gives_back_what_is_free(tmp_path: Path) -> None:
    """The rows stay as they are."""
    path = logged(tmp_path, *(request() for _ in range(3000)))
    with writing(path) as connection:
        connection.execute("DELETE FROM requests WHERE id <= 2900")
        connection.execute("DELETE FROM attempts")
    kept = rows(path)
    free = check(path).free_bytes

    before, after = vacuum(path)

    assert free > 100_000
    assert before - after >= free
    assert (path.stat().st_size, check(path).free_bytes) == (after, 0)
    assert rows(path) == kept


def test_while_a_gateway_serves_there_is_no_vacuum(tmp_path: Path) -> None:
    """It would hold the writer up for as long as it takes; afterwards the lock is free again."""
    path = logged(tmp_path, request())
    lock = ServingLock.acquire(path)
    with pytest.raises(StoreError, match=f"in use by another arbstr \\(process {os.getpid()}\\)"):
        vacuum(path)
    lock.release()

    vacuum(path)

    ServingLock.acquire(path).release()
