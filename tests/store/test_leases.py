"""The table of leases: the last one counts, old ones go, and what is written stays written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from arbstr.ports import Lease
from arbstr.store import leases
from arbstr.store.connection import open_reader
from arbstr.store.errors import StoreError
from arbstr.store.leases import STEP, Leases

HOUR = 1_800_000_000
DAY = 1_799_971_200
MAY, APRIL, MARCH, FEBRUARY = 1_809_129_600, 1_806_537_600, 1_803_859_200, 1_801_440_000


def found(path: Path) -> set[Lease]:
    connection = open_reader(path)
    every = leases.load(connection)
    connection.close()
    return set(every)


def of_hours(starts: Iterable[int]) -> list[Lease]:
    return [Lease("", "hour", start, "sats", 1) for start in starts]


def test_the_last_one_written_counts(tmp_path: Path) -> None:
    """A lease takes the place of the one before it, be it less: at its end a process gives back what it has left."""
    table = Leases(tmp_path / "log.db", lock_wait=1)
    more, less = Lease("key_1", "day", DAY, "usd", 2_000), Lease("key_1", "day", DAY, "usd", 1_500)

    table.write([Lease("key_1", "day", DAY, "usd", 1_000)])
    table.write([more])
    after_more = found(tmp_path / "log.db")
    table.write([less])

    table.close()
    assert after_more == {more}
    assert found(tmp_path / "log.db") == {less}


def test_accounts_periods_windows_and_currencies_are_apart(tmp_path: Path) -> None:
    """One changes nothing about another."""
    table = Leases(tmp_path / "log.db", lock_wait=1)
    every = [
        Lease(account, period, start, currency, amount)
        for amount, (account, period, start, currency) in enumerate(
            (account, period, start, currency)
            for account in ("", "key_1")
            for period, start in (("hour", HOUR), ("hour", HOUR - 3600), ("day", DAY), ("total", 0))
            for currency in ("sats", "usd")
        )
    ]

    for each in every:
        table.write([each])

    table.close()
    assert found(tmp_path / "log.db") == set(every)


def test_all_are_written_or_none(tmp_path: Path) -> None:
    """One that cannot be written takes those with it that came in the same call, and no earlier one."""
    table = Leases(tmp_path / "log.db", lock_wait=1)
    good = Lease("", "day", DAY, "sats", 1)
    table.write([good])

    with pytest.raises(OverflowError):
        table.write([Lease("", "day", DAY, "sats", 2), Lease("key_1", "day", DAY, "sats", 2**63)])

    table.write([Lease("key_2", "day", DAY, "sats", 3)])
    table.close()
    assert found(tmp_path / "log.db") == {good, Lease("key_2", "day", DAY, "sats", 3)}


@pytest.mark.parametrize(
    ("period", "windows", "kept"),
    [
        ("hour", [HOUR - hours * 3600 for hours in range(5)], 3),
        ("day", [DAY - days * 86400 for days in range(5)], 3),
        ("month", [MAY, APRIL, MARCH, FEBRUARY], 3),
        ("total", [0], 1),
    ],
)
def test_windows_that_are_long_over_are_removed(tmp_path: Path, period: str, windows: list[int], kept: int) -> None:
    """With the first lease of a window, all go that ended more than two windows ago; other periods' stay."""
    table = Leases(tmp_path / "log.db", lock_wait=1)
    other = {Lease("", each, 0, "sats", 1) for each in {"hour", "day", "month", "total"} - {period}}
    every = [Lease("key_1", period, start, "sats", 1) for start in windows]

    table.write([*other, *every[1:]])
    table.write(every[:1])

    table.close()
    assert found(tmp_path / "log.db") == other | set(every[:kept])


def test_old_windows_are_removed_in_small_steps(tmp_path: Path) -> None:
    """However many there are, one write is short; those that follow remove the rest."""
    path = tmp_path / "log.db"
    table = Leases(path, lock_wait=1)
    now = of_hours([HOUR])
    old = [HOUR - hours * 3600 for hours in range(3, 2 * STEP + 13)]
    connection = leases.connect(path, wait=1)
    connection.executemany("INSERT INTO leases VALUES ('', 'hour', ?, 'sats', 1)", [(start,) for start in old])
    connection.close()
    left = []

    for _ in range(4):
        table.write(now)
        left.append(len(found(path)) - 1)

    table.close()
    assert left == [STEP + 10, 10, 0, 0]


def test_a_removal_that_was_not_committed_is_made_up_for(tmp_path: Path) -> None:
    """What is clean is known from commits alone."""
    path = tmp_path / "log.db"
    table = Leases(path, lock_wait=0.01)
    table.write(of_hours([HOUR - 9 * 3600]))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        table.write(of_hours([HOUR]))
    other.execute("ROLLBACK")
    other.close()

    table.write(of_hours([HOUR]))

    table.close()
    assert found(path) == set(of_hours([HOUR]))


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """Unlike a row of the log: synchronous is FULL, and the lock of somebody else is waited for as long as asked."""
    connection = leases.connect(tmp_path / "log.db", wait=3)

    set_to = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("synchronous", "busy_timeout")]

    connection.close()
    assert set_to == [(2,), (3000,)]


def test_a_deleted_file_is_begun_anew(tmp_path: Path) -> None:
    """What is leased counts from now on, wherever it was written before."""
    path = tmp_path / "log.db"
    table = Leases(path, lock_wait=1)
    table.write(of_hours([HOUR - 3600]))

    for file in list(tmp_path.iterdir()):
        file.unlink()
    table.write(of_hours([HOUR]))

    table.close()
    assert found(path) == set(of_hours([HOUR]))


def test_a_folder_that_goes_and_comes_back_is_found_again(tmp_path: Path) -> None:
    """While there is nowhere to write to, that is said; nothing has to be started anew."""
    folder = tmp_path / "folder"
    folder.mkdir()
    table = Leases(folder / "log.db", lock_wait=1)
    table.write(of_hours([HOUR - 3600]))

    folder.rename(tmp_path / "away")
    with pytest.raises(StoreError, match=r"folder .* does not exist"):
        table.write(of_hours([HOUR]))
    (tmp_path / "away").rename(folder)
    table.write(of_hours([HOUR]))

    table.close()
    assert found(folder / "log.db") == set(of_hours([HOUR - 3600, HOUR]))


def test_a_table_that_somebody_dropped_may_come_back(tmp_path: Path) -> None:
    """Whatever was wrong, the next write begins anew."""
    path = tmp_path / "log.db"
    table = Leases(path, lock_wait=1)
    table.write([])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("ALTER TABLE leases RENAME TO hidden")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        table.write(of_hours([HOUR]))
    other.execute("ALTER TABLE hidden RENAME TO leases")
    other.close()
    table.write(of_hours([HOUR]))

    table.close()
    assert found(path) == set(of_hours([HOUR]))
