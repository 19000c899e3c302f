"""The operator's log: levels, fields, secrets."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from arbstr.domain.secret import Secret
from arbstr.telemetry.log import Logging
from tests.telemetry.pipes import DEADLINE, printed, printed_json, read_until
from tests.telemetry.records import attempt, request

CANARY = "sk-canary-0123456789"


def test_an_event_is_one_json_object() -> None:
    """Time, level and event come first, then the fields as they were given."""
    lines = printed(lambda it: it.log.info("listening", address="127.0.0.1:8080", workers=1), now=lambda: 1_800_000_000)

    assert lines == (
        b'{"timestamp":"2027-01-15T08:00:00.000Z","level":"info","event":"listening",'
        b'"address":"127.0.0.1:8080","workers":1}\n'
    )


def test_an_event_is_one_line_of_text() -> None:
    """The human format says the same."""
    lines = printed(lambda it: it.log.warning("low disk", free="1 MB"), format="text", now=lambda: 1_800_000_000)

    assert lines == b'2027-01-15T08:00:00.000Z warning low disk free="1 MB"\n'


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", 3), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_levels_below_the_configured_one_are_silent(level: str, expected: int) -> None:
    """info < warning < error."""

    def use(it: Logging) -> None:
        it.log.info("one")
        it.log.warning("two")
        it.log.error("three")

    assert len(printed_json(use, level=level)) == expected


def test_a_warning_is_written_at_once() -> None:
    """What an operator should see does not wait for the next look at the queue."""
    reading, writing = os.pipe()
    logging = Logging(descriptor=writing)
    logging.writer._interval = 3600

    logging.log.error("provider key refused", provider="alpha")

    assert b"provider key refused" in read_until(reading, lambda data: data.endswith(b"\n"))
    logging.close(DEADLINE)
    os.close(reading)
    os.close(writing)


def test_a_percent_sign_is_only_that() -> None:
    """Events are sentences, not templates."""
    assert printed_json(lambda it: it.log.info("100% done, %s %d"))[0]["event"] == "100% done, %s %d"


def test_fields_cannot_replace_the_head_by_accident() -> None:
    """A field named like one of ours is shown beside it."""
    line = printed_json(lambda it: it.log.info("hello", level="high"))[0]

    assert (line["level"], line["level_"]) == ("info", "high")


@pytest.mark.parametrize("format", ["json", "text"])
def test_no_secret_reaches_a_line(format: str) -> None:
    """The canary: secrets in fields mask themselves, known values are redacted everywhere text comes from outside."""

    def use(it: Logging) -> None:
        it.log.info("key", key=Secret(CANARY), nested={"deep": [Secret(CANARY)]})
        it.log.error(f"refused {CANARY}", error=ValueError(f"Incorrect API key: {CANARY}"))
        it.requests.attempt(attempt(error=f"key_refused: Incorrect API key {CANARY}", status=401))
        it.requests.request(request(success=False, status=502, error_message=f"Incorrect API key {CANARY}"))

    lines = printed(use, format=format, redact=lambda text: text.replace(CANARY, "***"))

    assert len(lines.splitlines()) == 4
    assert b"canary" not in lines


def test_a_dropped_line_is_told_in_the_log_s_own_format() -> None:
    """The operator reads how many lines are missing, where they are missing."""

    def use(it: Logging) -> None:
        it.writer._capacity = 0
        it.log.info("lost")
        it.writer._capacity = 10
        it.log.info("kept")

    notice, kept = printed_json(use)

    assert (notice["event"], notice["count"]) == ("log lines dropped", 1)
    assert kept["event"] == "kept"


def test_lines_go_to_stdout_and_survive_its_end() -> None:
    """As a real process: the line is on stdout, and a reader who leaves does not make the program fail."""
    program = """
import sys
from arbstr.telemetry.log import Logging
logging = Logging()
logging.log.error("hello")
sys.stdin.readline()
for _ in range(10_000):
    logging.log.info("nobody reads this", text="x" * 100)
logging.close()
sys.exit(0 if logging.dropped else 1)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None

    first = process.stdout.readline()
    process.stdout.close()
    process.stdin.write(b"\n")
    process.stdin.close()

    assert msgspec.json.decode(first)["event"] == "hello"
    assert process.wait(DEADLINE) == 0


def test_a_process_without_stdout_logs_into_nothing() -> None:
    """Started with a closed stdout, the log takes no descriptor that is somebody else's."""
    program = """
from arbstr.telemetry.log import Logging
logging = Logging()
logging.log.error("hello")
assert logging.close()
assert logging.dropped == 0
"""
    command = f"exec '{sys.executable}' -c '{program}' >&-"

    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
