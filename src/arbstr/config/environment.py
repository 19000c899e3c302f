"""What the environment contributes: ``${NAME}`` inside strings, and ``ARBSTR_SECTION__KEY`` over the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from arbstr.config import shape
from arbstr.config.parse import Tree
from arbstr.config.problems import Path, Problems
from arbstr.config.units import Text

PREFIX = "ARBSTR_"
_REFERENCE = re.compile(r"(\$\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|(\$\{)", re.ASCII)
_MOST_VALUES = 100_000
_DEEPEST = 32


def upper_snake(name: str) -> str:
    """The name in upper case, with one ``_`` for each run of other characters than letters and digits."""
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")


def key_variable(provider: str) -> str:
    """The variable that holds a provider's key where its configuration names none."""
    return f"{PREFIX}{upper_snake(provider)}_API_KEY"


def substitute(tree: Tree, environ: Mapping[str, str], problems: Problems) -> Tree:
    """A copy of ``tree`` with every ``${NAME}`` replaced and ``$${`` as a literal ``${``.

    Values that cannot be filled in are left out and reported. Raises ``ValueError`` for a tree that is too large, as
    YAML's references can make it.
    """
    return _Substitution(environ, problems).table(tree, ())


class _Substitution:
    def __init__(self, environ: Mapping[str, str], problems: Problems) -> None:
        self._environ = environ
        self._problems = problems
        self._values = 0

    def table(self, tree: Tree, path: Path) -> Tree:
        return {name: value for name, item in tree.items() if (value := self._value(item, (*path, name))) is not _GONE}

    def _value(self, value: Any, path: Path) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES or len(path) > _DEEPEST:
            raise ValueError("is too large or nested too deeply, expected a few levels and at most 100,000 values")
        if isinstance(value, dict):
            return self.table(value, path)
        if isinstance(value, list):
            items = [self._value(item, (*path, index)) for index, item in enumerate(value)]
            return [item for item in items if item is not _GONE]
        return self._string(value, path) if isinstance(value, str) and "${" in value else value

    def _string(self, value: str, path: Path) -> Any:
        used = [match[2] for match in _REFERENCE.finditer(value) if match[2]]
        if any(match[3] for match in _REFERENCE.finditer(value)):
            self._problems.add(path, 'has a "${" without a name and "}", expected ${NAME}, or $${ for a literal ${')
            return _GONE
        for name in used:
            if name not in self._environ:
                self._problems.add(path, f"${{{name}}} is not set, expected an environment variable {name}")
                return _GONE
        filled = _REFERENCE.sub(lambda match: "${" if match[1] else self._environ[match[2]], value)
        return Text(filled, "".join(f"${{{name}}}" for name in used)) if used else filled


_GONE = object()


def overlay(tree: Tree, environ: Mapping[str, str], problems: Problems) -> None:
    """Put what ``ARBSTR_SECTION__KEY`` variables say into ``tree``. Variables of other names are left alone."""
    for variable in sorted(environ):
        first, *rest = variable.removeprefix(PREFIX).split("__")
        if variable.startswith(PREFIX) and rest and first.lower() in shape.SECTIONS:
            put(tree, (first, *rest), Text(environ[variable], variable), problems)


def put(tree: Tree, names: tuple[str, ...], value: Text, problems: Problems) -> None:
    """Set one value, creating tables on the way. ``names`` are in any case; ``value.source`` is told as its origin."""
    table: Tree = tree
    kind: Any = shape.ROOT
    path: Path = ()
    *above, last = names
    for part in above:
        name = shape.own_name(kind, part, table)
        path, kind = (*path, name), shape.below(kind, name)
        if table.get(name) is None:
            problems.origins[path] = value.source
            table[name] = {}
        below = shape.as_table(table[name])
        if below is None:
            problems.add(path, f"cannot be filled in by {value.source}, expected a table there", origin=value.source)
            return
        table[name] = below
        table = below
    name = shape.own_name(kind, last, table)
    problems.origins[*path, name] = value.source
    table[name] = value
