"""``arbstr db``: what an operator does for the database file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arbstr.cli.frame import Group, echo_json, load_found, wants_json

if TYPE_CHECKING:
    from arbstr.store.care import Health


@click.group(cls=Group)
def db() -> None:
    """Look after the database: whether it is sound, a copy of it, room that it no longer needs.

    It is the SQLite file that [store] url names: the request log, the gateway keys, and what budgets remember.
    """


@db.command(short_help="Say whether the database is sound.")
@click.option("--repair", is_flag=True, help="Make the sums of each hour anew from the rows, where they do not agree.")
@click.pass_context
def check(context: click.Context, repair: bool) -> None:
    """Say whether the database is sound: its pages and indexes, its tables, and whether the sums of each hour agree
    with the rows. Works beside a running gateway."""
    from arbstr.store import care

    path = _store(context)
    with one_line(), _progress("checking") as progress:
        health = care.check(path, repair=repair, progress=progress)
    if wants_json(context):
        echo_json({"ok": not health.problems, "file": str(path), **_fields(health)})
    else:
        click.echo(f"{path}: {_summary(health)}")
        for line in health.repaired:
            click.echo(f"{path}: repaired: {line}")
        for line in health.problems:
            click.echo(f"{path}: {line}", err=True)
        click.echo(f"{path}: {'damaged' if health.problems else 'ok'}")
    context.exit(1 if health.problems else 0)


@db.command(short_help="Give back room that is no longer needed.")
@click.pass_context
def vacuum(context: click.Context) -> None:
    """Write the database anew, without the room that removed rows have left. No gateway may be running on it."""
    from arbstr.store import care

    path = _store(context)
    with one_line():
        before, after = care.vacuum(path)
    if wants_json(context):
        echo_json({"file": str(path), "bytes_before": before, "bytes": after})
    else:
        click.echo(f"{path}: {_size(before)} before, {_size(after)} now")


@db.command(short_help="Copy the database, beside a running gateway.")
@click.argument("target", type=click.Path(path_type=Path))
@click.pass_context
def backup(context: click.Context, target: Path) -> None:
    """Copy the database as it is now to the file TARGET, beside a running gateway. Never overwrites."""
    from arbstr.store import care

    path = _store(context)
    with one_line(), _progress("copying") as progress:
        health = care.backup(path, target, progress=progress)
    if wants_json(context):
        echo_json({"file": str(path), "target": str(target), **_fields(health)})
    else:
        click.echo(f"{target}: {_summary(health)}")


def _store(context: click.Context) -> Path:
    return load_found(context)[1].store


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """A file that cannot be used is one line, and exit code 1."""
    from arbstr.store.errors import StoreError

    try:
        yield
    except StoreError as error:
        raise click.ClickException(str(error)) from None


@contextlib.contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """Shown on a terminal alone."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _fields(health: Health) -> dict[str, Any]:
    return {
        "schema": health.schema,
        "rows": health.rows,
        "bytes": health.bytes,
        "free_bytes": health.free_bytes,
        "repaired": list(health.repaired),
        "problems": list(health.problems),
    }


def _summary(health: Health) -> str:
    """``schema 4, 1,234 requests, 1,300 attempts, 2 keys; 12.3 MB, of which 1.2 MB are free``."""
    age = "" if health.schema == health.newest else f" (this arbstr's is {health.newest})"
    rows = "".join(f", {count:,} {table}" for table, count in health.rows.items())
    return f"schema {health.schema}{age}{rows}; {_size(health.bytes)}, of which {_size(health.free_bytes)} are free"


def _size(count: int) -> str:
    """Bytes as ``512 bytes``, ``12.3 MB``."""
    amount, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
