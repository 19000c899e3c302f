"""``${NAME}`` inside strings, and variables over the file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.config.environment import key_variable, substitute
from arbstr.config.problems import Problems
from arbstr.domain.money import Rates
from arbstr.domain.routing import Strategy
from tests.config.written import ALPHA, BETA, compiled, problems

_PLAIN = st.text(st.characters(exclude_characters="$", codec="utf-8"))


@given(_PLAIN, _PLAIN, _PLAIN)
def test_a_reference_is_replaced_wherever_it_stands(before: str, value: str, after: str) -> None:
    """What is around it stays, and what comes in is not looked at again."""
    tree = {"key": [f"{before}${{NAME}}{after}${{NAME}}"]}
    filled = substitute(tree, {"NAME": value + "${NAME}"}, Problems("file"))

    assert filled == {"key": [f"{before}{value}${{NAME}}{after}{value}${{NAME}}"]}


@given(st.text(st.characters(codec="utf-8")))
def test_a_doubled_sign_makes_any_text_literal(text: str) -> None:
    """Every text can be written: ``${`` as ``$${``."""
    written = text.replace("${", "$${")

    assert substitute({"key": written}, {}, Problems("file")) == {"key": text}


@pytest.mark.parametrize("text", ["$", "$NAME", "{NAME}", "$ {NAME}", "a$", "${"[0] + "}"])
def test_other_signs_are_text(text: str) -> None:
    """A dollar sign without a brace stands for itself."""
    assert substitute({"key": text}, {}, Problems("file")) == {"key": text}


def test_a_variable_that_is_not_set_is_named_with_its_key(tmp_path: Path) -> None:
    """One line names the variable and the place."""
    text = ALPHA + 'api_key = "${ALPHA_KEY}"'

    assert problems(tmp_path, text) == [
        "arbstr.toml: providers.alpha.api_key: ${ALPHA_KEY} is not set, expected an environment variable ALPHA_KEY"
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${NAME", "${NA ME}", "${1}", "${NAME:-x}", "a${b.c}"])
def test_a_broken_reference_is_refused(tmp_path: Path, text: str) -> None:
    """What begins like a reference must be one."""
    assert problems(tmp_path, f"{ALPHA}api_key = '{text}'", environ={"NAME": "x"}) == [
        'arbstr.toml: providers.alpha.api_key: has a "${" without a name and "}", '
        "expected ${NAME}, or $${ for a literal ${"
    ]


def test_numbers_booleans_and_lists_may_come_from_variables(tmp_path: Path) -> None:
    """A reference is read as the type that its key has."""
    text = """
    [server]
    max_in_flight = "${MANY}"
    allow_unauthenticated = "${OPEN}"
    [providers.alpha]
    base_url = "https://${HOST}/v1"
    models = "${MODELS}"
    input_rate = "${RATE}"
    output_rate = 1
    """
    environ = {"MANY": "7", "OPEN": "true", "HOST": "alpha.example", "MODELS": "a, b", "RATE": "0.25"}

    config = compiled(tmp_path, text, environ=environ)

    assert config.snapshot.max_in_flight == 7
    assert config.allow_unauthenticated is True
    assert config.providers[0].base_url == "https://alpha.example/v1"
    assert sorted(config.snapshot.routes) == ["a", "b"]
    assert config.providers[0].deployments[0].rates == Rates.per_thousand(input=Decimal("0.25"), output=Decimal(1))


def test_the_environment_overrides_the_file_and_flags_override_both(tmp_path: Path) -> None:
    """Defaults, file, environment, flags: the last one that speaks is heard."""
    text = 'server = { listen = "127.0.0.1:1", max_in_flight = 1 }\nlogging = { level = "error" }'
    environ = {"ARBSTR_SERVER__LISTEN": "127.0.0.1:2", "ARBSTR_LOGGING__LEVEL": "warning"}

    config = compiled(tmp_path, text, environ=environ, flags={("server", "listen"): ("--listen", "[::1]:3")})

    assert (config.host, config.port) == ("::1", 3)
    assert config.log.level == "warning"
    assert config.log.format == "json"
    assert config.snapshot.max_in_flight == 1


def test_variables_reach_into_providers_models_and_routes(tmp_path: Path) -> None:
    """Names are matched by their letters and digits, whatever stands between them."""
    text = ALPHA.replace("alpha]", "my-alpha]") + '[models."gpt-4o"]\n'
    environ = {
        "ARBSTR_PROVIDERS__MY_ALPHA__URL": "https://other.example/v1",
        "ARBSTR_PROVIDERS__MY_ALPHA__TIMEOUT__CONNECT": "1s",
        "ARBSTR_PROVIDERS__MY_ALPHA__MODELS__GPT_4O__CONTEXT_WINDOW": "1000",
        "ARBSTR_MODELS__GPT_4O__STRATEGY": "priority",
    }

    config = compiled(tmp_path, text, environ=environ)

    assert config.providers[0].base_url == "https://other.example/v1"
    assert config.providers[0].timeouts.connect == 1.0
    assert config.providers[0].deployments[0].context_window == 1000
    assert config.snapshot.routes["gpt-4o"].strategy is Strategy.PRIORITY


def test_variables_reach_into_lists_of_named_tables(tmp_path: Path) -> None:
    """``[[providers]]`` is the same as ``[providers.NAME]``."""
    text = ALPHA.replace("[providers.alpha]", "[[providers]]\nname = 'alpha'")

    config = compiled(tmp_path, text, environ={"ARBSTR_PROVIDERS__ALPHA__TIER": "local"})

    assert config.providers[0].tier.value == "local"


def test_an_alias_in_the_environment_overrides_the_name_in_the_file(tmp_path: Path) -> None:
    """``url`` and ``base_url`` are one key, whoever writes which."""
    text = ALPHA.replace("base_url", "url")

    config = compiled(tmp_path, text, environ={"ARBSTR_PROVIDERS__ALPHA__BASE_URL": "https://other.example/v1"})

    assert config.providers[0].base_url == "https://other.example/v1"


def test_tables_and_lists_are_written_inline(tmp_path: Path) -> None:
    """What has more than one part is written as TOML writes it on a line."""
    environ = {
        "ARBSTR_MODELS__FAST__PRIMARY": '{ provider = "alpha", model = "gpt-4o" }',
        "ARBSTR_POLICIES__RULES": '[{ name = "code", keywords = ["code"] }]',
        "ARBSTR_RESILIENCE__RETRY__RETRYABLE_ERRORS": "500, 503",
    }

    snapshot = compiled(tmp_path, ALPHA, environ=environ).snapshot

    assert snapshot.routes["fast"].deployments[0].name == "alpha/gpt-4o"
    assert snapshot.rules[0].keywords == ("code",)
    assert snapshot.retry.retryable_statuses == {500, 503}


def test_a_whole_provider_may_come_from_the_environment(tmp_path: Path) -> None:
    """A container needs no file of its own for each provider."""
    environ = {
        "ARBSTR_PROVIDERS__ALPHA__BASE_URL": "https://alpha.example/v1",
        "ARBSTR_PROVIDERS__ALPHA__MODELS": "gpt-4o",
        "ARBSTR_PROVIDERS__ALPHA__INPUT_RATE": "1",
        "ARBSTR_PROVIDERS__ALPHA__OUTPUT_RATE": "1e0",
    }

    assert list(compiled(tmp_path, "", environ=environ).snapshot.routes) == ["gpt-4o"]


@pytest.mark.parametrize(
    "name",
    [
        "ARBSTR_CONFIG",
        "ARBSTR_ADMIN_KEY",
        "ARBSTR_LISTEN",
        "ARBSTR_",
        "ARBSTR_MY__THING",
        "ARBSTR_ALPHA_API_KEY",
        "SERVER__LISTEN",
    ],
)
def test_other_variables_are_left_alone(tmp_path: Path, name: str) -> None:
    """Only a section's name and two underscores make a variable ours."""
    assert compiled(tmp_path, ALPHA, environ={name: "x"}).port == 8080


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SERVER__LISTN", "x", 'server.listn: is not a known key; did you mean "listen"?'),
        (
            "SERVER__LISTEN",
            "x",
            "server.listen: the value of ARBSTR_SERVER__LISTEN is not an address, expected HOST:PORT",
        ),
        ("SERVER__LISTEN__X", "x", "server.listen: is a table, expected HOST:PORT"),
        ("SERVER__MAX_BODY", "x", "server.max_body: the value of ARBSTR_SERVER__MAX_BODY is not a size, expected"),
        ("CACHE__ENABLED", "true", "cache.enabled: is not available in this version, expected false or no such key"),
        (
            "AUTH__REQUIRED",
            "yes",
            "auth.required: the value of ARBSTR_AUTH__REQUIRED does not fit, expected true or fal",
        ),
        (
            "POLICIES__RULES",
            "[{",
            "policies.rules: the value of ARBSTR_POLICIES__RULES cannot be read, expected a list",
        ),
        (
            "SERVER__MAX_IN_FLIGHT",
            "x",
            "server.max_in_flight: the value of ARBSTR_SERVER__MAX_IN_FLIGHT does not fit, expected a whole number",
        ),
        (
            "PROVIDERS__ALPHA__TIER__X",
            "x",
            "providers.alpha.tier: cannot be filled in by ARBSTR_PROVIDERS__ALPHA__TIER__X, expected a table there",
        ),
    ],
)
def test_a_variable_that_is_wrong_is_told_as_the_origin(
    tmp_path: Path, variable: str, value: str, message: str
) -> None:
    """The line begins with the variable, as it would with the file, and does not show its value."""
    (line,) = problems(tmp_path, ALPHA + 'tier = "local"', environ={f"ARBSTR_{variable}": value})

    assert line.startswith(f"ARBSTR_{variable}: {message}")


