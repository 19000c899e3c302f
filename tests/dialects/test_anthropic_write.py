"""What families of models take, and what no conversation may lead to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.anthropic import PROVIDER
from arbstr.dialects.anthropic.models import COMPATIBLE, FAMILIES, NEWEST, Family, family_of
from arbstr.dialects.anthropic.schema import closed
from arbstr.domain.conversation import (
    CacheHint,
    Conversation,
    Media,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from arbstr.domain.errors import InvalidRequest

HELLO = Conversation((), (Message(Role.USER, (Text("hello"),)),))


def body(conversation: Conversation, model: str = "claude-sonnet-4-5", *, stream: bool = False) -> dict[str, Any]:
    found = json.loads(PROVIDER.write(conversation, model=model, stream=stream).body)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("claude-3-opus-20240229", "claude-3"),
        ("claude-3.5-haiku", "claude-3-5"),
        ("claude-3-5-sonnet-latest", "claude-3-5"),
        ("anthropic/claude-3.7-sonnet:thinking", "claude-3-7-sonnet"),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude-3-7-sonnet"),
        ("claude-sonnet-4-0", "claude-sonnet-4"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("anthropic.claude-opus-4-20250514-v1:0", "claude-opus-4"),
        ("claude-opus-4-1-20250805", "claude-opus-4-1"),
        ("anthropic/claude-opus-4.5", "claude-opus-4-5"),
        ("claude-4.5-haiku", "claude-haiku-4-5"),
        ("claude-4-sonnet", "claude-sonnet-4"),
        ("CLAUDE-HAIKU-4-5-20251001", "claude-haiku-4-5"),
        ("claude-opus-4-6", "claude-opus-4-6"),
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("global.anthropic.claude-opus-5-v1", "claude-opus-5"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("claude-sonnet-5-5", "claude-sonnet-5-5"),
        ("claude-haiku-5-5", "claude-haiku-5-5"),
        ("claude-fable-5-2", "claude-fable-5"),
    ],
)
def test_a_model_belongs_to_its_family_by_any_of_its_names(model: str, name: str) -> None:
    """As Anthropic, AWS, Google and OpenRouter spell them."""
    assert family_of(model) is FAMILIES[name]


@pytest.mark.parametrize("model", ["claude-opus-4-9", "claude-sonnet-6", "claude-opus-5-7", "claude", "my-claude"])
def test_a_claude_that_is_not_known_is_taken_for_a_new_one(model: str) -> None:
    """New ones take less: what is left out is noted, where what is too much would be refused."""
    assert family_of(model) == NEWEST


def test_other_models_behind_this_api_are_taken_as_they_were_made() -> None:
    """They imitate what the API was."""
    assert family_of("deepseek-chat") is family_of("kimi-k2") is COMPATIBLE


@pytest.mark.parametrize(("name", "family"), FAMILIES.items())
def test_the_table_makes_sense(name: str, family: Family) -> None:
    """A default within the cap, modes that exist, and nothing that contradicts itself."""
    assert 0 < family.default_output <= family.max_output
    assert set(family.thinking) <= {"adaptive", "enabled", "disabled", "between_tools"}
    assert family.sampling in ("both", "one", "none")
    assert not family.thinks or "adaptive" in family.thinking
    assert not family.forced_tools or not family.thinks or "disabled" in family.thinking
    assert family_of(name) is family


def test_a_stream_is_asked_for() -> None:
    """By the field, which is absent otherwise."""
    assert body(HELLO, stream=True)["stream"] is True
    assert "stream" not in body(HELLO)


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", data="UklGRg==", media_type="audio/wav"),
        Media("image"),
        Media("document", data="UEsD", media_type="application/msword"),
        Media("document", data="?", media_type="text/plain"),
    ],
)
def test_what_cannot_be_shown_is_refused(part: Part) -> None:
    """Left out, the question would be another one."""
    with pytest.raises(InvalidRequest):
        PROVIDER.write(Conversation((), (Message(Role.USER, (part,)),)), model="claude-sonnet-4-5", stream=False)


def test_a_picture_by_the_assistant_is_refused() -> None:
    """The API has no place for it."""
    with pytest.raises(InvalidRequest, match="assistant"):
        PROVIDER.write(
            Conversation((), (Message(Role.ASSISTANT, (Media("image", url="u"),)),)), model="m", stream=False
        )


@pytest.mark.parametrize("messages", [(), (Message(Role.USER, (Text(" "),)),)])
def test_a_conversation_without_a_word_is_refused(messages: tuple[Message, ...]) -> None:
    """There is nothing that could be sent."""
    with pytest.raises(InvalidRequest, match="no content"):
        PROVIDER.write(Conversation((), messages), model="m", stream=False)


def test_half_a_character_is_sent_as_a_mark() -> None:
    """It could not be encoded."""
    asked = Message(Role.USER, (Text("a\ud83d"), Refusal("b\ud83d")))
    called = Message(Role.ASSISTANT, (ToolCall("c", "f", '{"a":"\ud83d"}'),))
    conversation = Conversation((), (asked, called))

    said = body(conversation)["messages"]

    assert [block["text"] for block in said[0]["content"]] == ["a?", "b?"]
    assert said[1]["content"][0]["input"] == {"a": "?"}


LEAF = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {"type": "string", "format": "uri-reference"},
            {"type": "string", "description": '{"format":"uri-reference"}'},
        ),
        (
            {"type": "array", "items": {"type": "null"}, "minItems": 1},
            {"type": "array", "items": {"type": "null"}, "minItems": 1},
        ),
        (
            {"type": "array", "items": {"const": 1}, "minItems": 2},
            {"type": "array", "items": {"const": 1}, "description": '{"minItems":2}'},
        ),
        ({"oneOf": [{"type": "null"}, {"enum": [1]}]}, {"anyOf": [{"type": "null"}, {"enum": [1]}]}),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}},
            {
                "$ref": "#/$defs/a",
                "$defs": {
                    "a": {"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": False}
                },
            },
        ),
        ({"type": "object", "properties": {}, "additionalProperties": True}, None),
        ({"type": "object", "patternProperties": {"^a": {}}, "additionalProperties": False}, None),
        ({"type": "object", "properties": {"a": {}}}, None),
        ({"type": "object", "properties": {"a": True}}, None),
        ({"type": "object", "properties": []}, None),
        ({"type": "object"}, None),
        ({}, None),
    ],
)
def test_schemas_are_closed_or_not_said_at_all(schema: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """Limits move into the description, where the model reads them."""
    assert closed(schema) == expected


def test_a_schema_that_goes_on_for_ever_is_not_said() -> None:
    """It would be refused, and is told in words."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        schema = {"type": "array", "items": schema}

    assert closed(schema) is None


