"""What is wrong with a configuration: a line each, all of them at once, and never a secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbstr.config import ConfigError, kinds, load, schema, shape
from arbstr.config.parse import parse
from arbstr.config.problems import Problems, dotted
from arbstr.config.read import read
from tests.config.written import ALPHA, BETA, compiled, problems

_RULE = "[[policies.rules]]\nname = 'code'\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # Unknown keys, with the nearest known one.
        ("[sever]", 'sever: is not a known key; did you mean "server"?'),
        ("[server]\nlistn = 'x'", 'server.listn: is not a known key; did you mean "listen"?'),
        ("[server]\nMAX_BODY = 1", 'server.MAX_BODY: is not a known key; did you mean "max_body"?'),
        ("[store]\nzzz = 1", "store.zzz: is not a known key, expected one of url"),
        (ALPHA + "apikey = 'sk-secret'", 'providers.alpha.apikey: is not a known key; did you mean "api_key"?'),
        ("[resilience.retries]", 'resilience.retries: is not a known key; did you mean "retry"?'),
        ("[budget]\nmax_cost = 1", 'budget.max_cost: is not a known key; did you mean "max_cost_total"?'),
        ('"a.b c" = 1', '"a.b c": is not a known key, expected one of server, store, providers, models, auth, bud'),
        ('"a\\u001b[2J" = 1', '"a\\u001b[2J": is not a known key, expected one of '),
        # Wrong types.
        ("server = 1", "server: is an integer, expected a table"),
        ("[server]\nlisten = 8080", "server.listen: is an integer, expected HOST:PORT such as"),
        (
            "[server]\nmax_in_flight = '7'",
            "server.max_in_flight: is a string, expected a whole number from 1 to 1000000",
        ),
        ("[server]\nmax_in_flight = 1.5", "server.max_in_flight: is a number, expected a whole number from 1 to"),
        ("[server]\nmax_in_flight = true", "server.max_in_flight: is a boolean, expected a whole number from 1 to"),
        (
            "[server]\nallow_unauthenticated = 'true'",
            "server.allow_unauthenticated: is a string, expected true or false",
        ),
        (
            "[server]\nadmin_key = 1234567890",
            'server.admin_key: is an integer, expected a string such as "${ALPHA_KEY}"',
        ),
        ("[logging]\nlevel = 1979-05-27", "logging.level: is a date or time, expected debug, info, warning or error"),
        ("providers = 'alpha'", "providers: is a string, expected a table for each name, or a list"),
        ("providers = 1", "providers: is an integer, expected a table for each name, or a list"),
        ("providers = [1]", "providers[0]: is an integer, expected a table with a name"),
        ("[[providers]]\nurl = 'https://a'", "providers[0].name: is missing, expected a name"),
        ("[[providers]]\nname = 1", "providers[0].name: is an integer, expected a name"),
        ("[providers]\nalpha = 1", "providers.alpha: is an integer, expected a table"),
        ("[policies]\nrules = 1", "policies.rules: is an integer, expected a list"),
        ("[policies]\nrules = [1]", "policies.rules[0]: is an integer, expected a table"),
        # Values out of range.
        ("[server]\nmax_in_flight = 0", "server.max_in_flight: 0 is out of range, expected a whole number from 1 to"),
        ("[server]\ndrain_timeout = '-1s'", 'server.drain_timeout: "-1s" is negative, expected a duration such as'),
        ("[resilience.timeout]\nidle = 0", "resilience.timeout.idle: 0 is no time at all, expected a duration such as"),
        ("[resilience.timeout]\nidle = inf", "resilience.timeout.idle: Infinity is not a finite number, expected"),
        ("[resilience.retry]\nmax_attempts = 0", "resilience.retry.max_attempts: 0 is out of range, expected a whole"),
        (
            "[resilience.retry]\nbackoff_multiplier = 0.5",
            "resilience.retry.backoff_multiplier: 0.5 is out of range, expect",
        ),
        (
            "[resilience.retry]\nretryable_errors = [200]",
            "resilience.retry.retryable_errors[0]: 200 is out of range, expe",
        ),
        (
            "[resilience.retry]\nmax_backoff = 0.1",
            "resilience.retry.max_backoff: is shorter than initial_backoff, expected",
        ),
        (
            ALPHA.replace("10", "-1"),
            "providers.alpha.input_rate: -1 is negative, expected a number of satoshis, 0 or more",
        ),
        (
            ALPHA.replace("10", "nan"),
            "providers.alpha.input_rate: NaN is not a finite number, expected a number of satos",
        ),
        (
            ALPHA.replace("10", "-inf"),
            "providers.alpha.input_rate: -Infinity is not a finite number, expected a number",
        ),
        (
            ALPHA.replace("10", "1e300"),
            "providers.alpha.input_rate: 1E+300 is too much, expected at most 1000000000 sato",
        ),
        # Words that are not on the list.
        (
            "[logging]\nlevel = 'loud'",
            'logging.level: "loud" is not a log level, expected debug, info, warning or error',
        ),
        (
            "[logging]\nformat = 'jsn'",
            'logging.format: "jsn" is not a log format, expected json or text; did you mean "json"',
        ),
        (
            "[server]\nstream_metadata = 'on'",
            'server.stream_metadata: "on" is not known here, expected comment, event or o',
        ),
        (
            ALPHA + "tier = 'standrd'",
            'providers.alpha.tier: "standrd" is not known here, expected local, standard or fronti',
        ),
        (ALPHA + "kind = 'mock'", 'providers.alpha.kind: "mock" is for `serve --mock` alone, expected'),
        (
            ALPHA + "kind = 'opnai'",
            'providers.alpha.kind: "opnai" is not a kind of provider, expected openai, anthropic, azure, oll',
        ),
        (ALPHA + "api = 'completions'", 'providers.alpha.api: "completions" is not an API, expected chat or responses'),
        (ALPHA + "region = 'us-east-1'", "providers.alpha.region: is for providers of kind bedrock, expected no such"),
        (
            ALPHA + "api_version = '1'",
            "providers.alpha.api_version: is for providers of kind azure, expected no such k",
        ),
        (
            ALPHA + "kind = 'gemini'\napi = 'responses'",
            "providers.alpha.api: is for providers of kind openai, expected no such key",
        ),
        # URLs.
        (
            "[store]\nurl = 'x.db'",
            'store.url: is not the URL of an SQLite file, expected "sqlite:///relative/path.db" or',
        ),
        (
            ALPHA.replace("https", "ftp"),
            "providers.alpha.base_url: does not begin with http:// or https://, expected a URL",
        ),
        (
            ALPHA.replace("alpha.example", ""),
            "providers.alpha.base_url: has no host, or no valid port, expected a URL such",
        ),
        (
            ALPHA.replace("/v1", "/v1?a"),
            "providers.alpha.base_url: has a query or fragment in it, expected none: a URL such",
        ),
        (
            ALPHA.replace("alpha.example", "u:p@h"),
            "providers.alpha.base_url: has a user name or password in it, expected n",
        ),
        # Providers.
        (
            "[providers.alpha]",
            'providers.alpha.base_url: is missing, expected its URL such as "https://api.example.com/v1"',
        ),
        (ALPHA + "url = 'https://b/v1'", "providers.alpha.url: is another name for base_url, expected one of the two"),
        (
            ALPHA.replace("input_rate = 10", ""),
            "providers.alpha.input_rate: is missing, expected satoshis per 1,000 input",
        ),
        (
            ALPHA.replace("output_rate = 30", ""),
            "providers.alpha.output_rate: is missing, expected satoshis per 1,000 outp",
        ),
        (
            ALPHA.replace("alpha]", '"a b"]'),
            'providers."a b": "a b" is not a name, expected 1 to 64 of A-Z a-z 0-9 . _ - that',
        ),
        (
            ALPHA.replace("['gpt", "['gpt-4o', 'gpt").replace('["gpt', '["gpt-4o", "gpt'),
            'providers.alpha.models[1]: "gpt-4o" is',
        ),
        (
            ALPHA.replace('"gpt-4o"', '" gpt"'),
            'providers.alpha.models[0]: " gpt" is not the name of a model, expected 1 to',
        ),
        (
            ALPHA.replace('"gpt-4o"', '""'),
            'providers.alpha.models[0]: "" is not the name of a model, expected 1 to 256',
        ),
        (ALPHA.replace('"gpt-4o"', "7"), "providers.alpha.models[0]: is an integer, expected a table with a name"),
        (
            ALPHA + "api_key = ''",
            "providers.alpha.api_key: is empty, expected a key; leave the line out to call without one",
        ),
        (
            "[[providers]]\nname = 'a'\nurl = 'https://a/v1'\n[[providers]]\nname = 'a'",
            'providers[1]: "a" is given twice, expected each name once',
        ),
        # Routes.
        ("[models.x]", "models.x: has no endpoint and no provider lists it, expected primary or endpoints"),
        ("[models.x]\nprimary = {}", "models.x.primary.provider: is missing, expected the name of a provider"),
        ("[models.x]\nfallbacks = ['alpha']", "models.x.fallbacks[0]: is a string, expected a table"),
        (
            ALPHA + "[models.x]\nprimary = { provider = 'alfa' }",
            'models.x.primary.provider: there is no provider "alfa"; did',
        ),
        (
            ALPHA + "[models.x]\nfallbacks = [{ provider = 'alpha' }]",
            "models.x.fallbacks: is given without primary, expect",
        ),
        (
            ALPHA + "[models.x]\nprimary = { provider = 'alpha' }\nendpoints = [{ provider = 'alpha', model = 'y' }]",
            "models.x.endpoints: is given beside primary, expected one of the two",
        ),
        (
            ALPHA + "[models.x]\nprimary = { provider = 'alpha' }\nfallbacks = [{ provider = 'alpha', model = 'x' }]",
            "models.x.fallbacks[0]: is alpha/x once more, expected each endpoint once",
        ),
        (
            ALPHA + "[models.default]\nprimary = { provider = 'alpha' }",
            "models.default.primary.model: is missing, expected",
        ),
        (
            ALPHA + "[models.default]",
            "models.default: has no endpoint and no provider lists it, expected primary or endpoi",
        ),
        # Policies.
        ("[[policies.rules]]", "policies.rules[0].name: is missing, expected a name for the rule"),
        (_RULE + _RULE, 'policies.rules[1].name: "code" is given twice, expected each name once'),
        (_RULE + "keywords = [1]", "policies.rules[0].keywords[0]: is an integer, expected a string"),
        ("[models.x]\nprimary = { provider = 1 }", "models.x.primary.provider: is an integer, expected a name"),
        (
            ALPHA + "[models.x]\nprimary = { provider = 'alpha', model = 1 }",
            "models.x.primary.model: is an integer, expected the name of a model",
        ),
        (f"{'x' * 100} = 1", '"' + "x" * 80 + '…": is not a known key, expected one of server'),
        (_RULE + "keywords = ['']", "policies.rules[0].keywords[0]: is empty, expected a string with something in it"),
        (
            _RULE + "max_sats_per_1k_output = -1",
            "policies.rules[0].max_sats_per_1k_output: -1 is negative, expected a numb",
        ),
        (_RULE + "allowed_models = 'gpt-4o'", "policies.rules[0].allowed_models: is a string, expected a list"),
        # Not yet there.
        (
            "[policies]\ndefault_strategy = 'weighted'",
            'policies.default_strategy: "weighted" is not available in this vers',
        ),
        (
            _RULE + "strategy = 'round_robin'",
            'policies.rules[0].strategy: "round_robin" is not available in this version, ',
        ),
        (
            ALPHA + "[models.gpt-4o]\nstrategy = 'least_latency'",
            'models.gpt-4o.strategy: "least_latency" is not available ',
        ),
        ("[store]\nurl = 'postgresql://db/x'", "store.url: PostgreSQL is not available in this version, expected"),
    ],
)
def test_each_mistake_is_one_line_that_says_where_and_what_was_expected(tmp_path: Path, text: str, line: str) -> None:
    """``file: path.to.key: what is wrong, what was expected``, and nothing follows from it that misleads."""
    (told,) = problems(tmp_path, text)

    assert told.startswith(f"arbstr.toml: {line}")
    assert "expected" in told or "did you mean" in told
    assert "sk-secret" not in told


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """One run shows everything, so that one edit can mend it."""
    text = """
    typo = 1
    [server]
    listen = "everywhere"
    max_body = "much"
    [providers.alpha]
    base_url = "alpha.example"
    api_key = "${ALPHA_KEY}"
    models = ["gpt-4o"]
    input_rate = -1
    [models.x]
    primary = { provider = "beta" }
    [policies]
    default_strategy = "weighted"
    [cache]
    enabled = true
    """

    lines = problems(tmp_path, text)

    assert sorted(line.split(": ")[1] for line in lines) == [
        "cache.enabled",
        "models.x.primary.provider",
        "policies.default_strategy",
        "providers.alpha.api_key",
        "providers.alpha.base_url",
        "providers.alpha.input_rate",
        "providers.alpha.output_rate",
        "server.listen",
        "server.max_body",
        "typo",
    ]


def test_every_required_key_has_words_for_its_absence() -> None:
    """``is missing, expected …`` goes on with what to write, not with an explanation."""
    tables: list[Any] = [shape.ROOT]
    required: list[kinds.Key] = []

    while tables:
        for field in shape.fields(tables.pop()).values():
            below = shape.named(field.kind) or shape.listed(field.kind) or field.kind
            tables += [below] if shape.is_table(below) else []
            required += [field.key] if field.default is msgspec.NODEFAULT else []

    assert required
    assert all(re.match(r"(an?|the) [A-Za-z ]+\Z", key.expected) for key in required)


def test_a_section_may_be_empty(tmp_path: Path) -> None:
    """In YAML a section whose lines are all commented out has no value; that is no mistake."""
    text = "server:\nproviders:\nmodels:\npolicies: {rules: }\nbudget:\n"

    assert compiled(tmp_path, text, name="arbstr.yaml").providers == ()


def test_a_key_without_a_value_is_a_mistake(tmp_path: Path) -> None:
    """But a single key that was left open is told."""
    (line,) = problems(tmp_path, "server: {listen: }", name="arbstr.yaml")

    assert line.startswith("arbstr.yaml: server.listen: is no value, expected HOST:PORT")


@pytest.mark.parametrize(
    "text",
    [
        ALPHA + "api_key = {{ value = '{secret}' }}",
        ALPHA + "api_key = ['{secret}']",
        ALPHA + "api_key = 'two words {secret}'",
        ALPHA + "tier = '{secret}'",
        ALPHA + "kind = '{secret}'",
        ALPHA + "input_rate = '{secret}'",
        ALPHA.replace("https://", "https://{secret}@"),
        ALPHA.replace("/v1", "/v1?key={secret}"),
        ALPHA.replace("https://", "{secret}"),
        ALPHA + "[models.x]\nprimary = {{ provider = '{secret}' }}",
        "[server]\nlisten = '{secret}'\nmax_body = '{secret}'\ndrain_timeout = '{secret}'\nadmin_key = '{secret} '",
        "[store]\nurl = 'postgresql://u:{secret}@db/x'",
        "[providers]\nalpha = '{secret}'",
        "[logging]\nlevel = '{secret}'",
        "api_key = '{secret}",
        "api_key = {secret}",
    ],
)
def test_no_secret_is_in_any_message(tmp_path: Path, text: str) -> None:
    """Whichever line a key was pasted into, literally or by a variable, what is told does not hold it."""
    secret = "sk-proj-Abc123Def456Ghi789Jkl012"
    template = text.replace("[providers.alpha]", "[providers.alpha]").replace("{{", "{").replace("}}", "}")

    literal = problems(tmp_path, template.replace("{secret}", secret))
    by_variable = problems(tmp_path, template.replace("{secret}", "${CANARY}"), environ={"CANARY": secret})

    assert secret not in str(literal + by_variable)
    assert literal
    assert by_variable


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (("server", "listen"), "server.listen"),
        (("models", "gpt-4.1", "fallbacks", 0, "provider"), 'models."gpt-4.1".fallbacks[0].provider'),
        (("a\nb",), '"a\\nb"'),
        (("ключ",), '"ключ"'),
        (("x" * 200,), "x" * 80 + "…"),
    ],
)
def test_paths_are_written_as_in_the_file(path: tuple[str | int, ...], written: str) -> None:
    """On one line, quoted where TOML would quote, and never endless."""
    assert dotted(path).strip('"') == written.strip('"')


_TABLES = (schema.Config, schema.Server, schema.Provider, schema.Model, schema.Route, schema.Endpoint, schema.Policies)
_KEYS = st.sampled_from(
    [name for table in _TABLES for name in shape.fields(table)] + ["name", "budget", "enabled", "x"]
)
_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.decimals()
_TREES = st.recursive(
    _VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5), max_leaves=20
)


@settings(deadline=None)
@given(st.dictionaries(_KEYS, _TREES, max_size=5))
def test_any_tree_is_read_or_refused(tree: dict[str, object]) -> None:
    """Whatever was written, the answer is a configuration or a list of problems: nothing else is ever raised."""
    problems = Problems("file")

    config = read(tree, problems)

    assert config is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=60) | st.text("[]{}:-#&*!|>'\"=\n ab1.,${}").map(str.encode), st.sampled_from([".toml", ".yaml"])
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    """A file of any bytes at all ends in a configuration or in lines, never in a traceback."""
    path = tmp_path / f"arbstr{suffix}"
    path.write_bytes(data)

    lines = _told(path)

    assert all(line.startswith(str(path)) for line in lines)


def _told(path: Path) -> list[str]:
    """The lines of what is wrong with the file; none if nothing is."""
    try:
        load(path, environ={})
    except ConfigError as error:
        return str(error).split("\n")
    return []


def test_a_clean_configuration_has_no_problem(tmp_path: Path) -> None:
    """The texts that the mistakes above were made from are right themselves."""
    assert len(compiled(tmp_path, ALPHA + BETA + _RULE).providers) == 2
    assert parse(ALPHA.encode(), "TOML")
