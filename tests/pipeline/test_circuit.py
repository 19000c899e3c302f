"""The circuit breaker in the way of a request: probes, waiting behind them, and who is asked when."""

from __future__ import annotations

import asyncio

import pytest

from arbstr.domain.errors import FailureKind
from arbstr.domain.routing import BreakerSettings, RetrySettings
from arbstr.testing import Step
from tests.pipeline.rig import CHEAP, DEAR, DONE, HELLO, ROLE, Rig, deployment, error_of, failure, text, whole

ONCE = {"retry": RetrySettings(max_attempts=1)}


async def opened(rig: Rig) -> None:
    """Open the circuit of the cheap provider; where there is another, it serves."""
    rig.script(CHEAP, failure(), failure(), failure())
    if DEAR in rig.providers:
        rig.script(DEAR, whole(), whole(), whole())
    for _ in range(3):
        await rig.ask()
    assert rig.circuit(CHEAP) == "open"


async def test_after_three_failures_nobody_asks_it() -> None:
    """The fourth request goes elsewhere at once."""
    rig = Rig(settings=ONCE)
    await opened(rig)
    rig.script(DEAR, whole())

    caller = await rig.ask()

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert b"x-arbstr-retries" not in caller.headers
    assert rig.asked.count(CHEAP) == 3


async def test_an_opened_circuit_ends_the_retries_there() -> None:
    """An attempt whose circuit no longer admits is not made, however many are left."""
    rig = Rig(settings={"retry": RetrySettings(max_attempts=10)})
    rig.script(CHEAP, *[failure()] * 10)
    rig.script(DEAR, whole())

    caller = await rig.ask()

    assert caller.headers[b"x-arbstr-retries"] == b"3/cheap"


async def test_with_all_circuits_open_the_answer_is_503_at_once() -> None:
    """No attempt, the words, and when to come back."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings=ONCE)
    await opened(rig)
    rig.clock.advance(12.0)

    caller = await rig.ask()

    assert (caller.status, error_of(caller)["code"]) == (503, "circuit_open")
    assert "all providers have open circuits" in error_of(caller)["message"]
    assert caller.headers[b"retry-after"] == b"18"
    assert rig.asked == [CHEAP] * 3
    assert rig.sink.requests[-1].attempts == ()


async def test_a_long_open_time_is_told_as_at_most_120_seconds() -> None:
    """So the contract has it."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings={**ONCE, "breaker": BreakerSettings(timeout=3600.0)})
    await opened(rig)

    caller = await rig.ask()

    assert caller.headers[b"retry-after"] == b"120"


async def test_the_probe_goes_first_and_its_success_closes() -> None:
    """Even where the recovering provider is the dearer one."""
    rig = Rig(settings=ONCE)
    rig.script(CHEAP, *[failure()] * 3)
    rig.script(DEAR, *[failure()] * 3)
    for _ in range(3):
        await rig.ask()
    rig.clock.advance(15.0)
    rig.state.circuits[CHEAP].breaker.settings = BreakerSettings(timeout=1.0)
    rig.script(CHEAP, whole(), whole())
    assert (await rig.ask()).headers[b"x-arbstr-provider"] == b"cheap"
    rig.clock.advance(15.0)
    rig.script(DEAR, whole())

    probe, after = await rig.ask(), await rig.ask()

    assert probe.headers[b"x-arbstr-provider"] == b"dear"
    assert after.headers[b"x-arbstr-provider"] == b"cheap"
    assert rig.circuit(DEAR) == "closed"


async def test_a_failed_probe_costs_the_caller_nothing_but_a_moment() -> None:
    """It falls back, and the circuit is open for a fresh 30 s."""
    rig = Rig()
    await opened_with_retries(rig)
    rig.clock.advance(30.0)
    rig.script(CHEAP, failure())
    rig.script(DEAR, whole())

    caller = await rig.ask()

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert caller.headers[b"x-arbstr-retries"] == b"1/cheap"
    assert rig.circuit(CHEAP) == "open"
    rig.clock.advance(29.9)
    assert rig.circuit(CHEAP) == "open"


async def opened_with_retries(rig: Rig) -> None:
    rig.script(CHEAP, failure(), failure(), failure())
    rig.script(DEAR, whole())
    await rig.ask()
    assert rig.circuit(CHEAP) == "open"


