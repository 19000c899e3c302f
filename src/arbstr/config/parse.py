"""The text of a configuration file as a tree of tables, lists and values.

TOML by the standard library; YAML by its core schema (``off`` and ``no`` are words, dates are text, numbers keep every
digit), with duplicate keys refused as TOML refuses them. A ``ValueError`` says where the text cannot be read, and
quotes nothing of it but names: the line may hold a credential.
"""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from typing import Any

import yaml

from arbstr.config.problems import dotted, quoted
from arbstr.config.units import exact

_QUOTED = re.compile(r"'(?!<)[^']{4,}'")  # what is long enough to be the beginning of a key

Tree = dict[str, Any]
"""Strings, integers, decimals, booleans, None, lists and tables; of TOML dates and times too."""

FORMATS = {".toml": "TOML", ".yaml": "YAML", ".yml": "YAML"}


def parse(data: bytes, format: str) -> Tree:
    """The tree that ``data`` spells in ``TOML`` or ``YAML``."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8, expected text in UTF-8") from None
    try:
        return _toml(text) if format == "TOML" else _yaml(text)
    except RecursionError:
        raise ValueError("is nested too deeply, expected a few levels") from None


def inline(text: str) -> Any:
    """The value that ``text`` spells as TOML writes it on one line: ``["a", "b"]``, ``{ a = 1 }``."""
    return parse(f"value = {text}".encode(), "TOML")["value"]


def _toml(text: str) -> Tree:
    text = text.replace("\r\n", "\n") + "\n"  # what is wrong with the last line is on a line then, not at the end
    try:
        return tomllib.loads(text, parse_float=exact)
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).removesuffix(")").rpartition(" (at ")
        line = re.match(r"line (\d+)", place)
        if line and _GIVEN_TWICE.match(reason):
            raise ValueError(
                f"line {line[1]}: {_key_of(text, int(line[1]))} is given twice, expected it once"
            ) from None
        raise ValueError(f"{place or 'somewhere'}: {reason}, expected valid TOML") from None
    except ValueError:
        raise ValueError("has a number too large to be read, expected valid TOML") from None


_GIVEN_TWICE = re.compile(r"Cannot (?:declare|overwrite|redefine|mutate)\b")
_NAME = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_NAMES = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_HEAD = re.compile(rf"[ \t]*(?:({_NAMES})[ \t]*=|(\[\[?[ \t]*{_NAMES}[ \t]*\]\]?))")
_LONGEST_VALUE = 50
"""Lines of a value above whose end its key is looked for."""
_LONGEST_KEY = 80


def _key_of(text: str, last: int) -> str:
    """The key, or the table's heading, whose statement ends on the line ``last``; the first one is 1.

    It begins where all that stands before it can be read.
    """
    lines = text.split("\n")
    for begin in range(last - 1, max(-1, last - _LONGEST_VALUE), -1):
        try:
            tomllib.loads("\n".join(lines[:begin]))
        except ValueError:
            continue
        head = _HEAD.match(lines[begin])
        key = "" if head is None else head[1] or head[2]
        if 0 < len(key) <= _LONGEST_KEY:
            return key if key.isprintable() else quoted(key)
        break
    return "a key"


def _yaml(text: str) -> Tree:
    try:
        tree = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        problem = _QUOTED.sub("'…'", error.problem or "cannot be read")
        raise ValueError(f"{place}: {problem}, expected valid YAML") from None
    except yaml.YAMLError:
        raise ValueError("has characters that YAML does not allow, expected valid YAML") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ValueError("is not a table, expected names and values")
    return tree


class _Loader(yaml.SafeLoader):
    """Nothing but the core schema: strings, numbers, booleans, null, lists and tables."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (the library's own way to declare them)
    yaml_constructors = {}  # noqa: RUF012

    def mapping(self, node: yaml.Node) -> Tree:
        """A table whose keys are distinct strings."""
        assert isinstance(node, yaml.MappingNode)
        names = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str" and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(problem="a key is not a string", problem_mark=key.start_mark)
            if key.value in names:
                problem = f"{dotted((str(key.value),))} is given twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            names.add(key.value)
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep=True) for key, value in node.value}

    def sequence(self, node: yaml.Node) -> list[Any]:
        assert isinstance(node, yaml.SequenceNode)
        return [self.construct_object(item, deep=True) for item in node.value]

    def number(self, node: yaml.ScalarNode) -> int | Decimal:
        text = str(node.value)
        try:
            if text[:2] in ("0x", "0o"):
                return int(text, 0)
            special = re.fullmatch(r"([-+]?)\.(inf|nan)", text.lower())
            if special:
                return Decimal(f"{special[1]}{special[2]}")
            return int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else exact(text)
        except ValueError:
            raise yaml.constructor.ConstructorError(
                problem="a number that cannot be read", problem_mark=node.start_mark
            ) from None


_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)
_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"(?:null|Null|NULL|~|)\Z"), ["n", "N", "~", ""])
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))
_Loader.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])
_Loader.add_constructor(f"{_TAG}null", lambda loader, node: None)
_Loader.add_constructor(f"{_TAG}bool", lambda loader, node: str(node.value).lower() == "true")
_Loader.add_constructor(f"{_TAG}int", _Loader.number)
_Loader.add_constructor(f"{_TAG}float", _Loader.number)
_Loader.add_constructor(f"{_TAG}str", lambda loader, node: str(node.value))
_Loader.add_constructor(f"{_TAG}seq", _Loader.sequence)
_Loader.add_constructor(f"{_TAG}map", _Loader.mapping)
_Loader.yaml_constructors[None] = yaml.SafeLoader.construct_undefined
