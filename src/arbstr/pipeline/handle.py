"""The way of a request, as code. Read this file first.

Every model endpoint, streamed or whole, goes down :meth:`Pipeline._line`; there is no second path. The caller leaving,
the gateway stopping and every failure end in the same three places: the caller is told (if there is one left to
tell), and the request is settled.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from arbstr.domain.errors import CallerLeft, GatewayError, InternalError
from arbstr.domain.routing import Snapshot
from arbstr.pipeline.admission import admit, enter
from arbstr.pipeline.attempts import Attempts
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.identify import identify
from arbstr.pipeline.planning import make_plan
from arbstr.pipeline.publish import Publisher
from arbstr.pipeline.relay import relay, tell
from arbstr.pipeline.settle import settle
from arbstr.pipeline.state import LiveState
from arbstr.ports import Caller, Clock, Log, Provider, RecordSink


class Pipeline:
    """Handles requests under one snapshot after another; live state outlives them all."""

    def __init__(
        self,
        *,
        snapshot: Snapshot,
        providers: Mapping[str, Provider],
        state: LiveState,
        clock: Clock,
        sinks: Sequence[RecordSink],
        log: Log,
        rng: random.Random | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.state = state
        self._clock = clock
        self._publisher = Publisher(sinks, log)
        self._log = log
        self._attempts = Attempts(
            providers=providers,
            state=state,
            clock=clock,
            publisher=self._publisher,
            rng=rng if rng is not None else random.Random(),
        )
        state.adopt(snapshot)

    async def handle(self, caller: Caller) -> None:
        """One request, from its first byte to its record. Raises nothing but a cancellation that is not its own."""
        exchange = Exchange.begin(
            caller.request_id,
            self.snapshot,
            endpoint=caller.endpoint,
            now=self._clock.monotonic(),
            received_at=self._clock.time(),
            rate=self.state.rate,
        )
        self.state.in_flight.add(exchange)
        caller.watch(exchange.interrupt)
        try:
            try:
                await self._line(caller, exchange)
            except GatewayError as error:
                exchange.error = error
                await tell(caller, exchange, error, clock=self._clock)
            except Exception as bug:
                self._log.error("a request failed in this gateway", request_id=exchange.request_id, error=bug)
                exchange.error = InternalError("something went wrong in this gateway; its log has the details")
                await tell(caller, exchange, exchange.error, clock=self._clock)
        except asyncio.CancelledError:
            await self._interrupted(caller, exchange)
        finally:
            exchange.task = None
            self.state.in_flight.discard(exchange)
            settle(exchange, state=self.state, clock=self._clock, publisher=self._publisher)

    async def _line(self, caller: Caller, exchange: Exchange) -> None:
        enter(self.state, exchange)
        identify(self.state, exchange, caller.credential, caller.address)
        request = await caller.request(exchange.snapshot.max_body)
        admitted = admit(request, caller.wishes, exchange, self.state)
        if exchange.key is not None and self.state.spending.pending:
            await self.state.spending.ready(exchange.key)
        plan = make_plan(admitted, caller.wishes, exchange, self.state)
        if plan.refusal is not None:
            raise plan.refusal
        await self.state.spending.reserve(plan, exchange)
        async with await self._attempts.open(plan, admitted, exchange) as answer:
            await relay(answer, caller, exchange, clock=self._clock)

    async def _interrupted(self, caller: Caller, exchange: Exchange) -> None:
        """The request was stopped where it stood: by its caller leaving, or by the end of the drain time."""
        reason = exchange.interruption
        if reason is None:
            exchange.error = exchange.error or CallerLeft("the request was cancelled")
            raise asyncio.CancelledError
        if exchange.task is not None:
            exchange.task.uncancel()
        if exchange.completed_at is not None:
            return
        if exchange.error is None:
            exchange.error = reason
        if not isinstance(reason, CallerLeft):
            await tell(caller, exchange, exchange.error, clock=self._clock)
