"""The schema, brought up to date step by step.

A migration is a file ``migrations/NNNN_name.sql``, numbered from 1 without gaps and never changed once released. The
number of the last one applied is the database's ``user_version``. It is changed by the transaction that applies the
migration, so that a process killed in the middle has done nothing, and the next one begins where it began.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from importlib import resources

import msgspec

from arbstr.store.errors import StoreError

APPLICATION_ID = 0x61726273
"""``arbs``: how a database of ours is told from other programs'."""


_IDENTITY = """
SELECT (SELECT user_version FROM pragma_user_version),
       (SELECT application_id FROM pragma_application_id),
       (SELECT count(*) FROM sqlite_master)
"""
# One statement: between two, another process may migrate, and its half-read work looks like another program's.


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema."""

    version: int
    name: str
    script: str
    """SQL statements; each ends in a semicolon at the end of a line."""


def shipped() -> list[Migration]:
    """The migrations that come with this arbstr, in order."""
    folder = resources.files("arbstr.store") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [Migration(int(file.name[:4]), file.name, file.read_text(encoding="utf-8")) for file in files]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] | None = None) -> int:
    """Apply what is missing, each migration in a transaction of its own, and return the schema's version.

    ``connection`` is in autocommit mode. Nothing is written where nothing is missing. Raises StoreError (without the
    file's name) where the schema is newer than ``migrations`` (default: the shipped ones) or is not arbstr's.
    """
    steps = shipped() if migrations is None else migrations
    newest = steps[-1].version
    for step in steps:
        if _version(connection, newest) < step.version:
            _apply(connection, step, newest)
    return _version(connection, newest)


def check(connection: sqlite3.Connection) -> None:
    """Look at the schema without changing anything. Raises StoreError as :func:`migrate` does."""
    _version(connection, shipped()[-1].version)


def _apply(connection: sqlite3.Connection, step: Migration, newest: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection, newest) < step.version:  # another process may have been faster
            for statement in statements(step.script):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {step.version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, newest: int) -> int:
    """The number of the last migration applied, 0 for an empty database."""
    version, application, tables = connection.execute(_IDENTITY).fetchone()
    if application != APPLICATION_ID and (version or tables):
        raise StoreError("is the SQLite database of another program")
    if version > newest:
        raise StoreError(f"has schema {version}, but this arbstr knows none newer than {newest}: a newer one wrote it")
    return int(version)


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: ``executescript`` would commit before it begins."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending
