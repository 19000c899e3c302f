"""Requests to Bedrock: ``Converse`` and ``ConverseStream``, which have the same body."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects.anthropic import options as anthropic_options
from arbstr.dialects.anthropic.schema import closed, open_object
from arbstr.dialects.bedrock.blocks import Blocks
from arbstr.dialects.bedrock.models import Family, family_of
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import Conversation, OutputFormat, Reasoning, Tool, ToolChoice
from arbstr.domain.errors import InvalidRequest

_Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode

_UNBOUNDED = 128_000
"""Tokens of the answer, for a budget of thinking where the caller set no bound."""


def write_request(conversation: Conversation, *, model: str, stream: bool) -> Written:
    """The body. Raises InvalidRequest for what this model cannot be told: tools that it does not know, for one."""
    try:
        return _write(conversation, family_of(model), stream=stream)
    except RecursionError:
        raise InvalidRequest("A schema or an argument is nested too deeply.") from None


def _write(conversation: Conversation, family: Family, *, stream: bool) -> Written:
    blocks = Blocks(family)
    dropped = blocks.dropped
    dropped.update(_unsayable(conversation))
    system = _system(conversation, blocks)
    blocks.write(conversation)
    if system and (not family.system or not blocks.turns):
        _prepend(blocks.turns, system)
        system = []
    if not blocks.turns:
        raise InvalidRequest("messages has nothing in it.", param="messages")
    body: _Json = {}
    if system:
        body["system"] = system
    tools = _tool_config(conversation, family, blocks, stream=stream)
    if tools is not None:
        body["toolConfig"] = tools
    extra: _Json = {}
    output: _Json = _output(conversation.output_format, family, dropped)
    inference = _inference(conversation, family, blocks, extra, output)
    if inference:
        body["inferenceConfig"] = inference
    if extra:
        body["additionalModelRequestFields"] = extra
    if output:
        body["outputConfig"] = output
    if conversation.stop and family.claude is not None:
        body["additionalModelResponseFieldPaths"] = ["/stop_sequence"]
    thinks = "thinking" in extra and extra["thinking"]["type"] != "disabled"
    blocks.end_with_user(prefill=family.prefill and not thinks)
    blocks.spare_cache_points()
    return Written(_encode({"messages": blocks.turns, **body}), tuple(sorted(dropped)))


def _unsayable(conversation: Conversation) -> list[str]:
    """What the conversation asks for and Converse has no word for, by OpenAI's names."""
    asked = {
        "n": conversation.n > 1,
        "seed": conversation.seed is not None,
        "frequency_penalty": bool(conversation.frequency_penalty),
        "presence_penalty": bool(conversation.presence_penalty),
        "logprobs": conversation.logprobs,
        "top_logprobs": bool(conversation.top_logprobs),
        "stop": any(not stop.strip() for stop in conversation.stop),  # white space is refused
        "user": conversation.user is not None,
        "parallel_tool_calls": bool(conversation.tools) and conversation.parallel_tool_calls is False,
    }
    return [name for name, wanted in asked.items() if wanted]


def _system(conversation: Conversation, blocks: Blocks) -> list[_Json]:
    return [block for part in conversation.instructions for block in blocks.part(part)]


def _prepend(turns: list[_Json], system: list[_Json]) -> None:
    """The instructions as the beginning of what the user says."""
    if turns and turns[0]["role"] == "user":
        turns[0]["content"] = system + turns[0]["content"]
    else:
        turns.insert(0, {"role": "user", "content": system})


def _tool_config(conversation: Conversation, family: Family, blocks: Blocks, *, stream: bool) -> _Json | None:
    """The tools, and those that the messages speak of where the caller offers none: a call wants its tool."""
    choice = conversation.tool_choice or ToolChoice("auto")
    if choice.mode == "none" and not blocks.tool_names:
        return None
    offered = [entry for tool in conversation.tools for entry in _tool(tool, family, blocks)]
    offered = offered or [{"toolSpec": _spec(name)} for name in blocks.tool_names]
    if not offered:
        return None
    if not family.tools:
        raise InvalidRequest("This model does not know tools.", param="tools")
    if stream and not family.stream_tools:
        raise InvalidRequest("This model does not know tools in a stream.", param="tools")
    config: _Json = {"tools": offered}
    if choice.mode == "none" and conversation.tools:
        blocks.dropped.add("tool_choice")
    elif choice.mode in ("required", "tool"):
        kind = "any" if choice.mode == "required" else "tool"
        if kind in family.forced_tools:
            config["toolChoice"] = {"any": {}} if kind == "any" else {"tool": {"name": choice.name}}
        else:
            blocks.dropped.add("tool_choice")
    return config


def _tool(tool: Tool, family: Family, blocks: Blocks) -> list[_Json]:
    spec = _spec(tool.name, tool.schema)
    if tool.description:
        spec["description"] = tool.description
    if tool.strict:
        strict = closed(spec["inputSchema"]["json"]) if family.structured else None
        if strict is None:
            blocks.dropped.add("strict")
        else:
            spec |= {"inputSchema": {"json": strict}, "strict": True}
    if tool.cache is not None and not family.cache_tools:
        blocks.dropped.add("cache_control")
        return [{"toolSpec": spec}]
    return [{"toolSpec": spec}, *blocks.cache_point(tool.cache)]


