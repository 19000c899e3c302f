"""Bedrock as a provider's dialect: paths, exceptions, families of models, blocks."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.bedrock import BedrockDialect, path, read_models
from arbstr.dialects.bedrock.answer import read_usage
from arbstr.dialects.bedrock.models import family_of
from arbstr.domain.answer import TextDelta, ThinkingDelta
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
from tests.dialects.vendors import GOLDEN, event, exception, fed, message, stream

BEDROCK = BedrockDialect()
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
TITAN = "amazon.titan-text-express-v1"
TOOL = Tool("f", None, {"type": "object", "properties": {"a": {"type": "string"}}})


def says(*parts: Part, **more: Any) -> Conversation:
    return Conversation(instructions=(), messages=(Message(Role.USER, parts),), **more)


def written(conversation: Conversation, model: str = CLAUDE, *, stream: bool = False) -> tuple[dict[str, Any], Any]:
    found = BEDROCK.write(conversation, model=model, stream=stream)
    return json.loads(found.body), found.dropped


@pytest.mark.parametrize(
    ("model", "stream", "expected"),
    [
        (TITAN, False, "/model/amazon.titan-text-express-v1/converse"),
        (CLAUDE, True, "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12",
            False,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fab12/converse",
        ),
        ("../x?y", False, "/model/..%2Fx%3Fy/converse"),
    ],
)
def test_path(model: str, stream: bool, expected: str) -> None:
    """An id is one segment of the path, whatever is in it."""
    assert path(model, stream) == expected


@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:1:inference-profile/apac.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
    ],
)
def test_family_of_ids(model: str) -> None:
    """Region, profile and ARN do not hide the model."""
    family = family_of(model)

    assert family.claude is not None
    assert family.cache_ttl


@pytest.mark.parametrize(
    ("model", "system", "tools", "stream_tools"),
    [
        (TITAN, False, False, True),
        ("mistral.mistral-7b-instruct-v0:2", False, False, True),
        ("mistral.mistral-large-2407-v1:0", True, True, False),
        ("mistral.mistral-large-3-675b-instruct", True, True, True),
        ("us.meta.llama3-1-8b-instruct-v1:0", True, True, False),
        ("meta.llama3-8b-instruct-v1:0", True, False, True),
        ("us.meta.llama3-2-3b-instruct-v1:0", True, False, True),
        ("us.meta.llama4-scout-17b-instruct-v1:0", True, True, False),
        ("eu.amazon.nova-micro-v1:0", True, True, True),
        ("anthropic.claude-v2:1", True, False, True),
        ("anthropic.claude-3-haiku-20240307-v1:0", True, True, True),
        ("us.deepseek.r1-v1:0", True, False, True),
        ("qwen.qwen3-32b-v1:0", True, True, True),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", True, True, True),
    ],
)
def test_families(model: str, system: bool, tools: bool, stream_tools: bool) -> None:
    """What a family takes is in a table."""
    family = family_of(model)

    assert (family.system, family.tools, family.stream_tools) == (system, tools, stream_tools)


@pytest.mark.parametrize(
    ("model", "cache", "ttl"),
    [
        ("anthropic.claude-3-opus-20240229-v1:0", False, False),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", False, False),
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", True, False),
        ("anthropic.claude-opus-4-1-20250805-v1:0", True, False),
        ("anthropic.claude-sonnet-4-20250514-v1:0", True, False),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", True, True),
        ("anthropic.claude-opus-4-7", True, True),
    ],
)
def test_claude_caches(model: str, cache: bool, ttl: bool) -> None:
    """Cache points came with Claude 3.5, and how long they last with 4.5."""
    family = family_of(model)

    assert family.cache is family.cache_tools is cache
    assert (family.cache and family.cache_ttl) is ttl


ERRORS = [
    ("ThrottlingException", 429, "Too many requests, please wait before trying again.", FailureKind.RATE_LIMITED),
    ("ThrottlingException", 429, "Too many tokens per day, please wait.", FailureKind.OUT_OF_CREDIT),
    ("ServiceQuotaExceededException", 400, "Your request exceeds the service quota.", FailureKind.OUT_OF_CREDIT),
    ("ModelTimeoutException", 408, "The request took too long to process.", FailureKind.TIMEOUT),
    ("ModelNotReadyException", 429, "The model is not ready to serve inference requests.", FailureKind.TRANSIENT),
    ("ModelErrorException", 424, "The model produced an invalid sequence.", FailureKind.SERVER_ERROR),
    ("ModelStreamErrorException", 424, "An error occurred while streaming.", FailureKind.SERVER_ERROR),
    ("InternalServerException", 500, "An internal server error occurred.", FailureKind.SERVER_ERROR),
    ("ServiceUnavailableException", 503, "The service isn't available.", FailureKind.SERVER_ERROR),
    ("ResourceNotFoundException", 404, "Could not resolve the foundation model.", FailureKind.MODEL_MISSING),
    ("AccessDeniedException", 403, "User is not authorized to perform this action.", FailureKind.KEY_REFUSED),
    (
        "AccessDeniedException",
        403,
        "You don't have access to the model with the specified model ID.",
        FailureKind.MODEL_MISSING,
    ),
    ("UnrecognizedClientException", 403, "The security token is invalid.", FailureKind.KEY_REFUSED),
    ("ExpiredTokenException", 403, "The security token has expired.", FailureKind.KEY_REFUSED),
    ("ValidationException", 400, "The provided model identifier is invalid.", FailureKind.MODEL_MISSING),
    (
        "ValidationException",
        400,
        "Invocation of model ID x with on-demand throughput isn\u2019t supported.",
        FailureKind.MODEL_MISSING,
    ),
    ("ValidationException", 400, "Operation not allowed", FailureKind.KEY_REFUSED),
    ("ValidationException", 400, "Input is too long for requested model.", FailureKind.CONTEXT_TOO_LONG),
    (
        "ValidationException",
        400,
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        FailureKind.CONTEXT_TOO_LONG,
    ),
    (
        "ValidationException",
        400,
        "This model's maximum context length is 131072 tokens.",
        FailureKind.CONTEXT_TOO_LONG,
    ),
    ("ValidationException", 400, "This model doesn't support tool use.", FailureKind.REJECTED),
]


@pytest.mark.parametrize(("name", "status", "said", "kind"), ERRORS)
def test_errors(name: str, status: int, said: str, kind: FailureKind) -> None:
    """An exception is what its name and its wording mean, however its name is written."""
    body = json.dumps({"message": said}).encode()
    header = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    typed = json.dumps({"__type": f"com.amazon.coral.service#{name}", "Message": said}).encode()

    for failure in (
        BEDROCK.failure(status, header, body, now_epoch=0),
        BEDROCK.failure(status, {}, typed, now_epoch=0),
    ):
        assert (failure.kind, failure.status, failure.message, failure.code) == (kind, status, said, name)


@pytest.mark.parametrize(("name", "status", "said", "kind"), ERRORS)
def test_errors_in_a_stream(name: str, status: int, said: str, kind: FailureKind) -> None:
    """Inside a stream the same exceptions mean the same."""
    modelled = exception(name[0].lower() + name[1:], {"message": said})
    headers = {":message-type": "error", ":error-code": name, ":error-message": said}

    for sent in (modelled, message(headers, b"")):
        [frame] = fed(BEDROCK.decoder(events=True), sent)
        assert frame.failure is not None
        assert (frame.failure.kind, frame.failure.status, frame.failure.message) == (kind, status, said)


def test_unknown_errors() -> None:
    """What has no known name is told by its status; inside a stream it is unreadable."""
    failure = BEDROCK.failure(503, {"x-amzn-errortype": "NewException"}, b'{"message": "x"}', now_epoch=0)
    [frame] = fed(BEDROCK.decoder(events=True), exception("newException", {"message": "Oh."}))

    assert failure.kind is FailureKind.SERVER_ERROR
    assert frame.failure is not None
    assert (frame.failure.kind, frame.failure.message) == (FailureKind.UNREADABLE, "Oh.")


def test_silent_errors() -> None:
    """An exception without a message has its name for one, and a wish to wait is kept."""
    headers = {"x-amzn-errortype": "ThrottlingException", "retry-after": "7"}

    failure = BEDROCK.failure(429, headers, b"", now_epoch=0)

    assert failure.message == "The provider answered ThrottlingException and no message."
    assert failure.retry_after == 7.0


def test_a_page_instead_of_a_stream() -> None:
    """Bytes that are no event stream are unreadable, and the message says what they were."""
    with pytest.raises(UpstreamFailure) as failed:
        BEDROCK.decoder(events=True).feed(b"<html><title>Login</title></html>")
    assert failed.value.kind is FailureKind.UNREADABLE
    assert failed.value.message == "The stream cannot be read: Login"


def test_damaged_stream() -> None:
    """Damage after good messages is unreadable, once these were handed on."""
    decoder = BEDROCK.decoder(events=True)
    good = event("messageStart", {"role": "assistant"})

    assert len(decoder.feed(good + b"\x00" * 12)) == 1
    with pytest.raises(UpstreamFailure, match="checksum"):
        decoder.finish()


def test_cut_off_message() -> None:
    """A body that ends inside a message has a malformed frame at its end."""
    decoder = BEDROCK.decoder(events=True)
    decoder.feed(event("messageStop", {"stopReason": "end_turn"})[:-1])

    assert [frame.malformed for frame in decoder.finish()] == [True]


@pytest.mark.parametrize("name", ["messageStart", "messageStop", "metadata", "contentBlockStart", "contentBlockStop"])
def test_unreadable_payload(name: str) -> None:
    """A payload that is no object is a malformed frame."""
    headers = {":message-type": "event", ":event-type": name}

    [frame] = fed(BEDROCK.decoder(events=True), message(headers, b"[1"))

    assert frame.malformed


def test_broken_text() -> None:
    """A lone surrogate becomes U+FFFD, and the rest is read."""
    headers = {":message-type": "event", ":event-type": "contentBlockDelta"}
    payload = b'{"contentBlockIndex":0,"delta":{"text":"a\\ud83c"}}'

    [frame] = fed(BEDROCK.decoder(events=True), message(headers, payload))

    assert frame.events == (TextDelta("a\ufffd"),)


@given(st.data())
def test_any_cut(data: st.DataObject) -> None:
    """The frames of a stream do not depend on how its bytes are cut."""
    name = data.draw(st.sampled_from(["stream-text", "stream-tools", "stream-thinking", "stream-throttled"]))
    sent = stream((GOLDEN / "openai-bedrock" / name / "answer.jsonl").read_text().splitlines())
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=10))), len(sent)]
    pieces = [sent[start:end] for start, end in pairwise(edges)]

    cut = fed(BEDROCK.decoder(events=True), *pieces)

    whole = fed(BEDROCK.decoder(events=True), sent)
    assert [(frame.raw, frame.events, frame.usage) for frame in cut] == [
        (frame.raw, frame.events, frame.usage) for frame in whole
    ]


def test_tools_that_a_model_does_not_know() -> None:
    """Who does not know tools, or not in a stream, is no candidate; without tools they are."""
    for model, stream_wanted in ((TITAN, False), (LLAMA, True)):
        with pytest.raises(InvalidRequest, match="does not know tools") as failed:
            written(says(Text("q"), tools=(TOOL,)), model, stream=stream_wanted)
        assert failed.value.param == "tools"

    assert written(says(Text("q"), tools=(TOOL,)), LLAMA)[1] == ()
    assert written(says(Text("q"), tools=(TOOL,), tool_choice=ToolChoice("none")), TITAN) == (
        {"messages": [{"role": "user", "content": [{"text": "q"}]}]},
        (),
    )


def test_tool_choice() -> None:
    """A choice that cannot be said is noted, and so is none where calls are in the messages."""
    history = Conversation(
        (),
        (Message(Role.USER, (Text("q"),)), Message(Role.ASSISTANT, (ToolCall("a", "f", "{}"),))),
        tools=(TOOL,),
        tool_choice=ToolChoice("none"),
    )

    assert written(says(Text("q"), tools=(TOOL,), tool_choice=ToolChoice("required")), LLAMA)[1] == ("tool_choice",)
    assert written(history)[1] == ("tool_choice",)
    assert written(says(Text("q"), tools=(TOOL,), tool_choice=ToolChoice("tool", "f")))[0]["toolConfig"][
        "toolChoice"
    ] == {"tool": {"name": "f"}}


def test_strict_tools() -> None:
    """A strict tool is one where its model can be held to it; elsewhere that is noted."""
    strict = Tool("f", "Does.", {"type": "object", "properties": {"a": {"type": "string"}}}, strict=True)

    body, dropped = written(says(Text("q"), tools=(strict,)))

    [entry] = body["toolConfig"]["tools"]
    assert entry["toolSpec"]["strict"] is True
    assert entry["toolSpec"]["inputSchema"]["json"]["additionalProperties"] is False
    assert dropped == ()
    assert written(says(Text("q"), tools=(strict,)), NOVA)[1] == ("strict",)


def test_results_and_failures() -> None:
    """Results come first, failed ones say so where that is known, and ids that are refused are replaced alike."""
    long = "call:" + "x" * 100
    conversation = Conversation(
        (),
        (
            Message(Role.ASSISTANT, (Refusal("no"), ToolCall(long, "f", "broken"), ToolCall("b", "f", ""))),
            Message(
                Role.USER,
                (
                    Text("so?"),
                    ToolResult(long, (Text("bad"), Media("image", data="/9j/4AA="), Text(" ")), is_error=True),
                    ToolResult("b", ()),
                ),
                name="tom",
            ),
        ),
    )

    body, dropped = written(conversation)

    first, second, third = body["messages"]
    assert first == {"role": "user", "content": [{"text": "Continue."}]}
    called = second["content"][1]["toolUse"]
    assert called["input"] == {"arguments": "broken"}
    assert len(called["toolUseId"]) <= 64
    assert third["content"] == [
        {
            "toolResult": {
                "toolUseId": called["toolUseId"],
                "content": [{"text": "bad"}, {"image": {"format": "jpeg", "source": {"bytes": "/9j/4AA="}}}],
                "status": "error",
            }
        },
        {"toolResult": {"toolUseId": "b", "content": []}},
        {"text": "so?"},
    ]
    assert dropped == ("name",)
    assert "status" not in written(conversation, LLAMA)[0]["messages"][2]["content"][0]["toolResult"]


def test_thoughts_given_back() -> None:
    """Claude gets its own thoughts back; those of others, and those without a proof, are left out and noted."""
    thoughts = (
        Thinking("a", "EqoBCkg="),
        Thinking("", redacted="cmVk"),
        Thinking("b", "gemini#AAA"),
        Thinking("", redacted="openai:rs_1:xx"),
        Thinking("c"),
        Text("d"),
    )
    conversation = Conversation((), (Message(Role.USER, (Text("q"),)), Message(Role.ASSISTANT, thoughts)))

    body, dropped = written(conversation)

    assert body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "a", "signature": "EqoBCkg="}}},
        {"reasoningContent": {"redactedContent": "cmVk"}},
        {"text": "d"},
    ]
    assert dropped == ("reasoning_content",)
    assert written(conversation, NOVA)[0]["messages"][1]["content"] == [{"text": "d"}]


def test_whose_turn() -> None:
    """The last word is the user's, unless the model can go on with the assistant's."""
    conversation = Conversation(
        (), (Message(Role.USER, (Text("q"),)), Message(Role.ASSISTANT, (Text("It is "), Text("", cache=CacheHint()))))
    )

    claude = written(conversation)[0]["messages"]
    llama = written(conversation, LLAMA)[0]["messages"]

    assert claude[-1] == {"role": "assistant", "content": [{"text": "It is"}]}
    assert llama[-1] == {"role": "user", "content": [{"text": "Continue."}]}


def test_cache_points() -> None:
    """Four cache points are taken, the last ones; families without a cache have none."""
    hinted = [Message(Role.USER, (Text(str(number), cache=CacheHint("5m")),)) for number in range(6)]
    conversation = Conversation(
        (Text("s", cache=CacheHint()),), tuple(hinted), tools=(Tool("f", None, None, cache=CacheHint()),)
    )

    body, dropped = written(conversation)
    plain, noted = written(conversation, "meta.llama3-1-8b-instruct-v1:0")

    content = body["messages"][0]["content"]
    assert [next(iter(block)) for block in content] == ["text"] * 3 + ["cachePoint", "text"] * 3 + ["cachePoint"]
    assert content[-1] == {"cachePoint": {"type": "default", "ttl": "5m"}}
    assert body["system"][-1] == body["toolConfig"]["tools"][-1] == {"cachePoint": {"type": "default"}}
    assert dropped == noted == ("cache_control",)
    assert "cachePoint" not in json.dumps(plain)
    assert "cachePoint" not in json.dumps(written(conversation, NOVA)[0]["toolConfig"])


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Media("image", url="https://example.com/a.png"), "at a URL"),
        (Media("image", data="AAAA"), "of the type unknown"),
        (Media("image", data="AAAA", media_type="image/tiff"), "of the type image/tiff"),
        (Media("video", data="AAAA"), "of the type unknown"),
        (Text(" "), "nothing in it"),
    ],
)
def test_what_cannot_be_told(part: Part, said: str) -> None:
    """What Converse cannot be told at all is the caller's to know."""
    with pytest.raises(InvalidRequest, match=said):
        written(says(part))


