"""Requests of the Messages API, written from a conversation."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects.anthropic import content, options
from arbstr.dialects.anthropic.models import Family, family_of
from arbstr.dialects.anthropic.schema import closed, open_object
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import Conversation, OutputFormat
from arbstr.domain.errors import InvalidRequest

Object = dict[str, Any]

MOST_USER = 256
"""Characters of ``metadata.user_id``."""

_encode = msgspec.json.Encoder().encode


def write(conversation: Conversation, *, model: str, stream: bool) -> Written:
    """The request for ``model``, in what its family takes. See :class:`~arbstr.dialects.translate.ProviderDialect`."""
    family = family_of(model)
    dropped = _unsayable(conversation)
    system = content.text_blocks(conversation.instructions)
    turns = content.turns(conversation, dropped)
    if not turns:  # instructions alone: they are what is asked
        turns, system = [("user", system)], []
    if not turns[0][1]:
        raise InvalidRequest("messages has no content.", param="messages")
    body: Object = {"model": model, "max_tokens": _max_tokens(conversation, family)}
    config: Object = {}
    emulated = _output_format(conversation.output_format, family, config, system, dropped)
    offered = options.tools(conversation, family, turns, dropped)
    forced = options.forces(conversation.tool_choice) or emulated is not None
    thought, effort = options.thinking(
        conversation.reasoning, family, turns, forced=forced, max_tokens=body["max_tokens"], dropped=dropped
    )
    active = thought is not None and thought["type"] in ("adaptive", "enabled")
    if effort is not None:
        config["effort"] = effort
    content.end_with_user(turns, prefill=family.prefill and not active)
    if system:
        body["system"] = _system(system)
    body["messages"] = [content.message(turn) for turn in turns]
    if offered or emulated is not None:
        _add_tools(body, conversation, family, offered, emulated, dropped)
    if thought is not None:
        body["thinking"] = thought
    if config:
        body["output_config"] = config
    body |= options.sampling(conversation, family, budgeted=active, dropped=dropped)
    stops = [stop for stop in conversation.stop if stop.strip()]
    if stops:
        body["stop_sequences"] = stops
    if conversation.user and len(conversation.user) <= MOST_USER:
        body["metadata"] = {"user_id": conversation.user}
    if stream:
        body["stream"] = True
    content.spare_cache_hints(_hintable(offered, system, turns), dropped)
    return Written(_bytes(body), tuple(dict.fromkeys(dropped)))


def _unsayable(conversation: Conversation) -> list[str]:
    """What the conversation asks for and this API has no word for, by OpenAI's names."""
    asked = {
        "n": conversation.n > 1,
        "seed": conversation.seed is not None,
        "frequency_penalty": bool(conversation.frequency_penalty),
        "presence_penalty": bool(conversation.presence_penalty),
        "logprobs": conversation.logprobs,
        "top_logprobs": bool(conversation.top_logprobs),
        "stop": any(not stop.strip() for stop in conversation.stop),  # white space is refused
        "user": conversation.user is not None and len(conversation.user) > MOST_USER,
    }
    return [name for name, wanted in asked.items() if wanted]


def _max_tokens(conversation: Conversation, family: Family) -> int:
    """The API wants one always. It is an upper bound, so that one beyond the model's own means the model's own."""
    if conversation.max_tokens is None:
        return family.default_output
    return min(conversation.max_tokens, family.max_output or conversation.max_tokens)


def _output_format(
    wanted: OutputFormat | None, family: Family, config: Object, system: list[Object], dropped: list[str]
) -> Object | None:
    """Ask for JSON: by the API's own means, by a tool that takes the answer, or in words. Returns the tool."""
    if wanted is None:
        return None
    if wanted.schema is None:
        _say(system, "Answer with one JSON object and nothing else.")
        dropped.append("response_format")
        return None
    schema = closed(wanted.schema) if family.schemas else None
    if schema is not None:
        config["format"] = {"type": "json_schema", "schema": schema}
        return None
    if family.forced_tools and not family.schemas and open_object(wanted.schema) is wanted.schema:
        return {
            "name": options.JSON_TOOL,
            "description": "Gives the answer. Call it once, with the whole answer, and say nothing else.",
            "input_schema": open_object(wanted.schema),
        }
    said = msgspec.json.encode(wanted.schema).decode()
    _say(system, f"Answer with JSON and nothing else. It must conform to this JSON Schema: {said}")
    dropped.append("response_format")
    return None


def _say(system: list[Object], text: str) -> None:
    system.append({"type": "text", "text": text})


def _add_tools(
    body: Object,
    conversation: Conversation,
    family: Family,
    offered: list[Object],
    emulated: Object | None,
    dropped: list[str],
) -> None:
    if emulated is None:
        body["tools"] = offered
        asked = options.tool_choice(conversation, family, dropped)
        if asked is not None:
            body["tool_choice"] = asked
        return
    body["tools"] = [*offered, emulated]
    callable_ = bool(conversation.tools) and (
        conversation.tool_choice is None or conversation.tool_choice.mode != "none"
    )
    # With tools of the caller's own, any of them or the answer; else the answer.
    body["tool_choice"] = {"type": "any"} if callable_ else {"type": "tool", "name": options.JSON_TOOL}
    if conversation.parallel_tool_calls is False or not callable_:
        body["tool_choice"]["disable_parallel_tool_use"] = True


def _system(blocks: list[Object]) -> str | list[Object]:
    plain = len(blocks) == 1 and "cache_control" not in blocks[0]
    return str(blocks[0]["text"]) if plain else blocks


def _hintable(offered: list[Object], system: list[Object], turns: list[content.Turn]) -> list[Object]:
    """Everything that can carry a cache hint, in the order in which the API reads it."""
    found = [*offered, *system]
    for _, blocks in turns:
        for block in blocks:
            nested = block.get("content")
            if type(nested) is list:
                found += nested
            found.append(block)
    return found


def _bytes(body: Object) -> bytes:
    try:
        return _encode(body)
    except UnicodeEncodeError:  # a lone surrogate, which is no text
        return _encode(_scrubbed(body))


def _scrubbed(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case list() | tuple():
            return [_scrubbed(item) for item in value]
        case dict():
            return {_scrubbed(key): _scrubbed(item) for key, item in value.items()}
        case _:
            return value
