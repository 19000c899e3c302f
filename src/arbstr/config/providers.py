"""Providers as they are called: what is usual for their kind filled in, what does not fit together refused."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from arbstr.config import kinds, schema
from arbstr.config.credentials import Credential
from arbstr.config.leaves import KINDS, MOCK, is_model_name
from arbstr.config.problems import Problems
from arbstr.config.routes import Routes, provider_timeouts
from arbstr.domain.routing import Deployment, ProviderView, Tier, Timeouts
from arbstr.domain.secret import Secret


class ProviderSpec(msgspec.Struct, frozen=True):
    """All that is needed to call one provider."""

    name: str
    """As configured: the key of its circuit, its retry budget and its pool."""
    kind: str
    """As in the configuration, or ``mock`` for the built-in ones of ``serve --mock``."""
    base_url: str
    """Without a trailing slash; of kind openai, paths such as ``/chat/completions`` are appended to it."""
    api_key: Secret | None
    """None: it is called without credentials."""
    key_source: str
    """As in :class:`~arbstr.domain.routing.ProviderView`."""
    tier: Tier
    timeouts: Timeouts
    """Its own; each deployment carries what holds for it."""
    api: str = "chat"
    """Of kind openai: ``chat`` or ``responses``."""
    api_version: str | None = None
    """Of kind azure."""
    region: str | None = None
    """Of kind bedrock."""
    project: str | None = None
    """Of kind gemini: it is Vertex AI, in this project and at ``location``."""
    location: str | None = None
    auto_discover: bool = False
    """It is to be asked for its models."""
    token_command: tuple[str, ...] = ()
    """What prints its bearer token, as a program and its arguments; without any it is ``api_key``."""
    headers: tuple[tuple[str, Secret], ...] = ()
    """Names and values of what goes with every request, beside what its kind needs."""
    deployments: tuple[Deployment, ...] = ()
    """Every model of this provider that some route may choose, each once."""


def check_provider(name: kinds.Name, provider: schema.Provider, problems: Problems, *, mock: bool) -> None:
    kind, path = _kind(name, provider), ("providers", name)
    if kind == MOCK and mock:
        return
    if kind == MOCK:
        problems.add((*path, "kind"), f'"{MOCK}" is for `serve --mock` alone, expected {", ".join(KINDS)}')
    elif provider.base_url is None and kind not in DEFAULT_URLS and kind != "bedrock":
        example = "https://name.openai.azure.com" if kind == "azure" else "https://api.example.com/v1"
        problems.add((*path, "base_url"), f'is missing, expected its URL such as "{example}"')
    for key, owner in (("api_version", "azure"), ("region", "bedrock"), ("project", "gemini"), ("location", "gemini")):
        if getattr(provider, key) is not None and kind != owner:
            problems.add((*path, key), f"is for providers of kind {owner}, expected no such key")
    for key in ("region", "location"):
        if getattr(provider, key) is not None and not _PLACE.match(getattr(provider, key)):
            problems.add((*path, key), 'is no such place, expected a name such as "eu-central-1"')
    for key, other in (("project", "location"), ("location", "project")):
        if getattr(provider, key) is None and getattr(provider, other) is not None:
            problems.add((*path, key), f"is missing, expected it beside {other}")
    if provider.api != "chat" and kind != "openai":
        problems.add((*path, "api"), "is for providers of kind openai, expected no such key")


def check_headers(name: kinds.Name, provider: schema.Provider, key: Credential, problems: Problems) -> None:
    kind, seen = _kind(name, provider), set[str]()
    fetched = provider.token_command is not None or provider.project is not None
    signed = kind == "bedrock" and key.secret is None and not fetched
    for header in provider.headers:
        path, low = ("providers", name, "headers", header), header.lower()
        if low in seen:
            problems.add(path, "is given twice, in upper or lower case, expected each header once")
        elif signed and low in ("authorization", "x-amz-date", "x-amz-security-token"):
            problems.add(path, "is what requests to AWS are signed with, expected another header")
        elif fetched and low == "authorization":
            problems.add(path, f"is where the token of {key.source} goes, expected one of the two")
        elif key.secret is not None and low == CREDENTIAL_HEADERS.get(kind, "authorization"):
            problems.add(path, "is where api_key goes, expected one of the two")
        seen.add(low)


CREDENTIAL_HEADERS = {"azure": "api-key", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}
"""Where a kind of provider wants its ``api_key``, if not in ``authorization``."""


def _kind(name: kinds.Name, provider: schema.Provider) -> str:
    return provider.kind or (name if name in KINDS else "openai")


def whole(name: kinds.Name, provider: schema.Provider) -> schema.Provider:
    """A provider with what is usual for its kind in the place of what was left out."""
    kind = _kind(name, provider)
    local, free = kind == "ollama", kinds.Sats(Decimal(0))
    return msgspec.structs.replace(
        provider,
        kind=kinds.Kind(kind),
        tier=provider.tier or (Tier.LOCAL if local else Tier.STANDARD),
        input_rate=free if local and provider.rates is None and provider.input_rate is None else provider.input_rate,
        output_rate=free if local and provider.rates is None and provider.output_rate is None else provider.output_rate,
    )


MOST_FOUND = 10_000
"""Models of one provider; more are not looked at."""


def with_models(
    providers: Mapping[kinds.Name, schema.Provider], found: Mapping[str, Iterable[str]]
) -> dict[kinds.Name, schema.Provider]:
    """Providers with the models that they were found to have, too. One that is listed under another name keeps the
    settings that it has there."""
    return {
        name: msgspec.structs.replace(provider, models=_models(provider, tuple(found[name])[:MOST_FOUND]))
        if name in found
        else provider
        for name, provider in providers.items()
    }


def _models(provider: schema.Provider, found: Iterable[str]) -> dict[kinds.ModelName, schema.Model]:
    known = {entry.upstream_model: entry for entry in provider.models.values() if entry.upstream_model}
    names = [kinds.ModelName(name) for name in found if is_model_name(name)]
    more = {name: known.get(name, schema.Model()) for name in names if name not in provider.models}
    return {**provider.models, **more}


DEFAULT_URLS = {
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "ollama": "http://127.0.0.1:11434",
}
"""Where a vendor's own API is."""


