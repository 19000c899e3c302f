"""The commands."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import click

import arbstr as package
from arbstr.cli.db import db
from arbstr.cli.explain import explain
from arbstr.cli.frame import Failure, Group, complain, config_flag, echo_json, load_found, wants_json
from arbstr.cli.keys import keys
from arbstr.cli.logs import logs
from arbstr.cli.prices import prices
from arbstr.cli.replay import replay
from arbstr.cli.stats import stats
from arbstr.config import Compiled, ConfigError, leaves, units
from arbstr.config.compile import keys_missing
from arbstr.config.mock import load_mock

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Group, context_settings=CONTEXT)
@click.version_option(package.__version__, message="%(prog)s %(version)s")
def arbstr() -> None:
    """A gateway for OpenAI-compatible APIs that buys each request from the cheapest healthy provider.

    Without --config, the configuration is $ARBSTR_CONFIG, ./arbstr.toml, ./arbstr.yaml, or one of these in arbstr/ of
    the user's configuration folder.
    """


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            units.address(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value


@arbstr.command(short_help="Run the gateway.")
@click.option("--listen", metavar="HOST:PORT", callback=_address, help="Instead of [server] listen.")
@click.option("--mock", is_flag=True, help="Built-in mock providers: no configuration, no network, no money.")
@click.option("--log-level", type=click.Choice(leaves.LEVELS), help="Instead of [logging] level.")
@click.pass_context
def serve(context: click.Context, listen: str | None, mock: bool, log_level: str | None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from arbstr import service

    flags: dict[tuple[str, ...], tuple[str, str]] = {}
    if listen is not None:
        flags["server", "listen"] = ("--listen", listen)
    if log_level is not None:
        flags["logging", "level"] = ("--log-level", log_level)
    if wants_json(context):
        flags["logging", "format"] = ("--json", "json")
    if not mock:
        _, compiled, warnings = load_found(context, flags)
        with contextlib.suppress(click.ClickException):  # the gateway will meet the same file
            _require_keys(compiled)
        for line in warnings:
            complain(f"warning: {line}")
        context.exit(service.serve(compiled, mock=False))
    if config_flag(context) is not None:
        raise click.UsageError("--mock needs no configuration: leave out --config or --mock.", context)
    with tempfile.TemporaryDirectory(prefix="arbstr-mock-") as folder:
        compiled = load_mock(environ=os.environ, flags=flags, folder=Path(folder))
        _require_keys(compiled)
        code = service.serve(compiled, mock=True)
    context.exit(code)


def _require_keys(compiled: Compiled) -> None:
    """Raise ConfigError where others could reach the gateway and there is no key. No database is made for it.

    Raises ClickException where the database cannot be read.
    """
    if not compiled.needs_keys:
        return
    from arbstr.store import keys as store
    from arbstr.store.errors import StoreError

    try:
        with store.reading(compiled.store) as connection:
            generation, found = store.load(connection)
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    if not generation and not found:
        raise ConfigError([keys_missing(compiled)])


@arbstr.command(short_help="Write a configuration to start from.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.pass_context
def init(context: click.Context, path: Path | None) -> None:
    """Write a commented configuration to start from, to PATH (./arbstr.toml by default). Never overwrites."""
    from arbstr.config.template import write_template

    flag = config_flag(context)
    if path is not None and flag is not None and Path(flag) != path:
        raise click.UsageError("PATH and --config name two files: leave one out.", context)
    target = path or Path(flag or "arbstr.toml")
    if target.suffix != ".toml":
        raise click.BadParameter(f"{target} does not end in .toml, and the configuration is written as TOML.", context)
    try:
        write_template(target)
    except FileExistsError:
        raise Failure(target, "is there already; nothing was written.") from None
    except OSError as error:
        raise Failure(target, f"cannot be written: {error.strerror}.") from None
    if wants_json(context):
        echo_json({"path": str(target), "mode": "0600"})
        return
    flags = "" if target == Path("arbstr.toml") else f" --config {target}"
    click.echo(f"Wrote {target}. Put your providers into it, then: arbstr check{flags} && arbstr serve{flags}")


@arbstr.command(short_help="Say what is wrong with the configuration.")
@click.pass_context
def check(context: click.Context) -> None:
    """Say what is wrong with the configuration, and where each provider's key comes from."""
    from arbstr.cli import show, table

    path, compiled, warnings = load_found(context)
    _require_keys(compiled)
    if wants_json(context):
        entries = show.keys_json(compiled)
        echo_json({"ok": True, "file": str(path), "providers": entries, "warnings": warnings})
        return
    for line in warnings:
        click.echo(f"warning: {line}")
    table.show(show.keys(compiled))
    click.echo(f"{path}: ok")


@arbstr.command(short_help="List the configured providers.")
@click.pass_context
def providers(context: click.Context) -> None:
    """List the configured providers; with their circuits, where the gateway is running."""
    from arbstr.cli import live, show, table

    _, compiled, _ = load_found(context)
    circuits = live.circuits(compiled)
    if wants_json(context):
        echo_json(show.providers_json(compiled, circuits))
    else:
        table.show(show.providers(compiled, circuits))


@arbstr.command(short_help="List the models that can be asked for.")
@click.pass_context
def models(context: click.Context) -> None:
    """List the models that can be asked for, and who serves each."""
    from arbstr.cli import live, show, table

    _, compiled, _ = load_found(context)
    circuits = live.circuits(compiled)
    if wants_json(context):
        echo_json(show.models_json(compiled, circuits))
    else:
        table.show(show.models(compiled, circuits))


arbstr.add_command(db)
arbstr.add_command(explain)
arbstr.add_command(keys)
arbstr.add_command(logs)
arbstr.add_command(prices)
arbstr.add_command(replay)
arbstr.add_command(stats)
