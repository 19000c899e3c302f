"""The listening socket and the life of the connections that come from it.

No signal handlers, no lifespan events, and no timeout that ends requests: when to stop is the caller's decision, in
three steps: :meth:`EdgeServer.stop_accepting`, :meth:`EdgeServer.wait_closed`, and :meth:`EdgeServer.abort` for what is
left at the caller's own limit.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import resource
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn.config import Config

from arbstr.edge.limits import Limits
from arbstr.edge.protocol import EdgeProtocol
from arbstr.edge.state import EdgeState, RefusalHook

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application (version 3)."""

SWEEP = 0.5  # seconds between two looks at the deadlines
RESERVED_FILES = 64  # open files kept for everything that is not a caller or its upstream


class ListenError(Exception):
    """The address cannot be listened on. The message says which, and why."""


class EdgeServer:
    """Serves ``app`` on ``host`` and ``port`` (0: any free one) in the running event loop.

    Errors of the application and of the server go to the logger ``uvicorn.error``. ``on_refusal`` is told of each
    answer that was given without the application, with its request id.
    """

    def __init__(
        self,
        app: Application,
        *,
        host: str,
        port: int,
        limits: Limits | None = None,
        backlog: int = 2048,
        on_refusal: RefusalHook | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.backlog = backlog
        limits = limits or Limits()
        limits = dataclasses.replace(limits, connections=min(limits.connections, affordable_connections()))
        self.state = EdgeState(limits, on_refusal=on_refusal)
        self._config = Config(
            app,
            http=EdgeProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            workers=1,
        )
        self._listener: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._address = (host, port)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port as bound."""
        return self._address

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self.state.connections)

    async def start(self) -> None:
        """Listen, and serve from now on. Raises :class:`ListenError`."""
        loop = asyncio.get_running_loop()
        self._config.load()
        try:
            self._listener = await loop.create_server(
                lambda: EdgeProtocol(self._config, self.state, loop), self.host, self.port, backlog=self.backlog
            )
        except OSError as exc:
            raise ListenError(f"{_display(self.host, self.port)} {_reason(exc)}") from exc
        name = self._listener.sockets[0].getsockname()
        self._address = (str(name[0]), int(name[1]))
        self._run_sweep(loop)

    def _run_sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = loop.call_later(SWEEP, self._run_sweep, loop)
        self.state.tick(loop.time())

    def stop_accepting(self) -> None:
        """Close the listener and idle connections. Requests that have begun are answered, each connection's last one
        with ``Connection: close``."""
        self.state.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self.state.connections):
            connection.shutdown()

    async def wait_closed(self) -> None:
        """Return when every connection is closed and every run of the application has ended. Stop accepting first."""
        await self.state.wait_idle()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def abort(self) -> None:
        """Close every connection at once: their applications learn that the caller has left. Where one does not end by
        itself, :meth:`cancel` ends it."""
        self.stop_accepting()
        for connection in list(self.state.connections):
            connection.abort()

    def cancel(self) -> None:
        """Cancel every run of the application that is left."""
        for task in list(self.state.tasks):
            task.add_done_callback(self._forget)  # one that has not begun does not forget itself
            task.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.state.tasks.discard(task)
        self.state.check_idle()


def affordable_connections() -> int:
    """How many callers the limit on open files can bear, each with an upstream connection of its own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    return max((soft - RESERVED_FILES) // 2, 16)


def _display(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "is in use: another program listens there"
    if exc.errno == errno.EACCES:
        return "is not allowed: ports below 1024 need privileges"
    if isinstance(exc, socket.gaierror) or exc.errno == errno.EADDRNOTAVAIL:
        return "is not an address of this machine"
    return f"cannot be listened on: {exc.strerror or exc}"
