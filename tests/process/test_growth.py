"""Memory does not grow with the number of requests. ``make soak`` is the long form."""

from __future__ import annotations

from pathlib import Path

from tests.process.traffic import traffic, wrong


async def test_a_few_thousand_requests_leave_nothing_behind(tmp_path: Path) -> None:
    """Whole and streamed ones, wrong ones, failures with a fallback and callers who leave: after a warm-up, memory,
    open files and threads stay what they are, and each request is a row."""
    async with traffic(tmp_path / "run") as run:
        await run.requests(2_000)
        warm = await run.rest()
        await run.requests(3_000)
        held = await run.rest()

        assert wrong(warm, held) == []
        assert run.failures["503"] > 100
        assert run.statuses == {"200": 4250, "400": 500, "left": 250}
