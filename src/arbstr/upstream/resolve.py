"""Host names to addresses, without ever holding up the loop or losing a server to a resolver that is down."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arbstr.upstream.errors import ConnectError

FRESH = 10.0
"""Seconds for which an answer is used without asking again, so that a burst of connections asks once."""
KEEP = 300.0
"""Seconds for which the last good answer stands in for a resolver that fails or is slow."""
MOST_NAMES = 1024

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
"""A family and what ``connect`` takes for it."""
Lookup = Callable[[str, int], Awaitable[Sequence[Address]]]


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: Sequence[Address]
    at: float


class Resolver:
    """Looks names up in the background, one lookup for each name at a time: a lookup cannot be cancelled, and the
    threads that run them are few."""

    def __init__(self, *, clock: Callable[[], float], lookup: Lookup | None = None) -> None:
        self._clock = clock
        self._lookup = lookup or system_lookup
        self._answers: dict[tuple[str, int], _Answer] = {}
        self._running: dict[tuple[str, int], asyncio.Task[Sequence[Address]]] = {}

    async def addresses(self, host: str, port: int, *, patience: float) -> Sequence[Address]:
        """Return the addresses of `host`, at least one.

        When a good answer of the last ``KEEP`` seconds is at hand, the resolver gets `patience` seconds to better it;
        else this waits as long as it is let. Raises ConnectError.
        """
        if literal := _literal(host, port):
            return literal
        key = (host, port)
        now = self._clock()
        last = self._answers.get(key)
        if last is not None and now - last.at < FRESH:
            return last.addresses
        if last is not None and now - last.at >= KEEP:
            last = None
        task = self._running.get(key) or self._start(key)
        done, _ = await asyncio.wait({task}, timeout=None if last is None else patience)
        if done and not task.cancelled() and task.exception() is None:
            return task.result()
        if last is not None:
            return last.addresses
        cause = asyncio.CancelledError() if task.cancelled() else task.exception()
        raise ConnectError(f"dns: {_reason(cause)}") from cause

    def forget(self, host: str, port: int) -> None:
        """Ask again next time, because none of the addresses could be reached; they stay as the last good ones."""
        answer = self._answers.get((host, port))
        if answer is not None:
            self._answers[host, port] = _Answer(answer.addresses, min(answer.at, self._clock() - FRESH))

    async def aclose(self) -> None:
        """Give up what is running."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: tuple[str, int]) -> asyncio.Task[Sequence[Address]]:
        loop = asyncio.get_running_loop()
        # An empty context: what the first caller had in its own must not follow everybody's lookups.
        task = loop.create_task(self._ask(key), context=contextvars.Context())
        self._running[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))
        return task

    async def _ask(self, key: tuple[str, int]) -> Sequence[Address]:
        addresses = await self._lookup(*key)
        if not addresses:
            raise OSError("the name has no address")
        return addresses

    def _finished(self, key: tuple[str, int], task: asyncio.Task[Sequence[Address]]) -> None:
        self._running.pop(key, None)
        if not task.cancelled() and task.exception() is None:
            if len(self._answers) >= MOST_NAMES:
                self._answers.pop(next(iter(self._answers)))
            self._answers[key] = _Answer(task.result(), self._clock())


async def system_lookup(host: str, port: int) -> Sequence[Address]:
    """Ask the machine's resolver. Raises OSError.

    In a thread that nobody waits for when the program ends: neither the loop's own nor an executor's, since a resolver
    that is down answers after half a minute.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[Address]] = loop.create_future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except Exception as error:
            tell(error, None)
        else:
            tell(None, [(socket.AddressFamily(family), tuple(address)) for family, _, _, _, address in found])

    def tell(error: Exception | None, addresses: Sequence[Address] | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(_settle, answer, error, addresses)

    threading.Thread(target=ask, name="arbstr-resolver", daemon=True).start()
    return await answer


def _settle(
    answer: asyncio.Future[Sequence[Address]], error: Exception | None, addresses: Sequence[Address] | None
) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    elif addresses is not None:
        answer.set_result(addresses)


def _literal(host: str, port: int) -> list[Address]:
    """Return the address that `host` already is; empty if it is a name."""
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return []
    if version == 4:
        return [(socket.AF_INET, (host, port))]
    return [(socket.AF_INET6, (host, port))]


def _reason(cause: BaseException | None) -> str:
    """Return the resolver's complaint in a few words."""
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return type(cause).__name__
