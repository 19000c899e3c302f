"""The one thread that writes to the request log, behind a bounded queue."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arbstr.domain.record import RequestRecord
from arbstr.ports import LogHealth
from arbstr.store.connection import LOCK_WAIT, identity, open_writer
from arbstr.store.errors import StoreError, is_about_the_row, is_busy, is_full
from arbstr.store.rollups import Roller
from arbstr.store.rows import ATTEMPT_COLUMNS, REQUEST_COLUMNS, attempt_rows, clipped, request_row

BATCH = 500
"""Rows in one transaction, at most."""
PATIENCE = 3
"""Tries in a row that meet a lock before that is called a problem: the command line writes beside a server."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two tries while the database cannot be written: the first pause doubles up to the longest."""
STUCK_AFTER = 5.0
"""Seconds without a sign of life, while rows wait, after which the writer is called stuck."""

OnProblem = Callable[[str, dict[str, Any]], None]
"""Told what goes wrong, and that it is over, once each: a short sentence and fields for the operator's log.

Where it is over, the fields have ``recovered=True``, and only there: ``fields.pop("recovered", False)`` says whether it
is an ``info`` line or an ``error``.
"""


def _insert(table: str, columns: tuple[str, ...]) -> str:
    # A row may come twice: when a commit failed half-way, and when a caller's id does.
    values = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}) ON CONFLICT DO NOTHING"


_INSERT_REQUEST = _insert("requests", REQUEST_COLUMNS)
_INSERT_ATTEMPT = _insert("attempts", ATTEMPT_COLUMNS)


