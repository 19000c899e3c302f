"""Token counts as the OpenAI dialect reports them, believed only where they can be true."""

from __future__ import annotations

from typing import Any, overload

from arbstr.domain.usage import Usage

MOST_TOKENS = 100_000_000
"""A count above it is no count: the largest context windows have a hundredth of it."""


def read_usage(value: Any) -> Usage | None:
    """The counts in a ``usage`` object, or None where they cannot be used.

    Both ``prompt_tokens`` and ``completion_tokens`` must be integers in 0 … 100,000,000 (``12.0`` is one) and not both
    zero; an absent ``completion_tokens`` is what ``total_tokens`` leaves for it. A total that differs from their sum is
    ignored, unless it is the sum of both and the reasoning tokens: then these are charged beside the others (xAI).
    Details are clamped to what they are part of, and 0 where they make no sense.
    """
    if type(value) is not dict:
        return None
    prompt = _count(value.get("prompt_tokens"))
    completion = _count(value.get("completion_tokens"))
    if completion is None and prompt is not None and "completion_tokens" not in value:
        total = _count(value.get("total_tokens"))
        completion = total - prompt if total is not None and total >= prompt else None
    if prompt is None or completion is None or prompt + completion == 0:
        return None
    cached = _detail(value.get("prompt_tokens_details"), "cached_tokens")
    if not cached:
        cached = _count(value.get("prompt_cache_hit_tokens")) or 0  # as DeepSeek names them
    cached = min(cached, prompt)
    written = _detail(value.get("prompt_tokens_details"), "cache_write_tokens")  # as OpenRouter names them
    if not written:
        written = _detail(value.get("prompt_tokens_details"), "cache_creation_tokens")  # as LiteLLM does
    reasoning = _detail(value.get("completion_tokens_details"), "reasoning_tokens")
    if reasoning and value.get("total_tokens") == prompt + completion + reasoning:
        completion = min(completion + reasoning, MOST_TOKENS)
    return Usage(
        prompt, completion, cached, min(reasoning, completion), cache_write_tokens=min(written, prompt - cached)
    )


@overload
def merge_usage(old: Usage | None, new: Usage) -> Usage: ...
@overload
def merge_usage(old: Usage | None, new: Usage | None) -> Usage | None: ...
def merge_usage(old: Usage | None, new: Usage | None) -> Usage | None:
    """What is known after ``new`` was reported, too: the larger of each count, for providers that report them more
    than once repeat or grow them, and an answer is never paid twice. Counts of a provider replace estimates."""
    if old is None or new is None or old.estimated != new.estimated:
        return new if old is None or (new is not None and old.estimated) else old
    return Usage(
        max(old.input_tokens, new.input_tokens),
        max(old.output_tokens, new.output_tokens),
        max(old.cached_input_tokens, new.cached_input_tokens),
        max(old.reasoning_tokens, new.reasoning_tokens),
        new.estimated,
        max(old.cache_write_tokens, new.cache_write_tokens),
    )


def _detail(details: Any, name: str) -> int:
    return (_count(details.get(name)) or 0) if type(details) is dict else 0


def _count(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
