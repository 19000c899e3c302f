from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import ResponseInputItemParam
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import TypeAdapter

from arbstr.dialects.responses import ResponsesProvider
from arbstr.dialects.translate import ProviderDialect
from arbstr.domain.conversation import (
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

PROVIDER: ProviderDialect = ResponsesProvider()
HELLO = Message(Role.USER, (Text("hello"),))


def written(*messages: Message, **fields: Any) -> dict[str, Any]:
    body = PROVIDER.write(Conversation((), messages or (HELLO,), **fields), model="m", stream=False).body
    found = json.loads(body)
    assert isinstance(found, dict)
    return found


def items(role: Role, *parts: Part) -> list[Any]:
    found = written(Message(role, parts))["input"]
    assert isinstance(found, list)
    return found


def dropped(**fields: Any) -> tuple[str, ...]:
    return PROVIDER.write(Conversation((), (HELLO,), **fields), model="m", stream=True).dropped


def test_the_least_request() -> None:
    """Nothing is stored with the vendor, and what was not asked for is not sent."""
    item = {"type": "message", "role": "user", "content": "hello"}

    assert written() == {"model": "m", "input": [item], "store": False}


def test_a_stream_is_asked_for() -> None:
    """Usage comes with the last event; nothing needs to be asked for."""
    body = PROVIDER.write(Conversation((Text("A"), Text("B")), (HELLO,)), model="m", stream=True).body

    assert json.loads(body)["stream"] is True
    assert json.loads(body)["instructions"] == "A\n\nB"


def test_parts_keep_their_order() -> None:
    """Calls, results and reasoning are items between the messages, where they stood."""
    found = items(
        Role.ASSISTANT,
        Thinking("why", signature="openai:rs_1:gAAA"),
        Text("a"),
        Text("b"),
        ToolCall("call_1", "f", ""),
        Text("c"),
    )

    assert found == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "why"}],
            "encrypted_content": "gAAA",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "message", "role": "assistant", "content": "c"},
    ]


def test_reasoning_of_other_vendors_stays_away() -> None:
    """They could not read it, and would refuse the request for it."""
    foreign = (Thinking("open"), Thinking("x", signature="EqQB"), Thinking("", redacted="gemini#AAAA"), Text("a"))

    found = PROVIDER.write(Conversation((), (Message(Role.ASSISTANT, foreign),)), model="m", stream=False)

    assert json.loads(found.body)["input"] == [{"type": "message", "role": "assistant", "content": "a"}]
    assert found.dropped == ("reasoning_content",)


def test_the_sdk_knows_what_is_written() -> None:
    """Every field and item is one of the vendor's own types."""
    media = (Text("see"), Media("image", data="iVBORw0KGgo="), Media("document", data="JVBERi0="))
    conversation = Conversation(
        instructions=(Text("Be brief."),),
        messages=(
            Message(Role.USER, media),
            Message(Role.ASSISTANT, (Thinking("why", "openai:rs_1:gA"), Text("a"), ToolCall("c", "f", "{}"))),
            Message(Role.USER, (ToolResult("c", media), Text("go on"))),
        ),
        tools=(Tool("f", "F.", {"type": "object"}),),
        tool_choice=ToolChoice("required"),
        max_tokens=100,
        temperature=0.5,
        output_format=OutputFormat({"type": "object"}, "day", True),
        reasoning=Reasoning(budget_tokens=4000),
        user="u",
    )

    body = json.loads(PROVIDER.write(conversation, model="m", stream=False).body)

    assert body.keys() <= ResponseCreateParamsBase.__annotations__.keys()
    TypeAdapter(ResponseCreateParamsBase).validate_python(body)
    for item in body["input"]:
        TypeAdapter(ResponseInputItemParam).validate_python(item)


def test_reasoning_without_a_summary_comes_back_encrypted() -> None:
    """What the caller never saw is given back as it was."""
    [item] = items(Role.ASSISTANT, Thinking("", redacted="openai:rs_1:gA:AA"))

    assert item == {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA:AA"}


def test_results_of_tools() -> None:
    """Text is a string, an image makes it a list, and a failure says that it is one."""
    picture = Media("image", data="iVBORw0KGgo=")
    found = items(
        Role.USER,
        ToolResult("c1", (Text("a"), Text("b"))),
        ToolResult("c2", (Text("a"), picture)),
        ToolResult("c3", (Text("broken"),), is_error=True),
        ToolResult("c4", (picture,), is_error=True),
        ToolResult("c5", ()),
        Text("go on"),
    )

    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}
    assert [item.get("output") for item in found] == [
        "a\nb",
        [{"type": "input_text", "text": "a"}, image],
        "Error: broken",
        [{"type": "input_text", "text": "Error:"}, image],
        "",
        None,
    ]


