"""What is asked in the terminal beside a running gateway, in processes of its own."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.process.gateway import KEYS, gateway, rows, write_config
from tests.process.program import PATIENCE, environment, run, running, serving, until
from tests.store.records import request
from tests.store.test_retention import count, logged


async def arbstr(folder: Path, *words: str, listen: str = "127.0.0.1:0") -> tuple[int, str, str]:
    """Run a command to its end: exit code, stdout, stderr. ``listen`` is where it takes the gateway to be."""
    return await run(*words, folder=folder, environ=KEYS | {"ARBSTR_SERVER__LISTEN": listen})


async def told(folder: Path, *words: str) -> Any:
    code, printed, errors = await arbstr(folder, *words, "--json")
    assert code == 0, errors
    return json.loads(printed)


async def test_rows_are_read_while_the_gateway_serves(tmp_path: Path) -> None:
    """Lists, figures, one request and an export tell what was answered a moment ago."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        replies = [await live.chat() for _ in range(3)]
        await live.idle()

        listed = await told(folder, "logs")
        figures = await told(folder, "stats", "--group-by", "provider")
        request_id = replies[0].headers["x-arbstr-request-id"]
        one = await told(folder, "logs", request_id)
        _, exported, _ = await arbstr(folder, "logs", "--export", "csv")
        _, nothing, errors = await arbstr(folder, "logs", "--model", "'; DROP TABLE requests; --")
        assert (await live.chat()).status == 200
        assert await live.program.stopped() == 0

    assert [entry["id"] for entry in reversed(listed["data"])] == [
        reply.headers["x-arbstr-request-id"] for reply in replies
    ]
    assert figures["providers"]["alpha"]["counts"]["total"] == 3
    assert figures["providers"]["beta"]["counts"]["total"] == 0
    assert (one["id"], one["attempts"][0]["provider"]) == (request_id, "alpha")
    assert [each["provider"] for each in one["decision"]["candidates"]] == ["alpha", "beta"]
    assert len(list(csv.reader(io.StringIO(exported)))) == 4
    assert (nothing, errors) == ("", "No request in the log matches.\n")
    assert len(rows(folder)) == 4


async def test_the_running_gateway_explains_what_it_would_do(tmp_path: Path) -> None:
    """With its circuits: what it says and what it then does are one. When it is gone, it is decided without it."""
    folder = tmp_path / "run"
    async with gateway(folder, more="[resilience.retry]\nmax_attempts = 1\n") as live:
        listen = f"127.0.0.1:{live.program.port}"
        before = json.loads((await arbstr(folder, "explain", "gpt-4o", "--json", listen=listen))[1])
        live.alpha.usual = lambda ask: ask.refuse("500 Internal Server Error")
        for _ in range(3):
            await live.chat()
        code, printed, errors = await arbstr(folder, "explain", "gpt-4o", listen=listen)
        unknown = await arbstr(folder, "explain", "nobody-has-this", listen=listen)
    gone = json.loads((await arbstr(folder, "explain", "gpt-4o", "--json", listen=listen))[1])

    assert before["decided_by"] == "gateway"
    assert [each["provider"] for each in before["candidates"]] == ["alpha", "beta"]
    assert (code, errors) == (0, f"Decided by the gateway on {listen}.\n")
    assert re.search(r"^1 +beta", printed, re.MULTILINE)
    assert re.search(r"^– +alpha .*rejected \(circuit\)", printed, re.MULTILINE)
    assert unknown[0] == 1
    assert f"(says the gateway on {listen})" in unknown[2]
    assert gone["decided_by"] == "here"
    assert [each["provider"] for each in gone["candidates"]] == ["alpha", "beta"]


