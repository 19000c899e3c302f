"""What an OpenAI chat caller asks for, in no vendor's words."""

from __future__ import annotations

from typing import Any

from arbstr.dialects import lenient
from arbstr.dialects.body import wrong
from arbstr.dialects.chat.fields import Fields, value_of
from arbstr.dialects.chat.messages import Dialogue
from arbstr.dialects.chat.parts import Object, cache_of
from arbstr.domain.conversation import Conversation, OutputFormat, Reasoning, Tool, ToolChoice
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest

MAX_TOOLS = 4096


def read_chat(request: ChatRequest) -> Conversation:
    """The conversation. Raises :class:`InvalidRequest` for content without a meaning, and for what only a provider of
    the caller's own dialect can serve: uploaded files, custom and built-in tools."""
    fields = Fields(request.fields)
    fields.ignore("model", "stream", "stream_options", "messages", "max_tokens", "max_completion_tokens", "n")
    dialogue = Dialogue().read(value_of(request.fields["messages"]))
    for name in dialogue.dropped:
        fields.drop(name)
    legacy = is_legacy(request)
    tools = _functions(fields) if legacy else _tools(fields)
    choice = _function_choice(fields) if legacy else fields.value("tool_choice")
    tools, tool_choice = _tool_choice(choice, tools)
    fields.ignore("functions", "function_call", "tools", "tool_choice")
    user, safety = fields.text("user"), fields.text("safety_identifier")
    parallel = fields.truth("parallel_tool_calls")
    return Conversation(
        instructions=tuple(dialogue.instructions),
        messages=tuple(dialogue.messages),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=False if legacy else parallel,  # a function_call is one
        max_tokens=request.max_tokens,
        n=request.n,
        top_k=fields.whole_number("top_k"),
        output_format=_output_format(fields.value("response_format")),
        reasoning=_reasoning(fields),
        user=safety or user,
        **sampling(fields),
        logprobs=fields.truth("logprobs") or False,
        top_logprobs=fields.whole_number("top_logprobs"),
        dropped=fields.dropped(),
    )


def sampling(fields: Fields) -> dict[str, Any]:
    """The fields that completions of text share, by the names that a conversation has for them."""
    return {
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "stop": fields.texts("stop"),
        "seed": fields.whole_number("seed"),
        "frequency_penalty": fields.number("frequency_penalty"),
        "presence_penalty": fields.number("presence_penalty"),
    }


def is_legacy(request: ChatRequest) -> bool:
    """Whether the caller offers ``functions``, which ``tools`` replaced, and is to be answered alike."""
    return "functions" in request.fields and "tools" not in request.fields


def _tools(fields: Fields) -> tuple[Tool, ...]:
    tools = []
    for index, tool in enumerate(_list(fields, "tools")):
        at = f"tools[{index}]"
        if type(tool) is not dict:
            raise wrong(at, tool, "an object")
        kind = tool.get("type", "function")
        if kind != "function":
            if type(kind) is not str or len(kind) > 64:
                raise wrong(f"{at}.type", kind, "function")
            raise InvalidRequest(
                f"{at} has the type {kind!r}; this model's provider knows functions only.", param=f"{at}.type"
            )
        tools.append(_function(tool.get("function"), f"{at}.function", tool))
    return tuple(tools)


def _functions(fields: Fields) -> tuple[Tool, ...]:
    functions = enumerate(_list(fields, "functions"))
    return tuple(_function(function, f"functions[{index}]", {}) for index, function in functions)


def _list(fields: Fields, name: str) -> list[Any]:
    found: list[Any] = fields.typed(name, list, "a list") or []
    if len(found) > MAX_TOOLS:
        raise InvalidRequest(f"{name} has {len(found):,} entries; at most {MAX_TOOLS:,}.", param=name)
    return found


def _function(function: Any, at: str, tool: Object) -> Tool:
    if type(function) is not dict:
        raise wrong(at, function, "an object")
    name, description = function.get("name"), function.get("description")
    schema, strict = function.get("parameters"), function.get("strict")
    if type(name) is not str or not name:
        raise wrong(f"{at}.name", name, "the name of the function")
    if description is not None and type(description) is not str:
        raise wrong(f"{at}.description", description, "a string")
    if schema is not None and type(schema) is not dict:
        raise wrong(f"{at}.parameters", schema, "a JSON Schema")
    if strict is not None and type(strict) is not bool:
        raise wrong(f"{at}.strict", strict, "true or false")
    return Tool(name, description, schema, strict, cache_of(tool) or cache_of(function))


