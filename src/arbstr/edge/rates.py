"""What a deployment charges, as JSON."""

from __future__ import annotations

from typing import Any

from arbstr.domain.money import Currency, ExchangeRate, Pico, Rates, RateTier
from arbstr.policy.pricing import comparable

PER = {Currency.SATS: 1_000, Currency.USD: 1_000_000}
"""Tokens that a price is given for, as is usual in each currency."""


def shown_rates(rates: Rates | None, rate: ExchangeRate | None) -> dict[str, Any]:
    """``input_rate``, ``output_rate`` and ``base_fee`` in satoshis per 1,000 tokens, null where that is not known, and
    under ``rates`` all there is, in its own currency."""
    if rates is None:
        return {"input_rate": None, "output_rate": None, "base_fee": None, "rates": None}
    known = rates.currency is Currency.SATS or rate is not None
    in_sats = [
        comparable(pico, rates.currency, rate) / 10**9 if known else None for pico in (rates.input, rates.output)
    ]
    fee = comparable(rates.base_fee, rates.currency, rate) / 10**12 if known else None
    return {
        "input_rate": in_sats[0],
        "output_rate": in_sats[1],
        "base_fee": fee,
        "rates": {
            "currency": rates.currency.value,
            "per": PER[rates.currency],
            **_parts(rates, rates.currency),
            "base_fee": rates.base_fee / 10**12,
            "tiers": [{"above": tier.above, **_parts(tier, rates.currency)} for tier in rates.tiers],
            "source": rates.source,
        },
    }


def _parts(rates: Rates | RateTier, currency: Currency) -> dict[str, float]:
    """The rates that there are, by name."""
    names = ("input", "output", "cached_input", "cache_write", "cache_write_1h", "reasoning")
    found: dict[str, Pico | None] = {name: getattr(rates, name) for name in names}
    return {name: pico * PER[currency] / 10**12 for name, pico in found.items() if pico is not None}
