"""A conversation as a request of OpenAI chat, for the many providers that take it.

What all of them understand is preferred to what only the newest do: text in one string rather than in parts, and one
system message. What a family of models refuses is left out, with a note.
"""

from __future__ import annotations

from typing import Any

from arbstr.dialects.chat.answer import json_of
from arbstr.dialects.chat.models import Family, family_of
from arbstr.dialects.chat.turns import Turns, cache_control
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import Conversation, Reasoning, Tool

Object = dict[str, Any]

_EFFORTS = ((2048, "low"), (8192, "medium"))
"""The effort for a budget of up to so many tokens of thinking; above, ``high``."""
_ORDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def write_chat(
    conversation: Conversation,
    *,
    model: str,
    stream: bool,
    stream_options: bool = True,
    ignores: frozenset[str] = frozenset(),
) -> Written:
    """The body. ``stream_options=False`` leaves that field out, for providers that do not know it; of what a provider
    ``ignores``, a note is made where it is asked for.

    Raises InvalidRequest for media that cannot be said at all: audio at a URL.
    """
    family = family_of(model)
    dropped: list[str] = []
    turns = Turns(family, dropped)
    body: Object = {"model": model, "messages": turns.write(conversation)}
    if stream:
        body["stream"] = True
        if stream_options:
            body["stream_options"] = {"include_usage": True}
    if conversation.max_tokens is not None:
        body[family.limit] = conversation.max_tokens
    if conversation.n != 1:
        body["n"] = conversation.n
    _sampling(conversation, family, body, dropped)
    _tools(conversation, family, body, dropped)
    _format(conversation, body)
    if conversation.reasoning is not None:
        _effort(conversation.reasoning, family, body, dropped)
    if conversation.seed is not None:
        body["seed"] = conversation.seed
    if conversation.user is not None:
        body["user"] = conversation.user
    if conversation.logprobs:  # an answer that is translated has no place for them
        dropped.append("logprobs")
    if conversation.top_logprobs is not None:
        dropped.append("top_logprobs")
    if ignores:
        _ignored(ignores, body, dropped)
    return Written(json_of(body), tuple(dict.fromkeys(dropped)))


def _sampling(conversation: Conversation, family: Family, body: Object, dropped: list[str]) -> None:
    reasoning = conversation.reasoning
    free = family.sampling or (
        reasoning is not None and not reasoning.enabled and family.efforts is not None and "none" in family.efforts
    )
    for name, default in (("temperature", 1.0), ("top_p", 1.0), ("frequency_penalty", 0.0), ("presence_penalty", 0.0)):
        value: float | None = getattr(conversation, name)
        if value is None:
            continue
        if free:
            body[name] = int(value) if value.is_integer() else value
        elif value != default:
            dropped.append(name)
    if conversation.top_k is not None:
        dropped.append("top_k")
    if conversation.stop:
        if family.stop:
            body["stop"] = list(conversation.stop)
        else:
            dropped.append("stop")


def _tools(conversation: Conversation, family: Family, body: Object, dropped: list[str]) -> None:
    """Tools, and how they are chosen, which is refused where there are none."""
    if not conversation.tools:
        return
    body["tools"] = [_tool(tool, family, dropped) for tool in conversation.tools]
    choice = conversation.tool_choice
    if choice is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = named if choice.mode == "tool" else choice.mode
    if conversation.parallel_tool_calls is not None:
        if family.parallel:
            body["parallel_tool_calls"] = conversation.parallel_tool_calls
        elif not conversation.parallel_tool_calls:
            dropped.append("parallel_tool_calls")


def _ignored(ignores: frozenset[str], body: Object, dropped: list[str]) -> None:
    """Fields that a provider may come to know stay in the body. Who may call no tool is best offered none."""
    if "tool_choice" in ignores and body.get("tool_choice") == "none":
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(name, None)
    dropped += [name for name in body if name in ignores and body[name] != "auto"]


def _tool(tool: Tool, family: Family, dropped: list[str]) -> Object:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema, "strict": tool.strict}
    said: Object = {"type": "function", "function": {key: part for key, part in function.items() if part is not None}}
    if tool.cache is not None:
        if family.cache_control:
            said["cache_control"] = cache_control(tool.cache)
        else:
            dropped.append("cache_control")
    return said


def _format(conversation: Conversation, body: Object) -> None:
    wanted = conversation.output_format
    if wanted is None:
        return
    if wanted.schema is None:
        body["response_format"] = {"type": "json_object"}
        return
    told: Object = {"name": wanted.name or "answer", "schema": wanted.schema}
    if wanted.strict is not None:
        told["strict"] = wanted.strict
    body["response_format"] = {"type": "json_schema", "json_schema": told}


def _effort(reasoning: Reasoning, family: Family, body: Object, dropped: list[str]) -> None:
    """``reasoning_effort``: what was asked for, or the nearest that the family has. Not to think is said by leaving it
    out where the model would not think anyway."""
    wanted = reasoning.effort
    if not reasoning.enabled:
        wanted = "none"
    elif wanted is None:
        budget = reasoning.budget_tokens or 0
        wanted = next((effort for most, effort in _EFFORTS if budget <= most), "high")
    if family.efforts is None:
        if wanted == "none":  # few servers know the word
            dropped.append("reasoning_effort")
        else:
            body["reasoning_effort"] = wanted
    elif family.efforts:
        body["reasoning_effort"] = near = _nearest(wanted, family.efforts)
        if near != wanted and wanted == "none":
            dropped.append("reasoning_effort")
    elif wanted != "none":
        dropped.append("reasoning_effort")


def _nearest(wanted: str, efforts: tuple[str, ...]) -> str:
    if wanted in efforts or wanted not in _ORDER:
        return wanted
    at = _ORDER.index(wanted)
    return min(efforts, key=lambda effort: (abs(_ORDER.index(effort) - at), -_ORDER.index(effort)))
