"""``arbstr prices``: what a model costs, and where."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import click

from arbstr.cli.frame import Command, complain, config_flag, echo_json, load_found, wants_json
from arbstr.config import Compiled, ConfigError, find
from arbstr.domain.money import ExchangeRate

_MOST = Decimal(10**12)
_FLAG = "--sats-per-usd"


def _rate(context: click.Context, parameter: click.Parameter, value: str | None) -> Decimal | None:
    if value is None:
        return None
    try:
        rate = Decimal(value)
    except InvalidOperation:
        rate = Decimal(0)
    if not (rate.is_finite() and 0 < rate < _MOST):
        raise click.BadParameter(f"{value!r} is no exchange rate, expected satoshis for a dollar, above 0.", context)
    return rate


@click.command(cls=Command, short_help="List what a model costs, and where.")
@click.argument("model")
@click.option(_FLAG, metavar="N", callback=_rate, help="Instead of [pricing.exchange] sats_per_usd.")
@click.pass_context
def prices(context: click.Context, model: str, sats_per_usd: Decimal | None) -> None:
    """List what MODEL costs at the configured providers and at all that the price catalogue knows, cheapest first.

    Without a configuration, it is the catalogue alone.
    """
    from arbstr.catalogue import shipped
    from arbstr.cli import offers, table

    exchange = None if sats_per_usd is None else ExchangeRate.of(sats_per_usd, source=_FLAG)
    compiled = _configuration(context, sats_per_usd)
    if exchange is None and compiled is not None:
        exchange = compiled.snapshot.exchange_rate
    catalogue = shipped()
    found = offers.configured(compiled, model) if compiled is not None else []
    found += [offers.known(listing) for listing in catalogue.offers(model, datetime.now(UTC))]
    if not found:
        near = catalogue.near(model)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise click.ClickException(f'No price is known for "{model}".{hint}')
    ordered = offers.in_order(found, exchange)
    if wants_json(context):
        rate = exchange.sats_per_usd if exchange else None
        head = {"object": "list", "model": model, "sats_per_usd": rate, "catalogue": catalogue.compiled_from}
        echo_json({**head, "as_of": catalogue.as_of.isoformat(), "data": offers.json(ordered, exchange)})
        return
    table.show(offers.table(ordered, exchange))
    complain(
        f"Cheapest first, for {offers.INPUT_TOKENS} tokens of input and {offers.OUTPUT_TOKENS} of output. "
        f"The catalogue is {catalogue.compiled_from} as of {catalogue.as_of}."
    )
    if exchange is None and len({each.rates.currency for each in found if each.rates is not None}) > 1:
        complain("Dollars and satoshis are not compared without an exchange rate: --sats-per-usd.")


def _configuration(context: click.Context, sats_per_usd: Decimal | None) -> Compiled | None:
    """None where none is named and none is found."""
    try:
        find(config_flag(context), environ=os.environ)
    except ConfigError:
        return None
    flags: dict[tuple[str, ...], tuple[str, str]] = {}
    if sats_per_usd is not None:
        flags["pricing", "exchange", "sats_per_usd"] = (_FLAG, str(sats_per_usd))
    _, compiled, _ = load_found(context, flags)
    return compiled
