from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.dialects.envelopes import (
    error_envelope,
    error_event,
    error_in_answer,
    excerpt,
    failure_from_response,
    is_error,
)
from arbstr.domain.errors import FailureKind, InvalidRequest, RateLimited, UpstreamFailure

K = FailureKind
ERRORS = Path(__file__).resolve().parent.parent / "golden" / "errors"


def failure(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> UpstreamFailure:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure_from_response(status, headers or {}, raw, now_epoch=0.0)


def openai(message: str = "No.", *, type: str | None = None, code: Any = None, param: str | None = None) -> Any:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, K.KEY_REFUSED),
        (403, K.KEY_REFUSED),
        (402, K.OUT_OF_CREDIT),
        (429, K.RATE_LIMITED),
        (400, K.REJECTED),
        (404, K.REJECTED),
        (413, K.REJECTED),
        (422, K.REJECTED),
        (405, K.REJECTED),
        (410, K.REJECTED),
        (451, K.REJECTED),
        (408, K.TRANSIENT),
        (409, K.TRANSIENT),
        (425, K.TRANSIENT),
        (500, K.SERVER_ERROR),
        (502, K.SERVER_ERROR),
        (503, K.SERVER_ERROR),
        (504, K.SERVER_ERROR),
        (529, K.SERVER_ERROR),
        (599, K.SERVER_ERROR),
        (204, K.UNREADABLE),
        (206, K.UNREADABLE),
    ],
)
def test_the_status_decides_first(status: int, kind: FailureKind) -> None:
    """Where the body says nothing special."""
    found = failure(status, openai("No.", type="some_error", code="some_code", param="n"))

    assert (found.kind, found.status, found.message) == (kind, status, "No.")
    assert (found.type, found.code, found.param) == ("some_error", "some_code", "n")


def recorded() -> list[Any]:
    """What vendors and the servers that imitate them answer, a file for each kind of failure."""
    files = sorted(ERRORS.glob("*.jsonl"))
    assert files
    return [
        pytest.param(FailureKind(file.stem), *json.loads(line).values(), id=f"{file.stem}-{number}")
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
    ]


@pytest.mark.parametrize(("kind", "status", "body"), recorded())
def test_the_same_meaning_is_known_in_every_wording(kind: FailureKind, status: int, body: Any) -> None:
    """A rate limit that mentions billing, a filter that comes as a 403, a 404 that is about the path: see the files."""
    raw = body.encode() if isinstance(body, str) else body

    assert failure(status, raw).kind is kind


@pytest.mark.parametrize("status", [413, 422])
def test_a_context_too_long_may_have_several_statuses(status: int) -> None:
    """It is the wording that tells it."""
    assert failure(status, openai("This model's maximum context length is 8192 tokens.")).kind is K.CONTEXT_TOO_LONG
    assert failure(500, openai("x", type="exceed_context_size_error")).kind is K.CONTEXT_TOO_LONG


def test_a_credit_that_is_gone_may_come_as_a_400() -> None:
    """Anthropic says it so; the caller has made no mistake."""
    body = openai("Your credit balance is too low to access the API.", type="invalid_request_error")

    assert failure(400, body).kind is K.OUT_OF_CREDIT


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (openai("Simple."), "Simple."),
        ({"error": "Text."}, "Text."),
        ({"error": {"code": 402, "message": "Number."}}, "Number."),
        ({"error": {"message": {"detail": [{"loc": ["body", "n"], "msg": "too large"}]}}}, "body.n: too large"),
        ({"detail": "Detail."}, "Detail."),
        ({"detail": [{"loc": ["body", "messages", 0], "msg": "a"}, {"msg": "b"}]}, "body.messages.0: a; b"),
        ({"detail": {"message": "Inside."}}, "Inside."),
        ({"object": "error", "message": "Object."}, "Object."),
        ({"message": "Message."}, "Message."),
        ({"errors": [{"code": 7003, "message": "No route for that URI"}], "success": False}, "No route for that URI"),
        ({"error": {"code": "x"}, "message": "Beside."}, "Beside."),
        ({"error_code": 17, "error_msg": "Baidu."}, "Baidu."),
        ([{"error": {"message": "Listed."}}], "Listed."),
        (b"plain text", "plain text"),
        (b"<html><style>p{}</style><body><p>Bad&nbsp;gateway</p><script>x</script>now</body>", "Bad gateway now"),
        (b"<html><head><title>Sign in &amp; go</title></head><body>Welcome</body></html>", "Sign in & go"),
        (b"\xef\xbb\xbf<html><title></title>Page", "Page"),
        (b"", "The provider answered 400 and no message."),
        ({}, "The provider answered 400 and no message."),
        ({"error": {}}, "The provider answered 400 and no message."),
        ({"error": None}, "The provider answered 400 and no message."),
        (b"[1, 2]", "[1, 2]"),
        (b"null", "null"),
        (openai("a\r\nb\t\x00\x1b[31mc\u2028d\x85e"), "a b [31mc d e"),
        (b'{"error": {"message": "half \\ud83d"}}', "half \ufffd"),
        (b'{"error": {"message": "caf\xe9"}}', "caf\ufffd"),
    ],
)
def test_the_message_is_found_in_every_shape(body: Any, message: str) -> None:
    """In one line, without tags and control characters."""
    assert failure(400, body).message == message