def catalogued(providers: Mapping[kinds.Name, schema.Provider]) -> dict[kinds.Name, tuple[str, str]]:
    """Kind and URL of each, by which the price catalogue knows them."""
    return {name: (_kind(name, each), _base_url(name, each)) for name, each in providers.items()}


def _base_url(name: kinds.Name, provider: schema.Provider) -> str:
    """The URL that paths are appended to. All kinds but openai want the root, and tolerate its ``/v1``."""
    kind = _kind(name, provider)
    if provider.base_url is None:
        if kind == "bedrock":
            region = provider.region or DEFAULT_REGION
            suffix = ".cn" if region.startswith("cn-") else ""
            return f"https://bedrock-runtime.{region}.amazonaws.com{suffix}"
        if provider.location is not None:
            return _vertex_url(provider.location)
        return DEFAULT_URLS.get(kind, f"{MOCK}://{name}")
    url = provider.base_url.rstrip("/")
    return url if kind == "openai" else url.removesuffix("/v1").removesuffix("/openai")


def _vertex_url(location: str) -> str:
    """Where a location's models are: of one region, of several (``us``), or anywhere."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if "-" not in location:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


DEFAULT_REGION = "us-east-1"
_PLACE = re.compile(r"[a-z][a-z0-9-]{0,62}\Z", re.ASCII)


def provider_spec(name: kinds.Name, config: schema.Config, key: Credential, routes: Routes) -> ProviderSpec:
    provider = config.providers[name]
    return ProviderSpec(
        name=name,
        kind=_kind(name, provider),
        base_url=_base_url(name, provider),
        api=provider.api,
        api_version=provider.api_version,
        region=provider.region or (DEFAULT_REGION if _kind(name, provider) == "bedrock" else None),
        project=provider.project,
        location=provider.location,
        api_key=key.secret,
        key_source=key.source,
        token_command=tuple(shlex.split(provider.token_command or "")),
        headers=tuple((str(header), value.secret) for header, value in provider.headers.items()),
        tier=provider.tier or Tier.STANDARD,
        auto_discover=provider.auto_discover,
        timeouts=provider_timeouts(config, provider),
        deployments=routes.deployments[name],
    )


def provider_view(spec: ProviderSpec) -> ProviderView:
    return ProviderView(
        name=spec.name,
        kind=spec.kind,
        base_url=spec.base_url,
        masked_key=spec.api_key.masked if spec.api_key else None,
        key_source=spec.key_source,
        tier=spec.tier,
        deployments=spec.deployments,
    )
