"""What a caller asks for."""

from __future__ import annotations

import msgspec


class Needs(msgspec.Struct, frozen=True):
    """What a model must be able to do for a request."""

    tools: bool = False
    vision: bool = False
    json: bool = False
    reasoning: bool = False


class ChatRequest(msgspec.Struct, frozen=True):
    """A chat completion as it was asked for: the fields that this gateway reads, and all others as their bytes.

    ``fields`` holds the whole body, the read ones included, re-serialised from what was decoded: the last of
    duplicate keys, numbers as the caller wrote them. It is what is sent upstream, so that they see what was checked.
    """

    model: str
    stream: bool
    fields: dict[str, msgspec.Raw]
    input_bytes: int
    """UTF-8 bytes of the text that will be charged as input (messages, tools, response format)."""
    last_user_text: str
    """The text of the last user message, for policies; empty where there is none."""
    max_tokens: int | None = None
    """``max_completion_tokens``, or ``max_tokens``: an upper bound of the output of each of the ``n`` choices."""
    n: int = 1
    include_usage: bool = False
    """The caller asked for the usage chunk of a stream (``stream_options.include_usage``)."""
    headers: tuple[tuple[str, str], ...] = ()
    """What else of the caller's headers a provider of the same dialect is to see. Names in lower case, checked."""
    dialect: str = "openai"
    """The dialect of ``fields``: by the name of a :class:`~arbstr.dialects.translate.CallerDialect`."""


class Wishes(msgspec.Struct, frozen=True):
    """What a caller may choose by request headers."""

    policy: str | None = None
    commit: str | None = None
    stream_metadata: str | None = None
    max_cost_sats: str | None = None
    max_cost_usd: str | None = None
    timeout_ms: str | None = None


NO_WISHES = Wishes()
