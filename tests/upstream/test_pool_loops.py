"""The client on asyncio's own loop: what holds on uvloop holds there too."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from types import ModuleType

import pytest

from tests.upstream import test_pool, test_pool_cancel, test_pool_connect, test_wire, test_wire_content, test_wire_flow

Test = Callable[[], Coroutine[object, object, None]]


def _shared_of(module: ModuleType) -> list[Test]:
    """Return the asynchronous tests of a module that need nothing."""
    functions = inspect.getmembers(module, inspect.iscoroutinefunction)
    return [test for name, test in functions if name.startswith("test_") and not inspect.signature(test).parameters]


SHARED = [
    pytest.param(test, id=test.__name__)
    for module in (test_wire, test_wire_flow, test_wire_content, test_pool, test_pool_connect, test_pool_cancel)
    for test in _shared_of(module)
]


@pytest.mark.parametrize("test", SHARED)
def test_the_same_holds_on_the_loop_of_asyncio(test: Test) -> None:
    """Each test without parameters passes on the loop that comes with Python."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(test())
