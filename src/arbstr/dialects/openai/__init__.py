"""The OpenAI dialect in one place: what the rooms below take from here, and the answers of ``/v1/models``."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

import msgspec

from arbstr.dialects.openai.convert import StreamCollector, looks_like_sse, whole_to_stream
from arbstr.dialects.openai.request import encode_chat, parse_chat
from arbstr.dialects.openai.stream import StreamDecoder, parse_whole
from arbstr.dialects.openai.usage import merge_usage, read_usage
from arbstr.dialects.sse import DONE

__all__ = [
    "DONE",
    "StreamCollector",
    "StreamDecoder",
    "encode_chat",
    "looks_like_sse",
    "merge_usage",
    "model_object",
    "models_list",
    "parse_chat",
    "parse_whole",
    "read_usage",
    "whole_to_stream",
]


def model_object(name: str, *, created: int, owned_by: str) -> bytes:
    """One model as ``GET /v1/models/{id}`` answers it; ``created`` in seconds since the epoch."""
    return msgspec.json.encode(_model(name, created, owned_by))


def models_list(names: Iterable[str], *, created: int, owned_by: str) -> bytes:
    """All models as ``GET /v1/models`` answers them, in the given order."""
    data = [_model(name, created, owned_by) for name in names]
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    page = {"object": "list", "data": data, "has_more": False, "first_id": ends[0], "last_id": ends[1]}
    return msgspec.json.encode(page)


def _model(name: str, created: int, owned_by: str) -> dict[str, str | int]:
    """With the fields of both vendors' lists: neither one's SDK minds the other's."""
    moment = datetime.datetime.fromtimestamp(created, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ours: dict[str, str | int] = {"id": name, "object": "model", "created": created, "owned_by": owned_by}
    return {**ours, "type": "model", "display_name": name, "created_at": moment}
