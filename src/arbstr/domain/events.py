"""What a provider's answer is made of."""

from __future__ import annotations

import msgspec

from arbstr.domain.answer import Event
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.usage import Usage


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One piece of an answer in the provider's own bytes, with what was read from it.

    A stream has a frame for each server-sent event (comments included), a whole answer has a single one. ``raw`` is
    relayed untouched where caller and provider speak the same dialect.
    """

    raw: bytes
    data: bytes = b""
    """The event's data without its ``data:`` prefix (of a whole answer: empty; the body is ``raw``)."""
    content: bool = False
    """Text, a tool call, reasoning, a refusal or a finish. The first such frame is the commit point."""
    content_bytes: int = 0
    """UTF-8 bytes of generated text in this frame, from which output is estimated where nobody counted."""
    finish: str | None = None
    usage: Usage | None = None
    usage_only: bool = False
    """Nothing but usage (``choices: []``): kept from callers who did not ask for it."""
    done: bool = False
    """The answer says that it is over: ``data: [DONE]``, or a whole answer that was read to its end."""
    failure: UpstreamFailure | None = None
    """The provider reported an error inside a 200."""
    malformed: bool = False
    """Could not be read: counted, and not relayed."""
    events: tuple[Event, ...] = ()
    """What the frame says, in no vendor's words; only made where caller and provider speak different dialects."""
    comment: bool = False
    """An SSE comment or an event without data: a sign of life, and nothing more."""
