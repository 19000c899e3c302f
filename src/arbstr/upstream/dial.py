"""Opening of one connection: address, TCP, TLS, all under one deadline."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
import ssl
from collections.abc import Callable

from arbstr.upstream.errors import ConnectError, ConnectTimeout, PoolTimeout, TransportError
from arbstr.upstream.origin import Origin
from arbstr.upstream.resolve import Address, Resolver
from arbstr.upstream.wire import Connection

KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A peer that vanished without a word is noticed a minute after it last spoke."""
PATIENCE = 0.25
"""The share of the connect timeout that a resolver may take while a last good answer is at hand."""


class Dial:
    """One attempt to connect. It runs as a task of its own, so that the sweep can end it whoever waits for it.

    ``result`` is the open connection, ConnectError, ConnectTimeout, or PoolTimeout where this machine is at its limits.
    Cancelling whoever awaits ``result`` must be followed by ``abandon``.
    """

    __slots__ = ("_create", "_origin", "_resolver", "_timeout", "_tls", "deadline", "result", "task")

    def __init__(
        self,
        origin: Origin,
        *,
        tls: ssl.SSLContext | None,
        resolver: Resolver,
        create: Callable[[], Connection],
        timeout: float,
        deadline: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._origin = origin
        self._tls = tls
        self._resolver = resolver
        self._create = create
        self._timeout = timeout
        self.deadline = deadline
        self.result: asyncio.Future[Connection] = loop.create_future()
        # In an empty context: callbacks of a connection must not run in that of the request which happened to open it.
        self.task = loop.create_task(self._run(), context=contextvars.Context())

    def expire(self) -> None:
        """Called by the sweep when ``deadline`` has passed."""
        if not self.result.done():
            self.result.set_exception(ConnectTimeout("no connection in time"))
        self.task.cancel()

    def abandon(self, error: TransportError | None = None) -> None:
        """Nobody wants the connection any more; whoever still waits for it gets `error`."""
        if not self.result.done():
            if error is None:
                self.result.cancel()
            else:
                self.result.set_exception(error)
        elif not self.result.cancelled() and self.result.exception() is None:
            connection = self.result.result()
            connection.fail(error or ConnectError("nobody wants this connection"))
        self.task.cancel()

    async def _run(self) -> None:
        try:
            connection = await self._connect()
        except Exception as exc:  # whatever a resolver or a TLS library may throw: this try has failed
            if not self.result.done():
                self.result.set_exception(translated(exc, None))
        else:
            if self.result.done():
                connection.close()
            else:
                self.result.set_result(connection)

    async def _connect(self) -> Connection:
        """Try the addresses in order, each with its share of the time: one black hole leaves some for the rest."""
        origin = self._origin
        addresses = await self._resolver.addresses(origin.host, origin.port, patience=self._timeout * PATIENCE)
        error: TransportError | None = None
        for index, address in enumerate(addresses):
            left = len(addresses) - index
            try:
                if left == 1:
                    return await self._open(address)
                async with asyncio.timeout(self._timeout / (left + 1)):
                    return await self._open(address)
            except (OSError, ConnectError) as exc:  # a TimeoutError and an SSLError are OSErrors
                error = translated(exc, address)
        if not isinstance(error, PoolTimeout):
            self._resolver.forget(origin.host, origin.port)
        raise error or ConnectError("no address")

    async def _open(self, address: Address) -> Connection:
        """Connect to one address. Raises OSError."""
        loop = asyncio.get_running_loop()
        family, target = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            _tune(sock)
            await loop.sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        # From here on the socket is the transport's to close, also when this fails.
        if self._tls is None:
            _, connection = await loop.create_connection(self._create, sock=sock)
            return connection
        try:
            _, connection = await loop.create_connection(
                self._create,
                sock=sock,
                ssl=self._tls,
                server_hostname=self._origin.host,
                ssl_handshake_timeout=2 * self._timeout + 1,  # never: the deadline of the whole comes first
                ssl_shutdown_timeout=1.0,
            )
        except ConnectionError as exc:
            raise ConnectError("tls: connection lost during the handshake") from exc
        return connection


def default_tls() -> ssl.SSLContext:
    """Return the context for origins without one of their own: verified, TLS 1.2 or newer, HTTP/1.1."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _tune(sock: socket.socket) -> None:
    """Send small writes at once, and notice peers that are gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def translated(exc: Exception, address: Address | None) -> TransportError:
    """Return our error for one of the socket, the TLS library or the loop, without addresses in its text."""
    if isinstance(exc, TransportError):
        return exc
    error = _named(exc, address)
    error.__cause__ = exc
    return error


def _named(exc: Exception, address: Address | None) -> TransportError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return ConnectError(f"tls: certificate not accepted: {exc.verify_message}")
    if isinstance(exc, ssl.SSLError):
        return ConnectError(f"tls: {exc.reason or 'handshake failed'}")
    if isinstance(exc, TimeoutError):
        return ConnectTimeout("no connection in time")
    if isinstance(exc, OSError) and exc.errno:
        text = os.strerror(exc.errno)
        return PoolTimeout(f"this machine is at its limit: {text}") if _is_ours(exc, address) else ConnectError(text)
    return ConnectError(type(exc).__name__)


def _is_ours(exc: OSError, address: Address | None) -> bool:
    """Tell whether the lack is this machine's and not the server's: descriptors, memory, local ports.

    For IPv6 "cannot assign requested address" means that the machine does not speak it; for IPv4, that it has no port.
    """
    if exc.errno == errno.EADDRNOTAVAIL:
        return address is not None and address[0] == socket.AF_INET
    return exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
