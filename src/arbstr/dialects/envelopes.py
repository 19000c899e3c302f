"""Error bodies: what providers' mean, and how ours are written.

Providers' answers are told apart by status first, then by the error object's code and type, then by its wording, for
the many APIs that imitate OpenAI's imitate its errors least of all.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from arbstr.dialects import lenient, sse, wordings
from arbstr.dialects.retry_after import parse_retry_after, retry_after_of
from arbstr.domain.errors import FailureKind, GatewayError, UpstreamFailure

__all__ = [
    "error_envelope",
    "error_event",
    "error_in_answer",
    "excerpt",
    "failure_from_response",
    "is_error",
    "parse_retry_after",
    "what_came",
]

MESSAGE_LENGTH = 500
"""Characters of a provider's message that are kept."""
EXCERPT_LENGTH = 200
"""Characters that are kept of what is no error object: a page, a text."""
_MOST = 256 * 1024
"""Bytes up to which an error body is read as JSON; no error is longer."""
_PAGE = 8192
"""Bytes of a page or a text that are looked at."""


class _Error(msgspec.Struct, frozen=True):
    """What an error body says. ``codes`` are all of its codes and types, lower-case, for telling its meaning."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    codes: frozenset[str] = frozenset()
    status: int | None = None
    """The HTTP status that the body itself names."""
    structured: bool = False
    """It came as a JSON error, not as a page or a text."""

    def says(self, codes: frozenset[str], wording: re.Pattern[str] | None = None) -> bool:
        return not codes.isdisjoint(self.codes) or (wording is not None and bool(wording.search(self.message.lower())))

    def means(self, codes: frozenset[str], wording: re.Pattern[str]) -> bool:
        """As ``says``, for what takes a key or a model out for everybody: not by words that may be the caller's own.

        What stands in quotation marks may be an echo of the request, and so may all of a message that names a
        parameter other than the model.
        """
        if self.param not in (None, "model"):
            return self.says(codes)
        return self.says(codes) or bool(wording.search(_QUOTED.sub("…", self.message.lower())))


def _host(location: str) -> str:
    """The host of a redirect, for a message: the rest of the URL may hold a secret."""
    found = re.match(r"https?://([A-Za-z0-9.:\-\[\]]{1,100})(?:/|$)", location)
    return found[1] if found else "another path"


_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\u201c[^\u201d]*\u201d")


def failure_from_response(status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
    """Why a provider answered with ``status``, which is not 200. Header names are lower-case."""
    error = _read(body)
    if 300 <= status < 400:
        error = _Error(f"The provider redirects to {_host(headers.get('location', ''))}; its base_url may be wrong.")
    return _failure(_kind(status, error), error, status, retry_after_of(headers, now_epoch=now_epoch))


def error_in_answer(data: bytes) -> UpstreamFailure:
    """The failure that an error inside a 200 stands for: that of the status which its code names, else UNREADABLE.

    ``data`` is a whole answer or one event's data.
    """
    error = _read(data)
    status = error.status or _status_of(error.codes)
    return _failure(FailureKind.UNREADABLE if status is None else _kind(status, error), error, status, None)


def is_error(data: bytes) -> bool:
    """Whether ``data`` is a JSON object that reports an error, in any of the shapes that are known."""
    return _read(data).structured


def excerpt(data: bytes) -> str:
    """The beginning of what ``data`` says to a person: no tags, no control characters, at most 200 characters."""
    text = data[:_PAGE].decode("utf-8", "replace")
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        text = _without_tags(text)
    return _clean(text, EXCERPT_LENGTH)


def what_came(body: bytes) -> str:
    """What is wrong with an answer that is no JSON object, as the end of a sentence.

    A page or a text is quoted, for it says what stands in the way. Broken JSON is not: what a model said belongs into
    no log.
    """
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b'"'):
        return "is no JSON object."
    found = excerpt(body)
    return f"cannot be read: {found}" if found else "is empty."


def error_envelope(error: GatewayError) -> bytes:
    """``error`` as the OpenAI error object."""
    fields = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    try:
        return msgspec.json.encode({"error": fields})
    except UnicodeEncodeError:
        fields = {key: value and value.encode("utf-8", "replace").decode() for key, value in fields.items()}
        return msgspec.json.encode({"error": fields})


def error_event(error: GatewayError) -> bytes:
    """``error`` as an event of a stream."""
    return sse.event(error_envelope(error))


_STATUS_OF = {
    "overloaded_error": 529,
    "overloaded": 503,
    "service_unavailable": 503,
    "server_error": 500,
    "api_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "internalservererror": 500,
    "timeout_error": 504,
    "bad_gateway": 502,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "request_too_large": 413,
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "bad_request": 400,
}
"""The status for which a code or a type of an error stands that came with a 200."""


def _status_of(codes: frozenset[str]) -> int | None:
    if codes & (wordings.CREDIT_CODES | wordings.RATE_CODES):
        return 429
    if codes & (wordings.CONTEXT_CODES | wordings.FILTER_CODES):
        return 400
    if codes & wordings.MODEL_CODES:
        return 404
    return next((_STATUS_OF[code] for code in sorted(codes) if code in _STATUS_OF), None)


def _kind(status: int, error: _Error) -> FailureKind:
    if status == 402:
        return FailureKind.OUT_OF_CREDIT
    if status == 429:
        return _kind_of_429(error)
    if status in (408, 409, 425):
        return FailureKind.TRANSIENT
    if status >= 500:
        context = status == 500 and error.structured and error.says(wordings.CONTEXT_CODES)
        return FailureKind.CONTEXT_TOO_LONG if context else FailureKind.SERVER_ERROR
    if status < 400:
        return FailureKind.UNREADABLE
    if error.says(wordings.MODEL_CODES):
        return FailureKind.MODEL_MISSING
    if status == 403 and not error.structured:
        return FailureKind.TRANSIENT  # a firewall's page, about one request as like as not
    if status in (401, 403):
        # One caller's bad words must not take everybody's key out.
        filtered = status == 403 and error.structured and error.says(wordings.FILTER_CODES, wordings.FILTER)
        return FailureKind.CONTENT_FILTERED if filtered else FailureKind.KEY_REFUSED
    return _kind_of_refusal(status, error)


def _kind_of_429(error: _Error) -> FailureKind:
    if error.says(wordings.CREDIT_CODES):
        return FailureKind.OUT_OF_CREDIT
    if error.says(wordings.RATE_CODES, wordings.RATE):
        return FailureKind.RATE_LIMITED
    credit = error.means(frozenset(), wordings.CREDIT) or error.means(frozenset(), wordings.BILLING)
    return FailureKind.OUT_OF_CREDIT if credit else FailureKind.RATE_LIMITED


def _kind_of_refusal(status: int, error: _Error) -> FailureKind:
    """Of a 4xx that has no meaning of its own."""
    if error.means(wordings.CREDIT_CODES, wordings.CREDIT):
        return FailureKind.OUT_OF_CREDIT
    if status in (400, 413, 422) and error.says(wordings.CONTEXT_CODES, wordings.CONTEXT):
        return FailureKind.CONTEXT_TOO_LONG
    if error.says(wordings.FILTER_CODES, wordings.FILTER):
        return FailureKind.CONTENT_FILTERED
    if status in (400, 404) and error.means(wordings.MODEL_CODES, wordings.MODEL):
        return FailureKind.MODEL_MISSING
    if status == 404 and "model" in _QUOTED.sub("…", error.message.lower()):
        return FailureKind.MODEL_MISSING
    # A 404 that is a page, or that speaks of the path, is about what this provider serves and not about the request.
    if status == 404 and (not error.structured or error.says(frozenset(), wordings.NO_SUCH_PATH)):
        return FailureKind.MODEL_MISSING
    return FailureKind.REJECTED


def _failure(kind: FailureKind, error: _Error, status: int | None, retry_after: float | None) -> UpstreamFailure:
    message = error.message or (f"The provider answered {status} and no message." if status else "The provider failed.")
    return UpstreamFailure(
        kind, message, status=status, retry_after=retry_after, code=error.code, type=error.type, param=error.param
    )


def _read(body: bytes) -> _Error:
    """What an error body says, whatever its shape."""
    value = lenient.read_or_none(body) if len(body) <= _MOST else None
    if type(value) is list and len(value) == 1:  # Gemini's OpenAI endpoint wraps its errors
        value = value[0]
    if type(value) is not dict:
        return _Error(excerpt(body))
    inner = value.get("error")
    if not inner:
        errors = value.get("errors")
        inner = errors[0] if type(errors) is list and errors else None
    structured = bool(inner) or "detail" in value or value.get("object") == "error" or "error_msg" in value
    structured = structured or (
        type(value.get("message")) is str and not value.keys().isdisjoint({"code", "type", "status"})
    )
    outer = value
    fields = inner if type(inner) is dict else outer
    message = _message(inner) if inner else ""
    message = message or next((said for key in _MESSAGES if (said := _message(outer.get(key)))), "")
    nested = fields.get("innererror") or fields.get("inner_error")
    named = [fields.get(key) for key in ("code", "type", "status", "error_type")]
    named += [outer.get("code"), outer.get("type"), nested.get("code") if type(nested) is dict else None]
    return _Error(
        message=_clean(message, MESSAGE_LENGTH),
        code=_word(fields.get("code")),
        type=_word(fields.get("type")),
        param=_word(fields.get("param")),
        codes=frozenset(name.lower() for name in named if type(name) is str),
        status=next((status for name in named if (status := _status(name))), None),
        structured=structured,
    )


_MESSAGES = ("message", "detail", "error_msg", "msg", "error_message", "title")


def _message(value: Any, depth: int = 4) -> str:
    """The text in a message, a detail, or a list of either (FastAPI's: ``[{"loc": […], "msg": …}]``)."""
    if type(value) is str or not depth:
        return value if type(value) is str else ""
    if type(value) is list:
        return "; ".join(said for item in value[:5] if (said := _message(item, depth - 1)))
    if type(value) is dict:
        said = next((said for key in _MESSAGES if (said := _message(value.get(key), depth - 1))), "")
        where = value.get("loc")
        return f"{'.'.join(map(str, where[:8]))}: {said}" if said and type(where) is list else said
    return ""


def _status(value: Any) -> int | None:
    if type(value) is str and len(value) == 3 and value.isascii() and value.isdecimal():
        value = int(value)
    return value if type(value) is int and 400 <= value <= 599 else None


def _word(value: Any) -> str | None:
    """A code, a type or a param, as far as it is text that may be shown."""
    return _clean(value, 128) or None if type(value) is str else None


def _without_tags(page: str) -> str:
    title = re.search(r"<title[^<>]*>([^<]*)", page, re.IGNORECASE)
    if title and title[1].strip():
        return html.unescape(title[1])
    page = re.sub(r"<(script|style)\b.*?(?:</\1|\Z)", " <", page, flags=re.IGNORECASE | re.DOTALL)
    return html.unescape(re.sub(r"<[^<>]*>", " ", page))


def _clean(text: str, length: int) -> str:
    """``text`` in one line without control characters, cut to ``length`` characters."""
    text = text[: 16 * length]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"
