"""A command's standard output as a bearer token."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.testing import FakeClock
from arbstr.upstream.command import LONGEST, TokenCommand, read_token

NOW = 1_800_000_000.0


def printing(code: str, *, patience: float = 20.0) -> TokenCommand:
    return TokenCommand([sys.executable, "-I", "-c", code], FakeClock(), patience=patience)


@pytest.mark.parametrize(
    ("output", "token", "kept"),
    [
        (b"eyJ.abc-_\n", "eyJ.abc-_", 300),
        (b'{"access_token": "a", "expires_in": 3600}', "a", 3540),
        (b'{"accessToken": "b", "expiresOn": "2026-11-20 10:00:00", "expires_on": %d}' % (NOW + 1000), "b", 940),
        (b'{"token": "c", "expires_on": "%d"}' % (NOW + 100), "c", 90),
        (b'{"access_token": "d", "expires_in": "10"}', "d", 9),
        (b'{"access_token": "e", "expires_in": null}', "e", 300),
        (b'{"access_token": "f", "expires_in": "soon"}', "f", 300),
    ],
)
def test_tokens_are_read_as_they_are_printed(output: bytes, token: str, kept: float) -> None:
    """Plain, as OAuth has it, as Azure's and Google's tools print it; used until shortly before its end."""
    found = read_token(output, now_epoch=NOW)

    assert found.secret.reveal() == token
    assert (found.fresh, found.usable) == (kept, kept)


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b" \n",
        b"two words-secret",
        b"secret\nsecret",
        "secreté".encode(),
        b"secret\x00",
        b"x" * 20_000,
        b'{"access_token": "secret"',
        b'{"access_token": 1}',
        b'{"secret": "x"}',
        b'{"access_token": "secret\\r\\nx: y"}',
        b'{"access_token": "secret", "expires_on": 1700000000}',
        b'{"access_token": "secret", "expires_in": 0}',
    ],
)
def test_what_is_no_token_is_refused_without_being_quoted(output: bytes) -> None:
    """It is the key's failure, so that the provider is set aside for a while."""
    with pytest.raises(UpstreamFailure) as refused:
        read_token(output, now_epoch=NOW)

    assert refused.value.kind is FailureKind.KEY_REFUSED
    assert refused.value.message.startswith("The token command has printed ")
    assert "secret" not in refused.value.message


async def test_a_command_is_run_without_a_shell(tmp_path: Path) -> None:
    """Its arguments are its own, whatever is in them."""
    command = TokenCommand([sys.executable, "-I", "-c", "import sys; print(sys.argv[1])", "$HOME;`id`"], FakeClock())

    assert (await command.fetch()).secret.reveal() == "$HOME;`id`"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; print('secret'); sys.exit(3)", "failed with exit code 3"),
        ("import sys; print('secret', file=sys.stderr); sys.exit('secret')", "failed with exit code 1"),
        ("import os; print('secret', flush=True); os.kill(os.getpid(), 15)", "was ended by signal 15"),
        (f"print('s' * {LONGEST * 4})", "has printed too much, where a token is expected"),
    ],
)
async def test_a_command_that_fails_says_how(code: str, message: str) -> None:
    """And nothing of what it printed."""
    with pytest.raises(UpstreamFailure) as refused:
        await printing(code).fetch()

    assert refused.value.kind is FailureKind.KEY_REFUSED
    assert refused.value.message == f"The token command {message}."


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """The system's word for it."""
    with pytest.raises(UpstreamFailure) as refused:
        await TokenCommand([str(tmp_path / "nothing")], FakeClock()).fetch()

    assert refused.value.message == "The token command cannot be started (No such file or directory)."


async def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Nothing goes on behind our back."""
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-I', '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pids) + '.new'!r}, 'w').write(f'[{{os.getpid()}}, {{child.pid}}]')\n"
        f"os.rename({str(pids) + '.new'!r}, {str(pids)!r})\n"
        "time.sleep(60)\n"
    )

    with pytest.raises(UpstreamFailure) as refused:
        await printing(code, patience=2.0).fetch()

    assert refused.value.message == "The token command has taken more than 2 seconds."
    await gone(json.loads(pids.read_text()))


async def test_who_stops_waiting_ends_the_command(tmp_path: Path) -> None:
    """As when the gateway stops."""
    pids = tmp_path / "pids"
    code = (
        "import os, time\n"
        f"open({str(pids) + '.new'!r}, 'w').write(f'[{{os.getpid()}}]')\n"
        f"os.rename({str(pids) + '.new'!r}, {str(pids)!r})\n"
        "time.sleep(60)\n"
    )
    fetching = asyncio.create_task(printing(code).fetch())
    async with asyncio.timeout(20):
        while not pids.exists():
            await asyncio.sleep(0.01)

    fetching.cancel()

    with pytest.raises(asyncio.CancelledError):
        await fetching
    await gone(json.loads(pids.read_text()))


async def gone(pids: list[int]) -> None:
    """Wait until none of these processes runs; a zombie that nobody has asked after has ended too."""
    async with asyncio.timeout(20):
        while any(running(pid) for pid in pids):
            await asyncio.sleep(0.01)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
