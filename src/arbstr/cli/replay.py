"""``arbstr replay``: what the logged requests would have come to under another configuration. It calls nobody."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arbstr.cli.frame import Command, complain, config_flag, echo_json, load_found, wants_json
from arbstr.config import Compiled, ConfigError, find, load
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.span import PRESETS, Span, instant, span

if TYPE_CHECKING:
    from arbstr.policy.replay import Outage, Replay
    from arbstr.policy.replay_report import Report
    from arbstr.store.replay_rows import Place, ReplayRows

LEAD_IN = 10_000
"""Rows before the range from which the usual length of answers is learnt."""
STEP = 1000
"""Rows between two steps of the progress bar."""

_PERCENT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*%?", re.ASCII)
_NO_SECONDS = re.compile(r"(.*T\d\d:\d\d)(Z|[+-]\d\d:\d\d)", re.ASCII)


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> Fraction | None:
    if value is None:
        return None
    match = _PERCENT.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value[:40]!r} is no percentage, expected 0 or more, such as 5%.", context)
    return Fraction(Decimal(match[1])) / 100


@click.command(cls=Command, short_help="Say what the logged requests would cost under another configuration.")
@click.option("--range", "preset", metavar="RANGE", help=f"{', '.join(PRESETS)}. Default: last_7d.")
@click.option("--since", metavar="TIME", help="The first instant: 2026-11-01T00:00:00Z.")
@click.option("--until", metavar="TIME", help="The instant before which it ends. Default: now.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many requests, the newest.")
@click.option(
    "--outage",
    "outages",
    multiple=True,
    metavar="PROVIDER[@FROM..TO]",
    help="As if nobody could reach it, at all or between two instants. May be given more than once.",
)
@click.option("--fail-if-dearer", metavar="N%", callback=_share, help="Exit with 1 if it costs more by over N percent.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The database to read. Default: that of the configuration that is found without --config.",
)
@click.pass_context
def replay(
    context: click.Context,
    preset: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
    outages: Sequence[str],
    fail_if_dearer: Fraction | None,
    store: Path | None,
) -> None:
    """Decide every logged request again under the configuration that --config names, price the tokens that it really
    used, and report cost, providers and rejected requests, then and now. Nobody is called, and nothing is written.
    """
    from arbstr.cli import replay_show as show
    from arbstr.cli import table
    from arbstr.policy.replay import Replay
    from arbstr.policy.replay_report import Report
    from arbstr.store.errors import StoreError
    from arbstr.store.replay_rows import reading

    asked = _span(context, preset, since, until)
    path, compiled, _ = load_found(context)
    taken_out = [_outage(context, each, compiled) for each in outages]
    log_path = _store(context, store, compiled)
    again, report = Replay(compiled.snapshot, taken_out), Report()
    try:
        with reading(log_path) as log:
            begin, end = log.stretch(asked.since or 0.0, asked.until or 0.0, last=limit)
            run_through(log, begin, end, again, report)
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    about = show.About(path, log_path, asked, tuple(taken_out), fail_if_dearer)
    dearer = fail_if_dearer is not None and (report.tells_nothing or report.comparison.dearer(fail_if_dearer))
    if wants_json(context):
        echo_json(show.document(report, about, compiled.snapshot))
    else:
        click.echo(show.heading(report, about))
        for each in show.tables(report):
            click.echo()
            table.show(each)
        for line in show.notes(report, compiled.snapshot):
            complain(line)
    if dearer:
        complain(f"arbstr: {show.too_dear(report, fail_if_dearer)}")
        context.exit(1)


def run_through(log: ReplayRows, begin: Place, end: Place, again: Replay, report: Report) -> None:
    """Decide all rows from ``begin`` on and before ``end``. Raises as ``log`` does."""
    from arbstr.policy.replay import Ending

    for row in log.rows(log.back(begin, LEAD_IN), begin):
        again.learn(row)
    with _progress(lambda: log.count(begin, end)) as step:
        for number, row in enumerate(log.rows(begin, end), 1):
            if row.ending is Ending.KEPT_OUT:
                report.keep_out(row)
            else:
                report.add(row, again.decide(row))
            if not number % STEP:
                step()


@contextlib.contextmanager
def _progress(count: Callable[[], int]) -> Iterator[Callable[[], None]]:
    """A bar on stderr, where that is a terminal; ``count`` is how many rows there are. What is given is called after
    every :data:`STEP` of them."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count())
        yield lambda: bar.advance(task, STEP)


def _nothing() -> None:
    """Nobody looks on."""


def _span(context: click.Context, preset: str | None, since: str | None, until: str | None) -> Span:
    try:
        return span(preset, since, until, now=time.time())
    except InvalidRequest as error:
        raise click.BadParameter(f"{error}.", context, param_hint=f"--{error.param}") from None


def _outage(context: click.Context, text: str, compiled: Compiled) -> Outage:
    """``alpha``, ``alpha@FROM..TO``, or with one of the two instants left out."""
    from arbstr.policy.replay import Outage

    names = [each.name for each in compiled.providers]
    if text in names:
        return Outage(text)
    provider, _, window = text.rpartition("@")
    begins, dots, ends = window.partition("..")
    if provider not in names:
        raise click.BadParameter(
            f"{text[:80]!r} names no provider of this configuration, expected {' or '.join(names)},"
            " alone or as PROVIDER@FROM..TO.",
            context,
            param_hint="--outage",
        )
    if not dots:
        raise click.BadParameter(f"{text[:80]!r} has no FROM..TO.", context, param_hint="--outage")
    outage = Outage(provider)
    try:
        since = _instant(begins) if begins else outage.since
        until = _instant(ends) if ends else outage.until
    except ValueError as error:
        raise click.BadParameter(f"{error}.", context, param_hint="--outage") from None
    if since >= until:
        raise click.BadParameter(f"{text[:80]!r} ends before it begins.", context, param_hint="--outage")
    return Outage(provider, since, until)


def _instant(text: str) -> float:
    """An instant whose seconds may be left out."""
    match = _NO_SECONDS.fullmatch(text)
    return instant(text if match is None else f"{match[1]}:00{match[2]}")


def _store(context: click.Context, given: Path | None, compiled: Compiled) -> Path:
    """The log that is meant: where --config names another configuration, that of the one that is in use here."""
    if given is not None:
        return given.absolute()
    if config_flag(context) is None:
        return compiled.store
    try:
        current = find(None, environ=os.environ)
    except ConfigError:
        return compiled.store
    return load(current, environ=os.environ).store
