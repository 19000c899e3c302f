"""What all commands share: ``--config`` and ``--json`` in any place, exit codes, suggestions for what was mistyped."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from arbstr.config import Compiled, ConfigError, Problem, find, load
from arbstr.config.load import Flags, loose_mode

BAD_CONFIGURATION = 78


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


class Group(click.Group):
    """The ``arbstr`` command itself. Bad configuration ends any command with a line for each problem, and 78."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += shared_options()

    def invoke(self, ctx: click.Context) -> Any:
        ctx.ensure_object(dict)
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(str(error), err=True)
            if wants_json(ctx):
                echo_json({"ok": False, "problems": [_problem_json(each) for each in error.problems]})
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


def _problem_json(problem: Problem) -> dict[str, str]:
    return {"file": problem.origin, "path": problem.place, "message": problem.message}


def echo_json(value: object) -> None:
    """One JSON document on stdout, indented: for programs, and still for people."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
