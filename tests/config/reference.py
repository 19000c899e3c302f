"""The tables of docs/reference/config.md, made from the schema.

``python -m tests.config.reference`` writes them between the markers of that page; a test says when that is due.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from arbstr.config import kinds, leaves, schema, shape, units
from arbstr.domain.routing import Network, Strategy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "config.md"
BEGIN = "<!-- The tables are made from the schema: python -m tests.config.reference -->\n"
END = "<!-- End of the tables. -->\n"

_TYPES: dict[Any, str] = {
    bool: "boolean",
    int: "whole number",
    str: "string",
    Decimal: "number",
    kinds.Seconds: "duration",
    kinds.ByteCount: "size",
    kinds.Sats: "number",
    kinds.Rate: "number",
    kinds.Amount: "number",
    kinds.Share: "number",
    kinds.Url: "URL",
    kinds.Resource: "URL",
    kinds.StorePath: "URL",
    kinds.Name: "name",
    kinds.ModelName: "model name",
    kinds.ApiKey: "string",
    kinds.Command: "string",
    kinds.Phrase: "string",
    kinds.SecretUrl: "URL",
    kinds.Host: "host",
    kinds.Mailbox: "address",
    kinds.Mailboxes: "list of addresses, or one",
    units.Address: "`HOST:PORT`",
    Network: "network",
}
_PLURALS: dict[Any, str] = {int: "whole numbers", str: "strings", kinds.ModelName: "model names", Network: "networks"}


class Row(msgspec.Struct, frozen=True):
    """One key: where it stands, and the cells of its line."""

    path: str
    cells: tuple[str, str, str, str]


def tables() -> str:
    """All tables, a heading with each."""
    parts = []
    for heading, help, rows in _sections(schema.Config, ""):
        lines = [" | ".join(("|", *row.cells, "|")).replace("| |", "|").strip() for row in rows]
        parts.append("\n".join([f"### {heading}", "", help, "", "| key | type | default | meaning |", _RULE, *lines]))
    return "\n\n".join(parts) + "\n"


def page() -> tuple[str, str, str]:
    """The page as it is: what stands before the tables, the tables, and what follows."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    written, _, after = rest.partition(END)
    return before, written, after


_RULE = "| --- | --- | --- | --- |"


def _sections(table: type[msgspec.Struct], path: str) -> Iterator[tuple[str, str, list[Row]]]:
    for field in shape.fields(table).values():
        below, inner = _inner(field)
        if below is None:
            continue
        place = f"{path}.{field.name}{inner}" if path else f"{field.name}{inner}"
        heading = f"`[[{place}]]`" if shape.listed(field.kind) else f"`[{place}]`"
        rows = [_row(each, place) for each in shape.fields(below).values() if _is_line(each)]
        if rows:
            yield heading, field.key.help, rows
        yield from _sections(below, place)


def _inner(field: shape.Field) -> tuple[Any, str]:
    """The tables that a key holds, and what stands for their names."""
    if shape.is_table(field.kind):
        return field.kind, ""
    if shape.named(field.kind) and not shape.pair(field.kind):
        return shape.named(field.kind), '."MODEL"' if field.name == "models" else ".NAME"
    listed = shape.listed(field.kind)
    return (listed, "") if shape.is_table(listed) and listed is not schema.Endpoint else (None, "")


def _is_line(field: shape.Field) -> bool:
    below, _ = _inner(field)
    return below is None or below in (schema.Endpoint, schema.Timeout, schema.Model)


def _row(field: shape.Field, path: str) -> Row:
    names = f"`{field.name}`" + (f" (or `{field.key.alias}`)" if field.key.alias else "")
    return Row(f"{path}.{field.name}", (names, _type(field.kind, field.key), _default(field), field.key.help))


def _type(kind: Any, key: kinds.Key) -> str:
    if kind == kinds.Kind:
        return _words(leaves.KINDS)
    if kind is Strategy:
        return _words(member.value for member in Strategy)
    if typing.get_origin(kind) is typing.Literal:
        return _words(typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _words(str(member.value) for member in kind)
    if kind is schema.Endpoint:
        return "`{ provider, model }`"
    if kind is schema.Timeout:
        return "`{ connect, first_token, answer, idle }`"
    if shape.pair(kind):
        return "table of strings"
    if shape.named(kind):
        return "list of names, or tables"
    if shape.listed(kind):
        return f"list of {_PLURALS.get(shape.listed(kind)) or _type(shape.listed(kind), key)}"
    return _TYPES[kind]


def _words(words: Any) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _default(field: shape.Field) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        return "required"
    if value in (None, (), {}) or isinstance(value, schema.Timeout):
        return ""
    return f"`{_written(value, field.kind)}`"


def _written(value: Any, kind: Any) -> str:
    """The default as one would write it in TOML."""
    if kind is kinds.Seconds:
        return f'"{value * 1000:g}ms"' if value < 1 else f'"{value:g}s"'
    if kind is kinds.ByteCount:
        return f'"{value // 1024**2}MiB"'
    if kind is kinds.StorePath:
        return f'"sqlite:///{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    if isinstance(value, enum.Enum):
        return f'"{value.value}"'
    return str(value) if isinstance(value, int | Decimal) else f'"{value}"'


if __name__ == "__main__":
    before, _, after = page()
    PAGE.write_text(before + BEGIN + "\n" + tables() + "\n" + END + after)
