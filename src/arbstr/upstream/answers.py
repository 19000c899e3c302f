"""Answers that have begun, as frames: whole ones and streams, in the dialect of the endpoint that gave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, Protocol

from arbstr.dialects.openai import convert as openai_convert
from arbstr.dialects.openai import looks_like_sse, merge_usage
from arbstr.domain.answer import Event
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage
from arbstr.upstream.errors import (
    ConnectError,
    CutBody,
    PoolTimeout,
    ProtocolError,
    ReadTimeout,
    ResetBeforeHead,
    TransportError,
)
from arbstr.upstream.exchange import Response
from arbstr.upstream.offers import Endpoint

ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes of a whole answer, decoded."""


class Collector(Protocol):
    """Puts a stream together into the whole answer that it would have been."""

    def feed(self, data: bytes) -> None: ...
    def finish(self) -> Frame: ...


class Conversion(NamedTuple):
    """Between the two forms of an answer, for servers that mix them up."""

    to_stream: Callable[[bytes], bytes]
    collector: Callable[[], Collector]


@cache
def conversion_of(dialect: str) -> Conversion | None:
    """The conversion of a dialect in its own words; None where there is none."""
    if dialect == "openai":
        return Conversion(openai_convert.whole_to_stream, openai_convert.StreamCollector)
    if dialect == "anthropic":
        from arbstr.dialects import anthropic

        return Conversion(anthropic.whole_to_stream, anthropic.StreamCollector)
    if dialect == "responses":
        from arbstr.dialects import responses

        return Conversion(responses.whole_to_stream, responses.StreamCollector)
    return None


Redact = Callable[[str], str]


class WholeAnswer:
    """A whole answer: one frame, once all of it is there and has been parsed."""

    __slots__ = ("_endpoint", "_events", "_redact", "_response", "dialect", "dropped", "status")

    def __init__(
        self, response: Response, endpoint: Endpoint, *, events: bool, dropped: tuple[str, ...], redact: Redact
    ) -> None:
        self._response: Response | None = response
        self._endpoint = endpoint
        self._events = events
        self._redact = redact
        self.dialect = endpoint.dialect
        self.dropped = dropped
        self.status = response.status

    async def read(self, until: float) -> Sequence[Frame]:
        response, self._response = self._response, None
        if response is None:
            return ()
        try:
            body = await response.read_all(until, limit=ANSWER_LIMIT)
            if response.headers.get(b"content-type") != b"application/json" and _streamed(response, body):
                return (self._collected(body),)
            return (self._endpoint.speech.parse_whole(body, events=self._events),)
        except TransportError as error:
            raise failure_of(error, status=self.status) from error
        except UpstreamFailure as failure:
            raise redacted(failure, self._redact, status=self.status) from failure

    def _collected(self, body: bytes) -> Frame:
        """A stream that answered a request for a whole answer, as a whole answer."""
        if self._events:
            decoder = self._endpoint.speech.decoder(events=True)
            return joined([*decoder.feed(body), *decoder.finish()])
        conversion = conversion_of(self.dialect)
        if conversion is None:
            raise UpstreamFailure(FailureKind.UNREADABLE, "a stream came where a whole answer was asked for")
        collector = conversion.collector()
        collector.feed(body)
        return collector.finish()


def _streamed(response: Response, body: bytes) -> bool:
    """Whether a stream came where a whole answer was asked for."""
    return response.content_type == "text/event-stream" or looks_like_sse(body[:64])


def joined(frames: Sequence[Frame]) -> Frame:
    """The frames of a stream, as the one of a whole answer. Raises UpstreamFailure for a stream that is broken."""
    events: list[Event] = []
    usage: Usage | None = None
    finish: str | None = None
    for frame in frames:
        if frame.failure is not None:
            raise frame.failure
        events.extend(frame.events)
        usage = merge_usage(usage, frame.usage)
        finish = frame.finish or finish
    if finish is None and not any(frame.done for frame in frames):
        raise UpstreamFailure(FailureKind.UNREADABLE, "a stream came, and was cut short")
    size = sum(frame.content_bytes for frame in frames)
    return Frame(b"", b"", True, size, finish, usage, done=True, events=tuple(events))


