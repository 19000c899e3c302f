"""From a provider's kind to the object that calls it: dialects, paths, credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from arbstr.config.providers import ProviderSpec
from arbstr.domain.secret import Secret
from arbstr.ports import Clock, Provider
from arbstr.upstream.aws import AwsSigner
from arbstr.upstream.command import TokenCommand
from arbstr.upstream.credentials_aws import CredentialChain
from arbstr.upstream.discover import Listing
from arbstr.upstream.google import GoogleTokens
from arbstr.upstream.http import HttpProvider, Signer
from arbstr.upstream.mock import MockProvider
from arbstr.upstream.offers import Endpoint, Offer
from arbstr.upstream.pool import Pool
from arbstr.upstream.redact import Redactor
from arbstr.upstream.tokens import TokenSigner


@dataclass(frozen=True, slots=True)
class Means:
    """What every provider is made with."""

    pool: Pool
    redact: Redactor
    clock: Clock


Factory = Callable[[ProviderSpec, Means], Provider]


def _fixed(path: str) -> Callable[[str, bool], str]:
    return lambda model, stream: path


def openai_offer(
    *,
    chat: Callable[[str, bool], str],
    base: Callable[[str], Callable[[str, bool], str]],
    ignores: frozenset[str] = frozenset(),
) -> Offer:
    """What OpenAI-compatible APIs have, at ``base`` of each operation's name.

    ``ignores`` are fields that the server takes without effect: they are named as dropped.
    """
    from arbstr.dialects.chat import ChatProvider
    from arbstr.dialects.embeddings import EmbeddingsProvider

    speech = ChatProvider(ignores=ignores)
    plain = ChatProvider(stream_options=False, ignores=ignores)
    endpoint = Endpoint("openai", chat, speech, plain_speech=plain)
    natives = {
        "openai": endpoint,
        "completions": Endpoint("completions", base("completions"), speech),
        "embeddings": Endpoint("embeddings", base("embeddings"), EmbeddingsProvider()),
    }
    return Offer(endpoint, natives)


def _openai(spec: ProviderSpec, means: Means) -> Provider:
    offer = openai_offer(chat=_fixed("/chat/completions"), base=lambda name: _fixed(f"/{name}"))
    if spec.api == "responses":
        from arbstr.dialects.responses import ResponsesProvider

        endpoint = Endpoint("responses", _fixed("/responses"), ResponsesProvider())
        natives = {**offer.natives, "responses": endpoint}
        del natives["openai"]
        offer = Offer(endpoint, natives)
    return _http(spec, means, offer, _bearer(spec.api_key))


def _azure(spec: ProviderSpec, means: Means) -> Provider:
    """With an ``api_version`` by deployment, without one by ``/openai/v1``."""
    version = spec.api_version
    if version is None:
        offer = openai_offer(chat=_fixed("/openai/v1/chat/completions"), base=lambda name: _fixed(f"/openai/v1/{name}"))
    else:
        offer = openai_offer(
            chat=_deployment_path("chat/completions", version), base=lambda name: _deployment_path(name, version)
        )
    return _http(spec, means, offer, _header("api-key", spec.api_key))


def _deployment_path(operation: str, version: str) -> Callable[[str, bool], str]:
    query = f"?api-version={quote(version, safe='')}"
    return lambda model, stream: f"/openai/deployments/{quote(model, safe='')}/{operation}{query}"


def _anthropic(spec: ProviderSpec, means: Means) -> Provider:
    from arbstr.dialects import anthropic

    endpoint = Endpoint("anthropic", _fixed(anthropic.PATH), anthropic.PROVIDER, headers=_anthropic_headers())
    return _http(spec, means, Offer(endpoint, {"anthropic": endpoint}), _header(anthropic.KEY_HEADER, spec.api_key))


def _anthropic_headers() -> tuple[str, ...]:
    from arbstr.dialects.anthropic import API_VERSION

    return (f"anthropic-version: {API_VERSION}",)


def _gemini(spec: ProviderSpec, means: Means) -> Provider:
    from arbstr.dialects import gemini

    if spec.project is None or spec.location is None:
        endpoint = Endpoint("gemini", gemini.path, gemini.GeminiDialect())
        return _http(spec, means, Offer(endpoint), _header(gemini.KEY_HEADER, spec.api_key))
    path = partial(gemini.vertex_path, project=spec.project, location=spec.location)
    endpoint = Endpoint("gemini", path, gemini.GeminiDialect())
    signer = TokenSigner(GoogleTokens().fetch, clock=means.clock, learn=partial(means.redact.learn, spec.name))
    return _http(spec, means, Offer(endpoint), (), signer)


def _ollama(spec: ProviderSpec, means: Means) -> Provider:
    """By its OpenAI-compatible API, which keeps tools, images and usage."""
    from arbstr.dialects.chat import OLLAMA_IGNORES

    offer = openai_offer(
        chat=_fixed("/v1/chat/completions"), base=lambda name: _fixed(f"/v1/{name}"), ignores=OLLAMA_IGNORES
    )
    return _http(spec, means, offer, _bearer(spec.api_key))


def _bedrock(spec: ProviderSpec, means: Means) -> Provider:
    from arbstr.dialects import bedrock

    endpoint = Endpoint("bedrock", bedrock.path, bedrock.BedrockDialect(), accept="*/*")
    signer = None
    if spec.api_key is None and not spec.token_command:
        chain = CredentialChain(means.clock, learn=partial(means.redact.learn, spec.name))
        signer = AwsSigner(base_url=spec.base_url, region=spec.region or "us-east-1", credentials=chain)
    return _http(spec, means, Offer(endpoint), _bearer(spec.api_key), signer)


def _mock(spec: ProviderSpec, means: Means) -> Provider:
    return MockProvider(spec.name)


def _http(
    spec: ProviderSpec, means: Means, offer: Offer, credentials: Sequence[str], signer: Signer | None = None
) -> HttpProvider:
    if spec.token_command:
        signer = _by_command(spec, means)
    return HttpProvider(
        means.pool,
        base_url=spec.base_url,
        offer=offer,
        credentials=(*credentials, *(f"{name}: {value.reveal()}" for name, value in spec.headers)),
        signer=signer,
        redact=means.redact,
    )


def _by_command(spec: ProviderSpec, means: Means) -> Signer:
    command = TokenCommand(spec.token_command, means.clock)
    return TokenSigner(command.fetch, clock=means.clock, learn=partial(means.redact.learn, spec.name))


def _bearer(key: Secret | None) -> Sequence[str]:
    return _header("authorization", key, "Bearer ")


def _header(name: str, key: Secret | None, prefix: str = "") -> Sequence[str]:
    return () if key is None else (f"{name}: {prefix}{key.reveal()}",)


KINDS: dict[str, Factory] = {
    "openai": _openai,
    "azure": _azure,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "ollama": _ollama,
    "bedrock": _bedrock,
    "mock": _mock,
}


def build(specs: Sequence[ProviderSpec], means: Means) -> dict[str, Provider]:
    """Every configured provider by name. Calls nobody."""
    return {spec.name: KINDS[spec.kind](spec, means) for spec in specs}


def listings(specs: Sequence[ProviderSpec], providers: Mapping[str, Provider]) -> list[Listing]:
    """The calls that list the models of those who are to be asked for theirs. Calls nobody."""
    return [
        listing
        for spec in specs
        if spec.auto_discover and isinstance(provider := providers[spec.name], HttpProvider)
        for listing in _listings(spec, provider)
    ]


def _listings(spec: ProviderSpec, provider: HttpProvider) -> list[Listing]:
    from arbstr.dialects import anthropic, bedrock, gemini
    from arbstr.dialects import listings as formats

    connect, name = spec.timeouts.connect, spec.name
    if spec.kind == "bedrock":
        base_url = spec.base_url.replace("bedrock-runtime", "bedrock", 1)
        signer = provider.signer.at(base_url) if isinstance(provider.signer, AwsSigner) else None
        return [
            Listing(
                name,
                provider,
                path=path,
                read=bedrock.read_models,
                base_url=base_url,
                signer=signer,
                page_key="nextToken" if "maxResults" in path else None,
                connect_timeout=connect,
            )
            for path in bedrock.MODELS_PATHS
        ]
    if spec.kind == "anthropic":
        return [
            Listing(
                name,
                provider,
                path=anthropic.MODELS_PATH,
                read=anthropic.read_models,
                headers=_anthropic_headers(),
                page_key="after_id",
                connect_timeout=connect,
            )
        ]
    azure = "/openai/v1/models"
    if spec.api_version is not None:
        azure = f"/openai/models?api-version={quote(spec.api_version, safe='')}"
    if spec.project is not None:
        path, read = "/v1beta1/publishers/google/models?pageSize=100", formats.vertex_models
        return [Listing(name, provider, path=path, read=read, page_key="pageToken", connect_timeout=connect)]
    path, read = {
        "openai": ("/models", formats.openai_models),
        "azure": (azure, formats.openai_models),
        "gemini": (gemini.MODELS_PATH, gemini.read_models),
        "ollama": ("/api/tags", formats.ollama_models),
    }[spec.kind]
    page_key = "pageToken" if spec.kind == "gemini" else None
    return [Listing(name, provider, path=path, read=read, page_key=page_key, connect_timeout=connect)]
