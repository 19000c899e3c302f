"""Whole answers: routing, retry, fallback, errors, cost and the row."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from arbstr.domain.errors import FailureKind
from arbstr.domain.record import AttemptRecord, CostSource, RequestRecord
from arbstr.domain.request import Wishes
from arbstr.domain.routing import BreakerSettings, PolicyRule, RetrySettings, Route, Strategy
from arbstr.testing import ListSink
from tests.pipeline.rig import CHEAP, DEAR, Rig, body, deployment, error_of, failure, whole


async def test_the_cheapest_answers_and_the_row_is_exact() -> None:
    """(100 × 5 + 200 × 10) / 1000 + 1 = 3.5 satoshis, in the header and in the row."""
    rig = Rig()
    rig.script(CHEAP, whole())

    caller = await rig.ask()

    assert caller.status == 200
    assert caller.received == whole()[0], "the bytes are the provider's own"
    assert caller.headers[b"x-arbstr-provider"] == b"cheap"
    assert caller.headers[b"x-arbstr-model"] == b"cheap-model"
    assert caller.headers[b"x-arbstr-cost-sats"] == b"3.5"
    assert b"x-arbstr-retries" not in caller.headers
    row = rig.row
    assert (row.provider, row.upstream_model, row.model) == ("cheap", "cheap-model", "gpt-4o")
    assert (row.input_tokens, row.output_tokens, row.cost) == (100, 200, 3_500_000)
    assert (row.success, row.status, row.cost_source) == (True, 200, CostSource.PROVIDER)
    assert [(each.provider, each.status, each.error, each.cost) for each in row.attempts] == [
        ("cheap", 200, None, 3_500_000)
    ]


async def test_without_usage_the_cost_is_an_estimate_and_says_so() -> None:
    """Four bytes a token, in and out."""
    rig = Rig()
    rig.script(CHEAP, whole("x" * 400, usage=False))

    await rig.ask()

    assert rig.row.cost_source is CostSource.ESTIMATED
    assert rig.row.output_tokens == 100


async def test_one_failure_is_retried_at_the_same_provider_after_a_backoff() -> None:
    """The cheapest provider keeps the request; the wait is between half of 250 ms and 250 ms."""
    rig = Rig()
    rig.script(CHEAP, failure(), whole())

    caller = await rig.ask()

    assert caller.status == 200
    assert rig.asked == [CHEAP, CHEAP]
    assert len(rig.clock.slept) == 1
    assert 0.125 <= rig.clock.slept[0] <= 0.25
    assert caller.headers[b"x-arbstr-retries"] == b"1/cheap"


async def test_a_provider_that_keeps_failing_is_left_for_the_next() -> None:
    """Three attempts, each one row and one vote; then the fallback, at its own price."""
    rig = Rig()
    rig.script(CHEAP, failure(), failure(), failure())
    rig.script(DEAR, whole())

    caller = await rig.ask()

    assert (caller.status, caller.headers[b"x-arbstr-provider"]) == (200, b"dear")
    assert caller.headers[b"x-arbstr-retries"] == b"3/cheap"
    assert rig.circuit(CHEAP) == "open"
    assert rig.row.cost == 6_000_000, "(100 × 10 + 200 × 20) / 1000 + 1"
    assert [each.error for each in rig.row.attempts] == ["server_error: busy"] * 3 + [None]
    assert len(rig.sink.attempts) == 4


async def test_when_everybody_fails_the_caller_gets_the_last_upstream_message() -> None:
    """502, with who failed how often, and a row without a cost."""
    rig = Rig(settings={"retry": RetrySettings(max_attempts=2)})
    rig.script(CHEAP, failure(), failure())
    rig.script(DEAR, failure(message="melted"), failure(message="melted"))

    caller = await rig.ask()

    assert caller.status == 502
    assert error_of(caller) == {
        "message": "dear: melted",
        "type": "upstream_error",
        "param": None,
        "code": "upstream_error",
    }
    assert caller.headers[b"x-arbstr-retries"] == b"2/cheap, 2/dear"
    row = rig.row
    assert (row.success, row.status, row.provider) == (False, 502, None)
    assert (row.cost, row.cost_source, row.error_message) == (None, CostSource.NONE, "dear: melted")


async def test_a_refused_connection_falls_back_at_once() -> None:
    """No backoff where somebody else can serve."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.CONNECT, "refused"))
    rig.script(DEAR, whole())

    caller = await rig.ask()

    assert caller.status == 200
    assert rig.clock.slept == []


