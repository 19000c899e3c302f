"""Budgets at work: what a request may cost is set aside before it is sent, and what is set aside is written down.

The book (``policy/budget.py``) decides, synchronously; here is what must be waited for. A lease is written ahead of
what is spent, in the background, so that a request waits for one only where it needs more than was leased at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from arbstr.dialects.bounds import bounds_of
from arbstr.domain.alert import Alert, AlertKind
from arbstr.domain.errors import BudgetExceeded, BudgetUnavailable, GatewayError
from arbstr.domain.identity import Budgets, Key
from arbstr.domain.money import PICO_IN_SMALLEST, Cost, Currency, ExchangeRate, Pico, Rates, amount_text
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import BudgetSettings, Candidate, Deployment, Plan
from arbstr.pipeline.exchange import Exchange
from arbstr.policy.bounds import input_bound, output_bound
from arbstr.policy.budget import GATEWAY, Account, Book, Happening, Hold, Meter, Period, Refusal
from arbstr.policy.terms import Terms
from arbstr.ports import Alerts, Clock, Lease, Log, SpendStore, Spent

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
        self._began = clock.time()
        self._wanting: set[Meter] = set()
        self._wake = asyncio.Event()
        self._covered: list[asyncio.Future[None]] = []
        self._plain = Terms()

    # What may be spent.

    async def adopt(self, settings: BudgetSettings, keys: Iterable[Key], rate: ExchangeRate | None) -> None:
        """From now on these budgets hold. What was spent before this process began is looked up first.

        Raises LogUnavailable; then what held before still holds.
        """
        now = self._clock.time()
        accounts: dict[Account, dict[Period, int | None]] = {}
        self._find(GATEWAY, "gateway", settings.currency, _limits(settings), accounts)
        for key in keys:
            budgets = key.budgets
            currency = budgets.currency if budgets is not None else settings.currency
            self._find(key.id, key.name, currency, _limits(budgets), accounts)
        memory = await self._recall(accounts, now)
        self.book.accounts |= {account.id: account for account in accounts}
        self.gateway = self.book.accounts[GATEWAY]
        for account, limits in accounts.items():
            for period in _counted(limits) - account.restored:
                start = period.start(now)
                account.restore(
                    period,
                    start,
                    spent=memory.spent(account, period, rate),
                    leased=memory.leases.get((account.id, period.value, start, account.currency.value), 0),
                    now=now,
                )
            account.limit(limits, settings)

    def _find(
        self,
        id: str,
        name: str,
        currency: Currency,
        limits: dict[Period, int | None],
        accounts: dict[Account, dict[Period, int | None]],
    ) -> None:
        """The account of that id, or a new one where there is none in that currency."""
        account = self.book.accounts.get(id)
        if account is None or account.currency is not currency:
            account = Account(id, name, currency)
        account.name = name
        accounts[account] = limits

    async def _recall(self, accounts: Mapping[Account, dict[Period, int | None]], now: float) -> _Memory:
        """What the store knows of the windows that are counted from now on, and were not before."""
        memory = _Memory()
        unknown = {account: _counted(limits) - account.restored for account, limits in accounts.items()}
        unknown = {account: periods for account, periods in unknown.items() if periods}
        if self.store is None or not unknown:
            return memory
        # An account that takes the place of one in another currency has requests of this process to its name.
        memory.replaced = {each.id for each in unknown if self.book.accounts.get(each.id) not in (None, each)}
        one = next(iter(unknown)).id if len(unknown) == 1 else None
        only = one or None  # the gateway's account is everybody's, and has no id
        for period in sorted(
            {period for periods in unknown.values() for period in periods}, key=lambda each: each.value
        ):
            since = period.start(now)
            memory.before[period] = _by_account(await self.store.spent(since=since, before=self._began, account=only))
            if memory.replaced:
                memory.until_now[period] = _by_account(await self.store.spent(since=since, before=now, account=only))
        for lease in await self.store.leases():
            memory.leases[lease.account, lease.period, lease.start, lease.currency] = lease.amount
        return memory

    def limited_meters(self) -> list[Meter]:
        """The running windows that have a limit."""
        now = self._clock.time()
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
        hard = limited = False
        for account in (self.gateway, own):
            if account is not None and account.limits:
                limited, hard = True, hard or account.hard
        if not limited and not exchange.ceilings:
            if self._plain.rate is not exchange.rate:
                self._plain = Terms(rate=exchange.rate)
            return self._plain
        settings = exchange.snapshot.budget
        return Terms(
            rate=exchange.rate,
            bound=_bound(request, settings.default_reserve_tokens),
            ceilings=exchange.ceilings,
            priced_only=hard and settings.refuses_unpriced,
        )

    async def reserve(self, plan: Plan, exchange: Exchange) -> None:
        """Set aside the most that the request can cost at the dearest of its candidates, and wait until that is
        written down. Raises BudgetExceeded, BudgetUnavailable."""
        now = self._clock.time()
        accounts = [self.gateway] if exchange.key is None else [self.gateway, self.account_of(exchange.key)]
        outcome = self.book.reserve(accounts, lambda currency: _dearest(plan, currency), now)
        if isinstance(outcome, Refusal):
            raise BudgetExceeded(
                outcome.message,
                retry_after=None if outcome.meter.period is Period.TOTAL else max(1.0, outcome.meter.end - now),
            )
        exchange.hold = outcome
        if self.store is not None and not outcome.covered:
            await self._wait_until_written(outcome)

    def affords(self, candidate: Candidate, exchange: Exchange) -> bool:
        """Whether another attempt fits ceilings and budgets, on top of what failed ones have cost."""
        failed, worst = exchange.failed_cost, candidate.worst_cost(exchange.rate)
        if failed is None or worst is None:
            return True
        needed = failed.plus(worst)
        for ceiling in exchange.ceilings:
            if (needed.within(ceiling.currency) or 0) > ceiling.amount:
                return False
        hold = exchange.hold
        return hold is None or hold.grow(lambda currency: needed.within(currency) or 0) is None

    async def _wait_until_written(self, hold: Hold) -> None:
        until = self._clock.monotonic() + PATIENCE
        while not hold.covered:
            if await self._wait(self._covered, until):
                continue
            if not hold.hard:
                return
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
                if not await self._write():
                    await self._clock.sleep(RETRY_PAUSE)

    async def _write(self) -> bool:
        """Write what is wanted now; whether that was possible."""
        assert self.store is not None
        wanted = [(meter, amount) for meter in self._wanting if (amount := meter.wanted) is not None]
        self._wanting.clear()
        try:
            await self.store.lease([_lease(meter, amount) for meter, amount in wanted])
        except GatewayError as error:
            self._wanting.update(meter for meter, _ in wanted)
            self._log.error("budgets cannot be written down", error=error.message)
            return False
        for meter, amount in wanted:
            self.book.leased(meter, amount)
        _release(self._covered)
        return True

    async def aclose(self) -> None:
        """The process ends in an orderly way: what was leased and not spent is given back."""
        if self.store is None:
            return
        running = self.limited_meters()
        with contextlib.suppress(GatewayError):  # then it counts as spent
            await self.store.lease([_lease(meter, meter.committed) for meter in running])


def _by_account(spent: Sequence[Spent]) -> dict[str, Spent]:
    return {each.account: each for each in spent}


class _Memory:
    """What is known of before."""

    def __init__(self) -> None:
        self.before: dict[Period, dict[str, Spent]] = {}
        """By requests before this process …"""
        self.until_now: dict[Period, dict[str, Spent]] = {}
        """… and by its own too."""
        self.replaced: set[str] = set()
        self.leases: dict[tuple[str, str, int, str], int] = {}

    def spent(self, account: Account, period: Period, rate: ExchangeRate | None) -> int:
        """In the account's currency; what is known in the other alone is converted where that can be."""
        known = self.until_now if account.id in self.replaced else self.before
        found = known.get(period, {}).get(account.id)
        if found is None:
            return 0
        if account.currency is Currency.SATS:
            more = Cost.of(found.usd_only, Currency.USD, rate).sats
            return found.sats + (more or 0)
        more_usd = Cost.of(found.sats_only, Currency.SATS, rate).usd
        return found.usd + (more_usd or 0)


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
