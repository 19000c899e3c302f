"""Token counts as Anthropic reports them: what came from a cache or went into one is not among ``input_tokens``."""

from __future__ import annotations

from typing import Any

from arbstr.dialects.charges import read_charge
from arbstr.dialects.openai.usage import MOST_TOKENS
from arbstr.domain.usage import Usage


def read_usage(value: Any) -> Usage | None:
    """The counts in a ``usage`` object, or None where they cannot be used. All kinds of input are added up.

    A request that the provider samples more than once (a long conversation that it summarises first) is billed for
    each of its ``iterations``, of which the object's own counts leave some out: then their sum counts.
    """
    if type(value) is not dict:
        return None
    fresh, output = _count(value.get("input_tokens")), _count(value.get("output_tokens"))
    if fresh is None or output is None:
        return None
    read = _count(value.get("cache_read_input_tokens")) or 0
    written, hour = _written(value)
    iterations = value.get("iterations")
    if type(iterations) is list and len(iterations) > 1:
        each = [one for one in iterations if type(one) is dict]
        fresh = max(fresh, _sum(each, "input_tokens"))
        output = max(output, _sum(each, "output_tokens"))
        read = max(read, _sum(each, "cache_read_input_tokens"))
        kept = [_written(one) for one in each]
        written, hour = max(written, sum(all_ for all_, _ in kept)), max(hour, sum(long for _, long in kept))
    if fresh + read + written + output == 0:
        return None
    details = value.get("output_tokens_details")
    thought = _count(details.get("thinking_tokens")) or 0 if type(details) is dict else 0
    return Usage(
        fresh + read + written,
        output,
        cached_input_tokens=read,
        reasoning_tokens=min(thought, output),
        cache_write_tokens=written,
        cache_write_1h_tokens=min(hour, written),
        reported_cost=read_charge(value),
    )


def _written(value: dict[str, Any]) -> tuple[int, int]:
    """Tokens that were written to a cache, and those of them that were written for an hour."""
    kept = value.get("cache_creation")
    short = hour = 0
    if type(kept) is dict:
        short = _count(kept.get("ephemeral_5m_input_tokens")) or 0
        hour = _count(kept.get("ephemeral_1h_input_tokens")) or 0
    return _count(value.get("cache_creation_input_tokens")) or short + hour, hour


def _sum(iterations: list[dict[str, Any]], name: str) -> int:
    return sum([_count(one.get(name)) or 0 for one in iterations])


def grown(known: dict[str, Any], reported: Any) -> dict[str, Any]:
    """What is known after a later report: its counts are cumulative, and those that it does not repeat still hold."""
    if type(reported) is not dict:
        return known
    merged = {**known}
    for name, value in reported.items():
        old = _count(known.get(name))
        if value is not None and (old is None or (_count(value) or 0) >= old):
            merged[name] = value
    return merged


def usage_object(usage: Usage | None) -> dict[str, Any]:
    """``usage`` as Anthropic reports it; zeros where nobody counted."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    read, written = usage.cached_input_tokens, usage.cache_write_tokens
    written_object: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens,
    }
    if hour := usage.cache_write_1h_tokens:
        kept = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
        written_object["cache_creation"] = kept
    if usage.reasoning_tokens:
        written_object["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return written_object


def _count(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
