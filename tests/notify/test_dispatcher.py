"""The dispatcher: each cause once, every target for itself, and nobody waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from arbstr.domain.alert import Alert, AlertCounts, AlertKind
from arbstr.notify.dispatcher import REMEMBERED, Dispatcher
from arbstr.notify.lane import LONGEST_PAUSE, QUEUE_LIMIT, TOO_LATE, TRIES
from arbstr.ports import Alerts
from arbstr.testing import FakeClock, ListLog
from tests.notify.news import NOON, ScriptedSender, final, opened, passing
from tests.upstream.servers import LONG, eventually


class Rig:
    """A dispatcher to some targets, on a clock that stands still."""

    def __init__(self, *senders: ScriptedSender) -> None:
        self.clock = FakeClock()
        self.log = ListLog()
        self.dispatcher = Dispatcher(
            senders,
            clock=self.clock,
            log=self.log,
            redact=lambda text: text.replace("canary", "***"),
            rng=random.Random(7),
        )
        self.alerts: Alerts = self.dispatcher

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(level, event) for level, event, _ in self.log.lines]

    async def settled(self) -> AlertCounts:
        """Wait until nothing waits to be sent."""
        await eventually(lambda: self.dispatcher.counts().waiting == 0)
        return self.dispatcher.counts()


@asynccontextmanager
async def sending(*senders: ScriptedSender) -> AsyncIterator[Rig]:
    rig = Rig(*senders)
    rig.dispatcher.start()
    try:
        yield rig
    finally:
        await rig.dispatcher.aclose(0)


async def test_every_target_is_told() -> None:
    """The same news, under the same id."""
    first, second = ScriptedSender(name="alerts[0]"), ScriptedSender(name="alerts[1]")

    async with sending(first, second) as rig:
        rig.alerts.raise_alert(opened())
        counts = await rig.settled()

    assert first.sent == second.sent
    assert [notice.alert for notice in first.sent] == [opened()]
    assert counts == AlertCounts(sent=2, failed=0, dropped=0, waiting=0)
    told = {"kind": "circuit_opened", "subject": "alpha", "tries": 1}
    assert sorted(rig.log.lines, key=str) == [
        ("info", "alert sent", {"target": "alerts[0]", **told}),
        ("info", "alert sent", {"target": "alerts[1]", **told}),
    ]


async def test_one_cause_is_told_once_in_its_window() -> None:
    """Other words change nothing; another hour, subject or kind does."""
    sender = ScriptedSender()
    other = Alert.this_hour(AlertKind.PROVIDER_KEY_OUT, "alpha", "no", at=NOON)

    async with sending(sender) as rig:
        for alert in (opened(), opened(error="reset"), opened("beta"), opened(at=NOON + 3600), other, opened(), other):
            rig.alerts.raise_alert(alert)
        await rig.settled()

    assert [notice.alert.cause for notice in sender.sent] == [
        ("circuit_opened", "alpha", "hour 2026-11-21T12:00Z"),
        ("circuit_opened", "beta", "hour 2026-11-21T12:00Z"),
        ("circuit_opened", "alpha", "hour 2026-11-21T13:00Z"),
        ("provider_key_out", "alpha", "hour 2026-11-21T12:00Z"),
    ]
    assert len({notice.id for notice in sender.sent}) == 4


def test_the_memory_of_causes_is_bounded() -> None:
    """The oldest is forgotten, and would be told again; the newest is not."""
    rig = Rig(ScriptedSender())

    def taken() -> int:
        counts = rig.dispatcher.counts()
        return counts.waiting + counts.dropped

    for number in range(REMEMBERED + 1):
        rig.alerts.raise_alert(opened(f"p{number}"))
    before = taken()
    rig.alerts.raise_alert(opened(f"p{REMEMBERED}"))
    newest = taken()
    rig.alerts.raise_alert(opened("p0"))
    oldest = taken()

    assert (before, newest, oldest) == (REMEMBERED + 1, REMEMBERED + 1, REMEMBERED + 2)


async def test_what_was_raised_before_the_start_is_sent_then() -> None:
    """Nothing that goes wrong while the gateway starts is lost."""
    sender = ScriptedSender()
    rig = Rig(sender)

    rig.alerts.raise_alert(opened())
    assert rig.dispatcher.counts() == AlertCounts(sent=0, failed=0, dropped=0, waiting=1)
    rig.dispatcher.start()
    counts = await rig.settled()
    await rig.dispatcher.aclose(0)

    assert counts.sent == 1


async def test_a_failure_that_may_pass_is_tried_again() -> None:
    """Ever more slowly, with jitter; the operator hears of the first failure and of the end."""
    sender = ScriptedSender(passing(), passing("reset by canary"), passing())

    async with sending(sender) as rig:
        began = rig.clock.monotonic()
        rig.alerts.raise_alert(opened())
        counts = await rig.settled()
        waited = rig.clock.monotonic() - began

    assert counts == AlertCounts(sent=1, failed=0, dropped=0, waiting=0)
    assert len({notice.id for notice in sender.tried}) == 1
    assert 0.5 + 1 + 2 <= waited <= 1 + 2 + 4
    assert rig.events == [("warning", "an alert could not be sent yet"), ("info", "alert sent")]
    assert rig.log.lines[0][2]["error"] == "it was answered with 503"
    assert 0.5 <= rig.log.lines[0][2]["again_in_s"] <= 1.0
    assert rig.log.lines[1][2]["tries"] == 4


async def test_tries_have_an_end() -> None:
    """Then it is given up, and the next one has its turn."""
    sender = ScriptedSender(*[passing("down, says canary")] * TRIES)

    async with sending(sender) as rig:
        began = rig.clock.monotonic()
        rig.alerts.raise_alert(opened("alpha"))
        rig.alerts.raise_alert(opened("beta"))
        counts = await rig.settled()
        waited = rig.clock.monotonic() - began

    assert len(sender.tried) == TRIES + 1
    assert sender.subjects == ["beta"]
    assert counts == AlertCounts(sent=1, failed=1, dropped=0, waiting=0)
    assert waited <= LONGEST_PAUSE * TRIES
    assert rig.log.lines[1] == (
        "error",
        "an alert was given up",
        {
            "target": "alerts[0]",
            "kind": "circuit_opened",
            "subject": "alpha",
            "error": "down, says ***",
            "tries": TRIES,
        },
    )


async def test_what_is_refused_for_good_is_not_tried_again() -> None:
    """A wrong address does not get better."""
    sender = ScriptedSender(final())

    async with sending(sender) as rig:
        rig.alerts.raise_alert(opened())
        counts = await rig.settled()

    assert len(sender.tried) == 1
    assert counts == AlertCounts(sent=0, failed=1, dropped=0, waiting=0)
    assert rig.events == [("error", "an alert was given up")]


async def test_an_old_alert_is_tried_once() -> None:
    """However long it waited behind others it is not given up untried; but then there is no second time."""
    sender = ScriptedSender(passing())
    rig = Rig(sender)
    rig.alerts.raise_alert(opened())
    rig.clock.advance(TOO_LATE)

    rig.dispatcher.start()
    counts = await rig.settled()
    await rig.dispatcher.aclose(0)

    assert (len(sender.tried), counts.failed) == (1, 1)


async def test_a_target_that_hangs_holds_up_nobody() -> None:
    """Raising returns at once, and the others are told."""
    hanging, well = ScriptedSender(asyncio.Event(), name="alerts[0]"), ScriptedSender(name="alerts[1]")

    async with sending(hanging, well) as rig:
        rig.alerts.raise_alert(opened("alpha"))
        await eventually(lambda: len(hanging.tried) == 1)
        rig.alerts.raise_alert(opened("beta"))
        await eventually(lambda: len(well.sent) == 2)
        counts = rig.dispatcher.counts()

    assert well.subjects == ["alpha", "beta"]
    assert hanging.sent == []
    assert counts == AlertCounts(sent=2, failed=0, dropped=0, waiting=2)


async def test_a_full_queue_drops_and_says_so() -> None:
    """What waits already is kept, in its order."""
    gate = asyncio.Event()
    sender = ScriptedSender(gate)

    async with sending(sender) as rig:
        for number in range(QUEUE_LIMIT + 2):
            rig.alerts.raise_alert(opened(f"p{number}"))
        full = rig.dispatcher.counts()
        gate.set()
        counts = await rig.settled()

    assert full == AlertCounts(sent=0, failed=0, dropped=2, waiting=QUEUE_LIMIT)
    assert counts == AlertCounts(sent=QUEUE_LIMIT, failed=0, dropped=2, waiting=0)
    assert sender.subjects == [f"p{number}" for number in range(QUEUE_LIMIT)]
    assert rig.log.lines[0] == (
        "error",
        "an alert was dropped",
        {"target": "alerts[0]", "kind": "circuit_opened", "subject": f"p{QUEUE_LIMIT}", "waiting": QUEUE_LIMIT},
    )


@pytest.mark.parametrize("details", [{"x": object()}, {1: "x", "y": object()}])
async def test_raising_never_raises(details: dict[str, object]) -> None:
    """Not even for an alert that cannot be written down; that is a mistake of ours, and said."""
    sender = ScriptedSender()

    async with sending(sender) as rig:
        rig.alerts.raise_alert(Alert(AlertKind.CIRCUIT_OPENED, "alpha", "hour", "x", NOON, details))
        rig.alerts.raise_alert(opened("beta"))
        await rig.settled()

    assert sender.subjects == ["beta"]
    assert rig.events[0] == ("error", "a mistake in this gateway while an alert was raised")


async def test_a_mistake_while_sending_ends_one_alert_only() -> None:
    """The next one is sent; a target's own timeout counts as a failure that may pass."""
    mistake = ValueError("what?")
    sender = ScriptedSender(mistake, TimeoutError())

    async with sending(sender) as rig:
        rig.alerts.raise_alert(opened("alpha"))
        rig.alerts.raise_alert(opened("beta"))
        counts = await rig.settled()

    assert sender.subjects == ["beta"]
    assert counts == AlertCounts(sent=1, failed=1, dropped=0, waiting=0)
    assert rig.log.lines[0] == (
        "error",
        "a mistake in this gateway while an alert was sent",
        {"target": "alerts[0]", "error": mistake},
    )
    assert rig.events[1:] == [
        ("error", "an alert was given up"),
        ("warning", "an alert could not be sent yet"),
        ("info", "alert sent"),
    ]


