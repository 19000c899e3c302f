"""``arbstr db``, as an operator and his scripts meet it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from arbstr.store.lock import ServingLock
from tests.store.records import request
from tests.store.test_care import NEWEST, damaged
from tests.store.test_retention import count, logged
from tests.test_cli import run, written


def db(folder: Path, *words: str) -> Result:
    written(folder)
    return run(folder, "db", *words)


def test_check_says_what_is_there_and_that_it_is_sound(tmp_path: Path) -> None:
    """Two lines for people, one document for programs."""
    path = logged(tmp_path, request(), request())

    result = db(tmp_path, "check")
    as_json = json.loads(db(tmp_path, "check", "--json").stdout)

    first, second = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert first.startswith(f"{path}: schema {NEWEST}, 2 requests, 2 attempts, 0 keys; ")
    assert first.endswith(" kB, of which 0 bytes are free")
    assert second == f"{path}: ok"
    assert {**as_json, "bytes": 0} == {
        "ok": True,
        "file": str(path),
        "schema": NEWEST,
        "rows": {"requests": 2, "attempts": 2, "keys": 0},
        "bytes": 0,
        "free_bytes": 0,
        "repaired": [],
        "problems": [],
    }


def test_check_of_a_damaged_file_is_1(tmp_path: Path) -> None:
    """A line for each problem on stderr, and what to do is in the manual."""
    path = damaged(tmp_path)

    result = db(tmp_path, "check")
    as_json = db(tmp_path, "check", "--json")

    found = json.loads(as_json.stdout)
    assert result.exit_code == as_json.exit_code == 1
    assert result.stdout.splitlines()[-1] == f"{path}: damaged"
    assert result.stderr.splitlines() == [f"{path}: {line}" for line in found["problems"]]
    assert found["ok"] is False
    assert found["problems"]


def test_check_repairs_what_it_can(tmp_path: Path) -> None:
    """Without the word it says what is wrong; with it, what it has mended."""
    path = logged(tmp_path, request())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE rollups SET requests = 2")

    told = db(tmp_path, "check")
    repaired = db(tmp_path, "check", "--repair")

    assert (told.exit_code, repaired.exit_code) == (1, 0)
    assert "is not what the rows say" in told.stderr
    assert f"{path}: repaired: the roll-up of " in repaired.stdout
    assert db(tmp_path, "check").exit_code == 0


@pytest.mark.parametrize("words", [("check",), ("vacuum",), ("backup", "copy.db")])
def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    """And is not created."""
    result = db(tmp_path, *words)
    as_json = db(tmp_path, *words, "--json")

    line = f"{tmp_path / 'arbstr.db'}: is not there: no gateway has served with this [store] url yet"
    assert result.exit_code == as_json.exit_code == 1
    assert (result.stdout, result.stderr) == ("", f"Error: {line}\n")
    assert json.loads(as_json.stdout)["problems"][0]["message"] == line
    assert [path.name for path in tmp_path.iterdir()] == ["arbstr.toml"]


def test_vacuum_says_what_it_has_given_back(tmp_path: Path) -> None:
    """Sizes before and after."""
    path = logged(tmp_path, *(request() for _ in range(3000)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM requests")

    result = db(tmp_path, "vacuum", "--json")
    again = db(tmp_path, "vacuum")

    sizes = json.loads(result.stdout)
    assert sizes["bytes"] == path.stat().st_size < sizes["bytes_before"]
    assert again.stdout.startswith(f"{path}: ")
    assert again.stdout.endswith(" now\n")


def test_vacuum_is_refused_while_a_gateway_serves(tmp_path: Path) -> None:
    """One line, with the process."""
    lock = ServingLock.acquire(logged(tmp_path, request()))

    result = db(tmp_path, "vacuum")

    lock.release()
    assert result.exit_code == 1
    assert "in use by another arbstr (process " in result.stderr


def test_backup_says_what_is_in_the_copy(tmp_path: Path) -> None:
    """A name without a folder is in this one."""
    logged(tmp_path, request(), request())

    result = db(tmp_path, "backup", "copy.db")
    as_json = json.loads(db(tmp_path, "backup", "other.db", "--json").stdout)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"copy.db: schema {NEWEST}, 2 requests, ")
    assert (as_json["target"], as_json["rows"]["requests"]) == ("other.db", 2)
    assert count(tmp_path / "copy.db") == count(tmp_path / "other.db") == 2


@pytest.mark.parametrize(
    ("target", "wrong"),
    [("arbstr.toml", "arbstr.toml: is there already; nothing was written"), ("no/copy.db", "no does not exist")],
)
def test_a_backup_that_cannot_be_is_one_line(tmp_path: Path, target: str, wrong: str) -> None:
    """Nothing is written, and above all nothing is overwritten."""
    logged(tmp_path, request())
    before = written(tmp_path).read_text()

    result = db(tmp_path, "backup", target)

    assert result.exit_code == 1
    assert wrong in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "arbstr.toml").read_text() == before
