"""docs/reference/config.md says what is true."""

from __future__ import annotations

import re
from pathlib import Path

from arbstr.config import money, schema, shape
from tests.config import reference
from tests.config.written import compiled, problems


def test_the_tables_are_those_of_the_schema() -> None:
    """Every key is documented with its type, default and meaning: ``python -m tests.config.reference`` writes them."""
    _, written, _ = reference.page()

    assert written.strip() == reference.tables().strip()


def test_every_key_has_a_line() -> None:
    """No table of the schema is left out, wherever it is nested."""
    tables = reference.tables()

    missing = [
        field.name for table in _tables(schema.Config) for field in _lines(table) if f"| `{field.name}`" not in tables
    ]

    assert missing == []


def test_every_key_says_what_it_means() -> None:
    """A help text is a sentence."""
    helps = [field.key.help for table in _tables(schema.Config) for field in shape.fields(table).values()]

    assert [help for help in helps if not help.endswith(".") or len(help) < 5] == []


def test_the_complete_example_is_one(tmp_path: Path) -> None:
    """The page's configuration runs, and its sentence on what can be asked for is true."""
    (text,) = re.findall(r"```toml\n(.*?)```", reference.PAGE.read_text(), re.DOTALL)

    snapshot = compiled(tmp_path, text, environ={"ALPHA_KEY": "sk-0123456789"}).snapshot

    assert {name: [each.provider for each in route.deployments] for name, route in snapshot.routes.items()} == {
        "gpt-4o": ["alpha"],
        "gpt-4o-mini": ["alpha", "local"],
        "assistant": ["alpha", "local"],
    }


def test_the_yaml_example_is_the_same_provider(tmp_path: Path) -> None:
    """Both formats of the page come to the same."""
    (toml,) = re.findall(r"```toml\n(.*?)```", reference.PAGE.read_text(), re.DOTALL)
    (yaml,) = re.findall(r"```yaml\n(.*?)```", reference.PAGE.read_text(), re.DOTALL)
    environ = {"ALPHA_KEY": "sk-0123456789"}

    in_yaml = compiled(tmp_path, yaml, name="arbstr.yaml", environ=environ).providers[0]

    assert in_yaml.deployments == compiled(tmp_path, toml, environ=environ).snapshot.providers[0].deployments


def test_the_variables_shown_are_understood(tmp_path: Path) -> None:
    """The examples of environment variables do what they seem to."""
    (toml,) = re.findall(r"```toml\n(.*?)```", reference.PAGE.read_text(), re.DOTALL)
    lines = re.findall(r"^(ARBSTR_\w+__\w+)=(.*)$", reference.PAGE.read_text(), re.MULTILINE)

    config = compiled(tmp_path, toml, environ=dict(lines) | {"ALPHA_KEY": "sk-0123456789"})

    assert len(lines) == 3
    assert config.port == 9000
    assert config.snapshot.retry.max_attempts == 2


def test_the_error_lines_shown_are_real(tmp_path: Path) -> None:
    """The three lines of the page are what such a file is answered with."""
    text = """
    [server]
    listn = "127.0.0.1:8080"
    [providers.alpha]
    base_url = "https://alpha.example/v1"
    input_rate = -1
    [providers.beta]
    base_url = "https://beta.example/v1"
    api_key = "${BETA_KEY}"
    """

    told = problems(tmp_path, text)

    assert sorted(told) == sorted(re.findall(r"^arbstr\.toml: .*$", reference.PAGE.read_text(), re.MULTILINE))


def _tables(table: type) -> list[type]:
    """The table and all that are below it."""
    inner = [
        shape.named(field.kind) or shape.listed(field.kind) or field.kind for field in shape.fields(table).values()
    ]
    return [table, *(each for kind in inner if shape.is_table(kind) for each in _tables(kind))]


def _lines(table: type) -> list[shape.Field]:
    """The keys of a table that are no tables themselves."""
    fields = shape.fields(table).values() if table is not schema.Config else ()
    with_own_section = {schema.Rule, money.Source}
    return [
        field for field in fields if not shape.is_table(field.kind) and shape.listed(field.kind) not in with_own_section
    ]
