"""Tools of the Responses dialect, as functions that models of every vendor know.

A custom tool takes free text: to others it is a function of one string, ``input``. Tools in a namespace get its name
before theirs. What OpenAI itself runs is not there: what a model can do without is dropped with a note, and a tool
on which the answer rests is refused.
"""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects.body import wrong
from arbstr.dialects.lenient import read_or_none
from arbstr.domain.conversation import Tool, ToolChoice
from arbstr.domain.errors import InvalidRequest

_INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": ["input"],
    "additionalProperties": False,
}
_DISPENSABLE = ("web_search", "image_generation", "tool_search")
"""Beginnings of the types that agents offer by default, and whose absence the model sees: it answers without."""


class Declared(msgspec.Struct, frozen=True):
    """A tool as the caller declared it."""

    name: str
    custom: bool = False
    namespace: str | None = None


class Tools(msgspec.Struct, frozen=True):
    """All tools of a request. ``declared`` has each by the name under which the model knows it."""

    tools: tuple[Tool, ...] = ()
    declared: dict[str, Declared] = {}
    dropped: tuple[str, ...] = ()


def read_tools(value: list[Any] | None) -> Tools:
    """The tools in ``tools``. Raises :class:`InvalidRequest` for those that nobody but OpenAI can run."""
    tools: list[Tool] = []
    declared: dict[str, Declared] = {}
    dropped: dict[str, None] = {}
    for index, item in enumerate(value or ()):
        _read_tool(item, f"tools[{index}]", None, tools, declared, dropped)
    return Tools(tuple(tools), declared, tuple(dropped))


def _read_tool(
    item: Any,
    param: str,
    namespace: str | None,
    tools: list[Tool],
    declared: dict[str, Declared],
    dropped: dict[str, None],
) -> None:
    if type(item) is not dict:
        raise wrong(param, item, "an object")
    kind = item.get("type")
    if type(kind) is not str:
        raise wrong(f"{param}.type", kind, "a string")
    if kind == "namespace" and namespace is None:
        name = _string(item.get("name"), f"{param}.name")
        inner = item.get("tools")
        if type(inner) is not list:
            raise wrong(f"{param}.tools", inner, "a list of tools")
        for index, tool in enumerate(inner):
            _read_tool(tool, f"{param}.tools[{index}]", name, tools, declared, dropped)
    elif kind in ("function", "custom"):
        name = _string(item.get("name"), f"{param}.name")
        known_as = flat_name(name, namespace)
        if known_as in declared:
            raise InvalidRequest(f"{param}.name: there are two tools named {known_as!r}.", param=f"{param}.name")
        declared[known_as] = Declared(name, kind == "custom", namespace)
        tools.append(_custom(item, known_as) if kind == "custom" else _function(item, known_as, param))
    elif kind.startswith(_DISPENSABLE):
        dropped[f"tools.{kind}"] = None
    else:
        raise InvalidRequest(
            f"{param} is of type {kind!r}, which no provider of this model can run; "
            "function and custom tools can be used with every provider.",
            param=f"{param}.type",
        )


def _function(item: dict[str, Any], name: str, param: str) -> Tool:
    schema = item.get("parameters")
    if schema is not None and type(schema) is not dict:
        raise wrong(f"{param}.parameters", schema, "a JSON Schema")
    strict = item.get("strict")
    if strict is not None and type(strict) is not bool:
        raise wrong(f"{param}.strict", strict, "true or false")
    return Tool(name, _description(item), schema, strict)


def _custom(item: dict[str, Any], name: str) -> Tool:
    description = _description(item) or ""
    shape = item.get("format")
    if type(shape) is dict and shape.get("type") == "grammar":
        rules = f"The input must match this {shape.get('syntax')} grammar:\n{shape.get('definition')}"
        description = f"{description}\n\n{rules}" if description else rules
    return Tool(name, description or None, _INPUT)


def read_choice(value: object, tools: Tools) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """The tools that may be called, and how. Raises :class:`InvalidRequest` for a choice that cannot be kept."""
    if value is None:
        return tools.tools, None
    if type(value) is str and value in ("auto", "none", "required"):
        if value == "required" and not tools.tools:
            raise InvalidRequest("tool_choice is required, but no tool can be called.", param="tool_choice")
        return tools.tools, ToolChoice(value) if tools.tools else None
    if type(value) is not dict:
        raise wrong("tool_choice", value, '"auto", "none", "required" or an object')
    if value.get("type") == "allowed_tools":
        return _allowed(value, tools)
    return tools.tools, ToolChoice("tool", _chosen(value, tools, "tool_choice"))


def _allowed(value: dict[str, Any], tools: Tools) -> tuple[tuple[Tool, ...], ToolChoice]:
    mode, allowed = value.get("mode"), value.get("tools")
    if mode not in ("auto", "required"):
        raise wrong("tool_choice.mode", mode, '"auto" or "required"')
    if type(allowed) is not list:
        raise wrong("tool_choice.tools", allowed, "a list of tools")
    names = set()
    for index, item in enumerate(allowed):
        param = f"tool_choice.tools[{index}]"
        if type(item) is not dict:
            raise wrong(param, item, "an object")
        if f"tools.{item.get('type')}" not in tools.dropped:
            names.add(_chosen(item, tools, param))
    left = tuple(tool for tool in tools.tools if tool.name in names)
    if not left:
        raise InvalidRequest("tool_choice allows no tool that can be called.", param="tool_choice.tools")
    return left, ToolChoice(mode)


def _chosen(value: dict[str, Any], tools: Tools, param: str) -> str:
    if value.get("type") not in ("function", "custom"):
        raise InvalidRequest(
            f"{param} asks for a tool of type {value.get('type')!r}, which no provider of this model can run.",
            param=param,
        )
    namespace = value.get("namespace")
    name = flat_name(_string(value.get("name"), f"{param}.name"), namespace if type(namespace) is str else None)
    if name not in tools.declared:
        raise InvalidRequest(f"{param} asks for {name!r}, which is not among the tools.", param=param)
    return name


def flat_name(name: str, namespace: str | None) -> str:
    """The name by which a model of another vendor knows a tool."""
    return name if namespace is None else f"{namespace}__{name}"


def custom_arguments(text: str) -> str:
    """The input of a custom tool, as arguments of its function."""
    return msgspec.json.encode({"input": text}).decode()


def custom_input(arguments: str) -> str:
    """The input of a custom tool in the arguments of its function; the arguments themselves where it is not there."""
    value = read_or_none(arguments.encode("utf-8", "replace"))
    found = value.get("input") if type(value) is dict else None
    return found if type(found) is str else arguments


def _description(item: dict[str, Any]) -> str | None:
    found = item.get("description")
    return found if type(found) is str and found else None


def _string(value: object, param: str) -> str:
    if type(value) is not str or not value:
        raise wrong(param, value, "a string")
    return value
