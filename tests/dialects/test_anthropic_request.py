"""What callers of the Messages API send: checked, sent on, and read."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.anthropic import CALLER, count_answer, count_tokens, parse_count, read_models
from arbstr.dialects.sizes import IMAGE_BYTES
from arbstr.domain.conversation import CacheHint, Conversation, Reasoning, Text, Thinking
from arbstr.domain.errors import InvalidRequest

THOUGHT = {"type": "thinking", "thinking": ""}


def body(**fields: Any) -> bytes:
    whole = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}], **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def blocks(*content: Any, role: str = "user") -> list[Any]:
    return [{"role": role, "content": list(content)}]


def read(**fields: Any) -> Conversation:
    return CALLER.read(CALLER.parse(body(**fields)))


def test_what_the_gateway_reads() -> None:
    """Model, stream, the bound of the output, and the last user's text; all else stays in the fields."""
    request = CALLER.parse(
        body(
            messages=[
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "ok"},
                {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "text", "text": "third"}]},
                {"role": "assistant", "content": "("},
            ],
            stream=True,
            temperature=0.5,
        )
    )

    assert (request.model, request.stream, request.max_tokens, request.n) == ("m", True, 9, 1)
    assert request.last_user_text == "second\nthird"
    assert request.include_usage
    assert request.dialect == "anthropic"
    assert bytes(request.fields["temperature"]) == b"0.5"


def test_text_counts_by_its_bytes_and_pictures_by_a_size_of_their_own() -> None:
    """So that the estimate of a request with a picture is not that of a book."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}}
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "üü"}, image]}
    book = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 400_000}}
    note = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}}
    both = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "abc"}]}}

    def size(*content: Any) -> int:
        return CALLER.parse(body(messages=blocks(*content))).input_bytes - len("user")

    assert size({"type": "text", "text": "hällo"}) == 6
    assert size(image) == IMAGE_BYTES
    assert size(nested) == 4 + IMAGE_BYTES
    assert size({"type": "tool_result", "tool_use_id": "t", "content": "abc"}) == 3
    assert size({"type": "tool_result", "tool_use_id": "t"}) == 0
    assert size(book) == 100_000
    assert (size(note), size(both)) == (3, 3)
    assert size({"type": "tool_use", "id": "t", "name": "f", "input": {}}) == len('"tool_use""t""f"{}')
    assert size({"type": "image", "source": "?"}) == size({"type": "text"}) == 0


def test_tokens_are_counted_by_an_estimate() -> None:
    """Four bytes each, of the system's text, the messages and the tools; and never none."""
    raw = body(max_tokens=..., system="x" * 100, tools=[{"name": "f", "input_schema": {"type": "object"}}])

    request = parse_count(raw)

    assert count_tokens(request) == -(-request.input_bytes // 4) > 25
    assert json.loads(count_answer(request)) == {"input_tokens": count_tokens(request)}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ...}, "model"),
        ({"model": 5}, "model"),
        ({"max_tokens": ...}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"messages": ...}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": blocks("x")}, "messages[0].content[0]"),
        ({"messages": blocks({"text": "x"})}, "messages[0].content[0].type"),
        ({"messages": blocks({"type": 5})}, "messages[0].content[0].type"),
        ({"system": 5}, "system"),
        ({"system": [5]}, "system[0]"),
        ({"tools": {}}, "tools"),
        ({"tools": ["f"]}, "tools"),
    ],
)
def test_what_is_wrong_is_refused_by_its_place(fields: dict[str, Any], param: str) -> None:
    """With what was found, and what is expected."""
    with pytest.raises(InvalidRequest) as caught:
        CALLER.parse(body(**fields))

    assert caught.value.param == param
    assert param in caught.value.message


def test_too_many_messages_are_refused() -> None:
    """As Anthropic refuses them."""
    with pytest.raises(InvalidRequest, match="100,001"):
        CALLER.parse(body(messages=[{"role": "user", "content": "x"}] * 100_001))


def test_nothing_is_wanted_of_an_answer_but_a_warm_cache() -> None:
    """``max_tokens`` may be 0 in this dialect; elsewhere, the least is one."""
    request = CALLER.parse(body(max_tokens=0))

    assert request.max_tokens == 0
    assert CALLER.read(request).max_tokens == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"system": [{"type": "image", "source": {"type": "url", "url": "u"}}]}, "system"),
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_k": 0}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences"),
        ({"metadata": "me"}, "metadata"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "f", "input_schema": "x"}]}, "tools[0].input_schema"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": ["any"]}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": "hard"}, "thinking"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format"),
        ({"messages": blocks({"type": "text"})}, "messages[0].content[0].text"),
        ({"messages": blocks({"type": "image"})}, "messages[0].content[0].source"),
        ({"messages": blocks({"type": "image", "source": {"type": "x"}})}, "messages[0].content[0].source.type"),
        (
            {"messages": blocks({"type": "image", "source": {"type": "file", "file_id": "f"}})},
            "messages[0].content[0].source",
        ),
        (
            {"messages": blocks({"type": "tool_use", "id": "t", "name": "f", "input": 5})},
            "messages[0].content[0].input",
        ),
        ({"messages": blocks({"type": "tool_use", "id": "t", "input": {}})}, "messages[0].content[0].name"),
        ({"messages": blocks({"type": "tool_result", "content": "x"})}, "messages[0].content[0].tool_use_id"),
        (
            {"messages": blocks({"type": "tool_result", "tool_use_id": "t", "content": 5})},
            "messages[0].content[0].content",
        ),
        ({"messages": blocks({"type": "tool_result", "tool_use_id": "t", "content": ["x"]})}, "messages"),
        (
            {
                "messages": blocks(
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "thinking", "thinking": ""}]}
                )
            },
            "messages[0].content[0].content",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_when_it_is_translated(fields: dict[str, Any], param: str) -> None:
    """A provider of the same dialect may see more in it; for another one there is nothing to send."""
    request = CALLER.parse(body(**fields))

    with pytest.raises(InvalidRequest) as caught:
        CALLER.read(request)

    assert caught.value.param == param


