"""Statistics: the same whether they come from roll-ups, from rows, or from both; and the same as from every row."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.domain.errors import QueryTimeout
from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.record import CostSource, RequestRecord
from arbstr.domain.statistics import Bucket, Figures, Filter, Group, Saved
from arbstr.policy.sketch import RELATIVE_ERROR
from arbstr.policy.totals import figures, saved
from arbstr.store.connection import open_writer
from arbstr.store.figures import COLUMNS
from arbstr.store.migrate import migrate
from arbstr.store.rebuild import rebuild, verify
from arbstr.store.rollups import DIMENSIONS, roll
from arbstr.store.rows import REQUEST_COLUMNS, request_row
from arbstr.store.stats import Statistics, find
from tests.store.records import request

T0 = 1_800_000_000 - 1_800_000_000 % 86400
"""The beginning of a day."""
HOUR = 3600
DAY = 86400


def insert(connection: sqlite3.Connection, records: list[RequestRecord]) -> None:
    values = ", ".join("?" * len(REQUEST_COLUMNS))
    statement = f"INSERT INTO requests ({', '.join(REQUEST_COLUMNS)}) VALUES ({values}) ON CONFLICT DO NOTHING"
    connection.executemany(statement, map(request_row, records))


@contextlib.contextmanager
def log() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    with contextlib.closing(connection):
        yield connection


# What a query is to say, by adding up records one by one.

AMOUNTS = st.one_of(st.none(), st.integers(0, 10**12))
TIMES = st.builds(
    lambda hours, seconds: T0 + hours * HOUR + seconds,
    st.sampled_from([0, 1, 24, 25, 30, 47, 48, 71]),
    st.sampled_from([0.0, 0.000001, 30.0, 1799.25, 3599.999999]),
)
RECORDS = st.builds(
    request,
    timestamp=TIMES,
    model=st.sampled_from(["m1", "m2", None]),
    provider=st.sampled_from(["p1", "p2", None]),
    policy=st.sampled_from(["x", None]),
    key_id=st.sampled_from(["k1", "k2", None]),
    tier=st.sampled_from(["local", None]),
    streaming=st.booleans(),
    success=st.booleans(),
    status=st.sampled_from([429, 502]),
    error_code=st.sampled_from(["overloaded", None]),
    cost=AMOUNTS,
    cost_usd=AMOUNTS,
    failed_cost=AMOUNTS,
    failed_cost_usd=AMOUNTS,
    provider_cost=AMOUNTS,
    baseline_cost=AMOUNTS,
    baseline_cost_usd=AMOUNTS,
    cost_source=st.sampled_from(CostSource),
    input_tokens=st.one_of(st.none(), st.integers(0, 10**6)),
    output_tokens=st.one_of(st.none(), st.integers(0, 10**6)),
    cached_input_tokens=st.one_of(st.none(), st.integers(0, 10**6)),
    cache_write_tokens=st.one_of(st.none(), st.integers(0, 10**6)),
    reasoning_tokens=st.one_of(st.none(), st.integers(0, 10**6)),
    latency_ms=st.integers(0, 10**8).map(lambda micros: micros / 1000),
    ttft_ms=st.one_of(st.none(), st.integers(0, 10**8).map(lambda micros: micros / 1000)),
)
CONDITIONS: list[dict[str, Any]] = [
    *({"model": name} for name in ("m1", "")),
    *({"provider": name} for name in ("p1", "")),
    {"policy": "x"},
    *({"key_id": name} for name in ("k1", "")),
    {"tier": "local"},
    *({"success": value} for value in (True, False)),
    {"streaming": True},
    *({"status": value} for value in (200, 429)),
    {"min_cost": 10**6},
]
RANGES = st.one_of(
    st.just((None, None)),
    st.tuples(TIMES, TIMES).map(lambda times: (min(times), max(times))),
    st.tuples(TIMES, st.none()),
    st.tuples(st.none(), TIMES),
)
FILTERS = st.builds(
    lambda times, one, other: Filter(since=times[0], until=times[1], **(one | other)),
    RANGES,
    st.one_of(st.just({}), st.sampled_from(CONDITIONS)),
    st.one_of(st.just({}), st.just({}), st.sampled_from(CONDITIONS)),
)
COLUMN = {group: "key_id" if group is Group.KEY else group.value for group in Group}


def matches(record: RequestRecord, which: Filter) -> bool:
    texts = ("model", "provider", "policy", "key_id", "tier")
    return (
        (which.since is None or record.timestamp >= which.since)
        and (which.until is None or record.timestamp < which.until)
        and all(getattr(which, name) in (None, getattr(record, name) or "") for name in texts)
        and which.success in (None, record.success)
        and which.streaming in (None, record.streaming)
        and which.status in (None, 200 if record.success else record.status)
        and (which.min_cost is None or (record.cost is not None and record.cost >= which.min_cost))
    )


def total(records: list[RequestRecord], name: str) -> Any:
    return sum(getattr(record, name) or 0 for record in records)


def errors(records: list[RequestRecord]) -> dict[str, int]:
    codes = [record.error_code or "unknown" for record in records if not record.success]
    return {code: codes.count(code) for code in set(codes)}


def check(found: Figures, records: list[RequestRecord]) -> None:
    """``found`` is what ``records`` come to."""
    assert found.requests == len(records)
    assert found.successes == total(records, "success")
    assert found.streaming == total(records, "streaming")
    assert found.input_tokens == total(records, "input_tokens")
    assert found.output_tokens == total(records, "output_tokens")
    assert found.cached_input_tokens == total(records, "cached_input_tokens")
    assert found.cache_write_tokens == total(records, "cache_write_tokens")
    assert found.reasoning_tokens == total(records, "reasoning_tokens")
    assert found.cost == total(records, "cost")
    assert found.cost_usd == total(records, "cost_usd")
    assert found.failed_cost == total(records, "failed_cost")
    assert found.failed_cost_usd == total(records, "failed_cost_usd")
    assert found.provider_cost == total(records, "provider_cost")
    assert found.estimated == sum(record.cost_source is CostSource.ESTIMATED for record in records)
    assert found.unpriced == sum(r.success and r.cost is None and r.cost_usd is None for r in records)
    assert found.errors == errors(records)
    for spread, name in ((found.latency, "latency_ms"), (found.ttft, "ttft_ms")):
        values = sorted(getattr(record, name) for record in records if getattr(record, name) is not None)
        assert (spread is None) == (not values)
        if spread is not None:
            assert spread.mean == pytest.approx(sum(values) / len(values), abs=0.001)
            for q, told in ((0.5, spread.p50), (0.95, spread.p95), (0.99, spread.p99)):
                true = values[math.floor(q * (len(values) - 1))]
                assert abs(told - true) <= true * RELATIVE_ERROR + 0.001


def check_saved(found: Saved, records: list[RequestRecord]) -> None:
    assert found.cost == total(records, "cost")
    assert found.failed_cost == total(records, "failed_cost")
    assert found.baseline == sum(
        r.cost if r.baseline_cost is None else r.baseline_cost for r in records if r.cost is not None
    )
    assert found.baseline_usd == sum(
        r.cost_usd if r.baseline_cost_usd is None else r.baseline_cost_usd for r in records if r.cost_usd is not None
    )
    assert found.compared == sum(
        (r.cost is not None and r.baseline_cost is not None)
        or (r.cost_usd is not None and r.baseline_cost_usd is not None)
        for r in records
    )


@settings(max_examples=200)
@given(
    st.lists(RECORDS, min_size=5, max_size=25),
    st.integers(0, 25),
    FILTERS,
    st.sampled_from(Group),
    st.sampled_from(Bucket),
)
def test_all_figures_agree_with_the_rows(
    records: list[RequestRecord], rolled: int, which: Filter, group: Group, bucket: Bucket
) -> None:
    """Stats, groups, series and savings are what the matching rows come to, to the last microsatoshi: with any of them
    in the roll-ups and the others not, in any range, by any filter, with anything unknown."""
    with log() as connection:
        insert(connection, records[:rolled])
        while roll(connection, chunk=7):
            pass
        insert(connection, records[rolled:])
        asked = [record for record in records if matches(record, which)]

        everything = find(connection, which)
        groups = find(connection, which, group=group)
        series = find(connection, which, bucket=bucket)

    assert set(everything) == ({(None, None)} if asked else set())
    for found in everything.values():
        check(figures(found), asked)
        check_saved(saved(found), asked)
    kinds = {getattr(record, COLUMN[group]) for record in asked}
    assert set(groups) == {(kind, None) for kind in kinds}
    for (kind, _), found in groups.items():
        check(figures(found), [record for record in asked if getattr(record, COLUMN[group]) == kind])
    starts = {int(record.timestamp // bucket.value) * bucket.value for record in asked}
    assert set(series) == {(None, start) for start in starts}
    for (_, start), found in series.items():
        assert start is not None
        within = [record for record in asked if start <= record.timestamp < start + bucket.value]
        check(figures(found), within)
        check_saved(saved(found), within)


def kept(connection: sqlite3.Connection) -> set[tuple[Any, ...]]:
    """The roll-ups, whatever the numbers of their slices are."""
    columns = ", ".join(f"slices.{name}" for name in DIMENSIONS) + ", " + ", ".join(COLUMNS)
    query = f"SELECT rollups.facet, span, start, {columns} FROM rollups JOIN slices ON slice = id"
    return set(connection.execute(query).fetchall())


@settings(max_examples=50)
@given(st.lists(RECORDS, max_size=25), st.integers(1, 9))
def test_roll_ups_made_anew_are_those_that_were_kept(records: list[RequestRecord], chunk: int) -> None:
    """However the rows came to them, bit by bit; and a check finds nothing to complain of, at any time."""
    with log() as connection:
        for place in range(0, len(records), 5):
            insert(connection, records[place : place + 5])
            roll(connection, chunk=chunk)
        on_the_way = verify(connection)
        while roll(connection, chunk=chunk):
            pass
        one_by_one = kept(connection)
        at_the_end = verify(connection)

        count = rebuild(connection)

        assert (on_the_way, at_the_end, verify(connection)) == ([], [], [])
        assert (count, kept(connection)) == (len(records), one_by_one)


async def test_series_has_no_gaps_and_days_have_names(tmp_path: Path) -> None:
    """Each bucket that the range touches is there, in order, also where nothing happened."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, [request(timestamp=T0 + 90.0), request(timestamp=T0 + 3 * HOUR, cost=MicroSats(5))])
    connection.close()
    store = Statistics(tmp_path / "log.db")

    minutes = await store.series(Filter(since=T0 + 30, until=T0 + 150), bucket=Bucket.MINUTE)
    hours = await store.series(Filter(since=T0 + 1, until=T0 + 4 * HOUR), bucket=Bucket.HOUR)
    days = await store.savings(Filter(since=T0 - 1, until=T0 + DAY + 1))

    await store.aclose()
    assert [(point.start - T0, point.figures.requests) for point in minutes] == [(0, 0), (60, 1), (120, 0)]
    assert [(point.start - T0, point.figures.requests) for point in hours] == [
        (0, 1),
        (HOUR, 0),
        (2 * HOUR, 0),
        (3 * HOUR, 1),
    ]
    assert {day: part.requests for day, part in days.parts.items()} == {
        "2027-01-14": 0,
        "2027-01-15": 2,
        "2027-01-16": 0,
    }
    assert days.total.requests == 2


