"""Gemini as a provider's dialect: paths, errors, generations of models, schemas, signatures."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.gemini import GeminiDialect, path, read_models, vertex_path
from arbstr.dialects.gemini.answer import read_usage
from arbstr.dialects.gemini.schema import gemini_schema
from arbstr.dialects.gemini.stream import GeminiDecoder
from arbstr.domain.answer import Begin, TextDelta, ThinkingDelta, ToolCallBegin, ToolCallDelta
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
from arbstr.domain.errors import FailureKind, InvalidRequest, UpstreamFailure
from arbstr.domain.usage import Usage
from tests.dialects.vendors import GOLDEN, fed

GEMINI = GeminiDialect()
TOOL = Tool("f", None, None)


def says(*parts: Part, role: Role = Role.USER, **more: Any) -> Conversation:
    return Conversation(instructions=(), messages=(Message(role, parts),), **more)


def sent(conversation: Conversation, model: str = "gemini-2.5-flash") -> dict[str, Any]:
    body: dict[str, Any] = json.loads(GEMINI.write(conversation, model=model, stream=False).body)
    return body


def error(code: int, status: str, message: str, *details: dict[str, Any]) -> bytes:
    return json.dumps(
        {"error": {"code": code, "message": message, "status": status, "details": list(details)}}
    ).encode()


def quota(name: str, delay: str | None = "27s", value: str = "15") -> list[dict[str, Any]]:
    violation = {"quotaMetric": "generativelanguage.googleapis.com/requests", "quotaId": name, "quotaValue": value}
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    ]
    if delay:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return details


EXCEEDED = "You exceeded your current quota, please check your plan and billing details."
KEY_INVALID = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
BILLING = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "BILLING_DISABLED"}


@pytest.mark.parametrize(
    ("model", "stream", "expected"),
    [
        ("gemini-2.5-flash", False, "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("gemini-2.5-flash", True, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("models/gemini-2.5-flash", False, "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("tunedModels/mine-1", False, "/v1beta/tunedModels/mine-1:generateContent"),
        ("a?key=b#c é", False, "/v1beta/models/a%3Fkey%3Db%23c%20%C3%A9:generateContent"),
    ],
)
def test_path(model: str, stream: bool, expected: str) -> None:
    """The model's name cannot leave its place in the path."""
    assert path(model, stream) == expected


