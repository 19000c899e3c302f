"""OpenAI's own client as the witness: what it makes of our answers, and what we make of its requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

from arbstr.dialects.chat import ChatCaller
from arbstr.dialects.completions import CompletionCaller
from arbstr.dialects.embeddings import EmbeddingsCaller
from arbstr.dialects.translate import CallerDialect
from arbstr.domain.answer import (
    Begin,
    Event,
    Finish,
    FinishReason,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallBegin,
    ToolCallDelta,
)
from arbstr.domain.conversation import Media, OutputFormat, Text, ToolCall, ToolResult
from arbstr.domain.errors import UpstreamError
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage

USER: Any = {"role": "user", "content": "Hi"}


def client(answer: Callable[[bytes], bytes], *, stream: bool) -> openai.OpenAI:
    """A client whose requests are answered by ``answer``, in memory."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        kind = "text/event-stream" if stream else "application/json"
        return httpx2.Response(200, content=answer(request.read()), headers={"content-type": kind})

    return openai.OpenAI(
        api_key="none",
        base_url="http://gateway.example/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(respond)),
    )


def answering(
    *events: Event,
    caller: CallerDialect | None = None,
    usage: Usage | None = None,
    stream: bool = False,
    asked: list[ChatRequest] | None = None,
) -> openai.OpenAI:
    """A client that is answered with ``events``; the requests that it sends are put into ``asked``."""
    dialect = caller or ChatCaller()
    frames = [*(Frame(b"", events=(event,)) for event in events), Frame(b"", usage=usage)]

    def answer(body: bytes) -> bytes:
        request = dialect.parse(body)
        if asked is not None:
            asked.append(request)
        if not stream:
            return dialect.whole(request, frames, request_id="r", model="m-1", created=7)
        writer = dialect.stream(request, request_id="r", model="m-1", created=7)
        return b"".join(writer.write(frame) for frame in frames) + writer.end(cost_sats=0.5)

    return client(answer, stream=stream)


CALLED: tuple[Event, ...] = (
    Begin(),
    TextDelta("Let me look."),
    ToolCallBegin(0, "call_1", "weather"),
    ToolCallDelta(0, '{"city":'),
    ToolCallDelta(0, '"Paris"}'),
    ToolCallBegin(1, "call_2", "time"),
    Finish(FinishReason.TOOL_CALLS),
)


def test_a_whole_answer() -> None:
    """Text, usage with its details, and what every answer has."""
    sdk = answering(Begin(), TextDelta("Hello"), Finish(FinishReason.LENGTH), usage=Usage(10, 5, 4, 3))

    answer = sdk.chat.completions.create(model="m", messages=[USER])

    assert (answer.id, answer.object, answer.model, answer.created) == ("chatcmpl-r", "chat.completion", "m-1", 7)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hello", "length")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (10, 5, 15)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 3


def test_whole_tool_calls() -> None:
    """Each with arguments that are JSON, even where the model gave none."""
    answer = answering(*CALLED).chat.completions.create(model="m", messages=[USER])

    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in calls
        if isinstance(call, ChatCompletionMessageFunctionToolCall)
    ] == [("call_1", "weather", {"city": "Paris"}), ("call_2", "time", {})]


def test_a_stream() -> None:
    """As the client's own accumulator puts it together, usage and cost included."""
    sdk = answering(*CALLED, usage=Usage(10, 5), stream=True)

    with sdk.chat.completions.stream(model="m", messages=[USER], stream_options={"include_usage": True}) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()

    message = answer.choices[0].message
    assert message.content == "Let me look."
    assert message.tool_calls is not None
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("call_1", "weather", '{"city":"Paris"}'),
        ("call_2", "time", "{}"),
    ]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 15
    assert answer.usage.model_extra == {"cost_sats": 0.5}
    assert {"content.delta", "tool_calls.function.arguments.done"} <= set(kinds)


def test_reasoning_survives_being_given_back() -> None:
    """As the accumulator keeps it: with its proof, ready for the next request."""
    events = [ThinkingDelta("Hm, "), ThinkingDelta("so."), ThinkingDelta(signature="s"), ThinkingDelta(redacted="d")]
    caller = ChatCaller()
    sdk = answering(*events, TextDelta("Yes."), Finish(FinishReason.STOP), stream=True)

    with sdk.chat.completions.stream(model="m", messages=[USER]) as stream:
        message = stream.get_final_completion().choices[0].message

    given_back = [USER, message.model_dump(exclude_none=True, exclude={"parsed"}), USER]
    again = caller.parse(json.dumps({"model": "m", "messages": given_back}).encode())
    thoughts = caller.read(again).messages[1].parts
    assert [getattr(part, "text", None) for part in thoughts] == ["Hm, so.", "", "Yes."]
    assert [getattr(part, "signature", None) for part in thoughts] == ["s", None, None]
    assert [getattr(part, "redacted", None) for part in thoughts] == [None, "d", None]


