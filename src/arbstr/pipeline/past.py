"""What was spent before this process began: the larger of what was logged and what was leased, in both currencies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arbstr.domain.money import Cost, Currency, ExchangeRate, MicroSats, NanoUsd
from arbstr.policy.budget import Account, Period
from arbstr.ports import Lease, SpendStore, Spent

EVER = 253_000_000_000.0
"""Later than any request, in seconds since the epoch: in the year 9987."""


class Past:
    """What a store knows of some windows."""

    def __init__(self, now: float, leases: Iterable[Lease]) -> None:
        self.now = now
        """Within the windows that are looked up: seconds since the epoch."""
        self._leases: dict[tuple[str, str, int], list[Lease]] = {}
        for lease in leases:
            self._leases.setdefault((lease.account, lease.period, lease.start), []).append(lease)
        self._spent: dict[Period, dict[str, Spent]] = {}

    def start(self, period: Period) -> int:
        """Of the window that is looked up, in seconds since the epoch."""
        return period.start(self.now)

    def of(self, account: Account, period: Period, rate: ExchangeRate | None) -> Cost:
        """What was spent in the window; what is known in one currency alone is converted where that can be."""
        found = self._spent.get(period, {}).get(account.id)
        sats, usd = 0, 0
        if found is not None:
            sats = found.sats + (Cost.of(found.usd_only, Currency.USD, rate).sats or 0)
            usd = found.usd + (Cost.of(found.sats_only, Currency.SATS, rate).usd or 0)
        leased = self._leased((account.id, period.value, self.start(period)), rate)
        return Cost(MicroSats(max(sats, leased.sats or 0)), NanoUsd(max(usd, leased.usd or 0)))

    def _leased(self, window: tuple[str, str, int], rate: ExchangeRate | None) -> Cost:
        """In whichever currency it was written down."""
        found = [Cost.of(each.amount, Currency(each.currency), rate) for each in self._leases.get(window, ())]
        sats, usd = (max([cost.within(currency) or 0 for cost in found], default=0) for currency in Currency)
        return Cost(MicroSats(sats), NanoUsd(usd))

    def ahead(self, account: Account, rate: ExchangeRate | None) -> dict[tuple[Period, int], Cost]:
        """What was leased in windows that are still to come: the clock was set back since."""
        return {
            (Period(period), start): self._leased((id, period, start), rate)
            for id, period, start in self._leases
            if id == account.id and start > self.now
        }

    async def look_up(self, store: SpendStore, period: Period, *, before: float, account: str | None) -> None:
        """Sum what was logged in the window of ``period``, of all accounts or of one."""
        start = self.start(period)
        found = await store.spent(since=start, before=min(before, period.end(start)), account=account)
        self._spent[period] = {each.account: each for each in found}


async def recall(
    store: SpendStore | None, missing: Mapping[Account, set[Period]], *, now: float, before: float | None
) -> Past:
    """Look up what was spent, before ``before``, in the windows of ``missing`` that run at ``now``; None: ever.

    Both in seconds since the epoch. Raises LogUnavailable.
    """
    wanted = {account: periods for account, periods in missing.items() if periods}
    if store is None or not wanted:
        return Past(now, ())
    past = Past(now, await store.leases())
    # The gateway's account is everybody's: its id is empty, which asks for no account in particular.
    only = next(iter(wanted)).id or None if len(wanted) == 1 else None
    for period in Period:
        if any(period in periods for periods in wanted.values()):
            await past.look_up(store, period, before=EVER if before is None else before, account=only)
    return past
