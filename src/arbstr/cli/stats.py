"""``arbstr stats``: what requests came to, and what was saved. Reads the database itself, beside a server or not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from arbstr.cli.db import one_line
from arbstr.cli.filters import filter_of, filters
from arbstr.cli.frame import Command, complain, echo_json, load_found, wants_json
from arbstr.config import Compiled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from arbstr.domain.statistics import Filter, Group
    from arbstr.store.stats import Statistics

T = TypeVar("T")

GROUPS = ("model", "provider", "policy", "key", "tier")
COMPARED = ("model", "provider")
"""What savings can be told apart by, beside the day."""
PATIENCE = 120.0
"""Seconds that a query may take: nobody else waits for it."""
MOST_DAYS = 3660
"""Days of savings that are listed, at most."""


@click.command(cls=Command, short_help="Say what requests came to, and what was saved.")
@filters
@click.option("--group-by", type=click.Choice(GROUPS), help="Told apart by these.")
@click.option("--savings", is_flag=True, help="What was saved, by day, or by --group-by model or provider.")
@click.pass_context
def stats(context: click.Context, /, group_by: str | None, savings: bool, **given: str | None) -> None:
    """Say what requests came to: how many, what they cost, how long they took. Of the last seven days, if nothing else
    is asked for.

    The database is read beside a running gateway, or without one.
    """
    from arbstr.cli import stats_show, table
    from arbstr.domain.errors import GatewayError
    from arbstr.domain.span import DEFAULT
    from arbstr.domain.statistics import Group
    from arbstr.store import keys
    from arbstr.store.opened import reading

    if savings and group_by not in (None, *COMPARED):
        raise click.UsageError("--savings can be told apart by model or provider, or by day.", context)
    _, compiled, _ = load_found(context)
    by = None if group_by is None else Group(group_by)
    try:
        with one_line(), reading(compiled.store) as connection:
            which = filter_of(given, connection, default=DEFAULT)
            names = {key.id: key.name for key in keys.load(connection)[1]}
        answer = _savings(compiled.store, which, by) if savings else _stats(compiled, which, by, names)
    except GatewayError as error:
        raise click.ClickException(error.message) from None
    if wants_json(context):
        echo_json(answer)
        return
    table.show(stats_show.savings(answer) if savings else stats_show.stats(answer, group_by))
    complain(f"From {answer['since'] or 'the beginning'} to {answer['until'] or 'now'}.")


def _stats(compiled: Compiled, which: Filter, by: Group | None, names: dict[str, str]) -> dict[str, Any]:
    from arbstr.edge.figures import stats_answer

    found = _asked(compiled.store, lambda store: store.stats(which, group_by=by))
    listed = () if by is None else _listed(compiled, which, by)
    return stats_answer(which, found, group_by=by, listed=listed, key_names=names)


def _savings(path: Path, which: Filter, by: Group | None) -> dict[str, Any]:
    from arbstr.edge.figures import savings_answer

    if by is None and which.since is not None and which.until is not None:
        days = (which.until - which.since) / 86400
        if days > MOST_DAYS:
            raise click.UsageError(f"--since: the range has {days:,.0f} days, expected at most {MOST_DAYS:,}.")
    return savings_answer(which, _asked(path, lambda store: store.savings(which, by=by)), by=by)


def _listed(compiled: Compiled, which: Filter, by: Group) -> Collection[str]:
    """What is configured, and shown even where nothing happened: the one that was asked for, or else all."""
    snapshot = compiled.snapshot
    names = {
        "model": set(snapshot.routes),
        "provider": {view.name for view in snapshot.providers},
        "policy": {rule.name for rule in snapshot.rules},
        "tier": {view.tier.value for view in snapshot.providers},
    }.get(by.value, set())
    asked = None if by.value == "key" else getattr(which, by.value)
    return names if asked is None else names & {asked}


def _asked(path: Path, question: Callable[[Statistics], Awaitable[T]]) -> T:
    """The answer to one question to the log. Raises LogUnavailable."""
    import asyncio

    from arbstr.store.stats import Statistics

    async def work() -> T:
        store = Statistics(path, timeout=PATIENCE)
        try:
            return await question(store)
        finally:
            await store.aclose()

    return asyncio.run(work())
