"""Lines on stdout that nobody waits for."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

LINES_PER_WRITE = 64
"""Rendering holds the interpreter lock and writing gives it back: this many lines keep the event loop waiting for
some 100 µs at most."""

_FULL_PIPE_POLL_MS = 100


class LineWriter:
    """Writes lines to a file descriptor from a daemon thread of its own.

    :meth:`put` queues and returns at once, whatever the reader does. When the queue is full, or a write fails (the
    pipe is closed, the disk is full), lines are dropped and counted, and the first write that succeeds afterwards
    begins with ``notice(count)``. The thread looks at the queue every ``interval`` seconds, or when :meth:`wake` is
    called. ``put`` and ``wake`` may be called from any thread.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        notice: Callable[[int], bytes],
        capacity: int = 8192,
        interval: float = 0.1,
    ) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._capacity = capacity
        self._interval = interval
        self._queue: deque[tuple[Callable[[Any], bytes], Any]] = deque()
        self._counting = threading.Lock()
        self._dropped = 0
        self._told = 0
        self._torn = False
        self._closing = False
        self._abandoned = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arbstr-log-lines", daemon=True)
        self._thread.start()

    def put(self, render: Callable[[T], bytes], value: T) -> None:
        """Queue ``render(value)``, a whole line with its line feed. Rendering happens in the writer's thread."""
        if len(self._queue) >= self._capacity or self._closing:
            self._drop(1)
            return
        self._queue.append((render, value))

    def wake(self) -> None:
        """Write what is queued now instead of at the next look."""
        self._wake.set()

    @property
    def dropped(self) -> int:
        """Lines that were never written."""
        return self._dropped

    def close(self, timeout: float = 2.0) -> bool:
        """Write what is queued and stop. False if that took longer than ``timeout`` seconds: the rest is given up."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout)
        self._abandoned = True
        return not self._thread.is_alive()

    def _drop(self, lines: int) -> None:
        with self._counting:
            self._dropped += lines

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._interval)
            self._wake.clear()
            self._drain()
        self._drain()
        if self._dropped > self._told:
            self._write([])

    def _drain(self) -> None:
        while self._queue and not self._abandoned:
            self._write(self._next_lines())

    def _next_lines(self) -> list[bytes]:
        lines = []
        for _ in range(min(LINES_PER_WRITE, len(self._queue))):
            render, value = self._queue.popleft()
            try:
                lines.append(render(value))
            except Exception:  # one strange value must not silence everything after it
                self._drop(1)
        return lines

    def _write(self, lines: list[bytes]) -> None:
        untold = self._dropped - self._told
        notice = [self._notice(untold)] if untold else []
        start = b"\n" if self._torn else b""
        try:
            self._write_all(start + b"".join(notice + lines))
        except OSError:
            self._drop(len(lines))
        else:
            self._told += untold
            self._torn = False

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:  # somebody who shares our stdout made it non-blocking
                self._await_room()
                continue
            rest = rest[written:]
            self._torn = bool(rest)

    def _await_room(self) -> None:
        if self._abandoned:
            raise BlockingIOError("closed before the pipe had room")
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll(_FULL_PIPE_POLL_MS)


def stdout_descriptor() -> int:
    """A descriptor of its own for stdout, or for nowhere if the process was started without one.

    Its own, because the number 1 can be closed and come back as somebody's socket.
    """
    if sys.__stdout__ is None:
        return os.open(os.devnull, os.O_WRONLY)
    return os.dup(1)
