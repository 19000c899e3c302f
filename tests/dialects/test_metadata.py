from __future__ import annotations

import json

import pytest

from arbstr.dialects.metadata import metadata_comment, metadata_event, with_cost
from arbstr.dialects.openai import StreamDecoder
from arbstr.domain.events import Frame

FIELDS = {"arbstr_cost_sats": 0.25, "arbstr_latency_ms": 12, "arbstr_request_id": "id", "arbstr_provider": None}


def frame(stream: bytes) -> Frame:
    (found,) = StreamDecoder().feed(stream)
    return found


def test_metadata_is_a_comment_or_an_event() -> None:
    """One line either way; the comment says whose it is."""
    comment, event = metadata_comment(FIELDS), metadata_event(FIELDS)

    assert comment.startswith(b": arbstr {")
    assert frame(comment).comment
    assert json.loads(comment.removeprefix(b": arbstr ")) == FIELDS
    assert json.loads(frame(event).data) == FIELDS


def test_the_cost_joins_the_usage() -> None:
    """All other values stay as their bytes, in the chunk and in its usage."""
    usage = b'{"prompt_tokens":3,"completion_tokens":4,"x":1.0000000000000000001}'
    stream = b'id: 7\ndata: {"id": "\xff", "n": 1E2,"choices":[],"usage":' + usage + b"}\n\n"

    assert with_cost(frame(stream), 0.25) == (
        b'id: 7\ndata: {"id":"\xff","n":1E2,"choices":[],"usage":' + usage[:-1] + b',"cost_sats":0.25}}\n\n'
    )
    assert with_cost(frame(stream), 0.25, 1e-07).endswith(b',"cost_sats":0.25,"cost_usd":1e-7}}\n\n')


def test_data_of_several_lines_becomes_one() -> None:
    """The event is written anew where its data cannot be replaced in place."""
    stream = b'data: {"choices":[\ndata: ],\ndata: "usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'

    assert with_cost(frame(stream), 1.0) == (
        b'data: {"choices":[ ],"usage":{"prompt_tokens":3,"completion_tokens":4,"cost_sats":1.0}}\n\n'
    )


@pytest.mark.parametrize(
    "stream",
    [b"data: [DONE]\n\n", b": c\n\n", b'data: {"choices":[]}\n\n', b'data: {"usage":null}\n\n', b"data: {\n\n"],
)
def test_without_usage_nothing_is_changed(stream: bytes) -> None:
    """There is no place for a cost."""
    assert with_cost(frame(stream), 1.0) == stream
