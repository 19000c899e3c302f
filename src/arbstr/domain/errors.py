"""The error tree.

::

    GatewayError                 what a caller is told: a status, a code, a message
    ├── InvalidRequest           400  the caller's mistake
    │   └── ContextTooLong       400  too long for every candidate
    ├── PolicyViolation          400  a policy leaves no candidate
    ├── Unpriced                 400  nobody who serves this has a price, and the budget is hard
    ├── InvalidApiKey            401  none, an unknown, a revoked or an expired key
    ├── CeilingTooLow            402  the request may cost more than its caller allows, at everyone
    ├── ForeignOrigin            403  a page of another origin, or a foreign Host
    ├── ModelNotAllowed          403  the key is not for this model
    ├── AdminOnly                403  only for the operator
    ├── NotFound                 404  no such path or entry
    ├── ModelNotFound            404  nobody sells this model
    ├── MethodNotAllowed         405
    ├── BodyTimeout              408  the body came too slowly
    ├── RequestTooLarge          413
    ├── Conflict                 409  the name is taken
    ├── RateLimited              429  every candidate asked us to wait for longer than we may, or the caller's own limit
    ├── BudgetExceeded           429  a budget is used up
    ├── UpstreamRejected         4xx  a provider's own refusal of this request, passed through
    ├── InternalError            500  our mistake
    ├── UpstreamError            502  every candidate failed
    ├── CircuitsOpen             503  no candidate is healthy
    ├── Overloaded               503  this gateway is full
    ├── Draining                 503  this gateway is stopping
    ├── LogUnavailable           503  the request log cannot be read now
    │   └── QueryTimeout         503  what was asked of it takes too long
    ├── BudgetUnavailable        503  what is spent cannot be written down, so nothing is
    ├── UpstreamTimeout          504  the last failure was a timeout
    └── CallerLeft               499  never sent: there is nobody to tell
        └── CutOff               4xx  not sent here: the server has told the caller already
    UpstreamFailure              why one attempt failed; policy/verdict.py says what follows from its kind
"""

from __future__ import annotations

import enum
import math

from arbstr.domain.usage import Usage


class GatewayError(Exception):
    """An answer that is not the one hoped for. The edge turns it into the OpenAI error object, once.

    ``retry_after`` is in seconds and becomes the ``Retry-After`` header.
    """

    status: int = 500
    code: str = "internal_error"
    type: str = "server_error"
    should_retry: bool = True
    """Of statuses that clients try again: False tells them not to (``x-should-retry: false``)."""

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after

    @property
    def retry_after_header(self) -> bytes | None:
        """The value of ``Retry-After``: whole seconds, rounded up, at least one."""
        return None if self.retry_after is None else str(max(1, math.ceil(self.retry_after))).encode()


class InvalidRequest(GatewayError):
    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class ContextTooLong(InvalidRequest):
    code = "context_length_exceeded"


class PolicyViolation(GatewayError):
    status = 400
    code = "policy_violation"
    type = "invalid_request_error"


class Unpriced(GatewayError):
    status = 400
    code = "unpriced_model"
    type = "invalid_request_error"


class InvalidApiKey(GatewayError):
    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class CeilingTooLow(GatewayError):
    status = 402
    code = "ceiling_too_low"
    type = "invalid_request_error"


class ForeignOrigin(GatewayError):
    status = 403
    code = "forbidden_origin"
    type = "invalid_request_error"


class ModelNotAllowed(GatewayError):
    status = 403
    code = "model_not_allowed"
    type = "permission_error"


class AdminOnly(GatewayError):
    status = 403
    code = "admin_only"
    type = "permission_error"


class NotFound(GatewayError):
    status = 404
    code = "not_found"
    type = "invalid_request_error"


class ModelNotFound(GatewayError):
    status = 404
    code = "model_not_found"
    type = "invalid_request_error"


