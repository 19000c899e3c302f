"""What a dollar is worth, of what several sources say."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from statistics import median

import msgspec

from arbstr.domain.money import ExchangeRate

SATS_PER_BTC = 100_000_000

LEAST, MOST = Decimal("0.001"), Decimal(10**9)
"""Satoshis for a dollar, between which a rate is taken for one: from a thousand million dollars a bitcoin down to ten
cents."""


class Reading(msgspec.Struct, frozen=True):
    """What one source said."""

    sats_per_usd: Decimal
    at: float
    """Seconds since the epoch."""


def number_at(document: object, path: str) -> Decimal:
    """The number that stands in JSON at ``path``: names and indexes with dots between. Raises ValueError."""
    for part in path.split("."):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isascii() and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            raise ValueError(f"there is no {path!r} in it")
    if isinstance(document, bool) or not isinstance(document, int | float | str | Decimal):
        raise ValueError(f"{path!r} is no number")
    try:
        value = Decimal(str(document))
    except ArithmeticError:
        raise ValueError(f"{path!r} is no number") from None
    if not value.is_finite():
        raise ValueError(f"{path!r} is no number")
    return value


def sats_per_usd(value: Decimal, unit: str) -> Decimal:
    """A source's finite number as satoshis for a dollar. Raises ValueError for what can be no rate."""
    of_a_bitcoin = unit == "usd_per_btc"
    least, most = (SATS_PER_BTC / MOST, SATS_PER_BTC / LEAST) if of_a_bitcoin else (LEAST, MOST)
    if not least <= value <= most:
        raise ValueError(f"{value:.6g} ({unit}) can be no rate")
    return SATS_PER_BTC / value if of_a_bitcoin else value


def agreed(readings: Iterable[Reading], now: float, max_age: float) -> ExchangeRate | None:
    """The median of the readings that are at most ``max_age`` seconds old at ``now``; None where there is none.

    One source that has gone mad cannot move it far, where there are three. A reading from the future, as there is after
    a clock was set back, is no fresher than one that is as long ago.
    """
    fresh = [reading for reading in readings if abs(now - reading.at) <= max_age]
    if not fresh:
        return None
    count = f"{len(fresh)} source{'s' if len(fresh) > 1 else ''}"
    rate = median(reading.sats_per_usd for reading in fresh)
    return ExchangeRate.of(rate, source=f"median of {count}", at=min(reading.at for reading in fresh))