async def test_a_refused_connection_is_retried_where_nobody_else_can_serve() -> None:
    """With backoff, up to max_attempts."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(FailureKind.CONNECT, "refused"), whole())

    caller = await rig.ask()

    assert caller.status == 200
    assert len(rig.clock.slept) == 1


async def test_a_silent_provider_is_not_asked_again() -> None:
    """A timeout has cost enough time already: fall back, and count it."""
    rig = Rig()
    rig.script(CHEAP, [301.0])
    rig.script(DEAR, whole())

    caller = await rig.ask()

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert rig.asked == [CHEAP, DEAR]
    assert rig.state.circuits[CHEAP].breaker.failure_count == 1


async def test_a_timeout_as_the_last_failure_is_a_504() -> None:
    """The caller can tell silence from refusal."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, [301.0])

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["code"]) == (504, "upstream_timeout")


async def test_one_deadline_stands_over_everything() -> None:
    """The second candidate has only what is left of it, and a timeout that we caused is no vote."""
    rig = Rig(settings={"request_timeout": 400.0})
    rig.script(CHEAP, [301.0])
    rig.script(DEAR, [250.0, *whole()])

    caller = await rig.ask()

    assert caller.status == 504
    assert rig.clock.now == 1400.0
    assert rig.state.circuits[DEAR].breaker.failure_count == 0


async def test_no_backoff_reaches_over_the_deadline() -> None:
    """A Retry-After that does not fit ends the tries at once."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings={"request_timeout": 60.0})
    rig.script(CHEAP, failure(retry_after=90.0))

    caller = await rig.ask()

    assert caller.status == 502
    assert rig.clock.slept == []


async def test_retry_after_replaces_the_backoff() -> None:
    """Clamped to 120 s."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(retry_after=2.0), failure(retry_after=9999.0), whole())

    caller = await rig.ask()

    assert caller.status == 200
    assert rig.clock.slept == [2.0, 120.0]


async def test_a_long_retry_after_is_not_waited_for_where_somebody_else_can_serve() -> None:
    """The fallback answers now."""
    rig = Rig()
    rig.script(CHEAP, failure(retry_after=60.0))
    rig.script(DEAR, whole())

    caller = await rig.ask()

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert rig.clock.slept == []


@pytest.mark.parametrize("status", [501, 505, 520])
async def test_a_status_that_is_not_listed_is_not_retried(status: int) -> None:
    """It falls back, and counts."""
    rig = Rig()
    rig.script(CHEAP, failure(status=status))
    rig.script(DEAR, whole())

    await rig.ask()

    assert rig.asked == [CHEAP, DEAR]
    assert rig.state.circuits[CHEAP].breaker.failure_count == 1


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_the_callers_mistake_is_passed_through_once(status: int) -> None:
    """No retry, no fallback, no vote."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.REJECTED, "bad temperature", status=status, code="bad", param="temperature"))

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["message"]) == (status, "bad temperature")
    assert (error_of(caller)["code"], error_of(caller)["param"]) == ("bad", "temperature")
    assert rig.asked == [CHEAP]
    assert rig.state.circuits[CHEAP].breaker.failure_count == 0


async def test_a_content_filter_is_not_routed_round() -> None:
    """The refusal arrives as such."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.CONTENT_FILTERED, "not that", status=400, code="content_filter"))

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["code"]) == (400, "content_filter")
    assert rig.asked == [CHEAP]


