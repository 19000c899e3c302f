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
from collections.abc import Callable, Iterable, Mapping
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

    __slots__ = (
        "account",
        "alarm",
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

    def is_low(self, more: int = 0) -> bool:
        """Whether its limit is nearly used up, once ``more`` is spent, or does not hold all that is reserved."""
        return self.limit is not None and (self.spent + more >= self.low_from or self.committed > self.limit)


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
        "currency",
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
        return held

    def running(self, now: float) -> tuple[Meter, ...]:
        """The meters of all windows that are running."""
        if now >= self._until:
            self._running = tuple([self.meter(period, now) for period in Period])
            self.limited = tuple([meter for meter in self._running if meter.limit is not None])
            self._until = min(meter.end for meter in self._running)
        return self._running

    def restore(self, period: Period, start: int, *, spent: int, leased: int, now: float) -> None:
        """What was spent in a window before this process began: the larger of what was logged and what was leased."""
        self.restored.add(period)
        meter = self.meter(period, now)
        if meter.start == start:
            meter.spent += max(spent, leased)
            meter.leased = max(meter.leased, leased)
            meter.set_alarm()


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


class Part:
    """What a hold has in the windows of one account."""

    __slots__ = ("account", "amount", "limited", "running")

    def __init__(self, account: Account, running: tuple[Meter, ...], limited: tuple[Meter, ...], amount: int) -> None:
        self.account = account
        self.running = running
        """All windows that the request is charged to …"""
        self.limited = limited
        """… and those in which it has reserved ``amount``."""
        self.amount = amount


class Hold:
    """What one request has reserved, in every window it is charged to. Settled once; more often does nothing."""

    __slots__ = ("_book", "_open", "charged_at", "parts")

    def __init__(self, book: Book, parts: list[Part], now: float) -> None:
        self._book = book
        self._open = True
        self.parts = parts
        self.charged_at = now
        """An instant within every window that is charged: seconds since the epoch."""

    @property
    def meters(self) -> list[Meter]:
        """The windows in which something is reserved."""
        return [meter for part in self.parts for meter in part.limited]

    def low(self, cost: Cost | None = None) -> list[tuple[Meter, float]]:
        """The limited windows that are nearly used up, once ``cost`` is spent, or are and let it pass; with the share
        that is spent then."""
        found: list[tuple[Meter, float]] = []
        for part in self.parts:
            if part.limited:
                more = 0 if cost is None or not self._open else cost.within(part.account.currency) or 0
                for meter in part.limited:
                    if meter.spent + more >= meter.low_from or meter.spent + meter.reserved > (meter.limit or 0):
                        found.append((meter, (meter.spent + more) / (meter.limit or 1)))
        return found

    @property
    def covered(self) -> bool:
        """All that is committed where this is reserved is leased, too."""
        for part in self.parts:
            for meter in part.limited:
                if meter.leased < meter.spent + meter.reserved:
                    return False
        return True

    @property
    def hard(self) -> bool:
        """Some limit that it is held to is not to be passed."""
        return any(part.account.hard for part in self.parts if part.limited)

    def grow(self, bound: Callable[[Currency], int]) -> Refusal | None:
        """Reserve as much as ``bound`` says, where less is; all or nothing."""
        more = [max(0, bound(part.account.currency) - part.amount) for part in self.parts]
        for part, amount in zip(self.parts, more, strict=True):
            refusal = _refusal(part.account, part.limited, amount)
            if refusal is not None:
                return refusal
        for part, amount in zip(self.parts, more, strict=True):
            self._book.add(part, amount)
        return None

    def settle(self, cost: Cost | None) -> None:
        """Charge the true cost, and give back what was reserved. None: it cost nothing that is known."""
        if not self._open:
            return
        self._open = False
        for part in self.parts:
            account, held = part.account, part.amount
            spent = 0 if cost is None else cost.within(account.currency) or 0
            if spent:
                account.settled += 1
                account.settled_cost += spent
                for meter in part.running:
                    meter.spent += spent
            for meter in part.limited:
                meter.reserved -= held
                if spent > held:
                    self._book.overran(meter)
                if meter.spent + meter.reserved >= meter.alarm:
                    self._book.look(meter)


def _refusal(account: Account, limited: tuple[Meter, ...], amount: int) -> Refusal | None:
    """Why ``amount`` more cannot be reserved, if it cannot."""
    if account.hard:
        for meter in limited:
            if meter.limit is not None and amount > meter.limit - meter.spent - meter.reserved:
                return Refusal(meter, amount)
    return None


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
        parts: list[Part] = []
        charged_at = now
        amounts: dict[Currency, int] = {}
        for account in accounts:
            running = account.running(now)
            limited = account.limited
            amount = 0
            if limited:
                currency = account.currency
                if currency not in amounts:
                    amounts[currency] = bound(currency)
                amount = amounts[currency]
                refusal = _refusal(account, limited, amount)
                if refusal is not None:
                    if refusal.meter.is_low():  # else one request was too large for a budget that is not used up
                        self._once(Happening.EXHAUSTED, refusal.meter)
                    return refusal
            parts.append(Part(account, running, limited, amount))
            if running[0].start > charged_at:  # the clock was set back, and a closed window is not opened again
                charged_at = running[0].start
        for part in parts:
            amount = part.amount
            for meter in part.limited:
                meter.reserved += amount
                if meter.spent + meter.reserved >= meter.alarm:
                    self.look(meter)
        return Hold(self, parts, charged_at)

    def add(self, part: Part, amount: int) -> None:
        """Reserve so much more."""
        part.amount += amount
        for meter in part.limited:
            meter.reserved += amount
            if meter.spent + meter.reserved >= meter.alarm:
                self.look(meter)

    def look(self, meter: Meter) -> None:
        """Something about a meter has changed: lease more, tell of it, where that is due."""
        limit = meter.limit
        if limit is None:
            return
        if meter.wanted is not None:
            self._lease(meter)
        if meter.spent >= meter.low_from:
            self._once(Happening.THRESHOLD, meter)
        if meter.spent >= limit:
            self._once(Happening.EXHAUSTED, meter)
        meter.set_alarm()

    def leased(self, meter: Meter, amount: int) -> None:
        """So much is written down now."""
        meter.leased = max(meter.leased, amount)
        self.look(meter)

    def overran(self, meter: Meter) -> None:
        """A request cost more than was reserved for it."""
        self._once(Happening.OVERRUN, meter)

    def _once(self, happening: Happening, meter: Meter) -> None:
        if happening not in meter.warned:
            meter.warned.add(happening)
            self._tell(happening, meter)
