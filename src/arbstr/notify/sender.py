"""What sends to one target, and what it says when it cannot."""

from __future__ import annotations

from typing import Protocol

from arbstr.notify.notice import Notice


class Undelivered(Exception):
    """A try failed. ``reason`` is one line for the log, without a URL or a secret."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        """``passing``: another try may do better."""
        super().__init__(reason)
        self.reason = reason
        self.passing = passing


class Sender(Protocol):
    """One target."""

    @property
    def name(self) -> str:
        """As log lines call it."""
        ...

    async def send(self, notice: Notice) -> None:
        """One try. Raises :class:`Undelivered`. May be cancelled, and is, when it takes too long."""
        ...


RETRIED = frozenset({408, 425, 429})
"""Of the statuses below 500, those that say nothing of the next try."""


def check_status(status: int) -> None:
    """Raise :class:`Undelivered` for an answer that is no success."""
    if not 200 <= status <= 299:
        raise Undelivered(f"it was answered with {status}", passing=status >= 500 or status in RETRIED)