async def test_too_long_a_context_goes_to_a_larger_window_only() -> None:
    """Not to one that is as small, and not to one whose window is unknown."""
    small, same, unknown, large = (
        deployment("a-small", "1", window=8000),
        deployment("b-same", "2", window=8000),
        deployment("c-unknown", "3"),
        deployment("d-large", "4", window=128_000),
    )
    rig = Rig(deployments=(small, same, unknown, large))
    rig.script("a-small", failure(FailureKind.CONTEXT_TOO_LONG, "too long", status=400))
    rig.script("d-large", whole())

    caller = await rig.ask()

    assert caller.status == 200
    assert rig.asked == ["a-small", "d-large"]


async def test_too_long_a_context_without_a_larger_window_is_the_providers_400() -> None:
    """Under the one code for it."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.CONTEXT_TOO_LONG, "too long", status=400))

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["code"]) == (400, "context_length_exceeded")


async def test_a_rate_limit_goes_elsewhere_and_rests_the_account() -> None:
    """Not a failure of health; until Retry-After is over, that provider is asked only if nobody else can."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.RATE_LIMITED, "slow down", status=429, retry_after=20.0), whole())
    rig.script(DEAR, whole(), whole())

    first, second = await rig.ask(), await rig.ask()
    rig.clock.advance(20.0)
    third = await rig.ask()

    providers = [caller.headers[b"x-arbstr-provider"] for caller in (first, second, third)]
    assert providers == [b"dear", b"dear", b"cheap"]
    assert rig.circuit(CHEAP) == "closed"


async def test_a_rate_limit_is_waited_for_where_nobody_else_can_serve() -> None:
    """If it fits the deadline."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(FailureKind.RATE_LIMITED, "slow down", status=429, retry_after=3.0), whole())

    caller = await rig.ask()

    assert caller.status == 200
    assert 3.0 <= sum(rig.clock.slept) <= 3.0 * 1.25, "a little longer, so that not all who wait come at once"


async def test_a_rate_limit_that_does_not_fit_is_a_429_with_its_retry_after() -> None:
    """For this caller and, without asking again, for the next."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings={"request_timeout": 30.0})
    rig.script(CHEAP, failure(FailureKind.RATE_LIMITED, "slow down", status=429, retry_after=300.0))

    first = await rig.ask()
    rig.clock.advance(100.0)
    second = await rig.ask()

    assert (first.status, first.headers[b"retry-after"]) == (429, b"300")
    assert (second.status, second.headers[b"retry-after"]) == (429, b"200")
    assert rig.asked == [CHEAP]


async def test_a_refused_key_is_never_the_callers_401() -> None:
    """The next provider serves; the key rests, loudly, until its re-test."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.KEY_REFUSED, "invalid key", status=401), whole())
    rig.script(DEAR, whole(), whole())

    first, second = await rig.ask(), await rig.ask()
    rig.clock.advance(60.0)
    third = await rig.ask()

    providers = [caller.headers[b"x-arbstr-provider"] for caller in (first, second, third)]
    assert providers == [b"dear", b"dear", b"cheap"]
    assert [line[:2] for line in rig.log.lines] == [
        ("error", "a provider's key is out of use"),
        ("info", "a provider's key works again"),
    ]


async def test_with_the_only_key_refused_the_caller_gets_a_502() -> None:
    """Also while it rests, when nobody is asked."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(FailureKind.KEY_REFUSED, "invalid key", status=401))

    first, second = await rig.ask(), await rig.ask()

    assert (first.status, second.status) == (502, 502)
    assert "working key (cheap)" in error_of(second)["message"]
    assert rig.asked == [CHEAP]


