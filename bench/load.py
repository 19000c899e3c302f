"""What a load run yields: wrk for whole answers, `paced_client` for streams."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import payloads
from bench.gateways import Door
from bench.machine import Cores
from bench.peers import ROOT, program
from bench.upstream import Pace


@dataclass(frozen=True, slots=True)
class Whole:
    """A run of whole answers.

    `requests` were answered. `worked_on` adds those that were still open at the end, on average half done: they matter
    for a gateway that answers only a few hundred during a run.
    """

    requests: int
    worked_on: float
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: tuple[str, ...]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Paced:
    """The window of a run of streams. Delays are a chunk's way from the provider's send to the client's read.

    `steady` is false where there was no time at which all streams flowed, because the gateway could not keep pace:
    then the window is the whole run, from the first connection to the last byte.
    """

    steady: bool
    chunks: int
    seconds: float
    cpu: float
    delay_p50_ms: float
    delay_p99_ms: float
    errors: tuple[str, ...]


def run_whole(door: Door, cores: Cores, work: Path, *, connections: int, seconds: int) -> Whole:
    """Keep `connections` requests open for so many seconds."""
    body = work / "body.json"
    body.write_bytes(payloads.request_body(door.model, stream=False))
    headers = [f"{name}: {value}" for name, value in door.headers.items()]
    command = ["taskset", "-c", str(cores.client), program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--timeout", "60s", "-s", str(ROOT / "bench" / "chat.lua"), f"http://127.0.0.1:{door.port}{door.path}"]
    done = subprocess.run([*command, "--", str(body), *headers], capture_output=True, text=True, check=True)
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    kinds = ("bad_status", "socket_errors", "timeouts")
    return Whole(
        requests=found["requests"],
        worked_on=found["requests"] + connections / 2,
        seconds=found["duration_us"] / 1e6,
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        errors=tuple(f"{found[kind]} {kind} at {connections} connections" for kind in kinds if found[kind]),
    )


def run_paced(door: Door, cores: Cores, pace: Pace, *, window: float, cpu: Callable[[], float]) -> Paced:
    """Read the streams to their end. `cpu` is asked for the gateway's CPU seconds at both ends of the window."""
    spec = {
        "port": door.port,
        "path": door.path,
        "model": door.model,
        "headers": {"Content-Type": "application/json", "Accept": "text/event-stream", **door.headers},
        "streams": pace.streams,
        "chunks": pace.chunks,
        "window": window,
        "timeout": 30 + 20 * pace.chunks * pace.interval_ms / 1000,
    }
    command = ["taskset", "-c", str(cores.client), sys.executable, "-m", "bench.paced_client", json.dumps(spec)]
    seen: dict[str, dict[str, Any]] = {}
    spent: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as client:
        assert client.stdout is not None
        try:
            for line in client.stdout:
                spoken = json.loads(line)
                spent[spoken["event"]] = cpu()
                seen[spoken["event"]] = spoken
        except BaseException:  # a Ctrl-C does not wait for the streams to end
            client.kill()
            raise
    if "done" not in seen:
        raise RuntimeError(f"the streaming client ended early, with {client.returncode}")
    steady = seen["ending"]["at"] - seen["steady"]["at"] > window / 4
    begin, end = ("steady", "ending") if steady else ("opening", "done")
    return Paced(
        steady=steady,
        chunks=seen[end]["chunks"] - seen[begin]["chunks"],
        seconds=seen[end]["at"] - seen[begin]["at"],
        cpu=spent[end] - spent[begin],
        delay_p50_ms=seen[end]["delays"]["p50"] / 1000,
        delay_p99_ms=seen[end]["delays"]["p99"] / 1000,
        errors=_summary(seen["done"]["errors"]),
    )


def _summary(errors: Sequence[str]) -> tuple[str, ...]:
    """Each kind of error once, with how many streams met it."""
    return tuple(f"{errors.count(kind)} streams: {kind}" for kind in sorted(set(errors)))
