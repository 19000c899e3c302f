"""How an answer is asked for: thinking, sampling and tools, as far as a family of models takes them together.

Thinking comes first, because it decides what else may be said: with it, a tool cannot be forced, and up to Claude 4.6
only the default temperature is taken. Who forces a tool gets it, without thinking.
"""

from __future__ import annotations

from typing import Any

from arbstr.dialects.anthropic.content import Turn, cache_control
from arbstr.dialects.anthropic.models import Family
from arbstr.dialects.anthropic.schema import closed, open_object
from arbstr.domain.conversation import Conversation, Reasoning, Tool, ToolChoice

Object = dict[str, Any]

JSON_TOOL = "arbstr_json_answer"
"""The tool whose arguments are the answer, for families without structured output. A decoder reads its call as text."""

LEAST_BUDGET = 1024
"""Tokens of thinking, below which a budget is refused."""

_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 65_536}
"""The budget for an effort, where only budgets are known."""

_EFFORTS = ((2048, "low"), (8192, "medium"), (24_576, "high"))
"""The effort for a budget of up to so many tokens, where only efforts are known; above, ``xhigh``."""


_NOTHING: Object = {"type": "object", "properties": {}, "additionalProperties": False}
"""The arguments of a tool that takes none."""


def thinking(
    reasoning: Reasoning | None, family: Family, found: list[Turn], *, forced: bool, max_tokens: int, dropped: list[str]
) -> tuple[Object | None, str | None]:
    """``thinking`` and ``output_config.effort``. What cannot be asked for is noted."""
    wished = reasoning is not None and reasoning.enabled and reasoning.effort != "none"
    if forced and family.forced_tools:
        if wished:
            dropped.append("reasoning_effort")
        return _off(family), None
    if reasoning is None:
        return None, None
    if not wished:
        if family.thinks and _off(family) is None:  # it always thinks; less is as near as it gets
            dropped.append("reasoning_effort")
            return None, family.efforts[0] if family.efforts else None
        return _off(family), None
    if "adaptive" in family.thinking and (reasoning.budget_tokens is None or "enabled" not in family.thinking):
        asked: Object = {"type": "adaptive"}
        if family.hides_thinking:
            asked["display"] = "summarized"
        return asked, _effort(reasoning, family)
    budget = _budget(reasoning, max_tokens) if "enabled" in family.thinking else None
    if budget is None or _calls_without_thinking(found):
        dropped.append("reasoning_effort")
        return None, None
    return {"type": "enabled", "budget_tokens": budget}, _effort(reasoning, family) if reasoning.effort else None


def _off(family: Family) -> Object | None:
    if not family.thinks:
        return None
    return next(({"type": kind} for kind in ("disabled", "between_tools") if kind in family.thinking), None)


def _effort(reasoning: Reasoning, family: Family) -> str | None:
    """The nearest effort that the family knows."""
    if not family.efforts:
        return None
    wanted = reasoning.effort
    if wanted is None:
        budget = reasoning.budget_tokens or 0
        wanted = next((effort for most, effort in _EFFORTS if budget <= most), "xhigh")
    if wanted == "minimal":
        wanted = "low"
    return wanted if wanted in family.efforts else "high"


def _budget(reasoning: Reasoning, max_tokens: int) -> int | None:
    """Tokens to think with, at most four fifths of the answer's; None where there is no room for any."""
    budget = reasoning.budget_tokens or _BUDGETS.get(reasoning.effort or "medium", _BUDGETS["medium"])
    budget = max(LEAST_BUDGET, min(budget, max_tokens * 4 // 5))
    return budget if budget < max_tokens else None


def _calls_without_thinking(found: list[Turn]) -> bool:
    """The model is in the middle of its tool calls and its thoughts before them were not given back: then a budget
    is refused."""
    assistant = next((blocks for role, blocks in reversed(found) if role == "assistant"), [])
    last = found[-1][1]
    answered = found[-1][0] == "user" and any(block["type"] == "tool_result" for block in last)
    return answered and bool(assistant) and assistant[0]["type"] not in ("thinking", "redacted_thinking")


def sampling(conversation: Conversation, family: Family, *, budgeted: bool, dropped: list[str]) -> Object:
    """``temperature``, ``top_p`` and ``top_k``. OpenAI's temperatures go to 2, these to 1."""
    asked: Object = {}
    temperature, top_p, top_k = conversation.temperature, conversation.top_p, conversation.top_k
    free = family.sampling != "none" and not budgeted
    if temperature is not None and temperature != 1:
        if free:
            asked["temperature"] = min(temperature, 1.0)
        if not free or temperature > 1:
            dropped.append("temperature")
    if top_p is not None and top_p < 1:
        alone = "temperature" not in asked or family.sampling == "both"
        if family.sampling != "none" and alone and (free or top_p >= 0.95):
            asked["top_p"] = top_p
        else:
            dropped.append("top_p")
    if top_k is not None:
        if free:
            asked["top_k"] = top_k
        else:
            dropped.append("top_k")
    return asked


def tools(conversation: Conversation, family: Family, found: list[Turn], dropped: list[str]) -> list[Object]:
    """The tools, and those that the messages speak of where the caller offers none: a call wants its tool."""
    if conversation.tools:
        return [_tool(tool, family, dropped) for tool in conversation.tools]
    called = {block["name"]: None for _, blocks in found for block in blocks if block["type"] == "tool_use"}
    return [{"name": name, "input_schema": open_object(None)} for name in called]


def _tool(tool: Tool, family: Family, dropped: list[str]) -> Object:
    schema = open_object(tool.schema)
    written: Object = {"name": tool.name, "input_schema": schema}
    if tool.description:
        written["description"] = tool.description
    if tool.strict:
        strict = closed(schema if tool.schema else _NOTHING) if family.schemas else None
        if strict is None:
            dropped.append("strict")
        else:
            written |= {"input_schema": strict, "strict": True}
    if tool.cache is not None:
        written["cache_control"] = cache_control(tool.cache)
    return written


def tool_choice(conversation: Conversation, family: Family, dropped: list[str]) -> Object | None:
    """Which of the caller's tools must be called, may be, or not; only to be asked where there are tools."""
    if not conversation.tools:
        return {"type": "none"}
    choice = conversation.tool_choice or ToolChoice("auto")
    if forces(choice) and not family.forced_tools:
        dropped.append("tool_choice")
        choice = ToolChoice("auto")
    if choice.mode == "none":
        return {"type": "none"}
    asked: Object = {"type": "any" if choice.mode == "required" else choice.mode}
    if choice.mode == "tool":
        asked["name"] = choice.name
    if conversation.parallel_tool_calls is False:
        asked["disable_parallel_tool_use"] = True
    return asked if len(asked) > 1 or asked["type"] != "auto" or conversation.tool_choice is not None else None


def forces(choice: ToolChoice | None) -> bool:
    return choice is not None and choice.mode in ("required", "tool")
