"""What the operator is told when the database file cannot be used."""

from __future__ import annotations

import sqlite3
from pathlib import Path


class StoreError(Exception):
    """The database file cannot be used. The message is one line that begins with the file's name."""


def not_opened(path: Path, error: OSError) -> StoreError:
    """The refusal of the operating system to open ``path``, in words."""
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{path}: the folder {path.parent} does not exist")
    return StoreError(f"{path}: cannot be opened: {error.strerror or error}")


def is_busy(error: BaseException) -> bool:
    """Whether somebody else holds the database at the moment, and nothing else is wrong."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: BaseException) -> bool:
    """Whether there is no room to write; the connection itself is fine, and can still read."""
    return _code(error) == sqlite3.SQLITE_FULL


def is_damaged(error: BaseException) -> bool:
    """Whether what is in the file cannot be: pages that point nowhere, rows that are none."""
    return _code(error) == sqlite3.SQLITE_CORRUPT


def is_about_the_row(error: BaseException) -> bool:
    """Whether it is what was to be written that is wrong, so that trying again cannot help.

    Everything that speaks of the file, the disk or the memory may pass; sqlite3 raises a bare DatabaseError where
    the file is damaged, and subclasses of it for everything else.
    """
    environment = (sqlite3.OperationalError, sqlite3.InternalError, StoreError, OSError, MemoryError)
    return not isinstance(error, environment) and type(error) is not sqlite3.DatabaseError


def _code(error: BaseException) -> int | None:
    """SQLite's primary result code; None where the error is not SQLite's."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
