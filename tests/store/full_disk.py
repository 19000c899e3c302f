"""A process whose files may not grow for a while, as on a full disk. Prints one JSON object about what happened."""

from __future__ import annotations

import json
import resource
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from arbstr.ports import LogHealth
from arbstr.store.sqlite import SqliteLog
from tests.store.records import Problems, request


def main(path: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    problems = Problems()
    log = SqliteLog.open(Path(path), on_problem=problems, queue_limit=1000)
    log.request(request())
    log.flush(20)

    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
    for _ in range(1500):
        log.request(request())
    problems.wait_for("the request log cannot be written")
    full = log.health()

    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    recovered = log.flush(20)
    problems.wait_for("the request log is written again")
    after = log.health()
    log.close()

    database = sqlite3.connect(path)
    rows = database.execute("SELECT count(*) FROM requests").fetchone()[0]
    whole = database.execute("PRAGMA integrity_check").fetchone()[0]
    database.close()
    print(
        json.dumps(
            {
                "full": _dict(full),
                "after": _dict(after),
                "recovered": recovered,
                "rows": rows,
                "whole": whole,
                "events": problems.events,
            }
        )
    )


def _dict(health: LogHealth) -> dict[str, Any]:
    return {name: getattr(health, name) for name in health.__struct_fields__}


if __name__ == "__main__":
    main(sys.argv[1])
