"""From a tree of plain values to a :class:`~arbstr.config.schema.Config`, following the schema.

Every problem is collected and reading goes on, with the default in the place of what could not be read, so that all
problems can be told at once. The result is to be used only if there were none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from arbstr.config import kinds, planned, schema, shape
from arbstr.config.leaves import LEAVES
from arbstr.config.parse import Tree, inline
from arbstr.config.problems import Path, Problems, nearest
from arbstr.config.units import Text, described, misfit, shown

_NAMED = "a table for each name, or a list"


def read(tree: Tree, problems: Problems) -> schema.Config:
    """The configuration that ``tree`` spells."""
    return cast(schema.Config, _Reader(problems).table(shape.ROOT, tree, ()))


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def table(self, kind: type[msgspec.Struct], tree: Tree, path: Path) -> Any:
        """The struct, or ``msgspec.UNSET`` where a required key is missing or unreadable."""
        fields = shape.fields(kind)
        values = {}
        for name, raw in tree.items():
            field = fields.get(name) or next((field for field in fields.values() if field.key.alias == name), None)
            if field is None:
                self._strange(kind, name, raw, (*path, name))
            elif name != field.name and field.name in tree:
                self._problems.add((*path, name), f"is another name for {field.name}, expected one of the two")
            else:
                values[field.name] = self._value(field.kind, field.key, raw, (*path, name))
        given = {name: value for name, value in values.items() if value is not msgspec.UNSET}
        for field in fields.values():
            if field.default is msgspec.NODEFAULT and field.name not in given:
                self._problems.add((*path, field.name), f"is missing, expected {field.key.expected}")
                return msgspec.UNSET
        return kind(**{fields[name].attribute: value for name, value in given.items()})

    def _value(self, kind: Any, key: kinds.Key, raw: Any, path: Path) -> Any:
        if shape.is_table(kind):
            tree = self._tree(raw, "a table", path)
            return self.table(kind, tree, path) if tree is not None else msgspec.UNSET
        if shape.pair(kind) is not None:
            return self._pairs(shape.pair(kind), key, raw, path)
        if shape.named(kind) is not None:
            return self._by_name(shape.named(kind), key, self._unpacked(raw, path), path)
        if shape.listed(kind) is not None:
            return self._list(shape.listed(kind), key, raw, path)
        return self._leaf(kind, key, raw, path)

    def _by_name(self, kind: Any, key: kinds.Key, raw: Any, path: Path) -> Any:
        """A table of tables, also accepted as a list of tables with a ``name`` or, where all has defaults, of names."""
        if raw is None:
            return {}
        if isinstance(raw, dict):
            entries = [(name, tree, (*path, name)) for name, tree in raw.items()]
        elif isinstance(raw, list):
            entries = [self._entry(item, (*path, index)) for index, item in enumerate(raw)]
        else:
            self._problems.add(path, misfit(raw, _NAMED))
            return msgspec.UNSET
        found: dict[str, Any] = {}
        for name, raw_entry, place in entries:
            own = msgspec.UNSET if name is None else self._leaf(_name_type(kind), key, name, place)
            if own is msgspec.UNSET:
                continue
            tree = self._tree(raw_entry, "a table", place)
            if own in found:
                self._problems.add(place, f"{shown(name)} is given twice, expected each name once")
            elif tree is not None:
                found[own] = self.table(kind, tree, (*path, own))
        return {name: value for name, value in found.items() if value is not msgspec.UNSET}

    def _pairs(self, kinds: Any, key: kinds.Key, raw: Any, path: Path) -> Any:
        """A table of single values, whose names are the writer's own."""
        name_kind, value_kind = kinds
        tree = self._tree(raw, "a table of names and values", path)
        pairs = [
            (self._leaf(name_kind, key, name, (*path, name)), self._leaf(value_kind, key, value, (*path, name)))
            for name, value in (tree or {}).items()
        ]
        return {name: value for name, value in pairs if msgspec.UNSET not in (name, value)}

    def _entry(self, item: Any, path: Path) -> tuple[str | None, Any, Path]:
        if isinstance(item, str):
            return item, {}, path
        if not isinstance(item, dict):
            self._problems.add(path, misfit(item, "a table with a name"))
            return None, None, path
        if not isinstance(item.get("name"), str):
            wrong = misfit(item["name"], "a name") if "name" in item else "is missing, expected a name"
            self._problems.add((*path, "name"), wrong)
            return None, None, path
        return item["name"], {name: value for name, value in item.items() if name != "name"}, path

    def _list(self, kind: Any, key: kinds.Key, raw: Any, path: Path) -> Any:
        raw = self._unpacked(raw, path)
        if raw is None:
            return ()
        if not isinstance(raw, list):
            self._problems.add(path, misfit(raw, "a list"))
            return msgspec.UNSET
        values = [self._value(kind, key, item, (*path, index)) for index, item in enumerate(raw)]
        return tuple(value for value in values if value is not msgspec.UNSET)

    def _leaf(self, kind: Any, key: kinds.Key, raw: Any, path: Path) -> Any:
        try:
            return LEAVES[kind](raw, key)
        except ValueError as error:
            self._problems.add(path, str(error))
            return msgspec.UNSET

    def _tree(self, raw: Any, expected: str, path: Path) -> Tree | None:
        raw = self._unpacked(raw, path)
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            self._problems.add(path, misfit(raw, expected))
            return None
        return raw

    def _unpacked(self, raw: Any, path: Path) -> Any:
        """A list or table that an environment variable spells as TOML does; a list also as names with commas."""
        if not isinstance(raw, Text):
            return raw
        text = raw.strip()
        if not text.startswith(("[", "{")):
            return [Text(part.strip(), raw.source) for part in text.split(",") if part.strip()]
        try:
            return _from(raw.source, inline(text.replace("\n", " ")))
        except ValueError:
            self._problems.add(path, f"{described(raw)} cannot be read, expected a list or table as TOML writes it")
            return None

    def _strange(self, kind: Any, name: str, raw: Any, path: Path) -> None:
        """A key that the schema does not have: planned for later, or unknown."""
        later = shape.PLANNED.get(kind, {})
        if name in later:
            self._planned(raw, later[name], path)
            return
        fields = shape.fields(kind).values()
        names = [field.name for field in fields] + [field.key.alias for field in fields if field.key.alias]
        self._unknown(name, names, path, near=[*names, *later])

    def _unknown(self, name: str, names: Iterable[str], path: Path, *, near: Iterable[str]) -> None:
        hint = nearest(name, near) or f", expected one of {', '.join(names)}"
        self._problems.add(path, f"is not a known key{hint}")

    def _planned(self, raw: Any, quiet: Any, path: Path) -> None:
        """A key that does nothing yet, or a section of such keys: where one has a switch, only the switch is told."""
        if raw is None:
            return
        if not isinstance(quiet, dict) or not isinstance(raw, dict):
            if not planned.inert(raw, quiet):
                self._problems.add(path, f"is not available in this version, expected {planned.instead(quiet)}")
            return
        switch = planned.SWITCHES.get(str(path[-1]))
        tell = raw if switch is None else switch.telling(raw)
        for name, value in raw.items():
            if name not in quiet:
                self._unknown(name, quiet, (*path, name), near=quiet)
            elif name in tell:
                self._planned(value, quiet[name], (*path, name))


def _name_type(kind: Any) -> Any:
    return kinds.Name if kind is schema.Provider else kinds.ModelName


def _from(source: str, value: Any) -> Any:
    if isinstance(value, str):
        return Text(value, source)
    if isinstance(value, list):
        return [_from(source, item) for item in value]
    return {name: _from(source, item) for name, item in value.items()} if isinstance(value, dict) else value
