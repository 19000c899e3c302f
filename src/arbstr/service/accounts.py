"""What outlives a request and the process: keys, budgets, and what a dollar is worth."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from arbstr.config.compile import Compiled, keys_missing
from arbstr.config.problems import ConfigError
from arbstr.domain.errors import GatewayError
from arbstr.domain.identity import Budgets
from arbstr.domain.money import ExchangeRate
from arbstr.pipeline.state import LiveState
from arbstr.policy.keys import KeyRing
from arbstr.ports import Clock, KeyStore, Log
from arbstr.service.background import Background
from arbstr.store.errors import StoreError
from arbstr.store.key_store import SqliteKeys
from arbstr.store.key_watch import KeyWatch
from arbstr.store.spend import SqliteSpend
from arbstr.store.writer import OnProblem
from arbstr.upstream.exchange_rate import RatePoller
from arbstr.upstream.pool import Pool

RETRY_PAUSE = 0.5
"""Seconds between two tries to look up what was spent."""

GIVE_BACK = 30.0
"""Seconds after which leases are as small again as they can be."""


class Accounts:
    """Keys, budgets and the exchange rate of one gateway, from its start to its end."""

    def __init__(self, compiled: Compiled, state: LiveState, *, clock: Clock, log: Log) -> None:
        self._compiled = compiled
        self._state = state
        self._clock = clock
        self._log = log
        self._budgets: dict[str, Budgets | None] = {}
        """Of each key, those that hold."""
        self._changed = asyncio.Event()
        self.keys: KeyStore

    async def start(self, stack: AsyncExitStack, *, background: Background, pool: Pool, on_problem: OnProblem) -> None:
        """Read keys and what was spent, and keep both current until ``stack`` is closed. The database is there and up
        to date. Raises StoreError; ConfigError where the gateway is not to be reached without keys, and there is
        none."""
        compiled, state = self._compiled, self._state
        watch = KeyWatch(compiled.store, on_problem=on_problem)
        stack.callback(watch.stop)
        if compiled.needs_keys and not watch.ring.exists:
            raise ConfigError([keys_missing(compiled)])
        spend = SqliteSpend(compiled.store)
        stack.push_async_callback(spend.aclose)
        state.spending.store = spend
        state.keys = watch.ring
        state.rate = compiled.snapshot.exchange_rate  # what was leased in the other currency is converted by it
        try:
            await state.spending.adopt(compiled.snapshot.budget, watch.ring.keys, state.rate)
        except GatewayError as error:
            raise StoreError(f"{compiled.store}: {error.message}") from error
        self._budgets = {key.id: key.budgets for key in watch.ring.keys}
        stack.push_async_callback(state.spending.aclose)
        background.start("budgets: writing leases", state.spending.run)
        background.start("budgets: giving leases back", self._give_back)
        background.start("budgets: following keys", self._follow)
        watch.start(self._adopt)
        self.keys = SqliteKeys(
            compiled.store, watch=watch, clock=self._clock, currency=compiled.snapshot.budget.currency
        )
        if compiled.exchange.sources:
            poller = RatePoller(compiled.exchange, pool=pool, clock=self._clock, log=self._log, adopt=self._adopt_rate)
            background.start("exchange rate: asking", poller.run)

    def _adopt(self, ring: KeyRing) -> None:
        """Keys have changed: it holds at once, but that requests of keys with other budgets wait for those."""
        self._state.keys = ring
        changed = {key.id for key in ring.keys if self._budgets.get(key.id) != key.budgets}
        if changed:
            self._state.spending.pending |= changed
        self._changed.set()

    async def _give_back(self) -> None:
        """See that a kill after a burst costs no more than one before it."""
        while True:
            await self._clock.sleep(GIVE_BACK)
            self._state.spending.give_back()

    async def _follow(self) -> None:
        """Look up what was spent wherever budgets have changed."""
        spending, told = self._state.spending, False
        while True:
            await self._changed.wait()
            self._changed.clear()
            keys = self._state.keys.keys
            try:
                await spending.adopt(self._compiled.snapshot.budget, keys, self._state.rate)
            except GatewayError as error:
                if not told:
                    self._log.error("what keys have spent cannot be looked up", error=error.message)
                told = True
                self._changed.set()
                await self._clock.sleep(RETRY_PAUSE)
                continue
            told = False
            self._budgets = {key.id: key.budgets for key in keys}
            spending.adopted({key.id for key in self._state.keys.keys if self._budgets.get(key.id) == key.budgets})

    def _adopt_rate(self, rate: ExchangeRate) -> None:
        self._state.rate = rate
