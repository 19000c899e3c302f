"""A POST whose answer nobody reads, through the pool: how alerts leave the process."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from arbstr.domain.secret import Secret
from arbstr.upstream.errors import TransportError
from arbstr.upstream.origin import Origin
from arbstr.upstream.pool import Pool

CONNECT = 5.0
"""Seconds for a connection."""

PATIENCE = 15.0
"""Seconds until an answer must have begun."""

READ = 1.0
"""Seconds for what it says, which is read only so that its connection is closed as it should be."""

LARGEST = 16 * 1024
"""Bytes of it that are read."""


class PoolPost:
    """Implements :class:`~arbstr.ports.Post`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __call__(self, url: Secret, headers: Sequence[tuple[str, str]], body: bytes) -> int:
        parts = urlsplit(url.reveal())
        origin, _ = Origin.parse(f"{parts.scheme}://{parts.netloc}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"POST {path} HTTP/1.1", f"host: {origin.authority}", "accept-encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers]
        head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        until = self._pool.clock() + PATIENCE
        exchange = self._pool.request(origin, head, body, connect_timeout=CONNECT, until=until)
        try:
            async with exchange as response:
                with contextlib.suppress(TransportError):
                    await response.read_all(self._pool.clock() + READ, limit=LARGEST)
                return response.status
        except TransportError as error:
            raise ConnectionError(error.reason) from error
