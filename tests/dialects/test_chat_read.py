from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.dialects.chat import ChatCaller, ChatProvider
from arbstr.dialects.chat.fields import MOST_NAMES
from arbstr.dialects.chat.read import MAX_TOOLS
from arbstr.domain.conversation import (
    CacheHint,
    Conversation,
    Media,
    Message,
    OutputFormat,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from arbstr.domain.errors import InvalidRequest

CALLER = ChatCaller()
USER: dict[str, Any] = {"role": "user", "content": "Hi"}


def read(messages: Any = None, **fields: Any) -> Conversation:
    return CALLER.read(CALLER.parse(json.dumps({"model": "m", "messages": messages or [USER], **fields}).encode()))


def part(value: dict[str, Any]) -> Any:
    """What a user's content part is read as."""
    (found,) = read([{"role": "user", "content": [value]}]).messages[0].parts
    return found


def image(url: str) -> Any:
    return part({"type": "image_url", "image_url": {"url": url}})


def said(**fields: Any) -> tuple[Any, ...]:
    """What an assistant's message is read as."""
    return read([{"role": "assistant", **fields}, USER]).messages[0].parts


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}, **fields}


def call(**fields: Any) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, **fields}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://x.example/a.png", Media("image", url="https://x.example/a.png")),
        ("data:image/webp;base64,AAAA", Media("image", data="AAAA", media_type="image/webp")),
        ("DATA:IMAGE/PNG;BASE64,AAAA", Media("image", data="AAAA", media_type="image/png")),
        ("data:image/svg+xml;charset=utf-8;base64,AAAA", Media("image", data="AAAA", media_type="image/svg+xml")),
        ("data:;base64,iVBORw0KGgo", Media("image", data="iVBORw0KGgo", media_type="image/png")),
        ("data:application/octet-stream;base64,/9j/4AAQ", Media("image", data="/9j/4AAQ", media_type="image/jpeg")),
        ("data:application/pdf;base64,JVBERi0", Media("document", data="JVBERi0", media_type="application/pdf")),
        ("data:audio/mpeg;base64,SUQz", Media("audio", data="SUQz", media_type="audio/mpeg")),
        ("data:text/plain,a%20b", Media("document", data="YSBi", media_type="text/plain")),
    ],
)
def test_images_are_what_their_type_says(url: str, expected: Media) -> None:
    """At a URL or as base64; a PDF that came as an image is a document."""
    assert image(url) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0"},
            Media("document", data="JVBERi0", media_type="application/pdf", name="a.pdf"),
        ),
        (
            {"filename": "a.csv", "file_data": "YSxi"},
            Media("document", data="YSxi", media_type="text/csv", name="a.csv"),
        ),
        ({"file_data": "JVBERi0"}, Media("document", data="JVBERi0", media_type="application/pdf")),
        (
            {"file_data": "data:image/png;base64,iVBOR", "filename": "a.png"},
            Media("image", data="iVBOR", media_type="image/png", name="a.png"),
        ),
        ({"file_data": "https://x.example/a.pdf"}, Media("document", url="https://x.example/a.pdf")),
        (
            {"file_id": "https://x.example/a", "format": "image/png"},
            Media("image", url="https://x.example/a", media_type="image/png"),
        ),
    ],
)
def test_files(file: dict[str, Any], expected: Media) -> None:
    """A data URL, bare base64 or, as some gateways take it, a URL."""
    assert part({"type": "file", "file": file}) == expected


