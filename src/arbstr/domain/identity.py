"""Who may use the gateway, with what, and for how much.

A gateway key is a secret of 256 random bits that its holder has, and a row here that knows its SHA-256 alone.
"""

from __future__ import annotations

import base64
import enum
import fnmatch
import functools
import hashlib
import re
from collections.abc import Iterator

import msgspec

from arbstr.domain.limits import NO_LIMITS, Limits
from arbstr.domain.money import Currency
from arbstr.domain.secret import Secret

SECRET_PREFIX = "sk-arbstr-"
SECRET_BYTES = 32
ID_PREFIX = "key_"
ID_BYTES = 8
LONGEST_NAME = 100
"""Characters."""

PERIODS = ("hour", "day", "month", "total")
"""The windows of a budget, the shortest first; ``total`` has no end."""


class Standing(enum.Enum):
    """Whether a key is good."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Budgets(msgspec.Struct, frozen=True):
    """What may be spent in each window, in the smallest units of ``currency`` (MicroSats or NanoUsd); None: any sum."""

    currency: Currency
    hour: int | None = None
    day: int | None = None
    month: int | None = None
    total: int | None = None

    def amounts(self) -> Iterator[tuple[str, int | None]]:
        """Each of PERIODS with its amount."""
        return ((period, getattr(self, period)) for period in PERIODS)


class Key(msgspec.Struct, frozen=True):
    """A gateway key. Times are in seconds since the epoch."""

    id: str
    """``key_`` and sixteen hexadecimal digits; never used again."""
    name: str
    """What people call it: unique among the keys that are not revoked."""
    hash: bytes
    """The SHA-256 of its secret."""
    created_at: float
    models: tuple[str, ...] | None = None
    """The models it is for, by name or pattern; None: all."""
    policy: str | None = None
    """The rule of ``[policies]`` that holds for all its requests; None: as each request says."""
    budgets: Budgets | None = None
    limits: Limits = NO_LIMITS
    expires_at: float | None = None
    revoked_at: float | None = None
    previous_hash: bytes | None = None
    """That of the secret before the last rotation,"""
    previous_until: float | None = None
    """which is good too until then."""

    def standing(self, now: float) -> Standing:
        """Whether it is good at ``now``. It expires at its instant, not after it."""
        if self.revoked_at is not None:
            return Standing.REVOKED
        if self.expires_at is not None and now >= self.expires_at:
            return Standing.EXPIRED
        return Standing.ACTIVE

    def allows(self, model: str) -> bool:
        """Whether it may be used with ``model``. Patterns are the shell's, and case counts: ``gpt-*``, ``o[134]``."""
        if self.models is None:
            return True
        exact, pattern = _compiled(self.models)
        return model in exact or (pattern is not None and pattern.match(model) is not None)

    def __repr__(self) -> str:
        return f"Key({self.id!r}, {self.name!r})"


def new_secret(random: bytes) -> Secret:
    """The secret that SECRET_BYTES of randomness make: ``sk-arbstr-`` and 43 characters that no shell or URL minds."""
    return Secret(SECRET_PREFIX + base64.urlsafe_b64encode(random).rstrip(b"=").decode())


def secret_hash(secret: str | bytes) -> bytes:
    """The SHA-256 by which a key is known. What is not text hashes to something that no key has."""
    return hashlib.sha256(secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogatepass")).digest()


def checked_name(name: str) -> str:
    """``name``, if a key may be called so. Raises ValueError, which never shows what looks like a secret."""
    expected = f"expected 1 to {LONGEST_NAME} printable characters without a slash, as team-a or alice@example.com"
    if name.startswith(("sk-", ID_PREFIX)):
        raise ValueError(f"begins like a secret (sk-) or an id ({ID_PREFIX}), {expected}")
    if not 1 <= len(name) <= LONGEST_NAME or name != name.strip():
        raise ValueError(f"is empty, too long, or has white space around it, {expected}")
    if not name.isprintable() or "/" in name or name.startswith("-") or name in (".", ".."):
        raise ValueError(f"cannot be written in a URL or on a command line, {expected}")
    return name


@functools.lru_cache(maxsize=4096)
def _compiled(models: tuple[str, ...]) -> tuple[frozenset[str], re.Pattern[str] | None]:
    """What is named, and a pattern of what is described: fnmatch's, in which no model's name takes long to match."""
    described = [model for model in models if set(model) & set("*?[")]
    pattern = re.compile("|".join(map(fnmatch.translate, described))) if described else None
    return frozenset(models) - frozenset(described), pattern
