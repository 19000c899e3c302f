"""The dialects in which callers may ask, by name. Each is loaded when it is first spoken."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from arbstr.dialects.translate import CallerDialect


def _chat() -> CallerDialect:
    from arbstr.dialects.chat import ChatCaller

    return ChatCaller()


def _completions() -> CallerDialect:
    from arbstr.dialects.completions import CompletionCaller

    return CompletionCaller()


def _embeddings() -> CallerDialect:
    from arbstr.dialects.embeddings import EmbeddingsCaller

    return EmbeddingsCaller()


def _responses() -> CallerDialect:
    from arbstr.dialects.responses import ResponsesCaller

    return ResponsesCaller()


def _anthropic() -> CallerDialect:
    from arbstr.dialects.anthropic import AnthropicCaller

    return AnthropicCaller()


CALLERS: dict[str, Callable[[], CallerDialect]] = {
    "openai": _chat,
    "completions": _completions,
    "embeddings": _embeddings,
    "responses": _responses,
    "anthropic": _anthropic,
}


@cache
def caller_dialect(name: str) -> CallerDialect:
    """The dialect of that name. Raises KeyError for one that is none."""
    return CALLERS[name]()
