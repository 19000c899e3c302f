"""The database as the command line opens it: to read, beside a server or without one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from arbstr.store.connection import identity, open_reader
from arbstr.store.errors import StoreError
from arbstr.store.migrate import check, shipped

LOCK_WAIT = 5.0
"""Seconds for which a lock of somebody else is waited for."""


@contextlib.contextmanager
def reading(path: Path, *, whole: bool = True) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode that can only read, whose rows have names. Nothing is created.

    With ``whole`` the schema has to be up to date, else it may be older. Everything that is wrong with the file, also
    while it is read, is raised as StoreError, with one clear line.
    """
    if identity(path) is None:
        raise StoreError(f"{path}: is not there: no gateway has served with this [store] url yet")
    if not path.is_file():
        raise StoreError(f"{path}: is no file")
    try:
        connection = open_reader(path)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    with contextlib.closing(connection):
        try:
            connection.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000:.0f}")
            connection.text_factory = _text
            _check(connection, whole=whole)
        except (sqlite3.Error, StoreError) as error:
            raise StoreError(f"{path}: {error}") from error
        try:
            yield connection
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error


def _text(data: bytes) -> str:
    """Whatever stands there: somebody else may have written it."""
    return data.decode("utf-8", "replace")


def _check(connection: sqlite3.Connection, *, whole: bool) -> None:
    """Raise StoreError (without the file's name) where the schema is not ours, too new, or too old."""
    check(connection)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = shipped()[-1].version
    if whole and version < newest:
        raise StoreError(f"has schema {version}, and this arbstr reads {newest}: `arbstr serve` brings it up to date")
