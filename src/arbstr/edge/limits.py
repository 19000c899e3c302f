"""What one caller's connection may cost, and the answers to one that would cost more."""

from __future__ import annotations

import dataclasses
import json
from http import HTTPStatus


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds. One sweep every half second keeps the times, so they may be out by as much."""

    head: int = 64 * 1024
    """Request line and headers together."""
    header_lines: int = 256
    head_timeout: float = 10.0
    """From the first byte of a request to the end of its headers; on a fresh connection from its opening."""
    body_window: float = 10.0
    """A body that is not complete is judged at the end of every such window …"""
    body_rate: int = 1024
    """… and must have brought this many bytes per second in it. Windows in which we did not read do not count."""
    keep_alive: float = 75.0
    """An idle connection is closed after this time."""
    write_timeout: float = 60.0
    """A caller that takes nothing for this long, while there is something to take, is cut off."""
    write_buffer: int = 64 * 1024
    """Unsent bytes at which ``send`` waits for the caller to read."""
    read_buffer: int = 64 * 1024
    """Bytes of a body that the application has not asked for yet, at which we stop reading."""
    pipeline: int = 8
    """Requests that may wait behind the one being answered; the connection is closed after the last of them."""
    linger: float = 5.0
    """How long we read on after an answer that cut a request short: closing at once would make the peer's kernel throw
    the answer away (TCP reset) while it is still sending."""
    connections: int = 10_000
    """Beyond it, or beyond what the process's limit on open files leaves, a connection is answered 503."""
    turned_away: int = 64
    """So many of those at a time are told; the others are just closed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that the server gives by itself, before or instead of the application, in the usual error object."""

    status: int
    code: str
    message: str
    type: str = "invalid_request_error"
    retry_after: int | None = None
    """Seconds."""

    def render(self, request_id: str, *, extra: bytes = b"") -> bytes:
        """A whole HTTP response that ends the connection. ``extra``: further header lines, each with its CRLF."""
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-arbstr-request-id: {request_id}\r\nx-request-id: {request_id}\r\n"
            "cache-control: no-store\r\nconnection: close\r\n"
        )
        if self.retry_after is not None:
            head += f"retry-after: {self.retry_after}\r\n"
        return head.encode() + extra + b"\r\n" + body


def malformed(reason: str) -> Refusal:
    return Refusal(400, "invalid_request", f"This is not a valid HTTP request: {reason}.")


HEAD_TOO_LARGE = Refusal(431, "headers_too_large", "The request line and headers are too large.")
HEAD_TOO_SLOW = Refusal(408, "request_timeout", "The headers of the request did not arrive in time.")
BODY_TOO_SLOW = Refusal(408, "request_timeout", "The body of the request arrived too slowly.")
TOO_MANY_CONNECTIONS = Refusal(
    503, "overloaded", "This gateway has too many open connections.", "server_error", retry_after=1
)
APPLICATION_FAILED = Refusal(500, "internal_error", "The gateway failed to answer this request.", "server_error")
NO_TUNNELS = Refusal(405, "method_not_allowed", "This gateway is no tunnel: CONNECT is not served.")
