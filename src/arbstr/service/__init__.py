"""The composition root: everything is made here, started, drained and stopped.

::

    gateway    Service: one gateway, from its compiled configuration to its end
    accounts   what outlives a process: keys, budgets, the exchange rate
    renewal    the snapshot, compiled anew where models or prices have changed
    background what goes on beside requests
    process    what the gateway wants of its process
    refusals   requests that never became one
    clock      the machine's clock
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from arbstr.config.compile import Compiled
from arbstr.config.problems import ConfigError
from arbstr.edge.server import ListenError
from arbstr.service.clock import SystemClock
from arbstr.service.gateway import Service
from arbstr.service.process import keep_standard_files, raise_file_limit, return_large_memory
from arbstr.service.refusals import REFUSAL_LINES
from arbstr.store.errors import StoreError

__all__ = ["REFUSAL_LINES", "Service", "SystemClock", "serve"]

BAD_CONFIGURATION = 78


def serve(compiled: Compiled, *, mock: bool = False) -> int:
    """Run the gateway until it is told to stop. The exit code: 0 after a clean end, 1 where it could not start, 78
    where it must not as it is configured."""
    keep_standard_files()
    raise_file_limit()
    return_large_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(Service(compiled, mock=mock).run())
        except ConfigError as error:
            print(error, file=sys.stderr)
            return BAD_CONFIGURATION
        except (StoreError, ListenError) as error:
            print(f"arbstr: {error}", file=sys.stderr)
            return 1
