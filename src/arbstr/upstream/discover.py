"""Models that providers list themselves: asked for at the start and every few minutes, beside everything else."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import quote

from arbstr import __version__
from arbstr.dialects.listings import next_page
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.ports import Clock, Log
from arbstr.upstream.answers import failure_of, redacted
from arbstr.upstream.errors import TransportError
from arbstr.upstream.http import ERROR_LIMIT, HttpProvider, Signer, without
from arbstr.upstream.origin import Origin

EVERY = 300.0
"""Seconds between two lists of one provider."""

FIRST_WAIT = 1.0
"""Seconds until a list that failed is asked for again; each failure doubles it."""

PATIENCE = 30.0
"""Seconds that a list may take."""

LARGEST = 16 * 1024 * 1024
"""Bytes of a list."""

MOST_PAGES = 50
"""Parts of a list."""

SHOWN = 10
"""Names of models in a line of the log."""

Found = Mapping[str, Sequence[str]]
"""By provider, the names of the models that it has."""


class Source(Protocol):
    """What a provider is asked for its models by."""

    @property
    def name(self) -> str:
        """The provider's."""
        ...

    async def models(self) -> tuple[str, ...]:
        """The names, each once. Raises UpstreamFailure."""
        ...


class Listing:
    """One call that lists models of one provider, with that provider's credentials."""

    def __init__(
        self,
        name: str,
        provider: HttpProvider,
        *,
        path: str,
        read: Callable[[bytes], list[str]],
        headers: Sequence[str] = (),
        base_url: str | None = None,
        signer: Signer | None = None,
        page_key: str | None = None,
        connect_timeout: float = 5.0,
    ) -> None:
        """``read`` raises ValueError for what is no list. ``base_url`` and ``signer`` are given where they are not the
        provider's, ``page_key`` where a list may come in parts: it is the parameter that asks for the next one."""
        self.name = name
        self._provider = provider
        self._path = path
        self._read = read
        self._headers = tuple(headers)
        self._origin, self._prefix = Origin.parse(base_url) if base_url else (provider.origin, provider.prefix)
        self._signer = signer or provider.signer
        self._page_key = page_key
        self._connect_timeout = connect_timeout

    async def models(self) -> tuple[str, ...]:
        """The names in the order of the answer, each once. Raises UpstreamFailure."""
        try:
            async with asyncio.timeout(PATIENCE):
                return tuple(dict.fromkeys(await self._pages()))
        except TimeoutError:
            raise UpstreamFailure(FailureKind.TIMEOUT, "there was no list in time") from None
        except TransportError as error:
            raise failure_of(error) from error
        except ValueError as error:
            raise UpstreamFailure(FailureKind.UNREADABLE, f"the list cannot be read: {error}"[:200]) from error

    async def _pages(self) -> list[str]:
        names: list[str] = []
        path, before = self._path, None
        for _ in range(MOST_PAGES):
            body = await self._body(self._prefix + path)
            names += self._read(body)
            token = next_page(body) if self._page_key else None
            if token is None or token == before:  # some imitators send the first part, whatever they are asked for
                break
            before = token
            path = f"{self._path}&{self._page_key}={quote(token, safe='')}"
        return names

    async def _body(self, path: str) -> bytes:
        provider = self._provider
        lines = [
            f"GET {path} HTTP/1.1",
            f"host: {self._origin.authority}",
            "accept: application/json",
            "accept-encoding: identity",
            *without([f"user-agent: arbstr/{__version__}", *self._headers], provider.credentials),
            *provider.credentials,
        ]
        if self._signer is not None:
            lines += await self._signer.sign(path, b"", method="GET")
        head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        until = provider.pool.clock() + PATIENCE
        exchange = provider.pool.request(self._origin, head, b"", connect_timeout=self._connect_timeout, until=until)
        async with exchange as response:
            if response.status == 200:
                return await response.read_all(until, limit=LARGEST)
            body = await response.read_all(until, limit=ERROR_LIMIT)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers.items()}
        failure = provider.speech.failure(response.status, headers, body, now_epoch=time.time())
        if failure.kind is FailureKind.KEY_REFUSED and self._signer is not None:
            self._signer.refused()
        raise redacted(failure, provider.redact)


class Discovery:
    """Asks for all listings, over and over, and hands on what was found whenever it has changed.

    A listing that fails is asked for again, ever more slowly; what it said before that holds on.
    """

    def __init__(
        self, listings: Sequence[Source], *, clock: Clock, log: Log, adopt: Callable[[Found], Awaitable[None]]
    ) -> None:
        self._listings = tuple(listings)
        self._clock = clock
        self._log = log
        self._adopt = adopt
        self._found: dict[Source, tuple[str, ...]] = {}
        self._adopting = asyncio.Lock()

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(*(self._watch(listing) for listing in self._listings))

    async def _watch(self, listing: Source) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                await self._ask(listing)
            except Exception as error:  # one provider's list must not end the others'
                if wait == FIRST_WAIT:
                    self._complain(listing, error)
                await self._clock.sleep(wait * random.uniform(0.75, 1.0))
                wait = min(wait * 2, EVERY)
            else:
                wait = FIRST_WAIT
                await self._clock.sleep(EVERY * random.uniform(0.95, 1.0))

    async def _ask(self, listing: Source) -> None:
        models = await listing.models()
        async with self._adopting:
            if set(models) == set(self._found.get(listing, ())):
                return
            before = self._of(listing.name)
            found = {**self._found, listing: models}
            await self._adopt(_by_provider(found))
            self._found = found
        self._tell(listing.name, before, self._of(listing.name))

    def _of(self, provider: str) -> dict[str, None]:
        return dict.fromkeys(_by_provider(self._found).get(provider, ()))

    def _tell(self, provider: str, before: Mapping[str, None], now: Mapping[str, None]) -> None:
        added = [name for name in now if name not in before]
        gone = [name for name in before if name not in now]
        self._log.info(
            "a provider's models have changed",
            provider=provider,
            models=len(now),
            added=len(added),
            gone=len(gone),
            names=[*added, *gone][:SHOWN],
        )

    def _complain(self, listing: Source, error: Exception) -> None:
        if isinstance(error, UpstreamFailure):
            self._log.warning("a provider's models cannot be listed", provider=listing.name, error=error.message)
        else:
            self._log.error("a mistake in this gateway while models were listed", provider=listing.name, error=error)


def _by_provider(found: Mapping[Source, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """What the listings of each provider have found together."""
    merged: dict[str, dict[str, None]] = {}
    for listing, models in found.items():
        merged.setdefault(listing.name, {}).update(dict.fromkeys(models))
    return {provider: tuple(models) for provider, models in merged.items()}
