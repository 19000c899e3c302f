"""What money has to say about who may serve: ceilings, and prices that nobody knows."""

from __future__ import annotations

import pytest

from arbstr.domain.errors import CeilingTooLow, Unpriced
from arbstr.domain.money import Currency, ExchangeRate, Pico, Rates
from arbstr.domain.routing import Deployment
from arbstr.policy.terms import FREE, Ceiling, Money, Terms

SATS, USD = Currency.SATS, Currency.USD
SAT, DOLLAR = 10**6, 10**9
THOUSAND = ExchangeRate(1000 * 10**6)
"""A dollar is 1,000 satoshis."""


def at(name: str, price: int | None, currency: Currency = SATS) -> Deployment:
    """Where each request costs ``price`` satoshis or dollars at most."""
    return Deployment(name, "m", None if price is None else Rates(0, 0, price * 10**12, currency))


def fee(deployment: Deployment, rates: Rates) -> Pico:
    return rates.base_fee


def up_to(
    *ceilings: tuple[int, Currency], rate: ExchangeRate | None = None, priced: tuple[Currency, ...] = ()
) -> Money:
    made = tuple(
        Ceiling(amount * currency.smallest, currency, f"X-Arbstr-Max-Cost-{currency.value.title()}")
        for amount, currency in ceilings
    )
    return Money(Terms(rate, fee, made, priced))


def test_without_terms_everybody_may_serve() -> None:
    """And nobody's worst case is worked out."""
    money = Money(FREE)

    assert not FREE.binding
    assert [money.refuses(each) for each in (at("a", 5), at("b", 5, USD), at("c", None))] == [None] * 3
    assert money.worst is None
    assert money.refusal("m") is None


def test_who_may_cost_more_than_the_ceiling_is_rejected() -> None:
    """Exactly at it is still within it; the rejection has both amounts' names."""
    money = up_to((5, SATS))

    assert money.terms.binding
    assert money.refuses(at("a", 6)) == "may cost 6 sats, more than X-Arbstr-Max-Cost-Sats allows"
    assert money.refuses(at("b", 5)) is None
    assert money.worst == 5 * 10**12
    assert money.refusal("m") is None


def test_a_ceiling_holds_in_the_other_currency_at_the_rate_of_the_moment() -> None:
    """Two dollars are 2,000 satoshis."""
    money = up_to((1999, SATS), rate=THOUSAND)

    assert money.refuses(at("a", 2, USD)) == "may cost 2000 sats, more than X-Arbstr-Max-Cost-Sats allows"
    assert money.refuses(at("b", 1, USD)) is None


def test_none_left_is_402_with_the_cheapest_price_seen() -> None:
    """Of equally cheap ones, the first by name; and which header said it."""
    money = up_to((5, SATS))
    for each in (at("d", 9), at("c", 7), at("b", 7), at("a", 8)):
        money.refuses(each)

    refusal = money.refusal("m")

    assert isinstance(refusal, CeilingTooLow)
    assert (refusal.status, refusal.param) == (402, "X-Arbstr-Max-Cost-Sats")
    assert "up to 7 sats at b, the cheapest provider of 'm': more than the 5 sats" in refusal.message


def test_of_two_ceilings_the_cheapest_is_found_across_currencies() -> None:
    """Who is above the second alone is cheaper than who is above the first already."""
    money = up_to((5, SATS), (0, USD), rate=THOUSAND)
    for each in (at("a", 6), at("b", 4)):
        money.refuses(each)

    refusal = money.refusal("m")

    assert isinstance(refusal, CeilingTooLow)
    assert "up to 0.004 usd at b" in refusal.message


def test_a_ceiling_needs_a_price() -> None:
    """Who has none is not asked, for nobody could say that it was kept."""
    money = up_to((5, SATS))

    assert money.refuses(at("a", None)) == "has no price, and what may be spent is limited"
    refusal = money.refusal("m")
    assert isinstance(refusal, Unpriced)
    assert (refusal.status, refusal.param) == (400, "model")
    assert refusal.message == (
        "no provider of 'm' has a known price (a), and what may be spent is limited: set its rates"
    )


def test_a_budget_that_is_not_to_be_passed_needs_a_price_in_its_currency() -> None:
    """A provider that sells for dollars, a budget in satoshis, and no rate yet: its cost would count as nothing."""
    money = up_to(priced=(SATS,))

    assert money.refuses(at("a", 1, USD)) == "has no price in sats: no exchange rate is known"
    assert money.refuses(at("b", None)) == "has no price, and what may be spent is limited"
    refusal = money.refusal("m")
    assert isinstance(refusal, Unpriced)
    assert refusal.message == (
        "no provider of 'm' has a known price in sats (a, b), and what may be spent is limited: set its rates, or "
        'pricing.exchange, or budget.unpriced = "allow"'
    )
    assert money.refuses(at("c", 1)) is None
    assert money.refusal("m") is None


@pytest.mark.parametrize("rate", [None, THOUSAND])
def test_the_gateway_and_a_key_may_count_in_different_currencies(rate: ExchangeRate | None) -> None:
    """Then both prices must be known."""
    money = up_to(priced=(SATS, USD), rate=rate)

    refused = [money.refuses(each) is not None for each in (at("a", 1), at("b", 1, USD))]

    assert refused == [rate is None] * 2


def test_what_is_free_is_so_in_every_currency() -> None:
    """A local model without a price of any kind needs no exchange rate."""
    money = up_to((0, USD), priced=(USD,))

    assert money.refuses(at("local", 0)) is None
    assert money.refuses(at("other", 1)) == "has no price in usd: no exchange rate is known"


def test_a_ceiling_and_a_budget_together_are_not_lifted_by_the_configuration() -> None:
    """``budget.unpriced`` would not help a caller who named a ceiling, and is not proposed."""
    money = up_to((5, SATS), priced=(SATS,))
    money.refuses(at("a", 1, USD))

    refusal = money.refusal("m")

    assert refusal is not None
    assert refusal.message.endswith("set its rates, or pricing.exchange")


def test_without_candidates_the_terms_have_refused_nobody() -> None:
    """Why there is none is for others to say."""
    assert up_to((5, SATS)).refusal("m") is None
