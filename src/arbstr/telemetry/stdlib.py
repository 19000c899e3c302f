"""Other people's logging, brought into ours: uvicorn, asyncio, warnings, anything that uses :mod:`logging`."""

from __future__ import annotations

import logging

import msgspec

from arbstr.ports import Log

LINES_PER_WINDOW = 5
WINDOW = 10.0
"""Seconds. Of one kind of line, so many are let through in a window; the next one says what was held back."""

_MOST_KINDS = 256


class _Repeats(msgspec.Struct):
    since: float
    seen: int = 0
    held_back: int = 0


class Bridge(logging.Handler):
    """A handler that turns each record into one line of ``log``: no tracebacks, no floods.

    The event is the message's first line; the fields are ``logger``, ``detail`` (the other lines), ``error`` (an
    exception, summarised) and ``held_back``. Installed on the root logger, it hears from others what is at least a
    warning: their chatter at ``info`` is of no use to an operator.
    """

    def __init__(self, log: Log, *, level: int = logging.INFO) -> None:
        super().__init__(max(level, logging.WARNING))
        self._log = log
        self._kinds: dict[tuple[str, int, str], _Repeats] = {}
        self._root_level: int | None = None

    def install(self) -> None:
        """Listen on the root logger and to warnings. Until :meth:`remove`."""
        if self._root_level is None:
            root = logging.getLogger()
            self._root_level = root.level
            root.setLevel(self.level)
            root.addHandler(self)
            logging.captureWarnings(True)

    def remove(self) -> None:
        """Undo :meth:`install`, and say what is still held back."""
        if self._root_level is not None:
            root = logging.getLogger()
            root.removeHandler(self)
            root.setLevel(self._root_level)
            logging.captureWarnings(False)
            self._root_level = None
        self._tell_held_back()

    def emit(self, record: logging.LogRecord) -> None:
        first, _, detail = _message(record).strip().partition("\n")
        fields: dict[str, object] = {"logger": record.name}
        repeats = self._repeats(record, first)
        if repeats.seen > LINES_PER_WINDOW:
            repeats.held_back += 1
            return
        if repeats.held_back:
            fields["held_back"] = repeats.held_back
            repeats.held_back = 0
        if detail:
            fields["detail"] = detail
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = record.exc_info[1]
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        say(first, **fields)

    def _repeats(self, record: logging.LogRecord, first_line: str) -> _Repeats:
        """How often this kind of line was seen in its window, this one included."""
        template = str(record.msg).strip().partition("\n")[0] or first_line
        kind = (record.name, record.levelno, template)
        repeats = self._kinds.get(kind)
        if repeats is None:
            if len(self._kinds) >= _MOST_KINDS:
                self._tell_held_back()
            repeats = self._kinds[kind] = _Repeats(since=record.created)
        elif not 0 <= record.created - repeats.since < WINDOW:  # also when the wall clock was set back
            repeats.since = record.created
            repeats.seen = 0
        repeats.seen += 1
        return repeats

    def _tell_held_back(self) -> None:
        for (name, _, template), repeats in self._kinds.items():
            if repeats.held_back:
                self._log.warning(template, logger=name, held_back=repeats.held_back)
        self._kinds.clear()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit the template are not our caller's problem
        return str(record.msg)
