"""Starting: what is refused and how it is said, where the address comes from, and the mock that needs nothing."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import aiohttp
import pytest

from arbstr.store.migrate import APPLICATION_ID
from tests.process.gateway import KEYS, gateway, rows, write_config
from tests.process.program import PATIENCE, run, running, serving


async def refusal(folder: Path, *, expected: int = 1, store: str = "sqlite:///arbstr.db") -> str:
    """The one line with which `arbstr serve` refuses to start."""
    environ = {**KEYS, "ARBSTR_STORE__URL": store}
    code, out, err = await run("serve", "--config", "arbstr.toml", folder=folder, environ=environ)
    assert code == expected
    assert all(json.loads(line)["event"] != "listening" for line in out.splitlines())
    (line,) = err.splitlines()
    return line


async def test_a_second_server_on_the_same_database_is_refused(tmp_path: Path) -> None:
    """It says which process is in its way, and that one goes on."""
    folder = tmp_path / "run"
    async with gateway(folder) as live:
        line = await refusal(folder)

        assert line == f"arbstr: {folder}/arbstr.db: in use by another arbstr (process {live.program.process.pid})"
        assert (await live.chat()).status == 200


async def test_an_address_in_use_is_refused(tmp_path: Path) -> None:
    """The line says which one."""
    write_config(tmp_path / "run")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = ("serve", "--config", "arbstr.toml", "--listen", address)
        code, _, err = await run(*command, folder=tmp_path / "run", environ=KEYS)

    assert code == 1
    assert err == f"arbstr: {address} is in use: another program listens there\n"


async def test_a_missing_folder_for_the_database_is_refused(tmp_path: Path) -> None:
    """It is not made: a folder that is not mounted yet is no place for a new database."""
    folder = tmp_path / "run"
    write_config(folder)

    line = await refusal(folder, store="sqlite:///data/arbstr.db")

    assert line == f"arbstr: {folder}/data/arbstr.db.lock: the folder {folder}/data does not exist"
    assert not (folder / "data").exists()


def corrupt(path: Path) -> None:
    path.write_bytes(b"this is not a database\n" * 100)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("PRAGMA user_version = 999")


def somebody_elses(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE songs (title TEXT)")


@pytest.mark.parametrize(
    ("make", "expected"),
    [(corrupt, "file is not a database"), (newer, "has schema 999"), (somebody_elses, "of another program")],
    ids=["corrupt", "newer", "somebody else's"],
)
async def test_a_database_that_cannot_be_used_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], expected: str
) -> None:
    """One line says which file and why; not a byte of it is changed."""
    folder = tmp_path / "run"
    write_config(folder)
    make(folder / "arbstr.db")
    before = (folder / "arbstr.db").read_bytes()

    line = await refusal(folder)

    assert line.startswith(f"arbstr: {folder}/arbstr.db: ")
    assert expected in line
    assert (folder / "arbstr.db").read_bytes() == before


async def test_listening_for_everybody_without_keys_needs_to_be_meant(tmp_path: Path) -> None:
    """Beyond loopback it is refused as bad configuration, unless the configuration says that it is meant."""
    folder = tmp_path / "run"
    write_config(folder)
    command = ("serve", "--config", "arbstr.toml", "--listen", "0.0.0.0:0")
    code, out, err = await run(*command, folder=folder, environ=KEYS)

    assert (code, out) == (78, "")
    (line,) = err.splitlines()
    assert "server.listen" in line
    assert "allow_unauthenticated" in line

    meant = {**KEYS, "ARBSTR_SERVER__ALLOW_UNAUTHENTICATED": "true"}
    async with serving(*command[1:], folder=folder, environ=meant) as program, aiohttp.ClientSession() as http:
        async with http.get(f"http://127.0.0.1:{program.port}/v1/models") as response:
            assert response.status == 200


async def test_the_environment_beats_the_file_and_a_flag_beats_both(tmp_path: Path) -> None:
    """Of three addresses, the one that is nearest to the moment of starting."""
    folder = tmp_path / "run"
    write_config(folder)
    first, second = free_ports()
    environ = {**KEYS, "ARBSTR_SERVER__LISTEN": f"127.0.0.1:{first}"}

    async with serving("--config", "arbstr.toml", folder=folder, environ=environ) as program:
        assert program.port == first
    flag = ("--listen", f"127.0.0.1:{second}")
    async with serving("--config", "arbstr.toml", *flag, folder=folder, environ=environ) as program:
        assert program.port == second


async def test_the_mock_prints_a_line_that_works_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The curl line, as it is printed, is answered with what it cost; where it was started, and in the folder for
    temporary files, nothing stays."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    folder, temporary = tmp_path / "run", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    environ = {"TMPDIR": str(temporary)}
    async with serving("--mock", "--listen", "127.0.0.1:0", folder=folder, environ=environ) as program:
        line = re.search(r"^ *(curl .*?[^\\])$", program.errors, re.MULTILINE | re.DOTALL)
        assert line is not None
        answer = subprocess.run(["sh", "-c", line[1]], capture_output=True, text=True, timeout=30, check=True).stdout
        assert list(folder.iterdir()) == []
        code = await program.stopped()

    assert answer.startswith("HTTP/1.1 200 OK")
    assert re.search(r"^x-arbstr-cost-sats: [0-9.]+\s*$", answer, re.MULTILINE)
    assert code == 0
    assert list(folder.iterdir()) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
async def test_it_can_be_started_without_standard_files(tmp_path: Path, closed: str) -> None:
    """As some supervisors do: it serves, keeps its records, and ends as it should."""
    folder = tmp_path / "run"
    write_config(folder)
    (port, _) = free_ports()
    command = ("serve", "--config", "arbstr.toml", "--listen", f"127.0.0.1:{port}")
    async with running(*command, folder=folder, environ=KEYS, limits=f"exec {closed}") as program:
        async with aiohttp.ClientSession() as http:
            await _answers(http, f"http://127.0.0.1:{port}/livez")
            async with http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json={}) as response:
                assert response.status == 400

        assert await program.stopped() == 0
    assert len(rows(folder)) == 1


async def test_the_first_answer_comes_soon(tmp_path: Path) -> None:
    """How soon is printed (``pytest -s``): a benchmark, not a test, says what it must be."""
    (port, _) = free_ports()
    began = time.perf_counter()
    command = ("serve", "--mock", "--listen", f"127.0.0.1:{port}")
    environ = {"TMPDIR": str(tmp_path)}
    async with running(*command, folder=tmp_path, environ=environ), aiohttp.ClientSession() as http:
        await _answers(http, f"http://127.0.0.1:{port}/livez")
    print(f"\nfrom the start to the first answer: {time.perf_counter() - began:.2f} s")


async def _answers(http: aiohttp.ClientSession, url: str) -> None:
    """Wait until something listens there, and answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with http.get(url) as response:
                    assert response.status == 200
                    return
            await asyncio.sleep(0.005)


def free_ports() -> tuple[int, int]:
    """Two ports on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
