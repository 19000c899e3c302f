"""Errors of the Messages API: what a provider's mean, and how ours are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arbstr.dialects.anthropic import CALLER, PROVIDER
from arbstr.domain.errors import (
    BodyTimeout,
    Draining,
    FailureKind,
    GatewayError,
    InvalidRequest,
    MethodNotAllowed,
    UpstreamError,
    UpstreamFailure,
    UpstreamRejected,
    UpstreamTimeout,
)
from arbstr.domain.request import ChatRequest

REQUEST = ChatRequest(model="m", stream=True, fields={}, input_bytes=0, last_user_text="", dialect="anthropic")


def failure(
    status: int, kind: str, message: str, *, headers: dict[str, str] | None = None, **more: Any
) -> UpstreamFailure:
    """What an error of theirs means: the shape is the documented one."""
    error = {"type": kind, "message": message, **more}
    body = json.dumps({"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}).encode()
    return PROVIDER.failure(status, headers or {}, body, now_epoch=0)


@pytest.mark.parametrize(
    ("status", "type_", "message", "kind"),
    [
        (400, "invalid_request_error", "messages: roles must alternate", FailureKind.REJECTED),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            FailureKind.CONTEXT_TOO_LONG,
        ),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
            FailureKind.CONTEXT_TOO_LONG,
        ),
        (400, "invalid_request_error", "Output blocked by content filtering policy", FailureKind.CONTENT_FILTERED),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            FailureKind.OUT_OF_CREDIT,
        ),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits. You will regain access on 2026-12-01.",
            FailureKind.OUT_OF_CREDIT,
        ),
        (401, "authentication_error", "invalid x-api-key", FailureKind.KEY_REFUSED),
        (402, "billing_error", "There is an issue with your billing.", FailureKind.OUT_OF_CREDIT),
        (403, "permission_error", "Your API key does not have permission.", FailureKind.KEY_REFUSED),
        (404, "not_found_error", "model: claude-nine", FailureKind.MODEL_MISSING),
        (413, "request_too_large", "Request exceeds the maximum size", FailureKind.REJECTED),
        (429, "rate_limit_error", "This request would exceed your rate limit", FailureKind.RATE_LIMITED),
        (500, "api_error", "Internal server error", FailureKind.SERVER_ERROR),
        (504, "timeout_error", "Request timed out", FailureKind.SERVER_ERROR),
        (529, "overloaded_error", "Overloaded", FailureKind.SERVER_ERROR),
    ],
)
def test_what_each_error_means(status: int, type_: str, message: str, kind: FailureKind) -> None:
    """The documented types, by their status."""
    found = failure(status, type_, message)

    assert (found.kind, found.status, found.type, found.message) == (kind, status, type_, message)


def test_a_limit_of_spending_is_no_limit_of_a_rate() -> None:
    """A 429 whose details name the account's own limit takes the key out, for there is no use in waiting."""
    details = {"error_code": "enforced_spend_limit_reached"}

    found = failure(429, "rate_limit_error", "Limit reached", details=details)

    assert (found.kind, found.code) == (FailureKind.OUT_OF_CREDIT, "enforced_spend_limit_reached")


def test_how_long_to_wait() -> None:
    """As the header says it."""
    found = failure(429, "rate_limit_error", "Slow down", headers={"retry-after": "7"})

    assert (found.kind, found.retry_after) == (FailureKind.RATE_LIMITED, 7)


@pytest.mark.parametrize("body", [b"", b"<html>", b'"error"', b'{"error": {"details": 5}}', b"x" * 300_000])
def test_an_error_without_their_shape_goes_by_its_status(body: bytes) -> None:
    """A proxy in between writes what it likes."""
    assert PROVIDER.failure(529, {}, body, now_epoch=0).kind is FailureKind.SERVER_ERROR


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("m"), "invalid_request_error"),
        (MethodNotAllowed("m"), "invalid_request_error"),
        (BodyTimeout("m"), "invalid_request_error"),
        (UpstreamError("m"), "api_error"),
        (Draining("m"), "overloaded_error"),
        (UpstreamTimeout("m"), "timeout_error"),
        (UpstreamRejected("m", status=404), "not_found_error"),
        (UpstreamRejected("m", status=400, type="billing_error"), "billing_error"),
        (UpstreamRejected("m", status=409), "conflict_error"),
    ],
)
def test_our_errors_have_their_types(error: GatewayError, kind: str) -> None:
    """By the status, or as the provider itself called it."""
    body = json.loads(CALLER.error(error))

    assert body == {"type": "error", "error": {"type": kind, "message": "m", "details": {"error_code": error.code}}}


def test_an_error_in_a_stream_names_the_request() -> None:
    """It is the last event, and no end is forged behind it."""
    writer = CALLER.stream(REQUEST, request_id="r-1", model="m", created=0)

    said = writer.error(UpstreamError("It broke."))

    name, data = said.decode().strip().split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["request_id"] == "r-1"
    assert CALLER.error_event(UpstreamError("It broke.")).startswith(b"event: error\ndata: {")


def test_a_message_with_half_a_character_is_written() -> None:
    """Providers' messages may have a lone surrogate, which is no text."""
    assert json.loads(CALLER.error(InvalidRequest("a\ud800")))["error"]["message"] == "a?"
