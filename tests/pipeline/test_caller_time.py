"""The time that a caller gives a request."""

from __future__ import annotations

from arbstr.domain.errors import FailureKind
from arbstr.domain.request import Wishes
from tests.pipeline.rig import CHEAP, Rig, error_of, failure, whole


async def test_whose_limit_it_was_is_said() -> None:
    """A caller who is told of a timeout is told of its own, where that was what ended it."""
    rig = Rig()
    rig.script(CHEAP, [60.0, *whole()])

    caller = await rig.ask(wishes=Wishes(timeout_ms="1500"))

    assert caller.status == 504
    assert "X-Arbstr-Timeout-Ms = 1500" in error_of(caller)["message"]


async def test_it_never_gives_more_time_than_we_do() -> None:
    """The gateway's own limit holds beside it."""
    rig = Rig(settings={"request_timeout": 5.0})
    rig.script(CHEAP, failure(FailureKind.SERVER_ERROR), [60.0, *whole()])

    caller = await rig.ask(wishes=Wishes(timeout_ms="86400000"))

    assert caller.status == 504
    assert "timeout.request = 5 s" in error_of(caller)["message"]
