"""The caller leaves, or the gateway stops: at any moment, nothing is leaked and everything is settled once."""

from __future__ import annotations

import asyncio

import pytest

from arbstr.domain.errors import FailureKind
from arbstr.domain.record import CostSource, StreamStatus
from arbstr.domain.request import Wishes
from arbstr.domain.routing import RetrySettings
from arbstr.ports import Headers
from arbstr.testing import FakeClock, ScriptedCaller, Step
from tests.pipeline.rig import (
    CHEAP,
    DEAR,
    DONE,
    HELLO,
    ROLE,
    STOP,
    Rig,
    body,
    deployment,
    error_of,
    failure,
    text,
    whole,
)


async def start(rig: Rig, caller: ScriptedCaller, *, turns: int = 20) -> asyncio.Task[None]:
    task = asyncio.create_task(rig.pipeline.handle(caller))
    for _ in range(turns):
        await asyncio.sleep(0)
    return task


async def test_leaving_before_the_headers_aborts_upstream_and_leaves_one_row() -> None:
    """499, no vote, the connection closed, nobody else asked; the prompt was sent, and is booked."""
    rig = Rig()
    provider = rig.script(CHEAP, [asyncio.Event()])
    caller = rig.caller(stream=True)
    task = await start(rig, caller)

    caller.leave()
    await task

    assert provider.closed == ["cheap/cheap-model"]
    assert caller.status is None
    row = rig.row
    assert (row.success, row.error_status, row.stream_status) == (False, 499, StreamStatus.CLIENT_DISCONNECT)
    assert (row.provider, row.output_tokens, row.cost_source) == ("cheap", 0, CostSource.ESTIMATED)
    assert row.cost is not None
    assert [(each.provider, each.error) for each in row.attempts] == [("cheap", None)]
    assert rig.state.circuits[CHEAP].breaker.failure_count == 0
    rig.check_nothing_is_left()


async def test_leaving_in_mid_stream_books_what_was_produced() -> None:
    """Upstream aborted, the cost estimated from what came, the breaker untouched."""
    rig = Rig()
    rig.state.circuits[CHEAP].breaker.acquire(0, lease=1).fail(0)  # type: ignore[union-attr]
    rig.script(CHEAP, [ROLE, text("x" * 400), asyncio.Event()])
    caller = rig.caller(stream=True)
    task = await start(rig, caller)

    caller.leave()
    await task

    row = rig.row
    assert (row.error_status, row.stream_status, row.output_tokens) == (499, StreamStatus.CLIENT_DISCONNECT, 100)
    assert row.cost is not None
    assert row.cost > 0
    assert rig.state.circuits[CHEAP].breaker.failure_count == 1
    rig.check_nothing_is_left()


async def test_leaving_while_not_reading_frees_the_stream() -> None:
    """The write that waited for the caller ends."""
    rig = Rig()
    rig.script(CHEAP, HELLO)
    caller = rig.caller(stream=True)
    caller.hears.clear()
    task = await start(rig, caller)

    caller.leave()
    await task

    assert rig.row.error_status == 499
    rig.check_nothing_is_left()


async def test_leaving_in_backoff_ends_the_tries() -> None:
    """No retry is made for somebody who is gone."""

    class StillClock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    rig = Rig()
    rig.clock = rig.pipeline._clock = rig.pipeline._attempts.clock = StillClock()
    provider = rig.script(CHEAP, failure())
    caller = rig.caller()
    task = await start(rig, caller)

    caller.leave()
    await task

    assert provider.opened == ["cheap/cheap-model"]
    assert rig.row.error_status == 499
    rig.check_nothing_is_left()


async def test_a_probe_whose_caller_leaves_gives_its_permit_back() -> None:
    """The circuit stays half-open and admits another."""
    rig = Rig(settings={"retry": RetrySettings(max_attempts=1)}, deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(), failure(), failure())
    for _ in range(3):
        await rig.ask()
    rig.clock.advance(30.0)
    rig.script(CHEAP, [asyncio.Event()])
    caller = rig.caller()
    task = await start(rig, caller)
    assert not rig.state.circuits[CHEAP].breaker.admits(rig.clock.now)

    caller.leave()
    await task

    assert rig.circuit(CHEAP) == "half_open"
    assert rig.state.circuits[CHEAP].breaker.admits(rig.clock.now)


async def test_leaving_while_waiting_behind_a_probe_leaves_the_queue() -> None:
    """No upstream call is made for it, and the waiting list is empty."""
    rig = Rig(settings={"retry": RetrySettings(max_attempts=1)}, deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure(), failure(), failure())
    for _ in range(3):
        await rig.ask()
    rig.clock.advance(30.0)
    hold = asyncio.Event()
    rig.script(CHEAP, [hold, *whole()])
    probe = await start(rig, rig.caller())
    waiting = rig.caller()
    task = await start(rig, waiting)

    waiting.leave()
    await task
    hold.set()
    await probe

    assert [row.status for row in rig.sink.requests[3:]] == [499, 200]
    assert rig.asked == [CHEAP] * 4
    assert rig.state.circuits[CHEAP]._waiters == []


async def test_leaving_after_the_whole_answer_changes_nothing() -> None:
    """The row is a success: the caller has had everything."""
    rig = Rig()
    hold = asyncio.Event()
    rig.script(CHEAP, [*HELLO, hold])
    caller = rig.caller(stream=True)
    task = await start(rig, caller)
    assert caller.finished

    caller.leave()
    await task

    assert (rig.row.success, rig.row.stream_status) == (True, StreamStatus.COMPLETE)
    rig.check_nothing_is_left()