async def test_a_model_that_a_provider_does_not_have_is_asked_for_elsewhere() -> None:
    """And not there again for a while, unless nobody else has it."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.MODEL_MISSING, "no such model", status=404))
    rig.script(DEAR, whole(), whole())

    first, second = await rig.ask(), await rig.ask()

    assert (first.status, second.status) == (200, 200)
    assert rig.asked == [CHEAP, DEAR, DEAR]


async def test_a_missing_model_speaks_only_if_nothing_else_failed() -> None:
    """A 404 would hide that the other provider was down."""
    rig = Rig(settings={"retry": RetrySettings(max_attempts=1)})
    rig.script(CHEAP, failure(message="down"))
    rig.script(DEAR, failure(FailureKind.MODEL_MISSING, "no such model", status=404))

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["message"]) == (502, "cheap: down")


async def test_a_model_that_nobody_has_is_a_404() -> None:
    """Each is asked once; and while it is known, once more rather than never."""
    rig = Rig()
    missing = failure(FailureKind.MODEL_MISSING, "no such model", status=404)
    rig.script(CHEAP, missing, missing)
    rig.script(DEAR, missing, missing)

    first, second = await rig.ask(), await rig.ask()

    assert (first.status, second.status) == (404, 404)
    assert error_of(first)["code"] == "model_not_found"


async def test_an_exhausted_pool_is_ours_and_goes_elsewhere() -> None:
    """503 where nobody else is; never a vote."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(FailureKind.POOL_EXHAUSTED, "no connection was free"))

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["code"]) == (503, "overloaded")
    assert rig.state.circuits[CHEAP].breaker.failure_count == 0


async def test_the_retry_budget_bounds_the_load_of_retries() -> None:
    """When a hundred retries were made within ten seconds, first attempts go on and retries do not."""
    transient = failure(FailureKind.TRANSIENT, "again", status=409)
    rig = Rig(
        settings={
            "retry": RetrySettings(
                max_attempts=2, initial_backoff=0.001, max_backoff=0.001, retryable_statuses=frozenset({409})
            )
        },
        deployments=(deployment(CHEAP, "5"),),
    )
    rig.script(CHEAP, *[transient] * 1000)

    for _ in range(300):
        await rig.ask()

    retries = len(rig.asked) - 300
    assert 100 <= retries <= 100 + 0.2 * 300


async def test_unreadable_bodies_ask_nobody_and_leave_a_row() -> None:
    """400, the model unknown."""
    rig = Rig()
    caller = rig.caller()
    caller.body = b'{"model": '

    await rig.pipeline.handle(caller)

    assert (caller.status, error_of(caller)["code"]) == (400, "invalid_request")
    assert (rig.row.model, rig.row.status, rig.row.success) == (None, 400, False)
    assert rig.asked == []


async def test_an_unknown_model_is_a_404_with_a_row() -> None:
    """The row has the name that was asked for."""
    rig = Rig()

    caller = await rig.ask(model="gpt-9")

    assert (caller.status, error_of(caller)["code"], error_of(caller)["param"]) == (404, "model_not_found", "model")
    assert rig.row.model == "gpt-9"


async def test_the_policy_is_in_the_row() -> None:
    """Chosen by header or by keyword."""
    rules = (PolicyRule("polite", keywords=("please",), strategy=Strategy.PRIORITY),)
    rig = Rig(settings={"rules": rules})
    rig.script(CHEAP, whole(), whole(), whole())

    await rig.ask(messages=[{"role": "user", "content": "Please"}])
    await rig.ask(wishes=Wishes(policy="polite"))
    await rig.ask()

    assert [row.policy for row in rig.sink.requests] == ["polite", "polite", None]


async def test_a_policy_that_leaves_nobody_is_a_400() -> None:
    """policy_violation; nobody is asked."""
    rules = (PolicyRule("none", allowed_models=frozenset({"other"})),)
    rig = Rig(settings={"rules": rules})

    caller = await rig.ask(wishes=Wishes(policy="none"))

    assert (caller.status, error_of(caller)["code"]) == (400, "policy_violation")
    assert rig.row.policy == "none", "the row says which"


async def test_too_many_requests_at_once_are_turned_away() -> None:
    """503 at once, with Retry-After and a row."""
    rig = Rig(settings={"max_in_flight": 0})

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["code"]) == (503, "overloaded")
    assert caller.headers[b"retry-after"] == b"1"
    assert rig.row.status == 503


async def test_a_draining_gateway_takes_nothing_new() -> None:
    """503 draining."""
    rig = Rig()
    rig.state.draining = True

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["code"]) == (503, "draining")


