"""The durable memory of budgets: exact sums, windows to the microsecond, leases that outlive the process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.errors import LogUnavailable
from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.record import RequestRecord
from arbstr.ports import Lease, SpendStore, Spent
from arbstr.store.migrate import migrate, shipped
from arbstr.store.rows import REQUEST_COLUMNS, request_row
from arbstr.store.spend import MARGIN, SqliteSpend, sums
from arbstr.store.sqlite import SqliteLog
from tests.store.records import Problems, child, request

START, END = 1_800_000_000.0, 1_800_003_600.0
LEASE = Lease("", "hour", 1_800_000_000, "sats", 1_000)

_INSERT = f"INSERT INTO requests ({', '.join(REQUEST_COLUMNS)}) VALUES ({', '.join('?' * len(REQUEST_COLUMNS))})"

amounts = st.none() | st.integers(0, 2**51)
records = st.builds(
    lambda seconds, charged, key, sats, usd, failed_sats, failed_usd: request(
        timestamp=START + seconds,
        charged_at=None if charged is None else START + seconds + charged,
        key_id=key,
        cost=sats,
        cost_usd=usd,
        failed_cost=failed_sats,
        failed_cost_usd=failed_usd,
    ),
    st.integers(-7200, 7200),
    st.none() | st.integers(-3600, 3600),
    st.sampled_from([None, "key_1", "key_2"]),
    *[amounts] * 4,
)


def counted(rows: list[RequestRecord]) -> set[Spent]:
    """The sums as Python has them."""
    totals: dict[str, Counter[str]] = {}
    for row in rows:
        at = row.timestamp if row.charged_at is None else row.charged_at
        for account in {"", row.key_id or ""} if START <= at < END else ():
            total = totals.setdefault(account, Counter())
            for sats, usd in ((row.cost, row.cost_usd), (row.failed_cost, row.failed_cost_usd)):
                total["sats"] += sats or 0
                total["usd"] += usd or 0
                total["sats_only"] += (sats or 0) if usd is None else 0
                total["usd_only"] += (usd or 0) if sats is None else 0
    return {
        Spent(
            account,
            MicroSats(total["sats"]),
            NanoUsd(total["usd"]),
            MicroSats(total["sats_only"]),
            NanoUsd(total["usd_only"]),
        )
        for account, total in totals.items()
        if total["sats"] or total["usd"]
    }


def test_sums_are_exact() -> None:
    """Whatever is in the log, the sums of a window are those of Python's integers: for each account, and for all."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)

    @given(st.lists(records, max_size=12))
    def check(rows: list[RequestRecord]) -> None:
        connection.execute("DELETE FROM requests")
        connection.executemany(_INSERT, map(request_row, rows))
        expected = counted(rows)

        assert set(sums(connection, since=START, before=END, account=None)) == expected
        for account in ("", "key_1", "key_2", "key_3"):
            of_one = {each for each in expected if each.account == account}
            assert set(sums(connection, since=START, before=END, account=account)) == of_one

    check()
    connection.close()


def test_a_request_belongs_to_the_window_that_it_is_charged_to() -> None:
    """Not to the one in which it came in, up to hours before or after; without such an instant its receipt counts."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    tick = 0.00001
    instants = [
        (START - MARGIN, START),
        (START - tick, START + tick),
        (START - tick, None),
        (START, START - tick),
        (START, None),
        (END - tick, END),
        (END, END - tick),
        (END - tick + MARGIN, END - tick),
        (END, None),
    ]
    connection.executemany(
        _INSERT,
        (
            request_row(request(timestamp=received, charged_at=charged, cost=MicroSats(1 << place)))
            for place, (received, charged) in enumerate(instants)
        ),
    )

    [found] = sums(connection, since=START, before=END, account="")

    connection.close()
    assert [place for place in range(len(instants)) if found.sats >> place & 1] == [0, 1, 4, 6, 7]


@pytest.mark.parametrize(
    ("account", "index"),
    [
        (None, "requests_timestamp (timestamp>? AND timestamp<?)"),
        ("key_1", "requests_key (key_id=? AND timestamp>? AND timestamp<?)"),
    ],
)
def test_a_sum_of_an_hour_does_not_read_the_months_before(account: str | None, index: str) -> None:
    """It costs what the hour has, and the margin around it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    sums(connection, since=START, before=END, account=account)
    connection.set_trace_callback(None)

    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]

    connection.close()
    assert f"SEARCH requests USING INDEX {index}" in plan


