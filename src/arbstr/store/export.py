"""The request log for other programs: every column of every row that is asked for, as CSV or as lines of JSON.

Read a few thousand rows at a time, so that neither memory nor the write-ahead log grows with their number. Rows that
are written in the meantime are not among them.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from arbstr.domain.statistics import Filter
from arbstr.policy.decision import expand
from arbstr.store.matching import where

CHUNK = 2_000
"""Rows that are read, and held in memory, at a time."""

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""Texts that begin with one of these are formulas to some program that opens CSV."""

_encode = msgspec.json.Encoder().encode


def as_csv(connection: sqlite3.Connection, which: Filter, *, chunk: int = CHUNK) -> Iterator[tuple[int, str]]:
    """The heading, then rows in the order of their times, in pieces: how many rows each has, and its text.

    Columns are those of the table, in its order. Texts stand in quotes, and one that a spreadsheet would take for a
    formula begins with an apostrophe; numbers are as they are, and what is missing is ``""``. Raises sqlite3.Error.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")

    def taken() -> str:
        text = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return text

    for names, rows in _chunks(connection, which, chunk):
        if names:
            writer.writerow(names)
        writer.writerows([_safe(value) if isinstance(value, str) else value for value in row] for row in rows)
        yield len(rows), taken()


def as_jsonl(connection: sqlite3.Connection, which: Filter, *, chunk: int = CHUNK) -> Iterator[tuple[int, str]]:
    """Rows in the order of their times, each a JSON object in a line of its own, in pieces as of :func:`as_csv`.

    The columns of the table by name, the decision in the form of ``/v1/requests/{id}``, and the request's ``attempts``
    with the columns of theirs.
    """
    columns: Sequence[str] = ()
    for names, rows in _chunks(connection, which, chunk):
        columns = names or columns
        entries = [dict(zip(columns, row, strict=True)) for row in rows]
        attempts = _attempts(connection, [entry["correlation_id"] for entry in entries])
        lines = [
            _encode(
                entry
                | {
                    "decision": None if entry["decision"] is None else expand(entry["decision"]),
                    "attempts": attempts.get(entry["correlation_id"], []),
                }
            )
            for entry in entries
        ]
        yield len(rows), "".join(f"{line.decode()}\n" for line in lines)


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _chunks(
    connection: sqlite3.Connection, which: Filter, chunk: int
) -> Iterator[tuple[Sequence[str], list[tuple[Any, ...]]]]:
    """Rows, ``chunk`` at a time; the first time with the names of the columns, and also where there are no rows."""
    condition, values = where(which)
    (last_id,) = connection.execute("SELECT coalesce(max(id), 0) FROM requests").fetchone()
    query = f"""
        SELECT * FROM requests
        WHERE timestamp >= ? AND (timestamp > ? OR id > ?) AND id <= ? AND {condition}
        ORDER BY timestamp, id LIMIT ?
    """
    time, number = "", 0
    while True:
        cursor = connection.execute(query, [time, time, number, last_id, *values, chunk])
        names = [each[0] for each in cursor.description]
        rows = [tuple(row) for row in cursor]
        if rows or not time:
            yield names if not time else (), rows
        if len(rows) < chunk:
            return
        time, number = rows[-1][names.index("timestamp")], rows[-1][names.index("id")]


def _attempts(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """By request, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for begin in range(0, len(ids), 500):
        some = ids[begin : begin + 500]
        marks = ", ".join("?" * len(some))
        query = f"SELECT * FROM attempts WHERE request_id IN ({marks}) ORDER BY request_id, ordinal"
        cursor = connection.execute(query, some)
        names = [each[0] for each in cursor.description]
        for row in cursor:
            entry = dict(zip(names, row, strict=True))
            found.setdefault(entry.pop("request_id"), []).append(entry)
    return found