class MethodNotAllowed(GatewayError):
    status = 405
    code = "method_not_allowed"
    type = "invalid_request_error"


class BodyTimeout(GatewayError):
    status = 408
    code = "request_timeout"
    type = "invalid_request_error"


class Conflict(GatewayError):
    status = 409
    code = "conflict"
    type = "invalid_request_error"


class RequestTooLarge(GatewayError):
    status = 413
    code = "request_too_large"
    type = "invalid_request_error"


class RateLimited(GatewayError):
    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"


class BudgetExceeded(GatewayError):
    status = 429
    code = "insufficient_quota"
    type = "insufficient_quota"
    should_retry = False


class InternalError(GatewayError):
    status = 500
    code = "internal_error"


class UpstreamError(GatewayError):
    status = 502
    code = "upstream_error"
    type = "upstream_error"


class CircuitsOpen(GatewayError):
    status = 503
    code = "circuit_open"


class Overloaded(GatewayError):
    status = 503
    code = "overloaded"


class Draining(GatewayError):
    status = 503
    code = "draining"


class LogUnavailable(GatewayError):
    status = 503
    code = "log_unavailable"


class QueryTimeout(LogUnavailable):
    code = "query_timeout"


class BudgetUnavailable(GatewayError):
    status = 503
    code = "budget_unavailable"


class UpstreamTimeout(GatewayError):
    status = 504
    code = "upstream_timeout"
    type = "upstream_error"


class CallerLeft(GatewayError):
    status = 499
    code = "client_closed_request"


class CutOff(CallerLeft):
    """The server has answered the request by itself, with this, and closed: its body was broken, or came too slowly."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class UpstreamRejected(GatewayError):
    """A provider's own 400, 404, 413 or 422, which the caller gets with its status, message, type, param and code."""

    def __init__(
        self, message: str, *, status: int, code: str | None = None, type: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message, param=param)
        self.status = status
        self.code = code or "invalid_request"
        self.type = type or "invalid_request_error"


class FailureKind(enum.Enum):
    """The ways in which an attempt fails; ``policy/verdict.py`` has a row for each."""

    CONNECT = "connect"
    """No connection: refused, unreachable, unresolvable, TLS."""
    RESET = "reset"
    """The connection was lost before the answer's headers."""
    TIMEOUT = "timeout"
    """No first event in time, or a stall."""
    SERVER_ERROR = "server_error"
    """5xx, 529."""
    TRANSIENT = "transient"
    """408, 409, 425: try again, nobody's health."""
    RATE_LIMITED = "rate_limited"
    OUT_OF_CREDIT = "out_of_credit"
    """402, or a 429 that means quota or credit is gone."""
    KEY_REFUSED = "key_refused"
    """401, 403 from the provider: our key, not the caller's."""
    MODEL_MISSING = "model_missing"
    REJECTED = "rejected"
    """400, 404 (not a missing model), 413, 422: the request itself."""
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTERED = "content_filtered"
    INEXPRESSIBLE = "inexpressible"
    """This provider's dialect cannot say what was asked for."""
    UNREADABLE = "unreadable"
    """Unreadable, empty, cut short, redirected, or an error inside a 200."""
    POOL_EXHAUSTED = "pool_exhausted"
    """No connection of ours was free in time: never the provider's fault."""


class UpstreamFailure(Exception):
    """Why one attempt failed. ``message`` holds no secrets: who raises it has sanitised it.

    ``status`` is the provider's HTTP status where it answered; ``retry_after`` its wish in seconds, finite and not
    negative; ``code``, ``type`` and ``param`` come from its error object where it sent one. ``unseen``: it had the
    request, and nobody knows what it made of it, and what it will charge. ``usage``: what it said that it used, in an
    answer that is of no use.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        code: str | None = None,
        type: str | None = None,
        param: str | None = None,
        unseen: bool = False,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.unseen = unseen
        self.usage = usage
        self.kind = kind
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.code = code
        self.type = type
        self.param = param
