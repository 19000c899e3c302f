"""The log as a replay reads it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from arbstr.domain.decision import Decision, Matched
from arbstr.domain.money import Cost, MicroSats, NanoUsd
from arbstr.domain.record import CostSource, RequestRecord
from arbstr.domain.request import Needs
from arbstr.domain.routing import Plan, Route, Strategy
from arbstr.domain.usage import Usage
from arbstr.policy.asked import Asked
from arbstr.policy.replay import Ending, Logged
from arbstr.store.errors import StoreError
from arbstr.store.migrate import migrate, shipped
from arbstr.store.replay_rows import BATCH, BEGINNING, reading
from arbstr.store.sqlite import SqliteLog
from tests.store.records import Problems, request

NOON = 1_800_000_000.0
DECISION = Decision(
    Plan(Route("m", Strategy.CHEAPEST, ()), Strategy.CHEAPEST, "code", ()),
    Matched.HEADER,
    400,
    50,
    2,
    Needs(tools=True),
)


def written(folder: Path, *records: RequestRecord) -> Path:
    log = SqliteLog.open(folder / "log.db", on_problem=Problems())
    for record in records:
        log.request(record)
    assert log.flush(20)
    log.close()
    return folder / "log.db"


def rows(path: Path, since: float = NOON, until: float = NOON + 1e6, last: int | None = None) -> list[Logged]:
    with reading(path) as log:
        begin, end = log.stretch(since, until, last=last)
        found = list(log.rows(begin, end))
        assert log.count(begin, end) == len(found)
    return found


def test_a_row_says_all_that_a_replay_needs(tmp_path: Path) -> None:
    """To the last unit of money."""
    path = written(
        tmp_path,
        request(
            timestamp=NOON + 0.25,
            policy="code",
            endpoint="messages",
            cached_input_tokens=60,
            cache_write_tokens=30,
            reasoning_tokens=7,
            cost=MicroSats(1_234_567_890_123),
            cost_usd=NanoUsd(987_654_321),
            failed_cost=MicroSats(3),
            sats_per_usd=1234.567891,
            latency_ms=250.0,
            decision=DECISION,
        ),
    )

    (row,) = rows(path)

    assert row == Logged(
        NOON + 0.25,
        Ending.SERVED,
        "gpt-4o",
        "messages",
        "code",
        "alpha",
        None,
        Asked(400, 50, 2, Needs(tools=True), Matched.HEADER),
        Usage(100, 20, 60, 7, cache_write_tokens=30),
        Cost(MicroSats(1_234_567_890_123), NanoUsd(987_654_321)),
        Cost(MicroSats(3), None),
        1234.567891,
        0.25,
    )


def test_what_is_not_known_is_not_made_up(tmp_path: Path) -> None:
    """No usage, no cost, no rate; and what was estimated is said to be."""
    path = written(
        tmp_path,
        request(timestamp=NOON, input_tokens=None, output_tokens=None, cost=None, cost_source=CostSource.NONE),
        request(timestamp=NOON + 1, cost_source=CostSource.ESTIMATED),
    )

    unknown, estimated = rows(path)

    assert (unknown.usage, unknown.cost, unknown.failed_cost, unknown.sats_per_usd) == (None, None, None, None)
    assert estimated.usage == Usage(100, 20, estimated=True)


@pytest.mark.parametrize(
    ("fields", "ending", "code"),
    [
        ({"status": 502, "error_code": "upstream_error", "provider": None}, Ending.FAILED, "upstream_error"),
        ({"status": 400, "error_code": "policy_violation", "provider": None}, Ending.REJECTED, "policy_violation"),
        ({"status": 429, "error_code": "insufficient_quota", "provider": None}, Ending.KEPT_OUT, "insufficient_quota"),
        ({"status": 401, "error_code": "invalid_api_key", "model": None}, Ending.KEPT_OUT, "invalid_api_key"),
        ({"status": 402, "provider": None}, Ending.REJECTED, "ceiling_too_low"),
        ({"status": 404, "provider": None}, Ending.REJECTED, "model_not_found"),
        ({"status": 504, "provider": None}, Ending.FAILED, "upstream_timeout"),
        ({"status": 499, "provider": "alpha"}, Ending.FAILED, "client_closed_request"),
        ({"status": 429, "provider": None}, Ending.KEPT_OUT, "status_429"),
    ],
)
def test_what_became_of_a_failure(tmp_path: Path, fields: dict[str, Any], ending: Ending, code: str) -> None:
    """By its code; in a row from before codes were kept, by its status."""
    path = written(tmp_path, request(timestamp=NOON, success=False, **fields))

    (row,) = rows(path)

    assert (row.ending, row.code) == (ending, code)


def test_rows_come_in_the_order_of_receipt(tmp_path: Path) -> None:
    """However they were written, and equal times as they were; the end of the range is not part of it."""
    times = [4.0, 1.0, 4.0, 0.0, 5.0, -1.0]
    path = written(tmp_path, *(request(timestamp=NOON + at, model=f"m{nth}") for nth, at in enumerate(times)))

    assert [row.model for row in rows(path, until=NOON + 5)] == ["m3", "m1", "m0", "m2"]
    assert [row.model for row in rows(path, until=NOON + 5, last=3)] == ["m1", "m0", "m2"]
    assert [row.model for row in rows(path, until=NOON + 5, last=2)] == ["m0", "m2"]
    assert [row.model for row in rows(path, until=NOON + 5, last=100)] == ["m3", "m1", "m0", "m2"]


def test_no_row_is_lost_or_doubled_between_batches(tmp_path: Path) -> None:
    """Also where a batch ends among rows of one instant, and where it ends with the range."""
    count = 2 * BATCH
    path = written(tmp_path, *(request(timestamp=NOON + nth // 3, model=str(nth)) for nth in range(count)))

    assert [row.model for row in rows(path)] == [str(nth) for nth in range(count)]


def test_a_place_earlier_is_found(tmp_path: Path) -> None:
    """By rows; the log's beginning, where there are not so many."""
    path = written(tmp_path, *(request(timestamp=NOON + nth, model=str(nth)) for nth in range(5)))

    with reading(path) as log:
        begin, _ = log.stretch(NOON + 3, NOON + 5)
        two = [row.model for row in log.rows(log.back(begin, 2), begin)]
        many = log.back(begin, 100)

    assert two == ["1", "2"]
    assert many == BEGINNING


