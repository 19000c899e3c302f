"""A request for a chat, in no vendor's words: what dialects are translated through.

A caller's dialect is read into a :class:`Conversation`, a provider's is written from it. What one side cannot say is
noted by whoever drops it, never lost in silence. Same dialect on both sides: nothing of this is made.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec


class Role(enum.Enum):
    """Who speaks. Instructions (system, developer) are not messages but :attr:`Conversation.instructions`."""

    USER = "user"
    ASSISTANT = "assistant"


class CacheHint(msgspec.Struct, frozen=True):
    """The caller wishes the prompt to be cached up to here."""

    ttl: str | None = None
    """``5m`` or ``1h``, where the caller said so."""


class Text(msgspec.Struct, frozen=True, tag=True):
    text: str
    cache: CacheHint | None = None


class Media(msgspec.Struct, frozen=True, tag=True):
    """An image, a document or audio: at a URL, or as base64 with its media type."""

    kind: str
    """``image``, ``document`` or ``audio``."""
    url: str | None = None
    data: str | None = None
    """Base64."""
    media_type: str | None = None
    """``image/png`` …; None for a URL whose type nobody said."""
    name: str | None = None
    detail: str | None = None
    """OpenAI's ``low``, ``high`` or ``auto``."""
    cache: CacheHint | None = None


class ToolCall(msgspec.Struct, frozen=True, tag=True):
    """The assistant called a tool. ``arguments`` is JSON as the model wrote it, not necessarily valid."""

    id: str
    name: str
    arguments: str
    signature: str | None = None
    """A vendor's own proof of its reasoning before the call, to be given back to that vendor only."""
    cache: CacheHint | None = None


class ToolResult(msgspec.Struct, frozen=True, tag=True):
    """What a tool answered, in a user's message."""

    id: str
    """Of the call."""
    content: tuple[Text | Media, ...]
    name: str | None = None
    is_error: bool = False
    cache: CacheHint | None = None


class Thinking(msgspec.Struct, frozen=True, tag=True):
    """Reasoning of the assistant, given back by the caller."""

    text: str
    signature: str | None = None
    redacted: str | None = None
    """Encrypted reasoning, which only its vendor can read; then ``text`` is empty."""


class Refusal(msgspec.Struct, frozen=True, tag=True):
    text: str


Part = Text | Media | ToolCall | ToolResult | Thinking | Refusal


class Message(msgspec.Struct, frozen=True):
    """One turn. Neighbouring messages may have the same role; a writer whose vendor minds joins them."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call. ``schema`` is the JSON Schema of its arguments."""

    name: str
    description: str | None
    schema: dict[str, Any] | None
    strict: bool | None = None
    cache: CacheHint | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """``auto``, ``none``, ``required`` (any tool), or ``tool`` with its name."""

    mode: str
    name: str | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """The answer must be JSON; with a schema, of that shape."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None


class Reasoning(msgspec.Struct, frozen=True):
    """How much the model may think. At least one of the two is set, or ``enabled`` is False."""

    effort: str | None = None
    """``none``, ``minimal``, ``low``, ``medium``, ``high``, ``xhigh``: OpenAI's words."""
    budget_tokens: int | None = None
    enabled: bool = True


class Conversation(msgspec.Struct, frozen=True):
    """Everything about a chat request that has a meaning in more than one dialect."""

    instructions: tuple[Text, ...]
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    output_format: OutputFormat | None = None
    reasoning: Reasoning | None = None
    user: str | None = None
    """An opaque id of the caller's own user."""
    dropped: tuple[str, ...] = ()
    """Fields of the caller's request that have no place here, by name: noted in ``x-arbstr-dropped``."""
