"""Budgets, and what a dollar is worth."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from arbstr.config.kinds import Resource, Seconds
from arbstr.config.money import ExchangeTable, Source
from arbstr.domain.money import Currency, ExchangeRate
from arbstr.domain.routing import BudgetSettings
from tests.config.written import ALPHA, compiled, problems

USD = """
[providers.usd]
base_url = "https://usd.example/v1"
models = ["gpt-4o"]
rates = { input = 2.5, output = 10 }
"""
OTHER = USD.replace("gpt-4o", "other")
RATE = "[pricing.exchange]\nsats_per_usd = 1000\n"
SOURCE = '[[pricing.exchange.sources]]\nurl = "https://rates.example/btc?in=usd"\npath = "data.amount"\n'
SET = "expected satoshis per dollar (sats_per_usd = 1000), or pricing.exchange.sources"

# Budgets.


def budget(folder: Path, text: str, **more: str) -> BudgetSettings:
    """What ``[budget]`` with these lines comes to."""
    return compiled(folder, f"[budget]\n{text}", environ=more).snapshot.budget


def test_a_budget_has_its_limits_in_the_smallest_units(tmp_path: Path) -> None:
    """Microsatoshis or nanodollars, exactly."""
    limits = (
        "max_cost_per_hour = 0.1\nmax_cost_per_day = 2\nmax_cost_per_month = 30.5\nmax_cost_total = 1_000_000_000\n"
    )

    sats = budget(tmp_path, limits)
    usd = budget(tmp_path, f"{limits}currency = 'usd'")

    assert (sats.currency, usd.currency) == (Currency.SATS, Currency.USD)
    assert (sats.hour, sats.day, sats.month, sats.total) == (10**5, 2 * 10**6, 30_500_000, 10**15)
    assert (usd.hour, usd.day, usd.month, usd.total) == (10**8, 2 * 10**9, 30_500_000_000, 10**18)
    assert sats.limited
    assert usd.limited


def test_every_setting_has_its_effect(tmp_path: Path) -> None:
    """What is written is what holds."""
    text = """
    max_cost_per_day = 1
    alert_threshold = 0.5
    action_on_exceeded = "allow_with_warning"
    default_reserve_tokens = 100
    unpriced = "allow"
    lease = 0.25
    """

    assert budget(tmp_path, text) == BudgetSettings(
        day=10**6,
        alert_threshold=0.5,
        hard=False,
        default_reserve_tokens=100,
        refuses_unpriced=False,
        lease_share=0.25,
    )


def test_without_a_limit_nothing_is_limited(tmp_path: Path) -> None:
    """And all settings are what the documentation says they are by default."""
    assert budget(tmp_path, "") == BudgetSettings()
    assert not budget(tmp_path, "currency = 'usd'\nalert_threshold = 1").limited


def test_a_budget_that_is_not_enabled_limits_nothing(tmp_path: Path) -> None:
    """Its other settings hold for the budgets of keys all the same."""
    off = budget(tmp_path, "enabled = false\nmax_cost_per_day = 1\ncurrency = 'usd'\naction_on_exceeded = 'reject'")

    assert off == BudgetSettings(currency=Currency.USD)
    assert not off.limited


def test_the_smallest_limit_is_one_unit(tmp_path: Path) -> None:
    """A limit below what can be counted is no limit of 0, which would say something else."""
    assert budget(tmp_path, "max_cost_per_day = 0.0000001").day == 1
    assert budget(tmp_path, "max_cost_per_day = 1e-30\ncurrency = 'usd'").day == 1


def test_a_budget_may_come_from_the_environment(tmp_path: Path) -> None:
    """Over the file, as all keys do."""
    text = "max_cost_per_day = 1\nmax_cost_per_hour = 2"
    environ = {"ARBSTR_BUDGET__MAX_COST_PER_DAY": "0.25", "ARBSTR_BUDGET__CURRENCY": "usd"}

    found = budget(tmp_path, text, **environ)

    assert (found.currency, found.day, found.hour) == (Currency.USD, 250_000_000, 2 * 10**9)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("max_cost_per_hour = 0", "max_cost_per_hour: is 0, expected more than nothing, or no such key for no limit"),
        ("max_cost_per_day = 0.0", "max_cost_per_day: is 0, expected more than nothing, or no such key for no limit"),
        ("max_cost_per_month = -1", "max_cost_per_month: -1 is negative, expected "),
        ("max_cost_total = inf", "max_cost_total: Infinity is not a finite number, expected "),
        ("max_cost_per_day = 1e10", "max_cost_per_day: 1E+10 is too much, expected at most 1000000000"),
        ("max_cost_per_day = '1'", "max_cost_per_day: is a string, expected "),
        (
            "alert_threshold = 0",
            "alert_threshold: 0 is out of range, expected a share above 0 and up to 1, such as 0.8",
        ),
        ("alert_threshold = 1.01", "alert_threshold: 1.01 is out of range, expected a share above 0 and up to 1"),
        ("alert_threshold = 80", "alert_threshold: 80 is out of range, expected a share above 0 and up to 1"),
        ("alert_threshold = -0.1", "alert_threshold: -0.1 is out of range, expected a share above 0 and up to 1"),
        ("lease = 0", "lease: 0 is out of range, expected a share above 0 and up to 1"),
        ("currency = 'eur'", 'currency: "eur" is not known here, expected sats or usd'),
        ("currency = 'USD'", 'currency: "USD" is not known here, expected sats or usd'),
        ("action_on_exceeded = 'allow'", 'action_on_exceeded: "allow" is not an action, expected reject or allow_with'),
        ("unpriced = 'reject'", 'unpriced: "reject" is not known here, expected refuse or allow'),
        ("default_reserve_tokens = 0", "default_reserve_tokens: 0 is out of range, expected a whole number from 1 to"),
        ("enabled = 'no'", "enabled: is a string, expected true or false"),
    ],
)
def test_what_is_wrong_with_a_budget_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    """It names the key and what was expected."""
    (told,) = problems(tmp_path, f"[budget]\n{text}")

    assert told.startswith(f"arbstr.toml: budget.{line}")


# What a dollar is worth.


def test_a_fixed_rate_is_exact(tmp_path: Path) -> None:
    """To a millionth of a satoshi, from the file or from the environment."""
    by_file = compiled(tmp_path, "[pricing.exchange]\nsats_per_usd = 1234.567891").snapshot
    by_variable = compiled(tmp_path, RATE, environ={"ARBSTR_PRICING__EXCHANGE__SATS_PER_USD": "0.5"}).snapshot

    assert by_file.exchange_rate == ExchangeRate(1_234_567_891, source="config")
    assert by_variable.exchange_rate == ExchangeRate(500_000)
    assert compiled(tmp_path, "").snapshot.exchange_rate is None


def test_sources_are_kept_as_they_are_written(tmp_path: Path) -> None:
    """A URL may have a query, and what a number is can be said either way."""
    text = """
    [pricing.exchange]
    poll = "30s"
    max_age = 90
    sources = [
        { url = "https://rates.example/btc?in=usd", path = "data.amount" },
        { url = "http://127.0.0.1:9/", path = "0.rate", unit = "sats_per_usd" },
    ]
    """

    config = compiled(tmp_path, text)

    assert config.exchange == ExchangeTable(
        sources=(
            Source(url=Resource("https://rates.example/btc?in=usd"), path="data.amount"),
            Source(url=Resource("http://127.0.0.1:9/"), path="0.rate", unit="sats_per_usd"),
        ),
        poll=Seconds(30.0),
        max_age=Seconds(90.0),
    )
    assert config.snapshot.exchange_rate is None


def test_a_fixed_rate_holds_until_sources_have_answered(tmp_path: Path) -> None:
    """Both may be given."""
    config = compiled(tmp_path, RATE + SOURCE)

    assert config.snapshot.exchange_rate == ExchangeRate.of(Decimal(1000))
    assert len(config.exchange.sources) == 1


def test_sources_may_come_from_the_environment(tmp_path: Path) -> None:
    """As TOML writes them on a line."""
    environ = {"ARBSTR_PRICING__EXCHANGE__SOURCES": '[{ url = "https://rates.example/", path = "rate" }]'}

    assert [each.path for each in compiled(tmp_path, ALPHA + USD, environ=environ).exchange.sources] == ["rate"]


def test_yaml_says_the_same(tmp_path: Path) -> None:
    """Rates, a budget and an exchange rate, in the other format."""
    text = f"{USD}[budget]\nmax_cost_per_day = 0.1\ncurrency = 'usd'\n{RATE}{SOURCE}"

    in_toml = compiled(tmp_path, text)
    in_yaml = compiled(tmp_path, yaml.safe_dump(tomllib.loads(text)), name="arbstr.yaml")

    assert in_yaml.snapshot == in_toml.snapshot
    assert in_yaml.exchange == in_toml.exchange


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sats_per_usd = 0", "sats_per_usd: is 0, expected what a dollar is worth in satoshis"),
        ("sats_per_usd = -1", "sats_per_usd: -1 is negative, expected "),
        ("sats_per_usd = nan", "sats_per_usd: NaN is not a finite number, expected "),
        ("sats_per_usd = 'a lot'", "sats_per_usd: is a string, expected "),
        ("rate = 1", "rate: is not a known key"),
        ("poll = 0", "poll: 0 is no time at all, expected a duration such as"),
        ("max_age = '-1s'", 'max_age: "-1s" is negative, expected a duration such as'),
        ("sources = ['https://rates.example']", "sources[0]: is a string, expected a table"),
        ("sources = [{ path = 'a' }]", "sources[0].url: is missing, expected a URL"),
        ("sources = [{ url = 'https://a.example' }]", "sources[0].path: is missing, expected the place of the number"),
        ("sources = [{ url = 'https://a.example', path = ' ' }]", "sources[0].path: is empty, expected a string with"),
        (
            "sources = [{ url = 'ftp://a.example', path = 'a' }]",
            "sources[0].url: does not begin with http:// or https:",
        ),
        ("sources = [{ url = 'https://u:p@a.example', path = 'a' }]", "sources[0].url: has a user name or password in"),
        (
            "sources = [{ url = 'https://a.example', path = 'a', unit = 'btc_per_usd' }]",
            'sources[0].unit: "btc_per_usd" is not a unit of rates, expected usd_per_btc or sats_per_usd',
        ),
        (
            "sources = [{ url = 'https://a.example', path = 'a' }, { url = 'https://a.example', path = 'a' }]",
            "sources[1]: is given twice, expected each source once",
        ),
        (
            "max_age = '59s'\nsources = [{ url = 'https://a.example', path = 'a' }]",
            "max_age: is shorter than poll, expected 60s or more",
        ),
    ],
)
def test_what_is_wrong_with_an_exchange_rate_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    """It names the key and what was expected, and does not complain of a missing rate beside."""
    (told,) = problems(tmp_path, f"{ALPHA}{USD}[pricing.exchange]\n{text}")

    assert told.startswith(f"arbstr.toml: pricing.exchange.{line}")


def test_one_url_may_have_two_numbers(tmp_path: Path) -> None:
    """Two sources are the same where all of them is."""
    assert len(compiled(tmp_path, SOURCE + SOURCE.replace("amount", "other")).exchange.sources) == 2


# Whatever compares satoshis with dollars needs the rate.

BUDGET = "[budget]\nmax_cost_per_day = 1\n"
RULE = "[[policies.rules]]\nname = 'frugal'\nmax_sats_per_1k_output = 5\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ALPHA + USD, "alpha sells gpt-4o for satoshis and usd for dollars"),
        (
            ALPHA + OTHER + "[models.default]\nendpoints = [{ provider = 'usd', model = 'other' }, "
            "{ provider = 'alpha', model = 'gpt-4o' }]",
            "alpha sells default for satoshis and usd for dollars",
        ),
        (
            ALPHA + OTHER + "[models.fast]\nprimary = { provider = 'usd' }\nfallbacks = [{ provider = 'alpha' }]",
            "alpha sells fast for satoshis and usd for dollars",
        ),
        (
            ALPHA + USD.replace("rates", "#").replace("usd.example", "api.openai.com"),
            "alpha sells gpt-4o for satoshis and usd for dollars",
        ),
        (USD + BUDGET, "the budget is in sats and usd sells for usd"),
        (ALPHA + BUDGET + "currency = 'usd'", "the budget is in usd and alpha sells for sats"),
        (USD + RULE, "a policy has max_sats_per_1k_output and usd sells for dollars"),
        (ALPHA + OTHER + RULE + BUDGET, "the budget is in sats and usd sells for usd"),
    ],
)
def test_two_currencies_need_an_exchange_rate(tmp_path: Path, text: str, why: str) -> None:
    """One line says who needs it and how to give it; with a rate, or with sources, all is well."""
    (told,) = problems(tmp_path, text)

    assert told == f"arbstr.toml: pricing.exchange.sats_per_usd: is missing: {why}, {SET}"
    assert compiled(tmp_path, f"{text}\n{RATE}").snapshot.exchange_rate is not None
    assert compiled(tmp_path, f"{text}\n{SOURCE}").exchange.sources


@pytest.mark.parametrize(
    "text",
    [
        ALPHA + OTHER,
        ALPHA + OTHER + "[budget]\nenabled = false\nmax_cost_per_day = 1\ncurrency = 'usd'",
        ALPHA + BUDGET,
        USD + BUDGET + "currency = 'usd'",
        ALPHA + RULE,
        USD + RULE.replace("max_sats", "#"),
        ALPHA + USD.replace("rates", "#") + BUDGET,
        BUDGET + "currency = 'usd'",
    ],
)
def test_where_nothing_is_compared_no_rate_is_needed(tmp_path: Path, text: str) -> None:
    """Each model for one currency, a budget in that of the prices, a price that nobody knows."""
    assert compiled(tmp_path, text).snapshot.exchange_rate is None


def test_many_mixed_routes_are_one_line(tmp_path: Path) -> None:
    """There is one thing to mend."""
    models = "models = ['a', 'b', 'c']"
    text = (ALPHA + USD).replace('models = ["gpt-4o"]', models)

    (told,) = problems(tmp_path, text + BUDGET + RULE)

    assert "alpha sells a for satoshis and usd for dollars" in told


@pytest.mark.parametrize(
    "mistake",
    [
        "[budget]\ncurrency = 'eur'\nmax_cost_per_day = 1",
        "[models.x]\nprimary = { provider = 'nobody' }",
        "[providers.usd.timeout]\nconnect = 0",
        "[pricing.exchange]\nsats_per_usd = -1",
        "[[policies.rules]]\nname = 'x'\nmax_sats_per_1k_output = -1",
    ],
)
def test_nothing_is_concluded_from_what_cannot_be_read(tmp_path: Path, mistake: str) -> None:
    """What is wrong is told; that a rate is missing, once it is mended."""
    (told,) = problems(tmp_path, f"{ALPHA}{USD}{mistake}")

    assert "is missing" not in told


@pytest.mark.parametrize(("first", "second"), [(ALPHA, USD), (USD, ALPHA)])
def test_a_model_that_is_found_later_stops_nobody(tmp_path: Path, first: str, second: str) -> None:
    """A gateway that runs goes on where somebody begins to sell a model for another currency."""
    text = first + "auto_discover = true\n" + second.replace("gpt-4o", "other")
    config = compiled(tmp_path, text)
    assert config.discovered is not None

    found = config.discovered({config.providers[0].name: ["other"]})

    currencies = {each.rates.currency for each in found.routes["other"].deployments if each.rates is not None}
    assert currencies == {Currency.SATS, Currency.USD}
    assert found.exchange_rate is None


# What was saved.


def test_savings_are_against_the_dearest_or_a_provider(tmp_path: Path) -> None:
    """The dearest candidate is the default, and has no name."""
    assert compiled(tmp_path, ALPHA).snapshot.baseline is None
    assert compiled(tmp_path, ALPHA + "[savings]\nbaseline = 'dearest'").snapshot.baseline is None
    assert compiled(tmp_path, ALPHA + "[savings]\nbaseline = 'alpha'").snapshot.baseline == "alpha"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("alfa", '; did you mean "alpha"?'), ("zzz", ", expected dearest or a provider"), ("deerest", '"dearest"?')],
)
def test_a_baseline_that_nobody_is_is_refused(tmp_path: Path, name: str, hint: str) -> None:
    """With the nearest name, where one is near."""
    (told,) = problems(tmp_path, f"{ALPHA}[savings]\nbaseline = '{name}'")

    assert told.startswith(f'arbstr.toml: savings.baseline: there is no provider "{name}"')
    assert told.endswith(hint)