async def test_a_bug_of_ours_is_a_500_with_a_row_and_a_line() -> None:
    """The caller learns nothing of the inside."""
    rig = Rig()
    rig.script(CHEAP, [0.0, b"{}"], whole())
    caller = rig.caller()

    async def broken(max_body: int) -> None:
        raise KeyError("secret detail")

    caller.request = broken  # type: ignore[assignment,method-assign]  # a caller with a bug

    await rig.pipeline.handle(caller)

    assert (caller.status, error_of(caller)["code"]) == (500, "internal_error")
    assert "secret detail" not in caller.received.decode()
    assert (rig.row.status, rig.log.lines[0][1]) == (500, "a request failed in this gateway")


async def test_ten_answers_teach_what_to_expect() -> None:
    """The mean of what was seen replaces the 512 tokens of the beginning."""
    rig = Rig()
    rig.script(CHEAP, *[whole() for _ in range(10)])

    for _ in range(10):
        await rig.ask()

    assert rig.state.mean_output("gpt-4o") == 200


async def test_what_a_provider_sees_is_the_whole_request_under_its_own_model_name() -> None:
    """Unknown fields included."""
    rig = Rig()
    provider = rig.script(CHEAP, whole())

    await rig.ask(temperature=0.5, made_up={"x": 1})

    fields = provider.requests[0].fields
    assert json.loads(bytes(fields["made_up"])) == {"x": 1}
    assert json.loads(body())["model"] == "gpt-4o"


async def test_of_two_who_ask_to_wait_the_sooner_is_waited_for() -> None:
    """Whatever they cost."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.RATE_LIMITED, "slow", status=429, retry_after=100.0))
    rig.script(DEAR, failure(FailureKind.RATE_LIMITED, "slow", status=429, retry_after=2.0), whole(), whole())
    await rig.ask()
    rig.state.failed(rig.deployments[1], failure(FailureKind.RATE_LIMITED, "slow", retry_after=2.0))

    caller = await rig.ask()

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert rig.clock.now < 1010


async def test_an_answer_that_began_before_a_rate_limit_does_not_lift_it() -> None:
    """It says nothing about what the provider bears now."""
    rig = Rig()
    hold = asyncio.Event()
    rig.script(CHEAP, [hold, *whole()], failure(FailureKind.RATE_LIMITED, "slow", status=429, retry_after=50.0))
    rig.script(DEAR, whole(), whole())
    early = rig.caller()
    task = asyncio.create_task(rig.pipeline.handle(early))
    await asyncio.sleep(0)
    rig.clock.advance(1.0)
    limited = rig.caller()
    await rig.pipeline.handle(limited)

    hold.set()
    await task
    later = await rig.ask()

    assert early.headers[b"x-arbstr-provider"] == b"cheap"
    assert later.headers[b"x-arbstr-provider"] == b"dear"


async def test_a_wait_of_more_than_two_minutes_is_a_429_at_once() -> None:
    """Also where it would fit the deadline: no caller is held that long for nothing."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(FailureKind.RATE_LIMITED, "slow", status=429, retry_after=300.0))

    caller = await rig.ask()

    assert (caller.status, caller.headers[b"retry-after"], rig.clock.slept) == (429, b"300", [0.0])