class StreamAnswer:
    """A stream, frame by frame. A whole answer to a request for a stream becomes one."""

    __slots__ = (
        "_decoder",
        "_ended",
        "_endpoint",
        "_events",
        "_redact",
        "_response",
        "_sniffed",
        "dialect",
        "dropped",
        "status",
    )

    def __init__(
        self, response: Response, endpoint: Endpoint, *, events: bool, dropped: tuple[str, ...], redact: Redact
    ) -> None:
        self._response = response
        self._endpoint = endpoint
        self._events = events
        self._decoder = endpoint.speech.decoder(events=events)
        self._redact = redact
        self._sniffed = response.content_type not in ("application/json", "text/plain", "")
        self._ended = False
        self.dialect = endpoint.dialect
        self.dropped = dropped
        self.status = response.status

    async def read(self, until: float) -> Sequence[Frame]:
        try:
            while not self._ended:
                data = await self._response.read(until)
                if not self._sniffed and data:
                    self._sniffed = True
                    if not looks_like_sse(data[:64]):
                        return self._converted(data + await self._response.read_all(until, limit=ANSWER_LIMIT))
                frames = self._decoder.feed(data) if data else self._last()
                if frames:
                    return self._checked(frames)
            return ()
        except TransportError as error:
            raise failure_of(error, status=self.status) from error
        except UpstreamFailure as failure:
            raise redacted(failure, self._redact, status=self.status) from failure

    def _converted(self, body: bytes) -> Sequence[Frame]:
        """A whole answer where a stream was asked for, as the frames of a stream."""
        self._ended = True
        conversion = conversion_of(self.dialect)
        if conversion is not None:
            stream = conversion.to_stream(body)
            return self._checked([*self._decoder.feed(stream), *self._decoder.finish()])
        if not self._events:
            raise UpstreamFailure(FailureKind.UNREADABLE, "a whole answer came where a stream was asked for")
        return [self._endpoint.speech.parse_whole(body, events=True)]

    def _last(self) -> Sequence[Frame]:
        self._ended = True
        return self._decoder.finish()

    def _checked(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        for frame in frames:
            if frame.failure is not None:
                redacted(frame.failure, self._redact, status=self.status)
        return frames


def redacted(failure: UpstreamFailure, redact: Redact, *, status: int | None = None) -> UpstreamFailure:
    """The same failure with known secrets masked in its text, and the HTTP status with which it came."""
    if failure.status is None:
        failure.status = status
    failure.message = redact(failure.message)
    failure.args = (failure.message,)
    for name in ("code", "type", "param"):
        value = getattr(failure, name)
        if value is not None:
            setattr(failure, name, redact(value))
    return failure


def failure_of(error: TransportError, *, status: int | None = None) -> UpstreamFailure:
    """What a transport error means for the pipeline; ``status`` where an answer had begun."""
    kind = _KINDS.get(type(error), FailureKind.UNREADABLE)
    return UpstreamFailure(kind, error.reason, status=status, unseen=isinstance(error, ReadTimeout | CutBody))


def _kinds() -> dict[type[TransportError], FailureKind]:
    kinds: dict[type[TransportError], FailureKind] = {}
    for root, kind in (
        (ConnectError, FailureKind.CONNECT),
        (PoolTimeout, FailureKind.POOL_EXHAUSTED),
        (ReadTimeout, FailureKind.TIMEOUT),
        (ResetBeforeHead, FailureKind.RESET),
        (ProtocolError, FailureKind.UNREADABLE),
    ):
        kinds[root] = kind
        kinds.update(dict.fromkeys(root.__subclasses__(), kind))
    return kinds


_KINDS = _kinds()
