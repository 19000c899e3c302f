"""The keys of a running gateway: what another process changes about them holds within a second."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arbstr.policy.keys import KeyRing
from arbstr.store.connection import identity, open_reader
from arbstr.store.errors import StoreError, is_busy
from arbstr.store.keys import generation, load
from arbstr.store.writer import OnProblem

INTERVAL = 0.25
"""Seconds between two looks at the generation, each of which takes some microseconds."""
PATIENCE = 3
"""Looks in a row that meet a lock before that is called a problem."""


class KeyWatch:
    """Looks at the keys in a thread of its own, and hands a new ring to the event loop whenever they have changed.

    It never falls open. Where the database cannot be read, the last keys that were read stay good, and the operator is
    told once. So it is where the file was replaced by one in which there were never any keys. Where they were removed
    from the table by hand, nobody has a key, and everybody needs one.
    """

    def __init__(self, path: Path, *, on_problem: OnProblem, interval: float = INTERVAL) -> None:
        """Read the keys now. ``path`` is absolute, and its schema up to date. ``on_problem`` is told what the writer's
        is, in whatever thread looks. Raises StoreError where they cannot be read."""
        self._path = path
        self._on_problem = on_problem
        self._interval = interval
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._seen: tuple[Any, int] | None = None
        self._failures = 0
        self._told: set[str] = set()
        self._adopt: Callable[[KeyRing], None] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arbstr-key-watch", daemon=True)
        self.ring = KeyRing()
        """The newest keys."""
        try:
            self._read()
        except (sqlite3.Error, StoreError) as error:
            self._disconnect()
            raise StoreError(f"{path}: the gateway keys cannot be read: {error}") from error

    def start(self, adopt: Callable[[KeyRing], None]) -> None:
        """Look from now on. ``adopt`` is called with the ring that there is, and on the running event loop with each
        that comes."""
        loop = asyncio.get_running_loop()

        def adopt_soon(ring: KeyRing) -> None:
            loop.call_soon_threadsafe(adopt, ring)

        with self._lock:
            self._adopt = adopt_soon
            adopt(self.ring)
        self._thread.start()

    def look(self) -> None:
        """Look now. A new ring is on its way to the loop when this returns, before whatever is sent there later."""
        with self._lock:
            try:
                changed = self._read()
            except Exception as error:  # the thread must outlive whatever this is
                self._failed(error)
            else:
                self._succeeded()
                if changed and self._adopt is not None:
                    self._adopt(self.ring)

    def stop(self) -> None:
        """Look no more. Waits for a look that has begun."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self._adopt = None
            self._disconnect()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.look()

    def _read(self) -> bool:
        """Read the keys if they have changed; whether they have."""
        connection = self._connected()
        if self._seen == (self._opened, generation(connection)):
            return False
        number, keys = load(connection)
        if number == 0 and self.ring.exists:
            raise StoreError("the file has no keys and never had: it is not the one they were read from")
        self.ring = KeyRing(keys, exists=number > 0 or self.ring.exists)
        self._seen = (self._opened, number)
        return True

    def _connected(self) -> sqlite3.Connection:
        found = identity(self._path)
        if found is None:
            raise StoreError("the file was deleted")
        if self._connection is None or found != self._opened:
            self._disconnect()
            self._connection = open_reader(self._path)
            self._opened = found
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if is_busy(error) and self._failures < PATIENCE:
            return
        self._disconnect()
        problem = str(error) or type(error).__name__
        if problem not in self._told:
            self._told.add(problem)
            self._tell("the gateway keys cannot be read, those read before stay good", error=problem)

    def _succeeded(self) -> None:
        self._failures = 0
        if self._told:
            self._told.clear()
            self._tell("the gateway keys are read again", recovered=True)

    def _tell(self, event: str, **fields: Any) -> None:
        with contextlib.suppress(Exception):  # a reporter that fails must not end the watch
            self._on_problem(event, fields)
