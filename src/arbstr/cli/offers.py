"""What a model costs, and where: as a table for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from arbstr.cli.table import NOTHING, Table
from arbstr.config import Compiled
from arbstr.domain.money import Currency, ExchangeRate, Pico, Rates, RateTier
from arbstr.domain.routing import Deployment

if TYPE_CHECKING:
    from arbstr.catalogue import Listing

INPUT_TOKENS, OUTPUT_TOKENS = 750, 250
"""Of the request for which offers are put in order: three tokens of input to one of output."""

_TOKENS = ("input", "output", "cached_input", "cache_write", "cache_write_1h", "reasoning")
_PER_MILLION = {Currency.USD: 6, Currency.SATS: 9}
"""By how many digits pico for a token are more than dollars for a million tokens, or satoshis for a thousand."""
_FINEST = Decimal("0.000001")
"""Of converted amounts, what is shown."""


class Offer(msgspec.Struct, frozen=True):
    """What one provider charges for the model."""

    provider: str
    """As configured, else as in the catalogue."""
    model: str
    """As that provider calls it."""
    configured: bool
    rates: Rates | None
    """None: what a configured provider charges is not known."""
    batch: Rates | None = None
    context_window: int | None = None
    also: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None


def configured(compiled: Compiled, model: str) -> list[Offer]:
    """The deployments that may be asked for the model, by its name here or by their provider's."""
    route = compiled.snapshot.routes.get(model)
    every = [deployment for view in compiled.snapshot.providers for deployment in view.deployments]
    found = [*(route.deployments if route else ()), *(each for each in every if each.model == model)]
    return [_own(deployment) for deployment in dict.fromkeys(found)]


def _own(deployment: Deployment) -> Offer:
    return Offer(
        provider=deployment.provider,
        model=deployment.model,
        configured=True,
        rates=deployment.rates,
        context_window=deployment.context_window,
    )


def known(listing: Listing) -> Offer:
    """A listing of the catalogue."""
    return Offer(
        provider=listing.provider,
        model=listing.model,
        configured=False,
        rates=listing.rates,
        batch=listing.batch,
        context_window=listing.context_window,
        also=listing.also,
        since=listing.since.isoformat() if listing.since else None,
        until=listing.until.strftime("%Y-%m-%dT%H:%M:%SZ") if listing.until else None,
    )


def in_order(offers: Iterable[Offer], exchange: ExchangeRate | None) -> list[Offer]:
    """The cheapest first, those without a price last. Without an exchange rate dollars stand before satoshis, each in
    their own order."""

    def place(offer: Offer) -> tuple[bool, str, Pico, bool, str, str]:
        name = (not offer.configured, offer.provider, offer.model)
        if offer.rates is None:
            return (True, "", 0, *name)
        pico = offer.rates.expected(INPUT_TOKENS, OUTPUT_TOKENS)
        if exchange is None:
            return (False, {Currency.USD: "1", Currency.SATS: "2"}[offer.rates.currency], pico, *name)
        in_dollars = offer.rates.currency is Currency.USD
        return (False, "", pico if in_dollars else exchange.to_usd(pico), *name)

    return sorted(offers, key=place)


def table(offers: Iterable[Offer], exchange: ExchangeRate | None) -> Table:
    """What has no unit is in dollars for a million tokens. Columns in which nothing stands are left out."""
    rows = [_row(offer, exchange) for offer in offers]
    dollars, sats = ("input $/1M", "output $/1M"), ("input sat/1k", "output sat/1k")
    more = ("cached", "cache write", "for 1h", "reasoning", "per request", "above", "batch", "also", "since", "until")
    columns = ("provider", "configured", "model", *dollars, *sats, *more, "context", "source")
    used = [
        index for index, name in enumerate(columns) if name in _ALWAYS or any(row[index] != NOTHING for row in rows)
    ]
    return Table(
        tuple(columns[index] for index in used),
        [tuple(row[index] for index in used) for row in rows],
        numbers=frozenset({*dollars, *sats, "context"}),
        fold=tuple(name for name in (*reversed(more), "context", "source") if columns.index(name) in used),
    )


