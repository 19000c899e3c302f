"""From a plan to an answer that has begun: open one upstream; retry, fall back, by the verdict table.

Nothing has reached the caller while this module is at work. It ends at the commit point: the first content-bearing
frame of a stream, or the whole of a whole answer.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping, Sequence

from arbstr.dialects.openai import merge_usage
from arbstr.domain.errors import CircuitsOpen, FailureKind, GatewayError, UpstreamError, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.money import Cost
from arbstr.domain.record import AttemptRecord
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Candidate, Commit, Deployment, Plan
from arbstr.domain.usage import Usage, estimated_tokens
from arbstr.pipeline.answer import Answer
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.settle import set_aside, sum_up, total
from arbstr.pipeline.state import LiveState
from arbstr.policy.breaker import Permit
from arbstr.policy.planner import Standing
from arbstr.policy.pricing import cost_of
from arbstr.policy.retry import MAX_RETRY_AFTER, pause
from arbstr.policy.verdict import VERDICTS, FallBack, Retry, answer_to
from arbstr.ports import Clock, Provider, RecordSink, Upstream

HOLD_LIMIT = 256 * 1024
"""Bytes of lifecycle frames held before the commit point; a stream that sends more is given to the caller as it is."""

COMPLETE_LIMIT = 16 * 1024 * 1024
"""Bytes of a stream held under ``commit = "complete"``; a longer one is given to the caller from there on."""

_CAN_SERVE = frozenset({Standing.READY, Standing.PROBE})

COOLDOWN_JITTER = 0.25
"""Share of a cooldown by which waiters spread out after it …"""

MAX_COOLDOWN_JITTER = 5.0
"""… at most so many seconds."""

_SILENT = (FailureKind.MODEL_MISSING, FailureKind.INEXPRESSIBLE)
"""They speak only where nothing else failed: they would hide that somebody was down."""

AFTER_FINISH = 0.5
"""Seconds that a provider has to send usage and its end mark after its finish."""


class Attempts:
    """Tries candidates until one answers."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Provider],
        state: LiveState,
        clock: Clock,
        publisher: RecordSink,
        rng: random.Random,
    ) -> None:
        self.providers = providers
        self.state = state
        self.clock = clock
        self.publisher = publisher
        self.rng = rng

    async def open(self, plan: Plan, request: ChatRequest, exchange: Exchange) -> Answer:
        """The first answer that begins. Raises the GatewayError that the caller is to see."""
        queue = deque(plan.candidates)
        last: tuple[UpstreamFailure, Deployment] | None = None
        while queue:
            candidate = self._take(queue)
            if exchange.failed_cost is not None and not await self.state.spending.affords(candidate, exchange):
                continue  # what failed has cost something, and this one too would be more than may be spent
            outcome = await self._ask(candidate, queue, request, exchange)
            if isinstance(outcome, Answer):
                return outcome
            if outcome is None:
                continue
            if last is None or outcome.kind not in _SILENT:
                last = outcome, candidate.deployment
            fall_back = VERDICTS[outcome.kind].fall_back
            if fall_back is FallBack.NO:
                break
            if fall_back is FallBack.LARGER_WINDOW:
                queue = _larger(queue, candidate.deployment, estimated_tokens(request.input_bytes))
            if self.clock.monotonic() >= exchange.deadline:
                break
        raise self._defeat(plan, last, exchange)

    def _take(self, queue: deque[Candidate]) -> Candidate:
        """The next candidate; of those that must all be waited for, the one that is ready soonest."""
        first = queue.popleft()
        if queue and self.state.standing(first.deployment) is Standing.COOLING:
            queue.appendleft(first)
            first = min(queue, key=self._cooling_until)
            queue.remove(first)
        return first

    def _cooling_until(self, candidate: Candidate) -> float:
        """Monotonic instant; infinite for who is not cooling, as there is nothing certain to wait for."""
        if self.state.standing(candidate.deployment) is not Standing.COOLING:
            return math.inf
        parked = self.state.parked(candidate.deployment, self.clock.monotonic())
        return parked.until if parked is not None else math.inf

    async def _ask(
        self, candidate: Candidate, others: Sequence[Candidate], request: ChatRequest, exchange: Exchange
    ) -> Answer | UpstreamFailure | None:
        """Try one candidate, as often as it may be: its answer, its last failure, or None if it was not asked."""
        provider = candidate.deployment.provider
        circuit = self.state.circuits[provider]
        failure: UpstreamFailure | None = None
        made = sum(1 for attempt in exchange.attempts if attempt.provider == provider) if exchange.attempts else 0
        for nth in range(max(1, exchange.snapshot.retry.max_attempts - made)):
            if failure is not None:
                if exchange.failed_cost is not None and not await self.state.spending.affords(candidate, exchange):
                    return failure
                wait = self._pause(failure, nth, exchange, alone=self._alone(others))
                now = self.clock.monotonic()
                if wait is None or not circuit.breaker.admits(now) or not circuit.budget.try_retry(now):
                    return failure
                await self.clock.sleep(wait)
            try:
                permit = await self._admission(candidate.deployment, others, exchange)
            except UpstreamFailure as error:
                return error
            if permit is None:
                return failure
            if nth == 0:
                circuit.budget.request(self.clock.monotonic())
            try:
                return await self._attempt(candidate.deployment, permit, request, exchange)
            except UpstreamFailure as error:
                failure = error
        return failure

    def _alone(self, others: Sequence[Candidate]) -> bool:
        """Nobody else can serve at this moment."""
        return all(self.state.standing(other.deployment) not in _CAN_SERVE for other in others)

    def _pause(self, failure: UpstreamFailure, nth: int, exchange: Exchange, *, alone: bool) -> float | None:
        """Seconds before the same provider is tried again, or None: not again."""
        verdict = VERDICTS[failure.kind]
        if verdict.retry is Retry.NO or (verdict.retry is Retry.ALONE and not alone):
            return None
        settings = exchange.snapshot.retry
        if failure.status not in (None, 200) and failure.status not in settings.retryable_statuses:
            return None
        if failure.kind is FailureKind.RATE_LIMITED:
            return 0.0  # the account is parked: admission waits for it
        wait = pause(settings, failure, nth, self.rng)
        if wait > settings.max_backoff and not alone:
            return None
        if self.clock.monotonic() + wait >= exchange.deadline:
            return None
        return wait

    async def _admission(
        self, deployment: Deployment, others: Sequence[Candidate], exchange: Exchange
    ) -> Permit | None:
        """The circuit's permit, or None. Where nobody else can serve, a probe's verdict or a cooldown is waited for.

        Raises the failure that parked the account where its end does not fit the deadline.
        """
        circuit = self.state.circuits[deployment.provider]
        now = self.clock.monotonic()
        patience = min(now + deployment.timeouts.first_token, exchange.deadline)
        lease = self._limit(deployment, exchange) + deployment.timeouts.connect
        while True:
            standing = self.state.standing(deployment)
            at_once = standing is Standing.READY or standing is Standing.PROBE
            if not at_once and not self._alone(others):
                return None
            if at_once or standing is Standing.MODEL_OUT:
                return circuit.acquire(now, lease=lease)
            if standing is Standing.PROBING and now < patience:
                await circuit.verdict(patience - now)
            elif standing is Standing.COOLING:
                await self._cool_down(deployment, now, exchange)
            else:
                return None
            now = self.clock.monotonic()

    async def _cool_down(self, deployment: Deployment, now: float, exchange: Exchange) -> None:
        """Wait for the end of a cooldown, and a little longer, so that all who wait do not come at once.

        Raises the failure that parked the account where its end does not fit the deadline, or is too far away.
        """
        parked = self.state.parked(deployment, now)
        if parked is None:
            return
        wait = parked.until - now
        if parked.until >= exchange.deadline or wait > MAX_RETRY_AFTER:
            raise _still_cooling(parked.failure, wait)
        await self.clock.sleep(wait + self.rng.uniform(0, min(COOLDOWN_JITTER * wait, MAX_COOLDOWN_JITTER)))

    def _limit(self, deployment: Deployment, exchange: Exchange) -> float:
        """Seconds that one attempt may take up to its commit point."""
        held = not exchange.streaming or exchange.commit is Commit.COMPLETE
        return deployment.timeouts.answer if held else deployment.timeouts.first_token

    async def _attempt(
        self, deployment: Deployment, permit: Permit, request: ChatRequest, exchange: Exchange
    ) -> Answer:
        """One upstream try, up to its commit point."""
        started, began_at = self.clock.monotonic(), self.clock.time()
        limit = deployment.timeouts.first_token if request.stream else deployment.timeouts.answer
        until = min(started + limit, exchange.deadline)
        opening = self.providers[deployment.provider].open(request, deployment, until=until)
        held: list[Frame] = []
        try:
            upstream = await opening.__aenter__()
            try:
                ended = await self._hold(upstream, request, exchange, deployment, until, held)
            except BaseException as error:
                await opening.__aexit__(type(error), error, error.__traceback__)
                raise
        except UpstreamFailure as failure:
            verdict = VERDICTS[failure.kind]
            self._say_which_timeout(failure, deployment, request, exchange)
            timed_out = failure.kind in (FailureKind.TIMEOUT, FailureKind.CONNECT)
            ours = timed_out and self.clock.monotonic() >= exchange.deadline
            if verdict.counts and not ours:
                self.state.circuits[deployment.provider].last_failure = failure
                permit.fail(self.clock.monotonic())
            else:
                permit.abandon()
            self.state.failed(deployment, failure)
            if failure.kind is not FailureKind.INEXPRESSIBLE:  # nobody was asked
                self._record(deployment, exchange, started, began_at, failure, held)
            raise
        except BaseException:
            permit.abandon()
            if opening.at_work:
                exchange.abandoned = deployment
                exchange.usage, exchange.content_bytes = _seen(held)
            self._record(deployment, exchange, started, began_at, None)
            raise
        exchange.answered_by = deployment
        exchange.dropped = upstream.dropped
        exchange.attempt_started = started, began_at
        exchange.committed_at = self.clock.monotonic()
        self.state.served(deployment, started)
        circuit = self.state.circuits[deployment.provider]
        return Answer(deployment, opening, upstream, circuit, permit, held, ended)

    def _say_which_timeout(
        self, failure: UpstreamFailure, deployment: Deployment, request: ChatRequest, exchange: Exchange
    ) -> None:
        """Whoever reads of a timeout wants to know which key to turn."""
        if failure.kind is not FailureKind.TIMEOUT:
            return
        if self.clock.monotonic() >= exchange.deadline:
            limit = exchange.deadline_text
        elif request.stream:
            limit = f"timeout.first_token = {deployment.timeouts.first_token:g} s"
        else:
            limit = f"timeout.answer = {deployment.timeouts.answer:g} s"
        failure.message = f"{failure.message} ({limit})"

    async def _hold(
        self,
        upstream: Upstream,
        request: ChatRequest,
        exchange: Exchange,
        deployment: Deployment,
        until: float,
        held: list[Frame],
    ) -> bool:
        """Read up to the commit point into ``held``; whether the upstream has ended."""
        whole_stream = request.stream and exchange.commit is Commit.COMPLETE
        size = 0
        committed = finished = False
        unfinished = request.n
        while True:
            try:
                frames = await upstream.read(until)
            except UpstreamFailure:
                if unfinished <= 0:
                    return True  # whole but for its end mark
                raise
            if not frames:
                if not committed:
                    raise UpstreamFailure(FailureKind.UNREADABLE, "the answer ended before its first content")
                if not finished:
                    raise UpstreamFailure(FailureKind.UNREADABLE, "the stream was cut before its end")
                return True
            for index, frame in enumerate(frames):
                if frame.failure is not None:
                    raise frame.failure
                held.append(frame)
                size += len(frame.raw)
                committed = committed or frame.content
                if frame.finish is not None:
                    finished = True
                    unfinished -= 1
                if frame.done and not committed:
                    raise UpstreamFailure(FailureKind.UNREADABLE, "the answer has no content")
                if frame.done or (committed and not whole_stream):
                    held.extend(frames[index + 1 :])
                    return False
            if size > (COMPLETE_LIMIT if whole_stream else HOLD_LIMIT):
                return False
            if committed:
                patience = AFTER_FINISH if unfinished <= 0 else deployment.timeouts.idle
                until = min(self.clock.monotonic() + patience, exchange.deadline)

    def _record(
        self,
        deployment: Deployment,
        exchange: Exchange,
        started: float,
        began_at: float,
        failure: UpstreamFailure | None,
        held: Sequence[Frame] = (),
    ) -> None:
        """An attempt that will not serve is over; without a ``failure`` it was interrupted from our side."""
        cost = _cost_of_failed(held, failure, deployment, exchange)
        if cost is None and failure is not None and failure.unseen:
            cost = set_aside(deployment, exchange)
        if cost is not None:
            exchange.failed_cost = total(exchange.failed_cost, cost)
        record = AttemptRecord(
            request_id=exchange.request_id,
            provider=deployment.provider,
            model=deployment.model,
            started_at=began_at,
            duration_ms=(self.clock.monotonic() - started) * 1000,
            status=failure.status if failure is not None else None,
            error=f"{failure.kind.value}: {failure.message}" if failure is not None else None,
            cost=cost.sats if cost is not None else None,
            cost_usd=cost.usd if cost is not None else None,
        )
        exchange.attempts.append(record)
        self.publisher.attempt(record)

    def _defeat(self, plan: Plan, last: tuple[UpstreamFailure, Deployment] | None, exchange: Exchange) -> GatewayError:
        """What the caller is told when no candidate answered."""
        if last is None:
            return nobody(plan, self.state)
        failure, deployment = last
        exchange.refused_by = deployment
        if failure.kind is FailureKind.RATE_LIMITED and failure.retry_after is None:
            now = self.clock.monotonic()
            parked = self.state.parked(deployment, now)
            failure.retry_after = parked.until - now if parked is not None else None
        return answer_to(failure, provider=deployment.provider)


