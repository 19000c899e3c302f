"""A request in the Responses dialect, read into a conversation, for providers of other dialects."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.body import TOO_DEEP, wrong
from arbstr.dialects.responses.items import read_items
from arbstr.dialects.responses.tools import read_choice, read_tools
from arbstr.domain.conversation import Conversation, OutputFormat, Reasoning, Text
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest

_READ = frozenset(
    {
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "temperature",
        "top_p",
        "text",
        "reasoning",
        "user",
        "safety_identifier",
        "include",
        "prompt",
        "service_tier",
        "truncation",
        "top_logprobs",
    }
)
_SILENT = _READ | {
    "model",
    "stream",
    "stream_options",
    "store",
    "metadata",
    "max_output_tokens",
    "background",
    "previous_response_id",
    "conversation",
    "client_metadata",
}
"""Fields that are read, or that change nothing in the answer of another vendor. All others are noted as dropped."""
_USUAL = {"service_tier": ("auto", "default"), "truncation": ("disabled",), "top_logprobs": (0,)}
"""Values that ask for nothing; with any other, the field is noted as dropped."""
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_MOST_NAMES = 32
_NULL = msgspec.Raw(b"null")


def read_conversation(request: ChatRequest) -> Conversation:
    """What ``request`` asks for. Raises :class:`InvalidRequest` for what only OpenAI's own servers could answer."""
    fields = {key: _value(raw) for key, raw in request.fields.items() if key in _READ}
    if fields.get("prompt") is not None:
        raise InvalidRequest(
            "prompt names a template that is stored with OpenAI; send its text in instructions and input.",
            param="prompt",
        )
    tools = read_tools(fields.get("tools"))
    items = read_items(fields.get("input"))
    callable_tools, choice = read_choice(fields.get("tool_choice"), tools)
    output_format, verbosity = _text(fields.get("text"))
    instructions = fields.get("instructions")
    dropped = [key for key, raw in request.fields.items() if key not in _SILENT and raw != _NULL]
    dropped += [key for key, usual in _USUAL.items() if fields.get(key) not in (None, *usual)]
    include = fields.get("include")
    if type(include) is list and "message.output_text.logprobs" in include:
        dropped.append("include")
    return Conversation(
        instructions=((Text(instructions),) if instructions else ()) + items.instructions,
        messages=items.messages,
        tools=callable_tools,
        tool_choice=choice,
        parallel_tool_calls=_boolean(fields.get("parallel_tool_calls"), "parallel_tool_calls"),
        max_tokens=request.max_tokens,
        temperature=_number(fields.get("temperature"), "temperature"),
        top_p=_number(fields.get("top_p"), "top_p"),
        output_format=output_format,
        reasoning=_reasoning(fields.get("reasoning")),
        user=lenient.text(fields.get("safety_identifier")) or lenient.text(fields.get("user")),
        dropped=_names([*dropped, *verbosity, *tools.dropped, *items.dropped]),
    )


def _names(dropped: list[str]) -> tuple[str, ...]:
    """Each name once, and at most so many; a caller's own that is not fit for a header is ``?``."""
    return tuple(dict.fromkeys(name if _NAME.fullmatch(name) else "?" for name in dropped))[:_MOST_NAMES]


def _value(raw: msgspec.Raw) -> Any:
    try:
        return lenient.read(bytes(raw))
    except ValueError:  # it was read before; so the call stack is deeper here
        raise InvalidRequest(TOO_DEEP) from None


def _text(value: object) -> tuple[OutputFormat | None, tuple[str, ...]]:
    """The shape of the output, and what is dropped of ``text``."""
    if value is None:
        return None, ()
    if type(value) is not dict:
        raise wrong("text", value, "an object")
    dropped = ("text.verbosity",) if value.get("verbosity") not in (None, "medium") else ()
    shape = value.get("format")
    if shape is None:
        return None, dropped
    if type(shape) is not dict:
        raise wrong("text.format", shape, "an object")
    match shape.get("type"):
        case "text":
            return None, dropped
        case "json_object":
            return OutputFormat(), dropped
        case "json_schema":
            schema, strict = shape.get("schema"), shape.get("strict")
            if type(schema) is not dict:
                raise wrong("text.format.schema", schema, "a JSON Schema")
            strict = _boolean(strict, "text.format.strict")
            return OutputFormat(schema, lenient.text(shape.get("name")), strict), dropped
        case other:
            raise wrong("text.format.type", other, '"text", "json_object" or "json_schema"')


def _reasoning(value: object) -> Reasoning | None:
    if value is None:
        return None
    if type(value) is not dict:
        raise wrong("reasoning", value, "an object")
    effort = value.get("effort")
    if effort is None:
        return None
    if type(effort) is not str:
        raise wrong("reasoning.effort", effort, "a string")
    return Reasoning(effort=effort, enabled=effort != "none")


def _boolean(value: object, param: str) -> bool | None:
    if value is None or type(value) is bool:
        return value
    raise wrong(param, value, "true or false")


def _number(value: object, param: str) -> float | None:
    if value is None:
        return None
    if type(value) is int or type(value) is float:
        return value
    raise wrong(param, value, "a number")