@pytest.mark.parametrize("turns", range(40))
@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_at_any_turn_of_the_loop_settles_once(turns: int, stream: bool) -> None:
    """Whatever the request is waiting for: one row, nothing open, no probe lost, no failure counted against anyone
    who did not fail."""
    rig = Rig()
    answer: Step = [0.01, ROLE, 0.01, text("Hel"), 0.01, STOP, 0.01, DONE] if stream else [0.01, 0.01, *whole()]
    late: Step = [ROLE, ROLE, 0.01, failure()] if stream else [0.01, failure()]
    rig.script(CHEAP, failure(FailureKind.RESET, "reset"), late)
    rig.script(CHEAP, failure(FailureKind.CONNECT, "refused"))
    rig.script(DEAR, answer)
    caller = rig.caller(stream=stream)
    task = await start(rig, caller, turns=turns)

    caller.leave()
    await task

    assert rig.row.status in (200, 499)
    assert rig.row.success is (rig.row.status == 200)
    assert len(rig.sink.attempts) == len(rig.row.attempts)
    rig.check_nothing_is_left()


async def test_a_cancellation_that_is_not_ours_passes_through() -> None:
    """The loop is going down: the row is written all the same, and the cancellation goes on."""
    rig = Rig()
    rig.script(CHEAP, [asyncio.Event()])
    task = await start(rig, rig.caller())

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert rig.row.status == 499
    rig.check_nothing_is_left()


async def test_at_the_end_of_the_drain_time_a_stream_gets_an_error_event() -> None:
    """No [DONE]; the row is truncated, and nobody is to blame for it."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hel"), asyncio.Event()])
    caller = rig.caller(stream=True)
    task = await start(rig, caller)

    rig.state.interrupt_all()
    await task

    assert (error_of(caller)["code"], caller.closed) == ("draining", True)
    assert DONE not in caller.received
    assert (rig.row.status, rig.row.stream_status) == (503, StreamStatus.TRUNCATED)
    assert rig.state.circuits[CHEAP].breaker.failure_count == 0
    rig.check_nothing_is_left()


async def test_at_the_end_of_the_drain_time_a_whole_answer_is_a_503() -> None:
    """As nothing was said yet, the status can still say it."""
    rig = Rig()
    rig.script(CHEAP, [asyncio.Event()])
    caller = rig.caller()
    task = await start(rig, caller)

    rig.state.interrupt_all()
    await task

    assert (caller.status, error_of(caller)["code"]) == (503, "draining")


async def test_an_interruption_counts_once() -> None:
    """A caller who leaves while the gateway stops is one row, with the first reason."""
    rig = Rig()
    rig.script(CHEAP, [asyncio.Event()])
    caller = rig.caller()
    task = await start(rig, caller)

    caller.leave()
    rig.state.interrupt_all()
    await task

    assert rig.row.status == 499


async def test_a_stream_past_its_deadline_ends_although_its_caller_reads_too_slowly() -> None:
    """The upstream is let go; the caller is told, when it cares to read."""
    rig = Rig(settings={"request_timeout": 60.0})
    rig.script(CHEAP, HELLO)
    caller = rig.caller(stream=True)
    caller.hears.clear()
    task = await start(rig, caller)
    rig.clock.advance(60.5)
    rig.state.enforce_deadlines()
    assert rig.providers[CHEAP].closed == [], "it has a second to end by itself"
    rig.clock.advance(1.0)

    rig.state.enforce_deadlines()
    for _ in range(5):
        await asyncio.sleep(0)
    assert rig.providers[CHEAP].closed == ["cheap/cheap-model"]
    caller.hears.set()
    await task

    assert error_of(caller)["code"] == "upstream_timeout"
    assert rig.row.status == 504
    rig.check_nothing_is_left()


async def test_a_drain_while_an_error_is_told_adds_nothing_to_it() -> None:
    """A stream that was refused by a status gets no event behind it."""
    rig = Rig(settings={"retry": RetrySettings(max_attempts=1)}, deployments=(deployment(CHEAP, "5"),))
    rig.script(CHEAP, failure())
    caller = rig.caller(stream=True)
    caller.hears.clear()
    task = await start(rig, caller)
    told = caller.received

    rig.state.interrupt_all()
    caller.hears.set()
    await task

    assert (caller.status, caller.received) == (502, told)


async def test_leaving_while_a_stream_is_held_books_what_was_held() -> None:
    """Under ``commit = "complete"`` the caller has had nothing yet, and the provider has produced nearly all of it."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("x" * 400), asyncio.Event()])
    caller = rig.caller(stream=True, wishes=Wishes(commit="complete"))
    task = await start(rig, caller)

    caller.leave()
    await task

    row = rig.row
    assert (row.error_status, row.provider, row.output_tokens, row.cost_source) == (
        *(499, "cheap", 100),
        CostSource.ESTIMATED,
    )
    rig.check_nothing_is_left()


async def test_leaving_before_the_head_of_a_whole_stream_books_all_of_it() -> None:
    """The answer is there and paid for, by the provider's own count; its caller is gone before it is passed on."""

    class Deaf(ScriptedCaller):
        async def start(self, headers: Headers, *, status: int = 200) -> None:
            await asyncio.Event().wait()

    rig = Rig()
    rig.script(CHEAP, HELLO)
    caller = Deaf(body(stream=True), wishes=Wishes(commit="complete"))
    task = await start(rig, caller)

    caller.leave()
    await task

    row = rig.row
    assert (row.error_status, row.input_tokens, row.output_tokens, row.cost_source) == (
        *(499, 100, 200),
        CostSource.PROVIDER,
    )
    rig.check_nothing_is_left()
