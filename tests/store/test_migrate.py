"""The schema: applied, applied once, finished after a kill, refused when it is not ours."""

from __future__ import annotations

import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arbstr.store.connection import open_writer
from arbstr.store.errors import StoreError
from arbstr.store.migrate import Migration, migrate, shipped, statements
from tests.store.records import child

PROMISED = {
    "correlation_id timestamp model provider upstream_model policy key_id streaming input_tokens output_tokens"
    " cost_sats cost_usd provider_cost_sats cost_source latency_ms ttft_ms stream_duration_ms success stream_status"
    " error_status error_message key_name cache_write_tokens sats_per_usd price_source charged_at failed_cost_sats"
    " failed_cost_usd tier error_code baseline_sats baseline_usd decision"
}

_OLD_REQUEST = (
    "INSERT INTO requests (correlation_id, timestamp, endpoint, streaming, cost_source, latency_ms, success, cost_sats)"
    " VALUES ('a', '2026-01-01T00:00:00.000000Z', 'chat', 0, 'provider', 1.0, 1, 1.5)"
)
_OLD_ATTEMPT = (
    "INSERT INTO attempts (request_id, ordinal, provider, model, started_at, duration_ms, cost_sats)"
    " VALUES ('a', 0, 'p', 'm', '2026-01-01T00:00:00.000000Z', 1.0, 1.5)"
)


def test_the_shipped_migrations_are_numbered_without_gaps() -> None:
    """1, 2, 3, …: a number that is missing or twice there would leave databases that differ."""
    migrations = shipped()

    assert [step.version for step in migrations] == list(range(1, len(migrations) + 1))


def test_the_table_has_the_promised_columns(tmp_path: Path) -> None:
    """The contract's names, which people write their own queries with."""
    connection = open_writer(tmp_path / "log.db", wait=1)

    columns = {row[1] for row in connection.execute("PRAGMA table_info(requests)")}

    connection.close()
    assert {name for names in PROMISED for name in names.split()} <= columns


def test_rows_of_the_first_schema_are_kept(tmp_path: Path) -> None:
    """A database that was written before there were keys is brought up to date with everything that is in it."""
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    migrate(connection, shipped()[:1])
    connection.execute(_OLD_REQUEST)
    connection.execute(_OLD_ATTEMPT)

    migrate(connection)

    query = "SELECT correlation_id, cost_micro_sats, key_name, cost_nano_usd, failed_cost_nano_usd FROM requests"
    requests = connection.execute(query).fetchall()
    attempts = connection.execute("SELECT request_id, cost_micro_sats, cost_nano_usd FROM attempts").fetchall()
    connection.close()
    assert requests == [("a", 1_500_000, None, None, None)]
    assert attempts == [("a", 1_500_000, None)]


