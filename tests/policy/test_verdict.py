from __future__ import annotations

import pytest

from arbstr.domain import errors
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.policy.verdict import VERDICTS, FallBack, Park, Retry, answer_to


def test_every_kind_of_failure_has_a_verdict() -> None:
    """No failure is left to chance."""
    assert set(VERDICTS) == set(FailureKind)


def test_only_what_is_the_providers_fault_counts_against_its_circuit() -> None:
    """Refusals of a request, a key or a rate say nothing about health, and neither does our own pool."""
    counting = {kind for kind, verdict in VERDICTS.items() if verdict.counts}

    assert counting == {
        FailureKind.CONNECT,
        FailureKind.RESET,
        FailureKind.TIMEOUT,
        FailureKind.SERVER_ERROR,
        FailureKind.UNREADABLE,
    }


def test_a_request_that_is_wrong_is_tried_nowhere_else() -> None:
    """What one provider refuses as bad, the next would too; a refusal for its content is not routed round."""
    for kind in (FailureKind.REJECTED, FailureKind.CONTENT_FILTERED):
        verdict = VERDICTS[kind]

        assert (verdict.retry, verdict.fall_back, verdict.park) == (Retry.NO, FallBack.NO, Park.NOTHING)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FailureKind.CONNECT, 502),
        (FailureKind.RESET, 502),
        (FailureKind.TIMEOUT, 504),
        (FailureKind.SERVER_ERROR, 502),
        (FailureKind.UNREADABLE, 502),
        (FailureKind.TRANSIENT, 502),
        (FailureKind.RATE_LIMITED, 429),
        (FailureKind.OUT_OF_CREDIT, 502),
        (FailureKind.KEY_REFUSED, 502),
        (FailureKind.MODEL_MISSING, 404),
        (FailureKind.POOL_EXHAUSTED, 503),
    ],
)
def test_the_caller_sees_the_tables_status(kind: FailureKind, status: int) -> None:
    """Above all, a provider's 401 is never the caller's 401."""
    answer = answer_to(UpstreamFailure(kind, "no", status=401), provider="alpha")

    assert answer.status == status
    assert answer.message == "alpha: no"


def test_a_rejection_reaches_the_caller_as_the_provider_wrote_it() -> None:
    """Status, message, type, param and code pass through."""
    failure = UpstreamFailure(
        FailureKind.REJECTED, "bad tool", status=422, code="invalid_tool", type="tool_error", param="tools[0]"
    )

    answer = answer_to(failure, provider="alpha")

    assert (answer.status, answer.message, answer.code, answer.type, answer.param) == (
        422,
        "bad tool",
        "invalid_tool",
        "tool_error",
        "tools[0]",
    )


def test_a_context_that_is_too_long_has_one_code_whatever_the_vendor_calls_it() -> None:
    """Callers can rely on context_length_exceeded."""
    answer = answer_to(UpstreamFailure(FailureKind.CONTEXT_TOO_LONG, "too long", code="whatever"), provider="alpha")

    assert (answer.status, answer.code) == (400, "context_length_exceeded")


def test_only_a_rate_limit_passes_on_when_to_come_back() -> None:
    """A Retry-After that one failed provider wished says nothing about when all of them will be well."""
    limited = answer_to(UpstreamFailure(FailureKind.RATE_LIMITED, "slow down", retry_after=7), provider="alpha")
    broken = answer_to(UpstreamFailure(FailureKind.SERVER_ERROR, "oops", retry_after=7), provider="alpha")

    assert limited.retry_after == 7
    assert broken.retry_after is None


def test_every_error_of_the_tree_has_a_status_and_a_code() -> None:
    """The edge can turn any of them into an answer."""
    leaves = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.GatewayError)
    ]

    for leaf in leaves:
        assert 400 <= leaf.status < 600
        assert leaf.code.replace("_", "").isalpha()
