"""The circuit breaker: closed, open, half-open.

``failure_threshold`` consecutive failures open the circuit. ``timeout`` seconds later it admits
``half_open_max_requests`` probes at a time; ``success_threshold`` successful ones close it, a failed one opens it for a
fresh ``timeout``.

A :class:`Permit` is both the leave to make an attempt and the guard that gives it back: used as a context manager, it
is abandoned unless it voted, so that no early return and no cancellation can leak a probe. It carries the generation
in which it was given, and a vote from an earlier generation (late news from before a trip) is ignored. A probe that
never reports expires, and its place is given to another.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from arbstr.domain.health import CircuitState
from arbstr.domain.routing import BreakerSettings


class Breaker:
    """One circuit. ``on_change`` is called after every vote or abandon that may let others in."""

    __slots__ = ("_failures", "_generation", "_on_change", "_opened_at", "_probes", "_state", "_successes", "settings")

    def __init__(self, settings: BreakerSettings, *, on_change: Callable[[], None] = lambda: None) -> None:
        self.settings = settings
        self._on_change = on_change
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._successes = 0
        self._opened_at = 0.0
        self._generation = 0
        self._probes: list[Permit] = []

    @property
    def failure_count(self) -> int:
        """Consecutive failures: kept while open, 0 after a success."""
        return self._failures

    @property
    def closed(self) -> bool:
        """Everybody is admitted, at whatever time."""
        return self._state is CircuitState.CLOSED

    def state(self, now: float) -> CircuitState:
        """The state at ``now``: an open circuit whose time is over is half-open, whether or not anybody asked."""
        if self._state is CircuitState.OPEN and now >= self._opened_at + self.settings.timeout:
            return CircuitState.HALF_OPEN
        return self._state

    def admits(self, now: float) -> bool:
        """Whether :meth:`acquire` would give a permit."""
        if self._state is CircuitState.CLOSED:
            return True
        if self.state(now) is CircuitState.OPEN:
            return False
        live = sum(1 for probe in self._probes if now < probe.expires_at)
        return live < self.settings.half_open_max_requests

    def opens_in(self, now: float) -> float:
        """Seconds until an open circuit admits a probe; 0 where it does already or is not open."""
        if self._state is not CircuitState.OPEN:
            return 0.0
        return max(0.0, self._opened_at + self.settings.timeout - now)

    def probe_expires_in(self, now: float) -> float:
        """Seconds until the first probe that is out is given up; infinite where none is."""
        return min((probe.expires_at - now for probe in self._probes if probe.expires_at > now), default=float("inf"))

    def acquire(self, now: float, *, lease: float) -> Permit | None:
        """A permit for one attempt, or None. ``lease``: seconds after which a probe that said nothing is given up."""
        if self._state is CircuitState.CLOSED:
            return Permit(self, self._generation)
        if not self.admits(now):
            return None
        if self._state is CircuitState.OPEN:
            self._enter(CircuitState.HALF_OPEN)
        self._probes = [probe for probe in self._probes if now < probe.expires_at]
        probe = Permit(self, self._generation, probing=True, expires_at=now + lease)
        self._probes.append(probe)
        return probe

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._generation += 1
        self._successes = 0
        self._probes = []

    def _commit(self, probe: Permit) -> None:
        if probe not in self._probes:
            return  # its place was given to another: it has no say, now or later
        self._succeed(probe)
        probe.probing = False
        if self._state is CircuitState.CLOSED:
            probe.generation = self._generation

    def _succeed(self, permit: Permit) -> None:
        if permit.generation != self._generation:
            return
        if self._state is CircuitState.CLOSED:
            self._failures = 0
            return
        if permit not in self._probes:
            return
        self._probes.remove(permit)
        self._successes += 1
        if self._successes >= self.settings.success_threshold:
            self._failures = 0
            self._enter(CircuitState.CLOSED)
        self._on_change()

    def _fail(self, permit: Permit, now: float) -> None:
        if permit.generation != self._generation or (permit.probing and permit not in self._probes):
            return
        self._failures += 1
        if self._state is CircuitState.HALF_OPEN or self._failures >= self.settings.failure_threshold:
            self._opened_at = now
            self._enter(CircuitState.OPEN)
            self._on_change()

    def _abandon(self, permit: Permit) -> None:
        if permit in self._probes:
            self._probes.remove(permit)
            self._on_change()

    def __repr__(self) -> str:
        return f"Breaker({self._state.value}, failures={self._failures}, probes={len(self._probes)})"


class Permit:
    """The leave to make one attempt, which ends in one of three ways: succeed, fail or abandon."""

    __slots__ = ("_breaker", "_voted", "expires_at", "generation", "probing")

    def __init__(
        self, breaker: Breaker, generation: int, *, probing: bool = False, expires_at: float = float("inf")
    ) -> None:
        self._breaker = breaker
        self.generation = generation
        self.probing = probing
        self.expires_at = expires_at
        self._voted = False

    def __enter__(self) -> Permit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def commit(self) -> None:
        """The commit point of a stream: a probe votes success here, and what comes later is a new vote."""
        if self.probing and not self._voted:
            self._breaker._commit(self)

    def succeed(self) -> None:
        if not self._voted:
            self._voted = True
            self._breaker._succeed(self)

    def fail(self, now: float) -> None:
        if not self._voted:
            self._voted = True
            self._breaker._fail(self, now)

    def abandon(self) -> None:
        """Neither a success nor a failure of theirs: a probe gives its place back."""
        if not self._voted:
            self._voted = True
            self._breaker._abandon(self)
