"""Pages of the log against the plainest way to make them: filter all, sort all, cut."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbstr.domain.money import MicroSats
from arbstr.domain.record import RequestRecord
from arbstr.domain.statistics import Filter, Sort
from arbstr.ports import Page
from arbstr.store.connection import open_reader, open_writer
from arbstr.store.pages import page_of
from arbstr.store.rollups import roll
from arbstr.store.rows import REQUEST_COLUMNS, request_row, time_text
from tests.store.records import request

START = 1_800_000_000.0
ALL = Filter()

ENDINGS = ({"success": True, "status": 200}, {"success": False, "status": 502}, {"success": False, "status": 499})
VALUES: dict[str, Sequence[Any]] = {
    "timestamp": [START + tick * 600 for tick in range(21)],  # three hours and a half
    "model": ["a", "b", None],
    "provider": ["alpha", "beta", None],
    "policy": ["frugal", None],
    "key_id": ["key_1", None],
    "tier": ["local", None],
    "streaming": [True, False],
    "cost": [None, *map(MicroSats, (0, 1, 1_000_000, 2_500_000))],
    "latency_ms": [0.0, 1.25, 1.5, 1000.0],
}
CONDITIONS: dict[str, Sequence[Any]] = {
    "model": ["a", "", "nobody's"],
    "provider": ["alpha", ""],
    "policy": ["frugal", ""],
    "key_id": ["key_1", ""],
    "tier": ["local", ""],
    "success": [True, False],
    "streaming": [True, False],
    "status": [200, 502, 418],
    "min_cost": [MicroSats(0), MicroSats(1_000_000)],
    "since": [START - 600, START, START + 1800, START + 3600, START + 9000],
    "until": [START, START + 5400, START + 7200, START + 12000, START + 20000],
}


def some(seed: int, count: int) -> list[RequestRecord]:
    """Records of all kinds, many of them alike in what is sorted by."""
    chance = random.Random(seed)
    return [
        request(**chance.choice(ENDINGS), **{name: chance.choice(values) for name, values in VALUES.items()})
        for _ in range(count)
    ]


RECORDS = st.builds(some, st.integers(0, 2**32), st.integers(0, 60))
FILTERS = (
    st.lists(st.sampled_from([*CONDITIONS]), max_size=3, unique=True)
    .flatmap(lambda names: st.fixed_dictionaries({name: st.sampled_from(CONDITIONS[name]) for name in names}))
    .map(lambda conditions: Filter(**conditions))
)


class Log:
    """A log that is filled anew for each example, and read through a connection that can do nothing else."""

    def __init__(self, path: Path) -> None:
        self.writer = open_writer(path, wait=1)
        self.reader = open_reader(path)

    def fill(self, records: Sequence[RequestRecord], *, rolled: int = 0) -> None:
        """Write these, in this order, with ids from 1; the first ``rolled`` of them are added up."""
        for table in ("requests", "rollups", "slices"):
            self.writer.execute(f"DELETE FROM {table}")
        self.writer.execute("UPDATE settings SET value = 0 WHERE name = 'rolled_up'")
        self.writer.execute("DELETE FROM settings WHERE name = 'rows_from'")
        self._add(records[:rolled])
        roll(self.writer)
        self._add(records[rolled:])

    def remove(self, these: Sequence[int], *, before: float) -> None:
        """Remove rows, all of which are older than ``before``, as other rows will be."""
        self.writer.executemany("DELETE FROM requests WHERE id = ?", [[id] for id in these])
        self.writer.execute("INSERT INTO settings (name, value) VALUES ('rows_from', ?)", [time_text(before)])

    def _add(self, records: Sequence[RequestRecord]) -> None:
        marks = ", ".join("?" * len(REQUEST_COLUMNS))
        rows = [request_row(record) for record in records]
        self.writer.executemany(f"INSERT INTO requests ({', '.join(REQUEST_COLUMNS)}) VALUES ({marks})", rows)

    def page(
        self,
        which: Filter = ALL,
        *,
        page: int = 1,
        per_page: int = 20,
        sort: Sort = Sort.TIMESTAMP,
        descending: bool = True,
        cursor: str | None = None,
        **more: Any,
    ) -> Page:
        return page_of(
            self.reader, which, page=page, per_page=per_page, sort=sort, descending=descending, cursor=cursor, **more
        )


@pytest.fixture(name="log")
def fresh_log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "log.db")
    yield log
    log.reader.close()
    log.writer.close()


def expected(records: Sequence[RequestRecord], which: Filter, sort: Sort, *, descending: bool) -> list[str]:
    """The ids of those that match, in order."""
    values: dict[Sort, Any] = {
        Sort.TIMESTAMP: lambda record: record.timestamp,
        Sort.COST: lambda record: record.cost,
        Sort.LATENCY: lambda record: record.latency_ms,
    }
    numbered = [
        (values[sort](record), number, record) for number, record in enumerate(records) if matches(record, which)
    ]
    known = sorted((each for each in numbered if each[0] is not None), key=lambda each: each[:2], reverse=descending)
    unknown = [each for each in numbered if each[0] is None]
    return [record.correlation_id for _, _, record in known + (unknown[::-1] if descending else unknown)]


def matches(record: RequestRecord, which: Filter) -> bool:
    texts = ("model", "provider", "policy", "key_id", "tier")
    wanted = {name: getattr(which, name) or None for name in texts if getattr(which, name) is not None}
    wanted |= {
        name: getattr(which, name) for name in ("success", "streaming", "status") if getattr(which, name) is not None
    }
    return (
        all(getattr(record, name) == value for name, value in wanted.items())
        and (which.since is None or record.timestamp >= which.since)
        and (which.until is None or record.timestamp < which.until)
        and (which.min_cost is None or (record.cost is not None and record.cost >= which.min_cost))
    )


def ids(page: Page) -> list[str]:
    return [entry["id"] for entry in page.entries]


EACH_EXAMPLE = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@EACH_EXAMPLE
@given(
    records=RECORDS,
    which=FILTERS,
    sort=st.sampled_from(Sort),
    descending=st.booleans(),
    per_page=st.integers(1, 7),
    rolled=st.integers(0, 60),
    ranked=st.sampled_from([0, 5, 1000]),
)
def test_pages_are_cut_from_all_that_match(
    log: Log,
    records: list[RequestRecord],
    which: Filter,
    sort: Sort,
    descending: bool,
    per_page: int,
    rolled: int,
    ranked: int,
) -> None:
    """By number as by cursor: each entry once, in order, unknown costs last; and every page knows the total.

    However many of them were added up, and whether they are looked for by roll-ups or sorted.
    """
    log.fill(records, rolled=rolled)
    wanted = expected(records, which, sort, descending=descending)
    order: dict[str, Any] = {"sort": sort, "descending": descending, "per_page": per_page, "ranked": ranked}

    by_number = [log.page(which, page=number + 1, **order) for number in range(len(wanted) // per_page + 2)]
    by_cursor = [log.page(which, **order)]
    while (cursor := by_cursor[-1].next_cursor) is not None:
        by_cursor.append(log.page(which, cursor=cursor, **order))

    assert [id for page in by_number for id in ids(page)] == wanted
    assert [id for page in by_cursor for id in ids(page)] == wanted
    assert {len(page.entries) for page in by_number[: len(wanted) // per_page]} <= {per_page}
    assert {(page.total, page.estimated) for page in by_number + by_cursor} == {(len(wanted), False)}
    assert by_number[-1].next_cursor is None


@EACH_EXAMPLE
@given(records=RECORDS, which=FILTERS, sort=st.sampled_from(Sort), hour=st.integers(0, 4), gone=st.integers(0, 60))
def test_rows_that_were_removed_are_not_counted(
    log: Log, records: list[RequestRecord], which: Filter, sort: Sort, hour: int, gone: int
) -> None:
    """Although what they came to stays; nor are those that will be, while they are there, counted twice."""
    log.fill(records, rolled=60)
    before = START + hour * 3600
    removed = [number for number, record in enumerate(records) if record.timestamp < before][:gone]
    log.remove([number + 1 for number in removed], before=before)
    left = [record for number, record in enumerate(records) if number not in removed]

    page = log.page(which, per_page=60, sort=sort)

    assert ids(page) == expected(left, which, sort, descending=True)
    assert (page.total, page.estimated) == (len(page.entries), False)


@EACH_EXAMPLE
@given(records=RECORDS, which=FILTERS, rolled=st.integers(0, 60), counted=st.integers(0, 60))
def test_a_total_is_exact_up_to_what_is_counted(
    log: Log, records: list[RequestRecord], which: Filter, rolled: int, counted: int
) -> None:
    """Beyond, it is said to be an estimate, and is more than that."""
    log.fill(records, rolled=rolled)
    truth = len(expected(records, which, Sort.TIMESTAMP, descending=True))

    page = log.page(which, counted=counted)

    assert page.estimated == (truth > counted)
    assert page.total > counted if page.estimated else page.total == truth


def test_what_is_of_many_kinds_is_counted_by_their_sums(log: Log) -> None:
    """Two conditions that many combinations of all others fulfil: across days, hours, and parts of hours."""
    kinds = [
        request(model=model, provider="alpha", policy=policy, tier=tier, streaming=streaming, key_id=key, timestamp=at)
        for model in ("a", "b")
        for policy in ("x", "y", None)
        for tier in ("local", "frontier")
        for streaming in (True, False)
        for key in ("key_1", "key_2")
        for at in (START - 86_400 * 2, START - 50_000, START, START + 1800)
    ]
    log.fill(kinds, rolled=len(kinds) - 10)
    both = Filter(model="a", provider="alpha")

    totals = [log.page(msgspec.structs.replace(both, until=until)).total for until in (None, START + 1800, START)]

    assert totals == [96, 72, 48]


def test_a_cursor_is_not_shifted_by_new_rows(log: Log) -> None:
    """What comes in between two pages is on neither, and nothing is shown twice."""
    old = [request(timestamp=START + tick) for tick in range(4)]
    log.fill(old)
    first = log.page(per_page=2)
    log.fill([*old, request(timestamp=START + 9)])
    second = log.page(per_page=2, cursor=first.next_cursor)

    assert ids(first) + ids(second) == [record.correlation_id for record in reversed(old)]
    assert (first.total, second.total) == (4, 5)


def test_a_cursor_holds_where_its_entry_is_gone(log: Log) -> None:
    """It is a place, not a row."""
    records = [request(timestamp=START + tick) for tick in range(4)]
    log.fill(records)
    first = log.page(per_page=2)
    log.writer.execute("DELETE FROM requests WHERE correlation_id = ?", [records[2].correlation_id])

    assert ids(log.page(cursor=first.next_cursor)) == [records[1].correlation_id, records[0].correlation_id]


@pytest.mark.parametrize("page", [2, 10**9, 10**12, 10**30])
def test_a_page_beyond_the_last_is_empty(log: Log, page: int) -> None:
    """No number is too large to be asked for, also where nobody has counted to the end."""
    log.fill([request() for _ in range(5)])

    found, guessed = log.page(page=page), log.page(page=page, counted=3)

    assert (found.entries, found.total, found.estimated, found.next_cursor) == ([], 5, False, None)
    assert (guessed.entries, guessed.estimated, guessed.next_cursor) == ([], True, None)


def test_more_than_can_be_counted_is_estimated(log: Log) -> None:
    """To the last that is counted it is exact; beyond, all entries can be read all the same."""
    log.fill([request() for _ in range(5)])

    assert (log.page(counted=5).total, log.page(counted=5).estimated) == (5, False)
    assert log.page(counted=4).estimated
    assert log.page(counted=4).total > 4
    assert len(log.page(counted=1, page=2, per_page=2).entries) == 2


@pytest.mark.parametrize("name", ["' OR 1 --", "\ud800", "a\0b", "%", "x" * 100_000])
def test_a_filter_s_text_is_a_name(log: Log, name: str) -> None:
    """Whatever it says, it is compared and nothing else; what the log cannot keep is found as the log kept it."""
    log.fill([request(model="a"), request(model=name)])

    assert [
        log.page(msgspec.structs.replace(ALL, **{column: name})).total
        for column in ("model", "provider", "policy", "key_id", "tier")
    ] == [*(1, 0, 0, 0, 0)]


def test_a_success_that_failed_is_none(log: Log) -> None:
    """Conditions that exclude each other match nothing, and that is known without a look."""
    log.fill([request(), request(success=False, status=502)], rolled=2)

    assert log.page(Filter(status=200, success=False)).total == 0
    assert log.page(Filter(status=502, success=True)).total == 0
    assert log.page(Filter(status=200, success=True)).total == 1


@pytest.mark.parametrize("rolled", [0, 3, 6])
def test_the_dear_are_estimated_too(log: Log, rolled: int) -> None:
    """What no sum knows is counted hour by hour, until there are too many."""
    log.fill([request(cost=MicroSats(9), timestamp=START + hour * 3600) for hour in range(6)], rolled=rolled)

    few, many = (log.page(Filter(min_cost=MicroSats(9)), counted=counted) for counted in (6, 2))

    assert (few.total, few.estimated) == (6, False)
    assert many.estimated
    assert many.total >= 3
