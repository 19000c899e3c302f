"""Money is exact: what can be computed as a fraction comes out as that fraction, rounded once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.money import (
    Cost,
    Currency,
    ExchangeRate,
    MicroSats,
    NanoUsd,
    Rates,
    RateTier,
    amount_text,
    pico_each,
    sats,
    smallest,
    usd,
    usd_text,
)

SATS, USD = Currency.SATS, Currency.USD
PICO = 10**12

picos = st.integers(0, 10**12)
optional = st.none() | picos
tokens = st.integers(0, 10**7)
exchange = st.builds(ExchangeRate, st.integers(1, 10**12))
tiers = st.lists(
    st.builds(RateTier, st.integers(0, 10**6), picos, picos, optional, optional, optional, optional), max_size=3
).map(lambda found: tuple(sorted(found, key=lambda tier: tier.above)))
rates = st.builds(
    Rates,
    picos,
    picos,
    st.integers(0, 10**15),
    st.sampled_from(Currency),
    optional,
    optional,
    optional,
    optional,
    tiers,
)


def test_what_is_cached_written_and_thought_has_rates_of_its_own() -> None:
    """1,000 in, of which 400 were read from a cache, 200 written to it, 50 for an hour; 300 out, 100 thought."""
    price = Rates(10, 30, 7, cached_input=1, cache_write=12, cache_write_1h=20, reasoning=40)

    charged = price.charge(1000, 300, cached=400, cache_write=200, cache_write_1h=50, reasoning=100)

    assert charged == 400 * 10 + 400 * 1 + 150 * 12 + 50 * 20 + 200 * 30 + 100 * 40 + 7


@pytest.mark.parametrize(
    ("price", "charged"),
    [
        (Rates(10, 30, 0), 1000 * 10 + 300 * 30),
        (Rates(10, 30, 0, cache_write=12), 800 * 10 + 200 * 12 + 300 * 30),
        (Rates(10, 30, 0, cache_write_1h=20), 950 * 10 + 50 * 20 + 300 * 30),
        (Rates(10, 30, 0, cached_input=0), 600 * 10 + 300 * 30),
        (Rates(10, 30, 0, reasoning=0), 1000 * 10 + 200 * 30),
    ],
)
def test_what_has_no_rate_of_its_own_costs_what_it_is_part_of(price: Rates, charged: int) -> None:
    """Cached and written tokens are input, an hour's are written ones, thoughts are output; a rate of 0 is one, too."""
    assert price.charge(1000, 300, cached=400, cache_write=200, cache_write_1h=50, reasoning=100) == charged


def test_parts_that_are_larger_than_the_whole_are_cut_to_it() -> None:
    """A provider that counts more cached tokens than input is not believed to have read less than nothing."""
    price = Rates(10, 30, 0, cached_input=1, cache_write=12, reasoning=40)

    assert price.charge(100, 10, cached=150, cache_write=50, reasoning=20) == 100 * 1 + 10 * 40
    assert price.charge(100, 10, cached=50, cache_write=500, cache_write_1h=900) == 50 * 1 + 50 * 12 + 10 * 30


@pytest.mark.parametrize(
    ("input_tokens", "input_rate", "output_rate"), [(200, 10, 30), (201, 20, 45), (1000, 20, 45), (1001, 25, 50)]
)
def test_a_long_prompt_has_rates_of_its_own_for_all_its_tokens(
    input_tokens: int, input_rate: int, output_rate: int
) -> None:
    """Those of the last tier that it exceeds; exactly at a tier's border it is still below it."""
    price = Rates(10, 30, 5, tiers=(RateTier(200, 20, 45), RateTier(1000, 25, 50)))

    expected = input_tokens * input_rate + 100 * output_rate + 5

    assert price.charge(input_tokens, 100) == expected
    assert price.expected(input_tokens, 100) == expected


@given(rates, tokens, tokens, st.data())
def test_no_charge_is_above_the_bound(price: Rates, most_in: int, most_out: int, data: st.DataObject) -> None:
    """Whatever of at most so many tokens was cached, written or thought, and whichever tier holds: what is reserved is
    enough, and nothing is ever paid out."""
    tokens_in, tokens_out = data.draw(st.integers(0, most_in)), data.draw(st.integers(0, most_out))
    parts = {name: data.draw(tokens) for name in ("cached", "cache_write", "cache_write_1h", "reasoning")}

    charged = price.charge(tokens_in, tokens_out, **parts)

    assert price.base_fee <= charged <= price.bound(most_in, most_out)


@given(rates, tokens, tokens)
def test_the_bound_is_not_larger_than_it_must_be(price: Rates, tokens_in: int, tokens_out: int) -> None:
    """Without special rates it is the price of exactly so many tokens, or that of the dearest tier below."""
    plain = Rates(price.input, price.output, price.base_fee)

    assert plain.bound(tokens_in, tokens_out) == plain.charge(tokens_in, tokens_out)


