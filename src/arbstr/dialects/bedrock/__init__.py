"""AWS Bedrock as a provider's dialect: ``Converse`` and ``ConverseStream``.

Requests are signed (``upstream/sigv4.py``) or carry a Bedrock API key as ``Authorization: Bearer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from arbstr.dialects import lenient
from arbstr.dialects.bedrock.answer import parse_whole
from arbstr.dialects.bedrock.errors import bedrock_failure
from arbstr.dialects.bedrock.request import write_request
from arbstr.dialects.bedrock.stream import BedrockDecoder
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame

STREAM_TYPE = "application/vnd.amazon.eventstream"
"""The media type of a stream."""

MODELS_PATHS = ("/foundation-models?byOutputModality=TEXT", "/inference-profiles?maxResults=1000")
"""Where the models are listed, and the profiles by which most of the newer ones are called; GETs, signed."""


def read_models(body: bytes) -> list[str]:
    """The ids in an answer of one of :data:`MODELS_PATHS` that can be called: models on demand, active profiles.

    Raises ValueError for what is no such answer.
    """
    value = lenient.read(body)
    if type(value) is not dict:
        raise ValueError("there is no list of models")
    models, profiles = value.get("modelSummaries"), value.get("inferenceProfileSummaries")
    if type(models) is list:
        called = [one.get("modelId") for one in models if type(one) is dict and _on_demand(one)]
    elif type(profiles) is list:
        called = [one.get("inferenceProfileId") for one in profiles if type(one) is dict and _active(one.get("status"))]
    else:
        raise ValueError("there is no list of models")
    return [name for name in map(lenient.text, called) if name]


def _on_demand(model: dict[str, Any]) -> bool:
    lifecycle = model.get("modelLifecycle")
    status = lifecycle.get("status") if type(lifecycle) is dict else None
    return _active(status) and "ON_DEMAND" in (model.get("inferenceTypesSupported") or ())


def _active(status: Any) -> bool:
    return status in (None, "ACTIVE")


def path(model: str, stream: bool) -> str:
    """What is called for ``model``: an id, with or without a region, an inference profile, or an ARN of either."""
    return f"/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}"


class BedrockDialect:
    """The :class:`~arbstr.dialects.translate.ProviderDialect` of Bedrock."""

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> Written:
        return write_request(conversation, model=model, stream=stream)

    def decoder(self, *, events: bool) -> BedrockDecoder:
        return BedrockDecoder(events=events)

    def parse_whole(self, body: bytes, *, events: bool) -> Frame:
        return parse_whole(body, events=events)

    def path(self, model: str, *, stream: bool) -> str:
        return path(model, stream)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
        """Why an answer was not 200. Header names are lower-case."""
        return bedrock_failure(status, headers, body, now_epoch=now_epoch)
