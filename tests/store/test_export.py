"""The request log for other programs: nothing lost, nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.record import RequestRecord
from arbstr.domain.statistics import Filter
from arbstr.store.export import as_csv, as_jsonl
from tests.store.records import attempt, request
from tests.store.test_retention import memory

FORMULAS = "=+-@\t\r\n＝＋－＠"
NOW = 1_800_000_000.0

texts = st.text(
    st.sampled_from([*FORMULAS, "'", '"', ",", ";", "a", "0", " ", "\x00", "\ud800", "ä", "\u2028"]), max_size=8
)
records = st.builds(
    lambda model, policy, message, seconds, attempts: request(
        model=model,
        policy=policy,
        error_message=message,
        success=message is None,
        status=200 if message is None else 502,
        timestamp=NOW + seconds,
        attempts=tuple(attempt(error=error) for error in attempts),
    ),
    texts,
    st.none() | texts,
    st.none() | texts,
    st.sampled_from([0, 0, 1, 2.5]),
    st.lists(texts, max_size=2),
)


def whole(pieces: Iterator[tuple[int, str]]) -> tuple[int, str]:
    """How many rows there were, and all of the text."""
    found = list(pieces)
    return sum(count for count, _ in found), "".join(text for _, text in found)


def table(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """The rows as the database has them, in the order of an export."""
    cursor = connection.execute("SELECT * FROM requests ORDER BY timestamp, id")
    names = [each[0] for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@given(st.lists(records, max_size=7), st.integers(1, 4))
def test_no_cell_of_a_csv_file_is_a_formula(rows: list[RequestRecord], chunk: int) -> None:
    """Whatever callers and providers wrote: a text that begins as one has an apostrophe in front, every other value is
    as it was, and each row is there once, in the order of time."""
    connection = memory(*rows)

    count, text = whole(as_csv(connection, Filter(), chunk=chunk))

    heading, *lines = csv.reader(io.StringIO(text, newline=""))
    expected = table(connection)
    assert count == len(lines) == len(rows)
    for line, row in zip(lines, expected, strict=True):
        assert not any(cell.startswith(tuple(FORMULAS)) for cell in line)
        for name, cell in zip(heading, line, strict=True):
            value = "" if row[name] is None else str(row[name])
            guarded = isinstance(row[name], str) and value.startswith(tuple(FORMULAS))
            assert cell == (f"'{value}" if guarded else value)


@given(st.lists(records, max_size=7), st.integers(1, 4))
def test_lines_of_json_lose_nothing(rows: list[RequestRecord], chunk: int) -> None:
    """Each line is an object with the columns of the row as they are, and the attempts of its request in order."""
    connection = memory(*rows)

    count, text = whole(as_jsonl(connection, Filter(), chunk=chunk))

    found = [json.loads(line) for line in text.split("\n")[:-1]]
    assert count == len(rows)
    assert [{name: value for name, value in each.items() if name != "attempts"} for each in found] == table(connection)
    by_id = {each["correlation_id"]: each["attempts"] for each in found}
    for record in rows:
        assert len(by_id[record.correlation_id]) == len(record.attempts)
        assert [each["ordinal"] for each in by_id[record.correlation_id]] == list(range(len(record.attempts)))


def test_only_what_is_asked_for_is_exported() -> None:
    """By any filter; what is hostile in one is a value like any other."""
    hostile = "x' OR 1=1; DROP TABLE requests; --?"
    connection = memory(request(model="a"), request(model=hostile), request(model="a", provider="beta"))

    assert whole(as_csv(connection, Filter(model="a")))[0] == 2
    assert whole(as_csv(connection, Filter(model="a", provider="beta", until=NOW + 1)))[0] == 1
    assert whole(as_jsonl(connection, Filter(model=hostile)))[0] == 1
    assert whole(as_jsonl(connection, Filter(policy=hostile))) == (0, "")
    assert len(table(connection)) == 3


def test_an_empty_log_is_a_heading() -> None:
    """So that the columns are known."""
    count, text = whole(as_csv(memory(), Filter()))

    assert count == 0
    assert text.startswith('"id","correlation_id","timestamp",')
    assert text.count("\n") == 1


def test_rows_that_come_in_the_meantime_are_not_among_them() -> None:
    """An export ends, however much is written beside it."""
    connection = memory(*(request(timestamp=NOW + nth) for nth in range(4)))
    seen = 0
    for count, _ in as_jsonl(connection, Filter(), chunk=2):
        seen += count
        connection.execute(
            "INSERT INTO requests (correlation_id, timestamp, endpoint, streaming, cost_source, latency_ms, success) "
            "VALUES (?, '2099-01-01T00:00:00.000000Z', '', 0, '', 0, 1)",
            [f"new {seen}"],
        )

    assert seen == 4


def test_a_decision_is_told_as_over_http() -> None:
    """Its names in JSON lines; as the database has it in CSV, where it is one cell."""
    kept = (
        '{"s":"cheapest","p":null,"m":null,"c":[["alpha","m",false,1500000000000,"cheapest"]],"r":[],"b":null,'
        '"q":[4,null,1,[]],"x":null}'
    )
    connection = memory(request())
    connection.execute("UPDATE requests SET decision = ?", [kept])

    (line,) = whole(as_jsonl(connection, Filter()))[1].splitlines()

    assert json.loads(line)["decision"]["candidates"][0]["provider"] == "alpha"
    assert kept in {cell for row in csv.reader(io.StringIO(whole(as_csv(connection, Filter()))[1])) for cell in row}
