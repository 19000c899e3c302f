"""One gateway: made, started, drained and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from arbstr import __version__
from arbstr.config.compile import Compiled
from arbstr.domain.health import CircuitState
from arbstr.domain.routing import Snapshot
from arbstr.edge.app import App
from arbstr.edge.context import Context
from arbstr.edge.server import EdgeServer
from arbstr.pipeline.handle import Pipeline
from arbstr.pipeline.state import LiveState
from arbstr.policy.verdict import Park
from arbstr.service.accounts import Accounts
from arbstr.service.background import Background
from arbstr.service.clock import SystemClock
from arbstr.service.process import tame_the_collector
from arbstr.service.refusals import Refusals
from arbstr.service.renewal import Renewal
from arbstr.store.retention import Retention
from arbstr.store.sqlite import SqliteLog
from arbstr.store.stats import Statistics
from arbstr.telemetry.accounts import AccountMetrics
from arbstr.telemetry.log import Format, Level, Logging
from arbstr.telemetry.metrics import CONTENT_TYPE, Metrics
from arbstr.upstream import registry
from arbstr.upstream.dial import default_tls
from arbstr.upstream.discover import Discovery
from arbstr.upstream.pool import Limits, Pool
from arbstr.upstream.post import PoolPost
from arbstr.upstream.redact import Redactor

if TYPE_CHECKING:
    from arbstr.notify.dispatcher import Dispatcher

UNREADY_GRACE = 0.5
"""Seconds between being unready and closing the listener, so that a load balancer has a chance to see it."""

LAST_WORDS = 3.0
"""Seconds that streams have for their error event after the drain time, before their connections are cut."""

FLUSH = 5.0
"""Seconds that the request log has to write what waits, at the end, and alerts to be sent."""

SWEEP = 1.0
"""Seconds between two looks at requests past their deadline."""


class Service:
    """One gateway: an async context manager that serves between its entry and its exit, which drains it.

    Entering raises StoreError or ListenError. A process runs it with :meth:`run`; it needs no process of its own.
    """

    def __init__(self, compiled: Compiled, *, mock: bool = False) -> None:
        self.compiled = compiled
        self.mock = mock
        self.clock = SystemClock()
        self.redact = Redactor(compiled.secrets)
        level, form = cast(Level, compiled.log.level), cast(Format, compiled.log.format)
        self.logging = Logging(level=level, format=form, redact=self.redact)
        self.logging.bridge.install()
        self.log = self.logging.log
        tls = bool(compiled.alerts or compiled.exchange.sources) or any(
            spec.base_url.startswith("https:") for spec in compiled.providers
        )
        self.pool = Pool(
            limits=Limits(max_connections=compiled.snapshot.max_in_flight),
            tls=default_tls() if tls else None,  # here, as reading the authorities blocks
        )
        self.alerts = self._dispatcher() if compiled.alerts else None
        self.state = LiveState(clock=self.clock, log=self.log, alerts=self.alerts)
        self.accounts = Accounts(compiled, self.state, clock=self.clock, log=self.log)
        self.providers = registry.build(compiled.providers, registry.Means(self.pool, self.redact, self.clock))
        self._stack = contextlib.AsyncExitStack()
        self._background = Background(self._stack, clock=self.clock, log=self.log)
        self._server: EdgeServer | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def _dispatcher(self) -> Dispatcher:
        from arbstr.notify.dispatcher import Dispatcher  # heavy, and most gateways tell nobody
        from arbstr.notify.senders import senders

        targets = senders(self.compiled.alerts, post=PoolPost(self.pool), clock=self.clock)
        return Dispatcher(targets, clock=self.clock, log=self.log, redact=self.redact)

    async def run(self) -> int:
        """Serve until a signal says to stop: SIGTERM or SIGINT once for an orderly end, twice for one at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        async with self:
            tame_the_collector()
            await self._stop.wait()
        return 0

    def _on_hangup(self) -> None:
        """A closed terminal is no reason to cut anybody off, and there is no reload yet."""
        self.log.info("SIGHUP is ignored: the configuration is read at the start")

    def _enforce_deadlines(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(SWEEP, self._enforce_deadlines)
        self.state.enforce_deadlines()

    def stop(self) -> None:
        """Ask for an orderly end; a second time: for one at once."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        assert self._server is not None
        host, port = self._server.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def __aenter__(self) -> Service:
        try:
            self._server = await self._start()
        except BaseException:
            await self._stack.aclose()
            self.logging.close()
            raise
        self._sweep = asyncio.get_running_loop().call_later(SWEEP, self._enforce_deadlines)
        self.log.info("listening", url=self.url, version=__version__, providers=len(self.compiled.providers))
        if self.mock:
            print(_welcome(self.url), file=sys.stderr, flush=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        try:
            await self._drain(self._server)
        finally:
            if self._sweep is not None:
                self._sweep.cancel()
            await self._stack.aclose()
            self.log.info("stopped")
            self.logging.close()

    async def _start(self) -> EdgeServer:
        compiled = self.compiled
        self._stack.push_async_callback(self.pool.aclose)
        if self.alerts is not None:
            self._stack.push_async_callback(self.alerts.aclose, FLUSH)
            self.alerts.start()
        request_log = SqliteLog.open(compiled.store, on_problem=self._on_log_problem)
        self._stack.push_async_callback(request_log.aclose, FLUSH)
        stats = Statistics(compiled.store)
        self._stack.push_async_callback(stats.aclose)
        await self.accounts.start(
            self._stack, background=self._background, pool=self.pool, on_problem=self._on_log_problem
        )
        self._retain(request_log)
        metrics = Metrics(
            version=__version__,
            models=lambda: pipeline.snapshot.routes,
            circuits=self._circuits,
            parked=self._parked,
            in_flight=lambda: len(self.state.in_flight),
            log_health=request_log.health,
            log_lines_dropped=lambda: self.logging.dropped,
            accounts=AccountMetrics(
                meters=self.state.spending.limited_meters,
                rate=lambda: self.state.rate,
                alerts=lambda: self.alerts.counts() if self.alerts is not None else None,
                now=self.clock.time,
            ),
        )
        pipeline = Pipeline(
            snapshot=compiled.snapshot,
            providers=self.providers,
            state=self.state,
            clock=self.clock,
            sinks=(request_log, metrics, self.logging.requests),
            log=self.log,
        )
        context = Context(
            pipeline=pipeline,
            request_log=request_log,
            stats=stats,
            clock=self.clock,
            log=self.log,
            expose_metrics=lambda: (metrics.expose(), CONTENT_TYPE.encode()),
            started_at=int(self.clock.time()),
            key_store=self.accounts.keys,
            admin_key=compiled.admin_key,
        )
        server = EdgeServer(
            App(context), host=compiled.host, port=compiled.port, on_refusal=Refusals(self.log, self.clock, metrics)
        )
        await server.start()
        self._discover(pipeline)
        return server

    def _retain(self, request_log: SqliteLog) -> None:
        """Remove rows that are older than they are to be kept, from now on, where that is wanted."""
        compiled = self.compiled
        if compiled.keep is None:
            return
        retention = Retention(
            compiled.store, keep=compiled.keep, clock=self.clock, log=self.log, health=request_log.health
        )
        self._stack.push_async_callback(retention.aclose)
        self._background.start("request log: removing old rows", retention.run)

    def _discover(self, pipeline: Pipeline) -> None:
        """Ask providers for their models from now on, where that is wanted, and follow prices that change."""
        compile_with = self.compiled.discovered
        if compile_with is None:
            return

        def hold(snapshot: Snapshot) -> None:
            self.state.adopt(snapshot)
            pipeline.snapshot = snapshot

        renewal = Renewal(pipeline.snapshot, compile_with=compile_with, hold=hold, clock=self.clock)
        self._background.start("prices: following", renewal.follow_prices)
        listings = registry.listings(self.compiled.providers, self.providers)
        if listings:
            discovery = Discovery(listings, clock=self.clock, log=self.log, adopt=renewal.adopt)
            self._background.start("models: discovering", discovery.run)

    def _on_log_problem(self, event: str, fields: dict[str, Any]) -> None:
        fields = dict(fields)
        (self.log.info if fields.pop("recovered", False) else self.log.error)(event, **fields)

    def _parked(self) -> Mapping[str, str]:
        reasons = {Park.KEY: "key", Park.ACCOUNT: "rate_limit"}
        return {name: reasons[parked.park] for name, parked in self.state.parked_accounts().items()}

    def _circuits(self) -> Mapping[str, CircuitState]:
        now = self.clock.monotonic()
        return {name: circuit.breaker.state(now) for name, circuit in self.state.circuits.items()}

    async def _drain(self, server: EdgeServer) -> None:
        """Unready at once, then no new connections; what is in flight finishes, or is told that it cannot."""
        self.state.stopping = True
        self.log.info("draining", in_flight=len(self.state.in_flight), timeout_s=self.compiled.drain_timeout)
        deadline = self.clock.monotonic() + self.compiled.drain_timeout
        await self._unless_hurried(min(UNREADY_GRACE, self.compiled.drain_timeout))
        self.state.draining = True
        server.stop_accepting()
        closed = asyncio.ensure_future(server.wait_closed())
        hurried = asyncio.ensure_future(self._hurry.wait())
        try:
            remaining = max(0.0, deadline - self.clock.monotonic())
            await asyncio.wait([closed, hurried], timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if not closed.done():
                self.log.warning("drain time is over", interrupted=len(self.state.in_flight))
                self.state.interrupt_all()
                await asyncio.wait([closed], timeout=LAST_WORDS)
            if not closed.done():
                server.abort()
                await asyncio.wait([closed], timeout=LAST_WORDS)
            if not closed.done():
                server.cancel()
                await asyncio.wait([closed], timeout=LAST_WORDS)
        finally:
            closed.cancel()
            hurried.cancel()

    async def _unless_hurried(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)


def _welcome(url: str) -> str:
    """What a newcomer is to try first."""
    body = '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}'
    return f"""
arbstr {__version__} is listening on {url}, with mock providers: nothing leaves this machine.

Try it:

  curl -i {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{body}'

and look at what it cost: curl {url}/v1/requests
"""
