"""`arbstr` with a bug: every answer of a provider named ``buggy`` is an exception that quotes the provider's key."""

from __future__ import annotations

from arbstr.cli import main
from arbstr.config.providers import ProviderSpec
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Deployment
from arbstr.ports import Opening, Provider
from arbstr.upstream import registry


class Buggy:
    def __init__(self, spec: ProviderSpec) -> None:
        self._spec = spec

    def open(self, request: ChatRequest, deployment: Deployment, *, until: float) -> Opening:
        assert self._spec.api_key is not None
        key = self._spec.api_key.reveal()
        try:
            raise ValueError(f"an inner error with {key}")
        except ValueError as error:
            raise RuntimeError(f"an error with {key}", {"authorization": f"Bearer {key}"}) from error


_sound = registry.KINDS["openai"]


def _kind(spec: ProviderSpec, means: registry.Means) -> Provider:
    return Buggy(spec) if spec.name == "buggy" else _sound(spec, means)


if __name__ == "__main__":
    registry.KINDS["openai"] = _kind
    main()