def test_vertex_path() -> None:
    """At Vertex a model belongs to a project and a place."""
    assert vertex_path("gemini-2.5-pro", True, project="p-1", location="us-central1") == (
        "/v1/projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    )
    assert vertex_path("endpoints/12", False, project="p", location="eu") == (
        "/v1/projects/p/locations/eu/endpoints/12:generateContent"
    )


@pytest.mark.parametrize(
    ("status", "body", "kind", "retry_after"),
    [
        (400, error(400, "INVALID_ARGUMENT", "API key not valid.", KEY_INVALID), FailureKind.KEY_REFUSED, None),
        (401, error(401, "UNAUTHENTICATED", "No credentials."), FailureKind.KEY_REFUSED, None),
        (403, error(403, "PERMISSION_DENIED", "Denied."), FailureKind.KEY_REFUSED, None),
        (403, error(403, "PERMISSION_DENIED", "Billing.", BILLING), FailureKind.OUT_OF_CREDIT, None),
        (
            400,
            error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
            FailureKind.KEY_REFUSED,
            None,
        ),
        (400, error(400, "FAILED_PRECONDITION", "The file is not ready."), FailureKind.REJECTED, None),
        (400, error(400, "INVALID_ARGUMENT", "Unknown name foo: Cannot find field."), FailureKind.REJECTED, None),
        (
            400,
            error(
                400,
                "INVALID_ARGUMENT",
                "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576).",
            ),
            FailureKind.CONTEXT_TOO_LONG,
            None,
        ),
        (
            404,
            error(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta."),
            FailureKind.MODEL_MISSING,
            None,
        ),
        (
            429,
            error(429, "RESOURCE_EXHAUSTED", EXCEEDED, *quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")),
            FailureKind.RATE_LIMITED,
            27.0,
        ),
        (
            429,
            error(429, "RESOURCE_EXHAUSTED", EXCEEDED, *quota("GenerateRequestsPerDayPerProjectPerModel", "3.5s")),
            FailureKind.OUT_OF_CREDIT,
            3.5,
        ),
        (
            429,
            error(429, "RESOURCE_EXHAUSTED", EXCEEDED, *quota("InputTokensPerMinute", "1s", value="0")),
            FailureKind.OUT_OF_CREDIT,
            1.0,
        ),
        (429, error(429, "RESOURCE_EXHAUSTED", EXCEEDED), FailureKind.OUT_OF_CREDIT, None),
        (
            429,
            error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
            FailureKind.RATE_LIMITED,
            None,
        ),
        (
            429,
            error(429, "RESOURCE_EXHAUSTED", "Slow down.", {"retryDelay": "bad"}, {"retryDelay": "99999s"}),
            FailureKind.RATE_LIMITED,
            3600.0,
        ),
        (429, b"[" + error(429, "RESOURCE_EXHAUSTED", "Resource exhausted.") + b"]", FailureKind.RATE_LIMITED, None),
        (499, error(499, "CANCELLED", "Cancelled."), FailureKind.TRANSIENT, None),
        (500, error(500, "INTERNAL", "An internal error has occurred."), FailureKind.SERVER_ERROR, None),
        (503, error(503, "UNAVAILABLE", "The model is overloaded."), FailureKind.SERVER_ERROR, None),
        (504, error(504, "DEADLINE_EXCEEDED", "Deadline expired."), FailureKind.SERVER_ERROR, None),
        (502, b"<html>Bad gateway</html>", FailureKind.SERVER_ERROR, None),
        (
            400,
            b'{"error": {"details": [7, {"reason": 8, "violations": [9]}], "status": 1}}',
            FailureKind.REJECTED,
            None,
        ),
    ],
)
def test_errors(status: int, body: bytes, kind: FailureKind, retry_after: float | None) -> None:
    """Each of Google's errors is what it means for us: our key, a rate, a quota, a model, the request."""
    failure = GEMINI.failure(status, {}, body, now_epoch=0)

    assert (failure.kind, failure.status, failure.retry_after) == (kind, status, retry_after)


def test_retry_after_header_first() -> None:
    """The header is the finer wish."""
    body = error(429, "RESOURCE_EXHAUSTED", EXCEEDED, *quota("PerMinute"))

    assert GEMINI.failure(429, {"retry-after": "3"}, body, now_epoch=0).retry_after == 3.0


def test_error_in_a_stream_names_its_status() -> None:
    """An error that comes as an event is the failure that its code stands for."""
    [frame] = fed(GEMINI.decoder(events=True), b"data: " + error(429, "RESOURCE_EXHAUSTED", "Slow down.") + b"\n\n")

    assert frame.failure is not None
    assert frame.failure.kind is FailureKind.RATE_LIMITED


@given(st.data())
def test_any_cut(data: st.DataObject) -> None:
    """The events of a stream do not depend on how its bytes are cut."""
    name = data.draw(st.sampled_from(["stream-text", "stream-tools", "stream-two-choices", "stream-broken-event"]))
    stream = (GOLDEN / "openai-gemini" / name / "answer.sse").read_bytes()
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10))), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]

    cut = fed(GEMINI.decoder(events=True), *pieces)

    whole = fed(GEMINI.decoder(events=True), stream)
    assert [(frame.data, frame.events) for frame in cut if not frame.comment] == [
        (frame.data, frame.events) for frame in whole if not frame.comment
    ]