_ALWAYS = {"provider", "configured", "model", "input $/1M", "output $/1M"}
"""Columns that are there also where they are empty."""


def _row(offer: Offer, exchange: ExchangeRate | None) -> tuple[str, ...]:
    rates = offer.rates
    dollars = _in(Currency.USD, rates, exchange) or {}
    sats = _in(Currency.SATS, rates, exchange) or {}
    shown, unit = (dollars, "") if dollars else (sats, " sat/1k")
    fee = shown.get("per_request")
    batch = _in(Currency.USD, offer.batch, exchange)
    return (
        offer.provider,
        "yes" if offer.configured else NOTHING,
        offer.model,
        *(_text(dollars.get(name)) for name in ("input", "output")),
        *(_text(sats.get(name)) for name in ("input", "output")),
        *(_text(shown.get(name), unit) for name in _TOKENS[2:]),
        (_text(fee, " $" if dollars else " sat") if fee else NOTHING),
        ", ".join(f"{each['above']:,}: {_pair(each)}{unit}" for each in shown.get("tiers", ())) or NOTHING,
        _pair(batch) if batch else NOTHING,
        ", ".join(offer.also) or NOTHING,
        offer.since or NOTHING,
        offer.until or NOTHING,
        f"{offer.context_window:,}" if offer.context_window else NOTHING,
        rates.source if rates else "unknown",
    )


def json(offers: Iterable[Offer], exchange: ExchangeRate | None) -> list[dict[str, Any]]:
    """As the table; each price in both currencies, null where it is not known."""
    return [
        {
            "provider": offer.provider,
            "configured": offer.configured,
            "model": offer.model,
            **_both(offer.rates, exchange),
            "batch": offer.batch and _both(offer.batch, exchange),
            "context_window": offer.context_window,
            "also": list(offer.also),
            "since": offer.since,
            "until": offer.until,
            "source": offer.rates and offer.rates.source,
        }
        for offer in offers
    ]


def _both(rates: Rates | None, exchange: ExchangeRate | None) -> dict[str, Any]:
    return {
        "usd_per_million": _floats(_in(Currency.USD, rates, exchange)),
        "sats_per_thousand": _floats(_in(Currency.SATS, rates, exchange)),
    }


def _in(currency: Currency, rates: Rates | None, exchange: ExchangeRate | None) -> dict[str, Any] | None:
    """The rates in a currency, None where that is not known. Those that are as input or as output are left out."""
    if rates is None or (rates.currency is not currency and exchange is None):
        return None

    def amount(pico: Pico, digits: int) -> Decimal:
        if rates.currency is currency or exchange is None:
            return Decimal(pico).scaleb(-digits)
        converted = exchange.to_usd(pico) if currency is Currency.USD else exchange.to_sats(pico)
        return Decimal(converted).scaleb(-digits).quantize(_FINEST)

    def tokens(some: Rates | RateTier) -> dict[str, Any]:
        values = {name: getattr(some, name) for name in _TOKENS}
        return {name: amount(value, _PER_MILLION[currency]) for name, value in values.items() if value is not None}

    tiers = [{"above": tier.above, **tokens(tier)} for tier in rates.tiers]
    return tokens(rates) | {"per_request": amount(rates.base_fee, 12)} | ({"tiers": tiers} if tiers else {})


def _floats(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """For JSON."""
    if values is None:
        return None
    return {
        name: [_floats(each) for each in value] if isinstance(value, list) else _plain(value)
        for name, value in values.items()
    }


def _plain(value: Decimal | int) -> float | int:
    return float(value) if isinstance(value, Decimal) else value


def _pair(values: Mapping[str, Any]) -> str:
    return f"{_text(values['input'])} / {_text(values['output'])}"


def _text(value: Decimal | None, unit: str = "") -> str:
    """``2.5``, ``10``."""
    return NOTHING if value is None else f"{value:f}".rstrip("0").rstrip(".") + unit
