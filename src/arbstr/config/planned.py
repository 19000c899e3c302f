"""Keys that the configuration will have, and that do nothing yet.

Each is accepted with the value that asks for nothing, so that a configuration written for a later version can be
shared, and refused with any other: a key that silently does nothing is worse than an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from arbstr.config.units import Text, shown

NEVER = object()
"""No value of this key asks for nothing."""

STRATEGIES = ("round_robin", "weighted", "least_latency", "lowest_latency")

Tree = dict[str, Any]
"""Names to the inert value, or to a deeper tree."""

PROVIDER: Tree = {
    "proxy": "",
    "max_parallel": NEVER,
}
MODEL: Tree = {"tier": NEVER, "max_parallel": NEVER}
ENDPOINT: Tree = {"api_key": NEVER, "weight": 1}
ROUTE: Tree = {"load_balance": NEVER}
LOGGING: Tree = {"log_requests": False, "log_responses": False, "sample_rate": 1, "redact_pii": True}

TOP: Tree = {
    "metrics": {"listen": ""},
    "tracing": {"exporter": "none", "endpoint": "", "sample_rate": 1},
    "cache": {
        "enabled": False,
        "backend": NEVER,
        "url": NEVER,
        "ttl": NEVER,
        "max_size": NEVER,
        "max_bytes": NEVER,
        "scope": NEVER,
    },
    "routing": {"complexity_threshold_low": NEVER, "complexity_threshold_high": NEVER},
}


class Switch(msgspec.Struct, frozen=True):
    """A key that turns its whole section on."""

    key: str
    quiet: Any
    default_off: bool
    """Whether the section is off when the key is absent."""

    def telling(self, section: Tree) -> Iterable[str]:
        """The keys of ``section`` that matter: its switch, or all where nothing says whether it is on."""
        return section if self.key not in section and not self.default_off else (self.key,)


SWITCHES = {
    "cache": Switch(key="enabled", quiet=False, default_off=True),
    "tracing": Switch(key="exporter", quiet="none", default_off=True),
}


def inert(value: object, quiet: object) -> bool:
    """Whether ``value`` is the one that asks for nothing. Numbers compare as numbers, and never with booleans."""
    if isinstance(value, Text):
        return value.lower() in (str(quiet).lower(), str(int(quiet)) if isinstance(quiet, bool) else "")
    if isinstance(value, bool) or isinstance(quiet, bool):
        return value is quiet
    if isinstance(value, int | Decimal) and isinstance(quiet, int):
        return value == quiet
    return type(value) is type(quiet) and value == quiet


def instead(quiet: object) -> str:
    """What to write instead, in words."""
    if quiet is NEVER or isinstance(quiet, dict):
        return "no such key"
    return f"{'[]' if quiet == [] else shown(quiet)} or no such key"
