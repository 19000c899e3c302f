"""From a configuration to routes, rates, timeouts and settings."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbstr.config.compile import keys_missing
from arbstr.config.load import Flags
from arbstr.config.mock import load_mock
from arbstr.dialects.envelopes import failure_from_response
from arbstr.domain.limits import Limits
from arbstr.domain.money import PicoSats, Rates
from arbstr.domain.routing import (
    BreakerSettings,
    Commit,
    RetrySettings,
    Snapshot,
    Strategy,
    StreamMetadata,
    Tier,
    Timeouts,
)
from arbstr.policy.verdict import VERDICTS, Retry
from tests.config.written import ALPHA, BETA, compiled

_ADMIN = "admin_key = '${K}'"


def test_nothing_at_all_is_every_default(tmp_path: Path) -> None:
    """An empty file is a configuration: the documented defaults, and no providers."""
    config = compiled(tmp_path, "")

    assert config.snapshot == Snapshot(routes={})
    assert (config.host, config.port, config.drain_timeout) == ("127.0.0.1", 8080, 30.0)
    assert (config.log.level, config.log.format) == ("info", "json")
    assert config.store == tmp_path / "arbstr.db"
    assert config.source == tmp_path / "arbstr.toml"
    assert config.secrets == ()


def test_every_key_has_its_effect(tmp_path: Path) -> None:
    """What is written is what the gateway runs on."""
    text = """
    [server]
    listen = "[::1]:9000"
    admin_key = "admin-0123456789"
    max_body = "1MiB"
    max_in_flight = 7
    drain_timeout = 0
    stream_metadata = "event"
    trusted_proxies = ["10.0.0.0/8", "::1"]
    [store]
    url = "sqlite:////var/lib/arbstr/log.db"
    [policies]
    default_strategy = "priority"
    [resilience.retry]
    max_attempts = 5
    initial_backoff = "1s"
    max_backoff = "2s"
    backoff_multiplier = 1.5
    retryable_errors = [503]
    [resilience.circuit_breaker]
    failure_threshold = 4
    success_threshold = 2
    timeout = "1m"
    half_open_max_requests = 3
    [resilience.timeout]
    request = "1h"
    [limits]
    rpm = 600
    tpm = 1_000_000
    max_parallel = 50
    [logging]
    level = "warning"
    format = "text"
    """

    config = compiled(tmp_path, text)

    assert config.snapshot == Snapshot(
        routes={},
        retry=RetrySettings(
            max_attempts=5,
            initial_backoff=1.0,
            max_backoff=2.0,
            backoff_multiplier=1.5,
            retryable_statuses=frozenset({503}),
        ),
        breaker=BreakerSettings(failure_threshold=4, success_threshold=2, timeout=60.0, half_open_max_requests=3),
        request_timeout=3600.0,
        max_body=1024**2,
        max_in_flight=7,
        stream_metadata=StreamMetadata.EVENT,
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("::1")),
        limits=Limits(rpm=600, tpm=1_000_000, max_parallel=50),
    )
    assert (config.host, config.port, config.drain_timeout) == ("::1", 9000, 0.0)
    assert config.store == Path("/var/lib/arbstr/log.db")
    assert (config.log.level, config.log.format) == ("warning", "text")
    assert [secret.reveal() for secret in config.secrets] == ["admin-0123456789"]


def test_a_model_that_two_providers_list_has_both_as_candidates(tmp_path: Path) -> None:
    """Without a route, everybody who lists a model may serve it, by the default strategy."""
    snapshot = compiled(tmp_path, BETA + ALPHA).snapshot

    route = snapshot.routes["gpt-4o"]

    assert [each.name for each in route.deployments] == ["beta/gpt-4o", "alpha/gpt-4o"]
    assert route.strategy is Strategy.CHEAPEST
    assert snapshot.default_route is None


@pytest.mark.parametrize("models", ['["a", "b"]', "{ a = {}, b = {} }", '[{ name = "a" }, "b"]'])
def test_models_are_a_list_of_names_or_tables(tmp_path: Path, models: str) -> None:
    """Both forms say the same, and may be mixed."""
    snapshot = compiled(tmp_path, ALPHA.replace('["gpt-4o"]', models)).snapshot

    assert list(snapshot.routes) == ["a", "b"]


def test_a_model_has_rates_name_window_and_timeouts_of_its_own(tmp_path: Path) -> None:
    """What a model's table says comes first, then the provider, then the general settings."""
    text = """
    [resilience.timeout]
    connect = 1
    first_token = 2
    answer = 3
    idle = 4
    [providers.alpha]
    base_url = "https://alpha.example/v1"
    tier = "frontier"
    input_rate = 10
    output_rate = 30
    base_fee = 1
    timeout = { first_token = 20, answer = "30s" }
    [providers.alpha.models.plain]
    [providers.alpha.models.special]
    upstream_model = "special-2026"
    input_rate = 0.5
    base_fee = 0
    context_window = 1000
    timeout = { answer = "5m" }
    """

    plain, special = compiled(tmp_path, text).providers[0].deployments

    assert plain.rates == Rates.per_thousand(input=Decimal(10), output=Decimal(30), base_fee=Decimal(1))
    assert plain.timeouts == Timeouts(connect=1.0, first_token=20.0, answer=30.0, idle=4.0)
    assert (plain.name, plain.tier, plain.context_window) == ("alpha/plain", Tier.FRONTIER, None)
    assert special.rates == Rates.per_thousand(input=Decimal("0.5"), output=Decimal(30))
    assert special.timeouts == Timeouts(connect=1.0, first_token=20.0, answer=300.0, idle=4.0)
    assert (special.name, special.context_window) == ("alpha/special-2026", 1000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.decimals(min_value=0, max_value=10**6, places=9), st.sampled_from(["arbstr.toml", "arbstr.yaml"]))