@pytest.mark.parametrize(
    "kind", [FailureKind.REJECTED, FailureKind.RATE_LIMITED, FailureKind.KEY_REFUSED, FailureKind.TRANSIENT]
)
async def test_a_refused_probe_gives_its_permit_back(kind: FailureKind) -> None:
    """A 4xx says nothing about health: still half-open, and somebody else may probe."""
    rig = Rig()
    await opened_with_retries(rig)
    rig.clock.advance(30.0)
    rig.script(CHEAP, failure(kind, "no", status=499))
    rig.script(DEAR, whole())

    await rig.ask()

    breaker = rig.state.circuits[CHEAP].breaker
    assert rig.circuit(CHEAP) == "half_open"
    assert breaker.admits(rig.clock.now)


async def test_while_a_probe_is_out_others_go_elsewhere_at_once() -> None:
    """They do not wait for its verdict."""
    rig = Rig()
    await opened_with_retries(rig)
    rig.clock.advance(30.0)
    hold = asyncio.Event()
    rig.script(CHEAP, [hold, *whole()])
    rig.script(DEAR, *[whole() for _ in range(5)])
    probe = rig.caller()
    task = asyncio.create_task(rig.pipeline.handle(probe))
    await asyncio.sleep(0)

    others = [rig.caller() for _ in range(5)]
    for other in others:
        await rig.pipeline.handle(other)
    hold.set()
    await task

    assert {other.headers[b"x-arbstr-provider"] for other in others} == {b"dear"}
    assert probe.headers[b"x-arbstr-provider"] == b"cheap"
    assert rig.circuit(CHEAP) == "closed"


async def test_where_there_is_no_elsewhere_they_wait_for_the_verdict() -> None:
    """A good one lets them all in."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings=ONCE)
    await opened(rig)
    rig.clock.advance(30.0)
    hold = asyncio.Event()
    rig.script(CHEAP, [hold, *whole()], whole(), whole())
    callers = [rig.caller() for _ in range(3)]
    tasks = [asyncio.create_task(rig.pipeline.handle(caller)) for caller in callers]
    for _ in range(5):
        await asyncio.sleep(0)
    assert rig.asked == [CHEAP] * 4, "one probe is out, two wait"

    hold.set()
    await asyncio.gather(*tasks)

    assert [caller.status for caller in callers] == [200, 200, 200]


async def test_a_bad_verdict_turns_the_waiting_away() -> None:
    """503, without an attempt of their own."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings=ONCE)
    await opened(rig)
    rig.clock.advance(30.0)
    hold = asyncio.Event()
    rig.script(CHEAP, [hold, failure()])
    callers = [rig.caller() for _ in range(3)]
    tasks = [asyncio.create_task(rig.pipeline.handle(caller)) for caller in callers]
    for _ in range(5):
        await asyncio.sleep(0)

    hold.set()
    await asyncio.gather(*tasks)

    assert [caller.status for caller in callers] == [502, 503, 503]


async def test_nobody_waits_for_a_verdict_longer_than_the_first_token_timeout() -> None:
    """Then it is as if the circuit were open."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings=ONCE)
    await opened(rig)
    rig.clock.advance(30.0)
    hold = asyncio.Event()
    rig.script(CHEAP, [hold, *whole()])
    task = asyncio.create_task(rig.pipeline.handle(rig.caller()))
    await asyncio.sleep(0)

    waiting = rig.caller()
    await rig.pipeline.handle(waiting)
    hold.set()
    await task

    assert (waiting.status, error_of(waiting)["code"]) == (503, "circuit_open")
    assert rig.clock.now == 1030.0 + 30.0


async def test_a_probing_stream_closes_the_circuit_at_its_commit_point() -> None:
    """Not only at its end, minutes later; a cut afterwards is a new failure."""
    rig = Rig()
    await opened_with_retries(rig)
    rig.clock.advance(30.0)
    hold = asyncio.Event()
    rig.script(CHEAP, [ROLE, text("Hel"), hold, failure(FailureKind.UNREADABLE, "cut")])
    caller = rig.caller(stream=True)
    task = asyncio.create_task(rig.pipeline.handle(caller))
    for _ in range(10):
        await asyncio.sleep(0)

    assert rig.circuit(CHEAP) == "closed"
    assert rig.state.circuits[CHEAP].breaker.failure_count == 0
    hold.set()
    await task

    assert rig.state.circuits[CHEAP].breaker.failure_count == 1


async def test_a_provider_that_cuts_every_stream_opens() -> None:
    """Each stream votes once, at its end."""
    rig = Rig(settings=ONCE)
    cut: Step = [ROLE, text("Hel"), failure(FailureKind.UNREADABLE, "cut")]
    rig.script(CHEAP, cut, cut, cut)

    for _ in range(3):
        await rig.ask(stream=True)

    assert rig.circuit(CHEAP) == "open"


async def test_a_good_stream_resets_the_count_at_its_end() -> None:
    """Two cuts, a good one, two cuts: still closed."""
    rig = Rig(settings=ONCE)
    cut: Step = [ROLE, text("Hel"), failure(FailureKind.UNREADABLE, "cut")]
    rig.script(CHEAP, cut, cut, HELLO, cut, cut)

    for _ in range(5):
        await rig.ask(stream=True)

    assert rig.circuit(CHEAP) == "closed"


async def test_opening_and_closing_are_said_once_each() -> None:
    """In the operator's log."""
    rig = Rig()
    await opened_with_retries(rig)
    rig.clock.advance(30.0)
    rig.script(CHEAP, whole())

    await rig.ask()

    assert [(level, event) for level, event, _ in rig.log.lines] == [
        ("warning", "circuit opened"),
        ("info", "circuit closed"),
    ]


