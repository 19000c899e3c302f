"""Token counts as the Responses dialect reports them."""

from __future__ import annotations

from typing import Any

from arbstr.dialects.metadata import cost_fields
from arbstr.dialects.openai import usage as openai_usage
from arbstr.domain.usage import Usage

_NAMES = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens_details": "output_tokens_details",
}


def read_usage(value: Any) -> Usage | None:
    """The counts in a ``usage`` object, or None where they cannot be used: believed as those of chat completions."""
    if type(value) is not dict:
        return None
    named = {ours: value[name] for ours, name in _NAMES.items() if name in value}
    return openai_usage.read_usage(value | named)


def usage_object(usage: Usage, *, cost_sats: float | None = None, cost_usd: float | None = None) -> dict[str, Any]:
    """``usage`` as callers of this dialect read it, with what the answer cost, where that is known."""
    fields: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    return fields | cost_fields(cost_sats, cost_usd)