async def test_it_is_a_spend_store(tmp_path: Path) -> None:
    """What the service hands to the pipeline fits its port; at first nothing was leased, and nothing spent."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    store: SpendStore = SqliteSpend(tmp_path / "log.db")

    before = await store.leases(), await store.spent(since=0, before=END)
    await store.lease([])
    await store.lease([LEASE])

    assert before == ([], [])
    assert await store.leases() == [LEASE]
    assert isinstance(store, SqliteSpend)
    await store.aclose()
    await log.aclose()


async def test_what_the_log_wrote_is_summed(tmp_path: Path) -> None:
    """Rows on their usual way, by key and in all."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    spend = SqliteSpend(tmp_path / "log.db")
    log.request(request(key_id="key_1", cost=MicroSats(3), cost_usd=NanoUsd(5), failed_cost_usd=NanoUsd(7)))
    log.request(request(cost=MicroSats(11)))
    log.flush(20)

    found = await spend.spent(since=START, before=END)
    of_one = await spend.spent(since=START, before=END, account="key_1")
    earlier = await spend.spent(since=START - 3600, before=START)

    await spend.aclose()
    await log.aclose()
    of_key = Spent("key_1", MicroSats(3), NanoUsd(12), MicroSats(0), NanoUsd(7))
    assert found == [of_key, Spent("", MicroSats(14), NanoUsd(12), MicroSats(11), NanoUsd(7))]
    assert of_one == [of_key]
    assert earlier == []


async def test_rows_from_before_there_were_keys_are_read_and_counted(tmp_path: Path) -> None:
    """A database of the first schema keeps its rows; what it could not know is null, what it knew is spent."""
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    migrate(connection, shipped()[:1])
    connection.execute(
        "INSERT INTO requests (correlation_id, timestamp, endpoint, streaming, cost_source, latency_ms, success,"
        " cost_sats) VALUES ('a', '2027-01-15T08:00:00.000000Z', 'chat', 0, 'provider', 1.0, 1, 1.5)"
    )
    connection.execute(
        "INSERT INTO attempts (request_id, ordinal, provider, model, started_at, duration_ms, cost_sats)"
        " VALUES ('a', 0, 'p', 'm', '2027-01-15T08:00:00.000000Z', 1.0, 1.5)"
    )
    connection.close()

    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    spend = SqliteSpend(tmp_path / "log.db")
    entry = await log.find("a")
    found = await spend.spent(since=START, before=END)

    await spend.aclose()
    await log.aclose()
    assert entry is not None
    assert {name: value for name, value in entry["cost"].items() if value is not None} == {
        "sats": 1.5,
        "source": "provider",
    }
    assert (entry["key_name"], entry["tokens"]["cache_write"]) == (None, None)
    assert (entry["attempts"][0]["cost"], entry["attempts"][0]["cost_usd"]) == (1.5, None)
    assert found == [Spent("", MicroSats(1_500_000), NanoUsd(0), MicroSats(1_500_000), NanoUsd(0))]


