"""``arbstr keys``: who may use the gateway. Works on the database itself, with a server beside it or without one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from arbstr.cli.frame import Group, complain, echo_json, load_found, wants_json
from arbstr.config import Compiled, units
from arbstr.config.keys import key_change, key_entry
from arbstr.domain.errors import GatewayError, InvalidRequest
from arbstr.domain.identity import Budgets, Key
from arbstr.domain.money import amount_text
from arbstr.domain.secret import Secret

if TYPE_CHECKING:
    from arbstr.cli.table import Table
    from arbstr.policy.key_changes import KeyChange

F = TypeVar("F", bound=Callable[..., Any])

_SETTINGS = {
    "models": ("A,B", "The models that it is for: names, or patterns such as 'gpt-*'. Default: '*', which is all."),
    "policy": ("NAME", "The rule of [policies] that holds for all its requests."),
    "budget_hour": ("AMOUNT", "What it may spend in an hour."),
    "budget_day": ("AMOUNT", "What it may spend in a day."),
    "budget_month": ("AMOUNT", "What it may spend in a month."),
    "budget_total": ("AMOUNT", "What it may spend in all."),
    "budget_currency": ("sats|usd", "What these amounts are in. Default: [budget] currency, or satoshis."),
    "rpm": ("N", "Requests a minute."),
    "tpm": ("N", "Tokens a minute, of input and output together."),
    "max_parallel": ("N", "Requests at a time."),
    "expires": ("WHEN", "When it stops working: 30d from now, 2030-01-31T00:00:00Z, or never."),
}
"""The options of ``create`` and ``update``: what stands for the value, and what it is."""


@click.group(cls=Group)
def keys() -> None:
    """Hand out gateway keys, and take them back.

    Once there was a key, every request to /v1 needs one. A running gateway knows of every change within a second.
    NAME is a key's name or its id.
    """


def _settings(command: F) -> F:
    for name, (metavar, help_text) in reversed(_SETTINGS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, metavar=metavar, help=help_text)(command)
    return command


@keys.command(short_help="Make a key, and print its secret.")
@click.argument("name")
@_settings
@click.pass_context
def create(context: click.Context, /, name: str, **settings: str | None) -> None:
    """Make a key called NAME, and print its secret: this once, as only its hash is kept."""
    from arbstr.store import keys as store

    compiled = _compiled(context)
    change = _change(context, compiled, {"name": name, **settings})
    with _refusals(), store.changing(compiled.store) as connection:
        first = store.generation(connection) == 0
        currency = compiled.snapshot.budget.currency
        key, secret = store.create(connection, change, now=time.time(), currency=currency)
    if first and not wants_json(context):
        complain("This is the first key: from now on every request to /v1 needs one.")
    _print_secret(context, key, secret)


@keys.command("list", short_help="List the keys.")
@click.pass_context
def list_keys(context: click.Context) -> None:
    """List all keys, those that have expired or were revoked too."""
    from arbstr.cli import table
    from arbstr.store import keys as store

    with _refusals(), store.reading(_compiled(context).store) as connection:
        _, found = store.load(connection)
    now = time.time()
    if wants_json(context):
        echo_json({"object": "list", "data": [key_entry(key, now=now) for key in found]})
    else:
        table.show(_list_table(found, now))


@keys.command(short_help="Show a key.")
@click.argument("name")
@click.pass_context
def show(context: click.Context, name: str) -> None:
    """Show what there is to know of a key. Its secret is not among it."""
    from arbstr.store import keys as store

    with _refusals(), store.reading(_compiled(context).store) as connection:
        key = store.get(connection, name)
    _print_key(context, key)


@keys.command(short_help="Change a key.")
@click.argument("name")
@click.option("--name", "new_name", metavar="NAME", help="What it is called from now on.")
@_settings
@click.pass_context
def update(context: click.Context, /, name: str, new_name: str | None, **settings: str | None) -> None:
    """Change what is given, and nothing else. `none` takes a budget, a limit or the policy away."""
    from arbstr.store import keys as store

    compiled = _compiled(context)
    given = {"name": new_name, **settings}
    if all(value is None for value in given.values()):
        raise click.UsageError("There is nothing to change: give one of the options.", context)
    change = _change(context, compiled, given)
    with _refusals(), store.changing(compiled.store) as connection:
        key = store.update(connection, name, change, currency=compiled.snapshot.budget.currency)
    _print_key(context, key)


@keys.command(short_help="Revoke a key for good.")
@click.argument("name")
@click.pass_context
def revoke(context: click.Context, name: str) -> None:
    """Revoke a key for good. It still counts as a key: the gateway does not open again when the last one is revoked."""
    from arbstr.store import keys as store

    with _refusals(), store.changing(_compiled(context).store) as connection:
        key = store.revoke(connection, name, now=time.time())
    if wants_json(context):
        echo_json(key_entry(key, now=time.time()))
    else:
        click.echo(f"The key {key.name} ({key.id}) is revoked.")


def _grace(context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        return units.duration(value, zero=True)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@keys.command(short_help="Give a key a new secret.")
@click.argument("name")
@click.option("--grace", metavar="TIME", default="0s", callback=_grace, help="How long the old secret is good too: 1h.")
@click.pass_context
def rotate(context: click.Context, name: str, grace: float) -> None:
    """Give a key a new secret, and print it: this once. Its budgets, limits and history stay."""
    from arbstr.store import keys as store

    with _refusals(), store.changing(_compiled(context).store) as connection:
        key, secret = store.rotate(connection, name, grace=grace, now=time.time())
    _print_secret(context, key, secret)


def _compiled(context: click.Context) -> Compiled:
    return load_found(context)[1]


def _change(context: click.Context, compiled: Compiled, given: Mapping[str, str | None]) -> KeyChange:
    """What the options say. Raises UsageError, which names the option."""
    fields = {name: value for name, value in given.items() if value is not None}
    policies = [rule.name for rule in compiled.snapshot.rules]
    try:
        return key_change(fields, now=time.time(), policies=policies)
    except InvalidRequest as error:
        raise click.UsageError(_about_option(error), context) from None


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What a key does not allow, and a file that cannot be used, are one line."""
    from arbstr.store.errors import StoreError

    try:
        yield
    except InvalidRequest as error:
        raise click.UsageError(_about_option(error)) from None
    except (GatewayError, StoreError) as error:
        raise click.ClickException(str(error)) from None