async def test_new_requests_are_followed_until_ctrl_c(tmp_path: Path) -> None:
    """The last ones first, then each as it comes, as a line of JSON; Ctrl-C is the usual end."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        first = await live.chat()
        await live.idle()
        words = ("logs", "--follow", "--json", "--model", "gpt-4o")
        environ = KEYS | {"ARBSTR_SERVER__LISTEN": "127.0.0.1:0"}
        async with running(*words, folder=folder, environ=environ) as follower:
            await until(lambda: len(follower.lines) == 1)
            await live.chat(model="gpt-4o-mini")
            later = [await live.chat() for _ in range(3)]
            await until(lambda: len(follower.lines) == 4)
            code = await follower.stopped(signal.SIGINT)

    expected = [reply.headers["x-arbstr-request-id"] for reply in (first, *later)]
    assert [line["id"] for line in follower.lines] == expected
    assert (code, follower.errors) == (0, "")


async def test_following_ends_where_the_file_is_replaced(tmp_path: Path) -> None:
    """One line: what would come is somewhere else."""
    write_config(tmp_path)
    path = logged(tmp_path, request())
    environ = KEYS | {"ARBSTR_SERVER__LISTEN": "127.0.0.1:0"}
    async with running("logs", "-f", folder=tmp_path, environ=environ) as follower:
        await until(lambda: follower.stdout.data.count(b"\n") == 2)
        path.unlink()
        code = await follower.ended()

    assert (code, follower.errors) == (1, f"Error: {path}: was deleted or replaced while in use\n")


async def test_a_copy_is_made_while_the_gateway_writes(tmp_path: Path) -> None:
    """It is sound and of one moment; the gateway answers in the meantime, and has all its rows."""
    folder = tmp_path / "run"
    folder.mkdir()
    logged(folder, *(request() for _ in range(5000)))
    async with gateway(folder) as live:
        copying = asyncio.create_task(arbstr(folder, "db", "backup", "copy.db"))
        answered = 0
        while not copying.done():
            assert (await live.chat()).status == 200
            answered += 1
        code, printed, errors = await copying
        checked, _, _ = await arbstr(folder, "db", "check")
        refused = await arbstr(folder, "db", "vacuum")
        assert await live.program.stopped() == 0

    assert code == 0, errors
    assert 5000 <= count(folder / "copy.db") <= 5000 + answered
    assert "schema" in printed
    assert (folder / "copy.db").stat().st_mode & 0o777 == 0o600
    assert checked == 0
    assert refused[0] == 1
    assert "in use by another arbstr (process " in refused[2]
    assert len(rows(folder)) == 5000 + answered


async def test_old_rows_go_while_the_gateway_serves(tmp_path: Path) -> None:
    """What is older than `keep` is removed from the start on, and said; statistics stay what they were."""
    old = [request(timestamp=time.time() - 5 * 86400) for _ in range(600)]
    logged(tmp_path, *old, request(timestamp=time.time()))
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("[store]", '[store]\nkeep = "2d"'))
    before = await told(tmp_path, "stats")

    async with serving("--config", config.name, folder=tmp_path, environ=KEYS) as program:
        said = await program.said("old rows of the request log were removed")
        after = await told(tmp_path, "stats", "--until", before["until"], "--since", before["since"])
        assert await program.stopped() == 0

    assert said["rows"] == 600
    assert len(rows(tmp_path)) == 1
    assert after == before
    assert before["counts"]["total"] == 601


# On a terminal, and elsewhere.


def on_terminal(folder: Path, *words: str, environ: dict[str, str]) -> str:
    """What a command shows on a terminal of 100 columns, with its colours."""
    ours, theirs = pty.openpty()
    env = environment(environ | {"COLUMNS": "100", "TERM": "xterm", "ARBSTR_SERVER__LISTEN": "127.0.0.1:0"})
    with subprocess.Popen([sys.executable, "-m", "arbstr", *words], cwd=folder, stdout=theirs, stderr=theirs, env=env):
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], PATIENCE)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
    os.close(ours)
    return shown.decode()


@pytest.mark.parametrize(
    "words",
    [
        ("logs",),
        ("logs", "it"),
        ("stats",),
        ("stats", "--group-by", "model"),
        ("stats", "--savings"),
        ("explain", "gpt-4o"),
    ],
)
async def test_styles_are_for_terminals_alone(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Through a pipe nothing but text; on a terminal no line is longer than it is wide, and with NO_COLOR none has a
    colour."""
    write_config(tmp_path)
    logged(tmp_path, request(correlation_id="it", timestamp=time.time() - 60))

    _, piped, _ = await arbstr(tmp_path, *words)
    shown = on_terminal(tmp_path, *words, environ={})
    sober = on_terminal(tmp_path, *words, environ={"NO_COLOR": "1"})

    assert "\x1b" not in piped
    assert "\x1b[1m" in shown
    assert not re.search(r"\x1b\[[0-9;]*[34]\d", sober)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "")
    assert max(len(line) for line in plain.splitlines()) <= 100
