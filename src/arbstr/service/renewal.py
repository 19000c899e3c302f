"""The snapshot that holds, compiled anew where a provider's models or a catalogue's prices have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from arbstr.domain.routing import Snapshot
from arbstr.ports import Clock
from arbstr.upstream.discover import Found

LOOK_AT_PRICES = 60.0
"""Seconds between two looks at whether a price in the catalogue has changed by its own date."""


class Renewal:
    """Compiles in a thread, one snapshot at a time: what was found later is not replaced by what was found before."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        compile_with: Callable[[Found], Snapshot],
        hold: Callable[[Snapshot], None],
        clock: Clock,
    ) -> None:
        """``snapshot`` is the one that holds now, in which nothing was found; ``hold`` is given each that follows."""
        self._snapshot = snapshot
        self._compile_with = compile_with
        self._hold = hold
        self._clock = clock
        self._found: Found = {}
        self._compiling = asyncio.Lock()

    async def adopt(self, found: Found) -> None:
        """These models are there. Raises what compiling raises; then what was found before still holds."""
        async with self._compiling:
            await self._compile(found)

    async def follow_prices(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(LOOK_AT_PRICES)
            async with self._compiling:
                until = self._snapshot.prices_until
                if until is not None and self._clock.time() >= until:
                    await self._compile(self._found)

    async def _compile(self, found: Found) -> None:
        self._snapshot = await asyncio.to_thread(self._compile_with, found)
        self._found = found
        self._hold(self._snapshot)
