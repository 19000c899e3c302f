"""TOML and YAML as trees, and what cannot be read."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.config.parse import parse
from tests.config.written import ALPHA, compiled, problems

_SCALARS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff\ufffe\uffff")),
    st.integers(-(10**18), 10**18),
    st.booleans(),
)
_TREES = st.dictionaries(
    st.text("abcxyz_-", min_size=1),
    st.recursive(
        _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner), max_leaves=8
    ),
)


@settings(deadline=None)
@given(_TREES)
def test_yaml_reads_json(tree: dict[str, Any]) -> None:
    """JSON is YAML: strings, numbers, booleans, lists and tables survive the way through a file."""
    assert parse(json.dumps(tree, ensure_ascii=False).encode(), "YAML") == tree


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("2026-11-20", "2026-11-20"),
        ("1:30", "1:30"),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", 10),
        ("-7", -7),
        ("0.1", Decimal("0.1")),
        ("1e3", Decimal(1000)),
        ("12345678901234567890.123456789", Decimal("12345678901234567890.123456789")),
        ('"5"', "5"),
        ("!!str 5", "5"),
    ],
)
def test_yaml_values_are_those_of_the_core_schema(written: str, value: object) -> None:
    """No word is a boolean but true and false, no text a date, and no digit of a number is lost."""
    assert parse(f"key: {written}\n".encode(), "YAML") == {"key": value}


@pytest.mark.parametrize("written", [".inf", "-.INF", ".nan"])
def test_yaml_knows_numbers_that_are_none(written: str) -> None:
    """They are read as such, for the schema to refuse them where a number is wanted."""
    value = parse(f"key: {written}\n".encode(), "YAML")["key"]

    assert isinstance(value, Decimal)
    assert not value.is_finite()


def test_yaml_may_repeat_itself_by_reference() -> None:
    """Anchors, aliases and merge keys are YAML's way to say a thing once."""
    text = b"base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nsame: *base\n"

    assert parse(text, "YAML") == {"base": {"a": 1, "b": 2}, "other": {"a": 1, "b": 3}, "same": {"a": 1, "b": 2}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
@pytest.mark.parametrize("format", ["TOML", "YAML"])
def test_an_empty_file_is_an_empty_tree(text: str, format: str) -> None:
    """All keys have defaults, so nothing at all is a configuration."""
    assert parse(text.replace("---\n", "" if format == "TOML" else "---\n").encode(), format) == {}


def test_a_byte_order_mark_is_passed_over() -> None:
    """Some editors put one in front."""
    assert parse(b"\xef\xbb\xbfa = 1", "TOML") == parse(b"\xef\xbb\xbfa: 1", "YAML") == {"a": 1}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("arbstr.toml", "a = sk-secret", "arbstr.toml: line 1, column 5: Invalid value, expected valid TOML"),
        ("arbstr.toml", "a = 1\na = 2\n", "arbstr.toml: line 2: a is given twice, expected it once"),
        (
            "arbstr.toml",
            "a = 1\r\n'b.c'.d=1\r\n'b.c' . d = 2",
            "arbstr.toml: line 3: 'b.c' . d is given twice, expected it once",
        ),
        ("arbstr.toml", "a = 1\na = [\n  'x = 1',\n]", "arbstr.toml: line 4: a is given twice, expected it once"),
        ("arbstr.toml", 'a = 1\na = """\nb = 1\n"""', "arbstr.toml: line 4: a is given twice, expected it once"),
        (
            "arbstr.toml",
            "a = 1\na = [" + "\n" * 99 + "]",
            "arbstr.toml: line 101: a key is given twice, expected it once",
        ),
        ("arbstr.toml", "[a.b]\n[c]\n[a.b]", "arbstr.toml: line 3: [a.b] is given twice, expected it once"),
        ("arbstr.toml", "[[a]]\n[a]\n", "arbstr.toml: line 2: [a] is given twice, expected it once"),
        ("arbstr.toml", "a = 1\n[a.b]", "arbstr.toml: line 2: [a.b] is given twice, expected it once"),
        ("arbstr.toml", "a = {b = 1}\na.c = 'sk-secret'", "arbstr.toml: line 2: a.c is given twice, expected it once"),
        (
            "arbstr.toml",
            "a = {b = 1, b = 'sk-secret'}",
            "arbstr.toml: line 1, column 28: Duplicate inline table key 'b', expected valid TOML",
        ),
        (
            "arbstr.toml",
            "a = 1\nb",
            "arbstr.toml: line 2, column 2: Expected '=' after a key in a key/value pair, expected valid TOML",
        ),
        ("arbstr.toml", "a = " + "9" * 5000, "arbstr.toml: has a number too large to be read, expected valid TOML"),
        ("arbstr.toml", "a = 1e" + "9" * 50, "arbstr.toml: has a number too large to be read, expected valid TOML"),
        ("arbstr.toml", "a = " + "[" * 5000, "arbstr.toml: is nested too deeply, expected a few levels"),
        (
            "arbstr.yaml",
            "a: [",
            "arbstr.yaml: line 1, column 5: expected the node content, but found '<stream end>', expected valid YAML",
        ),
        ("arbstr.yaml", "a: 1\na: 2", "arbstr.yaml: line 2, column 1: a is given twice, expected valid YAML"),
        ("arbstr.yaml", "1: a", "arbstr.yaml: line 1, column 1: a key is not a string, expected valid YAML"),
        ("arbstr.yaml", "[x]: a", "arbstr.yaml: line 1, column 1: a key is not a string, expected valid YAML"),
        (
            "arbstr.yaml",
            "a: " + "9" * 5000,
            "arbstr.yaml: line 1, column 4: a number that cannot be read, expected valid YAML",
        ),
        ("arbstr.yaml", "a: " + "[" * 5000, "arbstr.yaml: is nested too deeply, expected a few levels"),
        ("arbstr.yaml", "- a", "arbstr.yaml: is not a table, expected names and values"),
        (
            "arbstr.yaml",
            "a: 1\n---\nb: 2",
            "arbstr.yaml: line 2, column 1: but found another document, expected valid YAML",
        ),
        ("arbstr.yaml", "a: \x01", "arbstr.yaml: has characters that YAML does not allow, expected valid YAML"),
        ("arbstr.json", "{}", 'arbstr.json: ends in ".json", expected .toml, .yaml or .yml'),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(tmp_path: Path, name: str, text: str, line: str) -> None:
    """Broken text is a line that says where, and quotes nothing of it."""
    assert problems(tmp_path, text, name=name) == [line]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [true]", "!!binary c2stc2VjcmV0", "!!set {sk-secret}", "!secret x"]
)
def test_yaml_makes_nothing_but_plain_values(tmp_path: Path, tag: str) -> None:
    """A tag cannot run code or make an object."""
    (line,) = problems(tmp_path, f"a: {tag}", name="arbstr.yaml")

    assert line.startswith("arbstr.yaml: line 1, column 4: could not determine a constructor for the tag")
    assert "sk-secret" not in line


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """The first wrong byte is told."""
    path = tmp_path / "arbstr.toml"
    path.write_bytes(b"a = '\xff'")

    with pytest.raises(ValueError, match="byte 5 is not UTF-8"):
        parse(path.read_bytes(), "TOML")


def test_yaml_references_cannot_blow_up(tmp_path: Path) -> None:
    """A few lines that stand for thousands of millions of values are refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    (line,) = problems(tmp_path, "\n".join(lines), name="arbstr.yaml")

    assert line == "arbstr.yaml: is too large or nested too deeply, expected a few levels and at most 100,000 values"


def test_a_yaml_list_that_holds_itself_is_refused(tmp_path: Path) -> None:
    """Recursion by reference ends in a line, not in a loop."""
    (line,) = problems(tmp_path, "a: &a [*a]", name="arbstr.yaml")

    assert line.startswith("arbstr.yaml: ")


def test_toml_and_yaml_come_to_the_same(tmp_path: Path) -> None:
    """The format is a matter of taste."""
    as_toml = compiled(tmp_path, ALPHA)
    as_yaml = compiled(
        tmp_path,
        """
        providers:
          alpha: {base_url: "https://alpha.example/v1", models: [gpt-4o], input_rate: 10, output_rate: 30}
        """,
        name="arbstr.yml",
    )

    assert as_toml.providers == as_yaml.providers
    assert as_toml.snapshot == as_yaml.snapshot
