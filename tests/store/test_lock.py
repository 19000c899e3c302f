"""One serving process for each file, whoever dies how."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from arbstr.store.errors import StoreError
from arbstr.store.lock import ServingLock
from arbstr.store.sqlite import SqliteLog
from tests.store.records import Problems, child, request


def test_a_second_server_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """The refusal names the process; after its kill -9 the lock is free, though the file is still there."""
    path = tmp_path / "log.db"
    first = child("busy_writer", str(path))
    assert first.stdin
    assert first.stdout
    first.stdout.readline()

    with pytest.raises(StoreError) as caught:
        SqliteLog.open(path, on_problem=Problems())
    first.kill()
    first.communicate()
    second = SqliteLog.open(path, on_problem=Problems())

    assert str(caught.value) == f"{path}: in use by another arbstr (process {first.pid})"
    assert second.close()


def test_a_second_log_in_the_same_process_is_refused(tmp_path: Path) -> None:
    """Also by another name of the same file."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    (tmp_path / "other.db").symlink_to(tmp_path / "log.db")

    with pytest.raises(StoreError, match="in use by another arbstr"):
        SqliteLog.open(tmp_path / "other.db", on_problem=Problems())

    assert log.close()


def test_closing_frees_the_lock(tmp_path: Path) -> None:
    """A restart within the same process, as tests and embedders do it."""
    SqliteLog.open(tmp_path / "log.db", on_problem=Problems()).close()

    again = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())

    assert again.close()


def test_a_lock_is_released_once(tmp_path: Path) -> None:
    """A second release must not close a file that has got the same number since."""
    lock = ServingLock.acquire(tmp_path / "log.db")
    lock.release()
    successor = ServingLock.acquire(tmp_path / "log.db")

    lock.release()

    with pytest.raises(StoreError, match="in use"):
        ServingLock.acquire(tmp_path / "log.db")
    successor.release()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The lock is the first thing that is opened, so its words count."""
    with pytest.raises(StoreError, match=r"the folder .*nowhere does not exist"):
        SqliteLog.open(tmp_path / "nowhere" / "log.db", on_problem=Problems())


async def test_short_writes_of_others_are_fine(tmp_path: Path) -> None:
    """The command line may write beside a server; neither notices the other."""
    problems = Problems()
    log = SqliteLog.open(tmp_path / "log.db", on_problem=problems, flush_interval=0.001)
    other = sqlite3.connect(tmp_path / "log.db", timeout=20, isolation_level=None)
    columns = "request_id, ordinal, provider, model, started_at, duration_ms"
    insert = f"INSERT INTO attempts ({columns}) VALUES (?, 0, 'p', 'm', '', 0)"

    for number in range(50):
        log.request(request())
        other.execute(insert, [str(number)])
    log.flush(20)

    counts = other.execute("SELECT (SELECT count(*) FROM requests), (SELECT count(*) FROM attempts)").fetchone()
    other.close()
    await log.aclose()
    assert counts == (50, 100)
    assert problems.told == []
