"""kill -9 while rows are written: what is on disk afterwards."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

from arbstr.store.sqlite import SqliteLog
from tests.store.records import Problems, child, request


def test_a_kill_corrupts_nothing_and_loses_the_last_rows_at_most(tmp_path: Path) -> None:
    """What is missing are rows of the last moments, one after another; the file is whole and is written on."""
    path = tmp_path / "log.db"
    handed_over = _killed_after(child("busy_writer", str(path)), "500 ")
    times = {int(number): float(time) for number, time in (line.split() for line in handed_over)}

    found = _numbers(path)

    assert found == list(range(1, len(found) + 1))
    lost = [times[number] for number in times if number > len(found)]
    # A fifth of a second is what we promise; five times that, because a busy machine may hold the child up in between.
    assert not lost or max(times.values()) - min(lost) < 1.0
    _is_written_on(path)


def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    """A commit is safe from the death of the process at once."""
    path = tmp_path / "log.db"
    lines = _killed_after(child("busy_writer", str(path), "flush"), "flushed 200")

    found = _numbers(path)

    flushed = max(int(line.split()[1]) for line in lines if line.startswith("flushed"))
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= flushed
    _is_written_on(path)


def _killed_after(process: subprocess.Popen[str], mark: str) -> list[str]:
    """Kill the process once it has printed a line that begins with ``mark``; everything that it has printed."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(mark):
            process.kill()
            break
    lines += process.stdout.readlines()
    process.wait(20)
    process.communicate()
    return [line for line in lines if line.endswith("\n")]


def _numbers(path: Path) -> list[int]:
    database = sqlite3.connect(path)
    numbers = [row[0] for row in database.execute("SELECT input_tokens FROM requests ORDER BY id")]
    whole = database.execute("PRAGMA integrity_check").fetchall()
    database.close()
    assert whole == [("ok",)]
    return numbers


def _is_written_on(path: Path) -> None:
    log = SqliteLog.open(path, on_problem=Problems())
    log.request(request())
    assert log.flush(20)
    assert log.close()
