"""AWS's own SDK is the witness: it accepts what our fakes answer, and its model has every field that we send."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import ClientError, EventStreamError  # type: ignore[import-untyped]
from botocore.validate import ParamValidator  # type: ignore[import-untyped]

from arbstr.dialects.bedrock import STREAM_TYPE, BedrockDialect, path
from arbstr.domain.answer import Event, TextDelta, ThinkingDelta, ToolCallBegin, ToolCallDelta
from arbstr.domain.secret import Secret
from arbstr.upstream.sigv4 import AwsCredentials, sign
from tests.dialects.servers import Answer, Asked, serving
from tests.dialects.vendors import GOLDEN, fed, stream

BEDROCK = BedrockDialect()
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CREDENTIALS = AwsCredentials("AKIDEXAMPLE", Secret("a/secret+key"), Secret("session=token"))
MESSAGES = [{"role": "user", "content": [{"text": "Hé"}]}]
FOLDER = GOLDEN / "openai-bedrock"
JSON = {"content-type": "application/json"}


def verified(asked: Asked) -> bool:
    """Whether the request was signed with our credentials, over the headers and the body that came."""
    given = asked.headers["authorization"]
    names = re.search(r"SignedHeaders=([^,]+)", given)
    assert names is not None
    date = asked.headers["x-amz-date"]
    ours = sign(
        CREDENTIALS,
        method="POST",
        host=asked.headers["host"],
        path=asked.path,
        headers={name: asked.headers[name] for name in names[1].split(";")},
        body=asked.body,
        region="us-east-1",
        service="bedrock",
        now=datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC),
    )
    return ours["authorization"] == given


def client(url: str) -> Any:
    assert CREDENTIALS.token is not None
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=CREDENTIALS.access_key,
        aws_secret_access_key=CREDENTIALS.secret_key.reveal(),
        aws_session_token=CREDENTIALS.token.reveal(),
        config=Config(retries={"total_max_attempts": 1}),
    )


@contextmanager
def bedrock(answers: list[Answer]) -> Iterator[tuple[Any, list[str]]]:
    """boto3's client before a fake that verifies signatures and gives these answers; and the paths it was asked."""
    paths: list[str] = []

    def answer(asked: Asked) -> Answer:
        paths.append(asked.path)
        if not verified(asked):
            headers = {"x-amzn-errortype": "InvalidSignatureException"}
            return Answer(403, headers, b'{"message": "The signature does not match."}')
        assert json.loads(asked.body)["messages"] == MESSAGES
        return answers.pop(0)

    with serving(answer) as url:
        found = client(url)
        yield found, paths
        found.close()


def said(events: tuple[Event, ...]) -> dict[str, Any]:
    """What an answer says, in the shape in which :func:`content_of` puts boto3's."""
    calls = [[event.name, event.id, ""] for event in events if isinstance(event, ToolCallBegin)]
    for event in events:
        if isinstance(event, ToolCallDelta):
            calls[event.index][2] += event.arguments
    return {
        "text": "".join(event.text for event in events if isinstance(event, TextDelta)),
        "thinking": "".join(event.text for event in events if isinstance(event, ThinkingDelta)),
        "calls": [[name, id, json.loads(arguments)] for name, id, arguments in calls],
    }


def content_of(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    thoughts = [block["reasoningContent"].get("reasoningText", {}) for block in blocks if "reasoningContent" in block]
    cited = [text["text"] for block in blocks for text in block.get("citationsContent", {}).get("content", [])]
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    return {
        "text": "".join([*(block.get("text", "") for block in blocks), *cited]),
        "thinking": "".join(thought.get("text", "") for thought in thoughts),
        "calls": [[use["name"], use["toolUseId"], use["input"]] for use in uses],
    }


def collected(found: Any) -> list[dict[str, Any]]:
    """The blocks of a stream of boto3's."""
    blocks: dict[int, dict[str, Any]] = {}
    for event in found:
        if start := event.get("contentBlockStart"):
            blocks[start["contentBlockIndex"]] = {"toolUse": {**start["start"]["toolUse"], "input": ""}}
        if sent := event.get("contentBlockDelta"):
            block, delta = blocks.setdefault(sent["contentBlockIndex"], {}), sent["delta"]
            if "text" in delta:
                block["text"] = block.get("text", "") + delta["text"]
            if "toolUse" in delta:
                block["toolUse"]["input"] += delta["toolUse"]["input"]
            if "reasoningContent" in delta:
                thought = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {"text": ""})
                thought["text"] += delta["reasoningContent"].get("text", "")
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return list(blocks.values())


