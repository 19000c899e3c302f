"""A provider over HTTP, of whatever dialect: a ChatRequest out, frames back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol

import msgspec

from arbstr import __version__
from arbstr.dialects.callers import caller_dialect
from arbstr.dialects.translate import ProviderDialect
from arbstr.domain.errors import FailureKind, InvalidRequest, UpstreamFailure
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Deployment
from arbstr.upstream.answers import StreamAnswer, WholeAnswer, failure_of, redacted
from arbstr.upstream.errors import TransportError
from arbstr.upstream.offers import Endpoint, Offer
from arbstr.upstream.origin import Origin
from arbstr.upstream.pool import Exchange, Pool, Response

ERROR_LIMIT = 256 * 1024
"""Bytes of an error answer that are read; a longer one is cut off and the connection closed."""

Redact = Callable[[str], str]


class Signer(Protocol):
    """A credential that depends on the request."""

    async def sign(self, path: str, body: bytes, *, method: str = "POST") -> Sequence[str]:
        """Header lines (``name: value``) for ``body`` to ``path``. Raises UpstreamFailure (KEY_REFUSED) where there is
        no credential to be had. Cancelling it is safe."""
        ...

    def refused(self) -> None:
        """The provider did not accept the credential."""
        ...


class HttpProvider:
    """One for each configured provider; they share a pool.

    ``credentials`` are header lines that go with every request.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        base_url: str,
        offer: Offer,
        credentials: Sequence[str] = (),
        signer: Signer | None = None,
        redact: Redact,
    ) -> None:
        self.pool = pool
        self.offer = offer
        self.redact = redact
        self.signer = signer
        self.origin, self.prefix = Origin.parse(base_url)
        self.without_stream_options: set[str] = set()
        """Deployments that refused ``stream_options``: they are asked without it from then on."""
        self._credentials = tuple(credentials)
        self._heads: dict[tuple[str, str, bool, bool], bytes] = {}

    @property
    def credentials(self) -> tuple[str, ...]:
        """Header lines."""
        return self._credentials

    @property
    def speech(self) -> ProviderDialect:
        """The dialect in which it tells what is wrong, whoever asks."""
        return (self.offer.translated or next(iter(self.offer.natives.values()))).speech

    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> HttpAttempt:
        return HttpAttempt(self, request, deployment, until)

    def head(self, endpoint: Endpoint, model: str, stream: bool, told: Sequence[tuple[str, str]] = ()) -> bytes:
        """The request's head but for its length. ``told`` are headers of the caller: without any, it is the same for
        every request to one model."""
        key = (endpoint.dialect, model, stream, not told)
        head = self._heads.get(key)
        if head is None:
            lines = [*self._fixed(endpoint, model, stream), *(() if told else self._chosen(endpoint, ()))]
            head = self._heads[key] = _encoded(lines)
        return head + _encoded(self._chosen(endpoint, told)) if told else head

    def _fixed(self, endpoint: Endpoint, model: str, stream: bool) -> list[str]:
        """The lines that no caller has a say in."""
        return [
            f"POST {self.prefix}{endpoint.path(model, stream)} HTTP/1.1",
            f"host: {self.origin.authority}",
            "content-type: application/json",
            f"accept: {endpoint.accept}",
            "accept-encoding: identity",
            *without([f"user-agent: arbstr/{__version__}"], self._credentials),
            *self._credentials,
        ]

    def _chosen(self, endpoint: Endpoint, told: Sequence[tuple[str, str]]) -> list[str]:
        """The endpoint's own headers and the caller's. Of the same name, the caller's stands in the place of the
        endpoint's, and a configured one in the place of both."""
        ours = without(endpoint.headers, self._credentials)
        configured = without(endpoint.headers, ours)
        theirs = without([f"{name}: {value}" for name, value in told], configured)
        return [*without(ours, theirs), *theirs]