def _cost_of_failed(
    held: Sequence[Frame], failure: UpstreamFailure | None, deployment: Deployment, exchange: Exchange
) -> Cost | None:
    """What an answer cost that was not to be used: by its own usage, else by an estimate of what came."""
    usage, content = _seen(held)
    usage = usage or (failure.usage if failure is not None else None)
    if deployment.rates is None or exchange.request is None or (usage is None and not content):
        return None
    return cost_of(sum_up(usage, content, exchange.request), deployment.rates, exchange.rate)


def _seen(held: Sequence[Frame]) -> tuple[Usage | None, int]:
    """What an answer has reported of its usage so far, and how many bytes of content it had."""
    usage: Usage | None = None
    for frame in held:
        usage = merge_usage(usage, frame.usage)
    return usage, sum([frame.content_bytes for frame in held])


def nobody(plan: Plan, state: LiveState) -> GatewayError:
    """What the caller is told where nobody could even be asked."""
    model = plan.route.model
    keyless = [each for each in plan.rejected if each.reason == Standing.KEY_OUT.value]
    circuits = tuple(
        [each.deployment for each in plan.rejected if each.reason == Standing.OPEN.value]
        + [each.deployment for each in plan.candidates]
    )
    if keyless and not circuits:
        names = ", ".join(sorted({each.deployment.provider for each in keyless}))
        return UpstreamError(
            f"no provider of {model!r} has a working key ({names}); keys are tested again by themselves",
            retry_after=min(state.retest_in([each.deployment for each in keyless]), MAX_RETRY_AFTER),
        )
    wait = min(max(1.0, state.opens_in(circuits)), MAX_RETRY_AFTER)
    return CircuitsOpen(f"no provider of {model!r} is healthy: all providers have open circuits", retry_after=wait)


def _still_cooling(failure: UpstreamFailure, seconds: float) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.RATE_LIMITED, failure.message, status=failure.status, retry_after=seconds)


def _larger(queue: deque[Candidate], than: Deployment, input_tokens: int) -> deque[Candidate]:
    """Candidates whose window is known to be larger than that of ``than``, or than the request if that is unknown."""
    window = than.context_window or input_tokens
    return deque(each for each in queue if (each.deployment.context_window or 0) > window)
