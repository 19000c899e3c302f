"""What outlives a request and a reload: circuits, retry budgets, what is parked, what answers looked like.

Keyed by stable names. Everything changes between two awaits, on one event loop, so there are no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from arbstr.domain.alert import Alert, AlertKind, NoAlerts
from arbstr.domain.errors import Draining, UpstreamFailure, UpstreamTimeout
from arbstr.domain.health import CircuitState
from arbstr.domain.money import ExchangeRate
from arbstr.domain.routing import BreakerSettings, Deployment, Snapshot
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.spending import Spending
from arbstr.policy.breaker import Breaker, Permit
from arbstr.policy.guessing import Guesses
from arbstr.policy.keys import KeyRing
from arbstr.policy.limits import Limiters
from arbstr.policy.parking import Parked, park
from arbstr.policy.planner import Standing
from arbstr.policy.pricing import DEFAULT_OUTPUT_TOKENS, OutputMean
from arbstr.policy.retry import RetryBudget
from arbstr.policy.verdict import Park
from arbstr.ports import Alerts, Clock, Log, SpendStore

DEADLINE_GRACE = 1.0
"""Seconds that a request past its deadline has to end by itself."""


class Circuit:
    """A provider's breaker, and who waits for its probe's verdict."""

    def __init__(self, provider: str, settings: BreakerSettings, *, clock: Clock, log: Log, alerts: Alerts) -> None:
        self.breaker = Breaker(settings, on_change=self._changed)
        self.budget = RetryBudget()
        self._provider = provider
        self._clock = clock
        self._log = log
        self._alerts = alerts
        self._known = CircuitState.CLOSED
        self.last_failure: UpstreamFailure | None = None
        """The last one that counted."""
        self._waiters: list[asyncio.Future[None]] = []

    def _changed(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        state = self.breaker.state(self._clock.monotonic())
        if state is CircuitState.OPEN:
            if self._known is CircuitState.CLOSED:
                self._alerts.raise_alert(self._opened())
            self._log.warning(
                "circuit opened" if self._known is CircuitState.CLOSED else "probe failed, circuit opened again",
                provider=self._provider,
                failures=self.breaker.failure_count,
                error=self.last_failure.message if self.last_failure is not None else None,
                probe_in_s=round(self.breaker.opens_in(self._clock.monotonic()), 1),
            )
        elif state is CircuitState.CLOSED and self._known is not CircuitState.CLOSED:
            self._log.info("circuit closed", provider=self._provider)
        self._known = state

    def _opened(self) -> Alert:
        why = self.last_failure.message if self.last_failure is not None else "it failed"
        return Alert.this_hour(
            AlertKind.CIRCUIT_OPENED,
            self._provider,
            f"provider {self._provider} failed {self.breaker.failure_count} times in a row and is left alone: {why}",
            at=self._clock.time(),
            failures=self.breaker.failure_count,
            error=why,
        )

    async def verdict(self, seconds: float) -> bool:
        """Wait until the probe that is out has said something or was given up, at most ``seconds``; whether it has."""
        seconds = min(seconds, self.breaker.probe_expires_in(self._clock.monotonic()))
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await self._clock.wait(waiter, seconds)
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def acquire(self, now: float, *, lease: float) -> Permit | None:
        return self.breaker.acquire(now, lease=lease)


class LiveState:
    """All live state of one gateway."""

    def __init__(
        self, *, clock: Clock, log: Log, alerts: Alerts | None = None, spend_store: SpendStore | None = None
    ) -> None:
        self.clock = clock
        self.log = log
        self.alerts: Alerts = alerts if alerts is not None else NoAlerts()
        self.keys = KeyRing()
        """The gateway's keys, as they are known now."""
        self.limiters = Limiters()
        self.guesses = Guesses()
        self.spending = Spending(clock=clock, log=log, alerts=self.alerts, store=spend_store)
        self.rate: ExchangeRate | None = None
        """What a dollar is worth now, where that is known."""
        self._unpriced: set[str] = set()
        self.circuits: dict[str, Circuit] = {}
        self.in_flight: set[Exchange] = set()
        self.stopping = False
        """Told to stop: no longer ready, and still serving."""
        self.draining = False
        """Nothing new is taken."""
        self._accounts: dict[str, Parked] = {}
        self._models: dict[str, Parked] = {}
        self._means: dict[str, OutputMean] = {}

    def adopt(self, snapshot: Snapshot) -> None:
        """Make ready for a snapshot's providers. Those of earlier snapshots stay: requests may still be under way."""
        if snapshot.exchange_rate is not None and (self.rate is None or not self.rate.at):
            self.rate = snapshot.exchange_rate  # a configured one gives way to one that was read
        for view in snapshot.providers:
            if view.name not in self.circuits:
                self.circuits[view.name] = Circuit(
                    view.name, snapshot.breaker, clock=self.clock, log=self.log, alerts=self.alerts
                )
        for circuit in self.circuits.values():
            circuit.breaker.settings = snapshot.breaker

    def standing(self, deployment: Deployment) -> Standing:
        """How a deployment stands now."""
        breaker = self.circuits[deployment.provider].breaker
        if breaker.closed and not self._accounts and not self._models:
            return Standing.READY  # nearly always
        now = self.clock.monotonic()
        state = breaker.state(now)
        if state is CircuitState.OPEN:
            return Standing.OPEN
        parked = self.parked(deployment, now)
        if parked is not None:
            return _STANDING_OF[parked.park]
        if state is CircuitState.CLOSED:
            return Standing.READY
        return Standing.PROBE if breaker.admits(now) else Standing.PROBING

    def parked(self, deployment: Deployment, now: float) -> Parked | None:
        for parked in (self._accounts.get(deployment.provider), self._models.get(deployment.name)):
            if parked is not None and now < parked.until:
                return parked
        return None

    def failed(self, deployment: Deployment, failure: UpstreamFailure) -> None:
        """Set aside what ``failure`` says should be."""
        now = self.clock.monotonic()
        previous = self._accounts.get(deployment.provider)
        parked = park(failure, previous, now)
        if parked is None:
            return
        if parked.park is Park.MODEL:
            self._models[deployment.name] = parked
            return
        self._accounts[deployment.provider] = parked
        if previous is not None and previous.park is parked.park and now < previous.until:
            return  # already said
        if parked.park is Park.KEY:
            self.alerts.raise_alert(
                Alert.this_hour(
                    AlertKind.PROVIDER_KEY_OUT,
                    deployment.provider,
                    f"the key of provider {deployment.provider} is out of use: {failure.message}",
                    at=self.clock.time(),
                    error=failure.message,
                )
            )
        say = self.log.error if parked.park is Park.KEY else self.log.warning
        say(
            "a provider's key is out of use" if parked.park is Park.KEY else "a provider asked us to wait",
            provider=deployment.provider,
            error=failure.message,
            again_in_s=round(parked.until - now, 1),
        )

    def served(self, deployment: Deployment, began: float) -> None:
        """A deployment answered an attempt that ``began`` then (monotonic): what was set aside before that is free."""
        for place, key in ((self._accounts, deployment.provider), (self._models, deployment.name)):
            parked = place.get(key)
            if parked is not None and parked.since <= began:
                del place[key]
                if parked.park is Park.KEY:
                    self.log.info("a provider's key works again", provider=deployment.provider)

    def mean_output(self, model: str) -> int:
        """Output tokens to expect of a model's next answer."""
        mean = self._means.get(model)
        return DEFAULT_OUTPUT_TOKENS if mean is None else mean.expected()

    def saw_output(self, model: str, tokens: int, choices: int) -> None:
        """Remember an answer's output: ``tokens`` in all its choices.

        ``model`` must be a route's name, so that callers cannot grow the memory.
        """
        mean = self._means.get(model)
        if mean is None:
            mean = self._means[model] = OutputMean()
        mean.add(tokens, choices)

    def saw_unpriced(self, deployment: Deployment) -> None:
        """A deployment without a price has served: said once."""
        if deployment.name in self._unpriced:
            return
        self._unpriced.add(deployment.name)
        self.log.warning("a model has no price", provider=deployment.provider, model=deployment.model)
        self.alerts.raise_alert(
            Alert.this_hour(
                AlertKind.UNPRICED_MODEL,
                deployment.name,
                f"{deployment.name} has no price: what it costs is not counted",
                at=self.clock.time(),
            )
        )

    def parked_accounts(self) -> dict[str, Parked]:
        """Providers whose account or key is set aside now."""
        now = self.clock.monotonic()
        return {name: parked for name, parked in self._accounts.items() if now < parked.until}

    def retest_in(self, deployments: Sequence[Deployment]) -> float:
        """Seconds until the first of some parked ones may be asked again."""
        now = self.clock.monotonic()
        waits = [parked.until - now for each in deployments if (parked := self.parked(each, now)) is not None]
        return min(waits, default=0.0)

    def opens_in(self, deployments: tuple[Deployment, ...]) -> float:
        """Seconds until the first of some open circuits admits a probe."""
        now = self.clock.monotonic()
        return min((self.circuits[each.provider].breaker.opens_in(now) for each in deployments), default=0.0)

    def interrupt_all(self) -> None:
        """Drain timeout: stop what is still under way."""
        for exchange in list(self.in_flight):
            exchange.interrupt(Draining("the gateway is stopping", retry_after=1.0))

    def enforce_deadlines(self) -> None:
        """Stop what is past its deadline and has not noticed: a stream whose caller reads ever more slowly."""
        now = self.clock.monotonic()
        for exchange in [each for each in self.in_flight if now > each.deadline + DEADLINE_GRACE]:
            exchange.interrupt(UpstreamTimeout("the answer was not complete within the request's time"))


_STANDING_OF = {Park.ACCOUNT: Standing.COOLING, Park.KEY: Standing.KEY_OUT, Park.MODEL: Standing.MODEL_OUT}