async def test_the_end_sends_what_waits() -> None:
    """And takes no more."""
    gate = asyncio.Event()
    sender = ScriptedSender(gate)
    rig = Rig(sender)
    rig.dispatcher.start()
    rig.alerts.raise_alert(opened("alpha"))
    rig.alerts.raise_alert(opened("beta"))
    await eventually(lambda: len(sender.tried) == 1)

    closing = asyncio.create_task(rig.dispatcher.aclose(LONG))
    await asyncio.sleep(0)
    rig.alerts.raise_alert(opened("gamma"))
    gate.set()
    await closing

    assert sender.subjects == ["alpha", "beta"]
    assert rig.dispatcher.counts() == AlertCounts(sent=2, failed=0, dropped=1, waiting=0)
    assert rig.events[0] == ("error", "an alert was dropped")


async def test_the_end_does_not_wait_for_a_pause() -> None:
    """An alert that was to be tried later is tried now, and a last time."""
    sender = ScriptedSender(passing(), passing())
    rig = Rig(sender)
    rig.dispatcher.start()
    rig.alerts.raise_alert(opened())
    await eventually(lambda: len(sender.tried) == 1)
    before = rig.clock.monotonic()

    await rig.dispatcher.aclose(LONG)

    assert rig.clock.monotonic() == before
    assert len(sender.tried) == 2
    assert rig.dispatcher.counts() == AlertCounts(sent=0, failed=1, dropped=0, waiting=0)


