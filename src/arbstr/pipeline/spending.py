"""Budgets at work: what a request may cost is set aside before it is sent, and what is set aside is written down.

The book (``policy/budget.py``) decides, synchronously; here is what must be waited for. A lease is written ahead of
what is spent, in the background, so that a request waits for one only where it needs more than was leased at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from arbstr.dialects.bounds import bounds_of
from arbstr.domain.alert import Alert, AlertKind
from arbstr.domain.errors import BudgetExceeded, BudgetUnavailable, GatewayError, UpstreamTimeout
from arbstr.domain.identity import Budgets, Key
from arbstr.domain.money import PICO_IN_SMALLEST, Currency, ExchangeRate, Pico, Rates, amount_text
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import BudgetSettings, Candidate, Deployment, Plan
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.past import recall
from arbstr.policy.bounds import input_bound, output_bound
from arbstr.policy.budget import GATEWAY, Account, Book, Happening, Hold, Meter, Period, Refusal
from arbstr.policy.terms import Terms
from arbstr.ports import Alerts, Clock, Lease, Log, SpendStore

PATIENCE = 5.0
"""Seconds for which a request waits until what it may cost is written down."""

RETRY_PAUSE = 0.5
"""Seconds between two tries to write leases down."""


_KINDS = {
    Happening.THRESHOLD: AlertKind.BUDGET_THRESHOLD,
    Happening.EXHAUSTED: AlertKind.BUDGET_EXHAUSTED,
    Happening.OVERRUN: AlertKind.BUDGET_OVERRUN,
}
_EVENTS = {
    Happening.THRESHOLD: "a budget is nearly used up",
    Happening.EXHAUSTED: "a budget is used up",
    Happening.OVERRUN: "a request cost more than was set aside for it",
}
_SAID = {
    Happening.THRESHOLD: "{whose} for the {period} is nearly used up",
    Happening.EXHAUSTED: "{whose} for the {period} is used up",
    Happening.OVERRUN: "a request cost more than {whose} for the {period} had set aside for it",
}


class Spending:
    """All accounts of one gateway: its own, and one for each key that was used or has a budget."""

    def __init__(self, *, clock: Clock, log: Log, alerts: Alerts, store: SpendStore | None = None) -> None:
        """Without a ``store`` nothing outlives the process, and nobody waits."""
        self._clock = clock
        self._log = log
        self._alerts = alerts
        self.store = store
        self.pending: set[str] = set()
        """Keys whose budgets have changed and do not hold yet: their requests wait."""
        self._waiting: list[asyncio.Future[None]] = []
        self.book = Book(tell=self._tell, lease=self._want)
        self.gateway = self.book.accounts[GATEWAY] = Account(GATEWAY, "gateway", Currency.SATS)
        self._adopting = asyncio.Lock()
        self._began: float | None = None
        """Since when requests of this process are charged: seconds since the epoch."""
        self._wanting: set[Meter] = set()
        self._wake = asyncio.Event()
        self._covered: list[asyncio.Future[None]] = []
        self._failing = False
        """Leases cannot be written."""
        self._plain = Terms()

    # What may be spent.

    async def adopt(self, settings: BudgetSettings, keys: Iterable[Key], rate: ExchangeRate | None) -> None:
        """From now on these budgets hold. What was spent before this process began is looked up first.

        Raises LogUnavailable; then what held before still holds.
        """
        async with self._adopting:
            found = {self.gateway: (settings.currency, _limits(settings))}
            for key in keys:
                account, budgets = self.account_of(key), key.budgets
                account.name = key.name
                currency = settings.currency if budgets is None else budgets.currency
                found[account] = currency, _limits(budgets)
            missing = {account: _counted(limits) - account.restored for account, (_, limits) in found.items()}
            past = await recall(self.store, missing, now=self.now(), before=self._began)
            if self._began is None:
                self._began = past.now
                for account in found:
                    account.ahead = past.ahead(account, rate)
            for account, (currency, limits) in found.items():
                account.denominate(currency)
                for period in missing[account]:
                    account.restore(period, past.start(period), past.of(account, period, rate), now=past.now)
                account.limit(limits, settings)
                self._cover(account)

    def _cover(self, account: Account) -> None:
        """See that requests under way do not wait for leases by limits that are no more."""
        if self._covered:
            for meter in account.running(self.now()):
                self.book.look(meter)
            self._wake.set()

    def now(self) -> float:
        """The instant that decides which windows are running: the clock's, which does not go back here."""
        return self.book.at(self._clock.time())

    def limited_meters(self) -> list[Meter]:
        """The running windows that have a limit."""
        now = self.now()
        accounts = [account for account in self.book.accounts.values() if account.limits]
        return [meter for account in accounts for meter in account.running(now) if meter.limit is not None]

    def adopted(self, keys: set[str]) -> None:
        """The budgets of these keys hold now."""
        self.pending -= keys
        _release(self._waiting)

    async def ready(self, key: Key) -> None:
        """Wait until the budgets of ``key`` hold. Raises BudgetUnavailable where that takes too long."""
        until = self._clock.monotonic() + PATIENCE
        while key.id in self.pending:
            if not await self._wait(self._waiting, until):
                raise BudgetUnavailable("what this key has spent cannot be looked up", retry_after=RETRY_PAUSE)

    def account_of(self, key: Key) -> Account:
        account = self.book.accounts.get(key.id)
        if account is None:  # it was made a moment ago
            account = self.book.accounts[key.id] = Account(key.id, key.name, self.gateway.currency)
        return account

    # The way of a request.

    def terms(self, request: ChatRequest, exchange: Exchange) -> Terms:
        """What holds for a request: what it can cost is looked at only where that matters."""
        key = exchange.key
        own = self.book.accounts.get(key.id) if key is not None else None
        limited = [account for account in (self.gateway, own) if account is not None and account.limits]
        if not limited and not exchange.ceilings:
            if self._plain.rate is not exchange.rate:
                self._plain = Terms(rate=exchange.rate)
            return self._plain
        settings = exchange.snapshot.budget
        return Terms(
            rate=exchange.rate,
            bound=_bound(request, settings.default_reserve_tokens),
            ceilings=exchange.ceilings,
            currencies=tuple([each.currency for each in limited if each.hard]) if settings.refuses_unpriced else (),
        )

    async def reserve(self, plan: Plan, exchange: Exchange) -> None:
        """Set aside the most that the request can cost at the dearest of its candidates, and wait until that is
        written down. Raises BudgetExceeded, BudgetUnavailable."""
        now = self._clock.time()
        accounts = [self.gateway] if exchange.key is None else [self.gateway, self.account_of(exchange.key)]
        outcome = self.book.reserve(accounts, lambda currency: _dearest(plan, currency), now)
        if isinstance(outcome, Refusal):
            end = outcome.meter.end
            message = outcome.message if exchange.key is None else outcome.message_for_a_key
            raise BudgetExceeded(message, retry_after=None if end == math.inf else max(1.0, end - now))
        exchange.hold = outcome
        if self.store is not None and not outcome.covered:
            await self._wait_until_written(outcome, exchange)

    async def affords(self, candidate: Candidate, exchange: Exchange) -> bool:
        """Whether another attempt fits ceilings and budgets, on top of what failed ones have cost; on return it is set
        aside and written down. Raises BudgetUnavailable."""
        failed, worst = exchange.failed_cost, candidate.worst_cost(exchange.rate)
        if failed is None or worst is None:
            return True
        needed = failed.plus(worst)
        for ceiling in exchange.ceilings:
            if (needed.within(ceiling.currency) or 0) > ceiling.amount:
                return False
        hold = exchange.hold
        if hold is None:
            return True
        if hold.grow(lambda currency: needed.within(currency) or 0) is not None:
            return False
        if self.store is not None and not hold.covered:
            await self._wait_until_written(hold, exchange)
        return True

    async def _wait_until_written(self, hold: Hold, exchange: Exchange) -> None:
        until = min(self._clock.monotonic() + PATIENCE, exchange.deadline)
        while not hold.covered and (hold.hard or not self._failing):
            if await self._wait(self._covered, until):
                continue
            if not hold.hard:
                return
            if self._clock.monotonic() >= exchange.deadline:
                raise UpstreamTimeout(
                    f"what this request may cost was not written down in time ({exchange.deadline_text})"
                )
            raise BudgetUnavailable(
                "what this request may cost cannot be written down, so it is not sent", retry_after=RETRY_PAUSE
            )

    async def _wait(self, waiters: list[asyncio.Future[None]], until: float) -> bool:
        """Wait to be released; whether that happened before ``until`` (monotonic)."""
        remaining = until - self._clock.monotonic()
        if remaining <= 0:
            return False
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            return await self._clock.wait(waiter, remaining)
        finally:
            if waiter in waiters:
                waiters.remove(waiter)

    # What is told.

    def _tell(self, happening: Happening, meter: Meter) -> None:
        account, limit = meter.account, meter.limit or 0
        whose = "the gateway's budget" if account.id == GATEWAY else f"the budget of key {account.name!r}"
        spent = f"{amount_text(meter.spent, account.currency)} of {amount_text(limit, account.currency)} spent"
        summary = f"{_SAID[happening].format(whose=whose, period=meter.period.value)}: {spent}"
        window = f"{meter.period.value} {datetime.fromtimestamp(meter.start, UTC):%Y-%m-%dT%H:%MZ}"
        details = {
            "key_id": account.id or None,
            "period": meter.period.value,
            "currency": account.currency.value,
            "spent": meter.spent / account.currency.smallest,
            "reserved": meter.reserved / account.currency.smallest,
            "limit": limit / account.currency.smallest,
        }
        subject = "gateway" if account.id == GATEWAY else f"key {account.name}"
        self._log.warning(
            _EVENTS[happening],
            account="key" if account.id else "gateway",
            key=account.name if account.id else None,
            **details,
        )
        alert = Alert(_KINDS[happening], subject, window, summary, self._clock.time(), details)
        self._alerts.raise_alert(alert)

    # What is written down.

    def _want(self, meter: Meter) -> None:
        if self.store is None:
            meter.leased = meter.wanted or meter.leased  # there is nothing to write it to
            return
        self._wanting.add(meter)
        self._wake.set()

    async def run(self) -> None:
        """Write leases as they are wanted, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanting:
                await self._write()
                if self._failing:
                    await self._clock.sleep(RETRY_PAUSE)
            _release(self._covered)

    async def _write(self) -> None:
        """Write what is wanted now, if that is possible; else it is still wanted."""
        assert self.store is not None
        wanted = [(meter, meter.account.era, amount) for meter in self._wanting if (amount := meter.wanted) is not None]
        self._wanting.clear()
        if not wanted:
            _release(self._covered)
            return
        try:
            await self.store.lease([_lease(meter, amount) for meter, _, amount in wanted])
        except GatewayError as error:
            self._wanting.update(meter for meter, _, _ in wanted)
            if not self._failing:
                self._log.error("budgets cannot be written down", error=error.message)
            self._failing = True
        else:
            if self._failing:
                self._log.info("budgets can be written down again")
            self._failing = False
            for meter, era, amount in wanted:
                if era == meter.account.era:  # else it was written in another currency
                    self.book.leased(meter, amount)
        _release(self._covered)

    def give_back(self) -> None:
        """Lease less where far more is leased than is needed: to be called now and then.

        Nothing is spent by what is given back, from before a smaller lease is written.
        """
        if self.store is not None and not self._failing:
            for meter in self.limited_meters():
                if meter.give_back():
                    self._want(meter)

    async def aclose(self) -> None:
        """The process ends in an orderly way: what was leased and not spent is given back."""
        if self.store is None:
            return
        with contextlib.suppress(GatewayError):  # then it counts as spent
            await self.store.lease([_lease(meter, meter.committed) for meter in self.limited_meters()])


def _bound(request: ChatRequest, default_output: int) -> Callable[[Deployment, Rates], Pico]:
    """The most that ``request`` can cost at a deployment."""
    bounds = bounds_of(request)

    known: dict[tuple[str, int | None, int | None], tuple[int, int]] = {}

    def bound(deployment: Deployment, rates: Rates) -> Pico:
        alike = deployment.model, deployment.context_window, deployment.capabilities.max_output
        tokens = known.get(alike)
        if tokens is None:
            output = output_bound(bounds, request, deployment, default=default_output)
            tokens = known[alike] = input_bound(bounds, deployment), output
        return rates.bound(*tokens)

    return bound


def _release(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()


def _limits(budgets: BudgetSettings | Budgets | None) -> dict[Period, int | None]:
    if budgets is None:
        return {}
    return {period: limit for period in Period if (limit := getattr(budgets, period.value)) is not None}


def _counted(limits: Mapping[Period, int | None]) -> set[Period]:
    """The windows whose past counts: the running hour and day are shown to whoever asks."""
    return {Period.HOUR, Period.DAY, *limits}


def _dearest(plan: Plan, currency: Currency) -> int:
    """The most that a request can cost, in a currency's smallest units, rounded up. 0 where nobody has a price."""
    most, rate = 0, plan.rate
    for each in plan.candidates:
        worst, rates = each.worst, each.deployment.rates
        if worst is None or rates is None:
            continue
        if rates.currency is not currency:
            if rate is None:
                continue
            worst = rate.to_sats(worst) if currency is Currency.SATS else rate.to_usd(worst)
        if worst > most:
            most = worst
    return -(-most // PICO_IN_SMALLEST[currency])


def _lease(meter: Meter, amount: int) -> Lease:
    account = meter.account
    return Lease(account.id, meter.period.value, meter.start, account.currency.value, amount)
