"""The table of gateway keys: its queries, and its changes, each in a transaction of its own.

The functions work on a connection in autocommit mode, :func:`changing`'s or :func:`reading`'s. What is kept of a
secret is its hash; the secret itself is handed back by the call that made it, and exists nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from arbstr.domain.errors import Conflict, InvalidRequest, NotFound
from arbstr.domain.identity import (
    ID_BYTES,
    ID_PREFIX,
    PERIODS,
    SECRET_BYTES,
    Budgets,
    Key,
    new_secret,
    secret_hash,
)
from arbstr.domain.limits import Limits
from arbstr.domain.money import Currency
from arbstr.domain.secret import Secret
from arbstr.policy.key_changes import KeyChange, changed
from arbstr.store.connection import identity, open_reader, open_writer
from arbstr.store.errors import StoreError
from arbstr.store.migrate import check, migrate
from arbstr.store.rows import storable, time_text

LOCK_WAIT = 5.0
"""Seconds for which a change waits for somebody else's: a server writes beside it."""

_SINCE = 2
"""The schema in which keys came."""

_COLUMNS = (
    "id",
    "name",
    "hash",
    "models",
    "policy",
    "budget_currency",
    *(f"budget_{period}" for period in PERIODS),
    "rpm",
    "tpm",
    "max_parallel",
    "created_at",
    "expires_at",
    "revoked_at",
    "previous_hash",
    "previous_until",
)
_WRITE = (
    f"INSERT INTO keys ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = :{name}' for name in _COLUMNS)}"
)
_ALL = f"SELECT {', '.join(_COLUMNS)} FROM keys"
_NAMED = f"{_ALL} WHERE id = :it OR name = :it ORDER BY id = :it DESC, revoked_at IS NULL DESC, revoked_at DESC LIMIT 1"


@contextlib.contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for changes, beside a server or without one. A missing file is created, for its owner alone.

    Everything that is wrong with the file is raised as StoreError, with one clear line.
    """
    connection = open_writer(path, wait=LOCK_WAIT)
    try:
        connection.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000:.0f}")
        connection.execute("PRAGMA synchronous = FULL")  # unlike a row of the log, a revocation outlives a power cut
        yield connection
    except (sqlite3.Error, StoreError) as error:
        raise StoreError(f"{path}: {error}") from error
    finally:
        connection.close()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for queries; nothing is created. A file that is missing, or from before there were keys, has none.

    Raises StoreError as :func:`changing` does.
    """
    try:
        with contextlib.closing(_reader(path)) as connection:
            yield connection
    except (sqlite3.Error, StoreError) as error:
        raise StoreError(f"{path}: {error}") from error


def create(connection: sqlite3.Connection, change: KeyChange, *, now: float, currency: Currency) -> tuple[Key, Secret]:
    """A new key as ``change`` describes it, and its secret.

    ``now`` is in seconds since the epoch; ``currency`` is that of budgets whose currency ``change`` leaves open. Raises
    Conflict where a key that is not revoked has the name, InvalidRequest where ``change`` has none or is at odds.
    """
    secret = new_secret(os.urandom(SECRET_BYTES))
    if change.name is msgspec.UNSET:
        raise InvalidRequest("A key needs a name.", param="name")
    blank = Key(f"{ID_PREFIX}{os.urandom(ID_BYTES).hex()}", change.name, secret_hash(secret.reveal()), now)
    with _transaction(connection):
        return _write(connection, changed(blank, change, currency=currency)), secret


def get(connection: sqlite3.Connection, name_or_id: str) -> Key:
    """The key with this id; else the one of this name, of revoked ones the latest. Raises NotFound."""
    row = connection.execute(_NAMED, {"it": storable(name_or_id)}).fetchone()
    if row is None:
        raise NotFound(f"There is no key with the name or id {name_or_id!r}.")
    return _key(row)


def load(connection: sqlite3.Connection) -> tuple[int, list[Key]]:
    """All keys, the oldest first, and their generation: a number that no two states of the table share."""
    with _transaction(connection, "BEGIN"):
        return generation(connection), [_key(row) for row in connection.execute(f"{_ALL} ORDER BY created_at, rowid")]