async def test_a_lease_outlives_the_process(tmp_path: Path) -> None:
    """kill -9 the moment that a lease has returned: the next process finds it, or a later one that was on its way."""
    path = tmp_path / "log.db"
    process = child("lease_writer", str(path))
    assert process.stdout
    returned = 0
    for line in process.stdout:
        returned = int(line)
        if returned == 50:
            process.kill()
            break
    returned = max([returned, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.communicate()

    log = SqliteLog.open(path, on_problem=Problems())
    spend = SqliteSpend(path)
    found = {each.account: each.amount for each in await spend.leases()}

    await spend.aclose()
    await log.aclose()
    assert returned >= 50
    assert found in ({"": returned, "key_1": returned}, {"": returned + 1, "key_1": returned + 1})


async def test_leases_and_rows_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Two connections write to one file, a third reads: nobody is refused, and everything arrives."""
    problems = Problems()
    log = SqliteLog.open(tmp_path / "log.db", on_problem=problems, flush_interval=0.001)
    spend = SqliteSpend(tmp_path / "log.db")
    seen = []

    for number in range(100):
        for _ in range(20):
            log.request(request(cost=MicroSats(1)))
        await spend.lease([Lease("", "total", 0, "sats", number)])
        seen += [each.sats for each in await spend.spent(since=START, before=END)]
    log.flush(20)

    [total] = await spend.spent(since=START, before=END)
    leased = await spend.leases()
    await spend.aclose()
    await log.aclose()
    assert seen == sorted(seen)
    assert total.sats == 2000
    assert leased == [Lease("", "total", 0, "sats", 99)]
    assert problems.told == []


async def test_a_lock_of_somebody_else_is_waited_for(tmp_path: Path) -> None:
    """A lease is not given up while the command line writes: it is there once the lock is gone."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    spend = SqliteSpend(tmp_path / "log.db", lock_wait=30)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    waiting = asyncio.ensure_future(spend.lease([LEASE]))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    read_meanwhile = await spend.leases()
    other.execute("ROLLBACK")
    other.close()
    await waiting

    assert (done, read_meanwhile) == (set(), [])
    assert await spend.leases() == [LEASE]
    await spend.aclose()
    await log.aclose()


async def test_a_lock_that_stays_is_told(tmp_path: Path) -> None:
    """Whoever waited is told what is wrong in one line; after the lock all is well again."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    spend = SqliteSpend(tmp_path / "log.db", lock_wait=0.01)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(LogUnavailable) as caught:
        await spend.lease([LEASE])
    other.execute("ROLLBACK")
    other.close()
    await spend.lease([LEASE])

    assert caught.value.message.startswith("The database of budgets cannot be written: ")
    assert caught.value.message.endswith("database is locked.")
    assert await spend.leases() == [LEASE]
    await spend.aclose()
    await log.aclose()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """Neither written to nor taken for an empty one: what was spent is not known, which is not nothing."""
    path = tmp_path / "log.db"
    path.write_bytes(b"no database " * 1000)
    spend = SqliteSpend(path)

    with pytest.raises(LogUnavailable, match=r"written: .*log\.db: file is not a database\.$"):
        await spend.lease([LEASE])
    with pytest.raises(LogUnavailable, match=r"The database of budgets cannot be read: file is not a database\.$"):
        await spend.leases()
    with pytest.raises(LogUnavailable, match=r"read: file is not a database\.$"):
        await spend.spent(since=START, before=END)

    await spend.aclose()
    assert path.read_bytes() == b"no database " * 1000


async def test_an_amount_without_room_in_a_column_is_told(tmp_path: Path) -> None:
    """More than nine billion dollars: the caller hears of it as of anything else that cannot be written."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    spend = SqliteSpend(tmp_path / "log.db")

    with pytest.raises(LogUnavailable, match=r"cannot be written: .*too large"):
        await spend.lease([Lease("", "total", 0, "usd", 2**63)])

    assert await spend.leases() == []
    await spend.aclose()
    await log.aclose()


async def test_closing_writes_what_was_handed_over(tmp_path: Path) -> None:
    """A lease that waits for its turn is not lost; who comes later is refused, and one file is left behind."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    spend = SqliteSpend(tmp_path / "log.db")

    writing = [asyncio.ensure_future(spend.lease([Lease("", "total", 0, "sats", amount)])) for amount in range(20)]
    await asyncio.sleep(0)
    await spend.aclose()
    await asyncio.gather(*writing)
    with pytest.raises(LogUnavailable, match="closed"):
        await spend.lease([LEASE])
    with pytest.raises(LogUnavailable, match="closed"):
        await spend.leases()
    await log.aclose()
    files = {file.name for file in tmp_path.iterdir()}

    again = SqliteSpend(tmp_path / "log.db")
    left = await again.leases()
    await again.aclose()
    assert files == {"log.db", "log.db.lock"}
    assert left == [Lease("", "total", 0, "sats", 19)]