def test_a_list_that_is_no_table_of_names_is_not_filled_in(tmp_path: Path) -> None:
    """The variable and the list itself are both told of."""
    lines = problems(tmp_path, "providers = [1]", environ={"ARBSTR_PROVIDERS__ALPHA__TIER": "local"})

    assert lines == [
        "ARBSTR_PROVIDERS__ALPHA__TIER: providers: "
        "cannot be filled in by ARBSTR_PROVIDERS__ALPHA__TIER, expected a table there",
        "arbstr.toml: providers[0]: is an integer, expected a table with a name",
    ]


@pytest.mark.parametrize("value", ["false", "False", "0"])
def test_a_planned_key_may_be_switched_off_from_the_environment(tmp_path: Path, value: str) -> None:
    """A deployment may say already that it does not want what is to come."""
    assert compiled(tmp_path, ALPHA, environ={"ARBSTR_CACHE__ENABLED": value}).port == 8080


@pytest.mark.parametrize(
    ("provider", "variable"),
    [("alpha", "ARBSTR_ALPHA_API_KEY"), ("my-alpha.2", "ARBSTR_MY_ALPHA_2_API_KEY"), ("a--b_", "ARBSTR_A_B_API_KEY")],
)
def test_a_provider_has_a_variable_for_its_key(provider: str, variable: str) -> None:
    """Its name in upper case, with one underscore for all but letters and digits."""
    assert key_variable(provider) == variable


