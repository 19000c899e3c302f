from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response
from pydantic import BaseModel

from arbstr.dialects.responses import ResponsesCaller
from arbstr.dialects.responses.answer import LONGEST
from arbstr.dialects.translate import CallerDialect, StreamWriter
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
from arbstr.domain.errors import FailureKind, UpstreamError, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage

CALLER: CallerDialect = ResponsesCaller()
STOP = Finish(FinishReason.STOP)
TOOLS = [
    {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False},
    {"type": "custom", "name": "patch"},
]
EVERYTHING: tuple[Event, ...] = (
    Begin("x", "m"),
    ThinkingDelta("Let me "),
    ThinkingDelta("see."),
    ThinkingDelta(signature="sig"),
    TextDelta("Grüße"),
    TextDelta(" 🤝"),
    ToolCallBegin(0, "call_1", "weather"),
    ToolCallDelta(0, '{"city":'),
    ToolCallDelta(0, '"Oslo"}'),
    ToolCallBegin(1, "call_2", "patch"),
    ToolCallDelta(1, '{"input":"*** a"}'),
    Finish(FinishReason.TOOL_CALLS),
)


def asked(**fields: Any) -> ChatRequest:
    return CALLER.parse(json.dumps({"model": "gpt-4.1", "input": "hello", "stream": True, **fields}).encode())


def writer(**fields: Any) -> StreamWriter:
    return CALLER.stream(asked(**fields), request_id="0199-ab", model="served", created=1763640000)


def told(*events: Event, usage: Usage | None = None, cost: float | None = None, **fields: Any) -> bytes:
    stream = writer(**fields)
    said = b"".join(stream.write(Frame(b"", events=(event,))) for event in events)
    return said + stream.write(Frame(b"", usage=usage)) + stream.end(cost_sats=cost)


def parsed(stream: bytes) -> list[dict[str, Any]]:
    """The events' data, each of which names its own type as the event does."""
    found = []
    for block in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def client(answer: bytes, *, content_type: str = "text/event-stream") -> openai.OpenAI:
    def handler(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": content_type}, content=answer)

    transport = httpx2.MockTransport(handler)
    return openai.OpenAI(
        api_key="none",
        base_url="http://127.0.0.1/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
        _strict_response_validation=True,
    )


def test_the_sdk_collects_a_stream() -> None:
    """What the vendor's own client makes of the events is the response that ends them."""
    answer = told(*EVERYTHING, usage=Usage(10, 20, 4, 5), cost=1.5, tools=TOOLS)

    with client(answer) as sdk, sdk.responses.stream(model="gpt-4.1", input="hello") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()

    assert deltas == final.output_text == "Grüße 🤝"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call", "custom_tool_call"]
    reasoning, _, call, custom = final.output
    assert reasoning.type == "reasoning"
    assert reasoning.summary[0].text == "Let me see."
    assert call.type == "function_call"
    assert (call.call_id, call.name, json.loads(call.arguments)) == ("call_1", "weather", {"city": "Oslo"})
    assert custom.type == "custom_tool_call"
    assert custom.input == "*** a"
    assert final.usage is not None
    assert (final.usage.input_tokens, final.usage.output_tokens, final.usage.total_tokens) == (10, 20, 30)
    assert final.usage.input_tokens_details.cached_tokens == 4
    assert final.usage.output_tokens_details.reasoning_tokens == 5
    assert final.usage.to_dict()["cost_sats"] == 1.5


def test_the_sdk_sees_every_event_as_one_that_it_knows() -> None:
    """Each has the fields that its type in the vendor's own client requires, and is counted."""
    answer = told(*EVERYTHING, RefusalDelta("No."), usage=Usage(10, 20), tools=TOOLS)

    with client(answer) as sdk:
        events = list(sdk.responses.create(model="gpt-4.1", input="hello", stream=True))

    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        type(event).model_validate(event.to_dict())


def test_the_sdk_reads_a_whole_response() -> None:
    """With strict validation, nothing is missing and nothing is of another type."""
    frames = [Frame(b"", events=EVERYTHING, usage=Usage(10, 20, 4, 5))]

    answer = CALLER.whole(asked(tools=TOOLS), frames, request_id="0199-ab", model="served", created=1763640000)
    with client(answer, content_type="application/json") as sdk:
        response = sdk.responses.create(model="gpt-4.1", input="hello")

    assert response.output_text == "Grüße 🤝"
    assert response.status == "completed"
    assert response.model == "served"


def test_the_sdk_parses_structured_output() -> None:
    """The answer to a schema is an object for the vendor's own client, streamed or whole."""

    class Day(BaseModel):
        name: str

    with client(told(TextDelta('{"name":'), TextDelta('"Friday"}'), STOP)) as sdk:
        with sdk.responses.stream(model="gpt-4.1", input="When?", text_format=Day) as stream:
            final = stream.get_final_response()

    assert final.output_parsed == Day(name="Friday")


def test_the_sdk_fails_at_an_error() -> None:
    """A stream that broke raises in the vendor's own client, with what was said."""
    stream = writer()
    answer = stream.write(Frame(b"", events=(TextDelta("Hel"),))) + stream.error(UpstreamError("The provider is gone."))

    with client(answer) as sdk, pytest.raises(openai.APIError, match="The provider is gone"):
        list(sdk.responses.create(model="gpt-4.1", input="hello", stream=True))


def test_a_stream_that_breaks_tells_how_far_it_came() -> None:
    """The error has its number in the sequence and both of its forms; then the response has failed."""
    stream = writer()
    said = stream.write(Frame(b"", events=(TextDelta("Hel"),)))

    events = parsed(said + stream.error(UpstreamError("gone", param="model")))

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events][-3:] == ["response.output_item.done", "error", "response.failed"]
    fields = {"message": "gone", "code": "upstream_error", "param": "model"}
    assert events[-2] == {
        "type": "error",
        "sequence_number": len(events) - 2,
        **fields,
        "error": {**fields, "type": "upstream_error"},
    }
    response = events[-1]["response"]
    assert (response["status"], response["error"]) == ("failed", {"code": "server_error", "message": "gone"})
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["text"] == "Hel"


