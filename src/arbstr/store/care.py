"""What an operator does for the database file: look whether it is sound, copy it, give its free room back."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec

from arbstr.store.connection import open_writer
from arbstr.store.errors import StoreError, is_damaged, is_full, not_opened
from arbstr.store.lock import ServingLock
from arbstr.store.migrate import migrate, shipped
from arbstr.store.opened import LOCK_WAIT, reading
from arbstr.store.rebuild import rebuild, verify

PAGES = 512
"""Pages that one step of a backup copies: two megabytes."""
MOST_PROBLEMS = 20
"""Problems that are told of one file."""

_ROOM = 2
"""How many times a file's size has to be free to write it anew: once as a copy, once in its write-ahead log."""

_TABLES = ("requests", "attempts", "keys")

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


class Health(msgspec.Struct, frozen=True):
    """What a check has found."""

    schema: int
    newest: int
    """The newest schema that this arbstr knows."""
    rows: dict[str, int]
    """By table."""
    bytes: int
    free_bytes: int
    """Part of ``bytes``: room for new rows, which :func:`vacuum` gives back."""
    problems: tuple[str, ...]
    """What is wrong, one line each; none where all is well."""
    repaired: tuple[str, ...] = ()
    """What was wrong, and is no longer."""


def check(path: Path, *, repair: bool = False, progress: Progress | None = None) -> Health:
    """Look at every page and index of the file, at its schema, and whether the roll-ups say what the rows say, beside a
    server or without one.

    With ``repair``, roll-ups that do not are made anew from the rows. ``progress`` is told of the days that were looked
    at, and of the rows that were added up. Raises StoreError where the file cannot be read at all: it is missing,
    another program's, a newer arbstr's, no database.
    """
    with reading(path, whole=False) as connection:
        found = _looked_at(connection)
        if found.problems or found.schema < found.newest:
            return found
        wrong = verify(connection, progress)
    if not wrong:
        return found
    if not repair:
        return msgspec.structs.replace(found, problems=tuple(wrong))
    try:
        with contextlib.closing(open_writer(path, wait=LOCK_WAIT)) as connection:
            connection.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000:.0f}")
            rebuild(connection, progress)
            left = verify(connection, progress)
    except (sqlite3.Error, ValueError) as error:
        raise StoreError(f"{path}: the roll-ups cannot be made anew: {error}") from error
    return msgspec.structs.replace(
        found, problems=tuple(left), repaired=tuple(line for line in wrong if line not in left)
    )


def _looked_at(connection: sqlite3.Connection) -> Health:
    """What is to be seen of the file without knowing what it means, of one moment."""
    connection.execute("BEGIN")
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    problems = _damage(connection) or _missing(connection, schema)
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    found = Health(
        schema=schema,
        newest=shipped()[-1].version,
        rows={} if problems else _counts(connection),
        bytes=size * pages,
        free_bytes=size * free,
        problems=tuple(problems[:MOST_PROBLEMS]),
    )
    with contextlib.suppress(sqlite3.Error):  # which repeats what was found
        connection.execute("ROLLBACK")
    return found


def _damage(connection: sqlite3.Connection) -> list[str]:
    """What is wrong with pages and indexes."""
    found = []
    try:
        for (line,) in connection.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})"):
            found.append(" ".join(line.split()))
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            raise
        found.append(str(error))
    return [] if found == ["ok"] else found


def _missing(connection: sqlite3.Connection, schema: int) -> list[str]:
    """What of the schema is not there, or is not as arbstr makes it. More than that, such as another index, is fine."""
    query = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        if schema:
            migrate(model, shipped()[:schema])
        expected = {(kind, name): sql for kind, name, sql in model.execute(query)}
    there = {(kind, name): sql for kind, name, sql in connection.execute(query)}
    return [
        f"the {kind} {name} is {'not as arbstr makes it' if (kind, name) in there else 'missing'}"
        for (kind, name), sql in expected.items()
        if there.get((kind, name)) != sql
    ]


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _TABLES if table in there
    }


def backup(path: Path, target: Path, *, progress: Progress | None = None) -> Health:
    """Copy the database as it is at this moment to ``target``, for its owner alone, beside a server or without one.

    The copy is one file and is checked before this returns. The server waits for nothing, but its write-ahead log grows
    until the copy is done. Raises StoreError, and nothing is left behind: also where ``target`` exists, which is never
    overwritten.
    """
    target = target.absolute()
    with reading(path, whole=False) as source:
        try:
            os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            raise StoreError(f"{target}: is there already; nothing was written") from None
        except OSError as error:
            raise not_opened(target, error) from error
        try:
            _copy(source, target, progress)
            with reading(target, whole=False) as copy:
                health = _looked_at(copy)
            if health.problems:
                raise StoreError(f"{path}: is damaged, so that there is no copy of it: {health.problems[0]}")
        except BaseException as error:
            for name in ("", "-journal", "-wal", "-shm"):
                target.with_name(target.name + name).unlink(missing_ok=True)
            if is_full(error):
                raise StoreError(f"{target}: there is no room for it; nothing is left of it") from error
            raise
    return health


def _copy(source: sqlite3.Connection, target: Path, progress: Progress | None) -> None:
    """One snapshot from the first page to the last: else each row that a server writes would begin it anew."""
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_master").fetchone()
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
        tell = None if progress is None else lambda _, left, total: progress(total - left, total)
        source.backup(copy, pages=PAGES, progress=tell)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, which can be moved as it is
    source.execute("COMMIT")


def vacuum(path: Path) -> tuple[int, int]:
    """Write the file anew without its free room; its size in bytes before and after.

    For that it is nobody else's: raises StoreError where a gateway serves, and where there is no room for a second
    copy; then nothing has changed. While it lasts no gateway can start.
    """
    with reading(path, whole=False):
        pass  # it is there, and ours
    path = path.resolve()
    lock = ServingLock.acquire(path)
    try:
        before = path.stat().st_size
        free = shutil.disk_usage(path.parent).free
        if free < before * _ROOM:
            raise StoreError(f"{path}: for a copy {before * _ROOM:,} bytes have to be free there, and {free:,} are")
        with contextlib.closing(sqlite3.connect(path, timeout=LOCK_WAIT, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, path.stat().st_size
    except sqlite3.Error as error:
        full = "there was no room to write it anew; nothing has changed"
        raise StoreError(f"{path}: {full if is_full(error) else error}") from error
    finally:
        lock.release()
