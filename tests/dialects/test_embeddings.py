from __future__ import annotations

import json
from typing import Any

import pytest

from arbstr.dialects.embeddings import EmbeddingsCaller, EmbeddingsProvider
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import FailureKind, InvalidRequest, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage

CALLER = EmbeddingsCaller()
PROVIDER = EmbeddingsProvider()


def parse(**fields: Any) -> ChatRequest:
    return CALLER.parse(json.dumps({"model": "m", "input": "Hi", **fields}).encode())


def read(answer: Any) -> Frame:
    return PROVIDER.parse_whole(json.dumps(answer).encode(), events=False)


VECTORS: dict[str, Any] = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -2.5e-3]}]}


@pytest.mark.parametrize(
    ("found", "input_bytes", "last"),
    [("Hé", 3, "Hé"), (["ab", "c"], 3, "c"), ([1, 2], 8, ""), ([[1], [2, 3]], 12, "")],
)
def test_inputs(found: Any, input_bytes: int, last: str) -> None:
    """Texts or tokens, one or many; an embedding has no output that is charged, and is never a stream."""
    request = parse(input=found, stream=True)

    assert (request.input_bytes, request.last_user_text, request.max_tokens, request.n) == (input_bytes, last, 0, 1)
    assert (request.dialect, request.stream) == ("embeddings", False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"input": None}, "input"), ({"input": []}, "input"), ({"input": ["a", 1]}, "input[1]"), ({"model": ""}, "model")],
)
def test_bad_requests(fields: dict[str, Any], param: str) -> None:
    """They are refused by the place where they are wrong."""
    with pytest.raises(InvalidRequest) as caught:
        parse(**fields)

    assert caught.value.param == param


def test_the_body_is_sent_as_it_came() -> None:
    """But for the model; numbers keep their digits."""
    request = CALLER.parse(b'{"model":"m","input":"a","dimensions":256,"odd":1.000}')

    assert CALLER.encode_same(request, model="x") == b'{"model":"x","input":"a","dimensions":256,"odd":1.000}'


def test_there_is_no_conversation() -> None:
    """So no provider of another dialect is asked."""
    request = parse()

    with pytest.raises(InvalidRequest):
        CALLER.read(request)
    with pytest.raises(InvalidRequest):
        CALLER.stream(request, request_id="r", model="m", created=7)
    with pytest.raises(InvalidRequest):
        CALLER.whole(request, [], request_id="r", model="m", created=7)
    with pytest.raises(InvalidRequest):
        PROVIDER.write(Conversation((), ()), model="m", stream=False)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0)),
        ({"prompt_tokens": 8, "total_tokens": 8, "completion_tokens": 0}, Usage(8, 0)),
        ({"prompt_tokens": "x"}, None),
        (None, None),
    ],
)
def test_a_whole_answer(usage: Any, expected: Usage | None) -> None:
    """One frame that is complete, relayed as it came, with what it used."""
    frame = read({**VECTORS, "usage": usage})

    assert (frame.content, frame.done, frame.usage, frame.content_bytes) == (True, True, expected, 0)
    assert json.loads(frame.raw) == {**VECTORS, "usage": usage}


def test_vectors_as_base64_and_of_odd_numbers() -> None:
    """They are not looked into."""
    base64 = read({"data": [{"index": 0, "embedding": "AAAA"}]})
    odd = PROVIDER.parse_whole(
        b'{"data":[{"embedding":[NaN]}],"usage":{"prompt_tokens":1,"total_tokens":1}}', events=False
    )

    assert base64.content
    assert odd.usage == Usage(1, 0)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FailureKind.UNREADABLE),
        (b"<html><title>Bad gateway</title>", FailureKind.UNREADABLE),
        (b"[]", FailureKind.UNREADABLE),
        (b"{}", FailureKind.UNREADABLE),
        (b'{"data":[]}', FailureKind.UNREADABLE),
        (b'{"data":[ ]}', FailureKind.UNREADABLE),
        (b'{"data":null}', FailureKind.UNREADABLE),
        (b'{"data":"x"}', FailureKind.UNREADABLE),
        (b'{"error":{"message":"slow down","code":429}}', FailureKind.RATE_LIMITED),
        (b'{"object":"error","message":"x","code":400}', FailureKind.REJECTED),
        (b'{"data":[NaN],"error":{"message":"x","code":500}}', FailureKind.SERVER_ERROR),
    ],
)
def test_answers_that_are_none(body: bytes, kind: FailureKind) -> None:
    """An error as its code says, anything else unreadable."""
    with pytest.raises(UpstreamFailure) as caught:
        PROVIDER.parse_whole(body, events=False)

    assert caught.value.kind is kind
