"""What every test shares: the event loop is uvloop, as in production."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop
from hypothesis import settings

settings.register_profile("arbstr", deadline=None)  # no test of ours judges time
settings.load_profile("arbstr")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give each async test a fresh uvloop; what passes on asyncio's own loop alone proves little."""
    return {"uvloop": uvloop.new_event_loop}
