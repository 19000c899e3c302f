"""A process that writes leases beside rows, until it is killed.

Prints a line for each call of ``lease`` once it has returned: a number, which is the amount for every account in it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from arbstr.ports import Lease
from arbstr.store.spend import SqliteSpend
from arbstr.store.sqlite import SqliteLog
from tests.store.records import request


async def main(path: str) -> None:
    log = SqliteLog.open(Path(path), on_problem=complain)
    spend = SqliteSpend(Path(path))
    number = 0
    while True:
        number += 1
        log.request(request())
        await spend.lease([Lease(account, "day", 1_800_000_000, "sats", number) for account in ("", "key_1")])
        print(number, flush=True)


def complain(event: str, fields: dict[str, Any]) -> None:
    print(event, fields, file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
