"""Whose secret it is: all gateway keys as a lookup, which a request needs before its body is read."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import msgspec

from arbstr.domain.identity import Key, secret_hash

PREFIX = 8
"""Bytes of a hash by which it is looked up; the whole of it is then compared in constant time."""


class _Entry(msgspec.Struct, frozen=True, gc=False):
    hash: bytes
    key: Key | None
    """None: nobody's, looked at for the time that it takes."""
    until: float | None = None
    """When a secret that was rotated out stops being good."""


_NOBODY = (_Entry(bytes(32), None),)


class KeyRing:
    """A frozen set of keys.

    How long :meth:`find` takes says nothing about the secrets that exist. A secret is hashed before anything else, so
    that whoever guesses cannot choose which hash is looked up; the lookup is by the first bytes of the hash, and what
    is found there, or a hash of nobody where there is nothing, is compared with ``hmac.compare_digest``.
    """

    __slots__ = ("_entries", "exists", "keys")

    def __init__(self, keys: Iterable[Key] = (), *, exists: bool = False) -> None:
        self.keys = tuple(keys)
        """Every key, whatever its standing."""
        self.exists = exists or bool(self.keys)
        """Whether there is or ever was a key, revoked and expired ones included: then callers need one. ``exists``
        says so where the keys themselves are gone."""
        self._entries: dict[bytes, tuple[_Entry, ...]] = {}
        for key in self.keys:
            self._enter(_Entry(key.hash, key))
            if key.previous_hash is not None:
                self._enter(_Entry(key.previous_hash, key, key.previous_until or 0.0))

    def _enter(self, entry: _Entry) -> None:
        prefix = entry.hash[:PREFIX]
        self._entries[prefix] = (*self._entries.get(prefix, ()), entry)

    def find(self, secret: str | bytes, now: float) -> Key | None:
        """The key that ``secret`` belongs to at ``now``, in seconds since the epoch.

        Whatever its standing: a key that has expired or was revoked is found too, so that its holder can be told. A
        secret that was rotated out belongs to its key until its grace is over, and then to none.
        """
        hashed = secret_hash(secret)
        found: _Entry | None = None
        for entry in self._entries.get(hashed[:PREFIX], _NOBODY):
            if hmac.compare_digest(hashed, entry.hash):
                found = entry
        if found is None or (found.until is not None and now >= found.until):
            return None
        return found.key

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"KeyRing({len(self.keys)} keys)"
