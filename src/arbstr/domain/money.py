"""Money as integers, with the currency in the type.

Prices are kept in picosatoshis per token (10⁻¹² sat), costs in microsatoshis (10⁻⁶ sat). One satoshi per 1,000
tokens is 10⁹ picosatoshis per token, so that a configured rate of up to nine decimal places is held exactly and a
cost is rounded once, at its end. Floats exist at the border only: configuration, JSON and the request log.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NewType

import msgspec

MicroSats = NewType("MicroSats", int)
"""Millionths of a satoshi."""

PicoSats = NewType("PicoSats", int)
"""10⁻¹² satoshi: the unit in which rates are kept and multiplied."""

_PICO_PER_MICRO = 1_000_000
_PICO_PER_SAT = 10**12


class Rates(msgspec.Struct, frozen=True):
    """What one deployment charges. All in picosatoshis; ``base_fee`` is for each request."""

    input: PicoSats
    output: PicoSats
    base_fee: PicoSats

    @classmethod
    def per_thousand(cls, *, input: Decimal, output: Decimal, base_fee: Decimal = Decimal(0)) -> Rates:
        """Rates from satoshis per 1,000 tokens, as they are configured. Digits beyond a picosatoshi are rounded."""
        return cls(
            input=PicoSats(round(input * _PICO_PER_SAT / 1000)),
            output=PicoSats(round(output * _PICO_PER_SAT / 1000)),
            base_fee=PicoSats(round(base_fee * _PICO_PER_SAT)),
        )

    def cost(self, input_tokens: int, output_tokens: int) -> MicroSats:
        """``input_tokens × input + output_tokens × output + base_fee``, rounded half up to a microsatoshi once."""
        pico = input_tokens * self.input + output_tokens * self.output + self.base_fee
        return MicroSats((pico + _PICO_PER_MICRO // 2) // _PICO_PER_MICRO)


def sats(amount: MicroSats) -> float:
    """The amount in satoshis, for JSON and the log: the nearest float, which prints at most six decimals back."""
    return amount / 1_000_000


def sats_text(amount: MicroSats) -> str:
    """The amount in satoshis as decimal digits without an exponent or trailing zeros: ``"1.25"``, ``"0.000001"``."""
    whole, fraction = divmod(amount, 1_000_000)
    return f"{whole}.{fraction:06d}".rstrip("0").rstrip(".") if fraction else str(whole)