def test_messages_are_bounded() -> None:
    """500 characters of an error object's, 200 of a page's or a text's."""
    assert len(failure(500, openai("x" * 5000)).message) == 500
    assert len(failure(500, b"x" * 5000).message) == 200
    assert len(failure(500, b"<p>" + b"x" * 5000).message) == 200
    assert len(failure(500, b"[" * 100_000).message) == 200
    assert len(failure(500, json.dumps(openai("x" * 1_000_000)).encode()).message) == 200
    assert failure(500, openai("x " * 250)).message == "x " * 249 + "x"


def test_codes_are_words() -> None:
    """A number for a code is the status again, and says nothing to a caller."""
    assert failure(400, {"error": {"code": 400, "message": "x", "type": ["y"], "param": 3}}).code is None
    assert failure(400, openai(code="a\nb", type="t" * 500)).code == "a b"


def test_the_wish_to_wait_is_read() -> None:
    """From the headers, in seconds."""
    assert failure(429, b"", {"retry-after": "2"}).retry_after == 2.0
    assert failure(503, b"", {"retry-after-ms": "100"}).retry_after == 0.1
    assert failure(429, b"", {"retry-after": "nan"}).retry_after is None


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"code": 402, "message": "Insufficient credits"}, K.OUT_OF_CREDIT, 402),
        ({"code": 429, "message": "x"}, K.RATE_LIMITED, 429),
        ({"code": "429", "message": "x"}, K.RATE_LIMITED, 429),
        ({"code": 502, "message": "x"}, K.SERVER_ERROR, 502),
        ({"code": 401, "message": "x"}, K.KEY_REFUSED, 401),
        ({"code": 400, "message": "maximum context length"}, K.CONTEXT_TOO_LONG, 400),
        ({"type": "insufficient_quota", "message": "x"}, K.OUT_OF_CREDIT, 429),
        ({"code": "rate_limit_exceeded", "message": "x"}, K.RATE_LIMITED, 429),
        ({"type": "overloaded_error", "message": "x"}, K.SERVER_ERROR, 529),
        ({"type": "server_error", "message": "x"}, K.SERVER_ERROR, 500),
        ({"type": "invalid_request_error", "message": "x"}, K.REJECTED, 400),
        ({"type": "invalid_request_error", "code": "model_not_found", "message": "x"}, K.MODEL_MISSING, 404),
        ({"type": "invalid_request_error", "code": "content_filter", "message": "x"}, K.CONTENT_FILTERED, 400),
        ({"code": 200, "message": "x"}, K.UNREADABLE, None),
        ({"code": 12345, "message": "x"}, K.UNREADABLE, None),
        ({"message": "x"}, K.UNREADABLE, None),
        ("x", K.UNREADABLE, None),
    ],
)
def test_an_error_inside_a_200_is_what_its_code_says(error: Any, kind: FailureKind, status: int | None) -> None:
    """And unreadable where it says nothing."""
    found = error_in_answer(json.dumps({"error": error}).encode())

    assert (found.kind, found.status) == (kind, status)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"error": {"message": "x"}}', True),
        (b'{"error": "x"}', True),
        (b'{"detail": "x"}', True),
        (b'{"object": "error", "message": "x"}', True),
        (b'{"code": 500, "message": "x"}', True),
        (b'{"error": null}', False),
        (b'{"type": "ping"}', False),
        (b'{"type": "message_start", "message": {}}', False),
        (b"{}", False),
        (b"[]", False),
        (b"x", False),
    ],
)
def test_errors_are_told_from_other_events(data: bytes, expected: bool) -> None:
    """By their shape, for a stream has events of other kinds."""
    assert is_error(data) is expected


NAMES = st.sampled_from(["error", "message", "detail", "code", "type", "loc", "msg", "errors", "innererror", "status"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_becomes_a_failure(body: bytes) -> None:
    """With a message that can be shown, and no other error."""
    for found in (*(failure(status, body) for status in (400, 403, 404, 429, 500)), error_in_answer(body)):
        assert found.message
        assert found.message.isprintable()
        found.message.encode()
    assert excerpt(body).isprintable()


def test_our_errors_have_the_openai_shape() -> None:
    """All four members, null where there is nothing to say."""
    assert json.loads(error_envelope(InvalidRequest("Bad.", param="n"))) == {
        "error": {"message": "Bad.", "type": "invalid_request_error", "param": "n", "code": "invalid_request"}
    }
    assert json.loads(error_envelope(RateLimited("Slow.")))["error"]["param"] is None


def test_our_errors_can_always_be_written() -> None:
    """Text that is none is replaced."""
    assert json.loads(error_envelope(InvalidRequest("a\ud800b")))["error"]["message"] == "a?b"


def test_an_error_in_a_stream_is_one_event() -> None:
    """Without a name, as OpenAI's clients expect it."""
    event = error_event(InvalidRequest("a\nb"))

    assert event == b"data: " + error_envelope(InvalidRequest("a\nb")) + b"\n\n"
    assert event.count(b"\n") == 2
