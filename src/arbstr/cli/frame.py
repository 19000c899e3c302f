"""What all commands share: ``--config`` and ``--json`` in any place, exit codes, suggestions for what was mistyped."""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from arbstr.config import Compiled, ConfigError, Problem, find, load
from arbstr.config.load import Flags, loose_mode

BAD_CONFIGURATION = 78

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE}
"""What a write into a full disk, a lost terminal, a file that is open for reading or a closed pipe ends in."""


def shared_options() -> list[click.Option]:
    """``--config`` and ``--json``, which may stand before the command or anywhere after it."""
    return [
        click.Option(
            ["--config", "config"], metavar="PATH", help="The configuration file.", expose_value=False, callback=_keep
        ),
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            default=None,
            help="Answer in JSON.",
            expose_value=False,
            callback=_keep,
        ),
    ]


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Remember the option for the whole invocation; the one nearest to the end of the line wins."""
    if value is not None and parameter.name is not None:
        context.ensure_object(dict)[parameter.name] = value


class Command(click.Command):
    """A command with the shared options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += shared_options()


class Failure(click.ClickException):
    """A command could not do what it was asked to with ``file``: one line, and exit code 1."""

    def __init__(self, file: Path, message: str) -> None:
        super().__init__(f"{file} {message}")
        self.problem = Problem(str(file), (), message)


class Group(click.Group):
    """The ``arbstr`` command itself, and how every command ends.

    Bad configuration is a line for each problem, and 78; whatever else is wrong is a line too. With ``--json`` all of
    it stands on stdout as well. An answer that stdout does not take is a line, and 1; a closed pipe just 1, as whoever
    closed it has read enough.
    """

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += shared_options()

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line, and exit."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = self._run(words, prog_name, complete_var, **extra)
        except OSError as error:
            if error.filename is not None or error.errno not in _UNWRITABLE:
                raise
            _silence(sys.stdout)
            if error.errno != errno.EPIPE:
                complain(f"arbstr: stdout cannot be written: {error.strerror}")
            code = 1
        sys.exit(code)

    def _run(self, words: list[str], prog_name: str | None, complete_var: str | None, **extra: Any) -> int:
        """The exit code. Raises OSError where stdout takes nothing."""
        try:
            return super().main(words, prog_name, complete_var, standalone_mode=False, **extra) or 0
        except click.ClickException as error:
            with _or_silent():
                error.show()
            problem = error.problem if isinstance(error, Failure) else Problem("arbstr", (), error.format_message())
            if "--json" in words:  # the line may be too wrong for options to have been read
                echo_problems([problem])
            return error.exit_code
        except click.Abort:
            complain("Aborted!")
            return 1

    def invoke(self, ctx: click.Context) -> Any:
        ctx.ensure_object(dict)
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            complain(str(error))
            if wants_json(ctx):
                echo_problems(error.problems)
            ctx.exit(BAD_CONFIGURATION)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f' Did you mean "{near[0]}"?' if near else f" There are {', '.join(self.list_commands(ctx))}."
            raise click.UsageError(f'There is no command "{name}".{hint}', ctx)
        return super().resolve_command(ctx, args)


def wants_json(context: click.Context) -> bool:
    return bool(context.ensure_object(dict).get("as_json"))


def config_flag(context: click.Context) -> str | None:
    value = context.ensure_object(dict).get("config")
    return None if value is None else str(value)


def load_found(context: click.Context, flags: Flags | None = None) -> tuple[Path, Compiled, list[str]]:
    """The configuration that the command is about, and its warnings as lines that name the file."""
    environ: Mapping[str, str] = os.environ
    path = find(config_flag(context), environ=environ)
    compiled = load(path, environ=environ, flags=flags)
    warnings = [f"{path}: {line}" for line in compiled.warnings]
    mode = loose_mode(path)
    if mode:
        warnings.insert(0, f"{path}: its mode {mode} is looser than 0600: chmod 600 {path}")
    return path, compiled, warnings


def echo_json(value: object) -> None:
    """One JSON document on stdout, indented: for programs, and still for people."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def echo_problems(problems: Sequence[Problem]) -> None:
    """What went wrong, as JSON."""
    entries = [{"file": each.origin, "path": each.place, "message": each.message} for each in problems]
    echo_json({"ok": False, "problems": entries})


def complain(text: str) -> None:
    """Lines on stderr. Where it takes none, nobody can be told: the exit code has to say it all."""
    with _or_silent():
        click.echo(text, err=True)


@contextlib.contextmanager
def _or_silent() -> Iterator[None]:
    try:
        yield
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Turn a stream that takes nothing to where all is taken, lest the interpreter try once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
