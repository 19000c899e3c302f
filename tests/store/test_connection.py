"""Opening the file: what is created, and what is refused in which words."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from arbstr.store.connection import open_reader, open_writer, switch_to_wal
from arbstr.store.errors import StoreError


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The log says who asked what of whom; other users of the machine need not read it."""
    path = tmp_path / "log.db"

    open_writer(path, wait=1).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_dangling_link_becomes_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    """A volume may be linked to before there is anything on it."""
    (tmp_path / "link.db").symlink_to(tmp_path / "log.db")

    open_writer(tmp_path / "link.db", wait=1).close()

    assert stat.S_IMODE((tmp_path / "log.db").stat().st_mode) == 0o600


_BESIDE = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM settings').fetchall()"


def test_a_second_connection_leaves_the_first_its_locks(tmp_path: Path) -> None:
    """Else the command line, done beside a server, would remove the write-ahead log that the server writes to: what
    was written then would be in no file, and what others write would not be seen."""
    path = tmp_path / "log.db"
    first = open_writer(path, wait=1)
    open_writer(path, wait=1).close()
    wal = path.with_name("log.db-wal").stat().st_ino

    subprocess.run([sys.executable, "-c", _BESIDE, str(path)], check=True)

    assert path.with_name("log.db-wal").stat().st_ino == wal
    first.close()


def test_a_commit_survives_the_process_and_waits_for_no_disk(tmp_path: Path) -> None:
    """Write-ahead log, synchronous=NORMAL."""
    connection = open_writer(tmp_path / "log.db", wait=1)

    settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    connection.close()
    assert settings == ["wal", 1]


@pytest.mark.parametrize("name", ["a b?mode=memory.db", "50%.db", "#1.db", "ünïcödé.db", "file:x.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    """Signs that mean something in SQLite's file addresses are just parts of the name, for writing and for reading."""
    writer = open_writer(tmp_path / name, wait=1)
    reader = open_reader(tmp_path / name)

    tables = reader.execute("SELECT count(*) FROM requests").fetchone()[0]

    reader.close()
    writer.close()
    assert tables == 0
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """A query has no way to change the log."""
    open_writer(tmp_path / "log.db", wait=1).close()
    reader = open_reader(tmp_path / "log.db")

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM requests")

    reader.close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """No folder is made up for a path that may be a slip."""
    with pytest.raises(StoreError) as caught:
        open_writer(tmp_path / "nowhere" / "log.db", wait=1)

    assert str(caught.value) == f"{tmp_path}/nowhere/log.db: the folder {tmp_path}/nowhere does not exist"


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    """The operating system's reason is passed on."""
    with pytest.raises(StoreError) as caught:
        open_writer(tmp_path, wait=1)

    assert str(caught.value) == f"{tmp_path}: cannot be opened: Is a directory"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"This is a text, and a rather long one at that. " * 100, "file is not a database"),
        (b"SQLite format 3\0" + b"\xff" * 4080, "file is not a database"),
    ],
    ids=["text", "header"],
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes, reason: str) -> None:
    """One line with name and reason, and not a byte changed: it may be somebody's only copy of something."""
    path = tmp_path / "log.db"
    path.write_bytes(content)

    with pytest.raises(StoreError) as caught:
        open_writer(path, wait=1)

    assert str(caught.value) == f"{path}: {reason}"
    assert path.read_bytes() == content


def test_a_damaged_schema_is_refused(tmp_path: Path) -> None:
    """A database whose first page is broken behind its header is not written to."""
    path = tmp_path / "log.db"
    open_writer(path, wait=1).close()
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = b"\xaa" * 3996
    path.write_bytes(damaged)

    with pytest.raises(StoreError, match=r"log\.db: database disk image is malformed"):
        open_writer(path, wait=1)


def test_a_locked_file_is_refused_after_the_wait(tmp_path: Path) -> None:
    """A start does not wait for ever for somebody who holds the file."""
    path = tmp_path / "log.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreError) as caught:
        open_writer(path, wait=0.01)

    other.close()
    assert str(caught.value) == f"{path}: database is locked"


def test_a_new_file_that_another_one_writes_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses the switch to the write-ahead log at once there, whatever its timeout; it is tried again."""
    path = tmp_path / "log.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        other.execute("COMMIT")

    switch_to_wal(connection, wait=60, sleep=pause)

    mode = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    other.close()
    assert mode == ("wal",)
    assert len(pauses) == 1


def test_the_switch_to_the_write_ahead_log_is_not_tried_for_ever(tmp_path: Path) -> None:
    """After the wait, who writes there is the answer."""
    path = tmp_path / "log.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    now = [1000.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        switch_to_wal(connection, wait=5, sleep=pause, monotonic=lambda: now[0])

    connection.close()
    other.close()
    assert now[0] == pytest.approx(1005, abs=0.1)
