"""What follows from a failed attempt: the single answer to "what now?", as a table.

Each :class:`~arbstr.domain.errors.FailureKind` has one row. The table is the one of ``docs/reference/errors.md``; a
test compares the two.
"""

from __future__ import annotations

import enum

import msgspec

from arbstr.domain.errors import (
    FailureKind,
    GatewayError,
    ModelNotFound,
    Overloaded,
    RateLimited,
    UpstreamError,
    UpstreamFailure,
    UpstreamRejected,
    UpstreamTimeout,
)


class Retry(enum.Enum):
    """May the same provider be tried again?"""

    NO = "no"
    YES = "yes"
    ALONE = "only if nobody else can serve"


class FallBack(enum.Enum):
    """May the next candidate be tried?"""

    NO = "no"
    YES = "yes"
    LARGER_WINDOW = "to candidates with a larger window"


class Park(enum.Enum):
    """What is set aside for a while after the failure, so that the next request does not run into it again."""

    NOTHING = "nothing"
    ACCOUNT = "the account, until Retry-After or a doubling cooldown"
    KEY = "the key, until a timed re-test"
    MODEL = "this model at this provider, for minutes"


class Verdict(msgspec.Struct, frozen=True):
    retry: Retry
    fall_back: FallBack
    counts: bool
    """Against the provider's circuit."""
    park: Park
    answer: type[GatewayError]
    """What the caller sees when this was the last failure."""


_NO, _YES, _ALONE = Retry.NO, Retry.YES, Retry.ALONE
_NEXT, _STAY, _LARGER = FallBack.YES, FallBack.NO, FallBack.LARGER_WINDOW

# fmt: off
VERDICTS: dict[FailureKind, Verdict] = {
    #                                     retry here  fall back  counts  park           the caller sees
    FailureKind.CONNECT:          Verdict(_ALONE,     _NEXT,     True,   Park.NOTHING,  UpstreamError),
    FailureKind.RESET:            Verdict(_YES,       _NEXT,     True,   Park.NOTHING,  UpstreamError),
    FailureKind.TIMEOUT:          Verdict(_NO,        _NEXT,     True,   Park.NOTHING,  UpstreamTimeout),
    FailureKind.SERVER_ERROR:     Verdict(_YES,       _NEXT,     True,   Park.NOTHING,  UpstreamError),
    FailureKind.UNREADABLE:       Verdict(_YES,       _NEXT,     True,   Park.NOTHING,  UpstreamError),
    FailureKind.TRANSIENT:        Verdict(_YES,       _NEXT,     False,  Park.NOTHING,  UpstreamError),
    FailureKind.RATE_LIMITED:     Verdict(_ALONE,     _NEXT,     False,  Park.ACCOUNT,  RateLimited),
    FailureKind.OUT_OF_CREDIT:    Verdict(_NO,        _NEXT,     False,  Park.KEY,      UpstreamError),
    FailureKind.KEY_REFUSED:      Verdict(_NO,        _NEXT,     False,  Park.KEY,      UpstreamError),
    FailureKind.MODEL_MISSING:    Verdict(_NO,        _NEXT,     False,  Park.MODEL,    ModelNotFound),
    FailureKind.REJECTED:         Verdict(_NO,        _STAY,     False,  Park.NOTHING,  UpstreamRejected),
    FailureKind.CONTEXT_TOO_LONG: Verdict(_NO,        _LARGER,   False,  Park.NOTHING,  UpstreamRejected),
    FailureKind.CONTENT_FILTERED: Verdict(_NO,        _STAY,     False,  Park.NOTHING,  UpstreamRejected),
    FailureKind.INEXPRESSIBLE:    Verdict(_NO,        _NEXT,     False,  Park.NOTHING,  UpstreamRejected),
    FailureKind.POOL_EXHAUSTED:   Verdict(_NO,        _NEXT,     False,  Park.NOTHING,  Overloaded),
}
# fmt: on


def answer_to(failure: UpstreamFailure, *, provider: str) -> GatewayError:
    """What the caller is told when ``failure``, at ``provider``, was the last one."""
    answer = VERDICTS[failure.kind].answer
    if answer is UpstreamRejected:
        code = "context_length_exceeded" if failure.kind is FailureKind.CONTEXT_TOO_LONG else failure.code
        return UpstreamRejected(
            failure.message, status=failure.status or 400, code=code, type=failure.type, param=failure.param
        )
    message = f"{provider}: {failure.message}"
    if answer is RateLimited or answer is Overloaded:
        return answer(message, retry_after=failure.retry_after if failure.retry_after is not None else 1.0)
    return answer(message)
