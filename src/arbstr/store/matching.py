"""Which rows of ``requests`` a filter means, in SQL."""

from __future__ import annotations

from typing import Any

from arbstr.domain.statistics import Filter
from arbstr.store.rows import storable, time_text


def where(which: Filter) -> tuple[str, list[Any]]:
    """A condition, and its values in order: whatever stands in a filter is a value, and never SQL."""
    given: list[tuple[str, Any]] = []
    if which.since is not None:
        given.append(("timestamp >= ?", time_text(which.since)))
    if which.until is not None:
        given.append(("timestamp < ?", time_text(which.until)))
    for column in ("model", "provider", "policy", "key_id", "tier"):
        name: str | None = getattr(which, column)
        if name is not None:
            given.append((f"{column} IS ?", storable(name) or None))
    if which.success is not None:
        given.append(("success = ?", which.success))
    if which.streaming is not None:
        given.append(("streaming = ?", which.streaming))
    if which.status is not None:
        given.append(("error_status = ?", which.status) if which.status != 200 else ("success = ?", True))
    if which.min_cost is not None:
        given.append(("cost_micro_sats >= ?", which.min_cost))
    return " AND ".join(condition for condition, _ in given) or "1", [value for _, value in given]
