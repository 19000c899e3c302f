"""The register of faults claims no more than is proven: docs/reference/faults.md against the tests that it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.markdown import rows

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "faults.md"

COUNTS = {"A": 15, "B": 32, "C": 31, "D": 16, "E": 32, "F": 24, "G": 16, "H": 32}
"""How many faults each group has. An id is never given to another fault, and none is taken away."""

REASON = re.compile(r"(?:not yet|does not apply): \S.+")
PROOFS = re.compile(r"`([^`]+)`(?:, `([^`]+)`)*")


def groups() -> dict[str, list[list[str]]]:
    """The rows of each table, by the letter in the heading above it."""
    _, *sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    return {section[0]: rows(section)[1:] for section in sections}


def faults() -> Iterator[list[str]]:
    """Every row: id, fault, what is done, proof."""
    for group in groups().values():
        yield from group


def proofs(row: list[str]) -> list[str]:
    """The tests that a row names; none where it gives a reason instead."""
    return [] if REASON.fullmatch(row[3]) else re.findall(r"`([^`]+)`", row[3])


def named_in(path: Path) -> Iterator[str]:
    """The tests of a file as pytest names them, without their parameters."""

    def inside(body: list[ast.stmt], name: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                yield from inside(node.body, f"{name}::{node.name}")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{name}::{node.name}"

    yield from inside(ast.parse(path.read_text()).body, str(path.relative_to(ROOT)))


def all_tests(folder: str = "tests") -> set[str]:
    return {test for path in (ROOT / folder).rglob("test_*.py") for test in named_in(path)}


def test_every_fault_is_listed_once_in_its_place() -> None:
    """All 198 ids, in order, each under the heading of its letter."""
    listed = {letter: [row[0] for row in group] for letter, group in groups().items()}

    assert listed == {letter: [f"{letter}{nth + 1}" for nth in range(count)] for letter, count in COUNTS.items()}
    assert f"{sum(COUNTS.values())} faults" in PAGE.read_text()


def test_every_row_is_proven_or_says_why_it_is_not() -> None:
    """The last cell is tests and nothing else, or one reason; and each row says what is wrong and what is done."""
    unclear = [
        row[0]
        for row in faults()
        if len(row) != 4 or not row[1] or not row[2] or not (REASON.fullmatch(row[3]) or PROOFS.fullmatch(row[3]))
    ]

    assert unclear == []


def test_every_test_that_is_named_exists() -> None:
    """A test that is renamed or removed takes its claim with it."""
    known = all_tests()

    missing = {row[0]: gone for row in faults() if (gone := [name for name in proofs(row) if name not in known])}

    assert missing == {}


def test_no_test_is_named_twice_in_a_row() -> None:
    """Two proofs are two tests."""
    assert [row[0] for row in faults() if len(proofs(row)) != len(set(proofs(row)))] == []


def test_every_test_about_faults_proves_one() -> None:
    """What stands in tests/faults is there for a row of the register."""
    named = {name for row in faults() for name in proofs(row)}

    assert all_tests("tests/faults") - named == set()
