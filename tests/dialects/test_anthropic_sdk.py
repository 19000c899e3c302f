"""Anthropic's own package as a witness: it reads what we write for callers, and what it sends is read here.

No byte leaves the process: the package is given a transport that answers from memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message

from arbstr.dialects.anthropic import CALLER, PROVIDER, count_answer, parse_count
from arbstr.domain.answer import TextDelta, ThinkingDelta, ToolCallBegin
from arbstr.domain.conversation import Media, Reasoning, Text, Thinking, ToolCall, ToolChoice, ToolResult
from arbstr.domain.errors import (
    CircuitsOpen,
    GatewayError,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    RateLimited,
    RequestTooLarge,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)
from arbstr.domain.events import Frame
from tests.dialects.test_anthropic_golden import GOLDEN, folders

JSON = {"content-type": "application/json"}
HELLO: Any = [{"role": "user", "content": "Hello"}]
BROKEN = (
    "after-stop",
    "cut",
    "error",
    "finish-without",
    "json-answer",
    "malformed",
    "unknown-events",
    "usage-absurd",
    "wrong-types",
)
"""Recorded streams that are wrong on purpose, or that mean something to us alone."""


def client(answer: Callable[[httpx2.Request], httpx2.Response]) -> anthropic.Anthropic:
    transport = httpx2.MockTransport(answer)
    return anthropic.Anthropic(api_key="key", max_retries=0, http_client=httpx2.Client(transport=transport))


def streaming(body: bytes) -> anthropic.Anthropic:
    return client(lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body))


def answering(body: bytes, status: int = 200) -> anthropic.Anthropic:
    headers = {"content-type": "application/json", "request-id": "req_1"}
    return client(lambda _: httpx2.Response(status, headers=headers, content=body))


def streamed(body: bytes) -> Message:
    """The message that the package puts together from a stream."""
    with streaming(body).messages.stream(model="m", max_tokens=5, messages=HELLO) as stream:
        return stream.get_final_message()


def sent(**fields: Any) -> bytes:
    """The body that the package sends."""
    bodies: list[bytes] = []

    def keep(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.read())
        return httpx2.Response(
            200, json=json.loads((GOLDEN / "openai-anthropic/whole-text/anthropic.json").read_bytes())
        )

    client(keep).messages.create(**{"model": "m", "max_tokens": 5, "messages": HELLO, **fields})
    return bodies[0]


@pytest.mark.parametrize("folder", folders("anthropic-openai", "answer.sse"))
def test_the_package_reads_our_streams(folder: Path) -> None:
    """What it puts together from our stream is our whole answer, but for what we add to the usage."""
    whole = json.loads((folder / "answer.json").read_bytes())

    message = streamed((folder / "answer.sse").read_bytes())

    assert message.usage.to_dict() == whole.pop("usage")
    found = message.to_dict(exclude_none=True)
    del found["usage"]
    if folder.name == "answer-tools-and-stop":  # a call that was cut: the package keeps what it can read of it
        found["content"] = whole["content"]
    assert found == without_none(whole)


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_none(item) for name, item in value.items() if item is not None}
    return value


def test_the_cost_is_in_the_usage_of_the_last_event() -> None:
    """Where the package hands it on as an extra field."""
    stream = (GOLDEN / "anthropic-openai" / "answer-text" / "answer.sse").read_bytes()

    events = list(streaming(stream).messages.create(model="m", max_tokens=5, messages=HELLO, stream=True))

    assert [event.usage.to_dict()["cost_sats"] for event in events if event.type == "message_delta"] == [0.25]


@pytest.mark.parametrize("folder", folders("anthropic-openai", "answer.json"))
def test_the_package_reads_our_whole_answers(folder: Path) -> None:
    """Each is a message of the type that the package knows, with nothing lost."""
    whole = (folder / "answer.json").read_bytes()

    message = answering(whole).messages.create(model="m", max_tokens=5, messages=HELLO)

    assert message.to_dict(exclude_unset=True) == json.loads(whole)
    Message.model_validate(json.loads(whole), strict=True)


@pytest.mark.parametrize(
    "folder", [one for one in folders("openai-anthropic", "anthropic.sse") if not one.id.startswith(BROKEN)]
)
def test_the_package_and_we_read_the_same(folder: Path) -> None:
    """The recorded streams are streams to the package, too, and it finds the texts and calls that we find."""
    stream = (folder / "anthropic.sse").read_bytes()
    decoder = PROVIDER.decoder(events=True)
    frames = decoder.feed(stream) + decoder.finish()
    events = [event for frame in frames for event in frame.events]

    message = streamed(stream)

    blocks = message.content
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    thought = "".join(event.text for event in events if isinstance(event, ThinkingDelta))
    assert text.replace("\ufffd", "") == "".join(one.text for one in blocks if one.type == "text").replace("\ud83d", "")
    assert thought == "".join(one.thinking for one in blocks if one.type == "thinking")
    assert [(event.id, event.name) for event in events if isinstance(event, ToolCallBegin)] == [
        (one.id, one.name) for one in blocks if one.type == "tool_use"
    ]
    usage = next(frame.usage for frame in reversed(frames) if frame.usage is not None)
    assert usage.output_tokens == message.usage.output_tokens
    assert usage.input_tokens == sum(
        (
            message.usage.input_tokens,
            message.usage.cache_read_input_tokens or 0,
            message.usage.cache_creation_input_tokens or 0,
        )
    )


@pytest.mark.parametrize(
    ("error", "raised", "kind"),
    [
        (InvalidRequest("m"), anthropic.BadRequestError, "invalid_request_error"),
        (ModelNotFound("m"), anthropic.NotFoundError, "not_found_error"),
        (RequestTooLarge("m"), anthropic.APIStatusError, "request_too_large"),
        (RateLimited("m"), anthropic.RateLimitError, "rate_limit_error"),
        (InternalError("m"), anthropic.InternalServerError, "api_error"),
        (UpstreamError("m"), anthropic.InternalServerError, "api_error"),
        (Overloaded("m"), anthropic.InternalServerError, "overloaded_error"),
        (CircuitsOpen("m"), anthropic.InternalServerError, "overloaded_error"),
        (UpstreamTimeout("m"), anthropic.InternalServerError, "timeout_error"),
        (UpstreamRejected("m", status=422), anthropic.UnprocessableEntityError, "invalid_request_error"),
    ],
)
def test_the_package_raises_our_errors(error: GatewayError, raised: type[anthropic.APIStatusError], kind: str) -> None:
    """Each by the class of its status, with Anthropic's type, our code and the message."""
    refusing = answering(CALLER.error(error), error.status)

    with pytest.raises(raised) as caught:
        refusing.messages.create(model="m", max_tokens=5, messages=HELLO)

    assert (caught.value.status_code, caught.value.type) == (error.status, kind)
    assert (caught.value.api_message, caught.value.error_code) == ("m", error.code)


