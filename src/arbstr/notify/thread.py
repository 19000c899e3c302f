"""Calls that block, each in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable


async def in_thread(work: Callable[[], None]) -> None:
    """Wait for ``work`` in a daemon thread. Raises what it raises.

    Unlike those of :func:`asyncio.to_thread`, such a thread holds up nobody else's work, nor the end of the process,
    when the wait for it is cancelled and it goes on.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        error = None
        try:
            work()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name="arbstr-alert", daemon=True).start()
    await done
