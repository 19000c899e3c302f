"""Asks public sources what a dollar is worth in satoshis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from arbstr.config.money import ExchangeTable, Source
from arbstr.config.units import exact
from arbstr.domain.money import ExchangeRate
from arbstr.policy.exchange import Reading, agreed, number_at, sats_per_usd
from arbstr.ports import Clock, Log
from arbstr.upstream.errors import TransportError
from arbstr.upstream.origin import Origin
from arbstr.upstream.pool import Pool

_decode = msgspec.json.Decoder(float_hook=exact).decode

PATIENCE = 10.0
"""Seconds that a source has to answer."""

LARGEST = 256 * 1024
"""Bytes of an answer that are read."""


class RatePoller:
    """Asks every ``poll`` seconds, and hands on the median of what is not too old.

    While nobody answers, the last rate that was found holds, and it is said once that it is stale.
    """

    def __init__(
        self,
        exchange: ExchangeTable,
        *,
        pool: Pool,
        clock: Clock,
        log: Log,
        adopt: Callable[[ExchangeRate], None],
    ) -> None:
        self._exchange = exchange
        self._pool = pool
        self._clock = clock
        self._log = log
        self._adopt = adopt
        self._readings: dict[Source, Reading] = {}
        self._failing: set[Source] = set()
        self._stale = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(self._exchange.poll)

    async def look(self) -> None:
        """Ask all sources once, and adopt what they agree on."""
        await asyncio.gather(*(self._ask(source) for source in self._exchange.sources))
        rate = agreed(self._readings.values(), self._clock.time(), self._exchange.max_age)
        if rate is not None:
            self._adopt(rate)
            if self._stale:
                self._log.info("the exchange rate is known again", sats_per_usd=rate.sats_per_usd)
        elif not self._stale:
            self._log.warning("no source gives an exchange rate: the last one holds", max_age_s=self._exchange.max_age)
        self._stale = rate is None

    async def _ask(self, source: Source) -> None:
        """One source's reading, kept; a failure is said once, until it answers again."""
        name = urlsplit(source.url).netloc
        try:
            body = await self._get(source.url)
            value = number_at(_decode(body), source.path)
            rate = sats_per_usd(value, source.unit)
        except (TransportError, ValueError, RecursionError, TimeoutError) as error:
            if source not in self._failing:
                self._failing.add(source)
                self._log.warning("an exchange rate cannot be read", source=name, error=str(error)[:200])
            return
        self._failing.discard(source)
        self._readings[source] = Reading(rate, self._clock.time())

    async def _get(self, url: str) -> bytes:
        """The body of an answer 200. Raises TransportError, ValueError for another status."""
        parts = urlsplit(url)
        origin, _ = Origin.parse(f"{parts.scheme}://{parts.netloc}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = (
            f"GET {path} HTTP/1.1\r\nhost: {origin.authority}\r\naccept: application/json\r\n"
            "accept-encoding: gzip, deflate\r\nuser-agent: arbstr\r\n\r\n"
        )
        until = self._pool.clock() + PATIENCE
        async with self._pool.request(
            origin, head.encode("latin-1"), b"", connect_timeout=5.0, until=until
        ) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return await response.read_all(until, limit=LARGEST)
