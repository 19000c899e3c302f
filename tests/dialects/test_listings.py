"""Lists of models as each kind of provider answers them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from arbstr.dialects.listings import next_page, ollama_models, openai_models, vertex_models

OPENAI = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}, {"id": "o3"}]}
ANTHROPIC = {"data": [{"type": "model", "id": "claude-sonnet-4-5", "display_name": "x"}], "has_more": False}
AZURE = {
    "data": [
        {"id": "gpt-4o-2024-08-06", "capabilities": {"inference": True, "chat_completion": True}},
        {"id": "only-tuned", "capabilities": {"inference": False, "fine_tune": True}},
    ]
}
OLLAMA = {"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest"}, {"model": "qwen3:8b"}]}
GARDEN = {
    "publisherModels": [
        {"name": "publishers/google/models/gemini-2.5-flash", "versionId": "default"},
        {"name": "publishers/google/models/gemini-embedding-001"},
        {"name": "publishers/google/models/imagen-4"},
    ]
}


@pytest.mark.parametrize(
    ("read", "answer", "names"),
    [
        (openai_models, OPENAI, ["gpt-4o", "o3"]),
        (openai_models, [{"id": "bare"}], ["bare"]),
        (openai_models, ANTHROPIC, ["claude-sonnet-4-5"]),
        (openai_models, AZURE, ["gpt-4o-2024-08-06"]),
        (openai_models, {"data": [{"id": 1}, "x", None, {}, {"id": "good", "capabilities": []}]}, ["good"]),
        (ollama_models, OLLAMA, ["llama3.2", "qwen3:8b"]),
        (ollama_models, {"models": []}, []),
        (vertex_models, GARDEN, ["gemini-2.5-flash"]),
    ],
)
def test_names_are_those_by_which_models_are_called(
    read: Callable[[bytes], list[str]], answer: object, names: list[str]
) -> None:
    """What cannot be called, and what is no model, is left out."""
    assert read(json.dumps(answer).encode()) == names


@pytest.mark.parametrize("read", [openai_models, ollama_models, vertex_models])
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"{}", b'{"data": {}, "models": 1, "publisherModels": "x"}'])
def test_what_is_no_list_is_refused(read: Callable[[bytes], list[str]], body: bytes) -> None:
    """An error page must not look like a provider without models."""
    with pytest.raises(ValueError):
        read(body)


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ({"models": [], "nextPageToken": "a"}, "a"),
        ({"inferenceProfileSummaries": [], "nextToken": "b"}, "b"),
        ({"data": [], "has_more": True, "last_id": "c"}, "c"),
        ({"data": [], "has_more": True, "last_id": None}, None),
        ({"data": [], "has_more": False, "last_id": "c"}, None),
        ({"models": [], "nextPageToken": ""}, None),
        ([], None),
    ],
)
def test_the_next_part_is_asked_for_by_what_the_last_one_says(answer: object, token: str | None) -> None:
    """Nothing, where it was the last."""
    assert next_page(json.dumps(answer).encode()) == token