def _spec(name: str, schema: _Json | None = None) -> _Json:
    return {"name": name, "inputSchema": {"json": open_object(schema)}}


def _output(wanted: OutputFormat | None, family: Family, dropped: set[str]) -> _Json:
    if wanted is None:
        return {}
    schema = wanted.schema
    if schema is not None and family.claude is not None:
        schema = closed(schema)
    if schema is None or not family.structured:
        dropped.add("response_format")
        return {}
    structure = {"schema": _encode(schema).decode(), "name": wanted.name or "answer"}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": structure}}}


def _inference(conversation: Conversation, family: Family, blocks: Blocks, extra: _Json, output: _Json) -> _Json:
    """``inferenceConfig``; what has no place there goes into ``extra`` or ``output``."""
    config: _Json = {}
    most = conversation.max_tokens
    if most is not None:
        config["maxTokens"] = min(most, family.claude.max_output or most) if family.claude is not None else most
    thinks = _reasoning(conversation, family, blocks, extra, output)
    asked = _sampling(conversation, family, blocks, thinks=thinks)
    if "top_k" in asked:
        _put(extra, family.top_k, asked.pop("top_k"))
    config |= {theirs: asked[ours] for ours, theirs in _NAMES.items() if ours in asked}
    stops = [stop for stop in conversation.stop if stop.strip()]
    if stops:
        config["stopSequences"] = stops
    return config


_NAMES = {"temperature": "temperature", "top_p": "topP"}


def _sampling(conversation: Conversation, family: Family, blocks: Blocks, *, thinks: bool) -> _Json:
    """``temperature``, ``top_p`` and ``top_k``. OpenAI's temperatures go to 2, these to 1."""
    if family.claude is not None:
        dropped: list[str] = []
        asked = anthropic_options.sampling(conversation, family.claude, budgeted=thinks, dropped=dropped)
        blocks.dropped.update(dropped)
        return asked
    asked = {}
    if conversation.temperature is not None:
        asked["temperature"] = min(conversation.temperature, 1.0)
        if conversation.temperature > 1:
            blocks.dropped.add("temperature")
    if conversation.top_p is not None:
        asked["top_p"] = conversation.top_p
    if conversation.top_k is not None and family.top_k:
        asked["top_k"] = conversation.top_k
    elif conversation.top_k is not None:
        blocks.dropped.add("top_k")
    return asked


def _put(extra: _Json, path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        extra = extra.setdefault(name, {})
    extra[path[-1]] = value


def _reasoning(conversation: Conversation, family: Family, blocks: Blocks, extra: _Json, output: _Json) -> bool:
    """Ask for thinking, or for none; returns whether the model thinks, so that sampling must be left alone."""
    reasoning = conversation.reasoning
    if family.claude is not None:
        return _claude_thinking(conversation, family, blocks, extra, output)
    if reasoning is None:
        return False
    wished = reasoning.enabled and reasoning.effort != "none" and reasoning.budget_tokens != 0
    if family.reasoning == "nova":
        extra["reasoningConfig"] = {"type": "enabled" if wished else "disabled"}
        if wished:
            extra["reasoningConfig"]["maxReasoningEffort"] = _effort(reasoning)
    elif family.reasoning == "effort":
        extra["reasoning_effort"] = _effort(reasoning) if wished else "low"
        if not wished:
            blocks.dropped.add("reasoning_effort")
    elif wished:
        blocks.dropped.add("reasoning_effort")
    return False


def _effort(reasoning: Reasoning) -> str:
    if reasoning.effort is None:
        budget = reasoning.budget_tokens or 0
        return "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"
    return {"minimal": "low", "low": "low", "medium": "medium"}.get(reasoning.effort, "high")


_KINDS = {"reasoningContent": "thinking", "toolResult": "tool_result", "toolUse": "tool_use"}


def _claude_thinking(conversation: Conversation, family: Family, blocks: Blocks, extra: _Json, output: _Json) -> bool:
    """As at Anthropic's own API, whose fields are handed through."""
    claude = family.claude
    assert claude is not None
    turns = [
        (turn["role"], [{"type": _KINDS.get(next(iter(block)), "text")} for block in turn["content"]])
        for turn in blocks.turns
    ]
    dropped: list[str] = []
    thinking, effort = anthropic_options.thinking(
        conversation.reasoning,
        claude,
        turns,
        forced=bool(conversation.tools) and anthropic_options.forces(conversation.tool_choice),
        max_tokens=conversation.max_tokens or claude.max_output or _UNBOUNDED,
        dropped=dropped,
    )
    blocks.dropped.update(dropped)
    if thinking is not None:
        extra["thinking"] = thinking
    if effort is not None:
        output["effort"] = effort
    return thinking is not None and thinking["type"] in ("adaptive", "enabled")