def test_media() -> None:
    """Documents get names that differ, sounds their format, and what is at S3 is asked for there."""
    body, _ = written(
        says(
            Text("q"),
            Media("document", data="JVBERi0=", name="a_b.pdf"),
            Media("document", url="s3://bucket/x.csv", media_type="text/csv"),
            Media("audio", data="UklGRiQ="),
        )
    )

    assert body["messages"][0]["content"][1:] == [
        {"document": {"format": "pdf", "source": {"bytes": "JVBERi0="}, "name": "a-b 1"}},
        {"document": {"format": "csv", "source": {"s3Location": {"uri": "s3://bucket/x.csv"}}, "name": "document 2"}},
        {"audio": {"format": "wav", "source": {"bytes": "UklGRiQ="}}},
    ]


@pytest.mark.parametrize(
    ("model", "reasoning", "extra", "dropped"),
    [
        (LLAMA, Reasoning("high"), {}, ("reasoning_effort",)),
        (LLAMA, Reasoning("none"), {}, ()),
        ("openai.gpt-oss-20b-1:0", Reasoning("none"), {"reasoning_effort": "low"}, ("reasoning_effort",)),
        ("openai.gpt-oss-20b-1:0", Reasoning(budget_tokens=5000), {"reasoning_effort": "medium"}, ()),
        ("amazon.nova-2-lite-v1:0", Reasoning(enabled=False), {"reasoningConfig": {"type": "disabled"}}, ()),
        (CLAUDE, Reasoning(budget_tokens=2048), {"thinking": {"type": "enabled", "budget_tokens": 2048}}, ()),
    ],
)
def test_reasoning(model: str, reasoning: Reasoning, extra: dict[str, Any], dropped: tuple[str, ...]) -> None:
    """Each family is asked to think in its own words."""
    body, noted = written(says(Text("q"), reasoning=reasoning), model)

    assert body.get("additionalModelRequestFields", {}) == extra
    assert noted == dropped