class HttpAttempt:
    """One attempt, as the :class:`~arbstr.ports.Opening` that the pipeline enters and leaves."""

    __slots__ = ("_asked", "_deployment", "_exchange", "_provider", "_request", "_until")

    def __init__(self, provider: HttpProvider, request: ChatRequest, deployment: Deployment, until: float) -> None:
        self._provider = provider
        self._request = request
        self._deployment = deployment
        self._until = until
        self._exchange: Exchange | None = None
        self._asked: Exchange | None = None
        """The one that is under way, until it is refused."""

    @property
    def at_work(self) -> bool:
        return self._asked is not None and self._asked.sent

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
        endpoint = provider.offer.natives.get(request.dialect)
        if endpoint is not None:
            caller = caller_dialect(request.dialect)
            body = caller.encode_same(request, model=deployment.model, stream_options=stream_options)
            dropped: tuple[str, ...] = ()
            head = provider.head(endpoint, deployment.model, request.stream, request.headers)
        else:
            endpoint, body, dropped = self._translated(stream_options)
            head = provider.head(endpoint, deployment.model, request.stream)
        if provider.signer is not None:
            path = provider.prefix + endpoint.path(deployment.model, request.stream)
            head += await self._signature(provider.signer, path, body)
        response = await self._exchanged(head, body, endpoint)
        answer = StreamAnswer if request.stream else WholeAnswer
        return answer(
            response,
            endpoint,
            events=endpoint.dialect != request.dialect,
            dropped=dropped,
            redact=provider.redact,
        )

    async def _signature(self, signer: Signer, path: str, body: bytes) -> bytes:
        """The lines of a credential that is made, or fetched, for the request; no later than its answer is due."""
        try:
            async with asyncio.timeout(max(0.0, self._until - self._provider.pool.clock())):
                lines = await signer.sign(path, body)
        except TimeoutError:
            raise UpstreamFailure(FailureKind.TIMEOUT, "there was no credential in time") from None
        return _encoded(lines)

    def _translated(self, stream_options: bool) -> tuple[Endpoint, bytes, tuple[str, ...]]:
        """The request in the provider's own dialect, and what of it cannot be said there."""
        request, endpoint = self._request, self._provider.offer.translated
        if endpoint is None:
            raise UpstreamFailure(FailureKind.INEXPRESSIBLE, f"it is not sold in the dialect {request.dialect!r}")
        speech = endpoint.speech if stream_options else endpoint.plain_speech or endpoint.speech
        try:
            conversation = caller_dialect(request.dialect).read(request)
            longest = self._deployment.capabilities.max_output
            if conversation.max_tokens is None and longest is not None and endpoint.dialect == "anthropic":
                # Anthropic must be told a limit; the one that the operator knows is better than one of a table.
                conversation = msgspec.structs.replace(conversation, max_tokens=longest)
            written = speech.write(conversation, model=self._deployment.model, stream=request.stream)
        except InvalidRequest as error:
            raise UpstreamFailure(FailureKind.INEXPRESSIBLE, error.message, param=error.param) from error
        dropped = (*conversation.dropped, *written.dropped)
        if request.n > 1 and "n" in dropped:
            raise UpstreamFailure(FailureKind.INEXPRESSIBLE, f"it gives one choice, not {request.n}", param="n")
        return endpoint, written.body, dropped

    async def _exchanged(self, head: bytes, body: bytes, endpoint: Endpoint) -> Response:
        """Send, and wait for a 200. Raises UpstreamFailure for everything else."""
        provider = self._provider
        exchange = provider.pool.request(
            provider.origin, head, body, connect_timeout=self._deployment.timeouts.connect, until=self._until
        )
        self._asked = exchange
        try:
            response = await exchange.__aenter__()
        except TransportError as error:
            raise failure_of(error) from error
        if response.status != 200:
            self._asked = None
            try:
                raise await self._refusal(response, endpoint)
            finally:
                await exchange.__aexit__(None, None, None)
        self._exchange = exchange
        return response

    async def _refusal(self, response: Response, endpoint: Endpoint) -> UpstreamFailure:
        """The failure that an answer other than 200 means. Its body is read as far as it can be."""
        try:
            body = await response.read_all(self._until, limit=ERROR_LIMIT)
        except TransportError:
            body = b""
        failure = endpoint.speech.failure(response.status, _text(response.headers), body, now_epoch=time.time())
        if failure.kind is FailureKind.KEY_REFUSED and self._provider.signer is not None:
            self._provider.signer.refused()
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


def without(lines: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those of ``lines`` whose header is in none of ``others``."""
    names = {line.partition(":")[0].lower() for line in others}
    return [line for line in lines if line.partition(":")[0].lower() not in names]


def _encoded(lines: Sequence[str]) -> bytes:
    return "".join([f"{line}\r\n" for line in lines]).encode("latin-1")


def _text(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