async def test_two_recovering_providers_are_probed_one_by_one() -> None:
    """One request tries both, each under a permit of its own; both permits come back."""
    rig = Rig(settings=ONCE)
    rig.script(CHEAP, *[failure()] * 3)
    rig.script(DEAR, *[failure()] * 3)
    for _ in range(3):
        await rig.ask()
    rig.clock.advance(30.0)
    rig.script(CHEAP, failure())
    rig.script(DEAR, [ROLE, text("Hi"), DONE])

    caller = await rig.ask(stream=True)

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert (rig.circuit(CHEAP), rig.circuit(DEAR)) == ("open", "closed")


async def test_nobody_waits_behind_a_probe_beyond_its_own_deadline() -> None:
    """Nor asks again and again once it has passed."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings={**ONCE, "request_timeout": 5.0})
    await opened(rig)
    rig.clock.advance(30.0)
    hold = asyncio.Event()
    rig.script(CHEAP, [hold, *whole()])
    task = asyncio.create_task(rig.pipeline.handle(rig.caller()))
    await asyncio.sleep(0)

    waiting = rig.caller()
    await rig.pipeline.handle(waiting)
    hold.set()
    await task

    assert (waiting.status, rig.clock.now) == (503, 1035.0)


async def test_a_probe_may_take_as_long_as_any_answer() -> None:
    """A whole answer of 200 s closes the circuit: its lease does not run out before its own timeout."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings=ONCE)
    await opened(rig)
    rig.clock.advance(30.0)
    rig.script(CHEAP, [200.0, *whole()])

    caller = await rig.ask()

    assert caller.status == 200
    assert rig.circuit(CHEAP) == "closed"


async def test_who_waits_behind_a_lost_probe_goes_when_its_lease_ends() -> None:
    """The next in line is the next probe."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings=ONCE)
    await opened(rig)
    rig.clock.advance(30.0)
    lost = rig.state.circuits[CHEAP].breaker.acquire(rig.clock.now, lease=4.0)
    rig.script(CHEAP, whole())

    caller = await rig.ask()

    assert lost is not None
    assert (caller.status, rig.clock.now) == (200, 1034.0)


async def test_an_open_circuit_speaks_before_a_cooldown() -> None:
    """Nobody sleeps through a cooldown only to find the circuit open."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings=ONCE)
    rig.script(CHEAP, failure(), failure(), failure(), failure(FailureKind.RATE_LIMITED, "slow", retry_after=20.0))
    rig.state.failed(rig.deployments[0], failure(FailureKind.RATE_LIMITED, "slow", retry_after=20.0))
    for _ in range(3):
        permit = rig.state.circuits[CHEAP].breaker.acquire(rig.clock.now, lease=1.0)
        assert permit is not None
        permit.fail(rig.clock.now)

    caller = await rig.ask()

    assert (caller.status, rig.clock.slept) == (503, [])


async def test_the_log_says_why_and_until_when() -> None:
    """The last failure that counted, and when the probe goes; a failed probe is told apart."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings=ONCE)
    await opened(rig)
    rig.clock.advance(30.0)
    rig.script(CHEAP, failure(message="still ill"))

    await rig.ask()

    assert rig.log.lines == [
        ("warning", "circuit opened", {"provider": "cheap", "failures": 3, "error": "busy", "probe_in_s": 30.0}),
        (
            "warning",
            "probe failed, circuit opened again",
            {"provider": "cheap", "failures": 4, "error": "still ill", "probe_in_s": 30.0},
        ),
    ]
