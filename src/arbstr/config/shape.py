"""How the schema is built, for those who walk along it: which keys a table has, and what is below each."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any

import msgspec

from arbstr.config import kinds, planned, schema
from arbstr.config.parse import Tree
from arbstr.config.units import Address

ROOT = schema.Config
_VALUES = (Address, kinds.ApiKey, kinds.HeaderValue, kinds.Phrase, kinds.SecretUrl)


class Field(msgspec.Struct, frozen=True):
    """One key of a table."""

    name: str
    attribute: str
    """Its name in the struct: another one where the key is a word of Python's."""
    kind: Any
    """Its type, without ``| None``."""
    key: kinds.Key
    default: Any
    """``msgspec.NODEFAULT`` where it is required."""


PLANNED: dict[Any, planned.Tree] = {
    schema.Config: planned.TOP,
    schema.Provider: planned.PROVIDER,
    schema.Model: planned.MODEL,
    schema.Route: planned.ROUTE,
    schema.Endpoint: planned.ENDPOINT,
    schema.Logging: planned.LOGGING,
}


@functools.cache
def fields(table: type[msgspec.Struct]) -> dict[str, Field]:
    """The keys of a table of the schema, in order."""
    hints = typing.get_type_hints(table, include_extras=True)
    found = {}
    for info in msgspec.structs.fields(table):
        annotated, key = typing.get_args(hints[info.name])
        default = info.default_factory() if info.default_factory is not msgspec.NODEFAULT else info.default
        name = info.encode_name
        found[name] = Field(name, attribute=info.name, kind=_without_none(annotated), key=key, default=default)
    return found


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in _VALUES


def named(kind: Any) -> Any:
    """The type of the tables that ``kind`` holds by name, or None if it is not such a collection."""
    return typing.get_args(kind)[1] if typing.get_origin(kind) is dict else None


def pair(kind: Any) -> Any:
    """The types of the names and of the values, where ``kind`` is a table of single values; None if it is not."""
    return typing.get_args(kind) if typing.get_origin(kind) is dict and not is_table(named(kind)) else None


def listed(kind: Any) -> Any:
    """The type of the items that ``kind`` lists, or None if it is not a list."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None


def below(kind: Any, name: str) -> Any:
    """The type under ``name``, or None where the schema knows of none."""
    if is_table(kind):
        field = fields(kind).get(name)
        return field.kind if field else None
    return named(kind)


def own_name(kind: Any, part: str, table: Tree) -> str:
    """The key that ``part`` of a variable's name stands for; an alias in ``table`` gives way to its proper name.

    In collections by name that is the entry whose name looks the same in upper case with underscores, else ``part`` in
    lower case.
    """
    if named(kind) is not None:
        return next((name for name in table if _looks(name) == _looks(part)), part.lower())
    for field in fields(kind).values() if is_table(kind) else ():
        if part.lower() in (field.name, field.key.alias):
            if field.key.alias in table:
                table.setdefault(field.name, table.pop(field.key.alias))
            return field.name
    return part.lower()


def as_table(value: object) -> Tree | None:
    """A table, or a list of names and named tables as one; None for all else, ambiguous lists included."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    entries = [(item, {}) if isinstance(item, str) else _split_name(item) for item in value]
    table = {name: entry for name, entry in entries if isinstance(name, str)}
    return table if len(table) == len(value) else None


def _split_name(item: object) -> tuple[object, Tree]:
    if not isinstance(item, dict):
        return None, {}
    return item.get("name"), {name: value for name, value in item.items() if name != "name"}


def _looks(name: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in name.upper())


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next(option for option in typing.get_args(kind) if option is not type(None))
    return kind


SECTIONS = frozenset(fields(ROOT)) | frozenset(planned.TOP)
