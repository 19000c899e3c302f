"""How much of everything one pool allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a pool and its connections. Times are in seconds, sizes in bytes."""

    max_connections: int = 512
    """Connections to one origin, those that are being opened included."""
    max_waiting: int = 1024
    """Requests that may queue for a connection to one origin; one more fails at once."""
    pool_wait: float = 1.0
    """How long a request queues at most."""
    keepalive_idle: float = 30.0
    """How long an unused connection is kept."""
    max_header_bytes: int = 64 * 1024
    """Names and values of a head; also the most that may come without a byte of body after it (chunk extensions,
    trailers)."""
    max_headers: int = 256
    """Header lines of an answer, trailers included."""
    max_informational: int = 16
    """1xx answers before the final one."""
    read_high_water: int = 64 * 1024
    """Unread body at which we stop reading from the socket. One read of the event loop comes on top."""
    max_ratio: int = 100
    """Decoded bytes for each encoded byte, once ``free_decoded`` bytes have been decoded."""
    free_decoded: int = 1024 * 1024
    """Decoded bytes that are allowed at any ratio."""
    sweep: float = 0.03
    """Deadlines are checked this often while something is waiting."""
