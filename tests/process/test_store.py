"""A database that cannot be written: nobody waits for it, it is said, and nothing that could be kept is lost."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.process.callers import WRONG, calling
from tests.process.gateway import Gateway, gateway, rows

QUEUE = 20_000
"""Rows that may wait for the database."""
SURPLUS = 32


async def test_a_locked_database_delays_nobody(tmp_path: Path) -> None:
    """While another process holds it, requests are answered, old rows can be read, and ``/health`` says that the log is
    failing. Afterwards every row is there."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        with closing(sqlite3.connect(folder / "arbstr.db")) as database:
            database.execute("BEGIN EXCLUSIVE")
            replies = await asyncio.gather(*(live.chat() for _ in range(50)))
            failing = await live.log_says("failing")
            replies += await asyncio.gather(*(live.chat(stream=True) for _ in range(50)))
            status, page = await live.get("/v1/requests")
            waiting = await live.health_of_log()
            database.rollback()
        well = await live.log_says("ok")

        assert {reply.status for reply in replies} == {200}
        assert (failing["error"], failing["dropped"]) == ("database is locked", 0)
        assert (status, page["total"]) == (200, 0)
        assert (waiting["status"], waiting["queued"]) == ("failing", 100)
        assert (well["queued"], well["written"], well["dropped"]) == (0, 100, 0)
        await live.program.said("the request log is written again")
        told = [event for event in live.program.events if "request log" in event]
        assert told == ["the request log cannot be written", "the request log is written again"]
        assert await live.program.stopped() == 0
    assert {row["correlation_id"] for row in rows(folder)} == {reply.headers["x-request-id"] for reply in replies}


async def test_a_full_disk_delays_nobody(tmp_path: Path) -> None:
    """Requests are answered; rows wait, as many as the queue holds, and the rest is counted as lost, which the log,
    ``/health`` and ``/metrics`` say. With room again, all that waited is written."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        assert (await live.chat()).status == 200
        await live.idle()
        _, largest = resource.prlimit(live.program.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(live.program.process.pid, resource.RLIMIT_FSIZE, (0, largest))

        replies = [await live.chat()]
        failing = await live.log_says("failing")
        await asyncio.gather(*(_flood(live, (QUEUE + SURPLUS) // 8) for _ in range(8)))
        replies.append(await live.chat(stream=True))
        full = await live.health_of_log()
        metrics = await live.metrics()

        assert [reply.status for reply in replies] == [200, 200]
        assert failing["error"]
        assert (full["status"], full["queued"]) == ("failing", QUEUE)
        assert full["dropped"] == metrics["arbstr_log_rows_dropped_total"] == SURPLUS + len(replies)
        await live.program.said("the request log cannot be written")
        assert (await live.program.said("the request log's queue is full, rows are dropped"))["limit"] == QUEUE

        resource.prlimit(live.program.process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        well = await live.log_says("ok")
        await live.idle()
        assert well["dropped"] == full["dropped"]
        await live.program.said("the request log is written again")
        assert await live.program.stopped() == 0
    assert len(rows(folder)) == QUEUE + 1


async def _flood(live: Gateway, count: int) -> None:
    """Requests that are cheap to refuse, several at a time; each is a row."""
    async with calling(live.program.port) as caller:
        for _ in range(count // 8):
            caller.send(WRONG * 8)
            for _ in range(8):
                assert (await caller.response()).status == 400