def test_rates_are_exact_to_nine_decimal_places(tmp_path: Path, rate: Decimal, name: str) -> None:
    """What is charged is what was written: no binary fraction comes between, in either format."""
    written = f"{rate:f}" if "." in f"{rate:f}" else f"{rate:f}.0"
    toml = ALPHA.replace("= 10", f"= {written}")
    yaml = f"providers: {{alpha: {{url: 'https://a/v1', models: [m], input_rate: {written}, output_rate: 0}}}}"

    (deployment,) = compiled(tmp_path, toml if name.endswith("toml") else yaml, name=name).providers[0].deployments

    assert deployment.rates is not None
    assert deployment.rates.input == PicoSats(int(rate * 10**9))


def test_a_route_names_primary_and_fallbacks_in_order(tmp_path: Path) -> None:
    """They are tried as written; a provider need not list the model, and an endpoint's default is the route's name."""
    text = f"""
    {ALPHA}
    {BETA}
    [models."assistant"]
    primary = {{ provider = "beta", model = "other" }}
    fallbacks = [{{ provider = "alpha", model = "gpt-4o" }}, {{ provider = "alpha" }}]
    commit = "complete"
    """

    route = compiled(tmp_path, text).snapshot.routes["assistant"]

    assert [each.name for each in route.deployments] == ["beta/other", "alpha/gpt-4o", "alpha/assistant"]
    assert route.strategy is Strategy.PRIORITY
    assert route.commit is Commit.COMPLETE


@pytest.mark.parametrize("written", ["cheapest", "lowest_cost", "cost"])
def test_strategies_have_aliases(tmp_path: Path, written: str) -> None:
    """A route's strategy wins over what its form stands for, by any of its names."""
    text = f"{ALPHA}[models.x]\nprimary = {{ provider = 'alpha' }}\nstrategy = '{written}'"

    assert compiled(tmp_path, text).snapshot.routes["x"].strategy is Strategy.CHEAPEST


def test_endpoints_are_ordered_by_the_default_strategy(tmp_path: Path) -> None:
    """Candidates on equal terms are a matter of price, unless the policies say otherwise."""
    text = f"{ALPHA}{BETA}[models.x]\nendpoints = [{{ provider = 'beta' }}, {{ provider = 'alpha' }}]\n"
    by_price = compiled(tmp_path, text).snapshot.routes["x"]
    by_order = compiled(tmp_path, text + "[policies]\ndefault_strategy = 'priority'").snapshot.routes["x"]

    assert [each.name for each in by_price.deployments] == ["beta/x", "alpha/x"]
    assert by_price.strategy is Strategy.CHEAPEST
    assert by_order.strategy is Strategy.PRIORITY