def _function_choice(fields: Fields) -> Any:
    """``function_call`` as the ``tool_choice`` that it became."""
    choice = fields.value("function_call")
    return {"type": "function", "function": choice} if type(choice) is dict else choice


def _tool_choice(choice: Any, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """The choice, and the tools that it leaves."""
    match choice:
        case None:
            return tools, None
        case "auto" | "none" | "required":
            return tools, ToolChoice(choice)
        case "any":  # Mistral's word
            return tools, ToolChoice("required")
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function", "name": str(name)} if name:
            return tools, ToolChoice("tool", name)
        case {"type": "allowed_tools", "allowed_tools": dict(allowed)}:
            return _allowed(allowed, tools)
        case {"type": "auto" | "none" | "required" as mode}:
            return tools, ToolChoice(mode)
        case {"type": str(kind)} if kind != "function" and len(kind) <= 64:
            raise InvalidRequest(f"tool_choice has the type {kind!r}, which is not known.", param="tool_choice.type")
    raise wrong("tool_choice", choice, "auto, none, required, or an object that names a function")


def _allowed(allowed: Object, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice]:
    mode, listed = allowed.get("mode"), allowed.get("tools")
    if mode not in ("auto", "required"):
        raise wrong("tool_choice.allowed_tools.mode", mode, "auto or required")
    if type(listed) is not list or not listed:
        raise wrong("tool_choice.allowed_tools.tools", listed, "a list of tools")
    names = set()
    for index, item in enumerate(listed):
        match item:
            case {"function": {"name": str(name)}} | {"type": "function", "name": str(name)}:
                names.add(name)
            case _:
                raise wrong(f"tool_choice.allowed_tools.tools[{index}]", item, "an object that names a function")
    return tuple(tool for tool in tools if tool.name in names), ToolChoice(mode)


def _output_format(found: Any) -> OutputFormat | None:
    match found:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return OutputFormat()
        case {"type": "json_schema", "json_schema": dict(told)}:
            name, schema, strict = told.get("name"), told.get("schema"), told.get("strict")
            if name is not None and type(name) is not str:
                raise wrong("response_format.json_schema.name", name, "a string")
            if schema is not None and type(schema) is not dict:
                raise wrong("response_format.json_schema.schema", schema, "a JSON Schema")
            if strict is not None and type(strict) is not bool:
                raise wrong("response_format.json_schema.strict", strict, "true or false")
            return OutputFormat(schema, name, strict)
    at = "response_format.type" if type(found) is dict else "response_format"
    raise wrong(at, found.get("type") if type(found) is dict else found, "text, json_object or json_schema")


def _reasoning(fields: Fields) -> Reasoning | None:
    """OpenAI's ``reasoning_effort``, OpenRouter's ``reasoning`` or LiteLLM's ``thinking``: the first that is there."""
    effort = fields.text("reasoning_effort")
    open_router = fields.typed("reasoning", dict, "an object")
    thinking = fields.typed("thinking", dict, "an object")
    if effort:
        return _by_effort(effort)
    if open_router:
        effort, budget = lenient.text(open_router.get("effort")), _tokens(open_router.get("max_tokens"))
        if open_router.get("enabled") is False or effort == "none":
            return Reasoning(effort="none", enabled=False)
        if effort or budget:
            return Reasoning(effort=effort, budget_tokens=budget)
        return Reasoning(effort="medium") if open_router.get("enabled") is True else None
    if thinking:
        if thinking.get("type") == "disabled":
            return Reasoning(effort="none", enabled=False)
        budget = _tokens(thinking.get("budget_tokens"))
        return Reasoning(budget_tokens=budget) if budget else Reasoning(effort="medium")
    return None


def _by_effort(effort: str) -> Reasoning:
    if len(effort) > 32:
        raise wrong("reasoning_effort", effort, "none, minimal, low, medium, high or xhigh")
    return Reasoning(effort=effort, enabled=effort != "none")


def _tokens(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 2**31 else None