@pytest.mark.parametrize(
    ("table", "column", "exact", "unit"),
    [
        ("requests", "cost_sats", "cost_micro_sats", 6),
        ("requests", "cost_usd", "cost_nano_usd", 9),
        ("requests", "failed_cost_sats", "failed_cost_micro_sats", 6),
        ("requests", "failed_cost_usd", "failed_cost_nano_usd", 9),
        ("requests", "baseline_sats", "baseline_micro_sats", 6),
        ("requests", "baseline_usd", "baseline_nano_usd", 9),
        ("attempts", "cost_sats", "cost_micro_sats", 6),
        ("attempts", "cost_usd", "cost_nano_usd", 9),
    ],
)
def test_money_is_summed_exactly(tmp_path: Path, table: str, column: str, exact: str, unit: int) -> None:
    """Beside each REAL stands the integer that it was made of, to the last digit."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    connection.execute(_OLD_REQUEST)
    connection.execute(_OLD_ATTEMPT)

    for amount in (1, 123_456_789, 999_999_999_999_999):
        connection.execute(f"UPDATE {table} SET {column} = ?", [amount / 10**unit])

        assert connection.execute(f"SELECT {exact} FROM {table}").fetchone() == (amount,)

    connection.close()


def test_rows_of_a_key_are_found_without_reading_all(tmp_path: Path) -> None:
    """A key that looks at its own rows costs what its own rows cost."""
    connection = open_writer(tmp_path / "log.db", wait=1)

    query = "SELECT sum(cost_micro_sats) FROM requests WHERE key_id = 'k' AND timestamp >= '2026'"
    plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))

    connection.close()
    assert "USING INDEX requests_key (key_id=? AND timestamp>?)" in plan


def test_every_change_of_a_key_is_counted(tmp_path: Path) -> None:
    """Whoever makes it, by whatever program: a running gateway has to see it."""
    connection = open_writer(tmp_path / "log.db", wait=1)
    changes = (
        "INSERT INTO keys (id, name, hash, created_at) VALUES ('a', 'a', x'01', '2026'), ('b', 'b', x'02', '2026')",
        "UPDATE keys SET rpm = 1 WHERE id = 'a'",
        "DELETE FROM keys WHERE id = 'b'",
    )
    counted = []

    for change in ("SELECT 1", *changes):
        connection.execute(change)
        counted += connection.execute("SELECT value FROM settings WHERE name = 'keys_generation'").fetchone()

    connection.close()
    assert counted == [0, 2, 3, 4]


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    """An up-to-date database is not written to."""
    path = tmp_path / "log.db"
    open_writer(path, wait=1).close()
    before = path.read_bytes()

    open_writer(path, wait=1).close()

    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """After a downgrade: one clear line instead of errors later on."""
    path = tmp_path / "log.db"
    connection = open_writer(path, wait=1)
    connection.execute("PRAGMA user_version = 999")
    connection.close()

    with pytest.raises(StoreError) as caught:
        open_writer(path, wait=1)

    newest = shipped()[-1].version
    expected = f"{path}: has schema 999, but this arbstr knows none newer than {newest}: a newer one wrote it"
    assert str(caught.value) == expected


@pytest.mark.parametrize("mark", ["CREATE TABLE recipes (name)", "PRAGMA user_version = 1"])
def test_another_program_s_database_is_refused_and_left_alone(tmp_path: Path, mark: str) -> None:
    """A path that points at the wrong file must not add tables to it."""
    path = tmp_path / "recipes.db"
    other = sqlite3.connect(path)
    other.execute(mark)
    other.close()

    with pytest.raises(StoreError, match=r"recipes\.db: is the SQLite database of another program"):
        open_writer(path, wait=1)

    other = sqlite3.connect(path)
    tables = other.execute("SELECT count(*) FROM sqlite_master WHERE name = 'requests'").fetchone()
    other.close()
    assert tables == (0,)


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """All of it or nothing: the database is as it was, at the version that it had."""
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    good = Migration(1, "0001_good.sql", "CREATE TABLE one (x);\n")
    bad = Migration(2, "0002_bad.sql", "CREATE TABLE two (x);\nINSERT INTO nowhere VALUES (1);\n")

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(connection, [good, bad])

    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    version = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    assert (tables, version) == (["one"], (1,))


def test_a_process_killed_in_the_middle_has_done_nothing(tmp_path: Path) -> None:
    """kill -9 between two statements of a migration: the next start finds the old schema and applies all of the new."""
    path = tmp_path / "log.db"
    killed = child("killed_migration", str(path))
    output, _ = killed.communicate(timeout=60)
    connection = sqlite3.connect(path, isolation_level=None)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    version = connection.execute("PRAGMA user_version").fetchone()

    again = migrate(connection, [*shipped(), Migration(99, "0099_next.sql", "CREATE TABLE half (x);\n")])

    connection.close()
    assert killed.returncode == -signal.SIGKILL
    assert output == "half is there\n"
    assert tables == {"requests", "attempts", "keys", "settings", "leases", "removed_spend", "slices", "rollups"}
    assert version == (shipped()[-1].version,)
    assert again == 99


def test_two_who_migrate_at_once_do_it_once(tmp_path: Path) -> None:
    """The command line may open the file in the moment in which the server starts."""

    def start(_: int) -> int:
        connection = open_writer(tmp_path / "log.db", wait=20)
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.close()
        return version

    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(start, range(8)))

    assert versions == [shipped()[-1].version] * 8


def test_who_is_overtaken_while_it_looks_does_not_take_the_file_for_another_program_s(tmp_path: Path) -> None:
    """Version, mark and tables are read at one moment: those of two moments would not fit together."""
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    overtaking = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    overtaken: list[int] = []

    def overtake(statement: str) -> None:
        if "sqlite_master" in statement and not overtaken:
            overtaken.append(migrate(overtaking))

    connection.set_trace_callback(overtake)

    version = migrate(connection)

    connection.close()
    overtaking.close()
    assert overtaken == [version] == [shipped()[-1].version]


def test_a_script_is_cut_into_its_statements() -> None:
    """A semicolon inside a text, a comment or a trigger ends nothing."""
    script = (
        "-- first; of all\n"
        "CREATE TABLE a (\n  x TEXT DEFAULT ';'\n);\n"
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM a;\n  DELETE FROM a;\nEND;\n"
        "DROP TABLE a;\n"
        "-- the end\n"
    )

    cut = list(statements(script))

    assert [statement.split()[-1] for statement in cut] == [");", "END;", "a;", "end"]
    assert "".join(cut) == script