TEXTS = st.sampled_from(["", " ", "hello", "ü\u2028", "\ud83d"])
HINTS = st.none() | st.builds(CacheHint, st.sampled_from([None, "5m", "1h"]))
PLAIN = st.builds(Text, TEXTS, HINTS) | st.builds(Media, st.just("image"), url=st.just("u"), cache=HINTS)
IDS = st.sampled_from(["a", "b:c", "ü" * 40])
PARTS = {
    Role.USER: PLAIN
    | st.builds(ToolResult, IDS, st.lists(PLAIN, max_size=2).map(tuple), is_error=st.booleans(), cache=HINTS),
    Role.ASSISTANT: st.builds(Text, TEXTS, HINTS)
    | st.builds(Refusal, TEXTS)
    | st.builds(ToolCall, IDS, st.just("f"), st.sampled_from(["", "{}", "[", '{"a":1e400}']), cache=HINTS)
    | st.builds(Thinking, TEXTS, st.sampled_from([None, "E1", "gemini#x", "openai:x"]), st.sampled_from([None, "E2"])),
}
MESSAGES = st.sampled_from(list(Role)).flatmap(
    lambda role: st.builds(Message, st.just(role), st.lists(PARTS[role], max_size=4).map(tuple))
)
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}}
CONVERSATIONS = st.builds(
    Conversation,
    st.lists(st.builds(Text, TEXTS, HINTS), max_size=2).map(tuple),
    st.lists(MESSAGES, max_size=5).map(tuple),
    tools=st.sampled_from([(), (Tool("f", "d", OBJECT, True, CacheHint()),), (Tool("f", None, None),)]),
    tool_choice=st.sampled_from([None, *map(ToolChoice, ["auto", "none", "required"]), ToolChoice("tool", "f")]),
    parallel_tool_calls=st.sampled_from([None, True, False]),
    max_tokens=st.sampled_from([None, 1, 1025, 5000, 10**6]),
    temperature=st.sampled_from([None, 0.0, 1.0, 2.0]),
    top_p=st.sampled_from([None, 0.5, 0.99, 1.0]),
    top_k=st.sampled_from([None, 5]),
    output_format=st.sampled_from([None, OutputFormat(), OutputFormat(OBJECT), OutputFormat({"type": "array"})]),
    reasoning=st.sampled_from(
        [
            None,
            Reasoning(enabled=False),
            Reasoning(budget_tokens=10**6),
            *(Reasoning(effort=effort) for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "odd")),
        ]
    ),
)


