"""Tables for people: by rich on a terminal, aligned text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import click
import msgspec

from arbstr.config import Compiled
from arbstr.domain.money import PicoSats
from arbstr.domain.routing import Deployment, ProviderView, Route

Circuits = Mapping[str, Mapping[str, Any]]


class Table(msgspec.Struct, frozen=True):
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: frozenset[str] = frozenset()
    """The columns that are set flush right."""


RATES = ("input/1k", "output/1k", "per request")


def keys(compiled: Compiled) -> Table:
    """Where each provider's key comes from."""
    rows = [(view.name, view.key_source, view.masked_key or "–") for view in compiled.snapshot.providers]
    return Table(("provider", "key from", "key"), rows)


def providers(compiled: Compiled, circuits: Circuits) -> Table:
    """Who is configured. Rates are in satoshis, and a range where its models differ."""
    rows = [_provider(view, circuits) for view in compiled.snapshot.providers]
    columns = ("provider", "kind", "base url", "key", "tier", *RATES, "models")
    return Table(columns + (("circuit",) if circuits else ()), rows, frozenset((*RATES, "models")))


def models(compiled: Compiled, circuits: Circuits) -> Table:
    """Which models can be asked for: a row for each provider that may serve it, in configured order."""
    rows = [row for name, route in _routes(compiled) for row in _model_rows(name, route, circuits)]
    columns = ("model", "strategy", "provider", "upstream model", *RATES)
    return Table(columns + (("circuit",) if circuits else ()), rows, frozenset(RATES))


def providers_json(compiled: Compiled, circuits: Circuits) -> dict[str, Any]:
    """As ``GET /v1/providers`` answers; ``circuit`` is null where the gateway is not running."""
    entries = [
        {
            "name": view.name,
            "kind": view.kind,
            "base_url": view.base_url,
            "tier": view.tier.value,
            "api_key": view.masked_key,
            "key_source": view.key_source,
            "circuit": circuits.get(view.name),
            "models": [_deployment_json(each) for each in view.deployments],
        }
        for view in compiled.snapshot.providers
    ]
    return {"object": "list", "data": entries}


def _deployment_json(deployment: Deployment) -> dict[str, Any]:
    return {"model": deployment.model, **_rates(deployment), "context_window": deployment.context_window}


def keys_json(compiled: Compiled) -> list[dict[str, Any]]:
    views = compiled.snapshot.providers
    return [{"name": view.name, "api_key": view.masked_key, "key_source": view.key_source} for view in views]


def models_json(compiled: Compiled, circuits: Circuits) -> dict[str, Any]:
    """Each model with its candidates in configured order."""
    entries = [
        {
            "id": name,
            "strategy": route.strategy.value,
            "candidates": [
                {"provider": each.provider, "model": each.model, **_rates(each), "circuit": circuits.get(each.provider)}
                for each in route.deployments
            ],
        }
        for name, route in _routes(compiled)
    ]
    return {"object": "list", "data": entries}


def table(content: Table) -> None:
    """Print it; nothing but the heading where it has no rows."""
    if sys.stdout is not None and sys.stdout.isatty():
        _rich(content)
        return
    widths = [max(map(len, column)) for column in zip(content.columns, *content.rows, strict=True)]
    for row in (content.columns, *content.rows):
        cells = zip(content.columns, row, widths, strict=True)
        line = [cell.rjust(width) if name in content.numbers else cell.ljust(width) for name, cell, width in cells]
        click.echo("  ".join(line).rstrip())


def _rich(content: Table) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=SIMPLE_HEAD, pad_edge=False)
    for name in content.columns:
        shown.add_column(name, justify="right" if name in content.numbers else "left", overflow="fold")
    for row in content.rows:
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)


def _provider(view: ProviderView, circuits: Circuits) -> tuple[str, ...]:
    fixed = (view.name, view.kind, view.base_url, view.masked_key or "–", view.tier.value)
    rates = zip(*(_rates_picosats(each) for each in view.deployments), strict=True)
    spans = tuple(_span(values) for values in rates) or ("–", "–", "–")
    return (*fixed, *spans, str(len(view.deployments)), *_circuit(view.name, circuits))


def _model_rows(name: str, route: Route, circuits: Circuits) -> Iterable[tuple[str, ...]]:
    for each in route.deployments:
        rates = tuple(sats(rate) for rate in _rates_picosats(each))
        yield (name, route.strategy.value, each.provider, each.model, *rates, *_circuit(each.provider, circuits))


def _routes(compiled: Compiled) -> list[tuple[str, Route]]:
    snapshot = compiled.snapshot
    default = [("(any other)", snapshot.default_route)] if snapshot.default_route else []
    return [*sorted(snapshot.routes.items()), *default]


def _circuit(provider: str, circuits: Circuits) -> tuple[str, ...]:
    return (str(circuits.get(provider, {}).get("state", "–")),) if circuits else ()


def _rates_picosats(deployment: Deployment) -> tuple[PicoSats, PicoSats, PicoSats]:
    """Per 1,000 input tokens, per 1,000 output tokens, per request."""
    rates = deployment.rates
    return PicoSats(rates.input * 1000), PicoSats(rates.output * 1000), rates.base_fee


def _rates(deployment: Deployment) -> dict[str, float]:
    names = ("input_rate", "output_rate", "base_fee")
    return {name: float(sats(rate)) for name, rate in zip(names, _rates_picosats(deployment), strict=True)}


def _span(values: Iterable[PicoSats]) -> str:
    distinct = sorted(set(values))
    ends = [distinct[0]] if len(distinct) == 1 else [distinct[0], distinct[-1]]
    return "–".join(sats(end) for end in ends)


def sats(amount: PicoSats) -> str:
    """An amount in satoshis, exactly: ``10``, ``0.25``."""
    text = f"{Decimal(amount).scaleb(-12):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
