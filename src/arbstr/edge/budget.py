"""``GET /v1/budget``: what was spent, and what may be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from arbstr.domain.errors import AdminOnly
from arbstr.edge import respond
from arbstr.edge.context import Context, Request
from arbstr.edge.filters import key_named
from arbstr.edge.query import no_more, query_of
from arbstr.policy.budget import Account, Meter, Period

NAMES = {
    Period.HOUR: "current_hour",
    Period.DAY: "current_day",
    Period.MONTH: "current_month",
    Period.TOTAL: "total",
}


async def budget(context: Context, request: Request) -> None:
    """Of the key that asks; else of the gateway as a whole, or of the key that the operator names (``key``)."""
    query = query_of(request)
    named = query.pop("key", None)
    no_more(query, expected="key")
    spending = context.pipeline.state.spending
    account = spending.gateway
    if request.key is not None:
        if named is not None and named not in (request.key.id, request.key.name):
            raise AdminOnly("a key sees its own budget alone", param="key")
        account = spending.account_of(request.key)
    elif named is not None:
        account = spending.account_of(key_named(context, named))
    await respond.json(request.send, request.id, view(account, spending.now()))


def view(account: Account, now: float) -> dict[str, Any]:
    """The running hour and day, and what else is limited, in the currency of the account."""
    meters = {meter.period: meter for meter in account.running(now)}
    shown: dict[str, Any] = {"key": None if not account.id else {"id": account.id, "name": account.name}}
    shown["currency"] = account.currency.value
    for period, name in NAMES.items():
        if period in (Period.HOUR, Period.DAY) or period in account.limits:
            shown[name] = _window(meters[period], account)
    shown["requests_left_estimate"] = _requests_left(account, list(meters.values()))
    return shown


def _window(meter: Meter, account: Account) -> dict[str, Any]:
    unit, limit = account.currency.smallest, meter.limit
    return {
        "spent": meter.spent / unit,
        "limit": None if limit is None else limit / unit,
        "remaining": None if limit is None else max(0, limit - meter.committed) / unit,
        "reserved": meter.reserved / unit,
        "resets_at": None if meter.period is Period.TOTAL else _instant(meter.end),
    }


def _requests_left(account: Account, meters: list[Meter]) -> int | None:
    """How many requests of the usual cost are left, by the mean of those that this process has settled; None where
    nothing is limited or nothing was settled."""
    left = [available for meter in meters if (available := meter.available) is not None]
    if not left or not account.settled_cost:
        return None
    return max(0, min(left) * account.settled // account.settled_cost)


def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
