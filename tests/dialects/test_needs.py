"""What a request needs of a model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arbstr.dialects.callers import caller_dialect
from arbstr.dialects.needs import needs_of
from arbstr.domain.request import Needs

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
MESSAGES: dict[str, Any] = {**CHAT, "max_tokens": 9}
RESPONSES: dict[str, Any] = {"input": "hello"}
SCHEMA = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "f"}}


def needs(dialect: str, body: dict[str, Any]) -> Needs:
    return needs_of(caller_dialect(dialect).parse(json.dumps({"model": "m", **body}).encode()))


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai", CHAT),
        ("openai", {**CHAT, "response_format": {"type": "text"}, "tools": None, "reasoning_effort": "none"}),
        ("anthropic", {**MESSAGES, "thinking": {"type": "disabled"}}),
        ("anthropic", {**MESSAGES, "output_config": {"effort": "high"}}),
        ("responses", {**RESPONSES, "text": {"verbosity": "low"}}),
        ("responses", {**RESPONSES, "text": {"verbosity": "low", "format": {"type": "text"}}}),
        ("responses", {**RESPONSES, "reasoning": {"effort": "none"}, "tools": []}),
        ("responses", {**RESPONSES, "reasoning": {"effort": None, "summary": None}}),
        ("openai", {"messages": [{"role": "user", "content": 'what is {"type": "image_url"}?'}]}),
    ],
)
def test_a_plain_request_needs_nothing(dialect: str, body: dict[str, Any]) -> None:
    """What is switched off, or only says how to write, keeps no model away."""
    assert needs(dialect, body) == Needs()


@pytest.mark.parametrize(
    ("dialect", "body", "needed"),
    [
        ("openai", {**CHAT, "tools": [FUNCTION]}, "tools"),
        ("openai", {**CHAT, "functions": [{"name": "f"}]}, "tools"),
        ("openai", {**CHAT, "response_format": {"type": "json_object"}}, "json"),
        ("openai", {**CHAT, "reasoning_effort": "low"}, "reasoning"),
        ("anthropic", {**MESSAGES, "output_config": {"format": {"type": "json_schema", "schema": {}}}}, "json"),
        ("anthropic", {**MESSAGES, "thinking": {"type": "enabled", "budget_tokens": 1024}}, "reasoning"),
        ("responses", {**RESPONSES, "text": {"format": SCHEMA, "verbosity": "low"}}, "json"),
        ("responses", {**RESPONSES, "reasoning": {"effort": "high"}}, "reasoning"),
        (
            "responses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://a.example/x"}]}]},
            "vision",
        ),
    ],
)
def test_each_need_is_seen_in_each_dialect(dialect: str, body: dict[str, Any], needed: str) -> None:
    """And no other one."""
    assert needs(dialect, body) == Needs(**{needed: True})
