"""One gateway, measured once: its start, whole answers, paced chunks, memory."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import payloads
from bench.gateways import Door, Gateway
from bench.load import Whole, run_paced, run_whole
from bench.machine import Cores, Tree, core_busy, start
from bench.upstream import Pace

CONNECTIONS = (4, 64)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything takes, in seconds, and the shape of the streams."""

    warm_up: int
    whole: int
    idle: float
    window: float
    pace: Pace


@dataclass(frozen=True, slots=True)
class Measured:
    """Numbers by the names of `report.MEASURES`, and what makes them invalid."""

    values: Mapping[str, float]
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def measure_direct(doors: tuple[Door, Door], plan: Plan, cores: Cores, work: Path) -> Measured:
    """The providers without a gateway: what the load generators and the machine can do."""
    whole, paced = doors
    values: dict[str, float] = {}
    errors: list[str] = []
    for connections in CONNECTIONS:
        run = run_whole(whole, cores, work, connections=connections, seconds=plan.whole)
        values |= _speed(run, connections)
        errors += run.errors
    stream = run_paced(paced, cores, plan.pace, window=plan.window, cpu=lambda: 0.0)
    values |= {
        "chunks_per_second": stream.chunks / stream.seconds,
        "delay_p50_ms": stream.delay_p50_ms,
        "delay_p99_ms": stream.delay_p99_ms,
    }
    return Measured(values, (*errors, *stream.errors))


def measure_gateway(gateway: Gateway, plan: Plan, cores: Cores, work: Path) -> Measured:
    """Start it, load it, end it. The tree of its processes is gone when this returns, whatever happens."""
    values: dict[str, float] = {}
    errors: list[str] = []
    began = time.monotonic()
    log = work / f"{gateway.name}.log"
    with start(gateway.command, core=cores.gateway, log=log, env=gateway.env, cwd=gateway.cwd) as tree:
        answer = _first_answer(gateway.whole, tree, seconds=120)
        values["start_s"] = time.monotonic() - began
        errors += _faults(answer)
        answered = 1

        warm = run_whole(gateway.whole, cores, work, connections=max(CONNECTIONS), seconds=plan.warm_up)
        answered += warm.requests
        foreign = 0.0
        for connections in CONNECTIONS:
            _settle(tree)
            cpu, busy = tree.cpu(), core_busy(cores.gateway)
            run = run_whole(gateway.whole, cores, work, connections=connections, seconds=plan.whole)
            spent = tree.cpu() - cpu
            foreign = max(foreign, (core_busy(cores.gateway) - busy - spent) / run.seconds)
            values |= _speed(run, connections)
            values[f"cpu_{connections}_us"] = spent * 1e6 / run.worked_on
            values[f"busy_{connections}"] = spent / run.seconds
            errors += run.errors
            answered += run.requests

        _settle(tree)
        idle = _share(tree, seconds=plan.idle)
        stream = run_paced(gateway.paced, cores, plan.pace, window=plan.window, cpu=tree.cpu)
        answered += plan.pace.streams
        errors += stream.errors
        memory = tree.memory()
        values |= {
            "idle_ms_per_s": idle * 1000,
            "chunk_us": (stream.cpu - idle * stream.seconds) * 1e6 / max(1, stream.chunks),
            "chunks_per_second": stream.chunks / stream.seconds,
            "delay_p50_ms": stream.delay_p50_ms,
            "delay_p99_ms": stream.delay_p99_ms,
            "rss_mb": memory.rss / 1e6,
            "pss_mb": memory.pss / 1e6,
        }
        if gateway.translated is not None:
            translated, more, faults = _translated(gateway.translated, tree, plan, cores, work, idle=idle)
            values |= translated
            answered += more
            errors += faults
        errors += _missing_rows(gateway, answered)
        tree.check_alive()
    values["foreign"] = foreign
    slow = "could not keep pace with the streams; its chunks are those of the whole run, opening included"
    return Measured(values, tuple(errors), () if stream.steady else (slow,))


def _translated(
    doors: tuple[Door, Door], tree: Tree, plan: Plan, cores: Cores, work: Path, *, idle: float
) -> tuple[dict[str, float], int, list[str]]:
    """The same again by providers of another dialect: values, answers, errors."""
    whole, paced = doors
    errors = _faults(_first_answer(whole, tree, seconds=10))
    warm = run_whole(whole, cores, work, connections=max(CONNECTIONS), seconds=plan.warm_up)
    _settle(tree)
    cpu = tree.cpu()
    run = run_whole(whole, cores, work, connections=max(CONNECTIONS), seconds=plan.whole)
    spent = tree.cpu() - cpu
    _settle(tree)
    stream = run_paced(paced, cores, plan.pace, window=plan.window, cpu=tree.cpu)
    values = {
        "translated_cpu_64_us": spent * 1e6 / run.worked_on,
        "translated_chunk_us": (stream.cpu - idle * stream.seconds) * 1e6 / max(1, stream.chunks),
    }
    return values, 1 + warm.requests + run.requests + plan.pace.streams, [*errors, *run.errors, *stream.errors]


def _share(tree: Tree, *, seconds: float) -> float:
    """The share of a core that the gateway uses during the next seconds."""
    cpu = tree.cpu()
    time.sleep(seconds)
    return (tree.cpu() - cpu) / seconds


def _settle(tree: Tree) -> None:
    """Wait until the gateway has finished what the last run left behind, ten seconds at most."""
    for _ in range(20):
        if _share(tree, seconds=0.5) < 0.05:
            break


def _speed(run: Whole, connections: int) -> dict[str, float]:
    return {
        f"rps_{connections}": run.per_second,
        f"p50_{connections}_ms": run.p50_ms,
        f"p99_{connections}_ms": run.p99_ms,
    }


def _first_answer(door: Door, tree: Tree, *, seconds: float) -> bytes:
    """The body of the first chat completion that succeeds; `RuntimeError` if none does in time."""
    deadline = time.monotonic() + seconds
    last = "no connection"
    while time.monotonic() < deadline:
        tree.check_alive()
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
        try:
            body = payloads.request_body(door.model, stream=False)
            connection.request("POST", door.path, body, {"Content-Type": "application/json", **door.headers})
            response = connection.getresponse()
            data = response.read()
            if response.status == 200:
                return data
            last = f"status {response.status}: {data[:300]!r}"
        except OSError as error:
            last = repr(error)
        finally:
            connection.close()
        time.sleep(0.002)
    raise RuntimeError(f"no answer within {seconds} s ({last}):\n{tree.tail()}")


def _faults(answer: bytes) -> list[str]:
    """What is wrong with an answer that came through a gateway: the text and the usage must be the provider's."""
    sent, came = json.loads(payloads.whole_answer()), json.loads(answer)
    if came["choices"][0]["message"]["content"] != sent["choices"][0]["message"]["content"]:
        return ["the answer's text was changed on the way"]
    if came["usage"]["total_tokens"] != sent["usage"]["total_tokens"]:
        return ["the answer's usage was changed on the way"]
    return []


def _missing_rows(gateway: Gateway, answered: int) -> list[str]:
    """A gateway with a request log has to have a row for every answer, a few seconds after the last."""
    if gateway.log_rows is None:
        return []
    deadline = time.monotonic() + 5
    while (rows := gateway.log_rows()) < answered and time.monotonic() < deadline:
        time.sleep(0.05)
    return [f"{answered - rows} of {answered} answers have no row in the request log"] if rows < answered else []
