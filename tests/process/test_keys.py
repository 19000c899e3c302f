"""Gateway keys that another process makes, changes and revokes beside a running gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from tests.e2e.gateway import DONE, HEL, LO, ROLE, STOP, USAGE_CHUNK, Ask, Reply
from tests.process.gateway import KEYS, Gateway, gateway, rows, write_config
from tests.process.program import PATIENCE, run, serving


async def keys(folder: Path, *words: str) -> str:
    """What ``arbstr keys`` prints, in a process of its own."""
    code, printed, errors = await run("keys", *words, folder=folder, environ=KEYS)
    assert code == 0, errors
    return printed.strip()


async def chat(live: Gateway, secret: str | None) -> Reply:
    return await live.chat(headers=None if secret is None else {"authorization": f"Bearer {secret}"})


async def chat_until(live: Gateway, secret: str | None, wanted: Callable[[Reply], bool]) -> Reply:
    """Ask with ``secret`` until the answer is ``wanted``; what the gateway has heard of can only be polled."""
    async with asyncio.timeout(PATIENCE):
        while not wanted(reply := await chat(live, secret)):
            await asyncio.sleep(0.05)
    return reply


def code_of(reply: Reply) -> str:
    return "ok" if reply.status == 200 else str(json.loads(reply.body)["error"]["code"])


async def test_what_another_process_does_to_keys_holds_in_a_running_gateway(tmp_path: Path) -> None:
    """Creation closes it, a change counts, a rotated secret is good for nothing, and so is a revoked key; and the
    gateway does not open when the last key is gone."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        before = code_of(await chat(live, None))
        first = await keys(folder, "create", "team-a")
        await chat_until(live, None, lambda reply: reply.status == 401)
        created = code_of(await chat(live, first))

        await keys(folder, "update", "team-a", "--models", "another")
        changed = code_of(await chat_until(live, first, lambda reply: reply.status != 200))
        await keys(folder, "update", "team-a", "--models", "gpt-*")
        await chat_until(live, first, lambda reply: reply.status == 200)

        second = await keys(folder, "rotate", "team-a")
        rotated = code_of(await chat_until(live, first, lambda reply: reply.status != 200))
        renewed = code_of(await chat(live, second))

        await keys(folder, "revoke", "team-a")
        revoked = code_of(await chat_until(live, second, lambda reply: reply.status != 200))
        closed = code_of(await chat(live, None))

        assert await live.program.stopped() == 0
        printed = live.program.stdout.data.decode() + live.program.errors

    assert (before, created, changed, rotated, renewed) == ("ok", "ok", "model_not_allowed", "invalid_api_key", "ok")
    assert (revoked, closed) == ("invalid_api_key", "invalid_api_key")
    assert {row["key_name"] for row in rows(folder)} == {None, "team-a"}
    on_disk = b"".join(path.read_bytes() for path in folder.iterdir())
    for secret in (first, second):
        assert secret.removeprefix("sk-arbstr-") not in printed
        assert secret.removeprefix("sk-arbstr-").encode() not in on_disk


async def test_a_stream_that_has_begun_outlives_its_key(tmp_path: Path) -> None:
    """A revocation turns new requests away; what is paid for already is delivered."""
    folder = tmp_path / "run"
    may_end = asyncio.Event()

    async def slow(ask: Ask) -> None:
        await ask.begin()
        for piece in (ROLE, HEL):
            await ask.send(piece)
        await may_end.wait()
        for piece in (LO, STOP, USAGE_CHUNK, DONE):
            await ask.send(piece)
        await ask.end()

    async with gateway(folder) as live:
        secret = await keys(folder, "create", "team-a")
        await chat_until(live, None, lambda reply: reply.status == 401)
        live.alpha.next.append(slow)
        stream = asyncio.ensure_future(live.chat(stream=True, headers={"x-api-key": secret}))
        await live.asked(1)

        await keys(folder, "revoke", "team-a")
        await chat_until(live, secret, lambda reply: reply.status == 401)
        may_end.set()
        reply = await stream

    assert reply.status == 200
    assert DONE in reply.body
    assert not reply.cut


async def test_a_gateway_that_loses_its_database_stays_as_closed_as_it_was(tmp_path: Path) -> None:
    """Deleted under it, and made anew by whoever writes the log: known keys are good, nobody else is let in."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        secret = await keys(folder, "create", "team-a")
        await chat_until(live, None, lambda reply: reply.status == 401)
        for path in folder.glob("arbstr.db*"):
            if path.suffix != ".lock":
                path.unlink()

        await live.program.said("the gateway keys cannot be read, those read before stay good")
        known, unknown = await chat(live, secret), await chat(live, None)
        await live.log_says("ok")
        again = await chat(live, secret), await chat(live, None)

    assert [code_of(reply) for reply in (known, unknown, *again)] == ["ok", "invalid_api_key"] * 2


async def test_a_gateway_that_starts_with_revoked_keys_alone_is_closed(tmp_path: Path) -> None:
    """They still count as keys."""
    folder = tmp_path / "run"
    write_config(folder)
    secret = await keys(folder, "create", "team-a")
    await keys(folder, "revoke", "team-a")

    async with gateway(folder) as live:
        replies = [await chat(live, secret), await chat(live, None)]

    assert [code_of(reply) for reply in replies] == ["invalid_api_key"] * 2


async def test_a_key_is_enough_to_listen_for_others(tmp_path: Path) -> None:
    """Beyond loopback a gateway needs keys; they may have been made before it is started for the first time."""
    folder = tmp_path / "run"
    write_config(folder)
    listen = ("--config", "arbstr.toml", "--listen", "0.0.0.0:0")
    without = await run("serve", *listen, folder=folder, environ=KEYS)
    await keys(folder, "create", "team-a")

    async with serving(*listen, folder=folder, environ=KEYS) as program:
        code = await program.stopped()

    assert without[0] == 78
    assert "arbstr keys create" in without[2]
    assert code == 0
