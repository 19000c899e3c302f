"""What becomes of a key when its owner changes it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec import UNSET, UnsetType

from arbstr.domain.errors import InvalidRequest
from arbstr.domain.identity import PERIODS, Budgets, Key
from arbstr.domain.limits import Limits
from arbstr.domain.money import Currency, smallest


class KeyChange(msgspec.Struct, frozen=True):
    """What is to be different about a key, or, when it is made, from one that may do everything.

    UNSET stays as it is; None takes a restriction away. Amounts are in satoshis or dollars.
    """

    name: str | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType | None = UNSET
    policy: str | UnsetType | None = UNSET
    budget_currency: Currency | UnsetType = UNSET
    budget_hour: Decimal | UnsetType | None = UNSET
    budget_day: Decimal | UnsetType | None = UNSET
    budget_month: Decimal | UnsetType | None = UNSET
    budget_total: Decimal | UnsetType | None = UNSET
    rpm: int | UnsetType | None = UNSET
    tpm: int | UnsetType | None = UNSET
    max_parallel: int | UnsetType | None = UNSET
    expires_at: float | UnsetType | None = UNSET
    """In seconds since the epoch."""


def changed(key: Key, change: KeyChange, *, currency: Currency) -> Key:
    """``key`` with what ``change`` sets.

    ``currency`` is that of budgets where neither the change nor the key's own say otherwise. Raises InvalidRequest
    where a change of the currency would leave amounts in the old one, or there is none that it could be of.
    """
    return msgspec.structs.replace(
        key,
        name=key.name if change.name is UNSET else change.name,
        models=key.models if change.models is UNSET else change.models,
        policy=key.policy if change.policy is UNSET else change.policy,
        budgets=_budgets(key.budgets, change, currency),
        limits=Limits(
            rpm=key.limits.rpm if change.rpm is UNSET else change.rpm,
            tpm=key.limits.tpm if change.tpm is UNSET else change.tpm,
            max_parallel=key.limits.max_parallel if change.max_parallel is UNSET else change.max_parallel,
        ),
        expires_at=key.expires_at if change.expires_at is UNSET else change.expires_at,
    )


def _budgets(held: Budgets | None, change: KeyChange, default: Currency) -> Budgets | None:
    currency = default if held is None else held.currency
    if change.budget_currency is not UNSET:
        currency = change.budget_currency
    before = {} if held is None else dict(held.amounts())
    after: dict[str, int | None] = {}
    for period in PERIODS:
        given: Decimal | UnsetType | None = getattr(change, f"budget_{period}")
        if given is UNSET:
            after[period] = before.get(period)
            if held is not None and after[period] is not None and held.currency is not currency:
                raise InvalidRequest(
                    f"The key's budget for the {period} is in {held.currency.value}: in another currency all of its "
                    "budgets have to be given anew, or removed.",
                    param="budget_currency",
                )
        else:
            after[period] = None if given is None else smallest(given, currency)
    if all(amount is None for amount in after.values()):
        if change.budget_currency is not UNSET:
            raise InvalidRequest(
                "There is no budget that the currency could be of, expected one of "
                + ", ".join(f"budget_{period}" for period in PERIODS)
                + ".",
                param="budget_currency",
            )
        return None
    return Budgets(currency, **after)