def test_the_convention_serves_where_no_key_is_written(tmp_path: Path) -> None:
    """A written key comes first, the variable second, and an empty variable is none."""
    text = ALPHA + "api_key = 'sk-literal-key'" + BETA + "[providers.gamma]\nurl = 'https://gamma.example/v1'"
    names = ("ALPHA", "BETA", "GAMMA")
    environ = {f"ARBSTR_{name}_API_KEY": f"sk-{name}-convention" if name != "GAMMA" else "" for name in names}

    keys = [
        (spec.key_source, spec.api_key.reveal() if spec.api_key else None)
        for spec in compiled(tmp_path, text, environ=environ).providers
    ]

    assert keys == [("literal", "sk-literal-key"), ("ARBSTR_BETA_API_KEY", "sk-BETA-convention"), ("none", None)]


def test_the_source_of_a_key_is_remembered(tmp_path: Path) -> None:
    """A reference is named as it was written, a variable over the file by its own name."""
    text = ALPHA + "api_key = '${ONE}${TWO}'" + BETA
    environ = {"ONE": "sk-1234", "TWO": "567890", "ARBSTR_PROVIDERS__BETA__API_KEY": "sk-beta-1234"}

    alpha, beta = compiled(tmp_path, text, environ=environ).providers

    assert alpha.api_key is not None
    assert (alpha.key_source, alpha.api_key.reveal()) == ("${ONE}${TWO}", "sk-1234567890")
    assert beta.key_source == "ARBSTR_PROVIDERS__BETA__API_KEY"


def test_two_names_that_share_a_key_variable_are_refused(tmp_path: Path) -> None:
    """Neither may be called with the other's key by accident."""
    text = ALPHA.replace("alpha]", "my-alpha]") + ALPHA.replace("alpha]", "my_alpha]")

    assert problems(tmp_path, text) == [
        "arbstr.toml: providers.my_alpha: shares the key variable ARBSTR_MY_ALPHA_API_KEY with my-alpha, "
        "expected another name"
    ]


@pytest.mark.parametrize("key", ["sk secret", "sk-secret\n", "sk-sécret", "sk-secret\r\nX-Evil: 1", "s" * 20_000])
def test_a_key_that_cannot_stand_in_a_header_is_refused(tmp_path: Path, key: str) -> None:
    """A line end from a file, or worse, is told without being shown."""
    by_convention = problems(tmp_path, ALPHA, environ={"ARBSTR_ALPHA_API_KEY": key})
    by_reference = problems(tmp_path, ALPHA + "api_key = '${KEY}'", environ={"KEY": key})

    assert "has characters in it that no key has" in by_convention[0]
    assert "has characters in it that no key has" in by_reference[0]
    assert key not in str(by_convention + by_reference)
