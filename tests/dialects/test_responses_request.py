from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.dialects.responses import ResponsesCaller
from arbstr.dialects.responses.request import MAX_ITEMS
from arbstr.dialects.sizes import IMAGE_BYTES
from arbstr.domain.conversation import CacheHint, Media, Reasoning, Text, ToolCall, ToolChoice, ToolResult
from arbstr.domain.errors import InvalidRequest

CALLER = ResponsesCaller()
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "gpt-4.1", "input": "hello", **fields}).encode()


def refused(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        CALLER.parse(raw)
    return caught.value


def unread(**fields: Any) -> InvalidRequest:
    """The error of a request that a provider of this dialect may answer, but no other can."""
    request = CALLER.parse(body(**fields))
    with pytest.raises(InvalidRequest) as caught:
        CALLER.read(request)
    return caught.value


def test_what_the_gateway_reads() -> None:
    """Model, stream, bounds, and the last user's text; all else stays in the fields."""
    items = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Grüße"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
    ]

    request = CALLER.parse(body(input=items, stream=True, max_output_tokens=50, instructions="Be brief.", seed=7))

    assert (request.model, request.stream, request.max_tokens, request.n) == ("gpt-4.1", True, 50, 1)
    assert request.dialect == "responses"
    assert request.include_usage
    assert request.last_user_text == "a\nb"
    assert request.input_bytes == len("userfirstassistantGrüßeuserabBe brief.".encode())
    assert bytes(request.fields["seed"]) == b"7"


def test_a_text_is_the_input_of_the_user() -> None:
    """A string is all there is to charge, and what policies look at."""
    request = CALLER.parse(body(input="Grüße"))

    assert (request.last_user_text, request.input_bytes) == ("Grüße", 7)


def test_images_count_for_their_size_in_tokens() -> None:
    """The bytes of an image are not text; those of what is not known are."""
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 100_000}

    request = CALLER.parse(body(input=[{"role": "user", "content": [image]}]))

    assert request.input_bytes == len("user") + IMAGE_BYTES


@pytest.mark.parametrize(
    "item",
    [
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": "x"}},
        {"type": "image_generation_call", "id": "i", "result": "x"},
    ],
)
def test_pictures_that_are_no_part_of_a_message(item: dict[str, Any]) -> None:
    """A screen that the model works at, and a picture that it has made."""
    assert CALLER.parse(body(input=[item])).input_bytes == IMAGE_BYTES


def test_base64_of_files_is_not_counted_as_text() -> None:
    """A document counts for a quarter of it."""
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64," + "A" * 400_000}

    found = CALLER.parse(body(input=[{"role": "user", "content": [file]}])).input_bytes

    assert 100_000 <= found <= 100_200


def test_tools_and_other_items_are_charged_as_they_are_written() -> None:
    """Calls and their outputs are input like any other."""
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "four"}

    small = CALLER.parse(body(input=[call, output])).input_bytes
    large = CALLER.parse(body(input=[call, {**output, "output": "four" * 100}], tools=[FUNCTION])).input_bytes

    assert large >= small + 4 * 99 + len(json.dumps(FUNCTION))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"input": None}, "input"),
        ({"input": {"role": "user"}}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"type": 1}]}, "input[0].type"),
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        ({"input": [{"type": "message", "role": "user", "content": 1}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": "x"}] * (MAX_ITEMS + 1)}, "input"),
        ({"instructions": ["x"]}, "instructions"),
        ({"tools": {}}, "tools"),
        ({"stream": "yes"}, "stream"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "9"}, "max_output_tokens"),
        ({"background": 1}, "background"),
        ({"background": True}, "background"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"conversation": "conv_1"}, "conversation"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_name(fields: dict[str, Any], param: str) -> None:
    """A mistake, and what would need stored responses, is refused before anybody is called."""
    assert refused(body(**fields)).param == param


def test_refusals_of_state_say_what_to_do_instead() -> None:
    """A program that chains responses, or refers to items by their ids, learns that it must send them, and what to
    set so that its SDK does."""
    reference = CALLER.parse(body(input=[{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_1"}]))
    with pytest.raises(InvalidRequest) as caught:
        CALLER.read(reference)

    advice = "; send the earlier items themselves in input, as SDKs do where store is false."
    assert caught.value.message == f"input[1] refers to a stored item, and this gateway stores none{advice}"
    assert refused(body(previous_response_id="resp_1")).message == (
        f"previous_response_id is not supported: this gateway stores no responses{advice}"
    )
    assert refused(body(conversation="conv_1")).message == (
        f"conversation is not supported: this gateway stores no conversations{advice}"
    )


def test_nothing_asked_for_is_no_state() -> None:
    """SDKs send null, and false, for what they do not use."""
    request = CALLER.parse(body(previous_response_id=None, conversation=None, background=False, store=True))

    assert CALLER.read(request).dropped == ()


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"model":"m","input":' + b"[" * 100_000, b'{"model":"m","input":NaN}'])
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    """As in every dialect: 400, and nothing raised but that."""
    assert refused(raw).status == 400


def test_a_template_is_for_openai_alone() -> None:
    """``prompt`` may replace the input where the provider speaks this dialect, and no other can know it."""
    request = CALLER.parse(b'{"model":"m","prompt":{"id":"pmpt_1"}}')

    assert json.loads(CALLER.encode_same(request, model="x")) == {"model": "x", "prompt": {"id": "pmpt_1"}}
    with pytest.raises(InvalidRequest) as caught:
        CALLER.read(request)
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"id": "msg_1"}]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"type": "computer_call_output", "call_id": "c"}]}, "input[0]"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "image_url"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, None),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, None),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "data:text/plain,a"}]}]}, None),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "DATA:;base64,"}]}]}, None),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].input_audio"),
        ({"input": [{"role": "system", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0]"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input[0].name"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": 1}}]}, None),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        (
            {
                "input": [
                    {"type": "function_call_output", "call_id": "c", "output": [{"type": "refusal", "refusal": "x"}]}
                ]
            },
            "input[0].output",
        ),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input[0].summary"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"text": "json"}, "text"),
        ({"text": {"format": "json"}}, "text.format"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}, "strict": 1}}}, "text.format.strict"),
        ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"tools": ["f"]}, "tools[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": "x"}]}, "tools[0].parameters"),
        ({"tools": [{"type": "function", "name": "f", "strict": "x"}]}, "tools[0].strict"),
        ({"tools": [FUNCTION, FUNCTION]}, "tools[1].name"),
        ({"tools": [{"type": "namespace", "name": "n"}]}, "tools[0].tools"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "required", "tools": [{"type": "web_search"}]}, "tool_choice"),
        ({"tool_choice": {"type": "web_search_preview"}, "tools": [{"type": "web_search_preview"}]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "function"}, "tools": [FUNCTION]}, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.mode"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [1]}}, "tool_choice.tools[0]"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice.tools"),
    ],
)
def test_what_no_other_vendor_could_answer_is_refused_with_its_name(fields: dict[str, Any], param: str | None) -> None:
    """Rather that than an answer to another question."""
    error = unread(**fields)

    assert error.status == 400
    assert error.param if param is None else error.param == param


