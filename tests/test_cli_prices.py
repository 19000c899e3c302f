"""``arbstr prices``: what a model costs, and where."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from arbstr.catalogue import shipped
from arbstr.cli import offers
from arbstr.cli.table import NOTHING, lines
from arbstr.domain.money import Currency, ExchangeRate, Rates, RateTier
from tests.test_cli import run, written

CONFIG = """
[providers.alpha]
base_url = "https://alpha.example/v1"
models = ["gpt-4o"]
input_rate = 1
output_rate = 3
base_fee = 1
[providers.mine]
base_url = "https://api.openai.com/v1"
models = ["gpt-4o"]
[providers.other]
base_url = "https://other.example/v1"
models = { gpt-4o = { upstream_model = "theirs" } }
"""
A_THOUSAND = ExchangeRate(1000 * 10**6)


def offer(provider: str = "p", rates: Rates | None = None, **more: Any) -> offers.Offer:
    return offers.Offer(provider=provider, model="m", configured=False, rates=rates, **more)


def cells(one: offers.Offer, exchange: ExchangeRate | None = None) -> dict[str, str]:
    """The row of a table with this offer alone."""
    table = offers.table([one], exchange)
    return dict(zip(table.columns, table.rows[0], strict=True))


def dollars(input: int, output: int, **more: Any) -> Rates:
    """From millionths of a dollar for a million tokens."""
    return Rates(input=input, output=output, base_fee=0, currency=Currency.USD, **more)


def sats(input: int, output: int, base_fee: int = 0) -> Rates:
    """From satoshis for a thousand tokens, and for a request."""
    return Rates(input=input * 10**9, output=output * 10**9, base_fee=base_fee * 10**12)


# The command.


def test_it_needs_no_configuration(tmp_path: Path) -> None:
    """Then it lists what the catalogue knows: each seller's price and where it is from."""
    result = run(tmp_path, "prices", "gpt-4o")

    assert result.exit_code == 0
    assert f"catalogue openai/gpt-4o {shipped().as_of}" in result.stdout
    assert f"catalogue openrouter/openai/gpt-4o {shipped().as_of}" in result.stdout
    assert "Cheapest first" in result.stderr
    assert str(shipped().as_of) in result.stderr


def test_configured_providers_stand_among_the_others(tmp_path: Path) -> None:
    """With the price that is reckoned with, by every name of the model; the cheapest first, the unknown last."""
    written(tmp_path, CONFIG)

    data = json.loads(run(tmp_path, "prices", "gpt-4o", "--sats-per-usd", "1000", "--json").stdout)["data"]

    mine = [(each["provider"], each["model"], each["source"]) for each in data if each["configured"]]
    assert mine == [
        ("alpha", "gpt-4o", "config"),
        ("mine", "gpt-4o", f"catalogue openai/gpt-4o {shipped().as_of}"),
        ("other", "theirs", None),
    ]
    assert data[0]["provider"] == "alpha"
    assert data[-1] == {
        "provider": "other",
        "configured": True,
        "model": "theirs",
        "usd_per_million": None,
        "sats_per_thousand": None,
        "batch": None,
        "context_window": None,
        "also": [],
        "since": None,
        "until": None,
        "source": None,
    }


def test_both_currencies_are_shown_where_a_dollar_s_worth_is_known(tmp_path: Path) -> None:
    """By the option or by the configuration; the option goes first."""
    written(tmp_path, CONFIG + "[pricing.exchange]\nsats_per_usd = 2000\n")

    configured = json.loads(run(tmp_path, "prices", "gpt-4o", "--json").stdout)
    asked = json.loads(run(tmp_path, "prices", "gpt-4o", "--sats-per-usd", "1000", "--json").stdout)

    assert (configured["sats_per_usd"], asked["sats_per_usd"]) == (2000.0, 1000.0)
    alpha = next(each for each in configured["data"] if each["provider"] == "alpha")
    assert alpha["sats_per_thousand"] == {"input": 1.0, "output": 3.0, "per_request": 1.0}
    assert alpha["usd_per_million"] == {"input": 0.5, "output": 1.5, "per_request": 0.0005}


def test_without_a_rate_currencies_are_not_compared(tmp_path: Path) -> None:
    """Dollars stand before satoshis, and it says so."""
    written(tmp_path, CONFIG.partition("[providers.mine]")[0])

    result = run(tmp_path, "prices", "gpt-4o")

    providers = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    assert providers[-1] == "alpha"
    assert "not compared without an exchange rate: --sats-per-usd" in result.stderr


def test_a_model_without_a_known_price_is_a_failure(tmp_path: Path) -> None:
    """With names that look like it, and exit code 1."""
    result = run(tmp_path, "prices", "gtp-4o", "--json")

    assert result.exit_code == 1
    assert result.stderr == 'Error: No price is known for "gtp-4o". Did you mean gpt-4o, gpt-4, ft:gpt-4o?\n'
    assert json.loads(result.stdout)["ok"] is False
    assert run(tmp_path, "prices", "zzzzzzzzzz").stderr == 'Error: No price is known for "zzzzzzzzzz".\n'


@pytest.mark.parametrize("rate", ["0", "-1", "many", "nan", "1e13"])
def test_an_exchange_rate_is_a_number_above_zero(tmp_path: Path, rate: str) -> None:
    """Anything else is a line that makes no sense."""
    result = run(tmp_path, "prices", "gpt-4o", "--sats-per-usd", rate)

    assert result.exit_code == 2
    assert "is no exchange rate, expected satoshis for a dollar" in result.stderr


