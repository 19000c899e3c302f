"""The machine's clock."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The machine's clock: implements :class:`~arbstr.ports.Clock`."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)

    async def wait(self, future: asyncio.Future[None], seconds: float) -> bool:
        await asyncio.wait([future], timeout=seconds)
        return future.done()
