"""What is remembered of callers, within a bound: strangers with many addresses must not fill the memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

MOST = 50_000
"""Callers that are remembered at a time."""

LOOKS = 2
"""Old entries that are looked at for each new one: more than one, so that those who are gone make room in time."""


class Idler(Protocol):
    def idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing: a new one would behave alike."""
        ...


T = TypeVar("T", bound=Idler)


class Tracked(Generic[T]):
    """Entries by caller, at most ``most``. Each new one costs the same, however many there are.

    For each new entry the two that were looked at longest ago are looked at again, and forgotten where they are idle;
    whoever has stopped calling is thereby gone soon. Where so many call that the bound is reached all the same, the
    oldest is forgotten though it is not idle. To refuse newcomers instead would let one stranger with many addresses
    lock everybody else out, and to let them in unseen would lift the limits for everybody just when they are needed;
    but with fifty thousand addresses, to be forgotten as one of them gains little over using the next.
    """

    __slots__ = ("_entries", "_most")

    def __init__(self, most: int = MOST) -> None:
        self._entries: OrderedDict[str, T] = OrderedDict()  # a dict is slow to find its first after many were removed
        self._most = most

    def get(self, caller: str) -> T | None:
        return self._entries.get(caller)

    def add(self, caller: str, entry: T, now: float) -> T:
        """Remember ``entry`` of a caller that has none, and hand it back."""
        entries = self._entries
        for _ in range(min(LOOKS, len(entries))):
            oldest, old = entries.popitem(last=False)
            if not old.idle(now):
                entries[oldest] = old
        if len(entries) >= self._most:
            entries.popitem(last=False)
        entries[caller] = entry
        return entry

    def __len__(self) -> int:
        return len(self._entries)
