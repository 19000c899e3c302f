"""What may be spent, held to the last unit, whatever comes at once.

An :class:`Account` is somebody who spends: the gateway as a whole, or a key. For each of its periods it has a
:class:`Meter`: what was spent in the window that is running, and what is reserved. A request reserves its worst case in
the step that checks (:meth:`Book.reserve`), in all windows of all its accounts or in none; at its end the true cost is
settled and the rest given back (:meth:`Hold.settle`), exactly once. A request is charged to the windows in which it
reserved, also where it ends in a later one.

Windows are those of UTC. A clock that is set back does not open a closed window again. Where a limit is to survive the
death of the process, a meter works within a *lease*: an amount that is written down, ahead of what is spent, and that
counts as spent if the process dies (``leased``, the same kind of sum as ``spent``). Amounts are in the smallest units
of the account's currency.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from arbstr.domain.money import Cost, Currency, amount_text
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


_SPANS = {Period.HOUR: "an hour", Period.DAY: "a day", Period.MONTH: "a month", Period.TOTAL: "in all"}

_LENGTHS = {Period.HOUR: 3600, Period.DAY: 86400}

GATEWAY = ""
"""The id of the gateway's own account."""


class Meter:
    """One window of one account."""

    __slots__ = ("account", "end", "leased", "period", "reserved", "spent", "start", "warned")

    def __init__(self, account: Account, period: Period, start: int, *, spent: int = 0, leased: int = 0) -> None:
        self.account = account
        self.period = period
        self.start = start
        self.end = period.end(start)
        self.spent = spent
        self.reserved = 0
        self.leased = leased
        """What is written down as spent if the process dies. Never less than what is spent and reserved where the
        account is limited and its requests have waited for that."""
        self.warned: set[Happening] = set()
        """What was told already of this window."""

    @property
    def limit(self) -> int | None:
        return self.account.limits.get(self.period)

    @property
    def committed(self) -> int:
        return self.spent + self.reserved

    @property
    def available(self) -> int | None:
        """What can still be reserved; below 0 where more was spent than the limit. None: anything."""
        limit = self.limit
        return None if limit is None else limit - self.committed

    @property
    def step(self) -> int:
        """How much is leased at a time."""
        limit = self.limit or 0
        return max(1, math.ceil(limit * self.account.lease_share))

    @property
    def wanted(self) -> int | None:
        """What should be leased now, or None where what is leased will do for a while."""
        limit = self.limit
        if limit is None or self.leased - self.committed >= self.step // 2:
            return None
        ahead = self.committed + self.step
        target = max(self.committed, min(ahead, limit)) if self.account.hard else ahead
        return target if target > self.leased else None

    def is_low(self, more: int = 0) -> bool:
        """Whether its limit is nearly used up, once ``more`` is spent, or does not hold all that is reserved."""
        limit = self.limit
        if limit is None:
            return False
        return self.spent + more >= limit * self.account.threshold or self.committed > limit


class Happening(enum.Enum):
    """What somebody may want to be told of a window, once."""

    THRESHOLD = "threshold"
    EXHAUSTED = "exhausted"
    OVERRUN = "overrun"


