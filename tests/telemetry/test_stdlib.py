"""Other people's logging in ours: one line each, no tracebacks, no floods."""

from __future__ import annotations

import asyncio
import logging
import warnings
from typing import Any

from arbstr.telemetry.log import Logging
from arbstr.telemetry.stdlib import LINES_PER_WINDOW, WINDOW, Bridge
from tests.telemetry.pipes import printed_json


class Lines:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))


def record(
    message: str, *args: object, at: float = 1000.0, level: int = logging.ERROR, **more: Any
) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "uvicorn.error", "msg": message, "args": args, "levelno": level, "created": at} | more
    )


def test_a_record_becomes_a_line() -> None:
    """The message's first line is the event, the rest a field; the level is kept."""
    log = Lines()
    bridge = Bridge(log)

    bridge.handle(record("Task %s\nfuture: <Task>", "died"))
    bridge.handle(record("careful", level=logging.WARNING))

    assert log.lines == [
        ("error", "Task died", {"logger": "uvicorn.error", "detail": "future: <Task>"}),
        ("warning", "careful", {"logger": "uvicorn.error"}),
    ]


def test_an_exception_is_a_field() -> None:
    """The exception travels as a value, for the log to summarise."""
    log = Lines()
    error = ValueError("boom")

    Bridge(log).handle(record("Exception in application\n", exc_info=(ValueError, error, None)))

    assert log.lines == [("error", "Exception in application", {"logger": "uvicorn.error", "error": error})]


def test_arguments_that_do_not_fit_are_survived() -> None:
    """A broken template is shown as it is."""
    log = Lines()

    Bridge(log).handle(record("%d items", "many"))

    assert log.lines[0][1] == "%d items"


def test_a_flood_is_held_back_and_counted() -> None:
    """Of one kind of line only a few pass in a window; the first of the next one says how many did not."""
    log = Lines()
    bridge = Bridge(log)

    for _ in range(1000):
        bridge.handle(record("broken pipe %d", 1))
    during = len(log.lines)
    bridge.handle(record("broken pipe %d", 2, at=1000.0 + WINDOW))

    assert during == LINES_PER_WINDOW
    assert log.lines[-1] == (
        "error",
        "broken pipe 2",
        {"logger": "uvicorn.error", "held_back": 1000 - LINES_PER_WINDOW},
    )


def test_a_flood_does_not_hide_other_lines() -> None:
    """Each kind of line has its own allowance."""
    log = Lines()
    bridge = Bridge(log)

    for _ in range(1000):
        bridge.handle(record("broken pipe"))
    bridge.handle(record("something else"))

    assert log.lines[-1][1] == "something else"


def test_a_clock_set_back_does_not_silence_anything() -> None:
    """A window that seems to lie in the future is over."""
    log = Lines()
    bridge = Bridge(log)
    for _ in range(10):
        bridge.handle(record("broken pipe", at=5000.0))

    bridge.handle(record("broken pipe", at=1000.0))

    assert len(log.lines) == LINES_PER_WINDOW + 1


def test_kinds_of_lines_are_bounded() -> None:
    """A library that writes data into its templates cannot make the table grow for ever; counts are told."""
    log = Lines()
    bridge = Bridge(log)

    for number in range(2000):
        for _ in range(LINES_PER_WINDOW + 1):
            bridge.handle(record(f"connection {number} broke"))

    assert len(bridge._kinds) <= 256
    assert ("warning", "connection 0 broke", {"logger": "uvicorn.error", "held_back": 1}) in log.lines


def test_what_is_held_back_is_told_at_the_end() -> None:
    """Removing the bridge says what nobody has said yet."""
    log = Lines()
    bridge = Bridge(log)
    bridge.install()

    for _ in range(LINES_PER_WINDOW + 3):
        bridge.handle(record("broken pipe"))
    bridge.remove()

    assert log.lines[-1] == ("warning", "broken pipe", {"logger": "uvicorn.error", "held_back": 3})


def test_warnings_and_libraries_are_heard_while_installed() -> None:
    """Installed it hears any logger and Python's warnings, from warning on; afterwards everything is as before."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))

    def use(it: Logging) -> None:
        it.bridge.install()
        it.bridge.install()
        logging.getLogger("some.library").warning("hello %s", "there")
        logging.getLogger("some.library").info("chatter")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            it.bridge.remove()
            it.bridge.install()
            warnings.warn("old thing", DeprecationWarning, stacklevel=1)
            it.bridge.remove()

    first, second = printed_json(use)

    assert (first["event"], first["logger"]) == ("hello there", "some.library")
    assert second["logger"] == "py.warnings"
    assert "old thing" in second["event"]
    assert (root.level, root.handlers) == before


async def test_asyncio_s_complaints_are_one_summarised_line() -> None:
    """An exception that nobody fetched is one line with type, message and place, and not a traceback."""

    def use(it: Logging) -> None:
        it.bridge.install()
        try:
            raise ValueError("forgotten")
        except ValueError as error:
            asyncio.get_running_loop().call_exception_handler({"message": "Task failed", "exception": error})

    (line,) = printed_json(use)

    assert (line["level"], line["event"], line["logger"]) == ("error", "Task failed", "asyncio")
    assert line["error"]["type"] == "ValueError"
    assert line["error"]["stack"][-1].endswith(" use")