def test_audio() -> None:
    """Its format is a media type."""
    found = [part({"type": "input_audio", "input_audio": {"data": "AA", "format": name}}) for name in ("mp3", "wav")]

    assert found == [Media("audio", data="AA", media_type=f"audio/{name}") for name in ("mpeg", "wav")]


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ({"cache_control": {"type": "ephemeral"}}, CacheHint()),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, CacheHint("1h")),
        ({"cache_control": {"type": "ephemeral", "ttl": "9y"}}, CacheHint()),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, CacheHint("1h")),
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, CacheHint()),
        ({"cache_control": "yes"}, None),
        ({"cache_control": None}, None),
    ],
)
def test_cache_hints(hint: dict[str, Any], expected: CacheHint | None) -> None:
    """In both spellings; on parts, messages and tools."""
    assert part({"type": "text", "text": "a", **hint}) == Text("a", expected)
    assert part({"type": "image_url", "image_url": "https://x.example/a", **hint}).cache == expected
    assert read(tools=[tool("f", **hint)]).tools[0].cache == expected
    message = {"role": "tool", "tool_call_id": "c", "content": "x", **hint}
    assert read([message]).messages[0].parts == (ToolResult("c", (Text("x"),), cache=expected),)


def test_instructions_come_from_anywhere() -> None:
    """System and developer messages are not turns, and do not part the results of tools."""
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in "ab"]
    late = {"role": "system", "content": [{"type": "text", "text": "Be kind."}]}

    conversation = read([{"role": "developer", "content": "Be brief."}, USER, results[0], late, results[1]])

    assert conversation.instructions == (Text("Be brief."), Text("Be kind."))
    assert [message.role for message in conversation.messages] == [Role.USER, Role.USER]
    assert conversation.messages[1].parts == (ToolResult("a", (Text("a"),)), ToolResult("b", (Text("b"),)))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": "a"}, (Text("a"),)),
        ({"content": None}, ()),
        ({}, ()),
        ({"content": "", "tool_calls": [call()]}, (ToolCall("c", "f", "{}"),)),
        ({"tool_calls": None, "content": [{"type": "text", "text": ""}]}, ()),
        ({"content": [{"type": "output_text", "text": "a"}, {"type": "text", "text": "b"}]}, (Text("a"), Text("b"))),
        ({"tool_calls": [call(type=None, function={"name": "f"})]}, (ToolCall("c", "f", ""),)),
        ({"refusal": "No."}, (Refusal("No."),)),
        ({"reasoning_content": "Hm.", "content": "a"}, (Thinking("Hm."), Text("a"))),
        ({"reasoning": "Hm.", "reasoning_details": []}, (Thinking("Hm."),)),
        (
            {"reasoning_content": "Hm.", "reasoning_details": [{"type": "reasoning.text", "signature": "s"}]},
            (Thinking("Hm.", "s"),),
        ),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "s"}]}, (Thinking("", "s"),)),
        (
            {"reasoning": "Hm.", "reasoning_details": [{"signature": "s"}, {"signature": "t"}, {"data": "d"}]},
            (Thinking("Hm."), Thinking("", redacted="d")),
        ),
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}, 7]}, (Thinking("Hm."),)),
        ({"content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]}, (Thinking("Hm.", "s"),)),
        ({"content": [{"type": "redacted_thinking", "data": "d"}]}, (Thinking("", redacted="d"),)),
        ({"thinking_blocks": [{}, 7], "reasoning": "Hm."}, (Thinking("Hm."),)),
    ],
)
def test_what_an_assistant_said(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Text, calls, refusals and reasoning, in the forms in which callers give them back."""
    assert said(**fields) == expected


def test_legacy_results_find_their_calls() -> None:
    """A ``function`` message answers the last call of its name; one that answers none has an id all the same."""
    calls = [{"role": "assistant", "function_call": {"name": "f", "arguments": str(number)}} for number in (1, 2)]
    answer = {"role": "function", "name": "f", "content": "x"}

    messages = read([calls[0], answer, calls[1], answer, {**answer, "name": "g"}], functions=[]).messages

    ids = [part.id for message in messages for part in message.parts if isinstance(part, ToolCall | ToolResult)]
    assert ids == ["call_0_f", "call_0_f", "call_2_f", "call_2_f", "call_g"]


@pytest.mark.parametrize(
    ("choice", "expected", "names"),
    [
        (None, None, "fgh"),
        ("auto", ToolChoice("auto"), "fgh"),
        ("none", ToolChoice("none"), "fgh"),
        ("required", ToolChoice("required"), "fgh"),
        ("any", ToolChoice("required"), "fgh"),
        (tool("g"), ToolChoice("tool", "g"), "fgh"),
        ({"type": "function", "name": "g"}, ToolChoice("tool", "g"), "fgh"),
        ({"type": "auto"}, ToolChoice("auto"), "fgh"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("h"), tool("f")]}},
            ToolChoice("auto"),
            "fh",
        ),
    ],
)
def test_tool_choices(choice: Any, expected: ToolChoice | None, names: str) -> None:
    """Of allowed tools the others are left out, which says the same."""
    conversation = read(tools=[tool(name) for name in "fgh"], tool_choice=choice)

    assert conversation.tool_choice == expected
    assert "".join(each.name for each in conversation.tools) == names


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning_effort": "high"}, Reasoning("high")),
        ({"reasoning_effort": "none"}, Reasoning("none", enabled=False)),
        ({"reasoning": {"effort": "low"}}, Reasoning("low")),
        ({"reasoning": {"max_tokens": 99}}, Reasoning(budget_tokens=99)),
        ({"reasoning": {"max_tokens": -1, "enabled": True}}, Reasoning("medium")),
        ({"reasoning": {"enabled": False}}, Reasoning("none", enabled=False)),
        ({"reasoning": {"exclude": True}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 99}}, Reasoning(budget_tokens=99)),
        ({"thinking": {"type": "enabled"}}, Reasoning("medium")),
        ({"thinking": {"type": "disabled"}}, Reasoning("none", enabled=False)),
        ({}, None),
    ],
)
def test_reasoning(fields: dict[str, Any], expected: Reasoning | None) -> None:
    """In the three ways in which callers ask for it."""
    conversation = read(**fields)

    assert conversation.reasoning == expected
    assert conversation.dropped == ()


def test_options() -> None:
    """Each by its own name; the limit is the newer of the two fields."""
    conversation = read(
        max_tokens=5,
        max_completion_tokens=7,
        temperature=1,
        top_p=0.5,
        top_k=3,
        stop=["a", "", "b"],
        n=2,
        seed=-1,
        frequency_penalty=-2,
        presence_penalty=2.0,
        logprobs=True,
        top_logprobs=0,
        parallel_tool_calls=False,
        user="u",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    )

    assert conversation == Conversation(
        instructions=(),
        messages=(Message(Role.USER, (Text("Hi"),)),),
        max_tokens=7,
        temperature=1.0,
        top_p=0.5,
        top_k=3,
        stop=("a", "b"),
        n=2,
        seed=-1,
        frequency_penalty=-2.0,
        presence_penalty=2.0,
        logprobs=True,
        top_logprobs=0,
        parallel_tool_calls=False,
        user="u",
        output_format=OutputFormat({"type": "object"}, "n"),
    )


def test_dropped_names_are_few_and_fit_for_a_header() -> None:
    """Whatever names a caller makes up."""
    names = read(**{f"x{number}": 1 for number in range(99)}).dropped
    odd = read(**{"a\nb": 1, "é": 1, "x" * 65: 1}).dropped

    assert names == tuple(f"x{number}" for number in range(MOST_NAMES))
    assert odd == ("?",)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([USER, {"role": "user"}], "messages[1].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"text": "x"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": 7}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].image_url.url"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64"}]}],
            "messages[0].content[0].image_url.url",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x", "detail": 1}}]}],
            "messages[0].content[0].image_url.detail",
        ),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "messages[0].content[0].input_audio"),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"format": "wav"}}]}],
            "messages[0].content[0].input_audio.data",
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA"}}]}],
            "messages[0].content[0].input_audio.format",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-abc"}}]}],
            "messages[0].content[0].file.file_id",
        ),
        ([{"role": "user", "content": [{"type": "file", "file": {}}]}], "messages[0].content[0].file.file_data"),
        ([{"role": "user", "content": [{"type": "file", "file": 7}]}], "messages[0].content[0].file"),
        ([{"role": "user", "name": 7, "content": "x"}], "messages[0].name"),
        ([{"role": "system", "content": [{"type": "image_url", "image_url": "https://x"}]}], "messages[0].content"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([{"role": "tool", "tool_call_id": "c"}], "messages[0].content"),
        ([{"role": "function", "content": "x"}], "messages[0].name"),
        ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [7]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [call(id=None)]}], "messages[0].tool_calls[0].id"),
        ([{"role": "assistant", "tool_calls": [call(type="custom")]}], "messages[0].tool_calls[0].type"),
        ([{"role": "assistant", "tool_calls": [call(function=None)]}], "messages[0].tool_calls[0].function"),
        ([{"role": "assistant", "tool_calls": [call(function={})]}], "messages[0].tool_calls[0].function.name"),
        (
            [{"role": "assistant", "tool_calls": [call(function={"name": "f", "arguments": {}})]}],
            "messages[0].tool_calls[0].function.arguments",
        ),
        ([{"role": "assistant", "refusal": 7}], "messages[0].refusal"),
        ([{"role": "assistant", "content": [7]}], "messages[0].content[0]"),
        ([{"role": "assistant", "content": [{"type": "refusal"}]}], "messages[0].content[0].refusal"),
    ],
)
def test_messages_without_a_meaning(messages: list[Any], param: str) -> None:
    """They are refused with the place where it is wrong."""
    with pytest.raises(InvalidRequest) as caught:
        read(messages)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"stop": 7}, "stop"),
        ({"stop": ["a", 7]}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"user": 7}, "user"),
        ({"logprobs": 5}, "logprobs"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"tools": {}}, "tools"),
        ({"tools": [7]}, "tools[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": 7}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [tool("f", function={"name": "f", "description": 1})]}, "tools[0].function.description"),
        ({"tools": [tool("f", function={"name": "f", "parameters": []})]}, "tools[0].function.parameters"),
        ({"tools": [tool("f", function={"name": "f", "strict": "yes"})]}, "tools[0].function.strict"),
        ({"tools": [tool("f")] * (MAX_TOOLS + 1)}, "tools"),
        ({"functions": [{}]}, "functions[0].name"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice.allowed_tools.mode"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}},
            "tool_choice.allowed_tools.tools",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [7]}}},
            "tool_choice.allowed_tools.tools[0]",
        ),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": 7}}}, "response_format.json_schema.name"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 7}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"strict": 7}}},
            "response_format.json_schema.strict",
        ),
        ({"reasoning_effort": 7}, "reasoning_effort"),
        ({"reasoning_effort": "x" * 33}, "reasoning_effort"),
        ({"reasoning": "hard"}, "reasoning"),
    ],
)
def test_fields_of_the_wrong_type(fields: dict[str, Any], param: str) -> None:
    """They are refused by name, rather than dropped."""
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)

    assert caught.value.param == param


def test_lone_surrogates_are_read_as_replacements() -> None:
    """They are no text that another vendor could be sent."""
    body = b'{"model":"m","messages":[{"role":"user","content":"a\\ud800b"}],"user":"\\udc00"}'

    conversation = CALLER.read(CALLER.parse(body))

    assert conversation.messages[0].parts == (Text("a\ufffdb"),)
    assert conversation.user == "\ufffd"


@pytest.mark.parametrize("depth", [200, 1000, 5000])
def test_depth_is_either_read_or_refused(depth: int) -> None:
    """However deep a field that is dropped or kept is."""
    body = '{"model":"m","messages":[{"role":"user","content":"x"}],"deep":' + "[" * depth + "1" + "]" * depth + "}"

    try:
        found = CALLER.read(CALLER.parse(body.encode())).dropped
    except InvalidRequest as error:
        found = (error.message,)

    assert found in [("deep",), ("The body is nested too deeply.",)]


@pytest.mark.parametrize("url", ["data:nothing", "data:image/png;base64,", "data:"])
def test_data_urls_without_data(url: str) -> None:
    """They say nothing."""
    with pytest.raises(InvalidRequest) as caught:
        image(url)

    assert caught.value.param == "messages[0].content[0].image_url.url"


def test_data_that_is_no_text() -> None:
    """Bytes of a data URL are bytes."""
    assert image("data:text/plain,%e4%ff").data == "5P8="


ODD: st.SearchStrategy[Any] = st.sampled_from([None, True, 7, -1.5, "", "é", [], {}, ["a"], {"a": 1}, "x" * 40])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of the fields, now and then of a strange type; with all those that have a capital letter."""

    def mostly(field: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.sampled_from([field] * 15 + [ODD]).flatmap(lambda chosen: chosen)

    kept = {name.lower(): mostly(field) for name, field in fields.items() if name[0].isupper()}
    return st.fixed_dictionaries(
        kept, optional={name: mostly(field) for name, field in fields.items() if name[0].islower()}
    )


WORD = st.sampled_from(["a", "b"])
URL = st.sampled_from(["https://x.example/a", "data:image/png;base64,AAAA", "data:,a", "data:x"])
PART = some(
    Type=st.sampled_from(["text", "image_url", "input_audio", "file", "refusal", "thinking"]),
    Text=WORD,
    Image_url=URL | some(Url=URL, detail=WORD),
    Input_audio=some(Data=WORD, Format=WORD),
    File=some(File_data=URL, file_id=URL, filename=WORD, Format=WORD),
    thinking=WORD,
    cache_control=some(ttl=WORD),
)
FUNCTION = some(Name=WORD, arguments=WORD, parameters=some(Type=WORD), strict=st.booleans())
CALL = some(
    Id=WORD, Type=st.just("function"), Function=FUNCTION, extra_content=some(google=some(thought_signature=WORD))
)
MESSAGE = some(
    Role=st.sampled_from(["system", "user", "assistant", "tool", "function"]),
    Content=WORD | st.lists(PART, max_size=2),
    tool_calls=st.lists(CALL, max_size=2),
    function_call=FUNCTION,
    Tool_call_id=WORD,
    Name=WORD,
    refusal=WORD,
    reasoning_content=WORD,
    reasoning_details=st.lists(some(Text=WORD, signature=WORD, Data=WORD), max_size=2),
    thinking_blocks=st.lists(PART, max_size=2),
)
NAMED = some(Type=st.just("function"), Function=FUNCTION, name=WORD)
OPTIONS = some(
    tools=st.lists(NAMED, max_size=2),
    functions=st.lists(FUNCTION, max_size=2),
    tool_choice=NAMED | some(type=st.just("allowed_tools"), allowed_tools=some(mode=WORD, tools=st.lists(NAMED))),
    function_call=WORD,
    response_format=some(type=st.sampled_from(["text", "json_object", "json_schema"]), json_schema=some(schema=ODD)),
    reasoning=some(effort=WORD, max_tokens=ODD, enabled=st.booleans()),
    thinking=some(type=WORD, budget_tokens=ODD),
    stop=WORD,
    temperature=ODD,
)


@settings(max_examples=400)
@given(st.lists(MESSAGE, max_size=3), OPTIONS)
def test_whatever_callers_send_is_read_or_refused(messages: list[Any], options: dict[str, Any]) -> None:
    """And what is read can be written, or refused as well; nothing else happens."""
    try:
        conversation = read(messages, **options)
        written = ChatProvider().write(conversation, model="claude", stream=False)
    except InvalidRequest:
        return
    assert json.loads(written.body)["model"] == "claude"