def _about_option(error: InvalidRequest) -> str:
    """The message with what it is about as one writes it here: ``--budget-hour`` for ``budget_hour``."""
    message, prefix = str(error), f"{error.param}: "
    if not message.startswith(prefix):
        return message
    option = "NAME" if error.param == "name" else f"--{str(error.param).replace('_', '-')}"
    return f"{option}: {message.removeprefix(prefix)}"


def _print_secret(context: click.Context, key: Key, secret: Secret) -> None:
    """For people what it is about on stderr, so that stdout is the secret alone."""
    if wants_json(context):
        echo_json(key_entry(key, now=time.time()) | {"key": secret.reveal()})
        return
    complain(f"The secret of the key {key.name} ({key.id}), which is shown only this once:")
    click.echo(secret.reveal())


def _print_key(context: click.Context, key: Key) -> None:
    from arbstr.cli import table

    if wants_json(context):
        echo_json(key_entry(key, now=time.time()))
    else:
        table.show(_key_table(key, time.time()))


def _list_table(found: list[Key], now: float) -> Table:
    from arbstr.cli.table import Table

    columns = ("name", "id", "standing", "models", "policy", "budget", "limits", "created", "expires")
    rows = [tuple(_cells(key, now)[name] for name in columns) for key in found]
    return Table(columns, rows, fold=("created", "policy", "id", "limits", "budget", "models", "expires"))


def _key_table(key: Key, now: float) -> Table:
    from arbstr.cli.table import Table

    return Table(("setting", "value"), list(_cells(key, now).items()))


def _cells(key: Key, now: float) -> dict[str, str]:
    from arbstr.cli.table import NOTHING

    limits = {"rpm": key.limits.rpm, "tpm": key.limits.tpm, "at a time": key.limits.max_parallel}
    cells = {
        "name": key.name,
        "id": key.id,
        "standing": key.standing(now).value,
        "models": "all" if key.models is None else ", ".join(key.models),
        "policy": key.policy or NOTHING,
        "budget": NOTHING if key.budgets is None else _budgets(key.budgets),
        "limits": ", ".join(f"{limit} {name}" for name, limit in limits.items() if limit is not None) or NOTHING,
        "created": _time(key.created_at),
        "expires": "never" if key.expires_at is None else _time(key.expires_at),
    }
    if key.revoked_at is not None:
        cells["revoked"] = _time(key.revoked_at)
    if key.previous_until is not None and now < key.previous_until:
        cells["old secret until"] = _time(key.previous_until)
    return cells


def _budgets(budgets: Budgets) -> str:
    """``100 sats a day, 2.5 sats in all``."""
    words = {"hour": "an hour", "day": "a day", "month": "a month", "total": "in all"}
    amounts = ((words[period], amount) for period, amount in budgets.amounts() if amount is not None)
    return ", ".join(f"{amount_text(amount, budgets.currency)} {window}" for window, amount in amounts)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