def test_a_lone_surrogate_is_read_as_a_mark_and_sent_as_it_came() -> None:
    """It is no text, but callers' strings have it."""
    request = CALLER.parse(body(messages=[{"role": "user", "content": "x \ud83d"}], metadata={"user_id": "\ud83d"}))

    conversation = CALLER.read(request)

    assert conversation.messages[0].parts == (Text("x \ufffd"),)
    assert conversation.user == "\ufffd"
    assert rb'"x \ud83d"' in CALLER.encode_same(request, model="m")


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({}, None),
        ({"thinking": {"type": "adaptive"}}, Reasoning(effort="medium")),
        ({"thinking": {"type": "between_tools"}}, Reasoning(enabled=False)),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning(budget_tokens=2000)),
        ({"output_config": {"effort": "max"}}, Reasoning(effort="xhigh")),
    ],
)
def test_how_much_to_think(fields: dict[str, Any], reasoning: Reasoning | None) -> None:
    """In OpenAI's words for it, where there are any."""
    assert read(**fields).reasoning == reasoning


def test_hints_for_the_cache_are_kept() -> None:
    """On text, results and tools, with their time to live."""
    hint = {"type": "ephemeral", "ttl": "1h"}
    found = read(
        system=[{"type": "text", "text": "s", "cache_control": hint}],
        tools=[{"name": "f", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}],
        messages=blocks({"type": "text", "text": "x", "cache_control": hint}),
    )

    assert found.instructions[0].cache == CacheHint("1h")
    assert found.tools[0].cache == CacheHint(None)
    assert found.messages[0].parts == (Text("x", CacheHint("1h")),)


def test_a_name_that_could_not_be_a_header_is_not_noted() -> None:
    """Names of dropped fields go into a header of the answer."""
    found = read(**{"evil\r\nname": 1, "fine": 2}, tools=[{"type": "web_fetch\n", "name": "x"}])

    assert found.dropped == ("fine", "tools")


def test_thoughts_of_other_vendors_are_not_sent_to_anthropic() -> None:
    """They refuse a thought that they did not sign; of one's own, nothing is lost."""
    own = {"type": "thinking", "thinking": "b", "signature": "EqQB"}
    foreign = [
        {"type": "thinking", "thinking": "a", "signature": ""},
        {"type": "thinking", "thinking": "a", "signature": "gemini#abc"},
        {"type": "redacted_thinking", "data": "openai:rs_1:abc"},
    ]
    said = {"type": "text", "text": '"signature":""'}
    raw = body(
        messages=[
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [*foreign, own, said]},
            {"role": "assistant", "content": foreign},
            {"role": "user", "content": []},
        ]
    )

    sent = json.loads(CALLER.encode_same(CALLER.parse(raw), model="upstream"))

    assert [message["content"] for message in sent["messages"]] == ["x", [own, said], []]


def test_thoughts_are_read_with_their_proofs() -> None:
    """To be given back to whoever made them."""
    found = read(
        messages=[
            {"role": "user", "content": "x"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "a", "signature": "EqQB"},
                    {"type": "thinking", "thinking": "b"},
                    {"type": "redacted_thinking", "data": "EmwK"},
                ],
            },
        ]
    )

    assert found.messages[1].parts == (Thinking("a", "EqQB"), Thinking("b"), Thinking("", redacted="EmwK"))


def test_names_of_what_was_dropped_are_at_most_a_few() -> None:
    """A header has no room for a thousand."""
    assert len(read(**{f"field_{number}": 1 for number in range(1000)}).dropped) == 32


def test_models_are_listed_without_the_retired() -> None:
    """By their ids."""
    listed = [
        {"type": "model", "id": "claude-opus-5-5", "display_name": "Claude Opus 5.5", "lifecycle": "active"},
        {"type": "model", "id": "claude-sonnet-4-5", "lifecycle": "deprecated"},
        {"type": "model", "id": "claude-3-opus-20240229", "lifecycle": "retired"},
        {"type": "model", "id": "older-answer"},
        {"id": 5},
        "odd",
    ]

    found = read_models(json.dumps({"data": listed, "has_more": False}).encode())

    assert found == ["claude-opus-5-5", "claude-sonnet-4-5", "older-answer"]


@pytest.mark.parametrize("answer", [b"", b"[]", b"<html>", b'{"data": {}}'])
def test_what_is_no_list_of_models_is_told(answer: bytes) -> None:
    """By a ValueError."""
    with pytest.raises(ValueError):
        read_models(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["text", "image", "tool_result"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "source", "content", "input", "id", "name", "tool_use_id", "data", "url"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["system", "tools", "tool_choice", "thinking", "output_config", "messages"]), JSON)
)
def test_nothing_but_a_refusal_comes_of_nonsense(fields: dict[str, Any]) -> None:
    """A body either is a request with a meaning, or the caller's mistake."""
    with contextlib.suppress(InvalidRequest):
        request = CALLER.parse(body(**fields))
        CALLER.encode_same(request, model="m")
        CALLER.read(request)
