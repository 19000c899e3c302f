"""What the pipeline and the edge need from the rest of the world, as protocols.

``upstream``, ``store`` and ``telemetry`` implement them, ``testing`` has fakes of them, ``service`` hands them in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

import msgspec

from arbstr.dialects.translate import CallerDialect
from arbstr.domain.alert import Alert
from arbstr.domain.errors import GatewayError
from arbstr.domain.events import Frame
from arbstr.domain.identity import Key
from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.record import AttemptRecord, RequestRecord
from arbstr.domain.request import ChatRequest, Wishes
from arbstr.domain.routing import Deployment
from arbstr.domain.secret import Secret
from arbstr.domain.statistics import Bucket, Filter, Group, Point, Savings, Sort, Statistics
from arbstr.policy.key_changes import KeyChange

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case."""


class Clock(Protocol):
    """Time. ``monotonic`` and ``sleep`` are in seconds; deadlines everywhere are instants of ``monotonic``."""

    def monotonic(self) -> float: ...
    def time(self) -> float:
        """Seconds since the epoch, UTC: for what people read, never for a deadline."""
        ...

    async def sleep(self, seconds: float) -> None: ...
    async def wait(self, future: asyncio.Future[None], seconds: float) -> bool:
        """Wait for ``future``, at most ``seconds``; whether it came in time. The future is never cancelled."""
        ...


class Upstream(Protocol):
    """An answer that has begun: the provider said 200 and is being read."""

    status: int
    dialect: str
    """Of the frames' bytes. Where it is not the request's, the frames have events."""
    dropped: tuple[str, ...]
    """Fields of the request that this provider's dialect could not say."""

    async def read(self, until: float) -> Sequence[Frame]:
        """The next frames as they come, at least one; none at all means that the answer has ended cleanly.

        ``until`` is an instant of the clock. Raises :class:`~arbstr.domain.errors.UpstreamFailure`: TIMEOUT at that
        instant, UNREADABLE when the answer was cut. Cancelling it is safe; the answer cannot be read on afterwards.
        """
        ...


class Opening(Protocol):
    """One attempt as an async context manager. Leaving it frees the connection: back to the pool after a clean end,
    aborted at once otherwise."""

    @property
    def at_work(self) -> bool:
        """The provider may be at work on the request, and charge for it: it was sent some of it, and has not refused
        it."""
        ...

    async def __aenter__(self) -> Upstream:
        """Send the request and wait for an answer worth reading.

        Raises :class:`~arbstr.domain.errors.UpstreamFailure` for everything that goes wrong upstream.
        """
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Provider(Protocol):
    """Somebody who sells models."""

    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> Opening:
        """An attempt, not begun yet. The answer's headers must have come by ``until`` (monotonic)."""
        ...


class Caller(Protocol):
    """The other side of the edge: who asks, and is answered."""

    request_id: str
    wishes: Wishes
    dialect: CallerDialect
    """What it speaks."""
    endpoint: str
    """What it called, as the request log names it."""
    credential: bytes | None
    """What it shows to be let in: a key, as it came in ``Authorization: Bearer``, ``x-api-key`` or ``api-key``."""
    address: str
    """Where it calls from."""

    async def request(self, max_body: int) -> ChatRequest:
        """Read and parse the body. Raises :class:`~arbstr.domain.errors.GatewayError`."""
        ...

    def watch(self, gone: Callable[[GatewayError], None]) -> None:
        """Call ``gone`` once, at once, when the caller leaves, or is cut off, before the answer is complete: with
        CallerLeft, or with what it was told instead of an answer."""
        ...

    @property
    def answered(self) -> bool:
        """The status is spent: an answer's head has been given to the caller."""
        ...

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer in JSON."""
        ...

    async def start(self, headers: Headers) -> None:
        """The head of a stream of server-sent events; what follows are :meth:`write` and one :meth:`finish`."""
        ...

    async def write(self, data: bytes) -> None:
        """Pass bytes on; waits while the caller reads more slowly than they come."""
        ...

    async def finish(self, data: bytes, *, close: bool = False) -> None:
        """The last bytes and the proper end of the body; ``close``: then close the connection too."""
        ...


class RecordSink(Protocol):
    """Somebody who wants to know what happened. Both calls return at once and never raise."""

    def attempt(self, record: AttemptRecord) -> None:
        """An upstream try has ended."""
        ...

    def request(self, record: RequestRecord) -> None:
        """A client request is over; called exactly once for each."""
        ...


class Log(Protocol):
    """Structured lines for the operator. ``event`` is a short sentence, the fields say the rest."""

    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...
    def error(self, event: str, **fields: Any) -> None: ...


class Page(msgspec.Struct, frozen=True):
    """Entries of the request log as JSON-ready dicts, in the order asked for."""

    entries: list[dict[str, Any]]
    total: int
    """How many match: exact up to 100,000, and more than that where ``estimated``."""
    estimated: bool = False
    next_cursor: str | None = None
    """Where the next page begins; None where there is none."""


class LogHealth(msgspec.Struct, frozen=True):
    """How the request log's writer fares."""

    ok: bool
    queued: int
    """Rows waiting to be written."""
    written: int
    dropped: int
    """Rows that will never be written: the queue was full, or the row itself could not be stored."""
    error: str | None = None
    """What keeps it from writing now."""


