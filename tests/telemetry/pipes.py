"""Pipes for the tests of this room: what was written to one, and waiting with a deadline."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Any

import msgspec

from arbstr.telemetry.log import Logging

DEADLINE = 10.0


def read_until(descriptor: int, done: Callable[[bytes], bool]) -> bytes:
    """What the pipe gives until ``done`` says that it is enough."""
    data = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not done(data):
        assert poll.poll(DEADLINE * 1000), f"nothing more came after {data[-200:]!r}"
        chunk = os.read(descriptor, 65536)
        assert chunk, f"the pipe ended after {data[-200:]!r}"
        data += chunk
    return data


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def printed(use: Callable[[Logging], object], **settings: Any) -> bytes:
    """What ``use`` makes a new log print until it is closed."""
    reading, writing = os.pipe()
    logging = Logging(descriptor=writing, **settings)
    try:
        use(logging)
        assert logging.close(DEADLINE)
        os.close(writing)
        return read_to_end(reading)
    finally:
        os.close(reading)


def read_to_end(descriptor: int) -> bytes:
    data = b""
    while chunk := os.read(descriptor, 65536):
        data += chunk
    return data


def printed_json(use: Callable[[Logging], object], **settings: Any) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in printed(use, format="json", **settings).splitlines()]