def test_sampling() -> None:
    """What other families than Claude take of sampling, and what is noted."""
    conversation = says(Text("q"), temperature=1.5, top_k=9, top_p=0.5, stop=("\n", "END"))

    nova, dropped = written(conversation, NOVA)
    titan, noted = written(conversation, TITAN)

    assert nova["inferenceConfig"] == {"temperature": 1.0, "topP": 0.5, "stopSequences": ["END"]}
    assert nova["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 9}}
    assert dropped == ("stop", "temperature")
    assert "additionalModelRequestFields" not in titan
    assert noted == ("stop", "temperature", "top_k")


def test_json_without_a_schema() -> None:
    """Converse has schemas, and no mere JSON."""
    assert written(says(Text("q"), output_format=OutputFormat()))[1] == ("response_format",)


def test_instructions_alone() -> None:
    """Without a message the instructions are what the user says."""
    body, _ = written(Conversation((Text("Say hi."),), ()))

    assert body == {"messages": [{"role": "user", "content": [{"text": "Say hi."}]}]}


def test_deep_schema() -> None:
    """A schema that is nested too deeply is the caller's mistake."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(3000):
        schema = {"type": "object", "properties": {"a": schema}}

    with pytest.raises(InvalidRequest, match="nested too deeply"):
        written(says(Text("q"), tools=(Tool("f", None, schema),)))


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"output": {"message": {"content": [4, {"text": 5}]}}}',
        b'{"output": {"message": {"content": []}}}',
        b'{"output": 3, "stopReason": ""}',
    ],
)
def test_no_answer(body: bytes) -> None:
    """What has neither content nor a reason is no answer."""
    with pytest.raises(UpstreamFailure) as failed:
        BEDROCK.parse_whole(body, events=True)
    assert failed.value.kind is FailureKind.UNREADABLE


def test_block_that_stops_twice() -> None:
    """A block that is not a call's, or has had its end, ends without a word; a start that is none begins nothing."""
    sent = [
        event("contentBlockStart", {"contentBlockIndex": 0, "start": {}}),
        event("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"name": "f", "toolUseId": "t"}}}),
        event("contentBlockStop", {"contentBlockIndex": 1}),
        event("contentBlockStop", {"contentBlockIndex": 1}),
        event("contentBlockStop", {"contentBlockIndex": None}),
    ]

    frames = fed(BEDROCK.decoder(events=True), *sent)

    assert [len(frame.events) for frame in frames] == [0, 1, 1, 0, 0]


def test_list_of_models() -> None:
    """Models on demand and active profiles are listed by the ids by which they are called."""
    models = (
        b'{"modelSummaries":[{"modelId":"amazon.nova-lite-v1:0","inferenceTypesSupported":["ON_DEMAND"],'
        b'"modelLifecycle":{"status":"ACTIVE"}},{"modelId":"old","inferenceTypesSupported":["ON_DEMAND"],'
        b'"modelLifecycle":{"status":"LEGACY"}},{"modelId":"profiled","inferenceTypesSupported":["INFERENCE_PROFILE"]}]}'
    )
    profiles = (
        b'{"inferenceProfileSummaries":[{"inferenceProfileId":"us.x","status":"ACTIVE"},{"inferenceProfileId":4},7]}'
    )

    assert read_models(models) == ["amazon.nova-lite-v1:0"]
    assert read_models(profiles) == ["us.x"]
    for bad in (b"[]", b"{}", b"<html>"):
        with pytest.raises(ValueError):
            read_models(bad)


def test_thoughts_without_text() -> None:
    """A delta of thinking with nothing in it says nothing, and so do arguments that are empty or belong to no call."""
    sent = [
        {"contentBlockIndex": 0, "delta": {"reasoningContent": {}}},
        {"contentBlockIndex": 0, "delta": {"citation": {}}},
        {"contentBlockIndex": 0, "delta": {"text": ""}},
    ]

    frames = fed(BEDROCK.decoder(events=True), *(event("contentBlockDelta", one) for one in sent))
    [stop] = fed(BEDROCK.decoder(events=True), event("messageStop", {"stopReason": 5}))

    assert not any(frame.content or frame.events or frame.malformed for frame in frames)
    assert stop.malformed


def test_badly_formed_answer() -> None:
    """What can be read of a badly formed answer is read."""
    body = (
        b'{"output":{"message":{"content":[7,{"toolUse":{"name":"f","input":{"a":1}}},{"reasoningContent":'
        b'{"reasoningText":{"text":"t"}}}]}},"usage":{"inputTokens":"x"}}'
    )

    frame = BEDROCK.parse_whole(body, events=True)

    assert [type(one).__name__ for one in frame.events] == [
        "Begin",
        "ToolCallBegin",
        "ToolCallDelta",
        "ThinkingDelta",
        "Finish",
    ]
    assert ThinkingDelta("t") in frame.events
    assert frame.usage is None
    assert BEDROCK.parse_whole(body, events=False).events == ()


@pytest.mark.parametrize(
    ("details", "hour"),
    [
        ([{"inputTokens": 500, "ttl": "1h"}, {"inputTokens": 200, "ttl": "5m"}], 500),
        ([{"inputTokens": 900, "ttl": "1h"}], 700),
        ([{"inputTokens": -5, "ttl": "1h"}, {"ttl": "1h"}, 3], 0),
        ({"1h": 500}, 0),
        (None, 0),
    ],
)
def test_tokens_written_to_the_cache_for_an_hour(details: Any, hour: int) -> None:
    """Never more than were written at all, and none where the details make no sense."""
    usage = read_usage({"inputTokens": 1, "outputTokens": 2, "cacheWriteInputTokens": 700, "cacheDetails": details})

    assert usage == Usage(701, 2, cache_write_tokens=700, cache_write_1h_tokens=hour)
