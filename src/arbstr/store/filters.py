"""Which requests a filter means, in SQL: of rows, and of roll-ups."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.domain.statistics import Filter
from arbstr.store.rollups import ALL, DIMENSIONS, FACETS, FULL
from arbstr.store.rows import storable

Condition = tuple[str, tuple[Any, ...]]
"""SQL and its values."""


class Filters(msgspec.Struct, frozen=True):
    """A filter's conditions, but for its range. Texts are values, and never SQL."""

    columns: dict[str, Condition]
    """Those that roll-ups know, by the column."""
    others: tuple[Condition, ...]
    """Those that only rows know."""

    @classmethod
    def of(cls, which: Filter) -> Filters:
        columns = {name: _is(name, value) for name in DIMENSIONS if (value := getattr(which, name)) is not None}
        others: list[Condition] = []
        if which.status == 200:
            others.append(("success", ()))
        elif which.status is not None:
            others.append(("error_status = ?", (which.status,)))
        if which.min_cost is not None:
            others.append(("cost_micro_sats >= ?", (which.min_cost,)))
        return cls(columns, tuple(others))

    @property
    def rolled(self) -> bool:
        """Whether roll-ups can say all of it."""
        return not self.others

    @property
    def rows(self) -> str:
        """The condition on rows of ``requests``."""
        return " AND ".join(sql for sql, _ in (*self.columns.values(), *self.others)) or "1"

    @property
    def values(self) -> list[Any]:
        """The values of :attr:`rows`, in order."""
        return [value for _, values in (*self.columns.values(), *self.others) for value in values]

    @property
    def slices(self) -> str:
        """The condition on rows of ``slices``: all that roll-ups know of it."""
        return " AND ".join(f"slices.{sql}" for sql, _ in self.columns.values()) or "1"

    @property
    def slice_values(self) -> list[Any]:
        """The values of :attr:`slices`, in order."""
        return [value for _, values in self.columns.values() for value in values]

    def facet(self, group: str | None = None) -> int:
        """The facet with the fewest roll-ups that can say this, told apart by the column ``group``."""
        needed = {*self.columns, *([group] if group else [])}
        return next((facet for facet in range(ALL, FULL) if needed <= set(FACETS[facet])), FULL)


def _is(name: str, value: str | bool) -> Condition:
    if value == "":
        return f"{name} IS NULL", ()
    return f"{name} = ?", (storable(value) if isinstance(value, str) else value,)