def test_too_large_event() -> None:
    """An event beyond the limit cannot be framed."""
    decoder = GeminiDecoder(events=True, max_event=100)

    with pytest.raises(UpstreamFailure) as failed:
        decoder.feed(b"data: " + b"x" * 200)
    assert failed.value.kind is FailureKind.UNREADABLE
    with pytest.raises(UpstreamFailure):
        decoder.finish()


def test_last_event_without_blank_line() -> None:
    """A stream whose last event lacks its end has it all the same."""
    decoder = GEMINI.decoder(events=True)

    assert decoder.feed(b'data: {"candidates":[{"finishReason":"STOP"}]}') == []
    assert [frame.finish for frame in decoder.finish()] == ["stop"]


def test_signatures_go_round() -> None:
    """What Gemini signed goes back as it came; what others signed does not."""
    answer = b'{"candidates":[{"content":{"parts":[{"text":"t","thoughtSignature":"AAA="}]},"finishReason":"STOP"}]}'
    events = GEMINI.parse_whole(answer, events=True).events
    [signed] = [event.signature for event in events if isinstance(event, ThinkingDelta)]
    thoughts = (Thinking("", signed), Thinking("plan", signed), Thinking("no", "EqoBCkg="), Thinking("no"))
    conversation = Conversation((), (Message(Role.USER, (Text("q"),)), Message(Role.ASSISTANT, thoughts)))

    written = GEMINI.write(conversation, model="gemini-2.5-pro", stream=False)

    assert json.loads(written.body)["contents"][1]["parts"] == [
        {"text": "", "thoughtSignature": "AAA="},
        {"text": "plan", "thought": True, "thoughtSignature": "AAA="},
    ]
    assert written.dropped == ("reasoning_content",)


def test_signed_calls() -> None:
    """A call keeps its own signature; without one, Gemini 3 is told to do without, once for parallel calls."""
    calls = (ToolCall("a", "f", "{}", signature="SIG="), ToolCall("b", "g", "{}"))
    unsigned = (ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}"))

    def signatures(parts: tuple[ToolCall, ...], model: str) -> list[str | None]:
        body = sent(Conversation((), (Message(Role.USER, (Text("q"),)), Message(Role.ASSISTANT, parts))), model)
        return [part.get("thoughtSignature") for part in body["contents"][1]["parts"]]

    assert signatures(calls, "gemini-3-pro-preview") == ["SIG=", None]
    assert signatures(unsigned, "gemini-3-pro-preview") == ["skip_thought_signature_validator", None]
    assert signatures(unsigned, "gemini-2.5-pro") == [None, None]


def test_repeated_finish() -> None:
    """A model that says twice that it has finished has finished once."""
    chunk = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}\n\n'

    frames = fed(GEMINI.decoder(events=True), chunk + chunk)

    events = [event for frame in frames for event in frame.events]
    assert [type(event).__name__ for event in events] == ["Begin", "TextDelta", "Finish", "TextDelta"]


def test_imitators_end() -> None:
    """An end mark, which Gemini does not send, is one all the same."""
    [frame] = fed(GEMINI.decoder(events=True), b"data: [DONE]\n\n")

    assert (frame.done, frame.malformed) == (True, False)


def test_unusual_parts() -> None:
    """What says nothing is nothing, null arguments are none, and what is not text is not taken for it."""
    answer = (
        b'{"candidates":[{"content":{"parts":[{"text":""},{"inlineData":{}},{"functionCall":{"name":"f","args":null}},'
        b'{"text":4}]},"finishReason":5}]}'
    )

    frame = GEMINI.parse_whole(answer, events=True)

    assert [event.arguments for event in frame.events if isinstance(event, ToolCallDelta)] == ["{}"]
    assert [type(event).__name__ for event in frame.events] == ["Begin", "ToolCallBegin", "ToolCallDelta", "Finish"]
    assert frame.finish == "tool_calls"


