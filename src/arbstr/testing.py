"""Fakes of the ports, for tests of arbstr and of what is built on it. They are honest to the ports' contracts: a read
that passes its deadline times out, on a clock that only moves when somebody waits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from arbstr.dialects.callers import caller_dialect
from arbstr.dialects.chat import ChatProvider
from arbstr.domain.alert import Alert
from arbstr.domain.errors import (
    CallerLeft,
    Conflict,
    FailureKind,
    GatewayError,
    InvalidRequest,
    NotFound,
    UpstreamFailure,
)
from arbstr.domain.events import Frame
from arbstr.domain.identity import ID_PREFIX, SECRET_BYTES, Key, new_secret, secret_hash
from arbstr.domain.money import Currency, MicroSats, NanoUsd
from arbstr.domain.record import AttemptRecord, RequestRecord
from arbstr.domain.request import ChatRequest, Wishes
from arbstr.domain.routing import Deployment
from arbstr.domain.secret import Secret
from arbstr.policy.key_changes import KeyChange, changed
from arbstr.ports import Clock, Headers, Lease, Spent

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
    at_work = True

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
        self,
        body: bytes,
        *,
        wishes: Wishes | None = None,
        request_id: str = "request-1",
        dialect: str = "openai",
        credential: bytes | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.credential = credential
        self.address = address
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


class MemoryKeys:
    """Gateway keys in a list, with secrets that count up: implements :class:`~arbstr.ports.KeyStore`.

    ``currency`` is that of budgets whose currency a change leaves open.
    """

    def __init__(self, clock: Clock, *, currency: Currency = Currency.SATS) -> None:
        self.keys: dict[str, Key] = {}
        """By id, the oldest first."""
        self.refusal: GatewayError | None = None
        """What every call raises from now on."""
        self._clock = clock
        self._currency = currency
        self._secrets = 0

    async def list(self) -> list[Key]:
        self._reach()
        return list(self.keys.values())

    async def get(self, name_or_id: str) -> Key:
        self._reach()
        if name_or_id in self.keys:
            return self.keys[name_or_id]
        named = [key for key in self.keys.values() if key.name == name_or_id]
        if not named:
            raise NotFound(f"There is no key with the name or id {name_or_id!r}.")
        return max(named, key=lambda key: math.inf if key.revoked_at is None else key.revoked_at)

    async def create(self, change: KeyChange) -> tuple[Key, Secret]:
        self._reach()
        if change.name is UNSET:
            raise InvalidRequest("A key needs a name.", param="name")
        secret = self._secret()
        blank = Key(f"{ID_PREFIX}{self._secrets:016x}", change.name, secret_hash(secret.reveal()), self._clock.time())
        return self._keep(changed(blank, change, currency=self._currency)), secret

    async def update(self, name_or_id: str, change: KeyChange) -> Key:
        return self._keep(changed(await self._unrevoked(name_or_id), change, currency=self._currency))

    async def revoke(self, name_or_id: str) -> Key:
        key = await self.get(name_or_id)
        return key if key.revoked_at is not None else self._keep(replace(key, revoked_at=self._clock.time()))

    async def rotate(self, name_or_id: str, *, grace: float) -> tuple[Key, Secret]:
        key, secret = await self._unrevoked(name_or_id), self._secret()
        previous, until = (key.hash, self._clock.time() + grace) if grace > 0 else (None, None)
        hashed = secret_hash(secret.reveal())
        return self._keep(replace(key, hash=hashed, previous_hash=previous, previous_until=until)), secret

    def _reach(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def _secret(self) -> Secret:
        self._secrets += 1
        return new_secret(self._secrets.to_bytes(SECRET_BYTES))

    async def _unrevoked(self, name_or_id: str) -> Key:
        key = await self.get(name_or_id)
        if key.revoked_at is not None:
            raise Conflict(f"The key {key.name!r} ({key.id}) is revoked, which is for good: create another.")
        return key

    def _keep(self, key: Key) -> Key:
        others = [other.name for other in self.keys.values() if other.id != key.id and other.revoked_at is None]
        if key.revoked_at is None and key.name in others:
            raise Conflict(f"There is a key with the name {key.name!r} already.", param="name")
        self.keys[key.id] = key
        return key


class MemorySpend:
    """The memory of budgets, without a disk: implements :class:`~arbstr.ports.SpendStore`. As a record sink beside it
    is the log that it sums; hand the same one to a second gateway, and that is a restart."""

    def __init__(self) -> None:
        self.rows: list[RequestRecord] = []
        """What was logged; what a killed process had not logged yet can be taken out."""
        self.written: dict[tuple[str, str, int, str], Lease] = {}
        self.writes = 0
        self.refusal: GatewayError | None = None
        """What every call raises from now on."""
        self.answers = asyncio.Event()
        """Cleared: every call waits."""
        self.answers.set()

    def attempt(self, record: AttemptRecord) -> None:
        """Attempts are part of their requests."""

    def request(self, record: RequestRecord) -> None:
        self.rows.append(record)

    async def leases(self) -> list[Lease]:
        await self._reach()
        return list(self.written.values())

    async def lease(self, leases: Sequence[Lease]) -> None:
        await self._reach()
        self.writes += 1
        self.written |= {(each.account, each.period, each.start, each.currency): each for each in leases}

    async def spent(self, *, since: float, before: float, account: str | None = None) -> list[Spent]:
        await self._reach()
        sums: dict[str, list[int]] = {}
        for row in self.rows:
            at = row.timestamp if row.charged_at is None else row.charged_at
            for name in {"", row.key_id or ""} if since <= at < before else ():
                amounts = sums.setdefault(name, [0, 0, 0, 0])
                for sats, usd in ((row.cost, row.cost_usd), (row.failed_cost, row.failed_cost_usd)):
                    amounts[0] += sats or 0
                    amounts[1] += usd or 0
                    amounts[2] += (sats or 0) if usd is None else 0
                    amounts[3] += (usd or 0) if sats is None else 0
        return [
            Spent(name, MicroSats(sats), NanoUsd(usd), MicroSats(sats_only), NanoUsd(usd_only))
            for name, (sats, usd, sats_only, usd_only) in sums.items()
            if account in (None, name)
        ]

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        await self.answers.wait()
        if self.refusal is not None:
            raise self.refusal