def test_media() -> None:
    """Images, documents and audio in the vendor's forms; a document without a name gets one."""
    [message] = items(
        Role.USER,
        Media("image", url="https://example.org/a.png", detail="low"),
        Media("document", data="JVBERi0=", name="a.pdf"),
        Media("document", data="YQ==", media_type="text/plain"),
        Media("document", url="https://example.org/a.pdf"),
        Media("audio", data="SUQz", media_type="audio/mpeg"),
    )

    assert message["content"] == [
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        {"type": "input_file", "filename": "document.txt", "file_data": "data:text/plain;base64,YQ=="},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
    ]


def test_audio_at_a_url_cannot_be_told() -> None:
    """There is no form for it."""
    with pytest.raises(InvalidRequest):
        written(Message(Role.USER, (Media("audio", url="https://example.org/a.wav"),)))


def test_refusals_are_given_back_as_such() -> None:
    """A refusal is not a text that the model once said."""
    [message] = items(Role.ASSISTANT, Refusal("No."))

    assert message["content"] == [{"type": "refusal", "refusal": "No."}]


def test_functions_are_strict_only_where_it_was_said() -> None:
    """Here strict is what a function is that says nothing."""
    tools = (Tool("f", None, None), Tool("g", "G.", {"type": "object"}, True))

    found = written(tools=tools, tool_choice=ToolChoice("tool", "g"), parallel_tool_calls=False)

    assert found["tools"] == [
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "function", "name": "g", "description": "G.", "parameters": {"type": "object"}, "strict": True},
    ]
    assert found["tool_choice"] == {"type": "function", "name": "g"}
    assert found["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("shape", "written_as"),
    [
        (OutputFormat(), {"type": "json_object"}),
        (OutputFormat({"a": 1}), {"type": "json_schema", "name": "output", "schema": {"a": 1}}),
        (
            OutputFormat({}, "day", True),
            {"type": "json_schema", "name": "day", "schema": {}, "strict": True},
        ),
    ],
)
def test_structured_output(shape: OutputFormat, written_as: dict[str, Any]) -> None:
    """A schema must have a name here."""
    assert written(output_format=shape)["text"] == {"format": written_as}


@pytest.mark.parametrize(
    ("wish", "reasoning"),
    [
        (Reasoning(effort="high"), {"effort": "high"}),
        (Reasoning(budget_tokens=1024), {"effort": "low", "summary": "auto"}),
        (Reasoning(budget_tokens=8192), {"effort": "medium", "summary": "auto"}),
        (Reasoning(budget_tokens=32000), {"effort": "high", "summary": "auto"}),
        (Reasoning(effort="low", budget_tokens=32000), {"effort": "low", "summary": "auto"}),
    ],
)
def test_reasoning_comes_encrypted(wish: Reasoning, reasoning: dict[str, Any]) -> None:
    """So that it can be given back in the next turn; its summary is asked for where the caller shows reasoning."""
    found = written(reasoning=wish)

    assert found["reasoning"] == reasoning
    assert found["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize(
    ("wish", "reasoning"),
    [(Reasoning(enabled=False), None), (Reasoning(effort="none", enabled=False), {"effort": "none"})],
)
def test_no_reasoning(wish: Reasoning, reasoning: Any) -> None:
    """Older models do not know the effort ``none``: it is sent to those only whose caller said it."""
    found = written(reasoning=wish)

    assert found.get("reasoning") == reasoning
    assert "include" not in found


def test_what_this_dialect_cannot_say_is_noted() -> None:
    """By OpenAI's names of the fields, each only where it asks for something."""
    assert dropped(top_k=4, seed=1, stop=("END",), logprobs=True, top_logprobs=2, frequency_penalty=0.0) == (
        "top_k",
        "seed",
        "stop",
        "logprobs",
        "top_logprobs",
    )
    assert dropped(temperature=0.0, top_p=1.0, user="u", max_tokens=16, n=1) == ()


def test_names_of_speakers_and_pictures_of_the_assistant_are_noted() -> None:
    """There is no place for either."""
    messages = (
        Message(Role.USER, (Text("hello"),), name="Ann"),
        Message(Role.ASSISTANT, (Media("image", data="AAAA"), Text("see"))),
    )

    found = PROVIDER.write(Conversation((), messages), model="m", stream=False)

    assert found.dropped == ("name", "messages.content")
    assert json.loads(found.body)["input"][1]["content"] == "see"


def test_fewer_tokens_than_the_vendor_allows_are_raised_with_a_note() -> None:
    """It would refuse the request otherwise."""
    assert written(max_tokens=1)["max_output_tokens"] == 16
    assert dropped(max_tokens=1) == ("max_tokens",)


def test_several_choices_cannot_be_had() -> None:
    """One answer to a request for two would be silently wrong."""
    with pytest.raises(InvalidRequest) as caught:
        written(n=2)

    assert caught.value.param == "n"
