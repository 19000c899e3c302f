"""A stretch of time, cut into whole days, whole hours, and what is left at its edges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

import msgspec

from arbstr.store.rows import time_text

HOUR = 3600
DAY = 24
"""Hours of a day."""
LAST = 253_402_300_800
"""The end of the year 9999, in seconds since the epoch: later times have no text."""

Hours = tuple[int, int]
"""From the first hour to before the second, counted from 1970 in UTC."""
Edge = tuple[float, float]
"""From the first instant to before the second, in seconds since the epoch."""


class Cut(msgspec.Struct, frozen=True):
    """A stretch of time: every instant of it is in one of these, once."""

    days: Hours
    """Whole days, as hours."""
    hours: tuple[Hours, ...]
    """Whole hours before and after them."""
    edges: tuple[Edge, ...]

    @property
    def whole(self) -> Hours:
        """The whole hours, those of days included."""
        stretches = [each for each in (self.days, *self.hours) if each[0] < each[1]]
        return (min(each[0] for each in stretches), max(each[1] for each in stretches)) if stretches else (0, 0)


def cut(since: float, until: float, *, hours: bool = True, days: bool = True) -> Cut:
    """Cut from ``since`` to before ``until`` (seconds since the epoch); without ``hours`` it is all edge, without
    ``days`` there are hours instead."""
    since, until = max(since, 0.0), min(until, float(LAST))
    first, last = math.ceil(since / HOUR), math.floor(until / HOUR)
    if not hours or first >= last:
        return Cut((0, 0), (), _edge(since, until))
    edges = (*_edge(since, first * HOUR), *_edge(last * HOUR, until))
    morning, evening = -(-first // DAY) * DAY, last // DAY * DAY
    if not days or morning >= evening:
        return Cut((0, 0), ((first, last),), edges)
    return Cut(
        (morning, evening), tuple(each for each in ((first, morning), (evening, last)) if each[0] < each[1]), edges
    )


def _edge(since: float, until: float) -> tuple[Edge, ...]:
    return ((since, until),) if since < until else ()


def pieces(edge: Edge, size: int) -> Iterator[tuple[int, Edge]]:
    """The edge, cut where the buckets of ``size`` seconds begin that it touches; and their beginnings."""
    since, until = edge
    for start in range(math.floor(since / size) * size, math.ceil(until / size) * size, size):
        yield start, (max(since, start), min(until, start + size))


def text(seconds: float) -> str:
    """The instant as the log writes it; beyond what it can write, the first or the last that it can."""
    return time_text(min(max(seconds, 0.0), LAST - 1))


def hour_of(prefix: str) -> int:
    """The hour, counted from 1970, of a time as the log writes it, or of as much of it as says the hour."""
    return int(datetime.fromisoformat(f"{prefix[:13]}:00:00+00:00").timestamp()) // HOUR
