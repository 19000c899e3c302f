"""The command behind `make bench`."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import peers, report
from bench.gateways import GATEWAYS, direct
from bench.machine import Cores, description
from bench.measure import Measured, Plan, measure_direct, measure_gateway
from bench.upstream import Pace, start_upstreams

RESULTS = peers.ROOT / "bench" / "results"
PAGE = peers.ROOT / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PEERS = ("litellm", "portkey")

Rounds = list[dict[str, Measured]]


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every `with` ends what it started
    try:
        names = _contenders(options)
        _bring(names)
        machine = description()
        cores = Cores.of_this_machine()
        os.sched_setaffinity(0, {cores.client})  # we and our /proc reading stay off the gateway's core
        rounds = _run(names, _plan(options), cores, options.rounds)
    except peers.Missing as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    about = _about(options, names, machine)
    text = _text(rounds, about)
    print(text)
    _keep(rounds, about)
    if options.write_docs:
        _write_docs(text)
    return 1 if report.problems(rounds) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.sh", description="Measure arbstr beside nginx and other gateways.")
    parser.add_argument("--quick", action="store_true", help="one short round: to see that all works, not for numbers")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {','.join(GATEWAYS)}, separated by commas")
    parser.add_argument("--no-peers", action="store_true", help="without LiteLLM and Portkey: nothing is downloaded")
    parser.add_argument("--duration", type=int, metavar="S", help="seconds of each whole-answer run (default 8)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds, of which medians are taken (default 3)")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/explanation/performance.md")
    options = parser.parse_args()
    options.duration = options.duration or (2 if options.quick else 8)
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _contenders(options: argparse.Namespace) -> list[str]:
    names = options.only.split(",") if options.only else list(GATEWAYS)
    if unknown := set(names) - set(GATEWAYS):
        raise peers.Missing(f"--only knows {', '.join(GATEWAYS)}, not {', '.join(sorted(unknown))}")
    return [name for name in names if not (options.no_peers and name in PEERS)]


def _bring(names: list[str]) -> None:
    """Have everything there before the first number is taken."""
    peers.ensure_programs(["nginx", "wrk", "taskset"])
    if "litellm" in names:
        peers.litellm()
    if "portkey" in names:
        peers.portkey()


def _plan(options: argparse.Namespace) -> Plan:
    window = 2.0 if options.quick else 5.0
    return Plan(
        warm_up=1 if options.quick else 3,
        whole=options.duration,
        idle=1.0 if options.quick else 3.0,
        window=window,
        pace=Pace(streams=64, chunks=int((window + 1) * 100)),  # a second for all to open
    )


def _run(names: list[str], plan: Plan, cores: Cores, count: int) -> Rounds:
    """All rounds. A contender that fails is a row with an error; the others go on."""
    rounds: Rounds = []
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arbstr-bench-")))
        upstreams = start_upstreams(stack, cores, work, plan.pace)
        for number in range(1, count + 1):
            _say(f"round {number} of {count}: direct")
            rounds.append({report.DIRECT: measure_direct(direct(upstreams), plan, cores, work)})
            for name in names:
                _say(f"round {number} of {count}: {name}")
                own = work / f"{name}-{number}"
                own.mkdir()
                try:
                    gateway = GATEWAYS[name](own, upstreams)
                    rounds[-1][gateway.name] = measure_gateway(gateway, plan, cores, own)
                except (RuntimeError, OSError, peers.Missing) as error:
                    rounds[-1][name] = Measured({}, (str(error),))
    return rounds


def _about(options: argparse.Namespace, names: list[str], machine: dict[str, str]) -> dict[str, str]:
    versions = {"nginx": peers.version_of("nginx"), "wrk": peers.version_of("wrk")}
    if "litellm" in names:
        versions["LiteLLM"] = peers.LITELLM
    if "portkey" in names:
        versions |= {"Portkey": peers.PORTKEY, "node": peers.version_of("node")}
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        **machine,
        **versions,
        "runs": f"{options.rounds} rounds of {options.duration} s for each number of connections, medians",
    }


def _text(rounds: Rounds, about: dict[str, str]) -> str:
    results = report.medians(rounds)
    parts = ["; ".join(f"{name} {value}" for name, value in about.items()), report.table(results)]
    if report.OURS in results:
        parts += ["Ratios:", report.ratios(results), "Targets:", report.verdicts(results)]
        parts += _bullets("Where others are better:", report.losing(results))
    parts += _bullets("Invalid, because of errors:", report.problems(rounds))
    parts += _bullets("Notes:", report.notes(rounds))
    return "\n\n".join(parts)


def _bullets(title: str, lines: list[str]) -> list[str]:
    return [title, "\n".join(f"- {line}" for line in lines)] if lines else []


def _keep(rounds: Rounds, about: dict[str, str]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}.json"
    kept = {"about": about, "rounds": [{name: asdict(one) for name, one in each.items()} for each in rounds]}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    _say(f"kept as {path.relative_to(peers.ROOT)}")


def _write_docs(text: str) -> None:
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"bench: {PAGE.name} has no place for the tables ({BEGIN} … {END})")
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
