"""Rows that are old enough leave the log in small steps; budgets do not notice."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.money import Currency, ExchangeRate, MicroSats
from arbstr.domain.record import RequestRecord
from arbstr.domain.routing import BudgetSettings
from arbstr.pipeline.state import LiveState
from arbstr.ports import LogHealth
from arbstr.store.connection import open_writer
from arbstr.store.migrate import migrate
from arbstr.store.removal import DAY, MARGIN, cutoff, remove, rows_from
from arbstr.store.retention import LOOK, PAUSE, Retention
from arbstr.store.rollups import roll
from arbstr.store.rows import ATTEMPT_COLUMNS, REQUEST_COLUMNS, attempt_rows, request_row
from arbstr.store.spend import SqliteSpend, sums
from arbstr.testing import FakeClock, ListLog
from tests.store.records import attempt, request

NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""
MONTH = 1_798_761_600.0
"""2027-01-01."""
HOUR = 3600
WELL = LogHealth(ok=True, queued=0, written=0, dropped=0)


def insert(connection: sqlite3.Connection, *records: RequestRecord) -> None:
    """Rows that are part of the roll-ups already."""
    for table, columns, rows in (
        ("requests", REQUEST_COLUMNS, [request_row(record) for record in records]),
        ("attempts", ATTEMPT_COLUMNS, [row for record in records for row in attempt_rows(record)]),
    ):
        marks = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
    while roll(connection):
        pass


def memory(*records: RequestRecord) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    migrate(connection)
    insert(connection, *records)
    return connection


def logged(folder: Path, *records: RequestRecord) -> Path:
    """A database with these rows, as a gateway left it."""
    path = folder / "arbstr.db"
    with closing(open_writer(path, wait=1)) as connection:
        insert(connection, *records)
    return path


def count(path: Path, table: str = "requests") -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


@given(st.floats(0, 4e9), st.floats(1, 365 * DAY))
def test_what_goes_is_older_than_what_is_kept_by_full_days(now: float, keep: float) -> None:
    """Never a row that is younger than it may be, never one of the running day nor of its margin; nothing stays a day
    longer than that."""
    instant = cutoff(now, keep)

    today = now - now % DAY
    assert instant % DAY == 0
    assert instant <= min(now - keep, today - MARGIN)
    assert instant > min(now - keep, today - MARGIN) - DAY


def test_a_step_removes_the_oldest_with_their_attempts() -> None:
    """No more than it is allowed to; what remains is whole."""
    ages = [5, 1, 4, 2, 3]
    rows = [request(timestamp=NOW - age * DAY, attempts=(attempt(), attempt())) for age in ages]
    rows.append(request(timestamp=NOW))
    connection = memory(*rows)

    removed = remove(connection, before=NOW - 1.5 * DAY, began=NOW, step=3)

    left = {each[0] for each in connection.execute("SELECT correlation_id FROM requests")}
    assert removed == 3
    assert left == {rows[1].correlation_id, rows[3].correlation_id, rows[5].correlation_id}
    assert {each[0] for each in connection.execute("SELECT request_id FROM attempts")} == left


def test_what_is_not_rolled_up_yet_stays() -> None:
    """Else its figures would be lost; and so does the highest id, which the next row would be given again."""
    connection = memory(*(request(timestamp=NOW - 9 * DAY) for _ in range(4)))
    connection.execute("UPDATE settings SET value = 2 WHERE name = 'rolled_up'")
    first = remove(connection, before=NOW, began=NOW)
    connection.execute("UPDATE settings SET value = 4 WHERE name = 'rolled_up'")
    second = remove(connection, before=NOW, began=NOW)

    assert (first, second) == (2, 1)
    assert [row[0] for row in connection.execute("SELECT id FROM requests")] == [4]


def test_the_day_before_which_rows_are_missing_is_known() -> None:
    """From the first one that goes on; it never moves back, and stays where nothing was removed."""
    connection = memory(request(timestamp=NOW - 9 * DAY), request(timestamp=NOW - 5 * DAY), request(timestamp=NOW))
    nothing = remove(connection, before=NOW - 20 * DAY, began=NOW)
    untouched = rows_from(connection)

    marks = []
    for days in (8, 4, 9, 2):
        remove(connection, before=NOW - days * DAY, began=NOW)
        marks.append(rows_from(connection))

    assert (nothing, untouched) == (0, None)
    assert marks == [NOW - 8 * DAY, NOW - 4 * DAY, NOW - 4 * DAY, NOW - 4 * DAY]


def test_a_row_that_comes_late_goes_too() -> None:
    """With a time from before the mark, which stays."""
    connection = memory(request(timestamp=NOW - 9 * DAY), request(timestamp=NOW))
    remove(connection, before=NOW - 2 * DAY, began=NOW)
    insert(connection, request(timestamp=NOW - 3 * DAY), request(timestamp=NOW))

    assert remove(connection, before=NOW - 2 * DAY, began=NOW) == 1
    assert rows_from(connection) == NOW - 2 * DAY


amounts = st.none() | st.integers(0, 2**45)
records = st.builds(
    lambda age, charged, key, sats, usd, failed_sats, failed_usd: request(
        timestamp=NOW - age,
        charged_at=None if charged is None else NOW - age + charged,
        key_id=key,
        cost=sats,
        cost_usd=usd,
        failed_cost=failed_sats,
        failed_cost_usd=failed_usd,
    ),
    st.integers(0, 50 * DAY) | st.just(round(NOW - MONTH)) | st.just(round(NOW - MONTH) + 1e-6),
    st.none() | st.integers(-HOUR, HOUR) | st.just(1e-6),
    st.sampled_from([None, "key_1", "key_2"]),
    *[amounts] * 4,
)


@given(
    rows=st.lists(records, max_size=15),
    keep=st.sampled_from([HOUR, 2 * DAY, 20 * DAY, 40 * DAY]),
    began=st.integers(0, 50 * DAY),
    step=st.integers(1, 4),
)
def test_sums_of_running_windows_do_not_change_by_removal(
    rows: list[RequestRecord], keep: float, began: int, step: int
) -> None:
    """Of a day, a month and in all, for everybody and for each key, before this process began and until now: to the
    smallest unit, whatever was removed by whom."""
    connection = memory(*rows)
    windows = [
        (since, before, account)
        for since in (0.0, MONTH, NOW - NOW % DAY)
        for before in (NOW - began, NOW + HOUR)
        for account in (None, "", "key_1")
    ]

    def sum_up() -> list[Counter[object]]:
        return [
            Counter(sums(connection, since=since, before=before, account=account)) for since, before, account in windows
        ]

    before = sum_up()
    while remove(connection, before=cutoff(NOW, keep), began=NOW - began, step=step):
        pass

    assert sum_up() == before


def test_what_an_earlier_process_removed_counts_as_before_this_one() -> None:
    """A row that one process charged and removed is past for the next."""
    old = request(timestamp=NOW - 9 * DAY)
    connection = memory(request(timestamp=NOW - 5 * DAY, cost=MicroSats(7)), old, request(timestamp=NOW))
    whole = sums(connection, since=0.0, before=NOW, account="")

    remove(connection, before=NOW - 2 * DAY, began=NOW - 6 * DAY)

    assert sums(connection, since=0.0, before=NOW, account="") == whole
    assert sums(connection, since=0.0, before=NOW - 6 * DAY, account="")[0].sats == whole[0].sats - 7


async def spent_in_all(path: Path, clock: FakeClock) -> tuple[int, int]:
    """What a gateway that starts now on this file takes to be spent of its total budget, and in this month."""
    state = LiveState(clock=clock, log=ListLog(), spend_store=SqliteSpend(path))
    settings = BudgetSettings(currency=Currency.SATS, total=10**15, month=10**15)
    await state.spending.adopt(settings, (), ExchangeRate.of(Decimal(1000)))
    meters = {meter.period.value: meter.spent for meter in state.spending.limited_meters()}
    await state.spending.store.aclose()  # type: ignore[union-attr]
    return meters["total"], meters["month"]


async def test_a_total_budget_is_not_refilled_by_removal(tmp_path: Path) -> None:
    """A budget that is set only now counts what the removed rows had spent, with no lease of theirs anywhere."""
    clock = FakeClock(epoch=NOW)
    old = [request(timestamp=NOW - days * DAY, cost=MicroSats(days * 1_000_000)) for days in range(1, 40)]
    path = logged(tmp_path, *old, request(timestamp=NOW, cost=None))
    before = await spent_in_all(path, clock)
    retention = Retention(path, keep=2 * DAY, clock=clock, log=ListLog(), health=lambda: WELL, step=5)

    while await retention.step():
        pass
    await retention.aclose()

    assert count(path) < 4
    assert before[0] == sum(range(1, 40)) * 1_000_000
    assert await spent_in_all(path, clock) == before


async def test_steps_follow_each_other_while_there_is_more(tmp_path: Path) -> None:
    """With a pause, so that the writer is not held up; then it looks now and then, and says once what it did."""
    clock, log = FakeClock(epoch=NOW), ListLog()
    path = logged(tmp_path, *(request(timestamp=NOW - 9 * DAY) for _ in range(7)), request(timestamp=NOW))
    retention = Retention(path, keep=2 * DAY, clock=clock, log=log, health=lambda: WELL, step=3)

    more = [await retention.step() for _ in range(4)]
    await retention.aclose()

    assert more == [True, True, False, False]
    assert (count(path), count(path, "attempts")) == (1, 1)
    assert log.lines == [("info", "old rows of the request log were removed", {"rows": 7})]


async def test_it_runs_until_it_is_cancelled(tmp_path: Path) -> None:
    """Steps while there is something to do, looks while there is not."""

    class Enough(Exception):
        """The clock has been asked often enough."""

    class Clock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.slept) == 4:
                raise Enough

    clock = Clock(epoch=NOW)
    path = logged(tmp_path, *(request(timestamp=NOW - 9 * DAY) for _ in range(6)))
    retention = Retention(path, keep=2 * DAY, clock=clock, log=ListLog(), health=lambda: WELL, step=2)

    with pytest.raises(Enough):
        await retention.run()
    await retention.aclose()

    assert clock.slept == [PAUSE, PAUSE, LOOK, LOOK]


@pytest.mark.parametrize(
    "health",
    [LogHealth(ok=False, queued=0, written=0, dropped=0, error="full"), LogHealth(True, 5_000, 0, 0)],
    ids=["unwritable", "busy"],
)
async def test_nothing_goes_while_the_log_is_not_well(tmp_path: Path, health: LogHealth) -> None:
    """While it cannot be written, and while many rows wait to be."""
    path = logged(tmp_path, request(timestamp=NOW - 9 * DAY), request(timestamp=NOW))
    retention = Retention(path, keep=DAY, clock=FakeClock(epoch=NOW), log=ListLog(), health=lambda: health)

    more = await retention.step()
    await retention.aclose()

    assert (more, count(path)) == (False, 2)


async def test_a_file_that_cannot_be_used_is_told_once_and_tried_again(tmp_path: Path) -> None:
    """One line when it begins and one when it is over; another file in its place is used from then on."""
    log = ListLog()
    path = logged(tmp_path, request(timestamp=NOW - 9 * DAY), request(timestamp=NOW))
    retention = Retention(path, keep=DAY, clock=FakeClock(epoch=NOW), log=log, health=lambda: WELL, step=1)
    first = await retention.step()
    for file in tmp_path.iterdir():
        file.unlink()
    path.write_bytes(b"this is no database" * 100)
    broken = [await retention.step(), await retention.step()]
    path.unlink()
    logged(tmp_path, request(timestamp=NOW - 9 * DAY), request(timestamp=NOW))
    mended = await retention.step()
    await retention.aclose()

    assert (first, broken, mended) == (True, [False, False], True)
    assert [event for _, event, _ in log.lines] == [
        "old rows of the request log cannot be removed",
        "old rows of the request log can be removed again",
    ]
    assert count(path) == 1


async def test_somebody_elses_lock_is_no_problem(tmp_path: Path) -> None:
    """The step is put off, and nothing is said."""
    log = ListLog()
    path = logged(tmp_path, request(timestamp=NOW - 9 * DAY), request(timestamp=NOW))
    retention = Retention(path, keep=DAY, clock=FakeClock(epoch=NOW), log=log, health=lambda: WELL)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = await retention.step()
        other.execute("ROLLBACK")
    await retention.step()
    await retention.aclose()

    assert locked is False
    assert count(path) == 1
    assert [event for _, event, _ in log.lines] == ["old rows of the request log were removed"]
