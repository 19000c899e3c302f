from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from arbstr.domain.errors import InvalidRequest
from arbstr.domain.identity import Budgets, Key
from arbstr.domain.limits import Limits
from arbstr.domain.money import Currency
from arbstr.policy.key_changes import KeyChange, changed

PLAIN = Key(id="key_1", name="one", hash=bytes(32), created_at=0.0)
FULL = msgspec.structs.replace(
    PLAIN,
    models=("gpt-4o",),
    policy="frugal",
    budgets=Budgets(Currency.SATS, hour=1_000_000, total=5_000_000),
    limits=Limits(rpm=10, tpm=20, max_parallel=3),
    expires_at=100.0,
)


def after(key: Key, currency: Currency = Currency.SATS, **fields: Any) -> Key:
    return changed(key, KeyChange(**fields), currency=currency)


@pytest.mark.parametrize("key", [PLAIN, FULL], ids=["plain", "full"])
def test_no_change_changes_nothing(key: Key) -> None:
    """What is not named stays as it is."""
    assert after(key, Currency.USD) == key


def test_everything_can_be_set() -> None:
    """From a key that may do everything to one that may do little."""
    key = after(
        PLAIN,
        name="one",
        models=("gpt-4o",),
        policy="frugal",
        budget_hour=Decimal(1),
        budget_total=Decimal(5),
        rpm=10,
        tpm=20,
        max_parallel=3,
        expires_at=100.0,
    )

    assert key == FULL


def test_everything_can_be_taken_away() -> None:
    """None is no restriction at all."""
    names = [name for name in KeyChange.__struct_fields__ if name not in ("name", "budget_currency")]
    nothing: dict[str, Any] = dict.fromkeys(names)

    assert after(FULL, **nothing) == PLAIN


def test_one_budget_is_changed_beside_others() -> None:
    """In the currency that the key's budgets are in, whatever the default is."""
    key = after(FULL, Currency.USD, budget_hour=Decimal("0.25"), budget_day=Decimal(2), budget_total=None)

    assert key.budgets == Budgets(Currency.SATS, hour=250_000, day=2_000_000)


@pytest.mark.parametrize(
    ("fields", "budgets"),
    [
        ({}, Budgets(Currency.USD, month=1_500_000_000)),
        ({"budget_currency": Currency.SATS}, Budgets(Currency.SATS, month=1_500_000)),
    ],
)
def test_a_first_budget_is_in_the_currency_named_or_the_default(fields: dict[str, Any], budgets: Budgets) -> None:
    """Amounts are kept in millionths of a satoshi, or thousand millionths of a dollar."""
    assert after(PLAIN, Currency.USD, budget_month=Decimal("1.5"), **fields).budgets == budgets


def test_the_currency_changes_where_no_amount_is_left_in_the_old_one() -> None:
    """All of them anew, or removed."""
    key = after(FULL, budget_currency=Currency.USD, budget_hour=Decimal(1), budget_total=None)

    assert key.budgets == Budgets(Currency.USD, hour=1_000_000_000)


def test_an_amount_is_never_taken_for_one_in_another_currency() -> None:
    """A thousand satoshis are not a thousand dollars."""
    with pytest.raises(InvalidRequest, match="budget for the total is in sats") as caught:
        after(FULL, budget_currency=Currency.USD, budget_hour=Decimal(1))

    assert caught.value.param == "budget_currency"


def test_a_currency_of_nothing_is_refused() -> None:
    """Who names one expects to have set a budget."""
    with pytest.raises(InvalidRequest, match="no budget that the currency could be of") as caught:
        after(PLAIN, budget_currency=Currency.USD)

    assert caught.value.param == "budget_currency"
