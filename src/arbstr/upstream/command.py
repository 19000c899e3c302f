"""Tokens from a command's standard output: plain, or as the JSON that cloud vendors' tools print."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio import subprocess
from collections.abc import Sequence
from typing import Any

import msgspec

from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.secret import Secret
from arbstr.ports import Clock
from arbstr.upstream.tokens import Token

KEPT = 300.0
"""Seconds for which a token is kept that says nothing of its lifetime."""

MARGIN = 60.0
"""Seconds before its end from which a token is not used any more, but no more than a tenth of its lifetime."""

PATIENCE = 20.0
"""Seconds that a command may take."""

LONGEST = 64 * 1024
"""Bytes of its output."""

LONGEST_TOKEN = 16 * 1024

_NAMES = ("access_token", "accessToken", "token")


class TokenCommand:
    """A command that prints a token, run without a shell, with this process's environment.

    Nothing that it prints is in a message: not on standard output, nor on standard error.
    """

    def __init__(self, command: Sequence[str], clock: Clock, *, patience: float = PATIENCE) -> None:
        self._command = tuple(command)
        self._clock = clock
        self._patience = patience

    async def fetch(self) -> Token:
        """Run it. Raises UpstreamFailure (KEY_REFUSED)."""
        return read_token(await self._output(), now_epoch=self._clock.time())

    async def _output(self) -> bytes:
        try:
            process = await subprocess.create_subprocess_exec(
                *self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a command"
            raise _failure(f"cannot be started ({reason})") from error
        try:
            async with asyncio.timeout(self._patience):
                output, code = await _read(process), await process.wait()
        except TimeoutError:
            _end(process)
            await process.wait()
            raise _failure(f"has taken more than {self._patience:g} seconds") from None
        finally:
            _end(process)
        if len(output) > LONGEST:
            raise _failure("has printed too much, where a token is expected")
        if code != 0:
            how = f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"
            raise _failure(how)
        return output


async def _read(process: subprocess.Process) -> bytes:
    """All that it prints, or the first bytes of too much: then it is ended."""
    assert process.stdout is not None
    output = b""
    while len(output) <= LONGEST and (data := await process.stdout.read(LONGEST)):
        output += data
    if len(output) > LONGEST:
        _end(process)
        while await process.stdout.read(LONGEST):  # what is in the pipe, which is closed at its end alone
            pass
    return output


def _end(process: subprocess.Process) -> None:
    """End it, and whatever it has started, if it still runs."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def read_token(output: bytes, *, now_epoch: float) -> Token:
    """The token in what a command printed: the one line, or ``access_token``, ``accessToken`` or ``token`` of a JSON
    object with its lifetime in ``expires_in`` (seconds) or ``expires_on`` (seconds since the epoch)."""
    text = output.strip()
    lifetime: float | None = None
    value: Any = text.decode("ascii", "replace")
    if text.startswith(b"{"):
        try:
            found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            raise _failure("has printed neither a token nor JSON with one") from None
        value = next((found[name] for name in _NAMES if found.get(name)), None)
        lifetime = _lifetime(found, now_epoch)
    if not isinstance(value, str) or not value or len(value) > LONGEST_TOKEN or not value.isascii():
        raise _failure("has printed no token")
    if not value.isprintable() or " " in value:
        raise _failure("has printed something else than one token")
    kept = KEPT if lifetime is None else lifetime - min(MARGIN, lifetime / 10)
    if kept <= 0:
        raise _failure("has printed a token that has expired")
    return Token(Secret(value), fresh=kept, usable=kept)


def _lifetime(found: dict[str, Any], now_epoch: float) -> float | None:
    seconds = _number(found.get("expires_in"))
    if seconds is not None:
        return seconds
    instant = _number(found.get("expires_on"))
    return None if instant is None else instant - now_epoch


def _number(value: Any) -> float | None:
    """Some tools print their numbers as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < 1e12 else None


def _failure(what: str) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.KEY_REFUSED, f"The token command {what}.")
