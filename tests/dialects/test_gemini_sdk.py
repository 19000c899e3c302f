"""Google's own SDK is the witness: it accepts what our fakes answer, and its types have every field that we send."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from arbstr.dialects.gemini import KEY_HEADER, GeminiDialect, path
from arbstr.domain.answer import Event, TextDelta, ThinkingDelta, ToolCallBegin, ToolCallDelta
from tests.dialects.servers import Answer, Asked, serving
from tests.dialects.vendors import GOLDEN, fed

with warnings.catch_warnings():  # of the SDK's own, at its import
    warnings.simplefilter("ignore")
    from google import genai
    from google.genai import errors, types

GEMINI = GeminiDialect()
MODEL = "gemini-2.5-flash"
KEY = "AIzaSyExampleExampleExample"
FOLDER = GOLDEN / "openai-gemini"

WHOLE = ["whole-text", "whole-tools", "whole-tool-use-prompt", "whole-blocked-prompt", "whole-recitation"]
STREAMS = ["stream-text", "stream-text-empty-end", "stream-tools", "stream-thinking", "stream-safety", "stream-length"]


@contextmanager
def gemini(answers: list[Answer]) -> Iterator[tuple[Any, list[Asked]]]:
    """The SDK's client before a fake that gives these answers; and what it was asked."""
    seen: list[Asked] = []

    def answer(asked: Asked) -> Answer:
        seen.append(asked)
        return answers.pop(0)

    with serving(answer) as url:
        found = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, api_version="v1beta"))
        yield found, seen
        found.close()


def said(events: tuple[Event, ...]) -> dict[str, Any]:
    """What an answer says, in the shape in which :func:`content_of` puts the SDK's."""
    calls = [[event.name, ""] for event in events if isinstance(event, ToolCallBegin)]
    for event in events:
        if isinstance(event, ToolCallDelta):
            calls[event.index][1] += event.arguments
    return {
        "text": "".join(event.text for event in events if isinstance(event, TextDelta)),
        "thinking": "".join(event.text for event in events if isinstance(event, ThinkingDelta)),
        "calls": [[name, json.loads(arguments)] for name, arguments in calls],
    }


def content_of(answers: list[Any]) -> dict[str, Any]:
    parts = [
        part
        for answer in answers
        for candidate in answer.candidates or []
        if candidate.content is not None
        for part in candidate.content.parts or []
    ]
    calls = [part.function_call for part in parts if part.function_call is not None]
    return {
        "text": "".join(part.text or "" for part in parts if not part.thought),
        "thinking": "".join(part.text or "" for part in parts if part.thought),
        "calls": [[call.name, call.args or {}] for call in calls],
    }


def test_whole_answers() -> None:
    """The SDK reads our fake's whole answers as we do, and calls what we would call, its key in the same header."""
    bodies = [(FOLDER / name / "answer.json").read_bytes() for name in WHOLE]

    with gemini([Answer(200, {"content-type": "application/json"}, body) for body in bodies]) as (client, seen):
        theirs = [client.models.generate_content(model=MODEL, contents="Hi") for _ in bodies]

    for found, body in zip(theirs, bodies, strict=True):
        frame = GEMINI.parse_whole(body, events=True)
        assert said(frame.events) == content_of([found])
        assert frame.usage is not None
        assert frame.usage.input_tokens + frame.usage.output_tokens == found.usage_metadata.total_token_count
    assert {(asked.path, asked.headers[KEY_HEADER]) for asked in seen} == {(path(MODEL, False), KEY)}


def test_streams() -> None:
    """The SDK reads our fake's streams as we do."""
    bodies = [(FOLDER / name / "answer.sse").read_bytes() for name in STREAMS]

    with gemini([Answer(200, {"content-type": "text/event-stream"}, body) for body in bodies]) as (client, seen):
        theirs = [list(client.models.generate_content_stream(model=MODEL, contents="Hi")) for _ in bodies]

    for found, body in zip(theirs, bodies, strict=True):
        frames = fed(GEMINI.decoder(events=True), body)
        assert said(tuple(event for frame in frames for event in frame.events)) == content_of(found)
    assert {asked.path for asked in seen} == {path(MODEL, True)}


def test_errors() -> None:
    """The SDK reads the error that we read."""
    body = b'{"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}'

    with gemini([Answer(429, {"content-type": "application/json"}, body)]) as (client, _):
        with pytest.raises(errors.ClientError) as failed:
            client.models.generate_content(model=MODEL, contents="Hi")

    ours = GEMINI.failure(429, {}, body, now_epoch=0)
    assert (failed.value.code, failed.value.message, failed.value.status) == (429, ours.message, "RESOURCE_EXHAUSTED")


def test_requests_have_the_shape_of_the_sdk() -> None:
    """Each field of each recorded request is one that the SDK's types know; they refuse others."""
    sent = [json.loads(file.read_text())["body"] for file in FOLDER.glob("*/sent.json")]
    fields: dict[str, Any] = {
        "systemInstruction": types.Content,
        "generationConfig": types.GenerationConfig,
        "toolConfig": types.ToolConfig,
    }

    assert sent
    for body in sent:
        for content in body.pop("contents"):
            types.Content.model_validate(content)
        for tool in body.pop("tools", []):
            types.Tool.model_validate(tool)
        for name, value in body.items():
            fields[name].model_validate(value)
    with pytest.raises(ValueError, match="Extra inputs"):
        types.GenerationConfig.model_validate({"topK": 1, "top_kk": 1})