def test_errors_outside_of_a_response() -> None:
    """The body of an error answer is the vendor's; the event is one that its client raises for."""
    error = UpstreamError("gone")

    assert json.loads(CALLER.error(error))["error"]["code"] == "upstream_error"
    with client(CALLER.error_event(error)) as sdk, pytest.raises(openai.APIError, match="gone"):
        list(sdk.responses.create(model="gpt-4.1", input="hello", stream=True))


def test_nothing_is_said_before_there_is_something_to_say() -> None:
    """Frames without events make no bytes; the first event begins the response, whatever it is."""
    stream = writer()

    assert stream.write(Frame(b": ping\n\n", comment=True)) == b""
    types = [event["type"] for event in parsed(stream.write(Frame(b"", events=(Begin(),))))]
    assert types == ["response.created", "response.in_progress"]


def test_an_answer_without_content_is_complete() -> None:
    """Nothing but an end is a response without output."""
    events = parsed(writer().end(cost_sats=None))

    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.completed"]
    assert events[-1]["response"]["output"] == []


def test_usage_that_nobody_counted_is_estimated() -> None:
    """Callers read the usage of every response; a provider that counts only its input is believed in that."""
    frame = Frame(b"", content_bytes=9, events=(TextDelta("some text"),))
    silent, half = writer(input="x" * 40), writer(input="x" * 40)

    for stream in (silent, half):
        stream.write(frame)
    half.write(Frame(b"", usage=Usage(7, 0)))

    counts = [parsed(stream.end(cost_sats=3))[-1]["response"]["usage"] for stream in (silent, half)]
    assert [(usage["input_tokens"], usage["output_tokens"]) for usage in counts] == [(10, 3), (7, 3)]
    assert [usage["cost_sats"] for usage in counts] == [3, 3]


def test_only_the_first_of_several_choices_is_told() -> None:
    """The dialect has one; events of others are not mixed into it."""
    events = parsed(told(TextDelta("a"), TextDelta("b", choice=1), TextDelta("c"), STOP))

    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "ac"


@pytest.mark.parametrize("reason", [FinishReason.LENGTH, FinishReason.PAUSE])
def test_an_answer_with_more_to_come_is_incomplete(reason: FinishReason) -> None:
    """Cut at a limit, or paused by the vendor."""
    events = parsed(told(TextDelta("a"), Finish(reason)))

    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_tool_call_that_goes_on_after_its_end_cannot_be_told() -> None:
    """An item that is done stays as it is: rather no answer than arguments without their end."""
    stream = writer()
    calls = (ToolCallBegin(0, "call_1", "f"), ToolCallDelta(0, "{}"), ToolCallBegin(1, "call_2", "g"))
    stream.write(Frame(b"", events=calls))

    with pytest.raises(UpstreamFailure) as caught:
        stream.write(Frame(b"", events=(ToolCallDelta(0, "{}"),)))

    assert caught.value.kind is FailureKind.UNREADABLE