class Writer:
    """Takes records from one thread, the event loop's, and writes them in its own.

    Every ``flush_interval`` seconds, or as soon as a whole batch waits, the queue is written. A row counts as queued
    until its transaction is committed, so whatever fails is tried again. Three ways in which that ends:

    - The database cannot be written now (locked, full, gone): the rows wait, the file is opened anew where that may
      help, and new rows are accepted until ``queue_limit`` of them wait. Those that come then are dropped.
    - One row cannot be written ever: its batch is halved until the row is alone, and it is dropped.
    - Time is up while closing: what waits is dropped.

    Every dropped row is counted, and ``on_problem`` is told; it is called in the writer's thread.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        *,
        on_problem: OnProblem,
        queue_limit: int,
        flush_interval: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = connection
        self._identity = identity(path)
        self._on_problem = on_problem
        self._limit = queue_limit
        self._room = queue_limit  # 0 from the moment of closing
        self._flush_interval = flush_interval
        self._monotonic = monotonic
        self._queue: deque[RequestRecord] = deque()
        self._batches: deque[list[RequestRecord]] = deque()  # out of the queue, not yet committed
        # Each counter is changed by one thread only, and read by others.
        self._accepted = 0
        self._refused = 0
        self._settled = 0
        self._unwritable = 0
        self._failures = 0
        self._problem: str | None = None
        self._told: set[str] = set()  # the problems that the operator knows of, until all is well again
        self._full = False
        self._given_up = 0
        self._refused_before = 0
        self._alive_at = self._monotonic()
        self._roller = Roller(self._monotonic)
        self._close_by: float | None = None
        self._wake = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="arbstr-log-writer", daemon=True)
        self._thread.start()

    def put(self, record: RequestRecord) -> None:
        """Queue a record, or count it as dropped. Never raises, costs a microsecond, and wakes nobody for one row."""
        if self._accepted - self._settled >= self._room:
            self._refused += 1
            return
        self._queue.append(clipped(record))
        self._accepted += 1  # after the append: the writer trusts that as many are there
        if len(self._queue) == BATCH:
            self._wake.set()

    def flush(self, timeout: float) -> bool:
        """Wait until everything queued so far is written (or dropped), at most ``timeout`` seconds; whether it is."""
        target = self._accepted
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._settled >= target, timeout)

    def stop(self, timeout: float) -> None:
        """Accept no more, write what waits for at most ``timeout`` seconds, then end. Does not wait for it."""
        if self._close_by is None:
            self._room = 0
            self._close_by = self._monotonic() + timeout
            self._wake.set()

    def join(self, timeout: float) -> bool:
        """Wait for the end, at most ``timeout`` seconds; whether it has come and every row was written."""
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self._given_up

    def health(self) -> LogHealth:
        """A picture of this moment; to be called from the thread that calls :meth:`put`."""
        queued = self._queued() - self._given_up
        error = self._problem
        silence = self._monotonic() - self._alive_at
        if error is None and queued and silence > STUCK_AFTER:
            error = f"the writer has been stuck for {silence:.0f} s"
        elif error is None and self._full:
            error = "the queue is full"
        return LogHealth(
            ok=error is None,
            queued=queued,
            written=self._settled - self._unwritable,
            dropped=self._dropped(),
            error=error,
        )

    # From here on: the writer's thread.

    def _run(self) -> None:
        while True:
            close_by = self._close_by  # read before the rows are: nothing is queued after it was set
            done = self._drain()
            if close_by is not None and (done or self._monotonic() >= close_by):
                break
            self._wake.wait(self._flush_interval if done else self._pause())
            self._wake.clear()
        self._give_up()
        self._disconnect()

    def _drain(self) -> bool:
        """Write all that waits now. False if the database does not allow it now; nothing is lost then, nor raised."""
        target = self._accepted  # what comes while this is written waits for the next time: batches stay large
        try:
            while self._settled < target:
                self._alive_at = self._monotonic()
                self._write(self._next_batch())
        except Exception as error:  # the thread must outlive whatever this is
            self._failed(error)
            done = False
        else:
            self._succeeded()
            self._roll_up()
            done = True
        self._alive_at = self._monotonic()
        self._watch_the_queue()
        return done

    def _next_batch(self) -> list[RequestRecord]:
        """The batch at the head of the line; it stays there until it is settled."""
        if not self._batches:
            self._batches.append([self._queue.popleft() for _ in range(min(len(self._queue), BATCH))])
        return self._batches[0]

    def _write(self, batch: list[RequestRecord]) -> None:
        try:
            self._commit(batch)
        except Exception as error:
            if not is_about_the_row(error):
                raise
            if len(batch) == 1:
                self._settle(batch, unwritable=1)
                self._tell("a row of the request log cannot be written", id=batch[0].correlation_id, error=str(error))
                return
            self._batches.popleft()
            middle = len(batch) // 2
            self._batches.extendleft((batch[middle:], batch[:middle]))
        else:
            self._settle(batch)

    def _commit(self, batch: list[RequestRecord]) -> None:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Rows are made one by one in between, so that the event loop's turn comes after a few microseconds.
            connection.executemany(_INSERT_REQUEST, map(request_row, batch))
            connection.executemany(_INSERT_ATTEMPT, (row for record in batch for row in attempt_rows(record)))
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                connection.execute("ROLLBACK")
            raise

    def _roll_up(self) -> None:
        """Now and then, add up what was written. Rows are written whether or not this succeeds."""
        if self._connection is not None and (problem := self._roller.follow(self._connection)) is not None:
            self._tell("the roll-ups of the request log are behind", error=problem)

    def _settle(self, batch: list[RequestRecord], *, unwritable: int = 0) -> None:
        self._batches.popleft()
        self._roller.wrote(len(batch) - unwritable)
        with self._progress:
            self._unwritable += unwritable
            self._settled += len(batch)
            self._progress.notify_all()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_writer(self._path, wait=LOCK_WAIT)
            self._identity = identity(self._path)
        elif identity(self._path) != self._identity:
            raise StoreError(f"{self._path}: was deleted or replaced while in use")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _pause(self) -> float:
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if is_busy(error):
            if self._failures < PATIENCE:
                return
        elif not is_full(error):
            self._disconnect()  # to begin anew: the file may be gone, or its damage repaired
        self._problem = str(error) or type(error).__name__
        if self._problem not in self._told:
            self._told.add(self._problem)
            self._tell("the request log cannot be written", error=self._problem, queued=self._queued())

    def _succeeded(self) -> None:
        self._failures = 0
        if self._problem is not None:
            self._problem = None
            self._told.clear()
            self._tell("the request log is written again", recovered=True, dropped=self._dropped())

    def _watch_the_queue(self) -> None:
        """Tell when rows begin to be refused, and when none were for a while and there is room again."""
        refused = self._refused
        if refused > self._refused_before and not self._full:
            self._full = True
            self._tell("the request log's queue is full, rows are dropped", dropped=self._dropped(), limit=self._limit)
        elif refused == self._refused_before and self._full and self._queued() <= self._limit // 2:
            self._full = False
            self._tell("the request log's queue has room again", recovered=True, dropped=self._dropped())
        self._refused_before = refused

    def _give_up(self) -> None:
        self._given_up = self._queued()
        if self._given_up:
            error = self._problem or "there was not enough time"
            self._tell("the request log was closed with rows unwritten", dropped=self._given_up, error=error)

    def _queued(self) -> int:
        return self._accepted - self._settled

    def _dropped(self) -> int:
        return self._refused + self._unwritable + self._given_up

    def _tell(self, event: str, **fields: Any) -> None:
        with contextlib.suppress(Exception):  # a reporter that fails must not end the writer
            self._on_problem(event, fields)
