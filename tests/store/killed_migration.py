"""A process that is killed in the middle of a migration, in which it has just created a table."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path

from arbstr.store.connection import open_writer
from arbstr.store.migrate import Migration, migrate, shipped


def main(path: str) -> None:
    connection = open_writer(Path(path), wait=1)

    def die() -> None:
        tables = connection.execute("SELECT count(*) FROM half").fetchone()
        print("half is there" if tables == (0,) else "half is not there", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    connection.create_function("die", 0, die)
    script = "CREATE TABLE half (x);\nSELECT die();\nCREATE TABLE other_half (x);\n"
    try:
        migrate(connection, [*shipped(), Migration(99, "0099_next.sql", script)])
    except sqlite3.Error as error:
        print(error, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