def test_tools_that_a_model_can_do_without_are_dropped_with_a_note() -> None:
    """Agents offer them by default; the model sees that they are not there."""
    tools = [FUNCTION, {"type": "web_search"}, {"type": "web_search"}, {"type": "image_generation"}]

    conversation = CALLER.read(CALLER.parse(body(tools=tools, tool_choice="auto")))

    assert [tool.name for tool in conversation.tools] == ["f"]
    assert conversation.tool_choice == ToolChoice("auto")
    assert conversation.dropped == ("tools.web_search", "tools.image_generation")


def test_only_dropped_tools_leave_none() -> None:
    """No choice is passed on where there is nothing to choose."""
    conversation = CALLER.read(CALLER.parse(body(tools=[{"type": "web_search"}], tool_choice="auto")))

    assert (conversation.tools, conversation.tool_choice) == ((), None)


def test_allowed_tools_are_the_tools() -> None:
    """A list of allowed tools, of which one is dropped, leaves the others."""
    tools = [FUNCTION, {**FUNCTION, "name": "g"}, {"type": "web_search"}]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}, tools[2]]}

    conversation = CALLER.read(CALLER.parse(body(tools=tools, tool_choice=allowed)))

    assert [tool.name for tool in conversation.tools] == ["g"]
    assert conversation.tool_choice == ToolChoice("required")


def test_what_changes_the_answer_and_cannot_be_said_is_noted() -> None:
    """Fields that others do not have, and fields that nobody knows, are dropped by name; usual values are not."""
    conversation = CALLER.read(
        CALLER.parse(
            body(
                truncation="auto",
                service_tier="auto",
                top_logprobs=3,
                include=["message.output_text.logprobs"],
                max_tool_calls=2,
                nonsense=1,
                stream_options={"include_obfuscation": False},
                metadata={"a": "b"},
                context_management=None,
            )
        )
    )

    assert conversation.dropped == ("max_tool_calls", "nonsense", "truncation", "top_logprobs", "include")


def test_names_that_are_noted_are_fit_for_a_header() -> None:
    """A caller's own names may hold anything, and be as many as there is room for."""
    fields = {"a\r\nb": 1, "ü": 1, "x" * 100: 1, **{f"field_{number}": 1 for number in range(100)}}
    tools = [{"type": "web_search\r\n"}]

    dropped = CALLER.read(CALLER.parse(body(tools=tools, **fields))).dropped

    assert dropped[:2] == ("?", "field_0")
    assert len(dropped) == 32


