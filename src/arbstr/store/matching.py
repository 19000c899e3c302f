"""Which rows of ``requests`` a filter means, its range included, in SQL."""

from __future__ import annotations

from typing import Any

from arbstr.domain.statistics import Filter
from arbstr.store.filters import Filters
from arbstr.store.rows import time_text


def where(which: Filter) -> tuple[str, list[Any]]:
    """A condition, and its values in order: whatever stands in a filter is a value, and never SQL."""
    given: list[tuple[str, list[Any]]] = []
    if which.since is not None:
        given.append(("timestamp >= ?", [time_text(which.since)]))
    if which.until is not None:
        given.append(("timestamp < ?", [time_text(which.until)]))
    filters = Filters.of(which)
    given.append((filters.rows, filters.values))
    return " AND ".join(condition for condition, _ in given), [value for _, values in given for value in values]
