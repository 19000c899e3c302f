"""What models charge: in satoshis or by a table, at the model or at its provider, and where the two do not fit."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbstr.domain.money import Currency, Rates
from tests.config.written import ALPHA, compiled, problems

BARE = """
[providers.alpha]
base_url = "https://alpha.example/v1"
models = ["gpt-4o"]
"""
DOLLAR = 10**12
"""In pico-dollars."""
EACH = DOLLAR // 10**6
"""Of each token, where a million of them cost a dollar."""


def rates(folder: Path, text: str, *, name: str = "arbstr.toml", environ: dict[str, str] | None = None) -> Rates | None:
    """What the first model of the first provider charges."""
    return compiled(folder, text, name=name, environ=environ).providers[0].deployments[0].rates


def test_a_table_has_every_part(tmp_path: Path) -> None:
    """Each per million tokens, the fee per request."""
    text = """
    [providers.alpha.rates]
    currency = "usd"
    per = 1_000_000
    input = 2.5
    output = 10
    cached_input = 1.25
    cache_write = 3
    cache_write_1h = 5
    reasoning = 12
    base_fee = 0.001
    """

    assert rates(tmp_path, BARE + text) == Rates(
        input=EACH * 5 // 2,
        output=EACH * 10,
        base_fee=DOLLAR // 1000,
        currency=Currency.USD,
        cached_input=EACH * 5 // 4,
        cache_write=EACH * 3,
        cache_write_1h=EACH * 5,
        reasoning=EACH * 12,
        source="config",
    )


def test_what_a_table_leaves_out_is_left_out(tmp_path: Path) -> None:
    """None is as input or as output; a free cache is another thing."""
    plain = rates(tmp_path, BARE + "rates = { input = 2, output = 3 }")
    free = rates(tmp_path, BARE + "rates = { input = 2, output = 3, cached_input = 0 }")

    assert plain == Rates(input=2 * EACH, output=3 * EACH, base_fee=0, currency=Currency.USD)
    assert free is not None
    assert free.cached_input == 0


@pytest.mark.parametrize(
    ("table", "input", "currency"),
    [
        ("input = 2.5", 2_500_000, Currency.USD),
        ("currency = 'usd', input = 2.5", 2_500_000, Currency.USD),
        ("currency = 'sats', input = 2.5", 2_500_000_000, Currency.SATS),
        ("currency = 'sats', per = 1_000_000, input = 2.5", 2_500_000, Currency.SATS),
        ("currency = 'usd', per = 1_000, input = 2.5", 2_500_000_000, Currency.USD),
        ("per = 1, input = 2.5", 2_500_000_000_000, Currency.USD),
    ],
)
def test_what_a_price_is_for_follows_the_currency(tmp_path: Path, table: str, input: int, currency: Currency) -> None:
    """A million tokens for dollars and a thousand for satoshis, unless it says otherwise."""
    found = rates(tmp_path, f"{BARE}rates = {{ {table}, output = 0 }}")

    assert found == Rates(input=input, output=0, base_fee=0, currency=currency)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.decimals(min_value=0, max_value=10**6, places=6), st.sampled_from(["arbstr.toml", "arbstr.yaml"]))
def test_dollars_are_exact_to_six_decimal_places(tmp_path: Path, price: Decimal, name: str) -> None:
    """Per million tokens, in either format: no binary fraction comes between."""
    toml = f"{BARE}rates = {{ input = {price:f}, output = 0, cached_input = {price:f} }}"
    table = f"{{input: {price:f}, output: 0, cached_input: {price:f}}}"
    yaml = f"providers: {{alpha: {{url: 'https://a.example/v1', models: [m], rates: {table}}}}}"

    found = rates(tmp_path, toml if name.endswith("toml") else yaml, name=name)

    assert found is not None
    assert found.input == found.cached_input == int(price * 10**6)


def test_a_model_comes_before_its_provider(tmp_path: Path) -> None:
    """In whatever form each of them says it, and with nothing of the one mixed into the other."""
    text = """
    [providers.usd]
    url = "https://usd.example/v1"
    rates = { input = 2, output = 3, cached_input = 1, base_fee = 0.5 }
    [providers.usd.models.plain]
    [providers.usd.models.table]
    rates = { currency = "sats", input = 4, output = 5 }
    [providers.usd.models.sats]
    input_rate = 6
    output_rate = 7
    [providers.sats]
    url = "https://sats.example/v1"
    input_rate = 1
    output_rate = 2
    base_fee = 3
    [providers.sats.models.table]
    rates = { input = 8, output = 9 }
    [pricing.exchange]
    sats_per_usd = 1000
    """

    usd, sats = compiled(tmp_path, text).providers
    plain, table, in_sats = (each.rates for each in usd.deployments)

    assert plain is not None
    assert (plain.currency, plain.input, plain.base_fee) == (Currency.USD, 2 * EACH, DOLLAR // 2)
    assert table == Rates(input=4 * 10**9, output=5 * 10**9, base_fee=0)
    assert in_sats == Rates.per_thousand(input=Decimal(6), output=Decimal(7))
    assert sats.deployments[0].rates == Rates(input=8 * EACH, output=9 * EACH, base_fee=0, currency=Currency.USD)


def test_a_table_may_come_from_the_environment(tmp_path: Path) -> None:
    """In whole or in parts, over the file."""
    inline = {"ARBSTR_PROVIDERS__ALPHA__RATES": "{ input = 2, output = 3 }"}
    parts = {"ARBSTR_PROVIDERS__ALPHA__RATES__INPUT": "2", "ARBSTR_PROVIDERS__ALPHA__RATES__OUTPUT": "3"}
    over = BARE + "rates = { input = 1, output = 3 }"

    found = [
        rates(tmp_path, BARE, environ=inline),
        rates(tmp_path, BARE, environ=parts),
        rates(tmp_path, over, environ={"ARBSTR_PROVIDERS__ALPHA__RATES__INPUT": "2"}),
    ]

    assert found == [Rates(input=2 * EACH, output=3 * EACH, base_fee=0, currency=Currency.USD)] * 3


def test_ollama_may_have_a_price(tmp_path: Path) -> None:
    """It is free as long as nothing is said; a table in the place of that is no second form of it."""
    text = "[providers.ollama]\nmodels = ['m']\nrates = { input = 1, output = 1 }"

    assert rates(tmp_path, text) == Rates(input=EACH, output=EACH, base_fee=0, currency=Currency.USD)


_MODELS = BARE.replace('["gpt-4o"]', "{ m = { %s } }")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # Both forms at once.
        (
            ALPHA + "rates = { input = 1, output = 1 }",
            "providers.alpha.rates: is given beside input_rate, output_rate, expected one of the two forms",
        ),
        (
            ALPHA + "base_fee = 1\nrates = { input = 1, output = 1 }",
            "providers.alpha.rates: is given beside input_rate, output_rate, base_fee, expected one of",
        ),
        (
            BARE + "input_rate = 0\nrates = { input = 1, output = 1 }",
            "providers.alpha.rates: is given beside input_rate, expected one of the two forms",
        ),
        (
            BARE + "base_fee = 1\nrates = { input = 1, output = 1 }",
            "providers.alpha.rates: is given beside base_fee, expected one of the two forms",
        ),
        (
            BARE.replace("models", "#") + "input_rate = 1\nrates = { input = 1, output = 1 }",
            "providers.alpha.rates: is given beside input_rate, expected one of the two forms",
        ),
        (
            _MODELS % "input_rate = 1, output_rate = 1, rates = { input = 1, output = 1 }",
            "providers.alpha.models.m.rates: is given beside input_rate, output_rate, expected one of the two forms",
        ),
        (
            _MODELS % "base_fee = 0, rates = { input = 1, output = 1 }",
            "providers.alpha.models.m.rates: is given beside base_fee, expected one of the two forms",
        ),
        # Half a price.
        (
            _MODELS % "input_rate = 1" + "rates = { input = 1, output = 1 }",
            "providers.alpha.models.m.output_rate: is missing, expected satoshis per 1,000 output tokens (output_rate",
        ),
        (
            _MODELS % "output_rate = 1",
            "providers.alpha.models.m.input_rate: is missing, expected satoshis per 1,000 input tokens (input_rate",
        ),
        (
            _MODELS % "output_rate = 1" + "output_rate = 2",
            "providers.alpha.input_rate: is missing, expected satoshis per 1,000 input tokens (input_rate = 0 if",
        ),
        (
            BARE + "base_fee = 1",
            "providers.alpha.base_fee: is given without input_rate and output_rate, expected the three together",
        ),
        (
            BARE.replace("models", "#") + "auto_discover = true\nbase_fee = 1",
            "providers.alpha.base_fee: is given without input_rate and output_rate, expected the three together",
        ),
        (
            _MODELS % "base_fee = 1",
            "providers.alpha.models.m.base_fee: is given without input_rate and output_rate, expected the three",
        ),
        (
            _MODELS % "base_fee = 1" + "rates = { input = 1, output = 1 }",
            "providers.alpha.models.m.base_fee: is given without input_rate and output_rate, expected the three",
        ),
        # A table that is none.
        (BARE + "rates = 1", "providers.alpha.rates: is an integer, expected a table"),
        (BARE + "rates = {}", "providers.alpha.rates.input: is missing, expected the price of input tokens"),
        (BARE + "rates = { input = 1 }", "providers.alpha.rates.output: is missing, expected the price of output tok"),
        (BARE + "rates = { input = 1, output = -1 }", "providers.alpha.rates.output: -1 is negative, expected a price"),
        (BARE + "rates = { input = 1, output = nan }", "providers.alpha.rates.output: NaN is not a finite number, exp"),
        (BARE + "rates = { input = 1, output = 1e10 }", "providers.alpha.rates.output: 1E+10 is too much, expected at"),
        (BARE + "rates = { input = 1, output = '1' }", "providers.alpha.rates.output: is a string, expected a price"),
        (
            BARE + "rates = { input = 1, output = 1, currency = 'eur' }",
            'providers.alpha.rates.currency: "eur" is not known here, expected sats or usd',
        ),
        (
            BARE + "rates = { input = 1, output = 1, per = 0 }",
            "providers.alpha.rates.per: 0 is out of range, expected a whole number from 1 to 1000000000",
        ),
        (
            BARE + "rates = { input = 1, output = 1, cached = 1 }",
            'providers.alpha.rates.cached: is not a known key; did you mean "cached_input"?',
        ),
        (_MODELS % "rates = { input = 1 }", "providers.alpha.models.m.rates.output: is missing, expected the price of"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    """At the table that it is in, and nothing follows from it that misleads."""
    (told,) = problems(tmp_path, text)

    assert told.startswith(f"arbstr.toml: {line}")


def test_each_level_has_its_own_line(tmp_path: Path) -> None:
    """One edit mends both."""
    text = _MODELS % "input_rate = 1, rates = { input = 1, output = 1 }"

    told = problems(tmp_path, text + "output_rate = 1\nrates = { input = 1, output = 1 }")

    assert [line.split(": ")[1] for line in told] == ["providers.alpha.rates", "providers.alpha.models.m.rates"]


def test_a_fee_for_models_with_rates_of_their_own_is_one(tmp_path: Path) -> None:
    """Of the three keys, each is the model's if it has it, else the provider's."""
    text = _MODELS % "input_rate = 1, output_rate = 2" + "base_fee = 3"

    assert rates(tmp_path, text) == Rates.per_thousand(input=Decimal(1), output=Decimal(2), base_fee=Decimal(3))


def test_what_is_wrong_with_a_rate_is_not_told_as_two_currencies(tmp_path: Path) -> None:
    """A provider whose price cannot be read is not taken for one with the catalogue's."""
    known = BARE.replace("alpha]", "known]").replace("alpha.example", "api.openai.com")

    (told,) = problems(tmp_path, f"{ALPHA}{known}rates = {{ currency = 'sats', input = 1, output = -1 }}")

    assert told.startswith("arbstr.toml: providers.known.rates.output: -1 is negative")
