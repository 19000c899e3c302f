"""What Bedrock's exceptions mean, as answers and inside a stream. They are told apart by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from arbstr.dialects import envelopes, lenient, wordings
from arbstr.dialects.retry_after import retry_after_of
from arbstr.domain.errors import FailureKind, UpstreamFailure

_MEANINGS: dict[str, tuple[FailureKind, int]] = {
    "ThrottlingException": (FailureKind.RATE_LIMITED, 429),
    "TooManyRequestsException": (FailureKind.RATE_LIMITED, 429),
    "ServiceQuotaExceededException": (FailureKind.OUT_OF_CREDIT, 400),
    "ModelTimeoutException": (FailureKind.TIMEOUT, 408),
    "ModelNotReadyException": (FailureKind.TRANSIENT, 429),
    "ConflictException": (FailureKind.TRANSIENT, 400),
    "ModelErrorException": (FailureKind.SERVER_ERROR, 424),
    "ModelStreamErrorException": (FailureKind.SERVER_ERROR, 424),
    "InternalServerException": (FailureKind.SERVER_ERROR, 500),
    "InternalFailure": (FailureKind.SERVER_ERROR, 500),
    "ServiceUnavailableException": (FailureKind.SERVER_ERROR, 503),
    "ServiceUnavailable": (FailureKind.SERVER_ERROR, 503),
    "ResourceNotFoundException": (FailureKind.MODEL_MISSING, 404),
    "UnknownOperationException": (FailureKind.MODEL_MISSING, 404),
    "AccessDeniedException": (FailureKind.KEY_REFUSED, 403),
    "UnrecognizedClientException": (FailureKind.KEY_REFUSED, 403),
    "InvalidClientTokenId": (FailureKind.KEY_REFUSED, 403),
    "InvalidSignatureException": (FailureKind.KEY_REFUSED, 403),
    "SignatureDoesNotMatch": (FailureKind.KEY_REFUSED, 403),
    "IncompleteSignatureException": (FailureKind.KEY_REFUSED, 403),
    "MissingAuthenticationTokenException": (FailureKind.KEY_REFUSED, 403),
    "ExpiredTokenException": (FailureKind.KEY_REFUSED, 403),
    "OptInRequired": (FailureKind.KEY_REFUSED, 403),
    "ValidationException": (FailureKind.REJECTED, 400),
    "SerializationException": (FailureKind.REJECTED, 400),
}
"""Each exception of the service model, and of the AWS front door: what it means, and its HTTP status."""

_NO_SUCH_MODEL = re.compile(
    r"model identifier is invalid|on-demand throughput isn.t supported|access to the model|end of (?:its )?life"
    r"|model is not supported|marked (?:by provider )?as legacy|model access is denied"
)
_LONG = re.compile(
    r"input is too long|too many (?:total )?(?:input )?(?:text bytes|tokens)|max(?:imum)? context length"
    r"|expected maxlength: \d+|exceeds? (?:the )?(?:model.s )?(?:context|maximum number of input)"
)
_ACCOUNT = re.compile(r"operation not allowed|payment instrument|account is not authorized")
_PER_DAY = re.compile(r"per (?:day|month)|daily")
_WORDS: tuple[tuple[frozenset[str], re.Pattern[str], FailureKind], ...] = (
    (frozenset({"AccessDeniedException", "ValidationException"}), _NO_SUCH_MODEL, FailureKind.MODEL_MISSING),
    (frozenset({"AccessDeniedException", "ValidationException"}), _ACCOUNT, FailureKind.KEY_REFUSED),
    (
        frozenset({"ValidationException", "ModelErrorException", "ModelStreamErrorException"}),
        _LONG,
        FailureKind.CONTEXT_TOO_LONG,
    ),
    (
        frozenset({"ValidationException", "ModelErrorException", "ModelStreamErrorException"}),
        wordings.CONTEXT,
        FailureKind.CONTEXT_TOO_LONG,
    ),
    (frozenset({"ThrottlingException"}), _PER_DAY, FailureKind.OUT_OF_CREDIT),
)
"""Where the name leaves it open: the names, a wording of the message (in lower case), and what it means."""


def bedrock_failure(status: int, headers: Mapping[str, str], body: bytes, *, now_epoch: float) -> UpstreamFailure:
    """Why Bedrock answered with ``status``, which is not 200. Header names are lower-case."""
    value = _object(body)
    name = _name(headers.get("x-amzn-errortype")) or _name(value.get("__type")) or _name(value.get("code"))
    if name not in _MEANINGS:
        return envelopes.failure_from_response(status, headers, body, now_epoch=now_epoch)
    retry_after = retry_after_of(headers, now_epoch=now_epoch)
    return _failure(name, _message(value), status=status, retry_after=retry_after)


def bedrock_exception(name: str, payload: bytes) -> UpstreamFailure:
    """The failure of an exception inside a stream; ``name`` is the message's ``:exception-type`` or ``:error-code``."""
    name = name[:1].upper() + name[1:]
    value = _object(payload)
    message = _message(value) or envelopes.excerpt(payload)
    if name not in _MEANINGS:
        return UpstreamFailure(FailureKind.UNREADABLE, message or "The provider failed.", code=_word(name))
    return _failure(name, message, status=None, retry_after=None)


def _failure(name: str, message: str, *, status: int | None, retry_after: float | None) -> UpstreamFailure:
    kind, usual = _MEANINGS[name]
    lower = message.lower()
    kind = next((meant for names, wording, meant in _WORDS if name in names and wording.search(lower)), kind)
    said = message or f"The provider answered {name} and no message."
    return UpstreamFailure(kind, said, status=status or usual, retry_after=retry_after, code=name)


def _object(body: bytes) -> dict[str, Any]:
    value = lenient.read_or_none(body) if len(body) <= 256 * 1024 else None
    return value if type(value) is dict else {}


def _message(value: dict[str, Any]) -> str:
    said = (lenient.text(value.get(key)) for key in ("message", "Message", "originalMessage"))
    found = " ".join(dict.fromkeys(text for text in said if text))
    return envelopes.excerpt(found.encode("utf-8", "replace")) if found else ""


def _name(value: object) -> str | None:
    """``ThrottlingException`` of ``com.amazon.coral#ThrottlingException:http://internal…``."""
    return value.partition(":")[0].rpartition("#")[2].strip() if type(value) is str else None


def _word(name: str) -> str | None:
    return name[:128] if name.isprintable() and name else None
