"""Tables for people: styled and fitted to its width on a terminal, plain elsewhere.

A table that is too wide for the terminal folds: the columns that matter most stay in their row, as many as there is
room for, and the others stand beneath it, ``name: value``. So nothing is lost, and no word is ever broken.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence

import click
import msgspec

GAP = "  "
INDENT = "    "
"""What sets off the lines beneath a row."""
RULE = "─"
NOTHING = "–"
"""A cell that has no value."""


class Table(msgspec.Struct, frozen=True):
    columns: tuple[str, ...]
    """The first of them stays in the row, whatever the width."""
    rows: Sequence[tuple[str, ...]]
    numbers: frozenset[str] = frozenset()
    """The columns that are set flush right."""
    fold: tuple[str, ...] = ()
    """The columns that matter least, the very least one first. Of the others, those on the left matter most."""
    implied: frozenset[str] = frozenset()
    """The columns whose value goes without saying where it is that of the first column."""


class Line(msgspec.Struct, frozen=True):
    text: str
    style: str = ""
    """``bold`` for headings, ``dim`` for what stands beneath a row."""


def lines(table: Table, width: int | None = None) -> Iterator[Line]:
    """The table as lines of at most ``width`` columns of a terminal (None: of any width).

    A line is longer only where a single value is. Beneath a row, values that are missing or implied are left out.
    """
    widths = _widths(table)
    kept = _kept(table, widths, width)
    folded = [name for name in table.columns if name not in kept]
    yield Line(_joined(table, {name: name for name in kept}, widths), "bold")
    if width is not None:
        yield Line(RULE * min(width, _total(kept, widths)), "dim")
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=True))
        yield Line(_joined(table, {name: cells[name] for name in kept}, widths))
        unsaid = {name for name in folded if cells[name] == NOTHING}
        unsaid |= {name for name in table.implied if cells[name] == row[0]}
        pairs = [f"{name}: {cells[name]}" for name in folded if name not in unsaid]
        for text in _filled(pairs, None if width is None else width - len(INDENT)):
            yield Line(INDENT + text, "dim")


def without_empty(table: Table, optional: Collection[str], empty: Collection[str] = (NOTHING,)) -> Table:
    """The table without those of the ``optional`` columns in which no cell says more than ``empty``."""
    columns = list(zip(table.columns, *table.rows, strict=True)) if table.rows else [(name,) for name in table.columns]
    kept = [name not in optional or any(cell not in empty for cell in cells) for name, *cells in columns]
    names = tuple(name for name, keep in zip(table.columns, kept, strict=True) if keep)
    rows = [tuple(cell for cell, keep in zip(row, kept, strict=True) if keep) for row in table.rows]
    return msgspec.structs.replace(
        table, columns=names, rows=rows, fold=tuple(name for name in table.fold if name in names)
    )


def show(table: Table) -> None:
    """Print it; nothing but the heading where it has no rows."""
    if sys.stdout is not None and sys.stdout.isatty():
        _show_styled(table)
        return
    for line in lines(table):
        click.echo(line.text)


def _show_styled(table: Table) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    plain = not console.encoding.lower().startswith("utf")
    for line in lines(table, console.width):
        text = line.text.replace(RULE, "-") if plain else line.text
        console.print(Text(text, style=line.style), soft_wrap=True)


def _kept(table: Table, widths: dict[str, int], width: int | None) -> list[str]:
    """The columns that stay in their row, in their order."""
    first, *others = table.columns
    kept = {first}
    for name in (*(name for name in others if name not in table.fold), *reversed(table.fold)):
        if width is None or _total([*kept, name], widths) <= width:
            kept.add(name)
    return [name for name in table.columns if name in kept]


def _widths(table: Table) -> dict[str, int]:
    columns = zip(table.columns, *table.rows, strict=True)
    return {column[0]: max(map(_cells, column)) for column in columns}


def _total(names: Sequence[str], widths: dict[str, int]) -> int:
    return sum(widths[name] for name in names) + len(GAP) * (len(names) - 1)


def _joined(table: Table, cells: dict[str, str], widths: dict[str, int]) -> str:
    """One row, each cell under its heading."""
    parts = []
    for name, cell in cells.items():
        space = " " * (widths[name] - _cells(cell))
        parts.append(space + cell if name in table.numbers else cell + space)
    return GAP.join(parts).rstrip()


def _filled(parts: Sequence[str], width: int | None) -> Iterator[str]:
    """``parts`` in as few lines as they fit into."""
    line = ""
    for part in parts:
        longer = f"{line}{GAP}{part}" if line else part
        if line and width is not None and _cells(longer) > width:
            yield line
            longer = part
        line = longer
    if line:
        yield line


def _cells(text: str) -> int:
    """How many columns of a terminal ``text`` takes: some signs are two wide, some none."""
    from rich.cells import cell_len

    return cell_len(text)