def test_the_package_raises_an_error_in_a_stream() -> None:
    """After the first bytes, too, and what came before it is not taken for a whole answer."""
    writer = CALLER.stream(CALLER.parse(sent()), request_id="r-1", model="m", created=0)
    begun = writer.write(Frame(b"", events=(TextDelta("Hel"),)))

    with pytest.raises(anthropic.APIStatusError) as caught:
        streamed(begun + writer.error(UpstreamError("It broke.")))

    assert caught.value.type == "api_error"
    assert caught.value.api_message == "It broke."


def test_what_the_package_sends_is_read() -> None:
    """Every part of a request, as the package writes it."""
    raw = sent(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                    {"type": "text", "text": "What is it?"},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"},
                    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"closer": True}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "A cat."}]},
        ],
        tools=[{"name": "look", "input_schema": {"type": "object", "properties": {"closer": {"type": "boolean"}}}}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 1024},
        max_tokens=2048,
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
    )

    request = CALLER.parse(raw)
    conversation = CALLER.read(request)

    assert (request.model, request.max_tokens, request.stream, request.dialect) == ("m", 2048, False, "anthropic")
    assert [text.text for text in conversation.instructions] == ["Be brief."]
    asked, thought, result = (message.parts for message in conversation.messages)
    assert asked == (Media("image", url="https://example.com/a.png"), Text("What is it?"))
    assert thought == (Thinking("Hm.", signature="EqQB"), ToolCall("toolu_1", "look", '{"closer":true}'))
    assert result == (ToolResult("toolu_1", (Text("A cat."),)),)
    assert (conversation.tool_choice, conversation.parallel_tool_calls) == (ToolChoice("auto"), False)
    assert conversation.reasoning == Reasoning(budget_tokens=1024)
    assert (conversation.stop, conversation.user) == (("END",), "u-1")
    assert conversation.dropped == ()


def test_the_package_counts_tokens() -> None:
    """What it sends to count has no ``max_tokens``, and it reads the number."""

    def count(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=count_answer(parse_count(request.read())), headers=JSON)

    assert client(count).messages.count_tokens(model="m", messages=HELLO).input_tokens == 3