def test_a_refusal() -> None:
    """In its own field, whole and streamed."""
    events: list[Event] = [RefusalDelta("I "), RefusalDelta("won't."), Finish(FinishReason.REFUSAL)]

    whole = answering(*events).chat.completions.create(model="m", messages=[USER]).choices[0]
    with answering(*events, stream=True).chat.completions.stream(model="m", messages=[USER]) as stream:
        streamed = stream.get_final_completion().choices[0]

    for choice in (whole, streamed):
        assert (choice.message.refusal, choice.finish_reason) == ("I won't.", "stop")


def test_an_error_in_a_stream() -> None:
    """It is raised by the client, with our message."""
    caller = ChatCaller()

    def answer(body: bytes) -> bytes:
        writer = caller.stream(caller.parse(body), request_id="r", model="m", created=7)
        return writer.write(Frame(b"", events=(TextDelta("a"),))) + writer.error(UpstreamError("It broke."))

    stream = client(answer, stream=True).chat.completions.create(model="m", messages=[USER], stream=True)

    with pytest.raises(openai.APIError, match=r"It broke\."):
        list(stream)


class Step(BaseModel):
    explanation: str
    output: int


def test_a_parsed_answer() -> None:
    """Structured output: the schema that the client makes of a class is read, and its answer parsed."""
    asked: list[ChatRequest] = []
    sdk = answering(TextDelta('{"explanation":"1+1",'), TextDelta('"output":2}'), asked=asked)

    answer = sdk.chat.completions.parse(model="m", messages=[USER], response_format=Step)

    assert answer.choices[0].message.parsed == Step(explanation="1+1", output=2)
    found = ChatCaller().read(asked[0]).output_format
    assert isinstance(found, OutputFormat)
    assert found.schema is not None
    assert (found.name, found.strict, found.schema["required"]) == ("Step", True, ["explanation", "output"])


def test_a_request_of_every_kind() -> None:
    """Typed by the client's own types: images, files, audio, tools and their results."""
    asked: list[ChatRequest] = []
    answering(TextDelta("a"), asked=asked).chat.completions.create(
        model="m",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See:"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
                ],
            },
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
        reasoning_effort="low",
        stop=["x"],
        metadata={"a": "b"},
    )

    conversation = ChatCaller().read(asked[0])

    assert conversation.instructions == (Text("Be brief."),)
    assert [message.parts for message in conversation.messages] == [
        (
            Text("See:"),
            Media("image", data="AAAA", media_type="image/png", detail="low"),
            Media("audio", data="AAAA", media_type="audio/mpeg"),
            Media("document", data="AAAA", media_type="application/pdf", name="a.pdf"),
        ),
        (ToolCall("c", "f", "{}"),),
        (ToolResult("c", (Text("1"),)),),
    ]
    assert (conversation.stop, conversation.dropped) == (("x",), ("metadata",))


def test_completions() -> None:
    """Whole and streamed, by their own caller's dialect."""
    events: list[Event] = [Begin(), TextDelta(" world"), TextDelta("!"), Finish(FinishReason.LENGTH)]

    whole = answering(*events, caller=CompletionCaller(), usage=Usage(1, 2)).completions.create(
        model="m", prompt="Hello", echo=True
    )
    chunks = list(
        answering(*events, caller=CompletionCaller(), usage=Usage(1, 2), stream=True).completions.create(
            model="m", prompt="Hello", stream=True, stream_options={"include_usage": True}
        )
    )

    assert (whole.object, whole.choices[0].text, whole.choices[0].finish_reason) == (
        "text_completion",
        "Hello world!",
        "length",
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == " world!"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices] == [None, None, "length"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 3


def test_embeddings() -> None:
    """What the client sends is read, tokens as well, and passes on unchanged but for the model."""
    caller = EmbeddingsCaller()
    sent: list[dict[str, Any]] = []

    def answer(body: bytes) -> bytes:
        sent.append(json.loads(caller.encode_same(caller.parse(body), model="theirs")))
        return b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m"}'

    sdk = client(answer, stream=False)
    sdk.embeddings.create(model="m", input="Hi", encoding_format="float")
    sdk.embeddings.create(model="m", input=[[1, 2], [3]], dimensions=8)

    assert sent == [
        {"model": "theirs", "input": "Hi", "encoding_format": "float"},
        {"model": "theirs", "input": [[1, 2], [3]], "dimensions": 8, "encoding_format": "base64"},
    ]
