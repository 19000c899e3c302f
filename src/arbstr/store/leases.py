"""The table of leases: what counts as spent in a window if the process that works within it dies."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from arbstr.ports import Lease
from arbstr.store.connection import identity, open_writer

STEP = 100
"""Rows of closed windows that one write removes, at most."""

KEPT = {"hour": 2 * 3600, "day": 2 * 86400, "month": 62 * 86400}
"""For how many seconds before the newest window older ones are kept: two windows. A total is never over."""

_WRITE = """
INSERT INTO leases (account, period, start, currency, leased) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (account, period, start, currency) DO UPDATE SET leased = excluded.leased
"""
_PRUNE = """
DELETE FROM leases WHERE (account, period, start, currency) IN
    (SELECT account, period, start, currency FROM leases WHERE period = ? AND start < ? LIMIT ?)
"""


def load(connection: sqlite3.Connection) -> list[Lease]:
    """All that are written down."""
    return [Lease(*row) for row in connection.execute("SELECT account, period, start, currency, leased FROM leases")]


def connect(path: Path, *, wait: float) -> sqlite3.Connection:
    """A connection for writing, whose commits survive a power cut: each waits for the disk.

    A lock of somebody else is waited for, ``wait`` seconds at most. Raises StoreError.
    """
    connection = open_writer(path, wait=wait)
    connection.execute(f"PRAGMA busy_timeout = {wait * 1000:.0f}")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class Leases:
    """Writes leases, with a connection of its own, opened when it is needed. Belongs to one thread at a time."""

    def __init__(self, path: Path, *, lock_wait: float) -> None:
        self._path = path
        self._lock_wait = lock_wait
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._pruned: dict[str, int] = {}
        """By period: the newest window before which nothing is left to remove."""

    def write(self, leases: Sequence[Lease]) -> None:
        """Write all of them in place of earlier ones, or none: the last one written counts, be it less.

        Raises sqlite3.Error or StoreError, and OverflowError for an amount of 2⁶³ or more.
        """
        newest = _newest(leases)
        connection = self._connected()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                _WRITE, [(each.account, each.period, each.start, each.currency, each.amount) for each in leases]
            )
            clean = self._prune(connection, newest)
            connection.execute("COMMIT")
        except BaseException:
            self.close()  # which takes back what was begun; the file may be gone, or its damage repaired later
            raise
        self._pruned |= {period: newest[period] for period in clean}

    def close(self) -> None:
        """Let the file go; the next write opens it anew."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _prune(self, connection: sqlite3.Connection, newest: Mapping[str, int]) -> list[str]:
        """Remove some rows of windows that are long over; the periods that have no more of them."""
        clean = []
        for period, start in newest.items():
            if period in KEPT and self._pruned.get(period, 0) < start:
                removed = connection.execute(_PRUNE, (period, start - KEPT[period], STEP)).rowcount
                if removed < STEP:
                    clean.append(period)
        return clean

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and identity(self._path) != self._opened:
            self.close()  # of a file that is gone
        if self._connection is None:
            self._connection = connect(self._path, wait=self._lock_wait)
            self._opened = identity(self._path)
        return self._connection


def _newest(leases: Iterable[Lease]) -> dict[str, int]:
    """By period: the start of the newest window."""
    newest: dict[str, int] = {}
    for each in leases:
        newest[each.period] = max(each.start, newest.get(each.period, 0))
    return newest
