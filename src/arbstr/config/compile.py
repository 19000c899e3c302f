"""What a configuration comes to: the frozen values that the composition root wires up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from arbstr.config import schema
from arbstr.config.alerts import alert_secrets, compile_alerts
from arbstr.config.catalogued import Prices
from arbstr.config.credentials import credentials
from arbstr.config.money import ExchangeTable, check_exchange, compile_budget, compile_rate
from arbstr.config.problems import Problem, Problems, nearest
from arbstr.config.providers import (
    ProviderSpec,
    catalogued,
    check_headers,
    check_provider,
    provider_spec,
    provider_view,
    whole,
    with_models,
)
from arbstr.config.rates import check_rates
from arbstr.config.routes import Routes, build_routes
from arbstr.config.warnings import warnings
from arbstr.domain.alert import Target
from arbstr.domain.limits import Limits
from arbstr.domain.money import PicoSats, pico_each
from arbstr.domain.routing import (
    BreakerSettings,
    BudgetSettings,
    Capabilities,
    PolicyRule,
    RetrySettings,
    Snapshot,
)
from arbstr.domain.secret import Secret

DEAREST = "dearest"


class LogSettings(msgspec.Struct, frozen=True):
    level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""
    format: str = "json"
    """``json`` or ``text``."""


class Compiled(msgspec.Struct, frozen=True):
    """A configuration without a problem in it, ready to be wired up."""

    snapshot: Snapshot
    host: str
    """The address to listen on; IPv6 without its brackets."""
    port: int
    """0: any free one."""
    drain_timeout: float
    """Seconds that requests in flight have to finish after SIGTERM."""
    store: Path
    """The SQLite file, absolute."""
    keep: float | None
    """Seconds for which rows of the request log are kept; None: for ever."""
    log: LogSettings
    providers: tuple[ProviderSpec, ...]
    """In configured order."""
    allow_unauthenticated: bool = False
    """The operator wants to be reachable beyond loopback without keys."""
    needs_keys: bool = False
    """It can be reached from other machines, so that it must not serve before there is a key."""
    listen_origin: str = "arbstr"
    """The file, the variable or the flag that says where to listen."""
    exchange: ExchangeTable = ExchangeTable()
    """Who is asked for the exchange rate, and how often."""
    admin_key: Secret | None = None
    alerts: tuple[Target, ...] = ()
    """Who is told when something is wrong."""
    source: Path | None = None
    """The file it was read from; None for the built-in mock configuration."""
    discovered: Callable[[Mapping[str, Iterable[str]]], Snapshot] | None = None
    """The snapshot with models that providers were found to have, by the provider's name."""
    warnings: tuple[str, ...] = ()
    """What is allowed and probably not meant, one line each: ``path.to.key: what, and what to do``."""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret in it, for those who must keep them out of what they write."""
        keys = [provider.api_key for provider in self.providers] + [self.admin_key]
        values = [value for provider in self.providers for _, value in provider.headers]
        return (
            *(key for key in keys if key is not None),
            *values,
            *(part for each in values for part in _parts(each)),
            *alert_secrets(self.alerts),
            *(Secret(query) for source in self.exchange.sources if len(query := urlsplit(source.url).query) > 15),
        )


def keys_missing(compiled: Compiled) -> Problem:
    """Why a gateway that others can reach does not start while there is no key."""
    return Problem(
        compiled.listen_origin,
        _LISTEN,
        "can be reached from other machines, and no keys protect it; expected a loopback address such as "
        "127.0.0.1:8080, a key (arbstr keys create), auth.required = true, or allow_unauthenticated = true"
        " (ARBSTR_SERVER__ALLOW_UNAUTHENTICATED=true)",
    )


_LISTEN = ("server", "listen")


def _parts(value: Secret) -> tuple[Secret, ...]:
    """What stands behind the scheme of a credential (``Bearer abc``): it may be quoted without it."""
    _, _, credential = value.reveal().partition(" ")
    return (Secret(credential),) if credential else ()


def compile_config(
    config: schema.Config,
    problems: Problems,
    *,
    environ: Mapping[str, str],
    folder: Path,
    source: Path | None,
    at: datetime | None = None,
    found: Mapping[str, Iterable[str]] | None = None,
) -> Compiled:
    """All of ``config``, or :class:`~arbstr.config.problems.ConfigError` with every problem that was found.

    ``folder`` is what relative paths are relative to. ``source`` is the file; without one, and only then, providers
    may be of kind mock. Prices of the catalogue are those at ``at`` (aware; now by default). ``found`` are models that
    providers were found to have, beside those that are configured.
    """
    written = config
    config = msgspec.structs.replace(
        config,
        providers={name: whole(name, each) for name, each in with_models(config.providers, found or {}).items()},
    )
    keys = credentials(config.providers, environ, problems)
    check_rates(config.providers, problems)
    prices = Prices(catalogued(config.providers), at if at is not None else datetime.now(UTC))
    routes = build_routes(config, problems, prices)
    specs = []
    for name, provider in config.providers.items():
        check_provider(name, provider, problems, mock=source is None)
        check_headers(name, provider, keys[name], problems)
        specs.append(provider_spec(name, config, keys[name], routes))
    _check_retry(config.resilience.retry, problems)
    rules = _rules(config.policies, problems)
    budget = compile_budget(config.budget)
    if found is None:  # what is found later must not stop a gateway that runs
        every = (*routes.by_model.values(), *((routes.default,) if routes.default else ()))
        check_exchange(config.pricing.exchange, budget, every, rules, problems)
    alerts = compile_alerts(config.alerts, problems)
    if config.savings.baseline != DEAREST and config.savings.baseline not in config.providers:
        hint = nearest(config.savings.baseline, [DEAREST, *config.providers]) or f", expected {DEAREST} or a provider"
        problems.add(("savings", "baseline"), f'there is no provider "{config.savings.baseline}"{hint}')
    problems.raise_if_any()
    server = config.server

    def discovered(found: Mapping[str, Iterable[str]]) -> Snapshot:
        again = compile_config(
            written, Problems(problems.file), environ=environ, folder=folder, source=source, found=found
        )
        return again.snapshot

    return Compiled(
        snapshot=_snapshot(config, routes, rules, tuple(specs), budget, prices.until),
        host=server.listen.host,
        port=server.listen.port,
        drain_timeout=server.drain_timeout,
        store=Path(os.path.abspath(folder / config.store.url)),
        keep=config.store.keep,
        log=LogSettings(level=config.logging.level, format=config.logging.format),
        providers=tuple(specs),
        allow_unauthenticated=server.allow_unauthenticated,
        listen_origin=problems.origins.get(_LISTEN, problems.file),
        needs_keys=not (server.listen.loopback or server.allow_unauthenticated or config.auth.required),
        exchange=config.pricing.exchange,
        admin_key=server.admin_key.secret if server.admin_key else None,
        alerts=alerts,
        source=source,
        discovered=discovered,
        warnings=tuple(warnings(config, {name: key.source for name, key in keys.items()}, routes)),
    )


def _check_retry(retry: schema.Retry, problems: Problems) -> None:
    if retry.max_backoff < retry.initial_backoff:
        path = ("resilience", "retry", "max_backoff")
        problems.add(path, f"is shorter than initial_backoff, expected {retry.initial_backoff:g}s or more")


def _rules(policies: schema.Policies, problems: Problems) -> tuple[PolicyRule, ...]:
    names: set[str] = set()
    for index, rule in enumerate(policies.rules):
        if rule.name in names:
            problems.add(("policies", "rules", index, "name"), f'"{rule.name}" is given twice, expected each name once')
        names.add(rule.name)
    return tuple(
        PolicyRule(
            name=rule.name,
            allowed_models=frozenset(rule.allowed_models) if rule.allowed_models is not None else None,
            strategy=rule.strategy,
            max_output_rate=_output_rate(rule.max_sats_per_1k_output),
            keywords=tuple(word.strip() for word in rule.keywords),
        )
        for rule in policies.rules
    )


def _output_rate(sats: Decimal | None) -> PicoSats | None:
    return None if sats is None else PicoSats(pico_each(sats, 1000))


def _snapshot(
    config: schema.Config,
    routes: Routes,
    rules: tuple[PolicyRule, ...],
    specs: tuple[ProviderSpec, ...],
    budget: BudgetSettings,
    prices_until: datetime | None,
) -> Snapshot:
    retry, breaker = config.resilience.retry, config.resilience.circuit_breaker
    return Snapshot(
        routes=routes.by_model,
        default_route=routes.default,
        rules=rules,
        providers=tuple(provider_view(spec) for spec in specs),
        retry=RetrySettings(
            max_attempts=retry.max_attempts,
            initial_backoff=retry.initial_backoff,
            max_backoff=retry.max_backoff,
            backoff_multiplier=float(retry.backoff_multiplier),
            retryable_statuses=frozenset(retry.retryable_errors),
        ),
        breaker=BreakerSettings(
            failure_threshold=breaker.failure_threshold,
            success_threshold=breaker.success_threshold,
            timeout=breaker.timeout,
            half_open_max_requests=breaker.half_open_max_requests,
        ),
        knows_capabilities=any(
            deployment.capabilities != Capabilities() for spec in specs for deployment in spec.deployments
        ),
        request_timeout=config.resilience.timeout.request,
        max_body=config.server.max_body,
        max_in_flight=config.server.max_in_flight,
        stream_metadata=config.server.stream_metadata,
        budget=budget,
        exchange_rate=compile_rate(config.pricing.exchange),
        rate_max_age=config.pricing.exchange.max_age,
        auth_required=config.auth.required,
        baseline=None if config.savings.baseline == DEAREST else config.savings.baseline,
        prices_until=prices_until.timestamp() if prices_until is not None else None,
        trusted_proxies=config.server.trusted_proxies,
        limits=Limits(rpm=config.limits.rpm, tpm=config.limits.tpm, max_parallel=config.limits.max_parallel),
    )
