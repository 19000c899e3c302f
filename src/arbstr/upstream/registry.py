"""From a provider's kind to the object that calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arbstr.config.compile import ProviderSpec
from arbstr.domain.secret import Secret
from arbstr.ports import Provider
from arbstr.upstream.mock import MockProvider
from arbstr.upstream.openai import OpenAIProvider, Redact
from arbstr.upstream.pool import Pool

SHORTEST = 8
"""Characters of a secret, or of the beginning of one, that are masked."""

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
    """A function that masks these secrets wherever they stand in a text, and where one is cut off by the ``…`` at its
    end; one too short to be a secret is left."""
    known = [(secret.reveal(), secret.masked) for secret in secrets if len(secret.reveal()) >= SHORTEST]

    def redact(text: str) -> str:
        for value, masked in known:
            if value in text:
                text = text.replace(value, masked)
        return _without_beginnings(text, known) if text.endswith("…") else text

    return redact


def _without_beginnings(text: str, known: Sequence[tuple[str, str]]) -> str:
    """``text``, which was cut, with a secret masked of which only the beginning is left."""
    kept = text[:-1]
    for value, masked in known:
        for length in range(len(value) - 1, SHORTEST - 1, -1):
            if kept.endswith(value[:length]):
                return f"{kept[:-length]}{masked}…"
    return text