async def test_every_503_and_429_says_when_to_come_back() -> None:
    """Also where the provider did not."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings={"request_timeout": 0.5})
    rig.script(
        CHEAP, failure(FailureKind.POOL_EXHAUSTED, "full"), failure(FailureKind.RATE_LIMITED, "slow", status=429)
    )

    full, limited = await rig.ask(), await rig.ask()

    assert (full.status, full.headers[b"retry-after"]) == (503, b"1")
    assert (limited.status, limited.headers[b"retry-after"]) == (429, b"1")


async def test_a_sink_that_fails_is_nobody_elses_trouble() -> None:
    """The request is answered, the other sinks hear of it, the log says so."""

    class Broken(ListSink):
        def attempt(self, record: AttemptRecord) -> None:
            raise OSError("disk")

        def request(self, record: RequestRecord) -> None:
            raise OSError("disk")

    rig = Rig()
    rig.pipeline._publisher._sinks = [Broken(), rig.sink]
    rig.script(CHEAP, failure(), whole())

    caller = await rig.ask()

    assert caller.status == 200
    assert len(rig.row.attempts) == len(rig.sink.attempts) == 2
    assert {line[1] for line in rig.log.lines} == {"a record was not taken"}


async def test_who_refused_is_in_the_headers_and_in_the_row() -> None:
    """A provider's own 400 is an answer of that provider."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.REJECTED, "bad", status=400))

    caller = await rig.ask()

    assert (caller.headers[b"x-arbstr-provider"], caller.headers[b"x-arbstr-model"]) == (b"cheap", b"cheap-model")
    assert (rig.row.provider, rig.row.upstream_model, rig.row.cost) == ("cheap", "cheap-model", None)


async def test_two_models_of_one_provider_share_its_attempts() -> None:
    """max_attempts is on one provider: the second model there has what the first one left, and at least one."""
    one, two = deployment(CHEAP, "5"), msgspec.structs.replace(deployment(CHEAP, "6"), model="other")
    rig = Rig(deployments=(one, two), settings={"breaker": BreakerSettings(failure_threshold=10)})
    rig.script(CHEAP, *[failure()] * 4)

    await rig.ask()

    assert rig.providers[CHEAP].opened == ["cheap/cheap-model"] * 3 + ["cheap/other"]


async def test_a_redirect_is_not_tried_again() -> None:
    """It would be the same redirect."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.UNREADABLE, "redirects", status=307))
    rig.script(DEAR, whole())

    await rig.ask()

    assert rig.asked == [CHEAP, DEAR]


async def test_a_window_that_is_known_is_tried_where_our_own_is_not() -> None:
    """If it is larger than the request."""
    rig = Rig(deployments=(deployment("unknown", "1"), deployment("large", "2", window=200_000)))
    rig.script("unknown", failure(FailureKind.CONTEXT_TOO_LONG, "too long", status=400))
    rig.script("large", whole())

    caller = await rig.ask()

    assert caller.headers[b"x-arbstr-provider"] == b"large"


async def test_the_mean_output_is_that_of_one_choice() -> None:
    """Of the route's name, also where the route is the default one."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    route = Route("default", Strategy.CHEAPEST, rig.deployments)
    rig.pipeline.snapshot = msgspec.structs.replace(rig.snapshot, routes={}, default_route=route)
    rig.script(CHEAP, *[whole() for _ in range(5)])

    for _ in range(5):
        await rig.ask(n=2, model="whatever")

    assert rig.state.mean_output("default") == 100


async def test_a_timeout_says_which_one_it_was() -> None:
    """The key to turn, and how it stands."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, [301.0])

    caller = await rig.ask()

    assert error_of(caller)["message"] == "cheap: nothing came in time (timeout.answer = 300 s)"


@pytest.mark.parametrize("header", ["commit", "stream_metadata"])
async def test_a_wish_for_streams_is_checked_for_whole_answers_too(header: str) -> None:
    """A typing error should not wait for the first stream to be found."""
    rig = Rig()

    caller = await rig.ask(wishes=Wishes(**{header: "maybe"}))

    assert caller.status == 400


async def test_who_cannot_be_told_what_was_asked_for_was_not_asked() -> None:
    """No attempt is on record for a dialect that has no words for a request; the next one serves."""
    rig = Rig()
    rig.script(CHEAP, failure(FailureKind.INEXPRESSIBLE, "no such thing here"))
    rig.script(DEAR, whole())

    caller = await rig.ask()

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert b"x-arbstr-retries" not in caller.headers
    assert len(rig.row.attempts) == 1


async def test_where_nobody_can_be_told_the_caller_is() -> None:
    """A 400 with the reason."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(FailureKind.INEXPRESSIBLE, "no such thing here", param="suffix"))

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["param"]) == (400, "suffix")
    assert error_of(caller)["message"] == "no such thing here"
