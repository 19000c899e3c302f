"""How large the input of a request can be at most, as far as the request itself says it."""

from __future__ import annotations

import msgspec


class Picture(msgspec.Struct, frozen=True, gc=False):
    """An image that is to be looked at."""

    width: int = 0
    """In pixels; 0 where it is not known, as for an image behind a URL."""
    height: int = 0
    low: bool = False
    """Its caller asks for no more than a low resolution."""


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """What a vendor can count as input, before any tokenizer has seen it. No number is smaller than the truth."""

    text_bytes: int
    """UTF-8 bytes of everything that is read as text or heard, instructions, tools and formats included."""
    messages: int = 1
    """Around each of which a vendor puts tokens of its own."""
    tools: int = 0
    """Tools that are offered. A format for the answer counts as one, for vendors put it into words, too."""
    pictures: tuple[Picture, ...] = ()
    unbounded: bool = False
    """There is more, of which the request does not say how much: a file, a video, what a tool of the vendor's finds."""
    predicted_bytes: int = 0
    """Of the answer that the caller expects. What of it turns out otherwise is charged as output."""
