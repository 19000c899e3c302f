"""`arbstr` as a process: started, listened to, signalled, and ended in any case."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
"""Seconds after which a test is broken rather than slow."""


class Output:
    """What a process prints on one pipe, taken from it at once, so that it never waits for us."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.pipe = pipe
        self.data = bytearray()
        self._ignored = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        while not self._ignored:
            if poll.poll(50):
                data = os.read(self.pipe.fileno(), 65536)
                if not data:
                    break
                self.data += data

    def ignore(self, *, close: bool) -> None:
        """Read no more; with ``close``, so that the process can notice."""
        self._ignored = True
        self._thread.join()
        if close:
            self.pipe.close()

    def finish(self) -> None:
        """Take what is still in the pipe of a process that has ended."""
        self._thread.join()
        self.pipe.close()


class Program:
    """One run of a command."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.stdout = Output(process.stdout)
        self.stderr = Output(process.stderr)
        self.url = ""
        """Where it listens, once it has said so."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far: everything on stdout, each line a JSON object."""
        whole, _, _ = bytes(self.stdout.data).rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    @property
    def errors(self) -> str:
        """What stands on stderr."""
        return self.stderr.data.decode()

    async def said(self, event: str) -> dict[str, Any]:
        """The first line of the log with this event, once it is there."""
        await until(lambda: event in self.events or self.process.poll() is not None)
        assert event in self.events, f"exit code {self.process.returncode}:\n{self.errors}{self.stdout.data.decode()}"
        return next(line for line in self.lines if line["event"] == event)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """The exit code, once there is one; negative for the signal that killed it. All that it printed is here."""
        await until(lambda: self.process.poll() is not None)
        self.stdout.finish()
        self.stderr.finish()
        code = self.process.returncode
        assert isinstance(code, int)
        return code

    async def stopped(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self.send(number)
        return await self.ended()


async def until(condition: Callable[[], object]) -> None:
    """Look again and again until it holds; what happens in another process can only be polled."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    *arguments: str,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    limits: str = "",
    module: str = "arbstr",
) -> AsyncIterator[Program]:
    """``python -m arbstr …`` in ``folder``, killed at the end of the block if it still runs.

    ``limits`` are shell commands that come first, as in ``ulimit -n 64``.
    """
    command = [sys.executable, "-m", module, *arguments]
    if limits:
        command = ["sh", "-c", f'{limits} && exec "$@"', "sh", *command]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    program = Program(process)
    try:
        yield program
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        await program.ended()


@asynccontextmanager
async def serving(*arguments: str, folder: Path, **how: Any) -> AsyncIterator[Program]:
    """``arbstr serve …``, listening; ``how`` is as for :func:`running`."""
    async with running("serve", *arguments, folder=folder, **how) as program:
        program.url = (await program.said("listening"))["url"]
        yield program


async def run(*arguments: str, folder: Path, **how: Any) -> tuple[int, str, str]:
    """Run a command to its end: exit code, stdout, stderr."""
    async with running(*arguments, folder=folder, **how) as program:
        code = await program.ended()
        return code, program.stdout.data.decode(), program.errors


def environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Ours, without what would configure arbstr, and with ``more``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARBSTR_", "XDG_"))}
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    return {**kept, "PYTHONPATH": paths, **(more or {})}


async def metrics(http: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """``/metrics``: the value of each sample, by its name and labels as they are printed."""
    async with http.get(f"{url}/metrics") as response:
        text = await response.text()
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}
