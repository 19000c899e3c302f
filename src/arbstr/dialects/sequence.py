"""Tool calls one after another, for dialects in which nothing comes between the pieces of one.

Providers may mix the pieces of parallel calls, and none says that a call is over: it is when its JSON is closed, or at
the end of the answer. Until then, what belongs elsewhere waits.
"""

from __future__ import annotations

import re

import msgspec

from arbstr.domain.answer import Event, Finish, ToolCallBegin, ToolCallDelta
from arbstr.domain.errors import FailureKind, UpstreamFailure

MOST_HELD = 8 * 1024 * 1024
"""Characters that wait at a time; an answer that needs more is given up."""

EACH = 64
"""What an event that waits counts for beside its texts."""

_MARKS = re.compile(r'\\.|\\\Z|["{}\[\]]', re.DOTALL)


class Sequencer:
    """The events of one choice in such an order that those of each tool call follow one another.

    What waits comes in the order in which it began: a call with all of its pieces, and whatever stood between calls.
    Where nothing is mixed, nothing waits.
    """

    def __init__(self) -> None:
        self._open: _Call | None = None
        """The call whose pieces are told as they come."""
        self._held: dict[int, list[Event]] = {}
        """By the call's index; what stood between calls, by a number below 0."""
        self._size = 0
        """Of all that waits, in characters."""
        self._last = 0
        """The number of what began to wait last."""
        self._between = 0

    def take(self, event: Event) -> tuple[Event, ...]:
        """What can be told now. The finish lets everything go.

        Raises UpstreamFailure (UNREADABLE) for a piece of a call that is over or never began, and where too much waits.
        """
        if type(event) is ToolCallDelta:
            return self._grow(event)
        if type(event) is Finish:
            return (*self.rest(), event)
        if self._open is not None and not self._open.over:
            return self._hold(event, event.index if type(event) is ToolCallBegin else None)
        self._open = _Call(event.index) if type(event) is ToolCallBegin else None
        return (event,)

    def rest(self) -> tuple[Event, ...]:
        """What still waits at the end of the answer."""
        told = self._release(everything=True)
        self._open = None
        return told

    def _grow(self, event: ToolCallDelta) -> tuple[Event, ...]:
        if self._open is not None and self._open.index == event.index:
            self._open.read(event.arguments)
            return (event, *self._release()) if self._held else (event,)
        if event.index in self._held:
            return self._hold(event, event.index)
        if event.arguments.strip():
            raise UpstreamFailure(FailureKind.UNREADABLE, "The provider went on with a tool call that was over.")
        return ()

    def _hold(self, event: Event, index: int | None) -> tuple[Event, ...]:
        self._size += _size(event)
        if self._size > MOST_HELD:
            raise UpstreamFailure(FailureKind.UNREADABLE, "The provider mixed tool calls that are too long for that.")
        if index is None and self._last >= 0:
            self._between -= 1
            index = self._between
        index = self._last if index is None else index
        if index not in self._held:
            self._held[index] = []
            self._last = index
        self._held[index].append(event)
        return ()

    def _release(self, *, everything: bool = False) -> tuple[Event, ...]:
        """What waits, up to a call that is not over."""
        told: list[Event] = []
        while self._held and (everything or self._open is None or self._open.over):
            index = next(iter(self._held))
            self._open = _Call(index) if index >= 0 else None
            for event in self._held.pop(index):
                self._size -= _size(event)
                if type(event) is ToolCallDelta and self._open is not None:
                    self._open.read(event.arguments)
                told.append(event)
        if not self._held:
            self._last = 0
        return tuple(told)


def _size(event: Event) -> int:
    return EACH + sum(len(value) for value in msgspec.structs.astuple(event) if type(value) is str)


class _Call:
    """A call that is told, and how far the JSON of its arguments has come."""

    __slots__ = ("_began", "_depth", "_escaped", "_quoted", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self._began = self._quoted = self._escaped = False
        self._depth = 0

    @property
    def over(self) -> bool:
        """An object or list was closed. Whatever else a model writes has no end that could be seen."""
        return self._began and not self._depth and not self._quoted

    def read(self, piece: str) -> None:
        if self._escaped and piece:
            self._escaped, piece = False, piece[1:]
        for found in _MARKS.finditer(piece):
            mark = found[0]
            if mark[0] == "\\":
                self._escaped = len(mark) == 1
            elif mark == '"':
                self._quoted = not self._quoted
            elif self._quoted:
                continue
            elif mark in "{[":
                self._began = True
                self._depth += 1
            elif self._depth:
                self._depth -= 1
