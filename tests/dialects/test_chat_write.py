from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from arbstr.dialects.chat import OLLAMA_IGNORES, ChatProvider
from arbstr.dialects.translate import Written
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
from arbstr.domain.errors import FailureKind, InvalidRequest

PROVIDER = ChatProvider()
PLAIN = Conversation(instructions=(), messages=(Message(Role.USER, (Text("Hi"),)),))


def write(conversation: Conversation, *, model: str = "m", stream: bool = False) -> Written:
    return PROVIDER.write(conversation, model=model, stream=stream)


def body(*, model: str = "m", **fields: Any) -> dict[str, Any]:
    return dict(json.loads(write(msgspec.structs.replace(PLAIN, **fields), model=model).body))


def dropped(*, model: str = "m", **fields: Any) -> tuple[str, ...]:
    return write(msgspec.structs.replace(PLAIN, **fields), model=model).dropped


def messages(role: Role, *parts: Part, model: str = "m") -> list[Any]:
    return list(body(model=model, messages=(Message(role, parts),))["messages"])


def test_a_stream_asks_for_its_usage() -> None:
    """Unless the provider is known to refuse the field."""
    assert json.loads(write(PLAIN, stream=True).body)["stream_options"] == {"include_usage": True}
    without = ChatProvider(stream_options=False).write(PLAIN, model="m", stream=True).body
    assert json.loads(without) == {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def test_text_is_one_string() -> None:
    """Which every server and every chat template takes."""
    instructions = (Text("Be brief."), Text("Be kind."))

    assert body(instructions=instructions)["messages"][0] == {"role": "system", "content": "Be brief.\n\nBe kind."}
    assert messages(Role.USER, Text("a"), Text("b")) == [{"role": "user", "content": "a\nb"}]
    assert messages(Role.ASSISTANT, Text("a"), Text("b")) == [{"role": "assistant", "content": "ab"}]


def test_results_come_before_what_the_user_says() -> None:
    """They must follow their calls. What they show is in the user's message, for theirs may have text alone."""
    picture = Media("image", data="AAAA", media_type="image/png")
    results = (ToolResult("a", (Text("1"), Text("2"))), ToolResult("b", (picture,)), ToolResult("c", ()))

    found = messages(Role.USER, Text("So?"), *results)

    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert found == [
        {"role": "tool", "tool_call_id": "a", "content": "1\n2"},
        {"role": "tool", "tool_call_id": "b", "content": "The result is attached to the next message."},
        {"role": "tool", "tool_call_id": "c", "content": ""},
        {"role": "user", "content": [shown, {"type": "text", "text": "So?"}]},
    ]


def test_an_error_of_a_tool_is_said_in_words() -> None:
    """There is no other way; once is enough."""
    found = messages(
        Role.USER,
        ToolResult("a", (Text("no file"),), is_error=True),
        ToolResult("b", (Text("Error: no file"),), is_error=True),
    )

    assert [message["content"] for message in found] == ["Error: no file", "Error: no file"]


def test_long_ids_are_cut_alike() -> None:
    """OpenAI refuses more than 40 characters; call and result must still find each other."""
    id = "toolu_" + "x" * 60

    (call,) = messages(Role.ASSISTANT, ToolCall(id, "f", ""))
    (result,) = messages(Role.USER, ToolResult(id, (Text("1"),)))

    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert len(result["tool_call_id"]) <= 40
    assert call["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (
            Media("image", url="https://x.example/a", detail="low"),
            {"type": "image_url", "image_url": {"url": "https://x.example/a", "detail": "low"}},
        ),
        (
            Media("document", data="JVBERi0"),
            {
                "type": "file",
                "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0"},
            },
        ),
        (
            Media("document", url="https://x.example/a.pdf", name="a.pdf"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://x.example/a.pdf"}},
        ),
        (Media("document", data="w6k=", media_type="text/plain"), {"type": "text", "text": "é"}),
        (
            Media("audio", data="AA", media_type="audio/x-wav"),
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        ),
        (
            Media("audio", data="AA", media_type="audio/flac"),
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "flac"}},
        ),
    ],
)
def test_media(media: Media, expected: dict[str, Any]) -> None:
    """In the part of its kind; a document that is text is text."""
    (message,) = messages(Role.USER, media)

    assert message["content"] == [expected]


