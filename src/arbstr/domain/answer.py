"""An answer in no vendor's words: what a provider's dialect is read into, and a caller's is written from.

The events of one answer, in order::

    Begin (TextDelta | ThinkingDelta | RefusalDelta | ToolCallBegin ToolCallDelta*)* Finish

Of several choices (``n`` > 1) the events mix. Usage is not among them: a frame carries it. A whole answer is the same
events, collected.
"""

from __future__ import annotations

import enum

import msgspec


class FinishReason(enum.Enum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    """The vendor's filter cut in."""
    REFUSAL = "refusal"
    """The model declined."""
    STOP_SEQUENCE = "stop_sequence"
    PAUSE = "pause"
    """The vendor paused a long turn; the caller may send it on."""


class Begin(msgspec.Struct, frozen=True, gc=False):
    """The answer has an identity. ``model`` as the provider names it."""

    id: str | None = None
    model: str | None = None


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    text: str
    choice: int = 0


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    """Reasoning in the open; or its signature, or the whole of an encrypted piece."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    choice: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    text: str
    choice: int = 0


class ToolCallBegin(msgspec.Struct, frozen=True, gc=False):
    """``index`` counts the tool calls of one choice from 0."""

    index: int
    id: str
    name: str
    choice: int = 0
    signature: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the JSON of the arguments."""

    index: int
    arguments: str
    choice: int = 0


class Finish(msgspec.Struct, frozen=True, gc=False):
    reason: FinishReason
    stop_sequence: str | None = None
    choice: int = 0


Event = Begin | TextDelta | ThinkingDelta | RefusalDelta | ToolCallBegin | ToolCallDelta | Finish
