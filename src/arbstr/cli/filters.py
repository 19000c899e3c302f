"""Which requests of the log a command is about: the options of ``stats`` and ``logs``, the same words as over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import sqlite3

    from arbstr.domain.errors import InvalidRequest
    from arbstr.domain.statistics import Filter

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = {
    "range": ("RANGE", "last_1h, last_24h, last_7d or last_30d."),
    "since": ("TIME", "From this instant on: 2026-11-01T00:00:00Z."),
    "until": ("TIME", "Before this instant. Default: now."),
    "model": ("NAME", "The model that was asked for."),
    "provider": ("NAME", "The provider that served; '' is none."),
    "policy": ("NAME", "The policy that held; '' is none."),
    "key": ("NAME", "The gateway key, by name or id; '' is none."),
    "tier": ("TIER", "local, standard or frontier: of the provider that served; '' is none."),
    "success": ("true|false", "Whether it succeeded."),
    "streaming": ("true|false", "Whether a stream was asked for."),
    "status": ("N", "The HTTP status that the caller was given."),
    "min_cost": ("SATS", "Requests that are known to have cost as much."),
}
"""What stands for the value, and what it is."""


def filters(command: F) -> F:
    """Give a command these options; it is handed each as a text, or None."""
    for name, (metavar, help_text) in reversed(OPTIONS.items()):
        option = click.option(f"--{name.replace('_', '-')}", name, metavar=metavar, help=help_text)
        command = option(command)
    return command


def filter_of(given: Mapping[str, str | None], connection: sqlite3.Connection, *, default: str | None) -> Filter:
    """What the options say. ``default`` is the range where none is given; None: all time.

    Raises UsageError, which names the option, and NotFound for a key that does not exist.
    """
    import msgspec

    from arbstr.domain.errors import InvalidRequest
    from arbstr.edge.filters import take_filter
    from arbstr.store import keys

    asked = {name: value for name, value in given.items() if value is not None}
    named = asked.pop("key", None)
    try:
        which = take_filter(asked, now=time.time(), default=default)
    except InvalidRequest as error:
        raise click.UsageError(about_option(error)) from None
    if named is None or named == "":
        return msgspec.structs.replace(which, key_id=named)
    return msgspec.structs.replace(which, key_id=keys.get(connection, named).id)


def about_option(error: InvalidRequest) -> str:
    """The message with what it is about as one writes it here: ``--min-cost is …`` for ``min_cost is …``."""
    message, name = error.message, str(error.param)
    return f"--{name.replace('_', '-')}{message.removeprefix(name)}" if message.startswith(name) else message
