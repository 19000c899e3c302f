"""Money as integers, with the currency in the type.

Rates are kept in 10⁻¹² of their currency's unit per token (*pico*), costs in microsatoshis (10⁻⁶ sat) and nanodollars
(10⁻⁹ dollar). One satoshi per 1,000 tokens is 10⁹ pico per token, and one dollar per million tokens 10⁶, so that a
configured rate of up to nine (six) decimal places is held exactly. A cost is multiplied out in pico, converted where
it must be, and rounded once in each currency, at its end. Floats exist at the border only: configuration, JSON and the
log.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import NewType

import msgspec

MicroSats = NewType("MicroSats", int)
"""Millionths of a satoshi."""

NanoUsd = NewType("NanoUsd", int)
"""Billionths of a dollar."""

PicoSats = NewType("PicoSats", int)
"""10⁻¹² satoshi."""

Pico = int
"""10⁻¹² of a satoshi or of a dollar: the unit in which rates are kept and multiplied, whichever their currency."""

_PICO_PER_MICRO = 1_000_000
_PICO_PER_NANO = 1_000
_PICO = 10**12
_MICRO = 1_000_000


class Currency(enum.Enum):
    """What a price, a budget or a ceiling is in."""

    SATS = "sats"
    USD = "usd"

    @property
    def smallest(self) -> int:
        """How many of the units that costs are kept in make one satoshi (10⁶) or one dollar (10⁹)."""
        return 10**6 if self is Currency.SATS else 10**9

    @property
    def other(self) -> Currency:
        """The other one of the two."""
        return Currency.USD if self is Currency.SATS else Currency.SATS


PICO_IN_SMALLEST = {Currency.SATS: _PICO_PER_MICRO, Currency.USD: _PICO_PER_NANO}
"""Pico in the smallest unit that costs are kept in."""


class ExchangeRate(msgspec.Struct, frozen=True):
    """What a dollar is worth in satoshis."""

    micro_sats_per_usd: int
    """Millionths of a satoshi for a dollar; above 0."""
    source: str = "config"
    """Where it is from: ``config``, or the sources that were asked."""
    at: float = 0.0
    """When it was read, in seconds since the epoch; 0 for one that is configured."""

    @classmethod
    def of(cls, sats_per_usd: Decimal, *, source: str = "config", at: float = 0.0) -> ExchangeRate:
        """A rate from satoshis per dollar. Digits beyond a millionth of a satoshi are rounded."""
        return cls(max(1, round(sats_per_usd * _MICRO)), source, at)

    @property
    def sats_per_usd(self) -> float:
        return self.micro_sats_per_usd / _MICRO

    def to_sats(self, pico_usd: Pico) -> Pico:
        """Pico-dollars in pico-satoshis, rounded half up."""
        return (pico_usd * self.micro_sats_per_usd + _MICRO // 2) // _MICRO

    def to_usd(self, pico_sats: Pico) -> Pico:
        """Pico-satoshis in pico-dollars, rounded half up."""
        return (pico_sats * _MICRO + self.micro_sats_per_usd // 2) // self.micro_sats_per_usd


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What something cost, in both currencies as far as they are known; at least one is."""

    sats: MicroSats | None
    usd: NanoUsd | None

    def within(self, currency: Currency) -> int | None:
        """In that currency's smallest units, or None where no exchange rate was known."""
        return self.sats if currency is Currency.SATS else self.usd

    @classmethod
    def of_pico(cls, pico: Pico, currency: Currency, rate: ExchangeRate | None) -> Cost:
        """From pico units of ``currency``: rounded half up, once in each currency. Nothing is nothing in both."""
        if not pico:
            return FREE_OF_CHARGE
        if currency is Currency.SATS:
            sats = MicroSats((pico + _PICO_PER_MICRO // 2) // _PICO_PER_MICRO)
            if rate is None:
                return cls(sats, None)
            return cls(sats, NanoUsd((rate.to_usd(pico) + _PICO_PER_NANO // 2) // _PICO_PER_NANO))
        usd = NanoUsd((pico + _PICO_PER_NANO // 2) // _PICO_PER_NANO)
        if rate is None:
            return cls(None, usd)
        return cls(MicroSats((rate.to_sats(pico) + _PICO_PER_MICRO // 2) // _PICO_PER_MICRO), usd)

    @classmethod
    def of(cls, amount: int, currency: Currency, rate: ExchangeRate | None) -> Cost:
        """From ``amount`` of ``currency``'s smallest units."""
        per = _PICO_PER_MICRO if currency is Currency.SATS else _PICO_PER_NANO
        return cls.of_pico(amount * per, currency, rate)

    def plus(self, other: Cost) -> Cost:
        """The sum of what is known, in each currency: what is known in the other one alone is missing in it, so that
        no amount is lost for want of an exchange rate."""
        sats = other.sats if self.sats is None else MicroSats(self.sats + (other.sats or 0))
        usd = other.usd if self.usd is None else NanoUsd(self.usd + (other.usd or 0))
        return Cost(sats, usd)


FREE_OF_CHARGE = Cost(MicroSats(0), NanoUsd(0))


class RateTier(msgspec.Struct, frozen=True):
    """Rates that hold for all tokens of a request whose input is longer than ``above`` tokens."""

    above: int
    input: Pico
    output: Pico
    cached_input: Pico | None = None
    cache_write: Pico | None = None
    cache_write_1h: Pico | None = None
    reasoning: Pico | None = None


class Rates(msgspec.Struct, frozen=True):
    """What one deployment charges: pico of ``currency`` per token, and ``base_fee`` for each request."""

    input: Pico
    output: Pico
    base_fee: Pico
    currency: Currency = Currency.SATS
    cached_input: Pico | None = None
    """Of input tokens that were read from a cache. None: as input."""
    cache_write: Pico | None = None
    """Of input tokens that were written to a cache, for five minutes. None: as input."""
    cache_write_1h: Pico | None = None
    """… for an hour. None: as for five minutes."""
    reasoning: Pico | None = None
    """Of output tokens that were thought and not said. None: as output."""
    tiers: tuple[RateTier, ...] = ()
    """Ascending by ``above``; the last one that a request's input exceeds holds for all its tokens."""
    top_input: Pico = 0
    """The dearest that an input token can be, of those that no tier makes dearer; set by itself."""
    top_output: Pico = 0
    """Likewise of output tokens."""
    source: str = "config"
    """Where they are from, with their date where it is known: what the request log has as ``price_source``."""

    def __post_init__(self) -> None:
        input_rates = (self.input, self.cached_input or 0, self.cache_write or 0, self.cache_write_1h or 0)
        msgspec.structs.force_setattr(self, "top_input", max(input_rates))
        msgspec.structs.force_setattr(self, "top_output", max(self.output, self.reasoning or 0))

    @property
    def free(self) -> bool:
        """Nothing costs anything, in whichever currency."""
        return not (self.top_input or self.top_output or self.base_fee or self.tiers)

    @classmethod
    def per_thousand(cls, *, input: Decimal, output: Decimal, base_fee: Decimal = Decimal(0)) -> Rates:
        """Rates from satoshis per 1,000 tokens, as they are configured. Digits beyond a picosatoshi are rounded."""
        return cls(input=pico_each(input, 1000), output=pico_each(output, 1000), base_fee=pico_each(base_fee, 1))

    def at(self, input_tokens: int) -> Rates | RateTier:
        """What holds for a request with so many input tokens."""
        held: Rates | RateTier = self
        for tier in self.tiers:
            if input_tokens > tier.above:
                held = tier
        return held

    def expected(self, input_tokens: int, output_tokens: int) -> Pico:
        """``input × rate + output × rate + base fee``, with nothing cached and nothing thought."""
        rates = self if not self.tiers else self.at(input_tokens)
        return input_tokens * rates.input + output_tokens * rates.output + self.base_fee

    def charge(
        self,
        input_tokens: int,
        output_tokens: int,
        *,
        cached: int = 0,
        cache_write: int = 0,
        cache_write_1h: int = 0,
        reasoning: int = 0,
    ) -> Pico:
        """The price of a request. ``cached`` and ``cache_write`` tokens are part of the input, ``cache_write_1h`` ones
        part of ``cache_write``, ``reasoning`` ones part of the output."""
        rates = self if not self.tiers else self.at(input_tokens)
        pico = input_tokens * rates.input + output_tokens * rates.output + self.base_fee
        if cached and rates.cached_input is not None:
            pico += min(cached, input_tokens) * (rates.cached_input - rates.input)
        if cache_write:
            written = min(cache_write, max(0, input_tokens - cached))
            for_an_hour = min(cache_write_1h, written)
            short = rates.input if rates.cache_write is None else rates.cache_write
            long = short if rates.cache_write_1h is None else rates.cache_write_1h
            pico += (written - for_an_hour) * (short - rates.input) + for_an_hour * (long - rates.input)
        if reasoning and rates.reasoning is not None:
            pico += min(reasoning, output_tokens) * (rates.reasoning - rates.output)
        return pico

    def bound(self, input_tokens: int, output_tokens: int) -> Pico:
        """No request with at most so many tokens costs more, whatever of it is cached or thought."""
        dearest = input_tokens * self.top_input + output_tokens * self.top_output
        if not self.tiers:
            return dearest + self.base_fee
        for tier in self.tiers:
            if input_tokens > tier.above:
                dearest = max(dearest, _dearest(tier, input_tokens, output_tokens))
        return dearest + self.base_fee


def _dearest(rates: RateTier, input_tokens: int, output_tokens: int) -> Pico:
    input_rate = max(rates.input, rates.cached_input or 0, rates.cache_write or 0, rates.cache_write_1h or 0)
    return input_tokens * input_rate + output_tokens * max(rates.output, rates.reasoning or 0)


def pico_each(amount: Decimal, per: int) -> Pico:
    """The price of one, in pico, where ``per`` of them cost ``amount``. Digits beyond are rounded."""
    return round(amount * _PICO / per)


def sats(amount: MicroSats) -> float:
    """The amount in satoshis, for JSON and the log: the nearest float, which prints at most six decimals back."""
    return amount / 1_000_000


def sats_text(amount: MicroSats) -> str:
    """The amount in satoshis as decimal digits without an exponent or trailing zeros: ``"1.25"``, ``"0.000001"``."""
    whole, fraction = divmod(amount, 1_000_000)
    return f"{whole}.{fraction:06d}".rstrip("0").rstrip(".") if fraction else str(whole)


def usd(amount: NanoUsd) -> float:
    """The amount in dollars, for JSON and the log: the nearest float, which prints at most nine decimals back."""
    return amount / 1_000_000_000


def usd_text(amount: NanoUsd) -> str:
    """The amount in dollars as decimal digits without an exponent or trailing zeros: ``"0.0025"``."""
    whole, fraction = divmod(amount, 1_000_000_000)
    return f"{whole}.{fraction:09d}".rstrip("0").rstrip(".") if fraction else str(whole)


def amount_text(amount: int, currency: Currency) -> str:
    """An amount in a currency's smallest units, with its name: ``"1.25 sats"``, ``"0.5 usd"``."""
    text = sats_text(MicroSats(amount)) if currency is Currency.SATS else usd_text(NanoUsd(amount))
    return f"{text} {currency.value}"


def smallest(amount: Decimal, currency: Currency) -> int:
    """An amount of satoshis or dollars in the currency's smallest units. Digits beyond are rounded."""
    return round(amount * currency.smallest)
