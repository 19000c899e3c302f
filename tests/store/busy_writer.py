"""A process that writes rows, as fast as it is told to, until it is killed.

Prints a line for each row as it hands it over: its number, and when, in seconds since the epoch. With ``flush``, it
waits after every tenth row until all are written, and prints ``flushed`` and the number.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from arbstr.store.sqlite import SqliteLog
from tests.store.records import request


def main(path: str, mode: str = "free") -> None:
    log = SqliteLog.open(Path(path), on_problem=complain)
    number = 0
    while True:
        number += 1
        log.request(request(input_tokens=number))
        print(number, time.time(), flush=True)
        if mode == "flush" and number % 10 == 0:
            log.flush(60)
            print("flushed", number, flush=True)
        time.sleep(0.002)


def complain(event: str, fields: dict[str, Any]) -> None:
    print(event, fields, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