@pytest.mark.parametrize(
    ("reasoning", "read"),
    [
        (None, None),
        ({"summary": "auto"}, None),
        ({"effort": None}, None),
        ({"effort": "xhigh"}, Reasoning("xhigh")),
        ({"effort": "none"}, Reasoning("none", enabled=False)),
    ],
)
def test_reasoning(reasoning: Any, read: Reasoning | None) -> None:
    """An effort is a wish; a summary alone is none."""
    assert CALLER.read(CALLER.parse(body(reasoning=reasoning))).reasoning == read


@pytest.mark.parametrize("text", [None, {}, {"format": {"type": "text"}, "verbosity": "medium"}])
def test_plain_text_is_no_format(text: Any) -> None:
    """It is what every model writes."""
    conversation = CALLER.read(CALLER.parse(body(text=text)))

    assert (conversation.output_format, conversation.dropped) == (None, ())


def test_depth_is_refused_wherever_it_is_met() -> None:
    """What could be read with a short call stack is refused with a longer one, and nothing else is raised."""
    request = CALLER.parse(body(tools=[{"type": "function", "name": "f", "parameters": {}}]))
    deep = msgspec.structs.replace(request, fields={**request.fields, "tools": msgspec.Raw(b"[" * 100_000)})

    with pytest.raises(InvalidRequest, match="nested too deeply"):
        CALLER.read(deep)


def test_what_is_not_read_of_an_item_is_sent_as_it_came() -> None:
    """Calls whose output is an object, and sealed words in other places, change nothing."""
    items = [
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
        {"role": "user", "content": "rs_arbstr_ arbstr.s:"},
    ]

    request = CALLER.parse(body(input=items))

    assert json.loads(CALLER.encode_same(request, model="x"))["input"] == items
    assert json.loads(CALLER.encode_same(CALLER.parse(body(input="arbstr.s:")), model="x"))["input"] == "arbstr.s:"


def test_empty_texts_say_nothing() -> None:
    """Other vendors refuse them; a message of nothing else is left out."""
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": ""}, {"type": "input_text", "text": "a"}]},
        {"role": "assistant", "content": ""},
    ]

    conversation = CALLER.read(CALLER.parse(body(input=items)))

    assert [message.parts for message in conversation.messages] == [(Text("a"),)]


def test_media_with_and_without_what_they_say_of_themselves() -> None:
    """A data URL tells its type; base64 alone, a WAV and a URL tell nothing."""
    content = [
        {"type": "input_image", "image_url": "data:;base64,AAAA"},
        {"type": "input_file", "file_data": "JVBERi0=", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg=="}},
    ]

    conversation = CALLER.read(CALLER.parse(body(input=[{"role": "user", "content": content}])))

    assert conversation.messages[0].parts == (
        Media("image", data="AAAA"),
        Media("document", data="JVBERi0=", cache=CacheHint()),
        Media("audio", data="UklGRg=="),
    )


def test_a_custom_tool_keeps_its_input_through_a_turn() -> None:
    """Free text becomes the argument of a function, quotes and all; a result may come back as parts."""
    items = [
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": 'say "hi"\n'},
        {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "done"}]},
    ]

    conversation = CALLER.read(CALLER.parse(body(input=items, tools=[{"type": "custom", "name": "patch"}])))

    call, result = (message.parts[0] for message in conversation.messages)
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments) == {"input": 'say "hi"\n'}
    assert result == ToolResult("c", (Text("done"),))


def test_lone_surrogates_are_read_as_no_text_and_sent_as_they_came() -> None:
    """A half of an emoji breaks neither way, not even where reasoning is taken out."""
    raw = (
        b'{"model":"m","input":[{"type":"reasoning","id":"rs_arbstr_1","summary":[]},'
        b'{"role":"user","content":"a\\ud83d"}]}'
    )

    request = CALLER.parse(raw)

    assert CALLER.read(request).messages[0].parts == (Text("a\ufffd"),)
    sent = json.loads(CALLER.encode_same(request, model="x"))
    assert len(sent["input"]) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "auto", "x", "required", "arbstr.t:x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "role",
                    "content",
                    "text",
                    "name",
                    "tools",
                    "output",
                    "summary",
                    "call_id",
                    "image_url",
                    "format",
                ]
            ),
            inner
            | st.sampled_from(
                [
                    "message",
                    "user",
                    "reasoning",
                    "function_call",
                    "function",
                    "namespace",
                    "input_text",
                    "allowed_tools",
                ]
            ),
            max_size=5,
        )
    ),
    max_leaves=16,
)
FIELDS = st.sampled_from(["input", "tools", "tool_choice", "text", "reasoning", "include", "instructions", "metadata"])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, VALUES))
def test_whatever_is_asked_is_read_or_refused(fields: dict[str, Any]) -> None:
    """No request raises anything but a refusal; what was parsed can be sent on, and its answer written."""
    with contextlib.suppress(InvalidRequest):
        request = CALLER.parse(body(**fields))
        assert json.loads(CALLER.encode_same(request, model="x"))["model"] == "x"
        CALLER.stream(request, request_id="1", model="m", created=1).end(cost_sats=None)
        CALLER.read(request)
