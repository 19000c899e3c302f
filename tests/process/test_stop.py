"""SIGTERM and SIGINT: what is in flight finishes, or is told that it cannot; then the process ends with 0."""

from __future__ import annotations

import asyncio
import http.client
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.gateway import DONE, HEL, LO, ROLE, STOP, USAGE_CHUNK, Ask
from tests.process.gateway import KEYS, chat_body, gateway, rows, write_config
from tests.process.program import PATIENCE, Program, running, until


async def refused(program: Program) -> list[int]:
    """Ask ``/readyz`` on fresh connections until there is none to be had; the statuses before that."""
    statuses: list[int] = []
    async with asyncio.timeout(PATIENCE):
        while True:
            with closing(http.client.HTTPConnection("127.0.0.1", program.port, timeout=PATIENCE)) as connection:
                try:
                    connection.request("GET", "/readyz")
                    statuses.append(connection.getresponse().status)
                except ConnectionRefusedError:
                    return statuses
                except ConnectionError:
                    pass  # the port was closed before this connection was accepted
            await asyncio.sleep(0.01)


async def test_with_nothing_in_flight_it_turns_unready_stops_listening_and_ends(tmp_path: Path) -> None:
    """Load balancers have a moment to see the 503; then the port is closed, every row is in a database that needs no
    recovery, and the exit code is 0. A connection that a caller keeps open holds nothing up."""
    folder = tmp_path / "run"
    async with gateway(folder, drain_timeout="10m") as live:
        for _ in range(3):
            assert (await live.chat()).status == 200
        _, writer = await asyncio.open_connection("127.0.0.1", live.program.port)

        live.program.send(signal.SIGTERM)
        statuses = await refused(live.program)
        code = await live.program.ended()
        writer.close()

    assert code == 0
    assert 503 in statuses
    assert live.program.events[-2:] == ["draining", "stopped"]
    assert live.program.errors == ""
    assert sorted(path.name for path in folder.iterdir()) == ["arbstr.db", "arbstr.db.lock", "arbstr.toml"]
    assert [row["success"] for row in rows(folder)] == [1, 1, 1]


async def test_what_is_in_flight_finishes(tmp_path: Path) -> None:
    """A whole answer and a stream that had begun before the signal are complete, although nobody gets in any more."""
    folder = tmp_path / "run"
    may_end = asyncio.Event()

    async def slow(ask: Ask) -> None:
        if ask.body.get("stream"):
            await ask.begin()
            for piece in (ROLE, HEL):
                await ask.send(piece)
            await may_end.wait()
            for piece in (LO, STOP, USAGE_CHUNK, DONE):
                await ask.send(piece)
            await ask.end()
        else:
            await may_end.wait()
            await ask.answer()

    async with gateway(folder, drain_timeout="10m") as live:
        live.alpha.usual = slow
        whole = asyncio.ensure_future(live.chat())
        stream = asyncio.ensure_future(live.chat(stream=True))
        await live.asked(2)

        live.program.send(signal.SIGTERM)
        await refused(live.program)
        assert (await live.program.said("draining"))["in_flight"] == 2
        may_end.set()
        code = await live.program.ended()

        assert (await whole).json()["choices"][0]["message"]["content"] == "Hello there"
        assert not (await stream).cut
        assert DONE in (await stream).body
        assert code == 0
    assert sorted((row["streaming"], row["success"], row["stream_status"]) for row in rows(folder)) == [
        (0, 1, None),
        (1, 1, "complete"),
    ]


async def hangs(ask: Ask) -> None:
    """A stream that stops after its first word, and a whole answer that never comes."""
    if ask.body.get("stream"):
        await ask.begin()
        await ask.send(ROLE)
        await ask.send(HEL)
    await ask.peer.left()


async def test_what_outlasts_the_drain_time_is_told_so(tmp_path: Path) -> None:
    """A stream gets one error event in a body that is ended properly, and no [DONE]; a whole answer is a 503. Both are
    in the log, and the exit code is still 0."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        live.alpha.usual = hangs
        whole = asyncio.ensure_future(live.chat())
        stream = asyncio.ensure_future(live.chat(stream=True))
        await live.asked(2)

        code = await live.program.stopped()

        assert code == 0
        assert ((await whole).status, (await whole).error["code"]) == (503, "draining")
        broken = await stream
        assert broken.status == 200
        assert not broken.cut
        assert broken.body.count(b'"error"') == 1
        assert b'"code":"draining"' in broken.body
        assert b"[DONE]" not in broken.body
    assert live.program.events[-1] == "stopped"
    assert [
        (row["error_status"], row["stream_status"]) for row in sorted(rows(folder), key=lambda row: row["streaming"])
    ] == [
        (503, None),
        (503, "truncated"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """However long the drain time is, streams are told so, the rows are written, and the exit code is 0."""
    folder = tmp_path / "run"
    async with gateway(folder, drain_timeout="1h") as live:
        live.alpha.usual = hangs
        stream = asyncio.ensure_future(live.chat(stream=True))
        await live.asked(1)

        live.program.send(number)
        await live.program.said("draining")
        code = await live.program.stopped(number)

        assert code == 0
        assert b'"code":"draining"' in (await stream).body
    assert live.program.events[-1] == "stopped"
    assert live.program.errors == ""
    assert [row["stream_status"] for row in rows(folder)] == ["truncated"]


async def test_a_caller_who_does_not_read_cannot_hold_up_the_end(tmp_path: Path) -> None:
    """It is cut off after a few seconds in which it could have taken its last words."""
    folder = tmp_path / "run"
    stuck = asyncio.Event()

    async def flood(ask: Ask) -> None:
        await ask.begin()
        await ask.send(ROLE)
        while True:
            try:
                async with asyncio.timeout(0.3):
                    await ask.send(HEL * 2_000)
            except TimeoutError:
                stuck.set()
                await ask.peer.left()
                return

    async with gateway(folder) as live:
        live.alpha.usual = flood
        _, writer = await asyncio.open_connection("127.0.0.1", live.program.port, limit=1024)
        content = chat_body(stream=True)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(content), content)
        )
        async with asyncio.timeout(PATIENCE):
            await stuck.wait()

        code = await live.program.stopped()
        writer.close()

    assert code == 0
    assert live.program.events[-1] == "stopped"
    assert len(rows(folder)) == 1


async def test_a_signal_while_it_starts_is_an_orderly_end(tmp_path: Path) -> None:
    """Here the start has to wait for a lock on the database; nothing is left half done."""
    folder = tmp_path / "run"
    path = write_config(folder)
    with closing(sqlite3.connect(folder / "arbstr.db")) as database:
        database.execute("BEGIN EXCLUSIVE")
        async with running("serve", "--config", path.name, folder=folder, environ=KEYS) as program:
            lock = folder / "arbstr.db.lock"
            await until(lambda: lock.exists() and lock.read_text() == f"{program.process.pid}\n")

            program.send(signal.SIGTERM)
            database.rollback()
            code = await program.ended()

            assert code == 0
            assert program.events == ["listening", "draining", "stopped"]
            assert program.errors == ""
