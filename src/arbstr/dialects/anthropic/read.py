"""Requests of the Messages API, read into a conversation.

What only Anthropic's own servers could do with a request (their tools, containers, files) is noted as dropped; a
reference to a file that only they have is refused, for without it the question is another one.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from arbstr.dialects import body, lenient
from arbstr.dialects.anthropic.blocks import cache_hint, objects_of, parts_of, texts_of
from arbstr.domain.conversation import (
    Conversation,
    Message,
    OutputFormat,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolChoice,
)
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest

Object = dict[str, Any]

_READ = frozenset(
    {
        "model",
        "max_tokens",
        "messages",
        "system",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
        "metadata",
    }
)
"""Fields that have a meaning here. All others are noted as dropped."""

_CUSTOM = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_IDLE = {"service_tier": "auto", "speed": "standard"}
"""Fields whose default asks for nothing."""

MOST_DROPPED = 32
"""Names that are noted: they go into a header."""

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_MODES = {"auto": "auto", "any": "required", "tool": "tool", "none": "none"}


def read(request: ChatRequest) -> Conversation:
    """What was asked for. Raises :class:`InvalidRequest` for content that has no meaning."""
    fields = {key: _value(raw) for key, raw in request.fields.items() if key != "messages"}
    dropped = [
        key
        for key, value in fields.items()
        if key not in _READ and value is not None and _IDLE.get(key) != value and _NAME.fullmatch(key)
    ]
    instructions, messages = _messages(request.fields["messages"], dropped)
    choice = _tool_choice(fields.get("tool_choice"))
    config = _object(fields.get("output_config"), "output_config")
    return Conversation(
        instructions=(*texts_of(fields.get("system"), "system", dropped), *instructions),
        messages=messages,
        tools=_tools(fields.get("tools"), dropped),
        tool_choice=choice[0],
        parallel_tool_calls=choice[1],
        max_tokens=None if request.max_tokens is None else max(1, request.max_tokens),
        temperature=_number(fields.get("temperature"), "temperature"),
        top_p=_number(fields.get("top_p"), "top_p"),
        top_k=body.integer(fields.get("top_k"), "top_k", body.MAX_TOKENS),
        stop=_strings(fields.get("stop_sequences"), "stop_sequences"),
        output_format=_output_format(config.get("format") or fields.get("output_format")),
        reasoning=_reasoning(_object(fields.get("thinking"), "thinking"), config.get("effort")),
        user=lenient.text(_object(fields.get("metadata"), "metadata").get("user_id")),
        dropped=tuple(dict.fromkeys(dropped))[:MOST_DROPPED],
    )


def _messages(raw: msgspec.Raw, dropped: list[str]) -> tuple[list[Text], tuple[Message, ...]]:
    """The instructions among the messages, and the messages themselves."""
    instructions: list[Text] = []
    messages: list[Message] = []
    for index, (role, content) in enumerate(objects_of(raw)):
        param = f"messages[{index}].content"
        if role == "system":
            instructions += texts_of(content, param, dropped)
        else:
            messages.append(Message(Role(role), tuple(parts_of(content, param, dropped))))
    return instructions, tuple(messages)


def _tools(tools: Any, dropped: list[str]) -> tuple[Tool, ...]:
    found: list[Tool] = []
    for index, tool in enumerate(tools or ()):
        kind = tool.get("type")
        if kind not in (None, "custom"):  # a tool of Anthropic's own: nobody else knows it
            dropped.append(f"tools.{kind}" if type(kind) is str and _NAME.fullmatch(kind) else "tools")
            continue
        name = lenient.text(tool.get("name"))
        if name is None:
            raise body.wrong(f"tools[{index}].name", tool.get("name"), "the name of a tool")
        dropped += [f"tools.{key}" for key in tool if key not in _CUSTOM and _NAME.fullmatch(key)]
        schema = tool.get("input_schema")
        if schema is not None and type(schema) is not dict:
            raise body.wrong(f"tools[{index}].input_schema", schema, "a JSON Schema")
        strict = tool.get("strict")
        found.append(
            Tool(
                name=name,
                description=lenient.text(tool.get("description")),
                schema=schema,
                strict=strict if type(strict) is bool else None,
                cache=cache_hint(tool),
            )
        )
    return tuple(found)


def _tool_choice(value: Any) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether several calls at once are welcome."""
    choice = _object(value, "tool_choice")
    if not choice:
        return None, None
    mode = _MODES.get(choice["type"]) if type(choice.get("type")) is str else None
    if mode is None:
        raise body.wrong("tool_choice.type", choice.get("type"), '"auto", "any", "tool" or "none"')
    name = lenient.text(choice.get("name")) if mode == "tool" else None
    if mode == "tool" and name is None:
        raise body.wrong("tool_choice.name", choice.get("name"), "the name of a tool")
    parallel = False if choice.get("disable_parallel_tool_use") is True else None
    return ToolChoice(mode, name), parallel


def _output_format(value: Any) -> OutputFormat | None:
    wanted = _object(value, "output_config.format")
    if not wanted:
        return None
    schema = wanted.get("schema")
    if wanted.get("type") != "json_schema" or type(schema) is not dict:
        raise body.wrong("output_config.format", wanted, 'an object of type "json_schema" with a schema')
    return OutputFormat(schema=schema, strict=True)


def _reasoning(thinking: Object, effort: Any) -> Reasoning | None:
    effort = lenient.text(effort)
    effort = "xhigh" if effort == "max" else effort
    match thinking.get("type"):
        case None:
            return Reasoning(effort=effort) if effort else None
        case "enabled":
            budget = body.integer(thinking.get("budget_tokens"), "thinking.budget_tokens", body.MAX_TOKENS)
            if budget is None:
                raise body.wrong("thinking.budget_tokens", None, "a number of tokens")
            return Reasoning(effort=effort, budget_tokens=budget)
        case "adaptive":
            return Reasoning(effort=effort or "medium")
        case "disabled" | "between_tools":
            return Reasoning(enabled=False)
        case other:
            raise body.wrong("thinking.type", other, '"enabled", "adaptive", "between_tools" or "disabled"')


def _value(raw: msgspec.Raw) -> Any:
    try:
        return lenient.read(bytes(raw))
    except ValueError as error:
        raise InvalidRequest(body.TOO_DEEP) from error


def _object(value: Any, param: str) -> Object:
    if value is None:
        return {}
    if type(value) is not dict:
        raise body.wrong(param, value, "an object")
    return value


def _number(value: Any, param: str) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise body.wrong(param, value, "a number from 0 to 1")
    return float(value)


def _strings(value: Any, param: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if type(value) is not list or any(type(item) is not str for item in value):
        raise body.wrong(param, value, "a list of strings")
    return tuple(value)