def test_a_route_without_endpoints_changes_how_but_not_who(tmp_path: Path) -> None:
    """The candidates stay those that list the model."""
    text = f"{ALPHA}{BETA}[models.gpt-4o]\nstrategy = 'priority'\ncommit = 'complete'"

    route = compiled(tmp_path, text).snapshot.routes["gpt-4o"]

    assert [each.provider for each in route.deployments] == ["alpha", "beta"]
    assert (route.strategy, route.commit) == (Strategy.PRIORITY, Commit.COMPLETE)


@pytest.mark.parametrize("model", ["public", "upstream-name"])
def test_an_endpoint_finds_a_listed_model_by_either_name(tmp_path: Path, model: str) -> None:
    """The rates and limits of a listed model hold however a route names it."""
    text = f"""
    {ALPHA.replace('["gpt-4o"]', '{ public = { upstream_model = "upstream-name", input_rate = 1 } }')}
    [models.x]
    primary = {{ provider = "alpha", model = "{model}" }}
    """

    (deployment,) = compiled(tmp_path, text).snapshot.routes["x"].deployments

    assert deployment.model == "upstream-name"
    assert deployment.rates is not None
    assert deployment.rates.input == 10**9


def test_the_default_route_takes_what_nobody_lists(tmp_path: Path) -> None:
    """It is no model of its own."""
    text = ALPHA + "[models.default]\nprimary = { provider = 'alpha', model = 'gpt-4o' }"

    snapshot = compiled(tmp_path, text).snapshot

    assert list(snapshot.routes) == ["gpt-4o"]
    assert snapshot.default_route is not None
    assert [each.name for each in snapshot.default_route.deployments] == ["alpha/gpt-4o"]


def test_a_provider_has_each_of_its_deployments_once(tmp_path: Path) -> None:
    """However many routes lead to a model, it is one deployment; what only a route names is one too."""
    text = f"""
    {ALPHA}
    [models.x]
    endpoints = [{{ provider = "alpha", model = "gpt-4o" }}, {{ provider = "alpha", model = "unlisted" }}]
    [models.y]
    primary = {{ provider = "alpha", model = "unlisted" }}
    """

    config = compiled(tmp_path, text)

    assert [each.model for each in config.providers[0].deployments] == ["gpt-4o", "unlisted"]
    assert config.snapshot.providers[0].deployments == config.providers[0].deployments


def test_rules_keep_their_order_and_their_limits(tmp_path: Path) -> None:
    """A rule is what it says; nothing said is nothing restricted."""
    text = """
    [[policies.rules]]
    name = "code"
    allowed_models = ["gpt-4o"]
    strategy = "lowest_cost"
    max_sats_per_1k_output = 50
    keywords = ["code", " implement "]
    [[policies.rules]]
    name = "any"
    """

    code, anything = compiled(tmp_path, text).snapshot.rules

    assert (code.name, code.allowed_models, code.strategy) == ("code", frozenset({"gpt-4o"}), Strategy.CHEAPEST)
    assert code.max_output_rate == 50 * 10**9
    assert code.keywords == ("code", "implement")
    assert (anything.allowed_models, anything.strategy, anything.max_output_rate) == (None, None, None)
    assert anything.keywords == ()


def test_a_provider_is_shown_without_its_key(tmp_path: Path) -> None:
    """What may be shown holds six characters of a key and where it came from; the spec masks the rest."""
    text = ALPHA + "api_key = '${ALPHA_KEY}'" + BETA

    config = compiled(tmp_path, text, environ={"ALPHA_KEY": "sk-abcdefghijkl"})
    alpha, beta = config.snapshot.providers

    assert (alpha.masked_key, alpha.key_source) == ("sk-abc***", "${ALPHA_KEY}")
    assert (beta.masked_key, beta.key_source) == (None, "none")
    assert config.providers[0].api_key is not None
    assert config.providers[0].api_key.reveal() == "sk-abcdefghijkl"
    assert "defghijkl" not in repr(config)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "gw.example", "192.0.2.1"])
