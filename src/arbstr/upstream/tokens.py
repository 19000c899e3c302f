"""Bearer tokens that are fetched, kept while they are good, and fetched again: one question at a time for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from arbstr.domain.secret import Secret
from arbstr.ports import Clock

SETTLED = 10.0
"""Seconds after which a token that is refused is not the one that was fetched because of it."""


class Token(msgspec.Struct, frozen=True):
    """A bearer token. Both times are seconds from when it was fetched."""

    secret: Secret
    fresh: float
    """Until then nobody asks for another."""
    usable: float
    """Until then it serves while another is asked for, or where none can be had."""


class TokenSigner:
    """The :class:`~arbstr.upstream.http.Signer` of a provider with tokens. ``fetch`` raises UpstreamFailure where there
    is none; ``learn`` hears of each, so that it can be masked."""

    def __init__(self, fetch: Callable[[], Awaitable[Token]], *, clock: Clock, learn: Callable[[Secret], None]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._learn = learn
        self._token: Token | None = None
        self._since = 0.0
        self._asking: asyncio.Task[Token] | None = None

    async def sign(self, path: str, body: bytes, *, method: str = "POST") -> Sequence[str]:
        token = await self._get()
        return (f"authorization: Bearer {token.secret.reveal()}",)

    def refused(self) -> None:
        """The provider does not take it: it is forgotten, unless it is so new that another would be the same."""
        if self._clock.monotonic() - self._since > SETTLED:
            self._token = None

    async def _get(self) -> Token:
        """Cancelling it is safe."""
        token, age = self._token, self._clock.monotonic() - self._since
        if token is not None and age < token.fresh:
            return token
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        if token is not None and age < token.usable:
            return token
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Token:
        began = self._clock.monotonic()
        try:
            token = await self._fetch()
        finally:
            self._asking = None
        self._learn(token.secret)
        self._token, self._since = token, began
        return token

    def _asked(self, task: asyncio.Task[Token]) -> None:
        if self._asking is task:
            self._asking = None  # cancelled before it began
        if not task.cancelled():
            task.exception()  # seen; whoever needs a token asks again
