"""AWS Bedrock as a provider's dialect: ``Converse`` and ``ConverseStream``.

Requests are signed (``upstream/sigv4.py``) or carry a Bedrock API key as ``Authorization: Bearer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from arbstr.dialects.bedrock_answer import parse_whole
from arbstr.dialects.bedrock_errors import bedrock_failure
from arbstr.dialects.bedrock_request import write_request
from arbstr.dialects.bedrock_stream import BedrockDecoder
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame

SERVICE = "bedrock"
"""The name by which requests are signed."""

STREAM_TYPE = "application/vnd.amazon.eventstream"
"""The media type of a stream."""


def host(region: str) -> str:
    """Where a region's models are."""
    return f"bedrock-runtime.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


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