WHOLE = ["whole-text", "whole-tools", "whole-thinking", "whole-citations", "whole-guardrail", "whole-cache"]
STREAMS = ["stream-text", "stream-tools", "stream-thinking", "stream-cache", "stream-guardrail", "stream-stop-sequence"]


def test_whole_answers() -> None:
    """boto3 reads our fake's whole answers as we do, and calls what we would call."""
    bodies = [(FOLDER / name / "answer.json").read_bytes() for name in WHOLE]

    with bedrock([Answer(200, JSON, body) for body in bodies]) as (client, paths):
        theirs = [client.converse(modelId=MODEL, messages=MESSAGES) for _ in bodies]

    for found, body in zip(theirs, bodies, strict=True):
        frame = BEDROCK.parse_whole(body, events=True)
        assert frame.usage is not None
        assert said(frame.events) == content_of(found["output"]["message"]["content"])
        assert frame.usage.output_tokens == found["usage"]["outputTokens"]
    assert set(paths) == {path(MODEL, False)}


def test_streams() -> None:
    """boto3 reads our fake's streams as we do."""
    bodies = [stream((FOLDER / name / "answer.jsonl").read_text().splitlines()) for name in STREAMS]

    with bedrock([Answer(200, {"content-type": STREAM_TYPE}, body) for body in bodies]) as (client, paths):
        theirs = [collected(client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]) for _ in bodies]

    for blocks, body in zip(theirs, bodies, strict=True):
        frames = fed(BEDROCK.decoder(events=True), body)
        assert said(tuple(event for frame in frames for event in frame.events)) == content_of(blocks)
    assert set(paths) == {path(MODEL, True)}


def test_exceptions() -> None:
    """boto3 knows our fake's exceptions by the names that we know them by, as answers and inside streams."""
    body = stream((FOLDER / "stream-throttled" / "answer.jsonl").read_text().splitlines())
    refusal = Answer(429, {**JSON, "x-amzn-errortype": "ThrottlingException:http://x/"}, b'{"message": "Slow."}')

    with bedrock([refusal, Answer(200, {"content-type": STREAM_TYPE}, body)]) as (client, _):
        with pytest.raises(ClientError) as answered:
            client.converse(modelId=MODEL, messages=MESSAGES)
        with pytest.raises(EventStreamError) as streamed:
            collected(client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])

    assert answered.value.response["Error"] == {"Message": "Slow.", "Code": "ThrottlingException"}
    assert streamed.value.response["Error"]["Code"] == "throttlingException"
    assert BEDROCK.failure(*refusal, now_epoch=0).code == "ThrottlingException"


def test_the_fake_verifies() -> None:
    """A request that was signed with another key is refused, so that the verification is one."""
    with bedrock([]) as (client, _):
        client._request_signer._credentials.secret_key = "another"
        with pytest.raises(ClientError, match="InvalidSignatureException"):
            client.converse(modelId=MODEL, messages=MESSAGES)


def test_requests_have_the_shape_of_the_service() -> None:
    """Each field of each recorded request is in AWS's own service model, with a value of its type."""
    model = client("http://127.0.0.1:1").meta.service_model
    shape = model.operation_model("Converse").input_shape
    sent = {folder.parent.name: json.loads(folder.read_text())["body"] for folder in FOLDER.glob("*/sent.json")}

    reports = {
        name: ParamValidator().validate({"modelId": MODEL, **body}, shape).generate_report()
        for name, body in sent.items()
    }
    unknown = ParamValidator().validate({"modelId": MODEL, "inferenceConfig": {"topk": 1}}, shape)

    assert reports
    assert set(reports.values()) == {""}
    assert "topk" in unknown.generate_report()
