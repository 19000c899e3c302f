"""A string that must never be shown."""

from __future__ import annotations

import hmac


class Secret:
    """A credential. Every way of turning it into text masks it; only :meth:`reveal` gives the value.

    The mask keeps the first six characters, so that an operator can tell two keys apart; a secret shorter than
    ten characters shows nothing at all.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself: for the wire, never for a log, an error or a page."""
        return self._value

    @property
    def masked(self) -> str:
        """``sk-abc***``, or ``***`` for a short secret."""
        return f"{self._value[:6]}***" if len(self._value) >= 10 else "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"Secret({self.masked!r})"

    def __str__(self) -> str:
        return self.masked

    def __format__(self, spec: str) -> str:
        return format(self.masked, spec)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled")
