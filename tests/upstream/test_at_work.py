"""Whether a provider may be at work on a request whose caller has left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path

from arbstr.dialects.callers import caller_dialect
from arbstr.ports import Opening
from tests.e2e.gateway import MODEL, QUESTION, Ask, Gateway, gateway
from tests.upstream.servers import LONG, eventually


def attempt(running: Gateway) -> Opening:
    request = caller_dialect("openai").parse(json.dumps({"model": MODEL, "messages": QUESTION}).encode())
    deployment = running.service.compiled.snapshot.routes[MODEL].deployments[0]
    return running.service.providers["alpha"].open(request, deployment, until=time.monotonic() + LONG)


async def test_it_is_once_the_request_was_sent(tmp_path: Path) -> None:
    """Not while a connection is made; and still when its caller has given up."""

    async def silent(ask: Ask) -> None:
        await asyncio.Event().wait()

    async with gateway(tmp_path) as running:
        running.alpha.usual = silent
        opening = attempt(running)
        task = asyncio.ensure_future(opening.__aenter__())
        await asyncio.sleep(0)
        connecting = opening.at_work
        await eventually(lambda: bool(running.alpha.asks))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

        assert (connecting, opening.at_work) == (False, True)


async def test_it_is_not_once_it_has_refused(tmp_path: Path) -> None:
    """Whatever is still to come of the reason."""

    async def refusing(ask: Ask) -> None:
        await ask.peer.send(b"HTTP/1.1 500 Oh\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        await asyncio.Event().wait()

    async with gateway(tmp_path) as running:
        running.alpha.usual = refusing
        opening = attempt(running)
        task = asyncio.ensure_future(opening.__aenter__())
        await eventually(lambda: opening.at_work)
        await eventually(lambda: not opening.at_work)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

        assert not opening.at_work