def test_nothing_is_written_beside_a_server(tmp_path: Path) -> None:
    """It reads what the server has committed, while it goes on writing."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    log.request(request(timestamp=NOON))
    assert log.flush(20)
    with reading(tmp_path / "log.db") as mine:
        begin, end = mine.stretch(NOON, NOON + 10)
        first = len(list(mine.rows(begin, end)))
        log.request(request(timestamp=NOON + 1))
        assert log.flush(20)
        second = len(list(mine.rows(begin, end)))
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            mine._connection.execute("DELETE FROM requests")
    log.close()

    assert (first, second) == (1, 2)


def test_a_database_of_before_decisions(tmp_path: Path) -> None:
    """It is read as it is, and not brought up to date: its rows know less."""
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    migrate(connection, shipped()[:1])
    connection.execute(
        "INSERT INTO requests (correlation_id, timestamp, endpoint, model, provider, streaming, input_tokens,"
        " output_tokens, cost_sats, cost_source, latency_ms, success) VALUES"
        " ('a', '2027-01-15T08:00:00.000000Z', 'chat.completions', 'gpt-4o', 'alpha', 0, 10, 5, 1.5, 'provider', 1, 1)"
    )
    (version,) = connection.execute("PRAGMA user_version").fetchone()

    (row,) = rows(tmp_path / "log.db", since=NOON - 1)

    assert (row.asked, row.usage, row.cost) == (None, Usage(10, 5), Cost(MicroSats(1_500_000), None))
    assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    connection.close()


class TestWhatCannotBeRead:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        """It is not made."""
        with pytest.raises(StoreError, match=r"log\.db: is not there"):
            rows(tmp_path / "log.db")

        assert list(tmp_path.iterdir()) == []

    def test_an_empty_file(self, tmp_path: Path) -> None:
        """A log in which nothing was written yet."""
        (tmp_path / "log.db").touch()

        assert rows(tmp_path / "log.db") == rows(tmp_path / "log.db", last=5) == []

    def test_no_database(self, tmp_path: Path) -> None:
        """One line, which names it."""
        (tmp_path / "log.db").write_bytes(b"no database" * 1000)

        with pytest.raises(StoreError, match=r"log\.db: file is not a database"):
            rows(tmp_path / "log.db")

    def test_another_programs_database(self, tmp_path: Path) -> None:
        """It is not taken for an empty log."""
        connection = sqlite3.connect(tmp_path / "log.db")
        connection.execute("CREATE TABLE requests (id INTEGER PRIMARY KEY)")
        connection.close()

        with pytest.raises(StoreError, match="another program"):
            rows(tmp_path / "log.db")

    def test_a_damaged_database(self, tmp_path: Path) -> None:
        """Whatever was read before."""
        path = written(tmp_path, *(request(timestamp=NOON + nth) for nth in range(500)))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (page,) = connection.execute("PRAGMA page_size").fetchone()
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(5 * page)
            file.write(b"\xff" * (size - 5 * page))

        with pytest.raises(StoreError, match="malformed"):
            rows(path)

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("timestamp", "2027-01-20 or so"),
            ("latency_ms", "long"),
            ("input_tokens", "many"),
            ("sats_per_usd", b"x"),
            ("sats_per_usd", float("inf")),
            ("model", b"x"),
        ],
    )
    def test_a_row_of_somebody_elses_hand(self, tmp_path: Path, column: str, value: object) -> None:
        """It is named, and nothing is made of it."""
        path = written(tmp_path, request(timestamp=NOON))
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE requests SET {column} = ?", [value])

        with pytest.raises(StoreError, match=r"log\.db: the row 1 of the request log cannot be read"):
            rows(path)
