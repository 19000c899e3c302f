"""The machine: which cores a program may use, and the CPU time and memory of a tree of processes."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where: the gateway alone on one core, everything that loads it on others."""

    gateway: int
    upstream: int
    client: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """One core for the gateway; the upstream and the client share the second one where there is no third.

        Raises `SystemExit` on a machine (or in a container) with a single core, where nothing can be told apart.
        """
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise SystemExit("bench: two cores are needed, one for the gateway and one for what loads it")
        return cls(gateway=allowed[0], upstream=allowed[1], client=allowed[min(2, len(allowed) - 1)])


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of a tree. `pss` divides a page by the number of processes that share it."""

    rss: int
    pss: int


class Tree:
    """A program we started, and every process below it. Ends with its `with` block, whatever happens in it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def pids(self) -> list[int]:
        """The root and all its descendants that are alive now."""
        children: dict[int, list[int]] = {}
        for pid, parent in _parents():
            children.setdefault(parent, []).append(pid)
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting.extend(children.get(pid, ()))
        return found

    def cpu(self) -> float:
        """Seconds of CPU, user and system, spent by the tree so far, reaped children included."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / TICKS

    def memory(self) -> Memory:
        rss = pss = 0
        for pid in self.pids():
            fields = _rollup(pid)
            rss += fields.get("Rss", 0)
            pss += fields.get("Pss", 0)
        return Memory(rss=rss * 1024, pss=pss * 1024)

    def check_alive(self) -> None:
        """Raise `RuntimeError` with the end of the program's output when it has ended by itself."""
        if (code := self.process.poll()) is not None:
            raise RuntimeError(f"{self.process.args!r} ended with {code}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """End the tree: politely first, so that gateways close their files, then for good."""
        pids = self.pids() if self.process.poll() is None else []
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def start(
    command: Sequence[str | Path],
    *,
    core: int,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Tree:
    """Start a program on one core, its output going to `log`, in a session of its own (a Ctrl-C is ours alone)."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *(str(word) for word in command)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    return Tree(process, log)


def core_busy(core: int) -> float:
    """Seconds this core was busy since boot, whoever used it."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
            return (user + nice + system + irq + softirq + steal) / TICKS
    raise RuntimeError(f"/proc/stat does not list core {core}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def description() -> dict[str, str]:
    """What the numbers depend on, of the machine itself."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "CPU": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def wait_for_port(port: int, tree: Tree, *, seconds: float = 10) -> None:
    """Return once something listens on the port; `RuntimeError` if the program ends first or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        tree.check_alive()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nothing listens on port {port} after {seconds} s:\n{tree.tail()}")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name: index 0 is field 3 of proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                yield int(entry.name), int(_stat(int(entry.name))[1])


def _cpu_ticks(pid: int) -> int:
    """utime, stime, cutime and cstime: fields 14 to 17 of proc(5). A live child is not yet in its parent's cutime."""
    try:
        return sum(int(field) for field in _stat(pid)[11:15])
    except OSError:
        return 0


def _rollup(pid: int) -> dict[str, int]:
    """KiB by name, from /proc/PID/smaps_rollup."""
    fields: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            fields[name] = int(rest.split()[0])
    return fields
