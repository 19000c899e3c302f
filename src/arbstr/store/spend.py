"""The durable memory of budgets: leases, and what the request log says was spent."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from arbstr.domain.errors import LogUnavailable
from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.ports import Lease, Spent
from arbstr.store.errors import StoreError
from arbstr.store.leases import Leases, load
from arbstr.store.read_pool import ReadPool
from arbstr.store.rows import storable, time_text

LOCK_WAIT = 5.0
"""Seconds for which a lock of somebody else is waited for."""

SUM_TIMEOUT = 120.0
"""Seconds that a sum may take: it reads about a million rows a second."""

MARGIN = 6 * 3600.0
"""Seconds between a request's receipt and the instant to which it is charged, at most, whichever is first.

They are one body and one plan apart, which ``resilience.timeout.request`` bounds, unless the clock was set in between,
or is set back and stands before a window that was open already.
"""

NAME = "The database of budgets"

_SUMS = """
SELECT key_id,
       coalesce(sum(cost_micro_sats), 0) + coalesce(sum(failed_cost_micro_sats), 0),
       coalesce(sum(cost_nano_usd), 0) + coalesce(sum(failed_cost_nano_usd), 0),
       coalesce(sum(cost_micro_sats) FILTER (WHERE cost_usd IS NULL), 0)
           + coalesce(sum(failed_cost_micro_sats) FILTER (WHERE failed_cost_usd IS NULL), 0),
       coalesce(sum(cost_nano_usd) FILTER (WHERE cost_sats IS NULL), 0)
           + coalesce(sum(failed_cost_nano_usd) FILTER (WHERE failed_cost_sats IS NULL), 0)
FROM requests
WHERE {whose} timestamp >= :earliest AND timestamp < :latest
    AND coalesce(charged_at, timestamp) >= :since AND coalesce(charged_at, timestamp) < :before
GROUP BY +key_id
"""
# The range of `timestamp` is for its index: an hour's sum does not read months. The plus keeps SQLite from walking
# the index of keys instead, whose order would save it a sort.

_REMOVED = """
SELECT nullif(account, ''), sum(sats), sum(usd), sum(sats_only), sum(usd_only)
FROM removed_spend
WHERE {whose} start >= :began AND start < :ended
GROUP BY account
"""
# By months, and by processes: nothing of the running day has been removed.


def sums(connection: sqlite3.Connection, *, since: float, before: float, account: str | None) -> list[Spent]:
    """As :meth:`~arbstr.ports.SpendStore.spent`, with rows that were removed since. Exact: the sums are of integers.

    ``connection`` is within a transaction. ``since`` is the beginning of a window that is running.
    """
    values = {
        "earliest": time_text(max(0.0, since - MARGIN)),
        "latest": time_text(before + MARGIN),
        "since": time_text(since),
        "before": time_text(before),
        "account": storable(account),
        "began": since,
        "ended": before,
    }
    totals: dict[str | None, list[int]] = {}
    for query, whose in ((_SUMS, "key_id = :account AND"), (_REMOVED, "account = :account AND")):
        for key, *amounts in connection.execute(query.format(whose=whose if account else ""), values):
            totals[key] = [had + more for had, more in zip(totals.get(key, [0] * 4), amounts, strict=True)]
    found = [_spent(key, amounts) for key, amounts in totals.items() if key is not None]
    if not account:
        found.append(_spent("", [sum(column) for column in zip(*totals.values(), strict=True)] or [0] * 4))
    return [each for each in found if (each.sats or each.usd) and account in (None, each.account)]


def _spent(account: str, amounts: Sequence[int]) -> Spent:
    sats, usd, sats_only, usd_only = amounts
    return Spent(account, MicroSats(sats), NanoUsd(usd), MicroSats(sats_only), NanoUsd(usd_only))


class SqliteSpend:
    """Implements :class:`~arbstr.ports.SpendStore` in the file of the request log.

    Leases are written by one thread, in the order in which they come, so that a lease never waits for a sum. A row is
    part of a sum from the moment that the log's writer has committed it: about a tenth of a second after its request.
    """

    def __init__(self, path: Path, *, lock_wait: float = LOCK_WAIT, timeout: float = SUM_TIMEOUT) -> None:
        """``path`` is that of a :class:`~arbstr.store.sqlite.SqliteLog` that is open: the schema is up to date."""
        path = path.resolve()
        self._pool = ReadPool(path, name=NAME, threads=1, timeout=timeout, lock_wait=lock_wait)
        self._leases = Leases(path, lock_wait=lock_wait)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="arbstr-leases")
        self._closed = False

    async def leases(self) -> list[Lease]:
        """All that are written down."""
        return await self._pool.run(load)

    async def lease(self, leases: Sequence[Lease]) -> None:
        """Write these down, all or none; on return they survive a power cut. Cancelled, they may be written or not.

        Raises LogUnavailable, also where a lock of somebody else was waited for in vain.
        """
        if self._closed:
            raise LogUnavailable(f"{NAME} is closed.", retry_after=1.0)
        if not leases:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._leases.write, leases)
        except (sqlite3.Error, StoreError, OSError, OverflowError) as error:
            raise LogUnavailable(f"{NAME} cannot be written: {error}.", retry_after=1.0) from error

    async def spent(self, *, since: float, before: float, account: str | None = None) -> list[Spent]:
        """What was charged to windows that began at ``since`` by requests that were charged before ``before``, both in
        seconds since the epoch. A request in whose row there is no such instant was charged at its receipt.

        In an order that means nothing. Raises LogUnavailable.
        """
        return await self._pool.run(lambda connection: sums(connection, since=since, before=before, account=account))

    async def aclose(self) -> None:
        """Write what was handed over already, stop what is read, and let the file go."""
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._pool.close()
        self._thread.shutdown()
        self._leases.close()