class RequestLog(RecordSink, Protocol):
    """The durable memory of requests. Reading never waits for writing, nor the other way round."""

    async def page(
        self,
        which: Filter,
        *,
        page: int = 1,
        per_page: int,
        sort: Sort = Sort.TIMESTAMP,
        descending: bool = True,
        cursor: str | None = None,
    ) -> Page:
        """The ``page``-th page, from 1, of the entries that match; with ``cursor``, the ``next_cursor`` of a page with
        the same filter, sort and order, the one that follows it.

        Raises LogUnavailable where the log cannot be read, and InvalidRequest for a cursor that is none.
        """
        ...

    async def find(self, request_id: str, *, key_id: str | None = None) -> dict[str, Any] | None:
        """One entry with its attempts, or None; also None where it is not that key's. Raises LogUnavailable."""
        ...

    def health(self) -> LogHealth: ...


class StatsStore(Protocol):
    """What the request log comes to. Everything raises LogUnavailable where it cannot be read, or takes too long.

    A filter's range is given, and bounded by who asks.
    """

    async def stats(self, which: Filter, *, group_by: Group | None = None) -> Statistics:
        """The figures of the requests that match; only groups that have some are in it."""
        ...

    async def series(self, which: Filter, *, bucket: Bucket) -> list[Point]:
        """The figures bucket by bucket, in order, from the one that the range begins in to the one that it ends in;
        also those in which nothing happened."""
        ...

    async def savings(self, which: Filter, *, by: Group | None = None) -> Savings:
        """What was saved, and its parts by model or provider, or by day where ``by`` is None."""
        ...

    async def seen(self, which: Filter) -> bool:
        """Whether any request matches, at any time: of the filter, only ``model``, ``provider``,
        ``policy`` and ``key_id``."""
        ...


class Lease(msgspec.Struct, frozen=True):
    """An amount that counts as spent in a window if the process that works within it dies."""

    account: str
    """A key's id; empty for the gateway as a whole."""
    period: str
    """``hour``, ``day``, ``month`` or ``total``."""
    start: int
    """The beginning of the window, in seconds since the epoch."""
    currency: str
    amount: int
    """In the currency's smallest units: all that was or may be spent in this window."""


class Spent(msgspec.Struct, frozen=True):
    """What the request log says was spent, failed attempts included."""

    account: str
    """A key's id; empty for all requests together."""
    sats: MicroSats
    """Of the requests whose cost in satoshis is known."""
    usd: NanoUsd
    """Of those whose cost in dollars is known, among them most of the others."""
    sats_only: MicroSats
    """Of those whose cost is known in satoshis alone: part of ``sats``."""
    usd_only: NanoUsd
    """Of those whose cost is known in dollars alone: part of ``usd``."""


class SpendStore(Protocol):
    """The durable memory of budgets. Everything raises LogUnavailable where it cannot be read or written."""

    async def leases(self) -> list[Lease]:
        """All that are written down."""
        ...

    async def lease(self, leases: Sequence[Lease]) -> None:
        """Write these down, in place of earlier ones of the same windows; on return they survive the process."""
        ...

    async def spent(self, *, since: float, before: float, account: str | None = None) -> list[Spent]:
        """What was charged to windows that began at ``since``, by requests that were charged before ``before``: by
        account, or of one. Accounts that spent nothing are left out."""
        ...


class Alerts(Protocol):
    """Somebody who tells the operator."""

    def raise_alert(self, alert: Alert) -> None:
        """Take note of it, to be sent in its own time; once for each cause. Returns at once and never raises."""
        ...


class Post(Protocol):
    """One POST over HTTP or HTTPS: certificates verified, no redirect followed."""

    async def __call__(self, url: Secret, headers: Sequence[tuple[str, str]], body: bytes) -> int:
        """The status of the answer, whose body nobody wants. Bounded in time.

        Raises OSError where there is no answer; its text says why, and nothing of the URL.
        """
        ...


class KeyStore(Protocol):
    """The gateway keys. A key is named by its name or its id; what was changed holds for every request from the moment
    in which the call returns. Every call raises LogUnavailable where the keys are out of reach."""

    async def list(self) -> list[Key]:
        """All of them, revoked ones too, the oldest first."""
        ...

    async def get(self, name_or_id: str) -> Key:
        """Raises NotFound."""
        ...

    async def create(self, change: KeyChange) -> tuple[Key, Secret]:
        """A new key and its secret, which nobody can read again.

        Raises Conflict where the name is taken, InvalidRequest where there is none, or the change is at odds.
        """
        ...

    async def update(self, name_or_id: str, change: KeyChange) -> Key:
        """The key as it is then. Raises NotFound, Conflict where it is revoked or the new name is taken, InvalidRequest
        where the change is at odds with what there is."""
        ...

    async def revoke(self, name_or_id: str) -> Key:
        """Revoke it for good; a second time changes nothing. Raises NotFound."""
        ...

    async def rotate(self, name_or_id: str, *, grace: float) -> tuple[Key, Secret]:
        """The key and its new secret. The old one is good for ``grace`` seconds more, one before it no longer.

        Raises NotFound, and Conflict where it is revoked.
        """
        ...
