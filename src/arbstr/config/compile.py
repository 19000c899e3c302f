"""What a configuration comes to: the frozen values that the composition root wires up."""

from __future__ import annotations

from pathlib import Path

import msgspec

from arbstr.domain.routing import Deployment, Snapshot, Tier, Timeouts
from arbstr.domain.secret import Secret


class ProviderSpec(msgspec.Struct, frozen=True):
    """All that is needed to call one provider."""

    name: str
    """As configured: the key of its circuit, its retry budget and its pool."""
    kind: str
    """``openai``, or ``mock`` for the built-in ones of ``serve --mock``."""
    base_url: str
    """Without a trailing slash; of kind openai, paths such as ``/chat/completions`` are appended to it."""
    api_key: Secret | None
    """None: it is called without credentials."""
    key_source: str
    """As in :class:`~arbstr.domain.routing.ProviderView`."""
    tier: Tier
    timeouts: Timeouts
    """Its own; each deployment carries what holds for it."""
    deployments: tuple[Deployment, ...]
    """Every model of this provider that some route may choose, each once."""


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
    """The SQLite file, absolute; its folder may not exist yet."""
    log: LogSettings
    providers: tuple[ProviderSpec, ...]
    """In configured order."""
    allow_unauthenticated: bool = False
    """The operator wants to be reachable beyond loopback without keys."""
    admin_key: Secret | None = None
    source: Path | None = None
    """The file it was read from; None for the built-in mock configuration."""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret in it, for those who must keep them out of what they write."""
        keys = [provider.api_key for provider in self.providers] + [self.admin_key]
        return tuple(key for key in keys if key is not None)
