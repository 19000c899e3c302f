"""What may be spent, held to the last unit, whatever comes at once.

An account is somebody who spends: the gateway as a whole, or a key. For each of its periods it has a meter
(``meters``): what was spent in the window that is running, and what is reserved. A request reserves its worst case in
the step that checks (:meth:`Book.reserve`), in all windows of all its accounts or in none; at its end the true cost is
settled and the rest given back (:meth:`Hold.settle`), exactly once. A request is charged to the windows in which it
reserved, also where it ends in a later one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from arbstr.domain.money import Cost, Currency, amount_text
from arbstr.policy.meters import GATEWAY, Account, Happening, Meter, Period

__all__ = ["GATEWAY", "Account", "Book", "Happening", "Hold", "Meter", "Part", "Period", "Refusal"]

_SPANS = {Period.HOUR: "an hour", Period.DAY: "a day", Period.MONTH: "a month", Period.TOTAL: "in all"}


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

    @property
    def message_for_a_key(self) -> str:
        """The same for a key's holder, who is told no figures of what all spend together."""
        if self.meter.account.id != GATEWAY:
            return self.message
        return f"what is left of this gateway's budget for the {self.meter.period.value} is less than this may cost"


class Part:
    """What a hold has in the windows of one account."""

    __slots__ = ("account", "amount", "era", "limited", "running")

    def __init__(self, account: Account, running: tuple[Meter, ...], limited: tuple[Meter, ...], amount: int) -> None:
        self.account = account
        self.running = running
        """All windows that the request is charged to …"""
        self.limited = limited
        """… and those in which it has reserved ``amount``."""
        self.amount = amount
        self.era = account.era


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
                if meter.leased < meter.spent + meter.reserved and meter.limit is not None:
                    return False
        return True

    @property
    def hard(self) -> bool:
        """Some limit that it is held to is not to be passed."""
        return any(part.account.hard for part in self.parts if part.limited)

    def grow(self, bound: Callable[[Currency], int]) -> Refusal | None:
        """Reserve as much as ``bound`` says, where less is; all or nothing."""
        if not self._open:
            return None
        more = [
            max(0, bound(part.account.currency) - part.amount) if part.era == part.account.era else 0
            for part in self.parts
        ]
        for part, amount in zip(self.parts, more, strict=True):
            full = _full(part.account, part.limited, amount)
            if full is not None:
                return Refusal(full, amount)
        for part, amount in zip(self.parts, more, strict=True):
            self._book.add(part, amount)
        return None

    def settle(self, cost: Cost | None) -> None:
        """Charge the true cost, and give back what was reserved. None: it cost nothing that is known."""
        if not self._open:
            return
        self._open = False
        sats, usd = (0, 0) if cost is None else (cost.sats or 0, cost.usd or 0)
        for part in self.parts:
            account = part.account
            held = part.amount if part.era == account.era else 0  # in another currency nothing is reserved any more
            spent, elsewhere = (sats, usd) if account.currency is Currency.SATS else (usd, sats)
            if spent:
                account.settled += 1
                account.settled_cost += spent
            for meter in part.limited:
                meter.reserved -= held
                if 0 < held < spent:
                    self._book.overran(meter)
            for meter in part.running:  # also those that had no limit when the request began, and have one now
                meter.spent = total = meter.spent + spent
                if elsewhere:
                    meter.elsewhere += elsewhere
                if total + meter.reserved >= meter.alarm:
                    self._book.look(meter)


def _full(account: Account, limited: Sequence[Meter], amount: int) -> Meter | None:
    """The first window in which ``amount`` more cannot be reserved. Nothing always can: what is free is not refused."""
    if account.hard and amount:
        for meter in limited:
            if meter.limit is not None and amount > meter.limit - meter.spent - meter.reserved:
                return meter
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
        self._latest = -math.inf

    def at(self, now: float) -> float:
        """``now``, or the latest instant that was ever asked for: a clock that is set back opens no closed window, and
        all accounts stand in windows of the same instant. Seconds since the epoch."""
        if now > self._latest:
            self._latest = now
        return self._latest

    def reserve(self, accounts: Sequence[Account], bound: Callable[[Currency], int], now: float) -> Hold | Refusal:
        """Set aside ``bound``, in each currency's smallest units, in all running windows of ``accounts``, or in none.

        ``now`` is in seconds since the epoch. Where a limit is hard, of N requests at once exactly
        ``floor(available / bound)`` are given a hold.
        """
        parts: list[Part] = []
        now = self.at(now)
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
                if _full(account, limited, amount) is not None:
                    return self._refuse(accounts, bound, now)
            parts.append(Part(account, running, limited, amount))
        for part in parts:
            amount = part.amount
            for meter in part.limited:
                meter.reserved += amount
                if meter.spent + meter.reserved >= meter.alarm:
                    self.look(meter)
        return Hold(self, parts, now)

    def _refuse(self, accounts: Sequence[Account], bound: Callable[[Currency], int], now: float) -> Refusal:
        """Why: of all windows without room the one that ends last, for before that it is of no use to come again."""
        lacking: list[Refusal] = []
        for account in accounts:
            account.running(now)
            for meter in account.limited:
                amount = bound(account.currency)
                if _full(account, (meter,), amount) is not None:
                    lacking.append(Refusal(meter, amount))
        for refusal in lacking:
            if refusal.meter.is_low():  # else one request was too large for a budget that is not used up
                self._once(Happening.EXHAUSTED, refusal.meter)
        return max(lacking, key=lambda each: each.meter.end)

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