def test_a_configuration_that_is_wrong_is_not_passed_over(tmp_path: Path) -> None:
    """Nor is one that is named and missing."""
    written(tmp_path, "[server]\nlisten_on = 1\n")

    assert run(tmp_path, "prices", "gpt-4o").exit_code == 78
    assert run(tmp_path, "prices", "gpt-4o", "--config", "no.toml").exit_code == 78


# What it shows.


def test_the_order_counts_the_fee_for_a_request() -> None:
    """A cheap token behind a dear request is no bargain; equals go by name, configured ones first."""
    cheap, fee = dollars(1_000_000, 1_000_000), sats(0, 0, base_fee=100)
    listed = [offer("z", cheap), offer("y", fee), offer("a", cheap), offer("b"), offer("w", dollars(9, 9))]

    ordered = offers.in_order([*listed, offers.Offer("x", "m", configured=True, rates=cheap)], A_THOUSAND)

    assert [each.provider for each in ordered] == ["w", "x", "a", "z", "y", "b"]


def test_a_row_has_all_parts_of_a_price() -> None:
    """Cached and written tokens, reasoning, tiers, batches, what is charged beside, and how long it holds."""
    parts = {"cached_input": 100_000, "cache_write": 1_250_000, "cache_write_1h": 2_000_000, "reasoning": 3_000_000}
    tiers = (RateTier(above=200_000, input=2_000_000, output=4_500_000),)
    one = offer(
        rates=dollars(1_000_000, 2_000_000, tiers=tiers, source="catalogue p/m 2026-11-02", **parts),
        batch=dollars(500_000, 1_000_000),
        context_window=400_000,
        also=("web searches",),
        since="2026-10-01",
        until="2026-12-01T00:00:00Z",
    )

    assert cells(one) == {
        "provider": "p",
        "configured": NOTHING,
        "model": "m",
        "input $/1M": "1",
        "output $/1M": "2",
        "cached": "0.1",
        "cache write": "1.25",
        "for 1h": "2",
        "reasoning": "3",
        "above": "200,000: 2 / 4.5",
        "batch": "0.5 / 1",
        "also": "web searches",
        "since": "2026-10-01",
        "until": "2026-12-01T00:00:00Z",
        "context": "400,000",
        "source": "catalogue p/m 2026-11-02",
    }


def test_what_is_not_in_dollars_says_so() -> None:
    """Where no exchange rate turns it into them."""
    rates = Rates(input=10**9, output=2 * 10**9, base_fee=3 * 10**12, cached_input=10**8)

    in_sats, in_dollars = cells(offer(rates=rates)), cells(offer(rates=rates), A_THOUSAND)

    assert (in_sats["input $/1M"], in_sats["input sat/1k"]) == (NOTHING, "1")
    assert (in_sats["cached"], in_sats["per request"]) == ("0.1 sat/1k", "3 sat")
    assert (in_dollars["input $/1M"], in_dollars["input sat/1k"]) == ("1", "1")
    assert (in_dollars["cached"], in_dollars["per request"]) == ("0.1", "0.003 $")


def test_rates_are_shown_exactly_and_converted_ones_to_six_digits() -> None:
    """A rate of a billionth of a satoshi is not nothing."""
    rates = Rates(input=1, output=10 * 10**9, base_fee=0)
    third = ExchangeRate(333_333_333)

    assert cells(offer(rates=rates))["input sat/1k"] == "0.000000001"
    assert cells(offer(rates=dollars(1_000_000, 10_000_000)), third)["output sat/1k"] == "3.333333"


def test_on_a_narrow_terminal_the_price_stays_in_the_row() -> None:
    """With who it is; the rest stands beneath."""
    rates = dollars(1_000_000, 2_000_000, cached_input=1, source="catalogue p/m 2026-11-02")
    table = offers.table([offer(rates=rates)], None)

    heading = next(iter(lines(table, 60))).text

    assert heading.split() == ["provider", "configured", "model", "input", "$/1M", "output", "$/1M"]


def test_prices_of_the_catalogue_say_when_they_hold() -> None:
    """As times in UTC, in JSON too."""
    (listing,) = [
        each
        for each in shipped().offers("deepseek-v4-flash", datetime(2026, 11, 21, 0, 30, tzinfo=UTC))
        if each.provider == "deepseek"
    ]

    (entry,) = offers.json([offers.known(listing)], None)

    assert (entry["since"], entry["until"]) == ("2026-09-10", "2026-11-21T01:00:00Z")
    assert entry["usd_per_million"]["input"] == 0.15
    assert entry["sats_per_thousand"] is None


def test_tiers_are_in_both_currencies() -> None:
    """For programs: from how many tokens on, and what then."""
    tiers = (RateTier(above=1000, input=2_000_000, output=3_000_000),)

    (entry,) = offers.json([offer(rates=dollars(1_000_000, 1_000_000, tiers=tiers))], A_THOUSAND)

    assert entry["usd_per_million"]["tiers"] == [{"above": 1000, "input": 2.0, "output": 3.0}]
    assert entry["sats_per_thousand"]["tiers"] == [{"above": 1000, "input": 2.0, "output": 3.0}]