class Account:
    """Somebody who spends. Its limits may change under it."""

    __slots__ = (
        "currency",
        "hard",
        "id",
        "lease_share",
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
        self.limits: dict[Period, int] = {}
        self.hard = True
        self.threshold = 1.0
        self.lease_share = 0.01
        self.meters: dict[Period, Meter] = {}
        self.restored: set[Period] = set()
        """Whose past is known."""
        self.settled = 0
        """Requests that cost something …"""
        self.settled_cost = 0
        """… and what they did, for an estimate of what is left."""

    def limit(self, limits: Mapping[Period, int | None], settings: BudgetSettings) -> None:
        """From now on these limits hold, in the account's currency, by the manner of ``settings``."""
        self.limits = {period: limit for period, limit in limits.items() if limit is not None}
        self.hard = settings.hard
        self.threshold = settings.alert_threshold
        self.lease_share = settings.lease_share

    def meter(self, period: Period, now: float) -> Meter:
        """The meter of the window that is running: a new one at its first use, and never one of a closed window."""
        held = self.meters.get(period)
        if held is not None and now < held.end:
            return held
        start = period.start(now)
        meter = self.meters[period] = Meter(self, period, start)
        return meter

    def running(self, now: float) -> list[Meter]:
        """The meters of all windows that are running."""
        meters = self.meters
        return [
            held if (held := meters.get(period)) is not None and now < held.end else self.meter(period, now)
            for period in _PERIODS
        ]

    def restore(self, period: Period, start: int, *, spent: int, leased: int, now: float) -> None:
        """What was spent in a window before this process began: the larger of what was logged and what was leased."""
        self.restored.add(period)
        meter = self.meter(period, now)
        if meter.start == start:
            meter.spent += max(spent, leased)
            meter.leased = max(meter.leased, leased)


_PERIODS = tuple(Period)


class Refusal:
    """Why nothing was reserved: the meter that has no room, and what was asked of it."""

    __slots__ = ("amount", "meter")

    def __init__(self, meter: Meter, amount: int) -> None:
        self.meter = meter
        self.amount = amount

    @property
    def message(self) -> str:
        meter = self.meter
        currency, limit = meter.account.currency, meter.limit or 0
        whose = f"the budget of key {meter.account.name!r}" if meter.account.id != GATEWAY else "this gateway's budget"
        span = _SPANS[meter.period]
        return (
            f"{whose} is {amount_text(limit, currency)} {span}, of which {amount_text(meter.spent, currency)} is spent "
            f"and {amount_text(meter.reserved, currency)} reserved: this request may cost up to "
            f"{amount_text(self.amount, currency)}"
        )


class Hold:
    """What one request has reserved, in every window it is charged to. Settled once; more often does nothing."""

    __slots__ = ("_book", "_open", "amounts", "charged_at", "meters")

    def __init__(self, book: Book, meters: list[Meter], amounts: list[int], now: float) -> None:
        self._book = book
        self._open = True
        self.meters = meters
        self.amounts = amounts
        self.charged_at = max(now, max((meter.start for meter in meters), default=0))
        """An instant within every window that is charged: seconds since the epoch."""

    def low(self, cost: Cost | None = None) -> list[tuple[Meter, float]]:
        """The limited windows that are nearly used up, once ``cost`` is spent, or are and let it pass; with the share
        that is spent then."""
        found = []
        for meter in self.meters:
            account = meter.account
            if account.limits:
                more = 0 if cost is None or not self._open else cost.within(account.currency) or 0
                if meter.is_low(more):
                    found.append((meter, (meter.spent + more) / (meter.limit or 1)))
        return found

    @property
    def covered(self) -> bool:
        """All that is committed where this is reserved is leased, too."""
        for meter in self.meters:
            if meter.leased < meter.spent + meter.reserved and meter.account.limits.get(meter.period) is not None:
                return False
        return True

    def grow(self, bound: Callable[[Currency], int]) -> Refusal | None:
        """Reserve as much as ``bound`` says, where less is; all or nothing."""
        more = [max(0, bound(meter.account.currency) - held) for meter, held in self._held()]
        for meter, amount in zip(self.meters, more, strict=True):
            available = meter.available
            if meter.account.hard and available is not None and amount > available:
                return Refusal(meter, amount)
        for index, amount in enumerate(more):
            self.meters[index].reserved += amount
            self.amounts[index] += amount
            self._book.look(self.meters[index])
        return None

    def _held(self) -> Iterator[tuple[Meter, int]]:
        return zip(self.meters, self.amounts, strict=True)

    def settle(self, cost: Cost | None) -> None:
        """Charge the true cost, and give back what was reserved. None: it cost nothing that is known."""
        if not self._open:
            return
        self._open = False
        for meter, held in self._held():
            account = meter.account
            spent = 0 if cost is None else cost.within(account.currency) or 0
            meter.reserved -= held
            meter.spent += spent
            if spent and meter.period is Period.HOUR:
                account.settled += 1
                account.settled_cost += spent
            if spent > held and meter.limit is not None:
                self._book.overran(meter, spent - held)
            self._book.look(meter)


Told = Callable[[Happening, Meter], None]


class Book:
    """All accounts of one gateway, by id."""

    def __init__(self, *, tell: Told, lease: Callable[[Meter], None]) -> None:
        """``tell`` is called once for each window and happening; ``lease`` whenever more should be leased for a meter.
        Both return at once."""
        self._tell = tell
        self._lease = lease
        self.accounts: dict[str, Account] = {}

    def reserve(self, accounts: Iterable[Account], bound: Callable[[Currency], int], now: float) -> Hold | Refusal:
        """Set aside ``bound``, in each currency's smallest units, in all running windows of ``accounts``, or in none.

        ``now`` is in seconds since the epoch. Where a limit is hard, of N requests at once exactly
        ``floor(available / bound)`` are given a hold.
        """
        meters: list[Meter] = []
        amounts: list[int] = []
        for account in accounts:
            amount = bound(account.currency) if account.limits else 0
            for meter in account.running(now):
                limit = account.limits.get(meter.period)
                if limit is not None and account.hard and amount > limit - meter.spent - meter.reserved:
                    if meter.is_low():  # else one request was too large for a budget that is not used up
                        self._once(Happening.EXHAUSTED, meter)
                    return Refusal(meter, amount)
                meters.append(meter)
                amounts.append(amount if limit is not None else 0)
        hold = Hold(self, meters, amounts, now)
        for meter, amount in zip(meters, amounts, strict=True):
            if amount:
                meter.reserved += amount
                self.look(meter)
        return hold

    def look(self, meter: Meter) -> None:
        """Something about a meter has changed: lease more, tell of it, where that is due."""
        if meter.limit is None:
            return
        if meter.wanted is not None:
            self._lease(meter)
        limit = meter.limit
        if meter.spent >= limit * meter.account.threshold:
            self._once(Happening.THRESHOLD, meter)
        if meter.spent >= limit:
            self._once(Happening.EXHAUSTED, meter)

    def overran(self, meter: Meter, amount: int) -> None:
        """A request cost ``amount`` more than was reserved for it."""
        self._once(Happening.OVERRUN, meter)

    def _once(self, happening: Happening, meter: Meter) -> None:
        if happening not in meter.warned:
            meter.warned.add(happening)
            self._tell(happening, meter)