async def test_groups_are_told_by_name(tmp_path: Path) -> None:
    """Those without one are called by none; savings are told apart as figures are."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(
        connection,
        [
            request(timestamp=T0, provider="alpha", cost=MicroSats(2), baseline_cost=MicroSats(5)),
            request(timestamp=T0, provider=None, success=False, status=503, cost=None, cost_usd=NanoUsd(1)),
        ],
    )
    connection.close()
    store = Statistics(tmp_path / "log.db")

    stats = await store.stats(Filter(), group_by=Group.PROVIDER)
    plain = await store.stats(Filter())
    savings = await store.savings(Filter(), by=Group.PROVIDER)

    await store.aclose()
    assert {name: found.requests for name, found in stats.groups.items()} == {"": 1, "alpha": 1}
    assert (plain.total, plain.groups) == (stats.total, {})
    assert (savings.parts["alpha"].baseline, savings.parts[""].compared) == (5, 0)


async def test_what_was_seen_is_known(tmp_path: Path) -> None:
    """At any time, whether or not roll-ups have it yet; nobody's word for it is SQL."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, [request(model="old", provider="p", key_id="k")])
    roll(connection)
    insert(connection, [request(model="new", provider="p")])
    connection.close()
    store = Statistics(tmp_path / "log.db")

    asked = [Filter(model="old"), Filter(model="new"), Filter(model="old", key_id="k"), Filter(provider="p")]
    seen = [await store.seen(which) for which in asked]
    unseen = [await store.seen(which) for which in (Filter(model="' OR 1 --"), Filter(model="new", key_id="k"))]

    await store.aclose()
    assert (seen, unseen) == ([True] * 4, [False] * 2)


async def test_what_takes_too_long_is_said_to(tmp_path: Path) -> None:
    """A scan of many rows is stopped, with what would help; figures of roll-ups go on."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    insert(connection, [request(timestamp=T0 + 7.0 * number) for number in range(20_000)])
    connection.close()
    store = Statistics(tmp_path / "log.db", timeout=0.01)

    with pytest.raises(QueryTimeout, match=r"Narrow the range, or ask without status and min_cost"):
        await asyncio.wait_for(store.stats(Filter(min_cost=MicroSats(1))), 20)

    await store.aclose()
