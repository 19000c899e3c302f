"""One serving process for each database file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from arbstr.store.errors import StoreError, not_opened


class ServingLock:
    """An advisory lock on ``<database>.lock``, held from :meth:`acquire` to :meth:`release`.

    The kernel gives it back when its process dies, however it dies, so a file that was left behind means nothing. It is
    never removed: whoever deletes a lock file may delete the one that another process has just locked.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, database: Path) -> ServingLock:
        """Lock, without waiting. Raises StoreError, with the process id of the holder where there is one."""
        path = database.with_name(database.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise not_opened(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreError(f"{database}: in use by another arbstr (process {holder})") from error
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"{path}: cannot be locked: {error.strerror or error}") from error
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
