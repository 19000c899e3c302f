"""Attempts whose end nobody saw: the provider may have done all of the work, and charge for it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from arbstr.domain.errors import FailureKind
from arbstr.domain.money import ExchangeRate
from arbstr.domain.record import CostSource
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import BudgetSettings, Deployment
from arbstr.policy.budget import Period
from arbstr.testing import ScriptedAttempt, ScriptedProvider, ScriptedUpstream
from tests.pipeline.rig import CHEAP, DEAR, ROLE, Rig, failure, text, whole

LIMIT = 10**12
"""A million satoshis, in millionths."""


async def guarded(*, hard: bool = True, limit: int = LIMIT) -> Rig:
    """A gateway with a budget of a day."""
    budget = BudgetSettings(day=limit, hard=hard)
    rig = Rig(settings={"budget": budget})
    await rig.state.spending.adopt(budget, [], None)
    return rig


def spent(rig: Rig) -> tuple[int, int]:
    meter = rig.state.spending.gateway.meter(Period.DAY, rig.clock.time())
    return meter.spent, meter.reserved


async def test_a_cut_answer_is_charged_as_what_it_may_have_cost() -> None:
    """And the one that served at what it cost; the row tells the two apart."""
    rig = await guarded()
    cut = failure(FailureKind.UNREADABLE, "cut", status=200, unseen=True)
    rig.script(CHEAP, cut, cut, cut)
    rig.script(DEAR, whole())

    await rig.ask(max_tokens=100)

    failed = [each.cost for each in rig.row.attempts if each.error is not None]
    assert len(failed) == 3
    assert all(cost is not None and cost > 0 for cost in failed)
    assert rig.row.failed_cost == sum(cost or 0 for cost in failed)
    assert spent(rig) == ((rig.row.cost or 0) + (rig.row.failed_cost or 0), 0)


async def test_an_answer_that_is_of_no_use_is_charged_as_it_says() -> None:
    """A vendor that blocks a prompt answers without a choice, and bills the prompt."""
    rig = await guarded()
    rig.script(CHEAP, *[[b'{"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 0}}']] * 3)
    rig.script(DEAR, whole())

    await rig.ask(max_tokens=100)

    failed = [each.cost for each in rig.row.attempts if each.error is not None]
    assert len(failed) == 3
    assert rig.row.failed_cost == sum(cost or 0 for cost in failed)
    assert all(cost == failed[0] and cost for cost in failed)
    assert spent(rig) == ((rig.row.cost or 0) + (rig.row.failed_cost or 0), 0)


async def test_what_fails_unseen_is_not_retried_beyond_the_budget() -> None:
    """Each try may be charged: no more of them are made than the budget holds."""
    probe = await guarded()
    probe.script(CHEAP, whole())
    await probe.ask(max_tokens=100)
    plan = probe.sink.requests[0].decision
    assert plan is not None
    worst = max(each.worst or 0 for each in plan.plan.candidates) // 10**6
    rig = await guarded(limit=worst + worst // 4)
    cut = failure(FailureKind.UNREADABLE, "cut", status=200, unseen=True)
    rig.script(CHEAP, *([cut] * 3))
    rig.script(DEAR, *([cut] * 3))

    caller = await rig.ask(max_tokens=100)

    charged, reserved = spent(rig)
    assert caller.status == 502
    assert len(rig.row.attempts) < 4
    assert (charged <= worst + worst // 4, reserved) == (True, 0)


@pytest.mark.parametrize("hard", [True, False])
async def test_a_whole_answer_that_its_caller_did_not_wait_for(hard: bool) -> None:
    """Where a budget must not be passed it is charged at its most: hanging up does not make it free. Else its prompt
    is, which is what is known."""
    rig = await guarded(hard=hard)
    rig.script(CHEAP, [asyncio.Event()])
    caller = rig.caller(max_tokens=1000)
    task = asyncio.ensure_future(rig.pipeline.handle(caller))
    while not rig.providers[CHEAP].opened:
        await asyncio.sleep(0)

    caller.leave()
    await asyncio.gather(task, return_exceptions=True)

    worst = 1000 * 10_000  # a thousand tokens of output at ten satoshis for a thousand
    assert rig.row.status == 499
    assert rig.row.cost_source is CostSource.ESTIMATED
    assert ((rig.row.cost or 0) > worst) is hard
    assert spent(rig) == (rig.row.cost, 0)


@pytest.mark.parametrize("hard", [True, False])
async def test_a_stream_that_its_caller_breaks_off(hard: bool) -> None:
    """What was produced is charged by its bytes, and the time it took by what may have been thought, where a budget
    must not be passed; else by the usual four bytes a token."""
    rig = await guarded(hard=hard)
    rig.script(CHEAP, [ROLE, text("x" * 400), 10.0, text("y" * 400), asyncio.Event()])
    caller = rig.caller(stream=True, max_tokens=5000)
    caller.on_write = lambda data: caller.leave() if b"yyyy" in data else None

    task = asyncio.ensure_future(rig.pipeline.handle(caller))
    await asyncio.gather(task, return_exceptions=True)

    assert rig.row.status == 499
    assert rig.row.output_tokens == (2000 if hard else 200)
    assert spent(rig) == (rig.row.cost, 0)


async def test_what_was_thought_is_bounded_by_what_was_asked_for() -> None:
    """And never charged beyond it."""
    rig = await guarded()
    rig.script(CHEAP, [ROLE, text("x"), 25.0, text("yyyy"), asyncio.Event()])
    caller = rig.caller(stream=True, max_tokens=100)
    caller.on_write = lambda data: caller.leave() if b"yyyy" in data else None

    task = asyncio.ensure_future(rig.pipeline.handle(caller))
    await asyncio.gather(task, return_exceptions=True)

    assert rig.row.output_tokens == 100


async def test_a_rate_that_was_read_outlives_a_configured_one() -> None:
    """A snapshot that is taken up later, with models that were found, brings the configured one again."""
    fixed = ExchangeRate.of(Decimal(1000))
    rig = Rig(settings={"exchange_rate": fixed})
    assert rig.state.rate == fixed
    rig.state.rate = read = ExchangeRate.of(Decimal(1100), source="median of 3 sources", at=rig.clock.time())

    rig.state.adopt(rig.snapshot)

    assert rig.state.rate == read


class Connecting(ScriptedAttempt):
    """There is no connection yet."""

    at_work = False

    async def __aenter__(self) -> ScriptedUpstream:
        self._provider.opened.append(self._deployment.name)
        await asyncio.Event().wait()
        raise AssertionError("it was cancelled")


class Unreachable(ScriptedProvider):
    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> Connecting:
        return Connecting(self, request, deployment, until, whole())


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_anything_was_sent_costs_nothing(stream: bool) -> None:
    """A provider that cannot be reached has done no work, however many callers lose patience with it."""
    rig = await guarded()
    unreachable = rig.providers[CHEAP] = Unreachable(rig.clock)
    caller = rig.caller(stream=stream, max_tokens=100)
    task = asyncio.ensure_future(rig.pipeline.handle(caller))
    while not unreachable.opened:
        await asyncio.sleep(0)

    caller.leave()
    await task

    assert (rig.row.error_status, rig.row.cost, rig.row.cost_source) == (499, None, CostSource.NONE)
    assert [(each.provider, each.cost) for each in rig.row.attempts] == [(CHEAP, None)]
    assert spent(rig) == (0, 0)
