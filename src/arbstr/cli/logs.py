"""``arbstr logs``: the request log in the terminal. Reads the database itself, beside a server or without one."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arbstr.cli.db import one_line
from arbstr.cli.filters import filter_of, filters
from arbstr.cli.frame import Command, complain, echo_json, load_found, wants_json

if TYPE_CHECKING:
    import sqlite3

    from arbstr.domain.statistics import Filter

SORTS = ("timestamp", "cost_sats", "latency_ms")
MOST = 10_000
"""Requests that are listed at a time, at most."""
POLL = 0.5
"""Seconds between two looks for new rows."""
FORMATS = ("csv", "jsonl")
PATIENCE = 60.0
"""Seconds that a query may take."""


@click.command(cls=Command, short_help="List logged requests, one of them, or all for another program.")
@click.argument("request_id", metavar="[ID]", required=False)
@filters
@click.option("--sort", type=click.Choice(SORTS), help="By what. Default: timestamp. Unknown costs stand last.")
@click.option("--order", type=click.Choice(("asc", "desc")), help="Default: desc, which is newest or most first.")
@click.option("-n", "--count", type=click.IntRange(1, MOST), metavar="N", help="How many, at most. Default: 20.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new requests as they come, until Ctrl-C.")
@click.option("--export", type=click.Choice(FORMATS), help="Every column of every request, for another program.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where --export goes. Never overwrites."
)
@click.pass_context
def logs(
    context: click.Context,
    /,
    request_id: str | None,
    sort: str | None,
    order: str | None,
    count: int | None,
    follow: bool,
    export: str | None,
    output: Path | None,
    **given: str | None,
) -> None:
    """List logged requests, newest first; with an ID, that request with its attempts and its decision.

    The database is read beside a running gateway, or without one.
    """
    from arbstr.domain.errors import GatewayError
    from arbstr.store.opened import reading

    _check_words(context, locals())
    path = load_found(context)[1].store
    with one_line(), reading(path) as connection:
        try:
            if request_id is not None:
                _one(context, path, request_id)
                return
            which = filter_of(given, connection, default=None)
            if export is not None:
                _export(context, connection, which, export, output)
            elif follow:
                _follow(context, path, connection, which, count)
            else:
                _list(context, connection, which, sort or SORTS[0], order != "asc", count or 20)
        except GatewayError as error:
            raise click.ClickException(error.message) from None


def _check_words(context: click.Context, words: dict[str, Any]) -> None:
    """Raise UsageError for options that do not go together."""
    listing = {"--sort": words["sort"], "--order": words["order"], "-n": words["count"]}
    given = {f"--{name.replace('_', '-')}": value for name, value in words["given"].items()}
    others = {"--follow": words["follow"] or None, "--export": words["export"], "--output": words["output"]}
    if words["request_id"] is not None:
        _refuse(context, "an ID", given | listing | others)
    elif words["export"] is not None:
        _refuse(context, "--export", listing | {"--follow": others["--follow"]})
        if wants_json(context) and words["output"] is None:
            raise click.UsageError("--export is an answer of its own: leave out --json, or give --output.", context)
    elif words["output"] is not None:
        raise click.UsageError("--output is for --export.", context)
    elif words["follow"]:
        _refuse(context, "--follow", {"--sort": words["sort"], "--order": words["order"]})


def _refuse(context: click.Context, what: str, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise click.UsageError(f"{what} and {name} do not go together.", context)


def _list(
    context: click.Context, connection: sqlite3.Connection, which: Filter, sort: str, descending: bool, count: int
) -> None:
    from arbstr.cli import log_show, table
    from arbstr.domain.statistics import Sort
    from arbstr.store.pages import page_of

    connection.execute("BEGIN")
    page = page_of(connection, which, page=1, per_page=count, sort=Sort(sort), descending=descending, cursor=None)
    if wants_json(context):
        echo_json({"data": page.entries, "total": page.total, "total_estimated": page.estimated})
        return
    if not page.entries:
        complain("No request in the log matches.")
        return
    table.show(log_show.requests(page.entries))
    if page.total > len(page.entries):
        about = "about " if page.estimated else ""
        complain(f"{len(page.entries)} of {about}{page.total:,}: -n N shows more.")


def _one(context: click.Context, path: Path, request_id: str) -> None:
    from arbstr.cli import log_show, table
    from arbstr.cli.explain import candidates, heading

    found = _find(path, request_id)
    if found is None:
        raise click.ClickException(f"No request with the id {request_id[:100]!r} is in the log.")
    if wants_json(context):
        echo_json(found)
        return
    table.show(log_show.request(found))
    if found["attempts"]:
        click.echo("\nAttempts")
        table.show(log_show.attempts(found["attempts"]))
    if found["decision"]:
        click.echo(f"\nDecision: {heading(found['decision'])}")
        table.show(candidates(found["decision"]))


def _find(path: Path, request_id: str) -> dict[str, Any] | None:
    import asyncio

    from arbstr.store.reader import Reader

    async def work() -> dict[str, Any] | None:
        with contextlib.closing(Reader(path, timeout=PATIENCE)) as reader:
            return await reader.find(request_id)

    return asyncio.run(work())


def _follow(
    context: click.Context, path: Path, connection: sqlite3.Connection, which: Filter, count: int | None
) -> None:
    from arbstr.cli import log_show
    from arbstr.store.connection import identity
    from arbstr.store.follow import latest, newer

    as_json, opened = wants_json(context), identity(path)
    with contextlib.suppress(KeyboardInterrupt):  # the usual end
        if not as_json:
            click.echo(log_show.heading())
        last, entries = latest(connection, which, most=20 if count is None else count)
        while True:
            for entry in entries:
                click.echo(json.dumps(entry, ensure_ascii=False) if as_json else log_show.line(entry))
            time.sleep(POLL)
            if identity(path) != opened:
                raise click.ClickException(f"{path}: was deleted or replaced while in use")
            last, entries = newer(connection, which, after=last)


def _export(
    context: click.Context, connection: sqlite3.Connection, which: Filter, form: str, output: Path | None
) -> None:
    from arbstr.store.export import as_csv, as_jsonl

    pieces = as_csv(connection, which) if form == "csv" else as_jsonl(connection, which)
    written = 0
    with _target(output) as write:
        for rows, text in pieces:
            write(text.encode())
            written += rows
    if output is None:
        return
    if wants_json(context):
        echo_json({"output": str(output), "format": form, "requests": written})
    else:
        click.echo(f"Wrote {written:,} requests to {output}.")


@contextlib.contextmanager
def _target(output: Path | None) -> Iterator[Callable[[bytes], object]]:
    """What writes an export. A file is for its owner alone, and is gone again where it could not be finished."""
    if output is None:
        yield lambda data: click.echo(data, nl=False)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        wrong = "is there already; nothing was written" if isinstance(error, FileExistsError) else error.strerror
        raise click.ClickException(f"{output}: {wrong}") from None
    try:
        with open(descriptor, "wb") as file:
            yield file.write
    except BaseException as error:
        output.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise click.ClickException(f"{output}: {error.strerror}; nothing is left of it") from None
        raise
