"""A third provider for the gateway of the end-to-end tests: cheaper than the other two, so it is asked first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.gateway import Gateway, gateway
from tests.upstream.servers import Script, Server, serve

FAST = """
[resilience.retry]
initial_backoff = "1ms"
max_backoff = "2ms"
"""
HASTY = 'timeout = { first_token = "300ms", idle = "300ms", answer = "300ms", connect = "300ms" }'


def third(url: str, extra: str = "") -> str:
    """The configuration of a provider named ``third`` at ``url``, to go into ``gateway(more=…)``."""
    return f"""
{FAST}
[providers.third]
base_url = "{url}/v1"
api_key = "sk-third-0123456789"
models = ["gpt-4o"]
input_rate = 1
output_rate = 1
{extra}
"""


@asynccontextmanager
async def gateway_before(folder: Path, script: Script, *, extra: str = "") -> AsyncIterator[tuple[Gateway, Server]]:
    """A gateway whose cheapest provider plays ``script`` on every connection."""
    async with serve(script) as server, gateway(folder, more=third(str(server.origin), extra)) as running:
        yield running, server
