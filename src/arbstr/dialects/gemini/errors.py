"""What Google's error answers mean (``google.rpc.Status`` in JSON)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from arbstr.dialects import envelopes, lenient
from arbstr.domain.errors import FailureKind, UpstreamFailure

_KEY = re.compile(r"API_KEY|ACCESS_TOKEN|CREDENTIALS|SERVICE_DISABLED|CONSUMER|IAM_PERMISSION|USER_PROJECT_DENIED")
"""In the reason of a ``google.rpc.ErrorInfo``: our key or our project, whatever the status says."""
_PLACE = re.compile(r"location is not supported|not available in your (?:country|region)|enable billing", re.IGNORECASE)
_GONE = re.compile(r"perday|perweek|permonth|per_day|per_week|per_month", re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)
_LONGEST = 3600.0


def gemini_failure(status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
    """Why Gemini answered with ``status``, which is not 200. Header names are lower-case."""
    failure = envelopes.failure_from_response(status, headers, body, now_epoch=now_epoch)
    return _refined(failure, status, body)


def gemini_failure_in_answer(data: bytes) -> UpstreamFailure:
    """The failure that an error inside a 200 stands for, a whole answer or one event's data."""
    failure = envelopes.error_in_answer(data)
    return _refined(failure, failure.status or 200, data)


def _refined(failure: UpstreamFailure, status: int, body: bytes) -> UpstreamFailure:
    error = _error(body)
    if not error:
        return failure
    word = lenient.text(error.get("status")) or ""
    details = [one for one in _list(error.get("details")) if type(one) is dict]
    reasons = [lenient.text(one.get("reason")) or "" for one in details]
    failure.type = failure.type or word.lower() or None
    failure.retry_after = failure.retry_after if failure.retry_after is not None else _delay(details)
    if any("BILLING_DISABLED" in reason for reason in reasons):
        failure.kind = FailureKind.OUT_OF_CREDIT
    elif _about_us(word, reasons, failure.message):
        failure.kind = FailureKind.KEY_REFUSED
    elif word == "RESOURCE_EXHAUSTED" or status == 429:
        failure.kind = _exhausted(failure, details)
    elif word == "CANCELLED" or status == 499:
        failure.kind = FailureKind.TRANSIENT
    return failure


def _about_us(word: str, reasons: list[str], message: str) -> bool:
    """Whether it is our key, our project or our place that is refused, and not this request."""
    if word == "UNAUTHENTICATED" or any(_KEY.search(reason) for reason in reasons):
        return True
    return word == "FAILED_PRECONDITION" and bool(_PLACE.search(message))


def _exhausted(failure: UpstreamFailure, details: list[dict[str, Any]]) -> FailureKind:
    """A rate says when to come back; a quota that is used up for the day, or was never given, does not.

    The message is the same for both, so the quota's own name is looked at first.
    """
    violations = [one for detail in details for one in _list(detail.get("violations")) if type(one) is dict]
    names = [f"{one.get('quotaId') or ''} {one.get('subject') or ''}" for one in violations]
    if any(_GONE.search(name) for name in names) or any(str(one.get("quotaValue")) == "0" for one in violations):
        return FailureKind.OUT_OF_CREDIT
    if names or failure.retry_after is not None:
        return FailureKind.RATE_LIMITED
    gone = failure.kind is FailureKind.OUT_OF_CREDIT
    return FailureKind.OUT_OF_CREDIT if gone else FailureKind.RATE_LIMITED


def _delay(details: list[dict[str, Any]]) -> float | None:
    """Of a ``google.rpc.RetryInfo``."""
    for detail in details:
        wish = detail.get("retryDelay")
        if type(wish) is str and (found := _DURATION.fullmatch(wish)):
            return min(float(found[1]), _LONGEST)
    return None


def _error(body: bytes) -> dict[str, Any]:
    value = lenient.read_or_none(body) if len(body) <= 256 * 1024 else None
    if type(value) is list and value:  # a stream that is not sent as events is a list
        value = value[0]
    error = value.get("error") if type(value) is dict else None
    return error if type(error) is dict else {}


def _list(value: Any) -> list[Any]:
    return value if type(value) is list else []
