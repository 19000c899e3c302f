"""From a provider's kind to the object that calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arbstr.config.compile import ProviderSpec
from arbstr.domain.secret import Secret
from arbstr.ports import Provider
from arbstr.upstream.mock import MockProvider
from arbstr.upstream.openai import OpenAIProvider, Redact
from arbstr.upstream.pool import Pool

Factory = Callable[[ProviderSpec, Pool, Redact], Provider]


def _openai(spec: ProviderSpec, pool: Pool, redact: Redact) -> Provider:
    return OpenAIProvider(pool, base_url=spec.base_url, api_key=spec.api_key, redact=redact)


def _mock(spec: ProviderSpec, pool: Pool, redact: Redact) -> Provider:
    return MockProvider(spec.name)


KINDS: dict[str, Factory] = {"openai": _openai, "mock": _mock}


def build(specs: Sequence[ProviderSpec], pool: Pool, redact: Redact) -> dict[str, Provider]:
    """Every configured provider by name. Calls nobody."""
    return {spec.name: KINDS[spec.kind](spec, pool, redact) for spec in specs}


def redactor(secrets: Sequence[Secret]) -> Redact:
    """A function that masks these secrets wherever they stand in a text; one too short to be a secret is left."""
    known = [(secret.reveal(), secret.masked) for secret in secrets if len(secret.reveal()) >= 8]

    def redact(text: str) -> str:
        for value, masked in known:
            if value in text:
                text = text.replace(value, masked)
        return text

    return redact
