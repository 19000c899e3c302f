"""What outlives a request and a reload: circuits, retry budgets, what is parked, what answers looked like.

Keyed by stable names. Everything changes between two awaits, on one event loop, so there are no locks.
"""

from __future__ import annotations

import asyncio

from arbstr.domain.errors import Draining, UpstreamFailure
from arbstr.domain.health import CircuitState
from arbstr.domain.routing import BreakerSettings, Deployment, Snapshot
from arbstr.pipeline.exchange import Exchange
from arbstr.policy.breaker import Breaker, Permit
from arbstr.policy.parking import Parked, park
from arbstr.policy.planner import Standing
from arbstr.policy.pricing import DEFAULT_OUTPUT_TOKENS, OutputMean
from arbstr.policy.retry import RetryBudget
from arbstr.policy.verdict import Park
from arbstr.ports import Clock, Log


class Circuit:
    """A provider's breaker, and who waits for its probe's verdict."""

    def __init__(self, provider: str, settings: BreakerSettings, *, clock: Clock, log: Log) -> None:
        self.breaker = Breaker(settings, on_change=self._changed)
        self.budget = RetryBudget()
        self._provider = provider
        self._clock = clock
        self._log = log
        self._known = CircuitState.CLOSED
        self._waiters: list[asyncio.Future[None]] = []

    def _changed(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        state = self.breaker.state(self._clock.monotonic())
        if state is CircuitState.OPEN:
            self._log.warning("circuit opened", provider=self._provider, failures=self.breaker.failure_count)
        elif state is CircuitState.CLOSED and self._known is not CircuitState.CLOSED:
            self._log.info("circuit closed", provider=self._provider)
        self._known = state

    async def verdict(self, seconds: float) -> bool:
        """Wait until the probe that is out has said something, at most ``seconds``; whether it has."""
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

    def __init__(self, *, clock: Clock, log: Log) -> None:
        self.clock = clock
        self.log = log
        self.circuits: dict[str, Circuit] = {}
        self.in_flight: set[Exchange] = set()
        self.draining = False
        self._accounts: dict[str, Parked] = {}
        self._models: dict[str, Parked] = {}
        self._means: dict[str, OutputMean] = {}

    def adopt(self, snapshot: Snapshot) -> None:
        """Make ready for a snapshot's providers. Those of earlier snapshots stay: requests may still be under way."""
        for view in snapshot.providers:
            if view.name not in self.circuits:
                self.circuits[view.name] = Circuit(view.name, snapshot.breaker, clock=self.clock, log=self.log)
        for circuit in self.circuits.values():
            circuit.breaker.settings = snapshot.breaker

    def standing(self, deployment: Deployment) -> Standing:
        """How a deployment stands now."""
        breaker = self.circuits[deployment.provider].breaker
        if breaker.closed and not self._accounts and not self._models:
            return Standing.READY  # nearly always
        now = self.clock.monotonic()
        parked = self.parked(deployment, now)
        if parked is not None:
            return _STANDING_OF[parked.park]
        state = breaker.state(now)
        if state is CircuitState.CLOSED:
            return Standing.READY
        if state is CircuitState.OPEN:
            return Standing.OPEN
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
        if parked.park is Park.KEY:
            self.log.error(
                "a provider's key is out of use",
                provider=deployment.provider,
                error=failure.message,
                retest_in_s=round(parked.until - now, 1),
            )

    def served(self, deployment: Deployment) -> None:
        """A deployment answered: nothing of it is set aside any more."""
        if self._accounts or self._models:
            self._accounts.pop(deployment.provider, None)
            self._models.pop(deployment.name, None)

    def mean_output(self, model: str) -> int:
        """Output tokens to expect of a model's next answer."""
        mean = self._means.get(model)
        return DEFAULT_OUTPUT_TOKENS if mean is None else mean.expected()

    def saw_output(self, model: str, tokens: int) -> None:
        """Remember an answer's output. ``model`` must be a configured name, so that callers cannot grow the memory."""
        mean = self._means.get(model)
        if mean is None:
            mean = self._means[model] = OutputMean()
        mean.add(tokens)

    def opens_in(self, deployments: tuple[Deployment, ...]) -> float:
        """Seconds until the first of some open circuits admits a probe."""
        now = self.clock.monotonic()
        return min((self.circuits[each.provider].breaker.opens_in(now) for each in deployments), default=0.0)

    def interrupt_all(self) -> None:
        """Drain timeout: stop what is still under way."""
        for exchange in list(self.in_flight):
            exchange.interrupt(Draining("the gateway is stopping"))


_STANDING_OF = {Park.ACCOUNT: Standing.COOLING, Park.KEY: Standing.KEY_OUT, Park.MODEL: Standing.MODEL_OUT}
