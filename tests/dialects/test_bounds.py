from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.bounds import DESCRIBED, bounds_of
from arbstr.dialects.callers import caller_dialect
from arbstr.domain.bounds import Bounds, Picture

BASE64 = "A" * 400_000
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + bytes(300_000)).decode()
IMAGE = {"type": "image", "source": {"type": "base64", "data": PNG}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def found(dialect: str, **fields: Any) -> Bounds:
    return bounds_of(caller_dialect(dialect).parse(json.dumps({"model": "m", **fields}).encode()))


def chat(*parts: Any, **fields: Any) -> Bounds:
    return found("openai", messages=[{"role": "user", "content": list(parts)}], **fields)


def messages(*blocks: Any, **fields: Any) -> Bounds:
    return found("anthropic", max_tokens=1, messages=[{"role": "user", "content": list(blocks)}], **fields)


def responses(*parts: Any, **fields: Any) -> Bounds:
    return found("responses", input=[{"role": "user", "content": list(parts)}], **fields)


def text_of(*texts: str) -> int:
    return len("".join(texts).encode())


@pytest.mark.parametrize(
    ("dialect", "fields", "bounds"),
    [
        ("openai", {"messages": [{"role": "user", "content": "Grüße"}], "max_tokens": 5}, Bounds(4 + 7, 2)),
        (
            "openai",
            {
                "messages": [
                    {"role": "system", "content": "Be"},
                    {"role": "user", "content": [{"type": "text", "text": "x"}]},
                ]
            },
            Bounds(6 + 2 + 4 + 1, 3),
        ),
        (
            "anthropic",
            {"max_tokens": 5, "system": "Be brief.", "messages": [{"role": "user", "content": "x"}]},
            Bounds(9 + 4 + 1, 2),
        ),
        ("responses", {"instructions": "Be brief.", "input": "Grüße"}, Bounds(9 + 7, 1)),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}, Bounds(5, 2)),
        ("completions", {"prompt": "Grüße"}, Bounds(7, 2)),
        ("completions", {"prompt": ["a", "b"], "suffix": "c"}, Bounds(3, 4)),
        ("completions", {"prompt": [[1, 2], [3]]}, Bounds(12, 4)),
        ("embeddings", {"input": "Grüße", "dimensions": 5}, Bounds(7, 2)),
        ("embeddings", {"input": ["a", "b", "c"]}, Bounds(3, 5)),
    ],
)
def test_plain_text(dialect: str, fields: dict[str, Any], bounds: Bounds) -> None:
    """Its bytes, roles included, and the messages or inputs around which vendors put tokens."""
    assert found(dialect, **fields) == bounds


def test_fields_that_nobody_here_knows_count_as_text() -> None:
    """A server may put them before the model; of those that it may not, none is counted."""
    plain = chat({"type": "text", "text": "x"})

    more = chat({"type": "text", "text": "x"}, documents=[{"text": "abc"}], temperature=0.5, metadata={"a": "b" * 99})

    assert more == Bounds(plain.text_bytes + len('[{"text": "abc"}]'), plain.messages)