def test_tolerant_calls() -> None:
    """A call beside something that cannot be read is read all the same."""
    answer = (
        b'[{"candidates":[{"content":{"parts":["x",{"functionCall":{"name":"f","args":{"a":1}}},'
        b'{"functionCall":{"name":"g","args":[]}}]}}]}]'
    )

    frame = GEMINI.parse_whole(answer, events=True)

    assert [event.arguments for event in frame.events if isinstance(event, ToolCallDelta)] == ['{"a":1}', "{}"]


def test_no_answer() -> None:
    """What is no object is no answer."""
    for body in (b"", b"[1, 2]", b"7"):
        with pytest.raises(UpstreamFailure) as failed:
            GEMINI.parse_whole(body, events=True)
        assert failed.value.kind is FailureKind.UNREADABLE


def test_parts_in_unusual_places() -> None:
    """Calls, refusals and results are told wherever they stand, and the instructions go before the model's turn."""
    conversation = Conversation(
        (Text("Be brief.", cache=CacheHint()),),
        (
            Message(Role.ASSISTANT, (Refusal("no"), Refusal(""), ToolCall("a", "f", ""))),
            Message(Role.ASSISTANT, (ToolResult("a", (Text("x"),)),)),
            Message(Role.USER, (ToolCall("b", "g", ""),)),
        ),
    )

    written = GEMINI.write(conversation, model="gemma-3-4b-it", stream=False)

    contents = json.loads(written.body)["contents"]
    assert [(turn["role"], [next(iter(part)) for part in turn["parts"]]) for turn in contents] == [
        ("user", ["text"]),
        ("model", ["text", "functionCall", "functionResponse"]),
        ("user", ["functionCall"]),
    ]
    assert written.dropped == ("cache_control",)


def test_tools() -> None:
    """Tools say what they do; strictness, a cache and calls one by one cannot be asked for."""
    tool = Tool("f", "Does.", {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, strict=True, cache=CacheHint())

    written = GEMINI.write(
        says(Text("q"), tools=(tool,), tool_choice=ToolChoice("auto"), parallel_tool_calls=False),
        model="gemini-2.5-pro",
        stream=False,
    )

    body = json.loads(written.body)
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "description": "Does.",
                    "parametersJsonSchema": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}},
                }
            ]
        }
    ]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}
    assert written.dropped == ("cache_control", "parallel_tool_calls", "strict")


def test_json_beside_tools() -> None:
    """Gemini 3 answers in JSON beside tools."""
    conversation = says(Text("q"), tools=(TOOL,), output_format=OutputFormat({"type": "object", "minProperties": 1}))

    written = GEMINI.write(conversation, model="gemini-3-pro-preview", stream=False)

    config = json.loads(written.body)["generationConfig"]
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}}
    assert written.dropped == ("response_format.minProperties",)


def test_list_of_models() -> None:
    """Models that generate text are listed by the names by which they are called."""
    body = (
        b'{"models":[{"name":"models/gemini-2.5-pro","supportedGenerationMethods":["generateContent","countTokens"]},'
        b'{"name":"models/embedding-001","supportedGenerationMethods":["embedContent"]},{"name":3},7]}'
    )

    assert read_models(body) == ["gemini-2.5-pro"]
    for bad in (b"[]", b"{}", b"<html>"):
        with pytest.raises(ValueError):
            read_models(bad)


def test_made_ids() -> None:
    """A call without an id gets one: the same each time, another for each call and each answer."""
    call = '{"functionCall":{"name":"f","args":{}}}'
    answers = [
        f'{{"candidates":[{{"content":{{"parts":[{call},{call}]}}}}],"responseId":"{name}"}}'.encode()
        for name in ("one", "one", "two")
    ]

    def ids(answer: bytes) -> list[str]:
        events = GEMINI.parse_whole(answer, events=True).events
        return [event.id for event in events if isinstance(event, ToolCallBegin)]

    first, again, other = map(ids, answers)
    assert first == again
    assert len({*first, *other}) == 4


