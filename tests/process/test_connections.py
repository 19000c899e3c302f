"""More connections than there is room for, and all of them leaving at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.e2e.gateway import HEL, ROLE, Ask
from tests.edge.raw import Caller
from tests.process.callers import STREAM, WHOLE, ask, calling
from tests.process.gateway import gateway
from tests.process.program import PATIENCE

FILES = 128
CALLERS = 300


async def test_few_open_files_hurt_newcomers_only(tmp_path: Path) -> None:
    """Who is connected is served, by way of a provider too, while many more knock; those are told 503 or are just
    disconnected. When some have left, newcomers are served again."""
    async with gateway(tmp_path / "run", limits=f"ulimit -n {FILES}") as live, AsyncExitStack() as stack:
        port = live.program.port
        served = [await stack.enter_async_context(calling(port)) for _ in range(8)]
        for caller in served:
            assert (await ask(caller)).status == 200

        knocking = [await stack.enter_async_context(calling(port)) for _ in range(2 * FILES)]
        replies = await asyncio.gather(*(ask(caller) for caller in served))
        outcomes = await asyncio.gather(*(_outcome(caller) for caller in knocking))

        assert [reply.status for reply in replies] == [200] * len(served)
        assert set(outcomes) == {"200", "503", "disconnected"}
        for caller in knocking:
            await caller.close()
        async with asyncio.timeout(PATIENCE):
            while True:
                async with calling(port) as newcomer:
                    if await _outcome(newcomer) == "200":
                        break
                await asyncio.sleep(0.05)


async def _outcome(caller: Caller) -> str:
    try:
        return str((await ask(caller)).status)
    except (ConnectionError, asyncio.IncompleteReadError):
        return "disconnected"


async def test_hundreds_of_callers_leave_at_once(tmp_path: Path) -> None:
    """Each is a row and lets go of its provider; nothing is said but the lines of their requests."""

    async def endless(ask: Ask) -> None:
        await ask.begin()
        await ask.send(ROLE)
        await ask.send(HEL)
        await ask.peer.left()

    async with gateway(tmp_path / "run") as live, AsyncExitStack() as stack:
        live.alpha.usual = endless
        callers = [await stack.enter_async_context(calling(live.program.port)) for _ in range(CALLERS)]
        for nth, caller in enumerate(callers):
            caller.send(STREAM if nth % 3 else WHOLE)
        await live.asked(CALLERS)

        for caller in callers:
            caller.reset()
        async with asyncio.timeout(PATIENCE):
            for provider_side in live.alpha.asks:
                await provider_side.peer.gone.wait()
        metrics = await live.idle()

        assert metrics["arbstr_log_rows_written_total"] == CALLERS
        _, health = await live.get("/health")
        assert health["providers"]["alpha"] == {"state": "closed", "failure_count": 0}
        assert await live.program.stopped() == 0
    assert live.program.errors == ""
    assert set(live.program.events) == {"listening", "request", "draining", "stopped"}
    assert [line["status"] for line in live.program.lines if line["event"] == "request"] == [499] * CALLERS