@given(CONVERSATIONS, st.sampled_from([*FAMILIES, "deepseek-chat"]))
def test_every_request_is_one_that_its_family_takes(conversation: Conversation, model: str) -> None:
    """Whatever was asked for: the documented reasons for a 400 do not occur."""
    family = family_of(model)
    try:
        written = PROVIDER.write(conversation, model=model, stream=False)
    except InvalidRequest:
        assert not any(part.text.strip() for part in conversation.instructions)
        return

    sent = json.loads(written.body, parse_float=str)

    thinking = sent.get("thinking", {}).get("type")
    thinks = thinking in ("enabled", "adaptive") or (thinking is None and family.thinks)
    assert 1 <= sent["max_tokens"] <= (family.max_output or 10**6)
    assert thinking is None or thinking in family.thinking
    assert sent.get("output_config", {}).get("effort", "low") in (*family.efforts, "low")
    assert family.efforts or "effort" not in sent.get("output_config", {})
    assert family.schemas or "format" not in sent.get("output_config", {})
    if thinking == "enabled":
        assert 1024 <= sent["thinking"]["budget_tokens"] < sent["max_tokens"]
    sampled = sent.keys() & {"temperature", "top_p", "top_k"}
    assert not sampled or family.sampling != "none"
    assert not thinks or sampled <= {"top_p"}
    assert family.sampling == "both" or not {"temperature", "top_p"} <= sampled
    choice = sent.get("tool_choice", {"type": "auto"})["type"]
    assert choice in ("auto", "none") or (family.forced_tools and not thinks)
    assert "tool_choice" not in sent or sent["tools"]
    check_messages(sent["messages"], family)
    assert written.body.count(b'"cache_control"') <= 4
    assert len(set(written.dropped)) == len(written.dropped)


def check_messages(messages: list[dict[str, Any]], family: Family) -> None:
    """Turns alternate from the user's on, nothing is empty, results come first, and the last is to be answered."""
    roles = [message["role"] for message in messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    for message in messages:
        content = message["content"]
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kinds = [block["type"] for block in content]
        assert kinds
        assert all(block["text"].strip() for block in content if block["type"] == "text")
        assert kinds == sorted(kinds, key=lambda kind: kind != "tool_result") or message["role"] == "assistant"
        assert all(set(block["id"]) <= IDENTIFIER for block in content if block["type"] == "tool_use")
    if roles[-1] == "assistant":
        last = messages[-1]["content"]
        called = isinstance(last, list) and any(block["type"] == "tool_use" for block in last)
        assert called or family.prefill


IDENTIFIER = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