def generation(connection: sqlite3.Connection) -> int:
    """How often keys were changed, ever. Raises StoreError (without the file's name) where that is not known."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'keys_generation'").fetchone()
    if row is None:
        raise StoreError("it is not known whether the keys have changed: settings has no keys_generation")
    return int(row[0])


def update(connection: sqlite3.Connection, name_or_id: str, change: KeyChange, *, currency: Currency) -> Key:
    """Change a key, which is handed back as it is then; ``currency`` as for :func:`create`.

    Raises NotFound, Conflict where it is revoked or the new name is taken, InvalidRequest where ``change`` is at odds
    with what there is.
    """
    with _transaction(connection):
        return _write(connection, changed(_unrevoked(connection, name_or_id), change, currency=currency))


def revoke(connection: sqlite3.Connection, name_or_id: str, *, now: float) -> Key:
    """Revoke a key for good; one that is revoked already stays as it is. Raises NotFound."""
    with _transaction(connection):
        key = get(connection, name_or_id)
        if key.revoked_at is not None:
            return key
        return _write(connection, msgspec.structs.replace(key, revoked_at=now))


def rotate(connection: sqlite3.Connection, name_or_id: str, *, grace: float, now: float) -> tuple[Key, Secret]:
    """Give a key a new secret. The old one is good for ``grace`` seconds more, one before it no longer.

    Raises NotFound, and Conflict where it is revoked.
    """
    secret = new_secret(os.urandom(SECRET_BYTES))
    with _transaction(connection):
        key = _unrevoked(connection, name_or_id)
        rotated = msgspec.structs.replace(
            key,
            hash=secret_hash(secret.reveal()),
            previous_hash=key.hash if grace > 0 else None,
            previous_until=now + grace if grace > 0 else None,
        )
        return _write(connection, rotated), secret


def _reader(path: Path) -> sqlite3.Connection:
    if identity(path) is not None:
        connection = open_reader(path)
        try:
            check(connection)
            if connection.execute("PRAGMA user_version").fetchone()[0] >= _SINCE:
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    migrate(connection)
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _unrevoked(connection: sqlite3.Connection, name_or_id: str) -> Key:
    key = get(connection, name_or_id)
    if key.revoked_at is not None:
        raise Conflict(f"The key {key.name!r} ({key.id}) is revoked, which is for good: create another.")
    return key


def _write(connection: sqlite3.Connection, key: Key) -> Key:
    """Insert or update the key's row; within a transaction. The key as it stands there then."""
    taken = "SELECT id FROM keys WHERE name = ? AND revoked_at IS NULL AND id <> ?"
    if key.revoked_at is None and connection.execute(taken, (key.name, key.id)).fetchone() is not None:
        raise Conflict(f"There is a key with the name {key.name!r} already.", param="name")
    connection.execute(_WRITE, _row(key))
    return get(connection, key.id)


def _row(key: Key) -> dict[str, Any]:
    budgets = dict.fromkeys(PERIODS) if key.budgets is None else dict(key.budgets.amounts())
    return {
        "id": key.id,
        "name": key.name,
        "hash": key.hash,
        "models": None if key.models is None else msgspec.json.encode(key.models).decode(),
        "policy": key.policy,
        "budget_currency": None if key.budgets is None else key.budgets.currency.value,
        **{f"budget_{period}": amount for period, amount in budgets.items()},
        "rpm": key.limits.rpm,
        "tpm": key.limits.tpm,
        "max_parallel": key.limits.max_parallel,
        "created_at": time_text(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "previous_hash": key.previous_hash,
        "previous_until": _time(key.previous_until),
    }


def _key(row: Any) -> Key:
    """The key of a row. Raises StoreError (without the file's name) where somebody wrote something else into it."""
    fields = dict(zip(_COLUMNS, row, strict=True))
    currency, models = fields["budget_currency"], fields["models"]
    amounts = {period: fields[f"budget_{period}"] for period in PERIODS}
    try:
        return Key(
            id=fields["id"],
            name=fields["name"],
            hash=fields["hash"],
            created_at=_seconds(fields["created_at"]),
            models=None if models is None else msgspec.json.decode(models, type=tuple[str, ...]),
            policy=fields["policy"],
            budgets=None if currency is None else Budgets(Currency(currency), **amounts),
            limits=Limits(fields["rpm"], fields["tpm"], fields["max_parallel"]),
            expires_at=_optional_seconds(fields["expires_at"]),
            revoked_at=_optional_seconds(fields["revoked_at"]),
            previous_hash=fields["previous_hash"],
            previous_until=_optional_seconds(fields["previous_until"]),
        )
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        raise StoreError(f"the row of the key {fields['id']} cannot be read: {error}") from error


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time_text(seconds)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _optional_seconds(text: str | None) -> float | None:
    return None if text is None else _seconds(text)
