"""The operator's log: structured events, one line each."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import structlog

from arbstr.ports import Log
from arbstr.telemetry.formats import Redact, Renderer, clean, renderer, timestamp
from arbstr.telemetry.lines import LineWriter, stdout_descriptor
from arbstr.telemetry.requests import RequestLines
from arbstr.telemetry.stdlib import Bridge

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "text"]

LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class Logging:
    """Everything that writes lines, on one writer: the program's own log, the request lines, other people's logging.

    ``redact`` takes known secret values out of a text; secrets in :class:`~arbstr.domain.secret.Secret` mask
    themselves. ``descriptor`` is where lines go, stdout by default; ``now`` gives seconds since the epoch.
    """

    def __init__(
        self,
        *,
        level: Level = "info",
        format: Format = "json",
        redact: Redact = str,
        descriptor: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        render = renderer(format)
        self._own: int | None = None
        if descriptor is None:
            descriptor = self._own = stdout_descriptor()
        self.writer = LineWriter(
            descriptor,
            notice=lambda count: render(_head(now(), "warning", "log lines dropped") | {"count": count}),
        )
        self.log: Log = _structured(self.writer, render=render, redact=redact, level=LEVELS[level], now=now)
        self.requests = RequestLines(self.writer, render=render, redact=redact, level=LEVELS[level])
        self.bridge = Bridge(self.log, level=LEVELS[level])

    @property
    def dropped(self) -> int:
        """Lines that were never written, because stdout was blocked, closed or full."""
        return self.writer.dropped

    def close(self, timeout: float = 2.0) -> bool:
        """Give stdlib logging back, write what is queued, stop. False if ``timeout`` seconds were not enough."""
        self.bridge.remove()
        done = self.writer.close(timeout)
        if done and self._own is not None:
            os.close(self._own)
            self._own = None
        return done


def _head(now: float, level: str, event: str) -> dict[str, Any]:
    return {"timestamp": timestamp(now), "level": level, "event": event}


def _structured(
    writer: LineWriter, *, render: Renderer, redact: Redact, level: int, now: Callable[[], float]
) -> structlog.typing.FilteringBoundLogger:
    """A structlog logger of two steps: make the event a clean dict, render it. No global configuration is touched."""

    def to_line(_: Any, method: str, event: MutableMapping[str, Any]) -> bytes:
        fields = clean(event, redact)
        head = _head(now(), method, fields.pop("event", ""))
        return render(head | {f"{key}_" if key in head else key: value for key, value in fields.items()})

    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        _Out(writer),
        processors=[to_line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    ).bind()
    return logger


class _Out:
    """The end of structlog's chain. What is worth a warning is worth being written now."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def info(self, line: bytes) -> None:
        self._writer.put(bytes, line)

    debug = info

    def warning(self, line: bytes) -> None:
        self._writer.put(bytes, line)
        self._writer.wake()

    error = warning
    critical = warning
