"""A provider of the OpenAI dialect over HTTP: a ChatRequest out, frames back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from arbstr import __version__
from arbstr.dialects.envelopes import failure_from_response
from arbstr.dialects.openai import (
    StreamCollector,
    StreamDecoder,
    encode_chat,
    looks_like_sse,
    parse_whole,
    whole_to_stream,
)
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Deployment
from arbstr.domain.secret import Secret
from arbstr.upstream.errors import (
    ConnectError,
    PoolTimeout,
    ProtocolError,
    ReadTimeout,
    ResetBeforeHead,
    TransportError,
)
from arbstr.upstream.origin import Origin
from arbstr.upstream.pool import Exchange, Pool, Response

ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes of a whole answer, decoded."""

ERROR_LIMIT = 256 * 1024
"""Bytes of an error answer that are read; a longer one is cut off and the connection closed."""

Redact = Callable[[str], str]


class OpenAIProvider:
    """Calls ``{base_url}/chat/completions``. One for each configured provider; they share a pool."""

    def __init__(self, pool: Pool, *, base_url: str, api_key: Secret | None, redact: Redact) -> None:
        self.pool = pool
        self.redact = redact
        self.origin, prefix = Origin.parse(base_url)
        self.without_stream_options: set[str] = set()
        """Deployments that refused ``stream_options``: they are asked without it from then on."""
        self.head = _head(self.origin, f"{prefix}/chat/completions", api_key)

    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> OpenAIAttempt:
        return OpenAIAttempt(self, request, deployment, until)


def _head(origin: Origin, path: str, api_key: Secret | None) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {origin.authority}",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        "accept-encoding: identity",
        f"user-agent: arbstr/{__version__}",
    ]
    if api_key is not None:
        lines.append(f"authorization: Bearer {api_key.reveal()}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


class OpenAIAttempt:
    """One attempt, as the :class:`~arbstr.ports.Opening` that the pipeline enters and leaves."""

    __slots__ = ("_deployment", "_exchange", "_provider", "_request", "_until")

    def __init__(self, provider: OpenAIProvider, request: ChatRequest, deployment: Deployment, until: float) -> None:
        self._provider = provider
        self._request = request
        self._deployment = deployment
        self._until = until
        self._exchange: Exchange | None = None

    async def __aenter__(self) -> WholeAnswer | StreamAnswer:
        known = self._provider.without_stream_options
        without = self._deployment.name in known and "stream_options" not in self._request.fields
        try:
            return await self._send(stream_options=not without)
        except UpstreamFailure as failure:
            if without or not self._refused_stream_options(failure):
                raise
        answer = await self._send(stream_options=False)
        known.add(self._deployment.name)
        return answer

    async def _send(self, *, stream_options: bool) -> WholeAnswer | StreamAnswer:
        provider, request, deployment = self._provider, self._request, self._deployment
        body = encode_chat(request, model=deployment.model, stream_options=stream_options)
        exchange = provider.pool.request(
            provider.origin, provider.head, body, connect_timeout=deployment.timeouts.connect, until=self._until
        )
        try:
            response = await exchange.__aenter__()
        except TransportError as error:
            raise failure_of(error) from error
        if response.status != 200:
            try:
                raise await self._refusal(response)
            finally:
                await exchange.__aexit__(None, None, None)
        self._exchange = exchange
        return StreamAnswer(response, provider.redact) if request.stream else WholeAnswer(response, provider.redact)

    async def _refusal(self, response: Response) -> UpstreamFailure:
        """The failure that an answer other than 200 means. Its body is read as far as it can be."""
        try:
            body = await response.read_all(self._until, limit=ERROR_LIMIT)
        except TransportError:
            body = b""
        failure = failure_from_response(response.status, _text(response.headers), body, now_epoch=time.time())
        return redacted(failure, self._provider.redact)

    def _refused_stream_options(self, failure: UpstreamFailure) -> bool:
        """Some servers know no ``stream_options`` and say so with a 400 that names it. Only where the field is ours:
        a caller's own is the caller's to change."""
        return (
            self._request.stream
            and "stream_options" not in self._request.fields
            and failure.status in (400, 422)
            and "stream_options" in f"{failure.message} {failure.param}"
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.__aexit__(kind, error, trace)


class WholeAnswer:
    """A whole answer: one frame, once all of it is there and has been parsed."""

    __slots__ = ("_redact", "_response", "status")

    def __init__(self, response: Response, redact: Redact) -> None:
        self._response: Response | None = response
        self._redact = redact
        self.status = response.status

    async def read(self, until: float) -> Sequence[Frame]:
        response, self._response = self._response, None
        if response is None:
            return ()
        try:
            body = await response.read_all(until, limit=ANSWER_LIMIT)
            if response.headers.get(b"content-type") != b"application/json" and _streamed(response, body):
                return (_collected(body),)
            return (parse_whole(body),)
        except TransportError as error:
            raise failure_of(error, status=self.status) from error
        except UpstreamFailure as failure:
            raise redacted(failure, self._redact, status=self.status) from failure


def _streamed(response: Response, body: bytes) -> bool:
    """Whether a stream came where a whole answer was asked for."""
    return response.content_type == "text/event-stream" or looks_like_sse(body[:64])


def _collected(body: bytes) -> Frame:
    """A stream that answered a request for a whole answer, as a whole answer."""
    collector = StreamCollector()
    collector.feed(body)
    return collector.finish()


class StreamAnswer:
    """A stream of server-sent events, frame by frame. A whole answer to a request for a stream becomes one."""

    __slots__ = ("_decoder", "_ended", "_redact", "_response", "_sniffed", "status")

    def __init__(self, response: Response, redact: Redact) -> None:
        self._response = response
        self._decoder = StreamDecoder()
        self._redact = redact
        self._sniffed = response.content_type == "text/event-stream"
        self._ended = False
        self.status = response.status

    async def read(self, until: float) -> Sequence[Frame]:
        try:
            while not self._ended:
                data = await self._next(until)
                frames = self._decoder.feed(data) if data else self._last()
                if frames:
                    return self._checked(frames)
            return ()
        except TransportError as error:
            raise failure_of(error, status=self.status) from error
        except UpstreamFailure as failure:
            raise redacted(failure, self._redact, status=self.status) from failure

    async def _next(self, until: float) -> bytes:
        data = await self._response.read(until)
        if self._sniffed or not data:
            return data
        self._sniffed = True
        if looks_like_sse(data[:64]):
            return data
        rest = await self._response.read_all(until, limit=ANSWER_LIMIT)
        return whole_to_stream(data + rest)

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
    return UpstreamFailure(_KINDS.get(type(error), FailureKind.UNREADABLE), error.reason, status=status)


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


def _text(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
