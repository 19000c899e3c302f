"""The keys as ``/admin/keys`` sees them: :class:`~arbstr.ports.KeyStore` in the SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from arbstr.domain.errors import LogUnavailable
from arbstr.domain.identity import Key
from arbstr.domain.money import Currency
from arbstr.domain.secret import Secret
from arbstr.policy.key_changes import KeyChange
from arbstr.ports import Clock
from arbstr.store import keys
from arbstr.store.errors import StoreError
from arbstr.store.key_watch import KeyWatch

T = TypeVar("T")

Opener = Callable[[Path], contextlib.AbstractContextManager[sqlite3.Connection]]


class SqliteKeys:
    """Implements :class:`~arbstr.ports.KeyStore`. Each call has a thread and a connection of its own while it lasts.

    ``currency`` is that of budgets whose currency a change leaves open.
    """

    def __init__(self, path: Path, *, watch: KeyWatch, clock: Clock, currency: Currency) -> None:
        self._path = path
        self._watch = watch
        self._clock = clock
        self._currency = currency

    async def list(self) -> list[Key]:
        return (await self._do(keys.reading, keys.load))[1]

    async def get(self, name_or_id: str) -> Key:
        return await self._do(keys.reading, lambda connection: keys.get(connection, name_or_id))

    async def create(self, change: KeyChange) -> tuple[Key, Secret]:
        now = self._clock.time()
        return await self._change(lambda connection: keys.create(connection, change, now=now, currency=self._currency))

    async def update(self, name_or_id: str, change: KeyChange) -> Key:
        return await self._change(
            lambda connection: keys.update(connection, name_or_id, change, currency=self._currency)
        )

    async def revoke(self, name_or_id: str) -> Key:
        now = self._clock.time()
        return await self._change(lambda connection: keys.revoke(connection, name_or_id, now=now))

    async def rotate(self, name_or_id: str, *, grace: float) -> tuple[Key, Secret]:
        now = self._clock.time()
        return await self._change(lambda connection: keys.rotate(connection, name_or_id, grace=grace, now=now))

    async def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work``, and have the gateway know of it before anybody is told."""
        return await self._do(keys.changing, work, then=self._watch.look)

    async def _do(
        self, open: Opener, work: Callable[[sqlite3.Connection], T], then: Callable[[], None] | None = None
    ) -> T:
        def in_thread() -> T:
            with open(self._path) as connection:
                result = work(connection)
            if then is not None:
                then()
            return result

        try:
            return await asyncio.to_thread(in_thread)
        except StoreError as error:
            raise LogUnavailable(f"The gateway keys are out of reach: {error}.", retry_after=1.0) from error
