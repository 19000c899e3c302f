"""Limits on the way of a request: who is refused, what it is told, and that everything is given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from arbstr.domain.errors import FailureKind
from arbstr.domain.identity import Key, secret_hash
from arbstr.domain.limits import Limits
from arbstr.policy.keys import KeyRing
from arbstr.policy.limits import Gauge, Slot
from arbstr.testing import ScriptedCaller
from tests.pipeline.rig import CHEAP, DEAR, DONE, ROLE, Rig, body, error_of, failure, text, whole


def limited(**limits: int) -> Rig:
    """A gateway whose callers have these limits; its cheap provider answers every time."""
    rig = Rig(settings={"limits": Limits(**limits)})
    rig.script(CHEAP, *[whole()] * 20)
    return rig


def key(id: str, **limits: int) -> Key:
    """A key whose secret is its id."""
    return Key(id, id, secret_hash(id), 0.0, limits=Limits(**limits))


async def ask(rig: Rig, *, secret: str | None = None, address: str = "203.0.113.9") -> ScriptedCaller:
    caller = ScriptedCaller(body(), credential=secret.encode() if secret else None, address=address)
    await rig.pipeline.handle(caller)
    rig.check_nothing_is_left()
    return caller


def gauges(caller: ScriptedCaller) -> dict[str, str]:
    """The headers that say how the caller's limits stand."""
    said = {name.decode(): value.decode() for name, value in caller.headers.items()}
    return {name.removeprefix("x-ratelimit-"): value for name, value in said.items() if name.startswith("x-ratelimit-")}


async def test_who_has_no_limits_is_told_of_none() -> None:
    """No headers, however much is asked."""
    rig = limited()

    assert gauges(await ask(rig)) == {}
    assert len(rig.state.limiters) == 0


async def test_requests_beyond_the_limit_are_refused_and_leave_a_row() -> None:
    """429 with an exact Retry-After; nobody is asked. After it the caller is served again."""
    rig = limited(rpm=2)

    served = [await ask(rig) for _ in range(2)]
    refused = await ask(rig)
    rig.clock.advance(30)
    again = await ask(rig)

    assert [each.status for each in (*served, refused, again)] == [200, 200, 429, 200]
    assert [gauges(each)["remaining-requests"] for each in (*served, refused, again)] == ["1", "0", "0", "0"]
    assert gauges(refused) == {"limit-requests": "2", "remaining-requests": "0", "reset-requests": "1m0s"}
    assert refused.headers[b"retry-after"] == b"30"
    assert (error_of(refused)["code"], error_of(refused)["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert rig.asked == [CHEAP] * 3
    row = rig.sink.requests[2]
    assert (row.success, row.error_status, row.provider, row.cost) == (False, 429, None, None)


async def test_tokens_are_put_right_by_what_was_used() -> None:
    """The answer's headers show the estimate; the next request finds what the provider counted, 300."""
    rig = limited(tpm=10_000)

    first = await ask(rig)
    next_one = rig.state.limiters.admit("203.0.113.9", rig.snapshot.limits, rig.clock.now)

    assert isinstance(next_one, Slot)
    assert 9000 < int(gauges(first)["remaining-tokens"]) < 9600, "512 for the answer, and a few for the prompt"
    assert next_one.view(rig.clock.now).tokens == Gauge(10_000, 9700, 1.8)


async def test_tokens_beyond_the_limit_are_refused_before_anybody_is_asked() -> None:
    """The place in flight is free again, the wait is exact, and the request has counted."""
    rig = limited(rpm=10, tpm=600, max_parallel=1)

    served, refused = await ask(rig), await ask(rig)
    rig.clock.advance(float(refused.headers[b"retry-after"]))
    again = await ask(rig)

    assert [each.status for each in (served, refused, again)] == [200, 429, 200]
    assert "tokens a minute is 600" in error_of(refused)["message"]
    assert gauges(refused)["remaining-requests"] == "8"
    assert rig.asked == [CHEAP] * 2


async def test_a_request_that_nobody_served_uses_no_tokens() -> None:
    """What was estimated for it is given back."""
    rig = Rig(settings={"limits": Limits(tpm=600)})
    rig.script(CHEAP, failure(FailureKind.REJECTED, status=400), whole())

    refused, served = await ask(rig), await ask(rig)

    assert (refused.status, served.status) == (400, 200)


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([whole()], 200),
        ([failure(FailureKind.REJECTED, status=400)], 400),
        ([failure(FailureKind.KEY_REFUSED, status=401)], 502),
    ],
)
async def test_a_place_in_flight_is_given_back_however_the_request_ends(steps: list[Any], status: int) -> None:
    """Answered, refused or failed."""
    rig = Rig(settings={"limits": Limits(max_parallel=1)})
    rig.script(CHEAP, *steps)
    rig.script(DEAR, failure(FailureKind.KEY_REFUSED, status=401))

    first = await ask(rig)
    second = ScriptedCaller(b"no JSON", address="203.0.113.9")
    await rig.pipeline.handle(second)
    third = ScriptedCaller(b"no JSON", address="203.0.113.9")
    await rig.pipeline.handle(third)

    assert (first.status, second.status, third.status) == (status, 400, 400)


async def test_a_stream_holds_its_place_until_it_ends_or_its_caller_leaves() -> None:
    """Meanwhile one more is told to try in a second, and another caller is not concerned."""
    rig = Rig(settings={"limits": Limits(max_parallel=1)})
    rig.script(CHEAP, [ROLE, text("Hel"), asyncio.Event(), DONE], whole(), whole())
    streaming = ScriptedCaller(body(stream=True), address="203.0.113.9")
    task = asyncio.create_task(rig.pipeline.handle(streaming))
    for _ in range(20):
        await asyncio.sleep(0)

    refused = ScriptedCaller(body(), address="203.0.113.9")
    await rig.pipeline.handle(refused)
    other = ScriptedCaller(body(), address="198.51.100.1")
    await rig.pipeline.handle(other)
    streaming.leave()
    await task
    after = await ask(rig)

    assert (refused.status, refused.headers[b"retry-after"]) == (429, b"1")
    assert "requests at a time is 1" in error_of(refused)["message"]
    assert (other.status, after.status) == (200, 200)


async def test_keys_are_counted_by_themselves() -> None:
    """By key and not by address, by the key's own limits where it has some, and else by those of all."""
    rig = limited(rpm=1)
    rig.state.keys = KeyRing([key("own", rpm=2), key("plain"), key("other")])

    own = [await ask(rig, secret="own", address=f"203.0.113.{number}") for number in range(3)]
    plain = [await ask(rig, secret="plain") for _ in range(2)]
    other = await ask(rig, secret="other")

    assert [each.status for each in own] == [200, 200, 429]
    assert [each.status for each in plain] == [200, 429]
    assert other.status == 200


async def test_wrong_keys_are_answered_429_after_thirty() -> None:
    """From one address; a right key passes all the same, and other addresses are not concerned."""
    rig = limited()
    rig.state.keys = KeyRing([key("right")])

    wrong = [await ask(rig, secret=f"wrong {number}") for number in range(31)]
    right = await ask(rig, secret="right")
    elsewhere = await ask(rig, secret="wrong", address="198.51.100.1")

    assert [each.status for each in wrong] == [401] * 30 + [429]
    assert wrong[-1].headers[b"retry-after"] == b"2"
    assert (right.status, elsewhere.status) == (200, 401)
