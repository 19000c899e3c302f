"""From what is configured to who can serve which model."""

from __future__ import annotations

import msgspec

from arbstr.config import kinds, schema
from arbstr.config.catalogued import Prices
from arbstr.config.problems import Path, Problems, nearest
from arbstr.config.rates import rates_of
from arbstr.config.units import shown
from arbstr.domain.routing import Capabilities, Deployment, Route, Strategy, Tier, Timeouts

DEFAULT = "default"
"""The route that takes the models that nobody lists."""


REFUSED = {kind: frozenset({"embeddings"}) for kind in ("anthropic", "gemini", "bedrock")}
"""Of a kind of provider, the dialects of callers whom it cannot serve."""


class Routes(msgspec.Struct, frozen=True):
    by_model: dict[str, Route]
    default: Route | None
    deployments: dict[str, tuple[Deployment, ...]]
    """Of each provider, every deployment that a route may choose, each once."""


def build_routes(config: schema.Config, problems: Problems, prices: Prices) -> Routes:
    """Every route: those of ``[models]``, and one for each model that a provider lists and that has none there."""
    builder = _Builder(config, problems, prices)
    explicit = {str(name): builder.explicit(name, route) for name, route in config.models.items()}
    default = explicit.pop(DEFAULT, None)
    by_model = {str(name): builder.implicit(name) for name in builder.listed() if name not in explicit}
    by_model |= {name: route for name, route in explicit.items() if route}
    used = [deployment for route in (*by_model.values(), default) if route for deployment in route.deployments]
    deployments = {
        str(provider): tuple(dict.fromkeys(deployment for deployment in used if deployment.provider == provider))
        for provider in config.providers
    }
    return Routes(by_model=by_model, default=default, deployments=deployments)


def provider_timeouts(config: schema.Config, provider: schema.Provider) -> Timeouts:
    """What holds for a provider: its own, else the general ones."""
    general = config.resilience.timeout
    base = Timeouts(connect=general.connect, first_token=general.first_token, answer=general.answer, idle=general.idle)
    return _overridden(base, provider.timeout)


def _overridden(base: Timeouts, own: schema.Timeout) -> Timeouts:
    given = {name: value for name, value in msgspec.structs.asdict(own).items() if value is not None}
    return msgspec.structs.replace(base, **given)


class _Builder:
    def __init__(self, config: schema.Config, problems: Problems, prices: Prices) -> None:
        self._config = config
        self._prices = prices
        self._problems = problems

    def listed(self) -> list[kinds.ModelName]:
        """The models that providers list, in configured order, each once."""
        return list(dict.fromkeys(model for provider in self._config.providers.values() for model in provider.models))

    def implicit(self, model: kinds.ModelName) -> Route:
        """Every provider that lists the model, by the default strategy."""
        return Route(model=model, strategy=self._config.policies.default_strategy, deployments=self._sellers(model))

    def explicit(self, model: kinds.ModelName, route: schema.Route) -> Route | None:
        """A route as it was written, or None where something is wrong with it."""
        path: Path = ("models", model)
        if self._problems.within(path):
            return None
        self._check_form(route, path)
        deployments = self._endpoints(model, route, path)
        if not route.primary and not route.endpoints:
            deployments = self._sellers(model)
        if not deployments and any(provider.auto_discover for provider in self._config.providers.values()):
            return None  # until somebody is found to have it
        if not deployments and not self._problems.within(path):
            self._problems.add(path, "has no endpoint and no provider lists it, expected primary or endpoints")
        by_default = Strategy.PRIORITY if route.primary else self._config.policies.default_strategy
        strategy = route.strategy or by_default
        return Route(model=model, strategy=strategy, deployments=deployments, commit=route.commit)

    def _check_form(self, route: schema.Route, path: Path) -> None:
        if route.primary and route.endpoints:
            self._problems.add((*path, "endpoints"), "is given beside primary, expected one of the two")
        if route.fallbacks and not route.primary:
            self._problems.add((*path, "fallbacks"), "is given without primary, expected who is tried first there")

    def _endpoints(self, model: kinds.ModelName, route: schema.Route, path: Path) -> tuple[Deployment, ...]:
        """The deployments of the route's own endpoints; two that are the same would only repeat a failure."""
        places: list[tuple[Path, schema.Endpoint]] = [((*path, "primary"), route.primary)] if route.primary else []
        places += [((*path, "fallbacks", index), endpoint) for index, endpoint in enumerate(route.fallbacks)]
        places += [((*path, "endpoints", index), endpoint) for index, endpoint in enumerate(route.endpoints)]
        found: dict[str, Deployment] = {}
        for place, endpoint in places:
            deployment = self._endpoint(model, endpoint, place)
            if deployment and deployment.name in found:
                self._problems.add(place, f"is {deployment.name} once more, expected each endpoint once")
            elif deployment:
                found[deployment.name] = deployment
        return tuple(found.values())

    def _endpoint(self, route: kinds.ModelName, endpoint: schema.Endpoint, place: Path) -> Deployment | None:
        known = self._config.providers
        if endpoint.provider not in known:
            hint = (
                nearest(endpoint.provider, known) or f", expected one of {', '.join(known) or 'those in [providers]'}"
            )
            self._problems.add((*place, "provider"), f"there is no provider {shown(endpoint.provider)}{hint}")
            return None
        if endpoint.model is None and route == DEFAULT:
            self._problems.add((*place, "model"), "is missing, expected the model that answers for unknown ones")
            return None
        return self._deployment(endpoint.provider, endpoint.model or route)

    def _sellers(self, model: kinds.ModelName) -> tuple[Deployment, ...]:
        providers = self._config.providers
        return tuple(self._deployment(name, model) for name, provider in providers.items() if model in provider.models)

    def _deployment(self, name: kinds.Name, model: kinds.ModelName) -> Deployment:
        """``model`` at that provider: as it lists it, else by the name it knows it by, else unlisted at its rates."""
        provider = self._config.providers[name]
        same = (listed for listed, entry in provider.models.items() if entry.upstream_model == model)
        listed = model if model in provider.models else next(same, model)
        entry = provider.models.get(listed, schema.Model())
        upstream = entry.upstream_model or listed
        rates = rates_of(("providers", name, "models", listed), entry, provider, self._problems)
        window = entry.context_window
        if rates is None or window is None:
            listing = self._prices(name, upstream)
            if listing is not None:
                rates = listing.rates if rates is None else rates
                window = listing.context_window if window is None else window
        return Deployment(
            provider=name,
            model=upstream,
            rates=rates,
            tier=provider.tier or Tier.STANDARD,
            timeouts=_overridden(provider_timeouts(self._config, provider), entry.timeout),
            context_window=window,
            capabilities=Capabilities(
                tools=entry.tools,
                vision=entry.vision,
                json=entry.json,
                reasoning=entry.reasoning,
                max_output=entry.max_output,
            ),
            refuses=REFUSED.get(provider.kind or name, frozenset()),
        )
