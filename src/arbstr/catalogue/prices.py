"""What a model costs at an instant, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from arbstr.catalogue.file import Price, Rate
from arbstr.domain.money import Currency, Rates, RateTier

_RATES = ("input", "output", "cached_input", "cache_write", "cache_write_1h", "reasoning")


def at_instant(prices: Sequence[Price], at: datetime) -> Price | None:
    """The last one that holds, the first where none does, None where there is none."""
    held = [price for price in prices if _holds(price, at)]
    return held[-1] if held else next(iter(prices), None)


def for_batches(standard: Price, batch: Sequence[Price], at: datetime) -> Price | None:
    """``standard`` with what is different for batches, or None where nothing is known to be."""
    different: dict[str, Rate] = {}
    for price in reversed([price for price in batch if _holds(price, at)]):
        different |= {name: value for name in (*_RATES, "request") if (value := getattr(price, name)) is not None}
    return msgspec.structs.replace(standard, **different) if different else None


def next_change(prices: Sequence[Price], at: datetime) -> datetime | None:
    """The first instant after ``at`` at which another price holds, None where none is known of."""
    now = _charged(at_instant(prices, at))
    return next((moment for moment in _moments(prices, at) if _charged(at_instant(prices, moment)) != now), None)


def rates(price: Price, source: str) -> Rates | None:
    """The rates in dollars, or None where what it says is no price for tokens."""
    if price.input is None or price.output is None:
        return None
    starts = sorted({start for name in _RATES for start in _starts(getattr(price, name))})
    return Rates(
        **_rates_above(price, 0),
        base_fee=price.request or 0,
        currency=Currency.USD,
        tiers=tuple(RateTier(above=start, **_rates_above(price, start)) for start in starts),
        source=source,
    )


def _rates_above(price: Price, tokens: int) -> dict[str, int]:
    """What holds just above so many tokens of input; what has no rate of its own is left out."""
    values = {name: getattr(price, name) for name in _RATES}
    return {name: _value_above(value, tokens) for name, value in values.items() if value is not None}


def _starts(rate: Rate | None) -> tuple[int, ...]:
    return rate[1::2] if isinstance(rate, tuple) else ()


def _value_above(rate: Rate, tokens: int) -> int:
    if isinstance(rate, int):
        return rate
    held = rate[0]
    for start, value in zip(rate[1::2], rate[2::2], strict=True):
        if tokens >= start:
            held = value
    return held


def _charged(price: Price | None) -> Price | None:
    return msgspec.structs.replace(price, since=None, hours=None) if price else None


def _holds(price: Price, at: datetime) -> bool:
    moment = at.astimezone(UTC)
    if price.since is not None and moment.date() < price.since:
        return False
    if price.hours is None:
        return True
    begin, end = price.hours
    now = moment.time()
    return begin <= now < end if begin <= end else now >= begin or now < end


def _moments(prices: Sequence[Price], at: datetime) -> Iterator[datetime]:
    """Every instant after ``at`` at which the price may change, in order.

    What changes by the hour does so within the next day, or within one of the days on which another price begins.
    """
    firsts = {price.since for price in prices if price.since is not None}
    hours = {hour for price in prices if price.hours is not None for hour in price.hours}
    today = at.astimezone(UTC).date()
    days: set[date] = firsts | ({today, today + timedelta(days=1)} if hours else set())
    moments = {datetime.combine(day, time(), UTC) for day in firsts}
    moments |= {datetime.combine(day, hour, UTC) for day in days for hour in hours}
    yield from sorted(moment for moment in moments if moment > at)
