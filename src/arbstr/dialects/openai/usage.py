"""Token counts as the OpenAI dialect reports them, believed only where they can be true."""

from __future__ import annotations

from typing import Any, overload

from arbstr.dialects.charges import read_charge
from arbstr.domain.usage import Charge, Usage

MOST_TOKENS = 100_000_000
"""A count above it is no count: the largest context windows have a hundredth of it."""

_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens")
"""Where ``prompt_tokens_details.cached_tokens`` is missing: DeepSeek's, Moonshot's, Mistral's and Databricks' name."""
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
"""Among the details: OpenAI's and OpenRouter's, LiteLLM's and Alibaba's name."""


def read_usage(value: Any, *, model: Any = None) -> Usage | None:
    """The counts in a ``usage`` object, or None where they cannot be used. ``model`` is the one that answered.

    Both ``prompt_tokens`` and ``completion_tokens`` must be integers in 0 … 100,000,000 (``12.0`` is one) and not both
    zero; an absent ``completion_tokens`` is what ``total_tokens`` leaves for it. A total that differs from their sum is
    ignored, unless it says that something is charged beside them:

    - reasoning tokens, where it is the sum of these and the others (xAI);
    - thoughts that are counted nowhere else, in the answer of a Gemini (Google's own OpenAI endpoint);
    - cached tokens by Anthropic's names, where it is the sum with them (Claude at other vendors).

    Details are clamped to what they are part of, and 0 where they make no sense.
    """
    if type(value) is not dict:
        return None
    prompt = _count(value.get("prompt_tokens"))
    completion = _count(value.get("completion_tokens"))
    total = _count(value.get("total_tokens"))
    if completion is None and prompt is not None and "completion_tokens" not in value:
        completion = total - prompt if total is not None and total >= prompt else None
    if prompt is None or completion is None or prompt + completion == 0:
        return None
    reasoning = _detail(value.get("completion_tokens_details"), "reasoning_tokens")
    if total is not None and total > prompt + completion:
        aside = _aside(value)
        if aside and total == prompt + completion + aside:
            prompt = min(prompt + aside, MOST_TOKENS)
        elif reasoning and total == prompt + completion + reasoning:
            completion = min(completion + reasoning, MOST_TOKENS)
        elif not reasoning and type(model) is str and "gemini" in model.lower():
            reasoning = total - prompt - completion
            completion += reasoning
    cached = min(_cached(value), prompt)
    written, hour = _written(value, prompt - cached)
    charge = read_charge(value)
    return Usage(prompt, completion, cached, min(reasoning, completion), False, written, hour, charge)


def _aside(value: dict[str, Any]) -> int:
    """What Anthropic counts beside its input."""
    names = ("cache_read_input_tokens", "cache_creation_input_tokens")
    return sum([_count(value.get(name)) or 0 for name in names])


def _cached(value: dict[str, Any]) -> int:
    cached = _detail(value.get("prompt_tokens_details"), "cached_tokens")
    if cached:
        return cached
    for name in _CACHED:
        if name in value and (cached := _count(value[name]) or 0):
            return cached
    return 0


def _written(value: dict[str, Any], most: int) -> tuple[int, int]:
    """Tokens that were written to a cache, at most ``most``, and those of them that were written for an hour."""
    details = value.get("prompt_tokens_details")
    written = 0
    if type(details) is dict:
        written = next((count for name in _WRITTEN if name in details and (count := _count(details[name]))), 0)
    written = min(written or _count(value.get("cache_creation_input_tokens")) or 0, most)
    if not written:
        return 0, 0
    kept = value.get("cache_creation")
    if kept is None and type(details) is dict:
        kept = details.get("cache_creation", details.get("cache_creation_token_details"))
    return written, min(_detail(kept, "ephemeral_1h_input_tokens"), written)


@overload
def merge_usage(old: Usage | None, new: Usage) -> Usage: ...
@overload
def merge_usage(old: Usage | None, new: Usage | None) -> Usage | None: ...
def merge_usage(old: Usage | None, new: Usage | None) -> Usage | None:
    """What is known after ``new`` was reported, too: the larger of each count, for providers that report them more
    than once repeat or grow them, and an answer is never paid twice. Counts of a provider replace estimates."""
    if old is None or new is None or old.estimated != new.estimated:
        return new if old is None or (new is not None and old.estimated) else old
    input_tokens = max(old.input_tokens, new.input_tokens)
    output_tokens = max(old.output_tokens, new.output_tokens)
    cached = max(old.cached_input_tokens, new.cached_input_tokens)
    written = min(max(old.cache_write_tokens, new.cache_write_tokens), input_tokens - cached)
    return Usage(
        input_tokens,
        output_tokens,
        cached,
        max(old.reasoning_tokens, new.reasoning_tokens),
        new.estimated,
        written,
        min(max(old.cache_write_1h_tokens, new.cache_write_1h_tokens), written),
        _larger(old.reported_cost, new.reported_cost),
    )


def _larger(old: Charge | None, new: Charge | None) -> Charge | None:
    """The charge that was reported last, unless it is a smaller part of one in the same currency."""
    if old is None or new is None:
        return new or old
    return old if old.currency is new.currency and old.amount > new.amount else new


def _detail(details: Any, name: str) -> int:
    return (_count(details.get(name)) or 0) if type(details) is dict else 0


def _count(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
