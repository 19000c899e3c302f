"""The configuration of ``serve --mock``: three providers in this process, with which one can watch routing work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from arbstr.config.compile import Compiled
from arbstr.config.load import Flags, load_built_in

MOCK_CONFIG = """\
[store]
url = "sqlite:///arbstr-mock.db"

[providers.cheap-but-flaky]
kind = "mock"
tier = "local"
models = ["gpt-4o", "gpt-4o-mini"]
input_rate = 1
output_rate = 4

[providers.steady]
kind = "mock"
tier = "standard"
input_rate = 4
output_rate = 16
base_fee = 0.5
[providers.steady.models]
"gpt-4o" = {}
"gpt-4o-mini" = { input_rate = 1.5, output_rate = 6, base_fee = 0 }
"claude-sonnet-4-5" = { input_rate = 5, output_rate = 25 }

[providers.dear-and-fast]
kind = "mock"
tier = "frontier"
models = ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"]
input_rate = 12
output_rate = 48
base_fee = 1

[models."gpt-4o-steady"]
primary = { provider = "steady", model = "gpt-4o" }
fallbacks = [{ provider = "dear-and-fast", model = "gpt-4o" }]

[[policies.rules]]
name = "frugal"
max_sats_per_1k_output = 10
"""

_REAL = ("ARBSTR_PROVIDERS__", "ARBSTR_MODELS__")


def load_mock(*, environ: Mapping[str, str], flags: Flags, folder: Path) -> Compiled:
    """The mock configuration; its request log is in ``folder``.

    The environment and ``flags`` may override its settings, but the environment adds no providers: nothing real is ever
    called.
    """
    settings = {name: value for name, value in environ.items() if not name.startswith(_REAL)}
    return load_built_in(MOCK_CONFIG, environ=settings, flags=flags, folder=folder)
