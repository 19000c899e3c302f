"""The queries: order, pages, filters, and what happens when they cannot be answered."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from arbstr.domain.errors import LogUnavailable
from arbstr.domain.statistics import Filter
from arbstr.store.connection import open_writer
from arbstr.store.reader import Reader
from arbstr.store.sqlite import SqliteLog
from tests.store.records import Problems, request


async def test_entries_come_newest_first_in_pages(tmp_path: Path) -> None:
    """By time of receipt, however they were written; equal times by the order of writing; each entry on one page."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    for name, time in [("c", 3.0), ("a", 1.0), ("d1", 4.0), ("b", 2.0), ("d2", 4.0)]:
        log.request(request(model=name, timestamp=1_800_000_000 + time))
    log.flush(20)

    pages = [await log.page(Filter(), page=number, per_page=2) for number in (1, 2, 3, 4)]
    upward = await log.page(Filter(), page=1, per_page=10, descending=False)

    await log.aclose()
    assert [[entry["model"] for entry in page.entries] for page in pages] == [["d2", "d1"], ["c", "b"], ["a"], []]
    assert [entry["model"] for entry in upward.entries] == ["a", "b", "c", "d1", "d2"]
    assert {page.total for page in pages} == {5}


@pytest.mark.parametrize("page", [10**9, 10**30])
async def test_a_page_beyond_the_last_is_empty(tmp_path: Path, page: int) -> None:
    """No number is too large to be asked for."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    log.request(request())
    log.flush(20)

    found = await log.page(Filter(), page=page, per_page=100)

    await log.aclose()
    assert (found.entries, found.total) == ([], 1)


async def test_filters_narrow_entries_and_total(tmp_path: Path) -> None:
    """Every filter given must match; a filter's text is a value and never SQL."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    log.request(request(model="a", provider="alpha", timestamp=100.0))
    log.request(request(model="b", provider="alpha", timestamp=200.0, streaming=True))
    log.request(request(model="b", provider="beta", timestamp=300.0, success=False, status=502))
    log.flush(20)

    found = [
        await log.page(Filter(model="b"), page=1, per_page=10),
        await log.page(Filter(model="b", provider="alpha"), page=1, per_page=10),
        await log.page(Filter(success=False), page=1, per_page=10),
        await log.page(Filter(streaming=False), page=1, per_page=10),
        await log.page(Filter(since=200.0, until=300.0), page=1, per_page=10),
        await log.page(Filter(model="' OR 1 --"), page=1, per_page=10),
        await log.page(Filter(model="\ud800"), page=1, per_page=10),
    ]

    await log.aclose()
    assert [[entry["timestamp"][14:19] for entry in page.entries] for page in found] == [
        ["05:00", "03:20"],
        ["03:20"],
        ["05:00"],
        ["05:00", "01:40"],
        ["03:20"],
        [],
        [],
    ]
    assert [page.total for page in found] == [2, 1, 1, 2, 1, 0, 0]


async def test_a_key_sees_its_own_entries_alone(tmp_path: Path) -> None:
    """Pages, totals and single entries: what is another's, or nobody's, is not there for it."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    own, other, nobodys = request(key_id="key_1"), request(key_id="key_2"), request()
    for record in (own, other, nobodys):
        log.request(record)
    log.flush(20)

    page = await log.page(Filter(key_id="key_1"), page=1, per_page=10)
    found = [await log.find(each.correlation_id, key_id="key_1") for each in (own, other, nobodys)]
    stranger = await log.page(Filter(key_id="key_3"), page=1, per_page=10)

    await log.aclose()
    assert ([entry["id"] for entry in page.entries], page.total) == ([own.correlation_id], 1)
    assert [entry and entry["id"] for entry in found] == [own.correlation_id, None, None]
    assert (stranger.entries, stranger.total) == ([], 0)


@pytest.mark.parametrize("request_id", ["", "nobody's", "\ud800", "a\0b", "x" * 100_000, "' OR 1 --"])
async def test_an_id_that_is_not_there_is_none(tmp_path: Path, request_id: str) -> None:
    """Whatever stands in the address, the answer is that there is no such entry."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    log.request(request())
    log.flush(20)

    found = await log.find(request_id)

    await log.aclose()
    assert found is None


async def test_reading_goes_on_while_rows_are_written(tmp_path: Path) -> None:
    """Each page is one picture of the database: what it shows and what it counts agree, and counts only grow."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems(), flush_interval=0.001)
    totals = []

    for _ in range(100):
        for _ in range(20):
            log.request(request())
        page = await log.page(Filter(), page=1, per_page=10_000)
        assert len(page.entries) == page.total
        totals.append(page.total)

    log.flush(20)
    last = await log.page(Filter(), page=1, per_page=1)
    await log.aclose()
    assert totals == sorted(totals)
    assert last.total == 2000


async def test_a_query_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    """Nobody waits for longer than the deadline, and the thread does not go on for nobody."""
    open_writer(tmp_path / "log.db", wait=1).close()
    database = sqlite3.connect(tmp_path / "log.db")
    database.execute(
        "INSERT INTO requests (correlation_id, timestamp, endpoint, streaming, cost_source, latency_ms, success)"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
        " SELECT i, strftime('%Y-%m-%dT%H:%M:%fZ', i, 'unixepoch'), '', 0, '', 0, 1 FROM n"
    )
    database.commit()
    database.close()
    reader = Reader(tmp_path / "log.db", timeout=0.0)

    with pytest.raises(LogUnavailable, match="in time"):
        await reader.page(Filter(streaming=False), page=1, per_page=1)

    reader.close()
    patient = Reader(tmp_path / "log.db", timeout=20)
    assert (await patient.page(Filter(streaming=False), page=1, per_page=1)).total == 50_000
    patient.close()


async def test_more_queries_than_threads_all_get_their_answer(tmp_path: Path) -> None:
    """They take turns."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    records = [request() for _ in range(50)]
    for record in records:
        log.request(record)
    log.flush(20)

    found = await asyncio.gather(*(log.find(record.correlation_id) for record in records))

    await log.aclose()
    assert [entry["id"] for entry in found if entry] == [record.correlation_id for record in records]


async def test_a_missing_database_is_unavailable(tmp_path: Path) -> None:
    """Reading creates nothing and tells what is wrong."""
    reader = Reader(tmp_path / "log.db", timeout=5)

    with pytest.raises(LogUnavailable, match="unable to open"):
        await reader.find("x")

    reader.close()
    assert list(tmp_path.iterdir()) == []
