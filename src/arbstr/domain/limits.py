"""How much one caller may ask for."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What one caller may have. None: as much as it likes; a number is at least 1 (ValueError)."""

    rpm: int | None = None
    """Requests a minute."""
    tpm: int | None = None
    """Tokens a minute, of input and output together."""
    max_parallel: int | None = None
    """Requests in flight."""

    def __post_init__(self) -> None:
        for limit in (self.rpm, self.tpm, self.max_parallel):
            if limit is not None and limit < 1:
                raise ValueError(f"a limit of {limit}, expected at least 1")


NO_LIMITS = Limits()
