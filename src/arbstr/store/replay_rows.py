"""The rows of the request log as a replay reads them: in the order in which the requests came, a batch at a time.

Nothing is written. Each batch is a query of its own, so that neither memory nor the write-ahead log of a server beside
it grows with the length of the log.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from arbstr.domain.money import Cost, MicroSats, NanoUsd
from arbstr.domain.usage import Usage
from arbstr.policy.asked import asked
from arbstr.policy.replay import Logged, ending
from arbstr.store import opened
from arbstr.store.errors import StoreError
from arbstr.store.rows import time_text

BATCH = 2000
"""Rows that are read at a time."""
Place = tuple[str, int]
"""Where a row stands: its timestamp, and its id among those of the same instant."""

BEGINNING: Place = ("", 0)

_COLUMNS = (
    "timestamp",
    "id",
    "endpoint",
    "model",
    "provider",
    "policy",
    "success",
    "error_status",
    "error_code",
    "decision",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "reasoning_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "cost_source",
    "cost_micro_sats",
    "cost_nano_usd",
    "failed_cost_micro_sats",
    "failed_cost_nano_usd",
    "sats_per_usd",
    "latency_ms",
)

_TEXTS = {str, type(None)}

_CODES = {
    402: "ceiling_too_low",
    404: "model_not_found",
    499: "client_closed_request",
    500: "internal_error",
    502: "upstream_error",
    503: "circuit_open",
    504: "upstream_timeout",
}
"""What a status means in a row from before codes were kept, where nobody served; of the others it cannot be told."""


class ReplayRows:
    """The rows of one file. Its calls raise sqlite3.Error, and StoreError for a row that cannot be understood."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        held = {name for (name,) in connection.execute("SELECT name FROM pragma_table_xinfo('requests')")}
        columns = ", ".join(name if name in held else "NULL" for name in _COLUMNS)
        self._empty = not held
        """There is no table yet."""
        self._query = (
            f"SELECT {columns} FROM requests WHERE (timestamp, id) >= (?, ?) AND (timestamp, id) < (?, ?)"
            f" ORDER BY timestamp, id LIMIT {BATCH}"
        )

    def stretch(self, since: float, until: float, *, last: int | None = None) -> tuple[Place, Place]:
        """The place of the first row that was received from ``since`` on, and that behind the last one before
        ``until``; both are seconds since the epoch. With ``last``, of no more than that many rows, the newest."""
        begin, end = (time_text(since), 0), (time_text(until), 0)
        return begin if last is None else max(begin, self.back(end, last)), end

    def back(self, place: Place, rows: int) -> Place:
        """The place that many rows earlier, or the beginning of the log."""
        if self._empty:
            return BEGINNING
        found = self._connection.execute(
            "SELECT timestamp, id FROM requests WHERE (timestamp, id) < (?, ?)"
            " ORDER BY timestamp DESC, id DESC LIMIT 1 OFFSET ?",
            (*place, rows - 1),
        ).fetchone()
        return BEGINNING if found is None else (found[0], found[1])

    def count(self, begin: Place, end: Place) -> int:
        """How many rows there are from ``begin`` on and before ``end``."""
        if self._empty:
            return 0
        query = "SELECT count(*) FROM requests WHERE (timestamp, id) >= (?, ?) AND (timestamp, id) < (?, ?)"
        (count,) = self._connection.execute(query, (*begin, *end)).fetchone()
        return int(count)

    def rows(self, begin: Place, end: Place) -> Iterator[Logged]:
        """The rows from ``begin`` on and before ``end``, in the order in which they were received."""
        while not self._empty:
            batch = self._connection.execute(self._query, (*begin, *end)).fetchall()
            for row in batch:
                yield _logged(row)
            if len(batch) < BATCH:
                return
            begin = (batch[-1][0], batch[-1][1] + 1)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[ReplayRows]:
    """The rows of a file that is there. Whatever is wrong with it is raised as StoreError, with one clear line."""
    with opened.reading(path, whole=False) as connection:
        connection.row_factory = None
        try:
            yield ReplayRows(connection)
        except StoreError as error:
            raise StoreError(f"{path}: {error}") from error


def _logged(row: tuple[Any, ...]) -> Logged:
    (
        timestamp,
        number,
        endpoint,
        model,
        provider,
        policy,
        success,
        status,
        code,
        decision,
        input_tokens,
        output_tokens,
        cached,
        reasoning,
        cache_write,
        cache_write_1h,
        cost_source,
        micro_sats,
        nano_usd,
        failed_micro_sats,
        failed_nano_usd,
        sats_per_usd,
        latency_ms,
    ) = row
    try:
        if code is None and not success:
            code = _CODES.get(status, f"status_{status}")
        usage = None
        if input_tokens is not None and output_tokens is not None:
            usage = Usage(
                int(input_tokens),
                int(output_tokens),
                int(cached or 0),
                int(reasoning or 0),
                cost_source == "estimated",
                int(cache_write or 0),
                int(cache_write_1h or 0),
            )
        if sats_per_usd is not None and not math.isfinite(sats_per_usd):
            raise ValueError(f"its exchange rate is {sats_per_usd}")
        if not {type(endpoint), type(model), type(policy), type(provider), type(code)} <= _TEXTS:
            raise TypeError("it has bytes in the place of a text")
        kept = asked(decision)
        return Logged(
            datetime.fromisoformat(timestamp).timestamp(),
            ending(success=bool(success), model=model, provider=provider, code=code, decided=kept is not None),
            model,
            endpoint,
            policy,
            provider,
            code,
            kept,
            usage,
            _cost(micro_sats, nano_usd),
            _cost(failed_micro_sats, failed_nano_usd),
            sats_per_usd,
            latency_ms / 1000,
        )
    except (ValueError, TypeError) as error:
        raise StoreError(f"the row {number} of the request log cannot be read: {error}") from error


def _cost(micro_sats: int | None, nano_usd: int | None) -> Cost | None:
    if micro_sats is None and nano_usd is None:
        return None
    return Cost(None if micro_sats is None else MicroSats(micro_sats), None if nano_usd is None else NanoUsd(nano_usd))
