"""Google's Gemini API as a provider's dialect: ``generateContent`` and ``streamGenerateContent``.

The key goes into the header ``x-goog-api-key`` and never into the URL. The bodies are the same on Vertex AI.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from arbstr.dialects import lenient
from arbstr.dialects.gemini.errors import gemini_failure
from arbstr.dialects.gemini.request import write_request
from arbstr.dialects.gemini.stream import GeminiDecoder, parse_whole
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame

KEY_HEADER = "x-goog-api-key"
MODELS_PATH = "/v1beta/models?pageSize=1000"
"""Where the models are listed; a GET."""


def path(model: str, stream: bool) -> str:
    """What is called for ``model`` (``gemini-2.5-flash``, ``models/…`` or ``tunedModels/…``), query included."""
    name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    return f"/v1beta/{quote(name, safe='/-_.~')}:{_method(stream)}"


def vertex_path(model: str, stream: bool, *, project: str, location: str) -> str:
    """The same at Vertex AI, for a model of Google's or one under ``publishers/…`` or ``endpoints/…``."""
    name = model if model.startswith(("publishers/", "endpoints/")) else f"publishers/google/models/{model}"
    place = f"projects/{quote(project, safe='')}/locations/{quote(location, safe='')}"
    return f"/v1/{place}/{quote(name, safe='/-_.~')}:{_method(stream)}"


def _method(stream: bool) -> str:
    return "streamGenerateContent?alt=sse" if stream else "generateContent"


def read_models(body: bytes) -> list[str]:
    """The names of the models in an answer of :data:`MODELS_PATH` that generate text, without ``models/``.

    Raises ValueError for what is no such answer.
    """
    value = lenient.read(body)
    models = value.get("models") if type(value) is dict else None
    if type(models) is not list:
        raise ValueError("there is no list of models")
    return [
        name.removeprefix("models/")
        for model in models
        if type(model) is dict
        and (name := lenient.text(model.get("name")))
        and "generateContent" in (model.get("supportedGenerationMethods") or ())
    ]


class GeminiDialect:
    """The :class:`~arbstr.dialects.translate.ProviderDialect` of Gemini."""

    def write(self, conversation: Conversation, *, model: str, stream: bool) -> Written:
        return write_request(conversation, model=model)

    def decoder(self, *, events: bool) -> GeminiDecoder:
        return GeminiDecoder(events=events)

    def parse_whole(self, body: bytes, *, events: bool) -> Frame:
        return parse_whole(body, events=events)

    def path(self, model: str, *, stream: bool) -> str:
        return path(model, stream)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
        """Why an answer was not 200. Header names are lower-case."""
        return gemini_failure(status, headers, body, now_epoch=now_epoch)
