"""``arbstr logs``: pages, one request, exports. Beside a gateway: ``tests/process/test_terminal.py``."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from arbstr.domain.money import MicroSats
from arbstr.domain.record import RequestRecord
from tests.store.records import attempt, request
from tests.store.test_care import damaged
from tests.store.test_retention import logged
from tests.test_cli import run, written

HOSTILE = "\x1b[31mred\n\rx\x00'; DROP TABLE requests; --"


def logs(folder: Path, *words: str) -> Result:
    written(folder)
    return run(folder, "logs", *words)


def listed(folder: Path, *words: str) -> list[dict[str, Any]]:
    """The entries that ``--json`` tells."""
    result = logs(folder, *words, "--json")
    assert result.exit_code == 0, result.output
    entries: list[dict[str, Any]] = json.loads(result.stdout)["data"]
    return entries


def some(count: int) -> list[RequestRecord]:
    """Requests, a second apart, each dearer than the last."""
    return [
        request(correlation_id=f"id-{nth}", timestamp=1_800_000_000.0 + nth, cost=MicroSats(nth * 1_000_000))
        for nth in range(count)
    ]


def test_the_newest_come_first(tmp_path: Path) -> None:
    """A row for each, and on stderr how many more there are."""
    logged(tmp_path, *some(25))

    result = logs(tmp_path)
    few = logs(tmp_path, "-n", "2")

    heading, *rows = result.stdout.splitlines()
    assert result.exit_code == 0
    assert heading.split() == ["time", "status", "model", "provider", "in", "out", "sats", "latency", "id"]
    assert [row.split()[-1] for row in rows] == [f"id-{nth}" for nth in range(24, 4, -1)]
    assert result.stderr == "20 of 25: -n N shows more.\n"
    assert [row.split()[-1] for row in few.stdout.splitlines()[1:]] == ["id-24", "id-23"]


def test_programs_get_the_entries_of_the_endpoint(tmp_path: Path) -> None:
    """As ``/v1/requests`` has them, with how many there are."""
    logged(tmp_path, *some(3))

    found = json.loads(logs(tmp_path, "-n", "1", "--json").stdout)

    assert (found["total"], found["total_estimated"], len(found["data"])) == (3, False, 1)
    assert {"id", "timestamp", "model", "provider", "tokens", "cost", "timing", "error"} <= set(found["data"][0])


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--sort", "cost_sats"], ["a", "b", "c"]),
        (["--sort", "cost_sats", "--order", "asc"], ["b", "a", "c"]),
        (["--sort", "latency_ms"], ["c", "b", "a"]),
        (["--order", "asc"], ["a", "b", "c"]),
        (["--model", "m1"], ["b", "a"]),
        (["--model", HOSTILE], []),
        (["--provider", ""], ["c"]),
        (["--key", "key_1"], ["b"]),
        (["--key", "team"], ["b"]),
        (["--key", ""], ["c", "a"]),
        (["--tier", "local"], ["b"]),
        (["--success", "false"], ["c"]),
        (["--status", "502"], ["c"]),
        (["--status", "200"], ["b", "a"]),
        (["--streaming", "true"], ["a"]),
        (["--min-cost", "2"], ["a"]),
        (["--since", "2027-01-15T08:00:01Z", "--until", "2027-01-15T08:00:02Z"], ["b"]),
        (["--range", "last_1h"], []),
    ],
)
def test_filters_and_orders_are_those_of_the_endpoint(tmp_path: Path, words: list[str], ids: list[str]) -> None:
    """The same words, the same answers; what is hostile in one finds nothing and does nothing."""
    path = logged(
        tmp_path,
        request(correlation_id="a", timestamp=1_800_000_000.0, model="m1", cost=MicroSats(2_000_000), streaming=True),
        request(
            correlation_id="b", timestamp=1_800_000_001.0, model="m1", latency_ms=300.0, key_id="key_1", tier="local"
        ),
        request(
            correlation_id="c",
            timestamp=1_800_000_002.0,
            model="m2",
            provider=None,
            cost=None,
            latency_ms=400.0,
            success=False,
            status=502,
        ),
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO keys (id, name, hash, created_at) VALUES ('key_1', 'team', x'00', ?)",
            ["2026-01-01T00:00:00.000000Z"],
        )

    assert [entry["id"] for entry in listed(tmp_path, *words)] == ids


@pytest.mark.parametrize(
    ("words", "code", "wrong"),
    [
        (["--min-cost", "much"], 2, "--min-cost is 'much', expected satoshis such as 0.25 or 100"),
        (["--since", "yesterday"], 2, "--since: 'yesterday' is no such instant, expected RFC 3339"),
        (["--range", "last_1y"], 2, "--range is 'last_1y', expected one of last_1h"),
        (["--status", "2000"], 2, "--status is '2000', expected a whole number from 100 to 599"),
        (["--success", "yes"], 2, "--success is 'yes', expected one of true, false"),
        (["--key", "nobody"], 1, "nobody"),
        (["-n", "0"], 2, "0 is not in the range"),
        (["-n", "1000000"], 2, "is not in the range"),
        (["--sort", "cost"], 2, "'cost' is not one of"),
        (["no-such-id"], 1, "No request with the id 'no-such-id' is in the log."),
        ([HOSTILE], 1, "is in the log."),
        (["id-1", "--follow"], 2, "an ID and --follow do not go together"),
        (["id-1", "--model", "m"], 2, "an ID and --model do not go together"),
        (["--follow", "--sort", "cost_sats"], 2, "--follow and --sort do not go together"),
        (["--export", "csv", "--follow"], 2, "--export and --follow do not go together"),
        (["--export", "csv", "-n", "3"], 2, "--export and -n do not go together"),
        (["--export", "csv", "--json"], 2, "leave out --json, or give --output"),
        (["--output", "x.csv"], 2, "--output is for --export"),
        (["--export", "xlsx"], 2, "'xlsx' is not one of"),
    ],
)
def test_a_question_that_makes_no_sense_is_one_line(tmp_path: Path, words: list[str], code: int, wrong: str) -> None:
    """2 where the line is wrong, 1 where there is no such thing; never a traceback, never anything on stdout."""
    logged(tmp_path, *some(2))

    result = logs(tmp_path, *words)

    assert result.exit_code == code, result.output
    assert wrong in " ".join(result.stderr.split())
    assert result.stdout == "" or "--json" in words


def test_an_empty_log_says_so(tmp_path: Path) -> None:
    """Nothing is not an error: an empty list for programs, a sentence for people."""
    logged(tmp_path)

    result = logs(tmp_path)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No request in the log matches.\n")
    assert listed(tmp_path) == []


def _missing(folder: Path) -> None: ...


def _newer(folder: Path) -> None:
    with closing(sqlite3.connect(logged(folder))) as connection:
        connection.execute("PRAGMA user_version = 99")


def _garbage(folder: Path) -> None:
    (folder / "arbstr.db").write_bytes(b"nothing that SQLite knows" * 100)


@pytest.mark.parametrize("command", [["logs"], ["logs", "x"], ["logs", "--export", "csv"], ["stats"], ["logs", "-f"]])
@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (_missing, "is not there: no gateway has served with this [store] url yet"),
        (_newer, "has schema 99, but this arbstr knows none newer than"),
        (_garbage, "file is not a database"),
    ],
)
def test_a_database_that_cannot_be_read_is_one_line(tmp_path: Path, command: list[str], make: Any, wrong: str) -> None:
    """With its name, exit code 1, and nothing created or changed."""
    written(tmp_path)
    make(tmp_path)

    result = run(tmp_path, *command)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / 'arbstr.db'}: {wrong}")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert (tmp_path / "arbstr.db").exists() is (make is not _missing)


def test_damage_that_is_met_is_one_line(tmp_path: Path) -> None:
    """A page in the middle that is none, met while the rows are read."""
    damaged(tmp_path)

    result = logs(tmp_path, "--export", "csv")

    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path / 'arbstr.db'}: database disk image is malformed\n"


# One request.


def test_one_request_is_told_with_its_attempts_and_its_decision(tmp_path: Path) -> None:
    """What is known of it, then who was asked, then why."""
    path = logged(
        tmp_path,
        request(
            correlation_id="it",
            error_message="alpha said no",
            success=False,
            status=502,
            attempts=(attempt(error="status: no"), attempt(provider="beta")),
        ),
    )
    kept = (
        '{"s":"cheapest","p":"frugal","m":"keyword","c":[["alpha","m",false,1500000000000,"cheapest"]],'
        '"r":[["gamma","m","circuit","its circuit is open"]],"b":null,"q":[4,null,1,[]],"x":null}'
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE requests SET decision = ?", [kept])

    result = logs(tmp_path, "it")
    as_json = json.loads(logs(tmp_path, "it", "--json").stdout)

    text = result.stdout
    assert result.exit_code == 0
    assert "alpha said no" in text
    assert text.index("\nAttempts\n") < text.index("status: no") < text.index("beta")
    assert "Decision: cheapest, by policy frugal (keyword)\n" in text
    assert "rejected (circuit): its circuit is open" in text
    assert [each["provider"] for each in as_json["attempts"]] == ["alpha", "beta"]
    assert as_json["decision"]["rejected"][0]["provider"] == "gamma"


def test_nothing_in_a_row_moves_the_cursor(tmp_path: Path) -> None:
    """Names that callers choose and messages of providers are one printable line each, wherever they are shown."""
    names = {"model": HOSTILE, "provider": HOSTILE, "policy": HOSTILE, "error_message": HOSTILE}
    logged(tmp_path, request(correlation_id="it", success=False, attempts=(attempt(error=HOSTILE),), **names))

    table, one = logs(tmp_path).stdout, logs(tmp_path, "it").stdout

    assert len(table.splitlines()) == 2
    for text in (table, one):
        assert r"\x1b[31mred\n\rx" in text
        assert all(sign.isprintable() or sign == "\n" for sign in text)


# Exports.


def test_an_export_is_all_that_stands_on_stdout(tmp_path: Path) -> None:
    """CSV that begins with its heading, or JSON line by line."""
    logged(tmp_path, *some(3))

    as_csv = logs(tmp_path, "--export", "csv")
    as_jsonl = logs(tmp_path, "--export", "jsonl", "--min-cost", "1")

    heading, *rows = csv.reader(io.StringIO(as_csv.stdout))
    assert (as_csv.exit_code, as_csv.stderr) == (0, "")
    assert [row[heading.index("correlation_id")] for row in rows] == ["id-0", "id-1", "id-2"]
    assert [json.loads(line)["correlation_id"] for line in as_jsonl.stdout.splitlines()] == ["id-1", "id-2"]


def test_an_export_to_a_file_is_its_owners_alone_and_never_overwrites(tmp_path: Path) -> None:
    """It says how many there were; a second one to the same name is refused."""
    logged(tmp_path, *some(3))

    first = logs(tmp_path, "--export", "csv", "--output", "out.csv")
    again = logs(tmp_path, "--export", "csv", "--output", "out.csv")
    as_json = logs(tmp_path, "--export", "jsonl", "--output", "out.jsonl", "--json")
    nowhere = logs(tmp_path, "--export", "csv", "--output", "no/out.csv")

    target = tmp_path / "out.csv"
    assert (first.exit_code, first.stdout) == (0, "Wrote 3 requests to out.csv.\n")
    assert target.stat().st_mode & 0o777 == 0o600
    assert len(target.read_text().splitlines()) == 4
    assert (again.exit_code, again.stderr) == (1, "Error: out.csv: is there already; nothing was written\n")
    assert json.loads(as_json.stdout) == {"output": "out.jsonl", "format": "jsonl", "requests": 3}
    assert (nowhere.exit_code, nowhere.stderr) == (1, "Error: no/out.csv: No such file or directory\n")


def test_an_export_that_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    """Half of an export looks like a whole one."""
    damaged(tmp_path)

    result = logs(tmp_path, "--export", "csv", "--output", "out.csv")

    assert result.exit_code == 1
    assert not (tmp_path / "out.csv").exists()
