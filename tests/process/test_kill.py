"""kill -9 in the middle of traffic: what is on the disk, and how it goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from tests.process.callers import ask, calling
from tests.process.gateway import Gateway, gateway, rows
from tests.process.program import PATIENCE

SPAN = 1.0
"""Seconds. A fifth of it is what we promise to lose at most; the rest is for a busy machine."""


async def test_a_kill_under_load_loses_the_last_moment_at_most(tmp_path: Path) -> None:
    """The file is whole, no row is there twice, older rows are all there; and the next start works at once, on what
    the one before has left."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        answered: dict[str, float] = {}
        callers = [asyncio.ensure_future(_load(live, answered)) for _ in range(4)]
        async with asyncio.timeout(PATIENCE):
            while not answered or max(answered.values()) - min(answered.values()) < 1.5 * SPAN:
                await asyncio.sleep(0.01)

        killed_at = time.monotonic()
        code = await live.program.stopped(signal.SIGKILL)
        await asyncio.gather(*callers)

    assert code == -signal.SIGKILL
    found = [row["correlation_id"] for row in rows(folder)]
    assert len(found) == len(set(found))
    old = [request_id for request_id, at in answered.items() if at < killed_at - SPAN]
    assert len(old) > 10
    assert set(old) <= set(found)
    async with gateway(folder) as live:
        assert (await live.chat()).status == 200
        async with asyncio.timeout(PATIENCE):
            while (await live.get("/v1/requests"))[1]["total"] != len(found) + 1:
                await asyncio.sleep(0.02)


async def _load(live: Gateway, answered: dict[str, float]) -> None:
    """One request after the other until the gateway is gone; when each was answered."""
    try:
        async with calling(live.program.port) as caller:
            while True:
                response = await ask(caller)
                answered[response.headers["x-arbstr-request-id"]] = time.monotonic()
    except (ConnectionError, asyncio.IncompleteReadError):
        return
