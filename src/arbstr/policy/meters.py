"""Who spends, and what in which window: the counters of budgets.

Windows are those of UTC. A clock that is set back does not open a closed window again. Where a limit is to survive the
death of the process, a meter works within a *lease*: an amount that is written down, ahead of what is spent, and that
counts as spent if the process dies (``leased``, the same kind of sum as ``spent``). Amounts are in the smallest units
of the account's currency.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from arbstr.domain.money import Cost, Currency
from arbstr.domain.routing import BudgetSettings


class Period(enum.Enum):
    """How long a limit holds."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"

    def start(self, at: float) -> int:
        """The beginning of the window that holds the instant ``at``; both in seconds since the epoch."""
        if self is Period.TOTAL:
            return 0
        if self is Period.MONTH:
            moment = datetime.fromtimestamp(at, UTC)
            return round(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())
        length = _LENGTHS[self]
        return int(at // length) * length

    def end(self, start: int) -> float:
        """The end of the window that began at ``start``; infinite for a total."""
        if self is Period.TOTAL:
            return math.inf
        if self is Period.MONTH:
            moment = datetime.fromtimestamp(start, UTC)
            year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
            return datetime(year, month, 1, tzinfo=UTC).timestamp()
        return float(start + _LENGTHS[self])


_LENGTHS = {Period.HOUR: 3600, Period.DAY: 86400}

GATEWAY = ""
"""The id of the gateway's own account."""


class Meter:
    """One window of one account."""

    __slots__ = (
        "account",
        "alarm",
        "elsewhere",
        "end",
        "leased",
        "limit",
        "low_from",
        "period",
        "reserved",
        "spent",
        "start",
        "step",
        "warned",
    )

    def __init__(self, account: Account, period: Period, start: int) -> None:
        self.account = account
        self.period = period
        self.start = start
        self.end = period.end(start)
        self.spent = 0
        self.elsewhere = 0
        """The same in the other currency, as far as it is known there: the account's may change."""
        self.reserved = 0
        self.leased = 0
        """What is written down as spent if the process dies. Never less than what is spent and reserved where the
        account is limited and its requests have waited for that."""
        self.warned: set[Happening] = set()
        """What was told already of this window."""
        self.limit: int | None = None
        self.step = 1
        """How much is leased at a time."""
        self.low_from = 0
        """From so much spent on, the limit is nearly used up."""
        self.alarm: float = math.inf
        """From so much committed on, something is to be done: it spares us a look at every request."""
        self.adopt()

    def adopt(self) -> None:
        """Hold to what the account's limits are now."""
        account = self.account
        limit = self.limit = account.limits.get(self.period)
        if limit is not None:
            self.step = max(1, math.ceil(limit * account.lease_share))
            self.low_from = math.ceil(limit * account.threshold)
        self.set_alarm()

    def count(self, cost: Cost | None) -> None:
        """So much was spent before."""
        if cost is not None:
            self.spent += cost.within(self.account.currency) or 0
            self.elsewhere += cost.within(self.account.currency.other) or 0

    def set_alarm(self) -> None:
        limit = self.limit
        if limit is None:
            self.alarm = math.inf
            return
        alarm = self.leased - self.step // 2
        if Happening.THRESHOLD not in self.warned:
            alarm = min(alarm, self.low_from)
        if Happening.EXHAUSTED not in self.warned:
            alarm = min(alarm, limit)
        self.alarm = alarm

    @property
    def committed(self) -> int:
        return self.spent + self.reserved

    @property
    def available(self) -> int | None:
        """What can still be reserved; below 0 where more was spent than the limit. None: anything."""
        return None if self.limit is None else self.limit - self.committed

    @property
    def wanted(self) -> int | None:
        """What should be leased now, or None where what is leased will do for a while."""
        limit = self.limit
        if limit is None or self.leased - self.committed >= self.step // 2:
            return None
        ahead = self.committed + self.step
        target = max(self.committed, min(ahead, limit)) if self.account.hard else ahead
        return target if target > self.leased else None

    def give_back(self) -> bool:
        """Need a lease of no more than is committed, if far more is leased than is needed; whether that is so.

        What was reserved at once in a burst would count as spent if the process died, long after the burst.
        """
        if self.limit is None or self.leased - self.committed <= 2 * self.step:
            return False
        self.leased = self.committed
        self.set_alarm()
        return True

    def is_low(self) -> bool:
        """Whether its limit is nearly used up, or does not hold all that is reserved."""
        return self.limit is not None and (self.spent >= self.low_from or self.committed > self.limit)


class Happening(enum.Enum):
    """What somebody may want to be told of a window, once."""

    THRESHOLD = "threshold"
    EXHAUSTED = "exhausted"
    OVERRUN = "overrun"


class Account:
    """Somebody who spends. Its limits may change under it."""

    __slots__ = (
        "_running",
        "_until",
        "ahead",
        "currency",
        "era",
        "hard",
        "id",
        "lease_share",
        "limited",
        "limits",
        "meters",
        "name",
        "restored",
        "settled",
        "settled_cost",
        "threshold",
    )

    def __init__(self, id: str, name: str, currency: Currency) -> None:
        self.id = id
        self.name = name
        self.currency = currency
        self.era = 0
        """Goes up with each change of the currency."""
        self.limits: dict[Period, int] = {}
        self.hard = True
        self.threshold = 1.0
        self.lease_share = 0.01
        self.meters: dict[Period, Meter] = {}
        self.restored: set[Period] = set()
        """Whose past is known."""
        self.ahead: dict[tuple[Period, int], Cost] = {}
        """What was spent before in windows that are still to come, by their beginnings: the clock was set back."""
        self.settled = 0
        """Requests that cost something …"""
        self.settled_cost = 0
        """… and what they did, for an estimate of what is left."""
        self._running: tuple[Meter, ...] = ()
        self.limited: tuple[Meter, ...] = ()
        """Those of the running windows that have a limit, as :meth:`running` found them last."""
        self._until = -math.inf

    def limit(self, limits: Mapping[Period, int | None], settings: BudgetSettings) -> None:
        """From now on these limits hold, in the account's currency, by the manner of ``settings``."""
        self.limits = {period: limit for period, limit in limits.items() if limit is not None}
        self.hard = settings.hard
        self.threshold = settings.alert_threshold
        self.lease_share = settings.lease_share
        for meter in self.meters.values():
            meter.adopt()
        self._until = -math.inf

    def meter(self, period: Period, now: float) -> Meter:
        """The meter of the window that is running: a new one at its first use, and never one of a closed window."""
        held = self.meters.get(period)
        if held is None or now >= held.end:
            held = self.meters[period] = Meter(self, period, period.start(now))
            held.count(self.ahead.get((period, held.start)))
            self._until = -math.inf
        return held

    def running(self, now: float) -> tuple[Meter, ...]:
        """The meters of all windows that are running."""
        if now >= self._until:
            self._running = tuple([self.meter(period, now) for period in Period])
            self.limited = tuple([meter for meter in self._running if meter.limit is not None])
            self._until = min(meter.end for meter in self._running)
        return self._running

    def denominate(self, currency: Currency) -> None:
        """From now on it counts in ``currency``, and has no limits until it is given some. What was spent counts as far
        as it is known there. Requests that are under way will be charged in it, and have nothing reserved in it."""
        if currency is self.currency:
            return
        self.currency = currency
        self.era += 1
        self.settled = self.settled_cost = 0
        self.limits = {}
        for meter in self.meters.values():
            meter.spent, meter.elsewhere = meter.elsewhere, meter.spent
            meter.reserved = meter.leased = 0
            meter.warned.clear()
            meter.adopt()
        self._until = -math.inf

    def restore(self, period: Period, start: int, past: Cost, *, now: float) -> None:
        """What was spent, before this process began, in the window of ``period`` that began at ``start``."""
        self.restored.add(period)
        meter = self.meter(period, now)
        if meter.start == start:
            meter.count(past)
