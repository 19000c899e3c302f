"""What a kind of provider can be called for: paths and dialects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from arbstr.dialects.translate import ProviderDialect


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing to call."""

    dialect: str
    """Of requests and answers: the name of a caller's dialect, or the provider's own."""
    path: Callable[[str, bool], str]
    """From a model's name and whether a stream is asked for; query included."""
    speech: ProviderDialect
    plain_speech: ProviderDialect | None = None
    """The same without the wish for usage, for servers that do not know it."""
    accept: str = "application/json, text/event-stream"
    headers: tuple[str, ...] = ()
    """Lines that go with every request, unless the configuration or a caller of this dialect says otherwise."""


@dataclass(frozen=True, slots=True)
class Offer:
    """``natives`` are called by callers of the same dialect, with the bytes that they sent; everybody else's requests
    are translated for ``translated``."""

    translated: Endpoint | None
    natives: Mapping[str, Endpoint] = field(default_factory=dict)
