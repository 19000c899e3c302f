"""The documentation keeps its promises: what the code has is in the reference, and the other way round."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from arbstr.cli.commands import arbstr as command_line
from arbstr.config import shape
from arbstr.config.parse import parse
from arbstr.config.problems import Problems
from arbstr.config.read import read
from arbstr.domain.errors import FailureKind, GatewayError, UpstreamRejected
from arbstr.edge import limits
from arbstr.edge.app import ROUTES
from arbstr.policy.verdict import VERDICTS
from tests.markdown import blocks, prose, rows

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

each_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def reference(name: str) -> str:
    return (DOCS / "reference" / name).read_text()


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


# Links


def headings(page: Path) -> set[str]:
    """The anchors of a page, as the usual renderers make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text()))
    return [target for target in targets if "://" not in target]


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to another page finds the file, and the heading where it names one."""
    broken = []
    for target in links(page):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in headings(file)):
            broken.append(target)

    assert broken == []


def test_every_page_can_be_found() -> None:
    """From docs/README.md every page can be reached by links."""
    found: set[Path] = set()
    waiting = [DOCS / "README.md"]

    while waiting:
        page = waiting.pop()
        if page not in found and page.suffix == ".md" and page.exists():
            found.add(page)
            waiting += [(page.parent / target.partition("#")[0]).resolve() for target in links(page)]

    assert [str(page.relative_to(ROOT)) for page in PAGES if DOCS in page.parents and page not in found] == []


# Errors


def errors(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    for each in kind.__subclasses__():
        yield each
        yield from errors(each)


def test_every_error_code_is_in_the_reference() -> None:
    """Each code with its status is a row of the table, and each row is a code that exists."""
    codes = {(each.status, each.code) for each in errors() if each is not UpstreamRejected}
    codes |= {(each.status, each.code) for each in vars(limits).values() if isinstance(each, limits.Refusal)}
    codes.add((400, "context_length_exceeded"))  # an UpstreamRejected, named by policy/verdict.py

    documented = {(int(row[0]), row[1].strip("`")) for row in rows(section(reference("errors.md"), "Codes"))[1:]}

    assert documented == codes


def test_the_verdict_table_is_the_one_that_is_used() -> None:
    """What the page says of each kind of failure is what policy/verdict.py does."""
    used = {}
    for kind, verdict in VERDICTS.items():
        rejected = verdict.answer is UpstreamRejected
        answer = "passed through" if rejected else f"{verdict.answer.status} `{verdict.answer.code}`"
        counts = "yes" if verdict.counts else "no"
        used[f"`{kind.value}`"] = [verdict.retry.value, verdict.fall_back.value, counts, verdict.park.value, answer]

    table = rows(section(reference("errors.md"), "When a provider fails"))[1:]

    assert {row[0]: row[2:] for row in table} == used
    assert len(used) == len(FailureKind)


# HTTP


def test_every_route_is_in_the_reference() -> None:
    """The table of paths is the route table."""
    served = {
        (method, f"{path}{{id}}" if path.endswith("/") else path)
        for path, route in ROUTES.items()
        for method in set(route.methods) - {"HEAD"}
    }
    served = (served - {("POST", "/admin/keys/{id}")}) | {("POST", "/admin/keys/{id}/rotate")}
    methods = ("GET", "POST", "PATCH", "DELETE")

    documented = {(row[0], row[1].strip("`")) for row in rows(reference("http.md")) if row[0] in methods}

    assert documented == served


def test_every_header_is_in_the_reference() -> None:
    """Each header of ours that the code reads or writes is described, and no other."""
    code = [*(ROOT / "src/arbstr/edge").rglob("*.py"), *(ROOT / "src/arbstr/pipeline").rglob("*.py")]
    used = {
        name.lower() for path in code for name in re.findall(r"\bx-arbstr-[a-z-]+", path.read_text(), re.IGNORECASE)
    }

    table = rows(section(reference("http.md"), "Request headers")) + rows(
        section(reference("http.md"), "Response headers")
    )
    documented = {name.lower() for row in table for name in re.findall(r"`(x-arbstr-[\w-]+)`", row[0], re.IGNORECASE)}

    assert documented == used


# Command line


def test_every_command_and_option_is_in_the_reference() -> None:
    """Each command has a heading, each of its options stands beneath it, and there is no other command."""
    text = reference("cli.md")
    commands = set(command_line.commands)

    missing = {
        f"{name} {option}"
        for name, command in command_line.commands.items()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if f"`{option}" not in text
    }

    assert missing == set()
    assert set(re.findall(r"^#+ `?arbstr (\w+)", text, re.MULTILINE)) == commands


# Configuration


def keys(kind: Any = shape.ROOT, path: str = "") -> Iterator[str]:
    """The full name of every key, with ``*`` for names that the operator chooses."""
    for field in shape.fields(kind).values():
        inner, name = field.kind, f"{path}{field.name}"
        if shape.named(inner) is not None:
            inner, name = shape.named(inner), f"{name}.*"
        elif shape.listed(inner) is not None:
            inner = shape.listed(inner)
        if shape.is_table(inner):
            yield from keys(inner, f"{name}.")
        else:
            yield name


def test_every_configuration_key_is_in_the_reference() -> None:
    """The last part of each key's name stands in the page as code."""
    text = reference("config.md")

    missing = [key for key in keys() if f"`{key.removesuffix('.*').rpartition('.')[2]}`" not in text]

    assert missing == []


@each_page
def test_keys_that_pages_mention_exist(page: Path) -> None:
    """`[section] key` in a sentence is a key of the schema, or one that is planned."""
    mentioned = re.findall(r"`\[([a-z_.]+)\]\s+(\w+)", page.read_text())

    strange = [(table, key) for table, key in mentioned if f"{table}.{key}" not in set(keys())]

    assert strange == []


@each_page
def test_configuration_examples_are_valid(page: Path) -> None:
    """Every example in TOML or YAML is read without a problem; what it leaves out may stand elsewhere."""
    problems = Problems(page.name)
    examples = [parse(text.encode(), "TOML") for text in blocks(page.read_text(), "toml")]
    examples += [
        parse(text.encode(), "YAML") for text in blocks(page.read_text(), "yaml") if "scrape_configs" not in text
    ]

    for tree in examples:
        if set(tree) <= shape.SECTIONS:
            read(tree, problems)

    problems.raise_if_any()


# Examples


@each_page
def test_python_examples_are_python(page: Path) -> None:
    """Every example in Python can at least be parsed."""
    for text in blocks(page.read_text(), "python"):
        assert ast.parse(text).body


@each_page
def test_metrics_that_pages_mention_exist(page: Path) -> None:
    """Whatever looks like the name of a metric is one, or a field of the streams' metadata."""
    known = set(re.findall(r"^\| `(arbstr_\w+)` \|", reference("metrics.md"), re.MULTILINE))
    known |= {"arbstr_cost_sats", "arbstr_cost_usd", "arbstr_latency_ms", "arbstr_request_id", "arbstr_provider"}

    mentioned = set(re.findall(r"\barbstr_[a-z_]+", page.read_text()))

    assert mentioned <= known


@each_page
def test_make_targets_that_pages_mention_exist(page: Path) -> None:
    """Nobody is told to run a `make` target that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    mentioned = set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE))

    assert mentioned <= targets
