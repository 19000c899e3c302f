"""How much of the gateway somebody may use at a time."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Limits on the use of the gateway; None: not limited."""

    rpm: int | None = None
    """Requests per minute."""
    tpm: int | None = None
    """Tokens per minute, input and output together."""
    max_parallel: int | None = None
    """Requests at a time."""
