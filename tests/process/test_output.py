"""stdout that nobody reads: nobody waits for it, and what was not said is counted."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest

from tests.process.gateway import gateway, rows


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "blocked"])
async def test_requests_go_on_when_nobody_reads_stdout(tmp_path: Path, closed: bool) -> None:
    """Whether the reader has gone or just stopped: every request is answered and in the database, the lines that were
    lost are counted, and the end is an orderly one."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        stdout = live.program.stdout
        fcntl.fcntl(stdout.pipe, fcntl.F_SETPIPE_SZ, 4096)
        stdout.ignore(close=closed)

        for _ in range(4):
            replies = await asyncio.gather(*(live.chat() for _ in range(50)))
            assert {reply.status for reply in replies} == {200}
        metrics = await live.idle()

        assert metrics["arbstr_log_rows_written_total"] == 200
        if closed:
            assert metrics["arbstr_log_lines_dropped_total"] > 0
        assert await live.program.stopped() == 0
    assert len(rows(folder)) == 200