@pytest.mark.parametrize(
    ("more", "needed"),
    [("", True), ("[auth]\nrequired = true", False), ("allow_unauthenticated = true", False), (_ADMIN, True)],
)
def test_listening_beyond_loopback_needs_keys(tmp_path: Path, host: str, more: str, needed: bool) -> None:
    """Unless callers are asked for one in any case, or nobody is to be asked. An admin key is none of theirs."""
    text = f"{ALPHA}[server]\nlisten = '{host}:80'\n{more}"

    assert compiled(tmp_path, text, environ={"K": "0123456789"}).needs_keys is needed


@pytest.mark.parametrize("address", ["127.0.0.1:80", "127.9.9.9:0", "[::1]:80", "localhost:80"])
def test_listening_on_loopback_needs_none(tmp_path: Path, address: str) -> None:
    """Who is on this machine already may spend."""
    assert not compiled(tmp_path, f"{ALPHA}[server]\nlisten = '{address}'").needs_keys


@pytest.mark.parametrize(
    ("text", "environ", "flags", "origin"),
    [
        ("server = { listen = '0.0.0.0:80' }", {}, {}, "arbstr.toml"),
        ("", {"ARBSTR_SERVER__LISTEN": "0.0.0.0:80"}, {}, "ARBSTR_SERVER__LISTEN"),
        ("server = { listen = '[::1]:80' }", {}, {("server", "listen"): ("--listen", "0.0.0.0:80")}, "--listen"),
    ],
)
def test_who_says_where_to_listen_is_told(
    tmp_path: Path, text: str, environ: dict[str, str], flags: Flags, origin: str
) -> None:
    """The file, the variable or the flag is where it can be mended."""
    problem = keys_missing(compiled(tmp_path, text, environ=environ, flags=flags))

    assert problem.origin.rpartition("/")[2] == origin
    assert problem.place == "server.listen"


def test_listening_beyond_loopback_needs_a_clear_yes(tmp_path: Path) -> None:
    """With it, the gateway may be reached, and the warning stays."""
    text = ALPHA + "[server]\nlisten = '0.0.0.0:80'\nallow_unauthenticated = true"

    config = compiled(tmp_path, text)

    assert (config.host, config.allow_unauthenticated) == ("0.0.0.0", True)
    assert any(line.startswith("server.allow_unauthenticated: ") for line in config.warnings)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("", "providers: there is none, so every request is answered 404"),
        (
            ALPHA,
            "providers.alpha.api_key: none is set (ARBSTR_ALPHA_API_KEY is not either), so it is called without a key",
        ),
        (
            ALPHA + "api_key = 'sk-0123456789'",
            "providers.alpha.api_key: stands in the file, better a variable: "
            '"${ARBSTR_ALPHA_API_KEY}", or no line at all',
        ),
        (
            ALPHA.replace("models", "#"),
            "providers.alpha: no model is listed and no route names it, so it is never called",
        ),
        (
            ALPHA.replace("/v1", ""),
            "providers.alpha.base_url: has no path; most OpenAI-compatible APIs are found under /v1",
        ),
        (
            ALPHA.replace("https", "http") + "api_key = 'sk-0123456789'",
            "providers.alpha.base_url: sends its key unencrypted, better https://",
        ),
        (
            ALPHA + "[[policies.rules]]\nname = 'x'\nallowed_models = ['gpt-5']",
            'policies.rules[0].allowed_models: nobody sells "gpt-5"',
        ),
        (
            "[resilience.retry]\nretryable_errors = [503, 404]",
            "resilience.retry.retryable_errors[1]: has no effect, as a provider is never tried again after 404",
        ),
        (
            "[server]\ntrusted_proxies = ['10.0.0.1', '0.0.0.0/0']",
            "server.trusted_proxies[1]: is every address, so that every caller can say that it is another",
        ),
        (
            "[server]\nadmin_key = '0123456789'",
            'server.admin_key: stands in the file, better a variable: admin_key = "${ARBSTR_ADMIN_KEY}"',
        ),
        (
            "[server]\nadmin_key = '0123456789'",
            "server.admin_key: is short enough to be guessed, better 24 random characters or more",
        ),
    ],
)
def test_what_is_allowed_and_probably_not_meant_is_warned_of(tmp_path: Path, text: str, warning: str) -> None:
    """A warning names the key, and what to do."""
    assert warning in compiled(tmp_path, text).warnings


