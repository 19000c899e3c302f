"""What can go wrong between us and an upstream server.

::

    TransportError
    ├── ConnectError             refused, unreachable, no such name ("dns: …"), bad certificate ("tls: …")
    │   └── ConnectTimeout       no connection in time: address lookup, TCP and TLS together
    ├── PoolTimeout              no connection of ours was free: our doing, never the server's fault
    │   └── PoolClosed           the pool was closed while the request waited or ran
    ├── ReadTimeout              the server was silent until the deadline, before or after its head
    ├── ResetBeforeHead          the connection was lost before the first byte of an answer
    ├── CutBody                  the connection was lost inside an answer: in its head or its body
    └── ProtocolError            the answer is not HTTP that we accept: unparsable, too large, ambiguous length,
                                 unsupported or bad encoding
"""

from __future__ import annotations

from typing import Literal


class TransportError(Exception):
    """One try at one server failed. ``reason`` is one line for logs and callers, without URL, header or key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConnectError(TransportError):
    """There is no connection to the server, so that nothing of the request was sent."""


class ConnectTimeout(ConnectError):
    """The connection was not there in time."""


class PoolTimeout(TransportError):
    """We had no connection to give: all in use, the queue full, or no file descriptors left."""


class PoolClosed(PoolTimeout):
    """The pool was closed."""


class ReadTimeout(TransportError):
    """The deadline of a read passed. ``phase`` tells what we were waiting for."""

    def __init__(self, phase: Literal["head", "body"]) -> None:
        super().__init__(f"no response {phase} in time")
        self.phase = phase


class ResetBeforeHead(TransportError):
    """The connection was lost before any byte of an answer.

    ``reused``: it had carried an earlier request. The exchange itself tries those again on a fresh connection, once, so
    that a caller sees True only if it could not.
    """

    def __init__(self, reason: str, *, reused: bool) -> None:
        super().__init__(reason)
        self.reused = reused


class CutBody(TransportError):
    """The answer ended too early."""


class ProtocolError(TransportError):
    """The answer cannot be understood, or not safely."""
