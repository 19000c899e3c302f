"""Rows that are old enough leave the request log, a few at a time, and what they had spent is remembered."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from arbstr.store.rows import time_text

STEP = 250
"""Requests that one transaction removes, with their attempts: a few hundredths of a second, for which the log's writer
may have to wait."""

DAY = 86400
MARGIN = 6 * 3600
"""Seconds between a request's receipt and the instant to which it is charged, at most (see ``store/spend.py``)."""

ROWS_FROM = "rows_from"

_OLDEST = """
SELECT id FROM requests
WHERE timestamp < ? AND id < (SELECT max(id) FROM requests)
    AND id <= coalesce((SELECT value FROM settings WHERE name = 'rolled_up'), 0x7fffffffffffffff)
ORDER BY timestamp LIMIT ?
"""
# Of what goes, the sums of its hour are there; and the highest id stays, so that no id is used twice.
_CHARGED = "coalesce(charged_at, timestamp)"
_MONTH = f"CAST(strftime('%s', substr({_CHARGED}, 1, 7) || '-01') AS INTEGER)"
# By the text, as SQLite's own times are rounded to milliseconds, which may be those of the next month.
_REMEMBER = f"""
INSERT INTO removed_spend (account, start, sats, usd, sats_only, usd_only)
SELECT coalesce(key_id, ''),
       CASE WHEN {_CHARGED} < :began_text THEN {_MONTH} ELSE max({_MONTH}, :began) END,
       coalesce(sum(cost_micro_sats), 0) + coalesce(sum(failed_cost_micro_sats), 0),
       coalesce(sum(cost_nano_usd), 0) + coalesce(sum(failed_cost_nano_usd), 0),
       coalesce(sum(cost_micro_sats) FILTER (WHERE cost_usd IS NULL), 0)
           + coalesce(sum(failed_cost_micro_sats) FILTER (WHERE failed_cost_usd IS NULL), 0),
       coalesce(sum(cost_nano_usd) FILTER (WHERE cost_sats IS NULL), 0)
           + coalesce(sum(failed_cost_nano_usd) FILTER (WHERE failed_cost_sats IS NULL), 0)
FROM requests WHERE id IN ({{these}})
GROUP BY 1, 2
ON CONFLICT (account, start) DO UPDATE SET
    sats = sats + excluded.sats, usd = usd + excluded.usd,
    sats_only = sats_only + excluded.sats_only, usd_only = usd_only + excluded.usd_only
"""
_REMOVE = (
    "DELETE FROM attempts WHERE request_id IN (SELECT correlation_id FROM requests WHERE id IN ({these}))",
    "DELETE FROM requests WHERE id IN ({these})",
)
_MARK = "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


def cutoff(now: float, keep: float) -> float:
    """The day (its beginning in UTC) before which rows go, where they are kept for ``keep`` seconds. The rows in which
    the budgets of the running day are looked up stay in any case."""
    today = now - now % DAY
    instant = min(now - keep, today - MARGIN)
    return instant - instant % DAY


def rows_from(connection: sqlite3.Connection) -> float | None:
    """The day before which rows may have been removed, its beginning in seconds since the epoch; None where none ever
    was."""
    found = connection.execute("SELECT value FROM settings WHERE name = ?", (ROWS_FROM,)).fetchone()
    return None if found is None else datetime.fromisoformat(found[0]).timestamp()


def remove(connection: sqlite3.Connection, *, before: float, began: float, step: int = STEP) -> int:
    """Remove the oldest rows from before ``before``, at most ``step`` of them, in one transaction; how many they were.

    ``began`` is when this process began: what it has spent itself, it knows. Both are in seconds since the epoch, and
    ``before`` is the beginning of a day. ``connection`` is in autocommit mode. Raises sqlite3.Error.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        ids = [int(row[0]) for row in connection.execute(_OLDEST, (time_text(before), step))]
        if ids:
            marked = rows_from(connection)
            if marked is None or marked < before:
                connection.execute(_MARK, (ROWS_FROM, time_text(before)))
            these = ", ".join(map(str, ids))  # numbers, whatever is in the file
            connection.execute(_REMEMBER.format(these=these), {"began": began, "began_text": time_text(began)})
            for statement in _REMOVE:
                connection.execute(statement.format(these=these))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return len(ids)
