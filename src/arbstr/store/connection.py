"""How the database file is opened."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from arbstr.store.errors import StoreError, is_busy, not_opened
from arbstr.store.migrate import check, migrate

LOCK_WAIT = 0.25
"""Seconds for which one statement waits for somebody else's lock."""

SWITCH_PAUSE = 0.01
"""Seconds between two tries to switch a file to its write-ahead log."""

_WRITER_PRAGMAS = (
    # A commit is one append to the write-ahead log that does not wait for the disk: it survives the end of the process
    # at once, and a power cut from the next checkpoint on.
    "PRAGMA synchronous = NORMAL",
    # The write-ahead log grows while somebody reads for long; it need not stay that large.
    "PRAGMA journal_size_limit = 67108864",
)


def open_writer(path: Path, *, wait: float) -> sqlite3.Connection:
    """A connection for writing, in autocommit and WAL mode, the schema up to date.

    A missing file is created, for its owner alone. ``wait`` is for how many seconds a lock of somebody else is waited
    for now; later on, each statement waits for LOCK_WAIT. Raises StoreError.
    """
    _create(path)
    connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        check(connection)  # before the first change: the file may be another program's
        switch_to_wal(connection, wait=wait)
        for pragma in _WRITER_PRAGMAS:
            connection.execute(pragma)
        migrate(connection)
        connection.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000:.0f}")
    except (sqlite3.Error, StoreError) as error:
        connection.close()
        raise StoreError(f"{path}: {error}") from error
    return connection


def switch_to_wal(
    connection: sqlite3.Connection,
    *,
    wait: float,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Switch the file to WAL mode, for which a lock of somebody else is waited for, ``wait`` seconds at most.

    The switch is the one statement that does not always heed the connection's own timeout: it begins by reading, and
    who reads and wants to write is told at once that somebody else writes. So two who open a new file at the same time
    would meet. Raises sqlite3.Error, and StoreError (without the file's name) where there can be no such log.
    """
    deadline = monotonic() + wait
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if not is_busy(error) or monotonic() >= deadline:
                raise
        sleep(SWITCH_PAUSE)
    if mode != "wal":
        raise StoreError("lies where SQLite cannot keep a write-ahead log, for example on a network drive")


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can only read, whose rows have names. Raises sqlite3.Error."""
    # as_uri quotes what SQLite would take for the beginning of an option
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=ro", uri=True, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection


def identity(path: Path) -> tuple[int, int] | None:
    """Which file the name stands for, or None for no file: SQLite itself does not notice that its file was deleted."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _create(path: Path) -> None:
    """Make the file where there is none, for its owner alone.

    One that is there is not opened, not even for a moment: to close it again would give up every lock that SQLite holds
    on it in this process (sqlite.org/howtocorrupt.html, 2.2). The next process that is done with the file would then
    take itself for the last one, and remove the write-ahead log beneath us.
    """
    try:
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        if path.is_dir():
            raise StoreError(f"{path}: cannot be opened: {os.strerror(errno.EISDIR)}") from error
    except OSError as error:
        raise not_opened(path, error) from error