@pytest.mark.parametrize(
    "media", [Media("audio", url="https://x.example/a.mp3"), Media("document", data="a", media_type="text/plain")]
)
def test_media_that_cannot_be_said(media: Media) -> None:
    """No reader of this dialect could be told."""
    with pytest.raises(InvalidRequest):
        messages(Role.USER, media)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("deepseek-chat", {"reasoning_content": "Hm.Ho."}),
        (
            "anthropic/claude-opus-4",
            {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "s"}]},
        ),
        ("gpt-5", {}),
        ("some-model", {}),
    ],
)
def test_reasoning_goes_to_those_who_want_it_back(model: str, fields: dict[str, Any]) -> None:
    """Others refuse the field, and another vendor's proof means nothing to anybody."""
    parts = (Thinking("Hm.", "s"), Thinking("Ho.", "gemini#s"), Thinking("", redacted="openai:x"), Text("a"))
    message = Message(Role.ASSISTANT, parts)

    found = body(model=model, messages=(message,))["messages"]

    assert found == [{"role": "assistant", "content": "a", **fields}]
    assert (dropped(model=model, messages=(message,)) == ("reasoning_content",)) is (not fields)


def test_cache_hints_go_to_those_who_know_them() -> None:
    """Wherever they are."""
    hint = CacheHint("5m")
    conversation = msgspec.structs.replace(
        PLAIN,
        instructions=(Text("a", hint),),
        messages=(
            Message(Role.ASSISTANT, (ToolCall("c", "f", "{}", cache=hint),)),
            Message(Role.USER, (ToolResult("c", (Text("1"),), cache=hint),)),
        ),
        tools=(Tool("f", None, None, cache=hint),),
    )

    known, unknown = write(conversation, model="claude-haiku"), write(conversation, model="gpt-4o")

    assert known.body.count(b'"cache_control":{"type":"ephemeral","ttl":"5m"}') == 4
    assert (known.dropped, unknown.dropped) == ((), ("cache_control",))
    assert b"cache_control" not in unknown.body


def test_an_assistant_cannot_be_given_back_its_pictures() -> None:
    """This dialect has no place for them."""
    message = Message(Role.ASSISTANT, (Text("See:"), Media("image", data="AA"), Refusal("No.")))

    assert dropped(messages=(message,)) == ("messages.content",)
    assert body(messages=(message,))["messages"] == [{"role": "assistant", "content": "See:", "refusal": "No."}]


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("gpt-4o", "max_tokens"),
        ("llama-3.3-70b", "max_tokens"),
        ("openai/gpt-oss-120b", "max_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("openai/GPT-5-mini", "max_completion_tokens"),
        ("gpt-6", "max_completion_tokens"),
    ],
)
def test_the_limit_has_two_names(model: str, limit: str) -> None:
    """OpenAI's reasoning models refuse the older one, many servers know no other."""
    assert body(model=model, max_tokens=9)[limit] == 9


def test_reasoning_models_refuse_sampling() -> None:
    """What is the default anyway is left out without a note."""
    fields: dict[str, Any] = {"temperature": 0.5, "top_p": 1.0, "presence_penalty": 0.0, "stop": ("x",)}

    assert dropped(model="o3", **fields) == ("temperature", "stop")
    assert body(model="o3", **fields).keys() == {"model", "messages"}
    assert body(model="m", **fields) == body() | {
        "temperature": 0.5,
        "top_p": 1,
        "presence_penalty": 0,
        "stop": ["x"],
    }
    off = Reasoning("none", enabled=False)
    assert body(model="gpt-5.1", temperature=0.5, reasoning=off)["temperature"] == 0.5


