"""How fast the request log answers when it is large: ``make bench-log``.

A log of 45 days is generated, added up by the product's own code, and asked, while 2,000 more rows a second are
written to it in the same process, as they are in a gateway. Each question is asked again and again; the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from arbstr.domain.errors import QueryTimeout
from arbstr.domain.money import MicroSats
from arbstr.domain.record import RequestRecord
from arbstr.domain.statistics import Bucket, Filter, Group, Sort
from arbstr.store.connection import open_writer
from arbstr.store.rollups import CHUNK, roll
from arbstr.store.rows import ATTEMPT_COLUMNS, REQUEST_COLUMNS, attempt_rows, request_row
from arbstr.store.sqlite import SqliteLog
from arbstr.store.stats import Statistics
from bench.log_rows import MODELS, records

DAY = 86400.0
DAYS = 45
RATE = 2000
"""Rows a second that are written meanwhile."""
BATCH = 5000


@dataclass(frozen=True)
class Question:
    """Something that is asked of the log, and how long the answer may take (milliseconds; None: no target)."""

    label: str
    target: float | None
    ask: Callable[[], Awaitable[Any]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-log", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=5_000_000, metavar="N", help="of the log (default 5,000,000)")
    parser.add_argument("--times", type=int, default=15, metavar="N", help="that each question is asked (default 15)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the log is made (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="use the log that is in DIR, and leave it there")
    parser.add_argument("--only", metavar="TEXT", default="", help="questions that begin so")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="arbstr-bench-log-", dir=options.folder) as temporary:
        path = options.folder / "log.db" if options.keep and options.folder else Path(temporary) / "log.db"
        if not path.exists():
            print(generate(path, options.rows), flush=True)
        print(asyncio.run(measure(path, options.times, options.only)))
    return 0


def generate(path: Path, rows: int) -> str:
    """Make the log; what that took."""
    connection = open_writer(path, wait=1)
    connection.execute("PRAGMA synchronous = OFF")  # it is thrown away
    until = time.time()
    made = records(rows, since=until - DAYS * DAY, until=until)
    began = time.perf_counter()
    inserted = rolled = 0.0
    while batch := list(itertools.islice(made, BATCH)):
        start = time.thread_time()
        connection.execute("BEGIN")
        connection.executemany(_insert("requests", REQUEST_COLUMNS), map(request_row, batch))
        connection.executemany(
            _insert("attempts", ATTEMPT_COLUMNS), (row for one in batch for row in attempt_rows(one))
        )
        connection.execute("COMMIT")
        inserted += time.thread_time() - start
        start = time.thread_time()
        roll(connection, chunk=CHUNK)
        rolled += time.thread_time() - start
    (sums,) = connection.execute("SELECT count(*) FROM rollups").fetchone()
    size = _size(connection, "rollups")
    connection.close()
    return (
        f"{rows:,} rows of {DAYS} days in {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1e9:.1f} GB, of"
        f" it {size / 1e6:.0f} MB in {sums:,} roll-ups; CPU for each row: {inserted / rows * 1e6:.1f} µs to write it,"
        f" {rolled / rows * 1e6:.1f} µs to add it up"
    )


def _size(connection: sqlite3.Connection, table: str) -> int:
    """Bytes of a table; 0 where this SQLite was not built to tell."""
    try:
        (size,) = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name = ?", [table]).fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(size)


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) ON CONFLICT DO NOTHING"


async def measure(path: Path, times: int, only: str) -> str:
    """Ask everything, while rows are written."""
    problems: list[str] = []
    log = SqliteLog.open(path, on_problem=lambda event, fields: problems.append(f"{event} {fields}"))
    store = Statistics(path)
    writing = asyncio.ensure_future(_write(log))
    try:
        await asyncio.sleep(2)
        lines = [await _row(each, times) for each in _questions(store, log) if each.label.startswith(only)]
    finally:
        writing.cancel()
        await store.aclose()
        queued = max(_queued)
        health = log.health()
        await log.aclose(30)
    table = _table(("question", "target", "median", "worst", ""), lines)
    written = (
        f"Meanwhile {health.written:,} rows were written, {len(_queued) and sum(_rates) / len(_rates):,.0f} a second;"
        f" at most {queued:,} waited for the writer, {health.dropped} were dropped; the event loop was late by"
        f" {statistics.median(_lags) * 1000:.1f} ms in the median, {_share(_lags, 0.99) * 1000:.0f} ms at p99."
    )
    return "\n\n".join([table, written, *problems])


_queued: list[int] = [0]
_rates: list[float] = []
_lags: list[float] = [0.0]


async def _write(log: SqliteLog) -> None:
    """RATE rows a second, a few every hundredth of one, as long as it is not cancelled."""
    some = list(records(20_000, since=0, until=1, seed=os.getpid()))
    number, began = 0, time.perf_counter()
    while True:
        due = int((time.perf_counter() - began) * RATE)
        now = time.time()
        for _ in range(due - number):
            record = some[number % len(some)]
            number += 1
            ident = f"{record.correlation_id[:20]}{number:016x}"
            log.request(_at(record, ident, now))
        _queued.append(log.health().queued)
        _rates.append(number / max(time.perf_counter() - began, 0.001))
        asleep = time.perf_counter()
        await asyncio.sleep(0.01)
        _lags.append(time.perf_counter() - asleep - 0.01)


def _at(record: RequestRecord, ident: str, now: float) -> RequestRecord:
    return replace(record, correlation_id=ident, timestamp=now, charged_at=now)


def _questions(store: Statistics, log: SqliteLog) -> list[Question]:
    now = time.time()
    month = Filter(since=now - 30 * DAY + 1234.5, until=now + DAY)
    past = Filter(since=now - 40 * DAY + 1234.5, until=now - 10 * DAY + 1234.5)
    key = f"key_{3:032x}"

    def page(which: Filter, sort: Sort = Sort.TIMESTAMP, **more: Any) -> Callable[[], Awaitable[Any]]:
        return partial(log.page, which, sort=sort, per_page=20, **more)

    def stats(which: Filter, by: Group | None = None) -> Callable[[], Awaitable[Any]]:
        return partial(store.stats, which, group_by=by)

    ever, week, day = Filter(), Filter(since=now - 7 * DAY), Filter(since=now - DAY, until=now)
    common, rare = replace(ever, model=MODELS[3]), replace(ever, model=MODELS[-1])
    of_key, failures = replace(month, key_id=key), replace(month, success=False)
    dear, ascending = MicroSats(100_000_000), {"descending": False}
    return [
        Question("stats, 30 days", 150, stats(month)),
        Question("stats, 30 days that ended 10 days ago", 150, stats(past)),
        *(Question(f"stats by {group.value}, 30 days", 300, stats(month, group)) for group in Group),
        Question("stats of a model, 30 days", 150, stats(replace(month, model=MODELS[3]))),
        Question("stats of a key by model, 30 days", 300, stats(of_key, Group.MODEL)),
        Question("stats of failures by model, 30 days", 300, stats(failures, Group.MODEL)),
        Question("series by hour, 30 days", 300, partial(store.series, month, bucket=Bucket.HOUR)),
        Question("series by day, 30 days", 300, partial(store.series, month, bucket=Bucket.DAY)),
        Question("savings by day, 30 days", 300, partial(store.savings, month)),
        Question("savings by model, 30 days", 300, partial(store.savings, month, by=Group.MODEL)),
        Question("page, newest first", 50, page(ever)),
        Question("page of a common model", 50, page(common)),
        Question("page of a rare model (1 in 10,000)", 50, page(rare)),
        Question("page of a key's failures, 30 days", 50, page(replace(of_key, success=False))),
        Question("page of status 502", 50, page(replace(ever, status=502))),
        Question("page of at least 100 sats, 30 days", 50, page(replace(month, min_cost=dear))),
        Question("page 1,000 of a common model", None, page(common, page=1000)),
        Question("page, dearest first", 300, page(ever, Sort.COST)),
        Question("page of a common model, dearest first", 300, page(common, Sort.COST)),
        Question("page of a common model, cheapest first", 300, page(common, Sort.COST, **ascending)),
        Question("page of a key, slowest first, 30 days", 300, page(of_key, Sort.LATENCY)),
        Question("page of a provider, slowest first, 7 days", 300, page(replace(week, provider="beta"), Sort.LATENCY)),
        Question("page 50 of a common model, dearest first", None, page(common, Sort.COST, page=50)),
        Question("series by minute, 24 hours (each row)", None, partial(store.series, day, bucket=Bucket.MINUTE)),
        Question("stats of at least 100 sats, 7 days (each row)", None, stats(replace(week, min_cost=dear))),
        Question("stats of at least 100 sats, all (each row)", None, stats(replace(ever, min_cost=dear))),
    ]


async def _row(question: Question, times: int) -> tuple[str, ...]:
    took = []
    told = ""
    for _ in range(times):
        began = time.perf_counter()
        try:
            await question.ask()
        except QueryTimeout:
            told = "says that it takes too long"
        took.append((time.perf_counter() - began) * 1000)
        if sum(took) > 20_000:  # enough of a slow one
            break
        await asyncio.sleep(0.05)
    median = statistics.median(took)
    if question.target is not None and not told:
        told = "reached" if median <= question.target else "**missed**"
    target = "–" if question.target is None else f"≤ {question.target:g} ms"
    print(f"  {question.label}: {median:.1f} ms {told}", file=sys.stderr, flush=True)
    return question.label, target, f"{median:,.1f} ms", f"{max(took):,.1f} ms", told


def _share(values: Sequence[float], q: float) -> float:
    return sorted(values)[int(q * (len(values) - 1))]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(w) if i in (0, 4) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        [
            " " + "-" * widths[0] + " ",
            *(" " + "-" * (w - 1) + ": " for w in widths[1:4]),
            " " + "-" * max(widths[4], 3) + " ",
        ]
    )
    return "\n".join([line(head), f"|{rule}|", *(line(row) for row in rows)])


if __name__ == "__main__":
    raise SystemExit(main())
