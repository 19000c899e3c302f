"""50,000 requests of every kind against a real gateway, and what they leave behind: ``make soak``.

    make soak                          50,000 requests, the first 10,000 to warm up
    make soak ARGS='--requests 200000'

Prints a table, and fails where resident memory has grown by 8 MB or more since the warm-up, where something is still
held that was not held then, or where a row is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.process.traffic import Holding, traffic, wrong

WARM_UP = 10_000
STEP = 5_000


async def soak(count: int, folder: Path) -> list[str]:
    """Run, print, and return what is wrong."""
    print("requests   seconds   resident MB   growth MB   files   threads   in flight     rows")
    began = time.monotonic()
    async with traffic(folder) as run:
        warm = None
        while run.total < count:
            await run.requests(min(STEP, count - run.total))
            held = await run.rest()
            if held.requests == WARM_UP:
                warm = held
            _print(held, warm, time.monotonic() - began)
        print(", ".join(f"{status}: {number}" for status, number in sorted(run.statuses.items())))
        if warm is None:
            return [f"fewer than {WARM_UP} requests say nothing"]
        return wrong(warm, held)


def _print(held: Holding, warm: Holding | None, seconds: float) -> None:
    growth = "–" if warm is None else f"{(held.memory - warm.memory) / 2**20:.1f}"
    print(
        f"{held.requests:8}   {seconds:7.1f}   {held.memory / 2**20:11.1f}   {growth:>9}   {held.files:5}"
        f"   {held.threads:7}   {held.in_flight:9}   {held.rows:6}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    count: int = parser.parse_args().requests
    with tempfile.TemporaryDirectory(prefix="arbstr-soak-") as folder:
        problems = uvloop.run(soak(count, Path(folder) / "run"))
    for problem in problems:
        print(f"soak: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
