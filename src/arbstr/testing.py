"""Fakes of the ports, for tests of arbstr and of what is built on it. They are honest to the ports' contracts: a read
that passes its deadline times out, on a clock that only moves when somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from arbstr.dialects.callers import caller_dialect
from arbstr.dialects.chat import ChatProvider
from arbstr.domain.alert import Alert
from arbstr.domain.errors import CallerLeft, FailureKind, GatewayError, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.record import AttemptRecord, RequestRecord
from arbstr.domain.request import ChatRequest, Wishes
from arbstr.domain.routing import Deployment
from arbstr.ports import Headers

Item = bytes | float | UpstreamFailure | asyncio.Event
Step = UpstreamFailure | Sequence[Item]


class FakeClock:
    """Time that passes only by waiting. Sleepers do not wait for each other: each sleep moves the clock at once."""

    def __init__(self, *, start: float = 1000.0, epoch: float = 1_800_000_000.0) -> None:
        self.now = start
        self.epoch = epoch - start
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.epoch + self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.advance(seconds)

    async def wait(self, future: asyncio.Future[None], seconds: float) -> bool:
        """Lets other tasks run for a hundred turns; if the future is not done by then, the time is over."""
        for _ in range(100):
            if future.done():
                return True
            await asyncio.sleep(0)
        self.advance(seconds)
        return future.done()


class ScriptedProvider:
    """Speaks the OpenAI dialect. Plays one step for each attempt, and remembers who was asked for what.

    A step is a failure to open, or the items of an answer in order: bytes as they come from the network, seconds that
    pass, a failure, or an event that is waited for. A whole answer is one item of bytes.
    """

    def __init__(self, clock: FakeClock, *steps: Step) -> None:
        self.clock = clock
        self.steps = list(steps)
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.requests: list[ChatRequest] = []

    def then(self, *steps: Step) -> None:
        """Append steps."""
        self.steps.extend(steps)

    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> ScriptedAttempt:
        if not self.steps:
            raise AssertionError(f"{deployment.name} was asked once more than the script foresees")
        self.requests.append(request)
        return ScriptedAttempt(self, request, deployment, until, self.steps.pop(0))


class ScriptedAttempt:
    def __init__(
        self, provider: ScriptedProvider, request: ChatRequest, deployment: Deployment, until: float, step: Step
    ) -> None:
        self._provider = provider
        self._deployment = deployment
        self._until = until
        self._step = step
        self._whole = not request.stream
        self._events = request.dialect != "openai"

    async def __aenter__(self) -> ScriptedUpstream:
        self._provider.opened.append(self._deployment.name)
        if isinstance(self._step, UpstreamFailure):
            self._provider.closed.append(self._deployment.name)
            raise self._step
        return ScriptedUpstream(self._provider.clock, self._step, whole=self._whole, events=self._events)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._provider.closed.append(self._deployment.name)


class ScriptedUpstream:
    status = 200
    dialect = "openai"
    dropped: tuple[str, ...] = ()

    def __init__(self, clock: FakeClock, items: Sequence[Item], *, whole: bool, events: bool) -> None:
        self._clock = clock
        self._items = list(items)
        self._speech = ChatProvider()
        self._events = events
        self._decoder = self._speech.decoder(events=events)
        self._whole = whole
        self._ended = False

    async def read(self, until: float) -> Sequence[Frame]:
        while self._items:
            item = self._items.pop(0)
            frames = await self._play(item, until)
            if frames:
                return frames
        if self._ended or self._whole:
            return []
        self._ended = True
        return self._decoder.finish()

    async def _play(self, item: Item, until: float) -> Sequence[Frame]:
        if isinstance(item, UpstreamFailure):
            raise item
        if isinstance(item, asyncio.Event):
            await item.wait()
            return []
        if isinstance(item, bytes):
            return [self._speech.parse_whole(item, events=self._events)] if self._whole else self._decoder.feed(item)
        if self._clock.now + item >= until:
            self._clock.now = max(self._clock.now, until)
            raise UpstreamFailure(FailureKind.TIMEOUT, "nothing came in time")
        self._clock.advance(item)
        await asyncio.sleep(0)
        return []


class ScriptedCaller:
    """A caller with a body to send, who keeps what it is given and may leave."""

    endpoint = "chat.completions"

    def __init__(
        self, body: bytes, *, wishes: Wishes | None = None, request_id: str = "request-1", dialect: str = "openai"
    ) -> None:
        self.dialect = caller_dialect(dialect)
        self.request_id = request_id
        self.wishes = wishes if wishes is not None else Wishes()
        self.body = body
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.received = b""
        self.writes: list[bytes] = []
        self.finished = False
        self.closed = False
        self.hears = asyncio.Event()
        """Cleared: the caller does not read, and whoever writes to it waits."""
        self.hears.set()
        self.on_write: Callable[[bytes], None] = lambda data: None
        self._gone: Callable[[GatewayError], None] = lambda error: None

    async def request(self, max_body: int) -> ChatRequest:
        return self.dialect.parse(self.body)

    def watch(self, gone: Callable[[GatewayError], None]) -> None:
        self._gone = gone

    def leave(self) -> None:
        """The caller hangs up."""
        self._gone(CallerLeft("the caller left"))

    @property
    def answered(self) -> bool:
        return self.status is not None

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        await self.start(headers, status=status)
        await self.finish(body)

    async def start(self, headers: Headers, *, status: int = 200) -> None:
        assert self.status is None, "the head of the answer was given twice"
        self.status = status
        self.headers = dict(headers)

    async def write(self, data: bytes) -> None:
        assert self.status is not None, "bytes before the head"
        assert not self.finished, "bytes after the end"
        self.received += data
        self.writes.append(data)
        self.on_write(data)
        await self.hears.wait()

    async def finish(self, data: bytes, *, close: bool = False) -> None:
        await self.write(data)
        self.finished = True
        self.closed = close


class ListSink:
    """A record sink that keeps everything."""

    def __init__(self) -> None:
        self.attempts: list[AttemptRecord] = []
        self.requests: list[RequestRecord] = []

    def attempt(self, record: AttemptRecord) -> None:
        self.attempts.append(record)

    def request(self, record: RequestRecord) -> None:
        self.requests.append(record)


class ListLog:
    """A log that keeps its lines as ``(level, event, fields)``."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))


class ListAlerts:
    """Keeps every alert, repetitions too."""

    def __init__(self) -> None:
        self.raised: list[Alert] = []

    def raise_alert(self, alert: Alert) -> None:
        self.raised.append(alert)
