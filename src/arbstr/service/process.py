"""What the gateway wants of the process that it runs in."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource

M_MMAP_THRESHOLD = -3
"""As ``malloc.h`` of glibc numbers it."""

LARGE_BLOCK = 256 * 1024
"""Bytes from which a block of memory is mapped by itself, and unmapped when it is freed."""

GC_THRESHOLD = 50_000
"""Allocations between two collections of the youngest generation: the hot path makes no cycles, and a collection in
the middle of it is what p99 is made of."""


def keep_standard_files() -> None:
    """Open what is closed of stdin, stdout and stderr on nothing. Their numbers must not become those of sockets: what
    prints would write into them, and libuv aborts the process that closes one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def raise_file_limit() -> None:
    """Allow as many open files as the machine lets us: each caller may need two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def return_large_memory() -> None:
    """Have the C library give large blocks back as soon as they are free.

    By default glibc keeps, after one body of 30 MB, blocks of up to that size for itself, and a burst of large requests
    stays resident for good.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def tame_the_collector() -> None:
    """What lives now lives for ever, and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