@given(st.integers(0, 10**20), st.sampled_from(Currency), exchange)
def test_a_cost_is_right_to_half_a_unit_in_each_currency(pico: int, currency: Currency, rate: ExchangeRate) -> None:
    """Against exact fractions. In the other currency half a pico unit of conversion comes on top."""
    cost = Cost.of_pico(pico, currency, rate)

    exact = Fraction(pico, PICO)
    per_usd = Fraction(rate.micro_sats_per_usd, 10**6)
    in_sats, in_usd = (exact, exact / per_usd) if currency is SATS else (exact * per_usd, exact)
    assert cost.sats is not None
    assert cost.usd is not None
    assert abs(Fraction(cost.sats, 10**6) - in_sats) <= Fraction(1, 2 * 10**6) + Fraction(1, PICO)
    assert abs(Fraction(cost.usd, 10**9) - in_usd) <= Fraction(1, 2 * 10**9) + Fraction(1, PICO)


@given(st.integers(0, 10**20), st.integers(0, 10**20), st.sampled_from(Currency), st.none() | exchange)
def test_what_is_less_never_costs_more(pico: int, more: int, currency: Currency, rate: ExchangeRate | None) -> None:
    """Rounding keeps order: who is charged at most what was bounded is charged at most what was reserved."""
    low, high = Cost.of_pico(pico, currency, rate), Cost.of_pico(pico + more, currency, rate)

    for each in Currency:
        assert (low.within(each) or 0) <= (high.within(each) or 0)


@given(st.integers(0, 10**16), st.sampled_from(Currency), st.none() | exchange)
def test_an_amount_is_itself_in_its_own_currency(amount: int, currency: Currency, rate: ExchangeRate | None) -> None:
    """In the other one it is known where an exchange rate is; nothing is nothing in both."""
    cost = Cost.of(amount, currency, rate)

    assert cost.within(currency) == amount
    assert (cost.within(currency.other) is None) is (rate is None and amount > 0)


def test_a_sum_loses_nothing_that_is_known() -> None:
    """Two costs of different currencies, without an exchange rate: each counts in its own. A budget that would see no
    cost at all would let it pass."""
    in_sats, in_usd = Cost(MicroSats(5), None), Cost(None, NanoUsd(7))

    assert in_sats.plus(in_sats) == Cost(MicroSats(10), None)
    assert in_usd.plus(in_usd) == Cost(None, NanoUsd(14))
    assert in_sats.plus(in_usd) == in_usd.plus(in_sats) == Cost(MicroSats(5), NanoUsd(7))
    assert Cost(MicroSats(1), NanoUsd(2)).plus(Cost(MicroSats(3), NanoUsd(4))) == Cost(MicroSats(4), NanoUsd(6))
    assert Cost(MicroSats(1), NanoUsd(2)).plus(in_sats) == Cost(MicroSats(6), NanoUsd(2))


def test_an_exchange_rate_is_kept_to_a_millionth_of_a_satoshi() -> None:
    """1,587.3 satoshis for a dollar, both ways; one too small to keep is the smallest there is, and never 0."""
    rate = ExchangeRate.of(Decimal("1587.3"), source="median", at=5.0)

    assert (rate.sats_per_usd, rate.source, rate.at) == (1587.3, "median", 5.0)
    assert rate.to_sats(PICO) == 1_587_300_000_000_000
    assert rate.to_usd(1_587_300_000_000_000) == PICO
    assert ExchangeRate.of(Decimal("0.0000001")).micro_sats_per_usd == 1


def test_configured_amounts_are_exact() -> None:
    """Decimals become integers: three dollars for a million tokens, a tenth of a satoshi for a thousand."""
    assert pico_each(Decimal(3), 1_000_000) == 3_000_000
    assert pico_each(Decimal("0.1"), 1000) == 100_000_000
    assert smallest(Decimal("0.1"), SATS) == 100_000
    assert smallest(Decimal("0.1"), USD) == 100_000_000
    assert Rates.per_thousand(input=Decimal("0.15"), output=Decimal(1)) == Rates(150_000_000, 1_000_000_000, 0)


def test_amounts_are_shown_without_an_exponent() -> None:
    """With the name of what they are, for people to read, and as the nearest number for JSON."""
    assert amount_text(1_250_000, SATS) == "1.25 sats"
    assert amount_text(500_000_000, USD) == "0.5 usd"
    assert amount_text(0, USD) == "0 usd"
    assert usd_text(NanoUsd(1)) == "0.000000001"
    assert (sats(MicroSats(1)), usd(NanoUsd(1))) == (0.000001, 0.000000001)


@given(st.integers(0, 10**18))
def test_dollars_print_exactly(amount: int) -> None:
    """The text, read back as a decimal, is the amount; without an exponent or trailing zeros."""
    text = usd_text(NanoUsd(amount))

    assert Decimal(text) * 10**9 == amount
    assert "e" not in text.lower()
    assert "." not in text or not text.endswith("0")
