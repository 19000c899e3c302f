"""Requests to Gemini: ``generateContent`` and ``streamGenerateContent``, as of API version v1beta."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects.gemini.models import Generation, generation_of
from arbstr.dialects.gemini.parts import Contents
from arbstr.dialects.gemini.schema import gemini_schema
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import Conversation, OutputFormat, Reasoning, Tool, ToolChoice
from arbstr.domain.errors import InvalidRequest

MOST_STOPS = 5
_SEED = 2**31
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}
"""Tokens to think with, by effort: Google's own table for its OpenAI endpoint."""
_LEAST_BUDGET = 128

_encode = msgspec.json.Encoder().encode
_Json = dict[str, Any]


def write_request(conversation: Conversation, *, model: str) -> Written:
    """The body; whether it is streamed is in the path alone. Raises InvalidRequest for what cannot be said."""
    try:
        return _write(conversation, generation_of(model))
    except RecursionError:
        raise InvalidRequest("A schema or an argument is nested too deeply.") from None


def _write(conversation: Conversation, generation: Generation) -> Written:
    contents = Contents(generation)
    contents.write(conversation)
    dropped = contents.dropped
    system = [{"text": part.text} for part in conversation.instructions if part.text]
    if any(part.cache for part in conversation.instructions):
        dropped.add("cache_control")
    body: _Json = {}
    if system and (not generation.system or not contents.turns):
        contents.turns = _before(contents.turns, system)
    elif system:
        body["systemInstruction"] = {"parts": system}
    if not contents.turns:
        raise InvalidRequest("messages has nothing in it.", param="messages")
    body["contents"] = contents.turns
    if conversation.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool, dropped) for tool in conversation.tools]}]
        if conversation.tool_choice is not None:
            body["toolConfig"] = {"functionCallingConfig": _choice(conversation.tool_choice)}
        if conversation.parallel_tool_calls is False:
            dropped.add("parallel_tool_calls")
    config = _config(conversation, generation, dropped)
    if config:
        body["generationConfig"] = config
    return Written(_encode(body), tuple(sorted(dropped)))


def _before(turns: list[_Json], system: list[_Json]) -> list[_Json]:
    """The instructions as the beginning of what the user says."""
    if turns and turns[0]["role"] == "user":
        return [{"role": "user", "parts": system + turns[0]["parts"]}, *turns[1:]]
    return [{"role": "user", "parts": system}, *turns]


def _declaration(tool: Tool, dropped: set[str]) -> _Json:
    written: _Json = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    if tool.schema and (tool.schema.get("properties") or "$ref" in tool.schema):
        keywords: set[str] = set()
        written["parametersJsonSchema"] = gemini_schema(tool.schema, keywords)
        dropped.update(f"tools.parameters.{keyword}" for keyword in keywords)
    if tool.strict:
        dropped.add("strict")
    if tool.cache is not None:
        dropped.add("cache_control")
    return written


def _choice(choice: ToolChoice) -> _Json:
    match choice.mode:
        case "none":
            return {"mode": "NONE"}
        case "required":
            return {"mode": "ANY"}
        case "tool":
            return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
        case _:
            return {"mode": "AUTO"}


def _config(conversation: Conversation, generation: Generation, dropped: set[str]) -> _Json:
    values: _Json = {
        "maxOutputTokens": conversation.max_tokens,
        "temperature": conversation.temperature,
        "topP": conversation.top_p,
        "topK": conversation.top_k,
        "stopSequences": list(conversation.stop[:MOST_STOPS]) or None,
        "candidateCount": conversation.n if conversation.n > 1 else None,
    }
    if len(conversation.stop) > MOST_STOPS:
        dropped.add("stop")
    if conversation.seed is not None:
        if -_SEED <= conversation.seed < _SEED:
            values["seed"] = conversation.seed
        else:
            dropped.add("seed")
    for name, theirs, value in (
        ("presence_penalty", "presencePenalty", conversation.presence_penalty),
        ("frequency_penalty", "frequencyPenalty", conversation.frequency_penalty),
    ):
        if value and generation.penalties:
            values[theirs] = value
        elif value:
            dropped.add(name)
    # They could be asked for, but events have no place for the answer.
    dropped.update(name for name in ("logprobs", "top_logprobs") if getattr(conversation, name))
    if conversation.user is not None:
        dropped.add("user")
    if conversation.output_format is not None:
        if conversation.tools and not generation.json_with_tools:
            dropped.add("response_format")
        else:
            values |= _format(conversation.output_format, dropped)
    if conversation.reasoning is not None:
        values["thinkingConfig"] = _thinking(conversation.reasoning, generation, dropped)
    return {name: value for name, value in values.items() if value is not None}


def _format(output: OutputFormat, dropped: set[str]) -> _Json:
    values: _Json = {"responseMimeType": "application/json"}
    if output.schema is not None:
        keywords: set[str] = set()
        values["responseJsonSchema"] = gemini_schema(output.schema, keywords)
        dropped.update(f"response_format.{keyword}" for keyword in keywords)
    return values


def _thinking(reasoning: Reasoning, generation: Generation, dropped: set[str]) -> _Json | None:
    off = not reasoning.enabled or reasoning.effort == "none" or reasoning.budget_tokens == 0
    if generation.thinking == "none":
        if not off:
            dropped.add("reasoning_effort")
        return None
    if off:
        if generation.can_stop_thinking:
            return {"thinkingBudget": 0}
        dropped.add("reasoning_effort")  # the least there is, which is not nothing
        if generation.thinking == "budget":
            return {"thinkingBudget": _LEAST_BUDGET}
        return {"thinkingLevel": generation.minimal_level}
    if reasoning.budget_tokens is not None:
        return {"thinkingBudget": reasoning.budget_tokens, "includeThoughts": True}
    effort = reasoning.effort or "medium"
    if generation.thinking == "budget":
        return {"thinkingBudget": _BUDGETS.get(effort, _BUDGETS["medium"]), "includeThoughts": True}
    level = {"minimal": generation.minimal_level, "xhigh": "high"}.get(effort, effort)
    return {"thinkingLevel": level, "includeThoughts": True}
