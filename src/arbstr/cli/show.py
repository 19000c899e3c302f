"""What the commands say of a configuration: as tables for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from arbstr.cli.table import NOTHING, Table
from arbstr.config import Compiled
from arbstr.domain.money import Currency, ExchangeRate, Pico, PicoSats, Rates
from arbstr.domain.routing import Deployment, ProviderView, Route, Strategy
from arbstr.edge.rates import PER, shown_rates
from arbstr.policy.planner import rank
from arbstr.policy.pricing import DEFAULT_OUTPUT_TOKENS

Circuits = Mapping[str, Mapping[str, Any]]

INPUT_TOKENS = 1000
"""Of the request for which candidates are listed in order; its output is what is expected of an unknown model."""

RATES = ("input/1k", "output/1k", "per request")


def keys(compiled: Compiled) -> Table:
    """Where each provider's key comes from."""
    rows = [(view.name, view.key_source, view.masked_key or NOTHING) for view in compiled.snapshot.providers]
    return Table(("provider", "key from", "key"), rows, fold=("key", "key from"))


def providers(compiled: Compiled, circuits: Circuits) -> Table:
    """Who is configured. Rates are a range where its models differ: satoshis, or dollars per million as ``$2.5/M``."""
    rows = [_provider(view, circuits) for view in compiled.snapshot.providers]
    columns = ("provider", "kind", "base url", "key", "tier", *RATES, "models")
    fold = ("base url", "kind", "key", "models", "tier", "per request")
    return Table(columns + (("circuit",) if circuits else ()), rows, frozenset((*RATES, "models")), fold)


def models(compiled: Compiled, circuits: Circuits) -> Table:
    """Which models can be asked for: a row for each candidate, in the order in which they are tried."""
    rate = compiled.snapshot.exchange_rate
    rows = [row for name, route in _routes(compiled) for row in _model_rows(name, route, circuits, rate)]
    columns = ("model", "strategy", "provider", "upstream model", *RATES, *(("circuit",) if circuits else ()))
    fold = ("strategy", "upstream model", "per request")
    return Table(columns, rows, frozenset(RATES), fold, implied=frozenset({"upstream model"}))


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
    """Each model with its candidates in the order in which they are tried."""
    entries = [
        {
            "id": name,
            "strategy": route.strategy.value,
            "candidates": [
                {"provider": each.provider, "model": each.model, **_rates(each), "circuit": circuits.get(each.provider)}
                for each in _in_order(route, compiled.snapshot.exchange_rate)
            ],
        }
        for name, route in _routes(compiled)
    ]
    return {"object": "list", "data": entries}


def _provider(view: ProviderView, circuits: Circuits) -> tuple[str, ...]:
    fixed = (view.name, view.kind, view.base_url, view.masked_key or NOTHING, view.tier.value)
    rates = [each.rates for each in view.deployments]
    spans = tuple(_span(rates, part) for part in _PARTS)
    return (*fixed, *spans, str(len(view.deployments)), *_circuit(view.name, circuits))


def _model_rows(name: str, route: Route, circuits: Circuits, rate: ExchangeRate | None) -> Iterable[tuple[str, ...]]:
    for each in _in_order(route, rate):
        rates = tuple(_span([each.rates], part) for part in _PARTS)
        yield (name, route.strategy.value, each.provider, each.model, *rates, *_circuit(each.provider, circuits))


def _in_order(route: Route, rate: ExchangeRate | None) -> list[Deployment]:
    """The candidates as a plain request finds them; its own size and the circuits may change the order."""
    if route.strategy is Strategy.PRIORITY:
        return list(route.deployments)
    return sorted(
        route.deployments,
        key=lambda each: (rank(each, INPUT_TOKENS, DEFAULT_OUTPUT_TOKENS, rate), each.provider, each.model),
    )


def _routes(compiled: Compiled) -> list[tuple[str, Route]]:
    snapshot = compiled.snapshot
    default = [("(any other)", snapshot.default_route)] if snapshot.default_route else []
    return [*sorted(snapshot.routes.items()), *default]


def _circuit(provider: str, circuits: Circuits) -> tuple[str, ...]:
    return (str(circuits.get(provider, {}).get("state", NOTHING)),) if circuits else ()


_PARTS = ("input", "output", "base_fee")


def _rates(deployment: Deployment) -> dict[str, Any]:
    """As ``GET /v1/providers`` has them, without an exchange rate."""
    return shown_rates(deployment.rates, None)


def _span(rates: Iterable[Rates | None], part: str) -> str:
    """One part of the rates of some models: from the lowest to the highest, in each currency."""
    texts = []
    known = [each for each in rates if each is not None]
    for currency in Currency:
        distinct = sorted({getattr(each, part) for each in known if each.currency is currency})
        ends = distinct if len(distinct) < 2 else [distinct[0], distinct[-1]]
        if ends:
            texts.append("–".join(_price(end, currency, part) for end in ends))
    return ", ".join(texts) or NOTHING


def _price(pico: Pico, currency: Currency, part: str) -> str:
    """Satoshis per 1,000 tokens as a number; dollars as ``$2.5/M``, per million."""
    per = 1 if part == "base_fee" else PER[currency]
    text = sats(PicoSats(pico * per))
    if currency is Currency.SATS:
        return text
    return f"${text}" if part == "base_fee" else f"${text}/M"


def sats(amount: PicoSats) -> str:
    """An amount in satoshis, exactly: ``10``, ``0.25``."""
    text = f"{Decimal(amount).scaleb(-12):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
