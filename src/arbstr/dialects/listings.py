"""Lists of models, as providers answer them. Each function raises ValueError for what is no such list.

Gemini's and Bedrock's are read beside their dialects.
"""

from __future__ import annotations

from typing import Any

from arbstr.dialects import lenient


def openai_models(body: bytes) -> list[str]:
    """The ids of ``GET /models``; Anthropic's answer has the same form. Some servers send the bare list.

    Azure says of each model what it can do: those that answer no requests are left out.
    """
    value = lenient.read(body)
    listed = value.get("data") if type(value) is dict else value
    return [name for model in _models(listed) if _infers(model) and (name := lenient.text(model.get("id")))]


def ollama_models(body: bytes) -> list[str]:
    """The names of ``GET /api/tags``, without the ``:latest`` that everybody leaves out."""
    value = lenient.read(body)
    listed = value.get("models") if type(value) is dict else None
    names = (lenient.text(model.get("name") or model.get("model")) for model in _models(listed))
    return [name.removesuffix(":latest") for name in names if name]


def vertex_models(body: bytes) -> list[str]:
    """The names of Google's own models in Vertex AI's Model Garden, as they are called."""
    value = lenient.read(body)
    listed = value.get("publisherModels") if type(value) is dict else None
    names = (lenient.text(model.get("name")) or "" for model in _models(listed))
    own = (name.removeprefix("publishers/google/models/") for name in names)
    return [name for name in own if name.startswith("gemini-") and "embedding" not in name]


def next_page(body: bytes) -> str | None:
    """What to ask for the next part of a list by, where Google's, AWS's or Anthropic's answer is not all of it."""
    value = lenient.read(body)
    if type(value) is not dict:
        return None
    if value.get("has_more") is True:
        return lenient.text(value.get("last_id"))
    return lenient.text(value.get("nextPageToken")) or lenient.text(value.get("nextToken"))


def _models(listed: Any) -> list[dict[str, Any]]:
    if type(listed) is not list:
        raise ValueError("there is no list of models")
    return [model for model in listed if type(model) is dict]


def _infers(model: dict[str, Any]) -> bool:
    able = model.get("capabilities")
    return not (type(able) is dict and able.get("inference") is False)
