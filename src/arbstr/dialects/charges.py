"""What a provider itself says that it charged, beside the tokens that it counted.

Few do. Whose each field is, as their own documentation has it in November 2026:

- ``usage.cost``: OpenRouter's, in credits, each of which is a dollar; Routstr and others follow it. Perplexity has an
  object there, with the sum in ``total_cost``.
- ``usage.cost_details.upstream_inference_cost`` with ``usage.is_byok``: OpenRouter's, of a request with the operator's
  own key for the vendor behind it. ``cost`` is then OpenRouter's fee alone, and the vendor bills its part beside it.
- ``usage.cost_in_usd_ticks``: xAI's, in 10⁻¹⁰ dollar.
- ``usage.cost_sats``: Routstr's, in satoshis without their fraction (``sats_cost`` is its older name); and this
  gateway's, for one that stands behind another.
- ``cost.total_msats``, beside ``usage``: Routstr's, in thousandths of a satoshi, which is what it takes.
"""

from __future__ import annotations

from typing import Any

from arbstr.domain.money import Currency
from arbstr.domain.usage import Charge

MOST = {Currency.USD: 10_000_000, Currency.SATS: 1_000_000_000}
"""What is above it is no charge: no answer costs as much."""

_LARGEST = 10**18
_TICKS_PER_DOLLAR = 10**10
_MSATS_PER_SAT = 1000


def read_charge(usage: dict[str, Any]) -> Charge | None:
    """The charge in a ``usage`` object, or None where there is none that can be true.

    Satoshis before dollars: who names both is paid in satoshis. Unless it is less than one, of which nothing is left.
    """
    if "cost" in usage or "cost_sats" in usage or "cost_in_usd_ticks" in usage or "sats_cost" in usage:
        sats = _charge(_number(usage.get("cost_sats", usage.get("sats_cost"))), Currency.SATS)
        return sats if sats is not None and sats.amount else _dollars(usage) or sats
    return None


def charge_beside(cost: Any) -> Charge | None:
    """The charge in an object ``cost`` that stands beside ``usage``; None for anything else."""
    msats = _number(cost.get("total_msats")) if type(cost) is dict else None
    return _charge(msats / _MSATS_PER_SAT, Currency.SATS) if msats is not None else None


def _dollars(usage: dict[str, Any]) -> Charge | None:
    ticks = _number(usage.get("cost_in_usd_ticks"))
    if ticks is not None:
        return _charge(ticks / _TICKS_PER_DOLLAR, Currency.USD)
    cost = usage.get("cost")
    amount = _number(cost.get("total_cost") if type(cost) is dict else cost)
    details = usage.get("cost_details")
    if amount is not None and usage.get("is_byok") is True and type(details) is dict:
        amount += _number(details.get("upstream_inference_cost")) or 0
    return _charge(amount, Currency.USD)


def _charge(amount: float | None, currency: Currency) -> Charge | None:
    if amount is None or amount > MOST[currency]:
        return None
    return Charge(round(amount * currency.smallest), currency)


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) and 0 <= value <= _LARGEST else None
