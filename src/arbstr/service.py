"""The composition root: everything is made here, started, drained and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, cast

import uvloop

from arbstr import __version__
from arbstr.config.compile import Compiled
from arbstr.domain.health import CircuitState
from arbstr.edge.app import App
from arbstr.edge.context import Context
from arbstr.edge.limits import Refusal
from arbstr.edge.server import EdgeServer, ListenError
from arbstr.pipeline.handle import Pipeline
from arbstr.pipeline.state import LiveState
from arbstr.policy.verdict import Park
from arbstr.ports import Clock, Log
from arbstr.store.errors import StoreError
from arbstr.store.sqlite import SqliteLog
from arbstr.telemetry.log import Format, Level, Logging
from arbstr.telemetry.metrics import CONTENT_TYPE, Metrics
from arbstr.upstream import registry
from arbstr.upstream.dial import default_tls
from arbstr.upstream.discover import Discovery, Found
from arbstr.upstream.pool import Limits, Pool
from arbstr.upstream.redact import Redactor

UNREADY_GRACE = 0.5
"""Seconds between being unready and closing the listener, so that a load balancer has a chance to see it."""

LAST_WORDS = 3.0
"""Seconds that streams have for their error event after the drain time, before their connections are cut."""

FLUSH = 5.0
"""Seconds that the request log has to write what waits, at the end."""

M_MMAP_THRESHOLD = -3
"""As ``malloc.h`` of glibc numbers it."""

LARGE_BLOCK = 256 * 1024
"""Bytes from which a block of memory is mapped by itself, and unmapped when it is freed."""

REFUSAL_LINES = 5
"""Lines a second, at most, about requests that were refused before they could be read."""

SWEEP = 1.0
"""Seconds between two looks at requests past their deadline."""

GC_THRESHOLD = 50_000
"""Allocations between two collections of the youngest generation: the hot path makes no cycles, and a collection in
the middle of it is what p99 is made of."""


class SystemClock:
    """The machine's clock: implements :class:`~arbstr.ports.Clock`."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)

    async def wait(self, future: asyncio.Future[None], seconds: float) -> bool:
        await asyncio.wait([future], timeout=seconds)
        return future.done()


def serve(compiled: Compiled, *, mock: bool = False) -> int:
    """Run the gateway until it is told to stop. The exit code: 0 after a clean end, 1 where it could not start."""
    _keep_standard_files()
    _raise_file_limit()
    _return_large_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(Service(compiled, mock=mock).run())
        except (StoreError, ListenError) as error:
            print(f"arbstr: {error}", file=sys.stderr)
            return 1


class Refusals:
    """Counts the requests that the server refused by itself, and tells of some: an attack must not fill the log."""

    def __init__(self, log: Log, clock: Clock, metrics: Metrics) -> None:
        self._log = log
        self._clock = clock
        self._metrics = metrics
        self._second = 0
        self._lines = 0

    def __call__(self, refusal: Refusal, request_id: str) -> None:
        self._metrics.refused(refusal.status)
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= REFUSAL_LINES:
            self._log.warning(
                "request refused unread", request_id=request_id, status=refusal.status, error=refusal.message
            )


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
        self.state = LiveState(clock=self.clock, log=self.log)
        tls = any(spec.base_url.startswith("https:") for spec in compiled.providers)
        self.pool = Pool(
            limits=Limits(max_connections=compiled.snapshot.max_in_flight),
            tls=default_tls() if tls else None,  # here, as reading the authorities blocks
        )
        self.providers = registry.build(compiled.providers, registry.Means(self.pool, self.redact, self.clock))
        self._stack = contextlib.AsyncExitStack()
        self._server: EdgeServer | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """Serve until a signal says to stop: SIGTERM or SIGINT once for an orderly end, twice for one at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        async with self:
            _tame_the_collector()
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
        request_log = SqliteLog.open(compiled.store, on_problem=self._on_log_problem)
        self._stack.push_async_callback(request_log.aclose, FLUSH)
        metrics = Metrics(
            version=__version__,
            models=lambda: pipeline.snapshot.routes,
            circuits=self._circuits,
            parked=self._parked,
            in_flight=lambda: len(self.state.in_flight),
            log_health=request_log.health,
            log_lines_dropped=lambda: self.logging.dropped,
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
            clock=self.clock,
            log=self.log,
            expose_metrics=lambda: (metrics.expose(), CONTENT_TYPE.encode()),
            started_at=int(self.clock.time()),
        )
        server = EdgeServer(
            App(context), host=compiled.host, port=compiled.port, on_refusal=Refusals(self.log, self.clock, metrics)
        )
        await server.start()
        self._discover(pipeline)
        return server

    def _discover(self, pipeline: Pipeline) -> None:
        """Ask providers for their models from now on, where that is wanted."""
        compile_with = self.compiled.discovered
        listings = registry.listings(self.compiled.providers, self.providers)
        if not listings or compile_with is None:
            return

        async def adopt(found: Found) -> None:
            snapshot = await asyncio.to_thread(compile_with, found)
            self.state.adopt(snapshot)
            pipeline.snapshot = snapshot

        discovery = Discovery(listings, clock=self.clock, log=self.log, adopt=adopt)
        task = asyncio.create_task(discovery.run())
        self._stack.push_async_callback(_cancelled, task)

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


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _keep_standard_files() -> None:
    """Open what is closed of stdin, stdout and stderr on nothing. Their numbers must not become those of sockets: what
    prints would write into them, and libuv aborts the process that closes one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _raise_file_limit() -> None:
    """Allow as many open files as the machine lets us: each caller may need two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _return_large_memory() -> None:
    """Have the C library give large blocks back as soon as they are free.

    By default glibc keeps, after one body of 30 MB, blocks of up to that size for itself, and a burst of large requests
    stays resident for good.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def _tame_the_collector() -> None:
    """What lives now lives for ever, and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


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
