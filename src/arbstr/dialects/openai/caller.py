"""What callers of chat, completions and embeddings have in common: one way of errors, ends, usage and relaying."""

from __future__ import annotations

from arbstr.dialects.envelopes import error_envelope, error_event
from arbstr.dialects.metadata import with_cost
from arbstr.dialects.openai.request import encode_chat
from arbstr.dialects.sse import DONE
from arbstr.domain.errors import GatewayError
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest


class OpenAICaller:
    """The shared half of three :class:`~arbstr.dialects.translate.CallerDialect`."""

    end_mark = DONE

    def encode_same(self, request: ChatRequest, *, model: str, stream_options: bool = True) -> bytes:
        """``model`` in place of the caller's, and the wish for usage in a stream."""
        return encode_chat(request, model=model, stream_options=stream_options)

    def with_cost(self, frame: Frame, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        return with_cost(frame, cost_sats, cost_usd)

    def error(self, error: GatewayError) -> bytes:
        return error_envelope(error)

    def error_event(self, error: GatewayError) -> bytes:
        return error_event(error)
