"""A gateway key as people write and read it: with the options of ``arbstr keys``, with the fields of ``/admin/keys``.

Both are tables of the same names, in which a text and the value that it spells mean the same; None, and the text
``none``, take a restriction away. What comes of one is a :class:`~arbstr.policy.key_changes.KeyChange`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import UNSET

from arbstr.config.units import duration, integer, number, shown
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.identity import PERIODS, Budgets, Key, checked_name
from arbstr.domain.money import Currency
from arbstr.policy.key_changes import KeyChange

LARGEST = 10**9
"""Satoshis or dollars of a budget."""
DECIMALS = 9
"""Of a budget; of one in satoshis, the last three are rounded away."""
MOST = 2**31 - 1
"""Of what a limit counts."""
LATEST = datetime.fromisoformat("9999-12-31T00:00:00+00:00").timestamp()
MOST_MODELS = 1000
LONGEST_MODEL = 200
"""Characters."""

LONGEST_PARAM = 40
"""Characters of a name that is none; real ones are shorter."""

_NOTHING = "none"


def key_change(fields: Mapping[str, Any], *, now: float, policies: Collection[str]) -> KeyChange:
    """What ``fields`` change about a key; what is not among them stays as it is.

    ``now``, in seconds since the epoch, is when a lifetime begins; ``policies`` are the rules that there are. Raises
    InvalidRequest, whose ``param`` names the field, and whose message says what was expected of it.
    """
    readers = _readers(now, policies)
    change: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in readers:
            near = difflib.get_close_matches(name, readers, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(readers)}"
            raise InvalidRequest(f"{shown(name)} is not a setting of a key, {hint}", param=name[:LONGEST_PARAM])
        try:
            change["expires_at" if name == "expires" else name] = readers[name](value)
        except ValueError as error:
            raise InvalidRequest(f"{name}: {error}", param=name) from None
    return KeyChange(**change)


def key_entry(key: Key, *, now: float) -> dict[str, Any]:
    """All that is to be known of a key, ready for JSON: times in RFC 3339, amounts in satoshis or dollars."""
    budgets = key.budgets or Budgets(Currency.SATS)
    return {
        "id": key.id,
        "name": key.name,
        "standing": key.standing(now).value,
        "models": None if key.models is None else list(key.models),
        "policy": key.policy,
        "budget_currency": None if key.budgets is None else budgets.currency.value,
        **{
            f"budget_{period}": None if amount is None else amount / budgets.currency.smallest
            for period, amount in budgets.amounts()
        },
        "rpm": key.limits.rpm,
        "tpm": key.limits.tpm,
        "max_parallel": key.limits.max_parallel,
        "created_at": _time(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "previous_until": _time(key.previous_until if now < (key.previous_until or 0) else None),
    }


def _time(seconds: float | None) -> str | None:
    """As in the request log: always with six decimals."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _readers(now: float, policies: Collection[str]) -> dict[str, Callable[[Any], Any]]:
    """How each field is read. ``expires_at``, as a key is shown, means the same as ``expires``."""
    amounts = {f"budget_{period}": _optional(_amount) for period in PERIODS}
    counts = {name: _optional(_count) for name in ("rpm", "tpm", "max_parallel")}
    expiry = _optional(lambda value: _instant(value, now))
    return {
        "name": _name,
        "models": _models,
        "policy": _optional(lambda value: _policy(value, policies)),
        **amounts,
        "budget_currency": _currency,
        **counts,
        "expires": expiry,
        "expires_at": expiry,
    }


def _optional(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None or value == _NOTHING else read(value)


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text, expected a name such as team-a")
    return checked_name(value)


def _models(value: object) -> tuple[str, ...] | None:
    expected = 'expected names or patterns such as "gpt-4o,claude-*", or "*" for all'
    if value is None:
        return None
    listed = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"is not a list of texts, {expected}")
    if not listed or listed == [_NOTHING]:
        raise ValueError(f"without any model the key would be good for nothing, {expected}")
    if len(listed) > MOST_MODELS:
        raise ValueError(f"there are {len(listed)} of them, expected at most {MOST_MODELS}")
    for each in listed:
        if not each or each != each.strip() or not each.isprintable() or len(each) > LONGEST_MODEL:
            raise ValueError(f"{shown(each)} is not the name of a model, {expected}")
    return None if "*" in listed else tuple(dict.fromkeys(listed))


def _policy(value: object, policies: Collection[str]) -> str:
    if not isinstance(value, str) or value not in policies:
        known = f"one of {', '.join(sorted(policies))}" if policies else "none, as there are no rules in [policies]"
        raise ValueError(f"{shown(value)} is not a policy, expected {known}")
    return value


def _amount(value: object) -> Decimal:
    expected = "an amount such as 1000 or 2.50, or none"
    if isinstance(value, str):
        try:
            value = Decimal(value) if len(value) <= 40 else None
        except InvalidOperation:
            value = None
        if value is None:
            raise ValueError(f"is not a number, expected {expected}")
    exact = number(value, expected)
    if not 0 <= exact <= LARGEST:
        raise ValueError(f"{shown(exact)} is out of range, expected from 0 to {LARGEST}")
    if exact != round(exact, DECIMALS):
        raise ValueError(f"{shown(exact)} is more exact than budgets are kept, expected at most {DECIMALS} decimals")
    return exact


def _currency(value: object) -> Any:
    if value is None:  # of a key without budgets, as it is shown
        return UNSET
    try:
        return Currency(value)
    except ValueError:
        known = " or ".join(currency.value for currency in Currency)
        raise ValueError(f"{shown(value)} is not a currency, expected {known}") from None


def _count(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    return integer(value, low=1, high=MOST)


def _instant(value: object, now: float) -> float | None:
    """Seconds since the epoch, from a lifetime that begins now or from an instant with its offset from UTC."""
    expected = 'expected a duration up to "365d", an instant such as "2030-01-31T00:00:00Z", or "never"'
    if value == "never":
        return None
    if not isinstance(value, str):
        raise ValueError(f"is not a text, {expected}")
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        try:
            return now + duration(value)
        except ValueError as error:
            raise ValueError(f"{str(error).partition(', expected')[0]}, {expected}") from None
    if instant.tzinfo is None:
        raise ValueError(f"{shown(value)} does not say in which time zone, {expected}")
    seconds = instant.timestamp()
    if not now < seconds <= LATEST:
        raise ValueError(f"{shown(value)} has passed, or will never come, {expected}")
    return seconds