def test_a_custom_tool_gets_what_the_model_wrote_where_it_is_no_json() -> None:
    """A model that ignores the schema still calls the tool."""
    events = parsed(told(ToolCallBegin(0, "call_1", "patch"), ToolCallDelta(0, "*** a"), STOP, tools=TOOLS))

    assert events[-1]["response"]["output"][0]["input"] == "*** a"


def test_tools_that_cannot_be_read_are_functions() -> None:
    """The request went to a provider that reads them; its calls are told as they are."""
    tools = [{"type": "custom", "name": "patch"}, {"type": "mcp"}]

    events = parsed(told(ToolCallBegin(0, "call_1", "patch"), ToolCallDelta(0, "{}"), STOP, tools=tools))

    assert events[-1]["response"]["output"][0]["type"] == "function_call"


def test_what_is_repeated_of_the_request_has_no_line_ends() -> None:
    """A value that the caller wrote in several lines is one line of an event."""
    raw = b'{"model":"m","input":"x","stream":true,"tools":[\n\r\n{"type":"function",\n"name":"f"}],"metadata":null}'

    stream = CALLER.stream(CALLER.parse(raw), request_id="1", model="m", created=1)
    response = parsed(stream.end(cost_sats=None))[-1]["response"]

    assert response["tools"] == [{"type": "function", "name": "f"}]
    assert response["metadata"] == {}


def test_what_comes_back_is_read_as_it_was_said() -> None:
    """The output of an answer, sent with the next request, is the same reasoning, text and calls."""
    output = parsed(told(*EVERYTHING, tools=TOOLS))[-1]["response"]["output"]

    conversation = CALLER.read(asked(tools=TOOLS, input=[{"role": "user", "content": "hello"}, *output]))

    shown = [repr(part) for part in conversation.messages[1].parts]
    assert len(conversation.messages) == 2
    assert shown == [
        "Thinking(text='Let me see.', signature='sig', redacted=None)",
        "Text(text='Grüße 🤝', cache=None)",
        "ToolCall(id='call_1', name='weather', arguments='{\"city\":\"Oslo\"}', signature=None, cache=None)",
        "ToolCall(id='call_2', name='patch', arguments='{\"input\":\"*** a\"}', signature=None, cache=None)",
    ]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=8).map(TextDelta),
            st.text(max_size=8).map(RefusalDelta),
            st.builds(ThinkingDelta, text=st.text(max_size=8), signature=st.none() | st.just("s")),
            st.builds(ThinkingDelta, redacted=st.just("r")),
        ),
        max_size=12,
    )
)
def test_streams_and_whole_responses_say_the_same(events: list[Event]) -> None:
    """Whatever comes in whatever order: the SDK follows it, and the whole response is the one that ends the stream."""
    stream = told(*events, STOP)

    whole = CALLER.whole(
        asked(),
        [Frame(b"", events=tuple(events)), Frame(b"", events=(STOP,))],
        request_id="0199-ab",
        model="served",
        created=1763640000,
    )

    assert parsed(stream)[-1]["response"] == json.loads(whole)
    response = Response.model_validate(json.loads(whole))
    assert response.output_text == "".join(event.text for event in events if isinstance(event, TextDelta))
    with client(stream) as sdk, sdk.responses.stream(model="gpt-4.1", input="hello") as collected:
        assert collected.get_final_response().output_text == response.output_text


def test_an_endless_answer_is_not_kept_without_end() -> None:
    """What the end repeats is kept until then, but no more of it than a model writes; the end says what broke."""
    stream = writer()
    piece = Frame(b"", content=True, content_bytes=LONGEST // 2, events=(TextDelta("x"),))
    said = stream.write(piece) + stream.write(piece)

    with pytest.raises(UpstreamFailure, match="longer than 8388608 bytes") as broke:
        stream.write(piece)

    assert broke.value.kind is FailureKind.UNREADABLE
    events = parsed(said + stream.error(UpstreamError("too long")))
    assert [event["type"] for event in events][-2:] == ["error", "response.failed"]
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "xx"