@pytest.mark.parametrize(
    ("dialect", "fields", "tools"),
    [
        ("openai", {"tools": [FUNCTION, FUNCTION]}, 2),
        ("openai", {"functions": [{"name": "f"}]}, 1),
        ("openai", {"tools": []}, 0),
        ("openai", {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, 1),
        ("openai", {"response_format": {"type": "text"}}, 0),
        ("anthropic", {"tools": [{"name": "f"}, {"type": "custom", "name": "g"}]}, 2),
        ("anthropic", {"output_config": {"format": {"type": "json_schema", "schema": {}}}}, 1),
        ("responses", {"tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]}, 2),
        ("responses", {"text": {"format": {"type": "json_schema", "name": "a", "schema": {}}}}, 1),
    ],
)
def test_tools_and_formats(dialect: str, fields: dict[str, Any], tools: int) -> None:
    """Their bytes are text, and vendors add words of their own to them."""
    starts: dict[str, dict[str, Any]] = {
        "openai": {"messages": [{"role": "user"}]},
        "anthropic": {"max_tokens": 1, "messages": [{"role": "user", "content": ""}]},
        "responses": {"input": ""},
    }

    bounds = found(dialect, **starts[dialect], **fields)

    assert (bounds.tools, bounds.unbounded) == (tools, False)
    assert bounds.text_bytes >= sum(len(json.dumps(value)) for value in fields.values())


def test_tools_that_were_called_and_are_not_offered() -> None:
    """Some vendors must be told of them all the same; where tools are offered, these are all."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chat_turns = [{"role": "assistant", "tool_calls": [call, call]}, {"role": "tool", "content": "x"}]
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}

    assert found("openai", messages=chat_turns).tools == 2
    assert found("openai", messages=chat_turns, tools=[FUNCTION]).tools == 1
    assert messages(use).tools == found("responses", input=[item]).tools == 1


@pytest.mark.parametrize(
    ("kind", "unbounded"),
    [
        ("bash_20250124", False),
        ("text_editor_20250728", False),
        ("computer_20251124", False),
        ("memory_20250818", False),
        ("web_search_20250305", True),
        ("code_execution_20250825", True),
        ("mcp_toolset", True),
    ],
)
def test_anthropics_own_tools(kind: str, unbounded: bool) -> None:
    """It describes them itself, in words that are charged; some of them it also runs, with results of any length."""
    plain = messages({"type": "text", "text": "x"})

    bounds = messages({"type": "text", "text": "x"}, tools=[{"type": kind, "name": "t"}])

    assert bounds.text_bytes >= plain.text_bytes + DESCRIBED
    assert (bounds.tools, bounds.unbounded) == (1, unbounded)


@pytest.mark.parametrize("tools", [[{"google_search": {}}], [{"type": "openrouter:web_search"}], [1], {"a": 1}])
def test_tools_that_the_vendor_runs(tools: Any) -> None:
    """What they find is not in the request. What is no tool is not known to be the caller's."""
    assert chat({"type": "text", "text": "x"}, tools=tools).unbounded


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("openai", {"web_search_options": {"search_context_size": "low"}}),
        ("openai", {"search_parameters": {"mode": "auto"}}),
        ("openai", {"plugins": [{"id": "web"}]}),
        ("anthropic", {"mcp_servers": [{"url": "https://example.com"}], "max_tokens": 1}),
        ("anthropic", {"container": "c", "max_tokens": 1}),
        ("responses", {"prompt": {"id": "p"}, "input": "x"}),
        ("responses", {"prompt": {"id": "p"}}),
        ("responses", {"tools": [{"type": "web_search"}], "input": "x"}),
    ],
)
def test_what_is_found_elsewhere(dialect: str, fields: dict[str, Any]) -> None:
    """A search, a server, a stored template: there is no telling how much the model will read."""
    start = {} if dialect == "responses" else {"messages": [{"role": "user", "content": "x"}]}

    assert found(dialect, **start, **fields).unbounded


@pytest.mark.parametrize(("wish", "unbounded"), [(None, False), ([], False), ({}, True)])
def test_wishes_for_nothing(wish: Any, unbounded: bool) -> None:
    """Are none. An empty object asks for a search with what is usual."""
    bounds = chat({"type": "text", "text": "x"}, tools=wish if wish != {} else None, web_search_options=wish)

    assert (bounds.tools, bounds.unbounded) == (0, unbounded)


def test_predicted_output() -> None:
    """It is no input, and has a place of its own."""
    text = {"type": "text", "text": "x"}
    prediction = {"type": "content", "content": "abc"}

    bounds = chat(text, prediction=prediction)

    assert bounds == Bounds(chat(text).text_bytes, 2, predicted_bytes=len(json.dumps(prediction)))


@pytest.mark.parametrize(
    ("bounds", "picture"),
    [
        (chat({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}), Picture(640, 480)),
        (chat({"image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}), Picture(640, 480, True)),
        (chat({"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"}), Picture(640, 480)),
        (chat({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}), Picture()),
        (chat({"type": "image_url", "image_url": {"url": f"data:image/gif;base64,{BASE64}"}}), Picture()),
        (chat({"type": "image_url", "image_url": [1]}), Picture()),
        (responses({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}), Picture(640, 480)),
        (responses({"type": "input_image", "file_id": "f", "detail": "low"}), Picture(low=True)),
        (messages({"type": "image", "source": {"type": "base64", "data": PNG}}), Picture(640, 480)),
        (messages({"type": "image", "source": {"type": "url", "url": "https://example.com"}}), Picture()),
        (messages({"type": "image", "source": {"type": "file", "file_id": "f"}}), Picture()),
        (messages({"type": "image"}), Picture()),
        (
            messages({"type": "tool_result", "content": [IMAGE]}),
            Picture(640, 480),
        ),
        (
            messages(
                {
                    "type": "document",
                    "source": {"type": "content", "content": [{"type": "image", "source": {"data": PNG}}]},
                }
            ),
            Picture(640, 480),
        ),
        (
            found("responses", input=[{"type": "computer_call_output", "output": {"image_url": f"data:,{PNG}"}}]),
            Picture(640, 480),
        ),
        (
            found("responses", input=[{"type": "function_call_output", "output": [{"type": "input_image"}]}]),
            Picture(),
        ),
    ],
)
def test_images(bounds: Bounds, picture: Picture) -> None:
    """Wherever they are; by their pixels where these are in the request, and never by their bytes."""
    assert bounds.pictures == (picture,)
    assert not bounds.unbounded
    assert bounds.text_bytes < 300


def test_a_picture_that_a_model_has_made() -> None:
    """Is looked at again, like any other."""
    said = [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]

    bounds = found("responses", input=[*said, {"type": "image_generation_call", "id": "i", "result": PNG}])

    assert (bounds.pictures, bounds.unbounded) == ((Picture(640, 480),), False)
    assert bounds.text_bytes < 300


@pytest.mark.parametrize(
    "bounds",
    [
        chat({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{BASE64}"}}),
        chat({"type": "file", "file": {"file_id": "f"}}),
        chat({"type": "file", "file": "f"}),
        chat({"type": "file", "file": {"file_data": 7}}),
        chat({"type": "video_url", "video_url": {"url": "https://example.com/v.mp4"}}),
        chat({"type": "document_url", "document_url": "https://example.com/a.pdf"}),
        chat({"type": "audio_url", "audio_url": {"url": "https://example.com/a.mp3"}}),
        chat({"type": "input_video", "data": "x"}),
        chat({"type": "input_audio", "input_audio": {"url": "https://example.com/a.mp3"}}),
        responses({"type": "input_file", "file_data": BASE64}),
        responses({"type": "input_file", "file_url": "https://example.com/a.pdf"}),
        responses({"type": "input_file", "file_id": "f"}),
        found("responses", input=[{"role": "user", "content": []}, {"type": "item_reference", "id": "i"}]),
        messages({"type": "document", "source": {"type": "base64", "data": BASE64}}),
        messages({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}),
        messages({"type": "document", "source": {"type": "file", "file_id": "f"}}),
        messages({"type": "document"}),
        messages({"type": "container_upload", "file_id": "f"}),
    ],
)
def test_what_has_no_size(bounds: Bounds) -> None:
    """A document whose pages nobody has counted, and what is only referred to."""
    assert bounds.unbounded
    assert bounds.text_bytes < 400
    assert bounds.pictures == ()


@pytest.mark.parametrize(
    ("part", "least", "most"),
    [
        ({"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}, 12_500, 13_000),
        ({"type": "input_audio", "input_audio": {"data": BASE64, "format": "mp3"}}, 25_000, 25_500),
        ({"type": "input_audio", "input_audio": {"data": BASE64, "format": "opus"}}, 400_000, 400_500),
        ({"type": "input_audio", "input_audio": {"data": BASE64, "format": ["wav"]}}, 400_000, 400_500),
        ({"type": "file", "file": {"file_data": f"data:text/csv;base64,{BASE64}"}}, 300_000, 400_500),
        ({"type": "unheard_of", "what": "x" * 1000}, 1000, 1500),
    ],
)
def test_what_is_bounded_by_its_bytes(part: dict[str, Any], least: int, most: int) -> None:
    """Sound by the least that a format can say a second in, a text by itself, and so what nobody here knows."""
    bounds = chat(part)

    assert least <= bounds.text_bytes <= most
    assert not bounds.unbounded


def test_documents_of_text_are_text() -> None:
    """And so are the results of a search that the caller has made."""
    note = {"type": "document", "source": {"type": "text", "data": "x" * 1000}}
    result = {
        "type": "search_result",
        "source": "https://example.com",
        "content": [{"type": "text", "text": "y" * 500}],
    }

    bounds = messages(note, result)

    assert 1500 <= bounds.text_bytes <= 1900
    assert (bounds.unbounded, bounds.pictures) == (False, ())


def test_arguments_of_calls_are_text() -> None:
    """Whatever their fields are named."""
    arguments = {"type": "image", "file_id": "f", "content": [{"type": "video"}]}

    bounds = messages({"type": "tool_use", "id": "t", "name": "f", "input": arguments})

    assert (bounds.unbounded, bounds.pictures) == (False, ())
    assert bounds.text_bytes >= len(json.dumps(arguments, separators=(",", ":")))


def test_contents_that_are_nested_deeply() -> None:
    """Are not followed forever, and count as having no bound."""
    block: dict[str, Any] = {"type": "image"}
    for _ in range(200):
        block = {"type": "tool_result", "content": [block]}

    assert messages(block).unbounded


def test_a_conversation_of_many_parts_counts_all_of_them() -> None:
    """Text around pictures, tools and instructions included."""
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    parts = [{"type": "text", "text": "a" * 1000}, image, image]
    plain = {"messages": [{"role": "system", "content": "b" * 100}, {"role": "user", "content": parts}]}

    bounds = found("openai", **plain, tools=[FUNCTION], response_format={"type": "json_object"})

    assert bounds.pictures == (Picture(640, 480),) * 2
    assert (bounds.messages, bounds.tools) == (3, 1)
    assert 1100 + len(json.dumps([FUNCTION])) <= bounds.text_bytes <= 1700


TEXTS = st.text(max_size=40)
PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.just({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}),
    st.builds(lambda text: {"type": "other", "text": text}, TEXTS),
)
MESSAGES = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXTS | st.lists(PARTS, max_size=4),
)


@given(st.lists(MESSAGES, min_size=1, max_size=5))
def test_no_text_has_more_bytes_than_its_bound(conversation: list[dict[str, Any]]) -> None:
    """So that no tokenizer finds more tokens in it, of which each stands for a byte at least."""
    texts: list[str] = []
    images = 0
    for message in conversation:
        content = message["content"]
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        texts += [message["role"], *(part["text"] for part in parts if "text" in part)]
        images += sum("image_url" in part for part in parts)

    bounds = found("openai", messages=conversation)

    assert bounds.text_bytes >= text_of(*texts)
    assert bounds.messages > len(conversation)
    assert len(bounds.pictures) == images
