"""Errors in the Messages API: what a provider's mean, and how ours are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from arbstr.dialects import envelopes, lenient, sse
from arbstr.domain.errors import FailureKind, GatewayError, UpstreamFailure

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""By status. Other refusals are ``invalid_request_error``, other failures ``api_error``."""

_SPENT = frozenset({"enforced_spend_limit_reached", "spend_limit_reached", "credit_balance_too_low"})
_SPENT_WORDS = ("api usage limits", "credit balance is too low", "spend limit")
"""The account's own limit, for which the API has no status but 400."""

_MOST = 256 * 1024
"""Bytes up to which an error body is read; no error is longer."""

_encode = msgspec.json.Encoder().encode


def failure_from_response(status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
    """Why a provider answered with ``status``, which is not 200. Header names are lower-case."""
    failure = envelopes.failure_from_response(status, headers, body, now_epoch=now_epoch)
    code = _error_code(body)
    if code is not None and failure.code is None:
        failure.code = code
    spent = code in _SPENT or any(words in failure.message.lower() for words in _SPENT_WORDS)
    if failure.kind in (FailureKind.REJECTED, FailureKind.RATE_LIMITED) and spent:
        failure.kind = FailureKind.OUT_OF_CREDIT
    return failure


def error_body(error: GatewayError, *, request_id: str | None = None) -> bytes:
    """``error`` as the body of an answer. ``request_id`` belongs into the header ``request-id`` as well."""
    found: dict[str, Any] = {"type": "error", "error": {"type": type_of(error), "message": error.message}}
    if error.code:
        found["error"]["details"] = {"error_code": error.code}
    if request_id is not None:
        found["request_id"] = request_id
    try:
        return _encode(found)
    except UnicodeEncodeError:
        return _encode(_readable(found))


def error_event(error: GatewayError, *, request_id: str | None = None) -> bytes:
    """``error`` as the last event of a stream."""
    return sse.event(error_body(error, request_id=request_id), name=b"error")


def type_of(error: GatewayError) -> str:
    """Anthropic's type for ``error``: the provider's own if it is one of theirs, else the one of its status."""
    if error.type in TYPES.values() and error.type != "invalid_request_error":
        return error.type
    return TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")


def _error_code(body: bytes) -> str | None:
    """``error.details.error_code``, by which the newer API names the cause."""
    value = lenient.read_or_none(body) if len(body) <= _MOST else None
    for key in ("error", "details"):
        value = value.get(key) if type(value) is dict else None
    return lenient.text(value.get("error_code")) if type(value) is dict else None


def _readable(value: Any) -> Any:
    if type(value) is dict:
        return {key: _readable(item) for key, item in value.items()}
    return value.encode("utf-8", "replace").decode()
