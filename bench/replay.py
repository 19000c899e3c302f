"""How many logged requests ``arbstr replay`` decides in a second: ``python -m bench.replay``.

A log is generated and replayed by the command itself, in a process of its own, start and report included, under a
configuration that sells each model at three of six providers, two of which charge in dollars.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from arbstr.store.connection import open_writer
from arbstr.store.rows import REQUEST_COLUMNS, request_row
from bench.log_rows import MODELS, PROVIDERS, SATS_PER_USD, records

TARGET = 20_000
"""Requests a second."""
DAY = 86_400.0
BATCH = 5000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description="Measure arbstr replay.")
    parser.add_argument("--rows", type=int, default=200_000, metavar="N", help="of the log (default 200,000)")
    parser.add_argument("--times", type=int, default=5, metavar="N", help="that it is replayed (default 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="arbstr-bench-replay-") as folder:
        generate(Path(folder), options.rows)
        runs = [replay(Path(folder)) for _ in range(options.times)]
    seconds = statistics.median(run.seconds for run in runs)
    speed = options.rows / seconds
    verdict = "reached" if speed >= TARGET else "missed"
    print(
        f"{options.rows:,} requests in {seconds:.2f} s (median of {len(runs)}): {speed:,.0f} a second,"
        f" at least {TARGET:,} {verdict}; {statistics.median(run.cpu for run in runs) / options.rows * 1e6:.1f} µs of"
        f" CPU for each; resident at most {max(run.memory for run in runs) / 1e6:.0f} MB"
    )
    return 0


def generate(folder: Path, rows: int) -> None:
    """A log of six days, up to now, and a configuration."""
    connection = open_writer(folder / "log.db", wait=1)
    connection.execute("PRAGMA synchronous = OFF")  # it is thrown away
    insert = f"INSERT INTO requests ({', '.join(REQUEST_COLUMNS)}) VALUES ({', '.join('?' * len(REQUEST_COLUMNS))})"
    now = time.time()
    made = map(request_row, records(rows, since=now - 6 * DAY, until=now))
    while batch := list(itertools.islice(made, BATCH)):
        connection.execute("BEGIN")
        connection.executemany(insert, batch)
        connection.execute("COMMIT")
    connection.close()
    path = folder / "arbstr.toml"
    path.write_text("\n".join(_config()))
    path.chmod(0o600)


def _config() -> list[str]:
    lines = ["[store]", 'url = "sqlite:///log.db"', "[pricing.exchange]", f"sats_per_usd = {SATS_PER_USD}"]
    for place, name in enumerate(PROVIDERS):
        sold = [model for number, model in enumerate(MODELS) if (place - number) % 6 < 3]
        lines += [f"[providers.{name}]", 'kind = "openai"', f'base_url = "https://{name}.example/v1"']
        lines += ['api_key = "sk-0123456789"', f"models = {json.dumps(sold)}"]
        if place % 3:
            lines += [f"input_rate = {2 + place}", f"output_rate = {20 - place}", f"base_fee = {place % 2}"]
        else:
            lines.append(f'rates = {{ currency = "usd", per = 1_000_000, input = {2 + place}, output = {20 - place} }}')
    return lines


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu: float
    """Seconds, of the kernel's too."""
    memory: int
    """Bytes resident at most."""


def replay(folder: Path) -> Run:
    """The command, from its start to its end."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARBSTR_")}
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "arbstr", "replay", "--json"], cwd=folder, env=environ, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        report = json.load(process.stdout)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode or not report["now"]["served"]:
        raise SystemExit(f"arbstr replay failed: {process.returncode}")
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


if __name__ == "__main__":
    sys.exit(main())