async def test_the_end_does_not_wait_for_ever() -> None:
    """What hangs is cancelled, and what waits behind it counted."""
    sender = ScriptedSender(asyncio.Event())
    rig = Rig(sender)
    rig.dispatcher.start()
    rig.alerts.raise_alert(opened("alpha"))
    rig.alerts.raise_alert(opened("beta"))
    await eventually(lambda: len(sender.tried) == 1)

    await rig.dispatcher.aclose(0)

    assert rig.dispatcher.counts() == AlertCounts(sent=0, failed=0, dropped=2, waiting=0)
    assert rig.log.lines == [("error", "alerts were not sent before the end", {"target": "alerts[0]", "dropped": 2})]


async def test_what_never_started_can_be_closed() -> None:
    """With what waits counted as dropped, and nothing taken any more."""
    rig = Rig(ScriptedSender())
    rig.alerts.raise_alert(opened("alpha"))

    await rig.dispatcher.aclose(LONG)
    rig.alerts.raise_alert(opened("beta"))

    assert rig.dispatcher.counts() == AlertCounts(sent=0, failed=0, dropped=2, waiting=0)


async def test_without_a_target_alerts_go_nowhere() -> None:
    """And nobody has to ask whether there is one."""
    async with sending() as rig:
        rig.alerts.raise_alert(opened())

    assert rig.dispatcher.counts() == AlertCounts(sent=0, failed=0, dropped=0, waiting=0)
    assert rig.log.lines == []