@pytest.mark.parametrize("status", range(400, 600))
def test_a_status_after_which_nobody_is_tried_again_is_warned_of(tmp_path: Path, status: int) -> None:
    """Exactly those that the verdict table lets nobody retry, whatever the provider said with them."""
    bodies = [b"", b"<html>no</html>", b'{"error": {"message": "no"}}']
    bodies += [f'{{"error": {{"message": "no", "code": "{code}"}}}}'.encode() for code in ("rate_limit_exceeded", "x")]
    kinds = {failure_from_response(status, {}, body, now_epoch=0.0).kind for body in bodies}

    told = compiled(tmp_path, f"[resilience.retry]\nretryable_errors = [{status}]").warnings

    never = all(VERDICTS[kind].retry is Retry.NO for kind in kinds)
    assert any(line.startswith("resilience.retry.retryable_errors[0]: has no effect") for line in told) == never


def test_a_sound_configuration_has_no_warning(tmp_path: Path) -> None:
    """Warnings are rare enough to be read."""
    rule = "[[policies.rules]]\nname = 'x'\nallowed_models = ['gpt-4o']"
    text = ALPHA + BETA.replace("https://beta.example", "http://127.0.0.1:11434") + rule
    environ = {"ARBSTR_ALPHA_API_KEY": "sk-0123456789", "ARBSTR_BETA_API_KEY": "sk-0123456789"}

    assert compiled(tmp_path, text, environ=environ).warnings == ()


def test_an_admin_key_from_the_environment_is_not_literal(tmp_path: Path) -> None:
    """It is where it belongs, and there is nothing to warn of."""
    config = compiled(
        tmp_path, ALPHA + "api_key = '${K}'\n[server]\nadmin_key = '${K}'", environ={"K": "0123456789" * 3}
    )

    assert config.warnings == ()


def test_the_mock_configuration_has_a_choice_to_make(tmp_path: Path) -> None:
    """Three mock providers at three prices sell the same model; the environment changes settings and adds nobody."""
    environ = {"ARBSTR_SERVER__MAX_IN_FLIGHT": "3", "ARBSTR_PROVIDERS__REAL__BASE_URL": "https://real.example/v1"}

    config = load_mock(environ=environ, flags={("server", "listen"): ("--listen", "127.0.0.1:0")}, folder=tmp_path)

    assert {spec.kind for spec in config.providers} == {"mock"}
    assert len({each.rates for each in config.snapshot.routes["gpt-4o"].deployments}) == 3
    assert (config.snapshot.max_in_flight, config.port, config.source) == (3, 0, None)
    assert config.store.parent == tmp_path
    assert config.warnings == ()


def test_the_mock_configuration_beyond_loopback_needs_a_variable(tmp_path: Path) -> None:
    """There is no file to allow it in: the line names what works, and it does."""
    flags: Flags = {("server", "listen"): ("--listen", "0.0.0.0:0")}

    line = str(keys_missing(load_mock(environ={}, flags=flags, folder=tmp_path)))
    name, value = line.rpartition("(")[2].removesuffix(")").split("=")
    config = load_mock(environ={name: value}, flags=flags, folder=tmp_path)

    assert line.startswith("--listen: server.listen: can be reached from other machines")
    assert (config.host, config.allow_unauthenticated, config.needs_keys) == ("0.0.0.0", True, False)


def test_configuration_is_quick_to_import() -> None:
    """Nothing of the server, the loop or the terminal is loaded to read a file."""
    slow = {"asyncio", "uvloop", "uvicorn", "rich", "click", "structlog", "sqlite3", "http.client"}
    program = "import sys, arbstr.config; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert slow.isdisjoint(loaded)
