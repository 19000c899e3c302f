"""Pages of the log against the plainest way to make them: filter all, sort all, cut."""

from __future__ import annotations

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
from arbstr.store.rows import REQUEST_COLUMNS, request_row
from tests.store.records import request

START = 1_800_000_000.0
ALL = Filter()

ENDINGS = ({"success": True, "status": 200}, {"success": False, "status": 502}, {"success": False, "status": 499})
RECORDS = st.lists(
    st.builds(
        lambda ending, **fields: request(**ending, **fields),
        st.sampled_from(ENDINGS),
        timestamp=st.integers(0, 20).map(lambda tick: START + tick * 600),
        model=st.sampled_from(["a", "b", None]),
        provider=st.sampled_from(["alpha", "beta", None]),
        policy=st.sampled_from(["frugal", None]),
        key_id=st.sampled_from(["key_1", None]),
        tier=st.sampled_from(["local", None]),
        streaming=st.booleans(),
        cost=st.sampled_from([None, *map(MicroSats, (0, 1, 1_000_000, 2_500_000))]),
        latency_ms=st.sampled_from([0.0, 1.25, 1.5, 1000.0]),
    ),
    max_size=40,
)
FILTERS = st.builds(
    Filter,
    since=st.none() | st.integers(-1, 21).map(lambda tick: START + tick * 600),
    until=st.none() | st.integers(-1, 21).map(lambda tick: START + tick * 600),
    model=st.sampled_from([None, None, "a", "b", "", "nobody's"]),
    provider=st.sampled_from([None, None, "alpha", ""]),
    policy=st.sampled_from([None, None, "frugal", ""]),
    key_id=st.sampled_from([None, None, "key_1", ""]),
    tier=st.sampled_from([None, None, "local", ""]),
    success=st.sampled_from([None, None, True, False]),
    streaming=st.sampled_from([None, None, True, False]),
    status=st.sampled_from([None, None, 200, 502, 418]),
    min_cost=st.sampled_from([None, None, *map(MicroSats, (0, 1_000_000))]),
)


class Log:
    """A log that is filled anew for each example, and read through a connection that can do nothing else."""

    def __init__(self, path: Path) -> None:
        self.writer = open_writer(path, wait=1)
        self.reader = open_reader(path)

    def fill(self, records: Sequence[RequestRecord]) -> None:
        """Write these, in this order, with ids from 1."""
        marks = ", ".join("?" * len(REQUEST_COLUMNS))
        rows = [request_row(record) for record in records]
        self.writer.execute("BEGIN")
        self.writer.execute("DELETE FROM requests")
        self.writer.executemany(f"INSERT INTO requests ({', '.join(REQUEST_COLUMNS)}) VALUES ({marks})", rows)
        self.writer.execute("COMMIT")

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
@given(records=RECORDS, which=FILTERS, sort=st.sampled_from(Sort), descending=st.booleans(), per_page=st.integers(1, 7))
def test_pages_are_cut_from_all_that_match(
    log: Log, records: list[RequestRecord], which: Filter, sort: Sort, descending: bool, per_page: int
) -> None:
    """By number as by cursor: each entry once, in order, unknown costs last; and every page knows the total."""
    log.fill(records)
    wanted = expected(records, which, sort, descending=descending)
    order: dict[str, Any] = {"sort": sort, "descending": descending, "per_page": per_page}

    by_number = [log.page(which, page=number + 1, **order) for number in range(len(wanted) // per_page + 2)]
    by_cursor = [log.page(which, **order)]
    while (cursor := by_cursor[-1].next_cursor) is not None:
        by_cursor.append(log.page(which, cursor=cursor, **order))

    assert [id for page in by_number for id in ids(page)] == wanted
    assert [id for page in by_cursor for id in ids(page)] == wanted
    assert {len(page.entries) for page in by_number[: len(wanted) // per_page]} <= {per_page}
    assert {(page.total, page.estimated) for page in by_number + by_cursor} == {(len(wanted), False)}
    assert by_number[-1].next_cursor is None


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