@pytest.mark.parametrize(
    ("model", "reasoning", "expected"),
    [
        ("gemini-2.5-flash", Reasoning("none"), {"thinkingBudget": 0}),
        ("gemini-2.5-pro", Reasoning("none"), {"thinkingBudget": 128}),
        ("gemini-2.5-pro", Reasoning("medium"), {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-pro", Reasoning(budget_tokens=99), {"thinkingBudget": 99, "includeThoughts": True}),
        ("gemini-3-pro-preview", Reasoning(enabled=False), {"thinkingLevel": "low"}),
        ("gemini-3-pro-preview", Reasoning("xhigh"), {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3.5-flash", Reasoning("none"), {"thinkingLevel": "minimal"}),
        ("models/gemini-flash-latest", Reasoning("low"), {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-2.0-flash", Reasoning("high"), None),
        ("gemma-4-31b-it", Reasoning("none"), None),
        ("learnlm-2.0-flash-experimental", Reasoning("low"), None),
    ],
)
def test_thinking(model: str, reasoning: Reasoning, expected: dict[str, Any] | None) -> None:
    """Effort is a budget up to 2.5, and a level from 3 on; before 2.5 there is none."""
    config = sent(says(Text("q"), reasoning=reasoning), model).get("generationConfig", {})

    assert config.get("thinkingConfig") == expected


def test_older_generation() -> None:
    """Gemini 2.0 takes penalties, and no JSON beside tools."""
    conversation = says(
        Text("q"),
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        tools=(Tool("f", None, None),),
        output_format=OutputFormat(),
        reasoning=Reasoning("high"),
        seed=2**40,
        stop=("a", "b", "c", "d", "e", "f"),
        tool_choice=ToolChoice("none"),
    )

    written = GEMINI.write(conversation, model="gemini-2.0-flash", stream=False)

    body = json.loads(written.body)
    assert body["generationConfig"] == {
        "frequencyPenalty": 0.5,
        "presencePenalty": -0.5,
        "stopSequences": ["a", "b", "c", "d", "e"],
    }
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    assert written.dropped == ("reasoning_effort", "response_format", "seed", "stop")


def test_results() -> None:
    """A result names its tool, says whether it failed, and its pictures stand beside it."""
    hint = CacheHint()
    conversation = Conversation(
        (),
        (
            Message(Role.USER, (Text("q"),)),
            Message(Role.ASSISTANT, (ToolCall("a", "f", "not JSON", cache=hint), ToolCall("b", "g", "[1]"))),
            Message(
                Role.USER,
                (
                    Text("look"),
                    ToolResult("a", (Text("x"), Media("image", data="iVBORw0KGgo=")), cache=hint),
                    ToolResult("b", (Text("broken"),), is_error=True),
                ),
            ),
        ),
    )

    written = GEMINI.write(conversation, model="gemini-2.5-pro", stream=False)

    contents = json.loads(written.body)["contents"]
    assert [part["functionCall"]["args"] for part in contents[1]["parts"]] == [
        {"arguments": "not JSON"},
        {"arguments": "[1]"},
    ]
    assert contents[2]["parts"] == [
        {"functionResponse": {"id": "a", "name": "f", "response": {"output": "x"}}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"functionResponse": {"id": "b", "name": "g", "response": {"error": "broken"}}},
        {"text": "look"},
    ]
    assert written.dropped == ("cache_control",)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (ToolResult("nobody", (Text("x"),)), "that was not made"),
        (Media("image", data="AAAA"), "of an unknown type"),
        (Media("image"), "without data"),
        (Text(""), "nothing in it"),
    ],
)
def test_what_cannot_be_told(part: Part, said: str) -> None:
    """What Gemini cannot be told at all is the caller's to know."""
    with pytest.raises(InvalidRequest, match=said) as failed:
        GEMINI.write(says(part), model="gemini-2.5-pro", stream=False)
    assert failed.value.param == "messages"


def test_instructions_alone() -> None:
    """Without a message the instructions are what the user says."""
    assert sent(Conversation((Text("Say hi."),), ())) == {
        "contents": [{"role": "user", "parts": [{"text": "Say hi."}]}]
    }


def test_schema() -> None:
    """What a schema says in words that Gemini does not know is said in its own, or left out and named."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "allOf": [{"properties": {"b": {"const": "x"}}, "required": ["b"]}, {"title": "T"}, 7],
        "type": "object",
        "properties": {
            "a": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10, "multipleOf": 2},
            "c": {"type": "string", "nullable": True, "pattern": "^a", "default": "a", "x-any\r\nthing": 1},
            "d": {"enum": [True, None]},
            "e": {"$ref": "#/definitions/x", "description": "gone", "minItems": 1},
            "f": {"oneOf": [{"type": "null"}, True, False], "items": {"not": {}}},
            "g": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 3}},
        },
        "required": ["a"],
        "definitions": {"x": {"type": "array", "items": {"type": "number", "minimum": 1.5}}},
        "$defs": {"y": {"type": "string", "format": "date"}},
    }
    dropped: set[str] = set()

    written = gemini_schema(schema, dropped)

    assert written == {
        "type": "object",
        "title": "T",
        "properties": {
            "a": {"type": "integer", "minimum": 1, "maximum": 9},
            "b": {"enum": ["x"]},
            "c": {"type": ["string", "null"]},
            "d": {},
            "e": {"$ref": "#/$defs/x"},
            "f": {"oneOf": [{"type": "null"}, {}, {}], "items": {}},
            "g": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["a", "b"],
        "$defs": {
            "x": {"type": "array", "items": {"type": "number", "minimum": 1.5}},
            "y": {"type": "string", "format": "date"},
        },
    }
    assert dropped == {"enum", "false", "maxLength", "minItems", "multipleOf", "not", "pattern"}


def test_contradicting_parts_of_a_schema() -> None:
    """Of parts that contradict each other the first one wins, and the caller is told."""
    dropped: set[str] = set()

    written = gemini_schema({"allOf": [{"allOf": [{"type": "string"}]}, {"type": "integer"}]}, dropped)

    assert written == {"type": "string"}
    assert dropped == {"allOf"}


def test_deep_schema() -> None:
    """A schema that is nested too deeply is the caller's mistake."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2000):
        schema = {"type": "object", "properties": {"a": schema}}

    with pytest.raises(InvalidRequest, match="nested too deeply"):
        GEMINI.write(says(Text("q"), tools=(Tool("f", None, schema),)), model="gemini-2.5-pro", stream=False)


def test_observed_chunks_have_no_events() -> None:
    """Who only observes pays for no events."""
    chunk = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}],"responseId":"r"}\n\n'

    [observed] = GEMINI.decoder(events=False).feed(chunk)
    [translated] = GEMINI.decoder(events=True).feed(chunk)

    assert (observed.content, observed.content_bytes, observed.events) == (True, 1, ())
    assert translated.events == (Begin("r"), TextDelta("a"))


@pytest.mark.parametrize("total", [623, 218, None])
def test_thoughts_are_counted_beside_what_was_said(total: int | None) -> None:
    """Whatever the total is, as long as they are more than was said."""
    counts = {"promptTokenCount": 20, "candidatesTokenCount": 198, "thoughtsTokenCount": 405}

    assert read_usage({**counts, "totalTokenCount": total}) == Usage(20, 603, reasoning_tokens=405)


def test_thoughts_within_what_was_said() -> None:
    """As Vertex AI counted them at first: the total is the sum without them."""
    counts = {"promptTokenCount": 20, "candidatesTokenCount": 603, "thoughtsTokenCount": 405, "totalTokenCount": 623}

    assert read_usage(counts) == Usage(20, 603, reasoning_tokens=405)
    assert read_usage({**counts, "totalTokenCount": 1028}) == Usage(20, 1008, reasoning_tokens=405)