@pytest.mark.parametrize(
    ("model", "reasoning", "effort", "noted"),
    [
        ("gpt-5", Reasoning("high"), "high", False),
        ("gpt-5", Reasoning("xhigh"), "high", False),
        ("gpt-5", Reasoning("none", enabled=False), "minimal", True),
        ("gpt-5.2", Reasoning("none", enabled=False), "none", False),
        ("gpt-5.2", Reasoning("max"), "xhigh", False),
        ("o3", Reasoning("minimal"), "low", False),
        ("o3", Reasoning("unheard-of"), "unheard-of", False),
        ("o1-mini", Reasoning("low"), None, True),
        ("gpt-4o", Reasoning("low"), None, True),
        ("gpt-4o", Reasoning(enabled=False), None, False),
        ("m", Reasoning(budget_tokens=1024), "low", False),
        ("m", Reasoning(budget_tokens=8000), "medium", False),
        ("m", Reasoning(budget_tokens=20_000), "high", False),
        ("m", Reasoning(enabled=False), None, True),
    ],
)
def test_reasoning_effort(model: str, reasoning: Reasoning, effort: str | None, noted: bool) -> None:
    """What was asked for, or the nearest that the family of models has; what cannot be asked is noted."""
    assert body(model=model, reasoning=reasoning).get("reasoning_effort") == effort
    assert (dropped(model=model, reasoning=reasoning) == ("reasoning_effort",)) is noted


def test_tools() -> None:
    """How they are chosen is left out where there are none, for it is refused then."""
    tool = Tool("f", "d", {"type": "object"}, True)
    choice = ToolChoice("tool", "f")

    asked = body(tools=(tool,), tool_choice=choice, parallel_tool_calls=False)

    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert asked["tools"] == [{"type": "function", "function": function}]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert asked["parallel_tool_calls"] is False
    assert body(tool_choice=ToolChoice("none"), parallel_tool_calls=False) == body()
    assert dropped(model="o3", tools=(tool,), parallel_tool_calls=False) == ("parallel_tool_calls",)
    assert dropped(model="o3", tools=(tool,), parallel_tool_calls=True) == ()


def test_output_formats() -> None:
    """A schema has a name here, whether the caller gave one or not."""
    assert body(output_format=OutputFormat())["response_format"] == {"type": "json_object"}
    assert body(output_format=OutputFormat({}, strict=False))["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {}, "strict": False},
    }


def test_what_an_answer_made_of_events_cannot_have() -> None:
    """It is not asked for, and noted."""
    assert dropped(logprobs=True, top_logprobs=2, top_k=5) == ("top_k", "logprobs", "top_logprobs")
    assert body(logprobs=True, top_logprobs=2, top_k=5) == body()


def test_what_a_provider_ignores_is_noted() -> None:
    """Where it is asked for. Tools that may not be called are better not offered at all."""
    ollama = ChatProvider(ignores=OLLAMA_IGNORES)

    def asked(**fields: Any) -> tuple[tuple[str, ...], set[str]]:
        conversation = msgspec.structs.replace(PLAIN, tools=(Tool("f", None, None),), **fields)
        written = ollama.write(conversation, model="m", stream=False)
        return written.dropped, json.loads(written.body).keys() - {"model", "messages"}

    assert asked(n=2, user="u", seed=1) == (("n", "user"), {"n", "user", "seed", "tools"})
    assert asked(tool_choice=ToolChoice("required")) == (("tool_choice",), {"tool_choice", "tools"})
    assert asked(tool_choice=ToolChoice("auto")) == ((), {"tool_choice", "tools"})
    assert asked(tool_choice=ToolChoice("none"), parallel_tool_calls=False) == ((), set())


def test_surrogates_are_written_as_something() -> None:
    """Lone ones cannot be encoded; a conversation that has them anyway is still sent."""
    assert messages(Role.USER, Text("a\ud800")) == [{"role": "user", "content": "a?"}]


def test_failures_are_told_by_status_and_body() -> None:
    """As for every provider of this API."""
    failure = PROVIDER.failure(429, {"retry-after": "7"}, b'{"error":{"message":"slow down"}}', now_epoch=0)

    assert (failure.kind, failure.retry_after) == (FailureKind.RATE_LIMITED, 7)
