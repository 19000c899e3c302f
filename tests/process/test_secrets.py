"""The canary: a secret of each kind, everything that can be done with them, and a look into every place where one could
have got to."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.gateway import HEL, ROLE, Ask, FakeProvider, event
from tests.process.program import run, serving
from tests.upstream.servers import serve

CONFIG = """
[server]
listen = "127.0.0.1:0"
admin_key = "{admin}"
drain_timeout = "100ms"
[store]
url = "sqlite:///arbstr.db"
[resilience.retry]
max_attempts = 1
[resilience.timeout]
first_token = "1s"
answer = "1s"
"""

PROVIDER = """
[providers.{name}]
base_url = "{url}"
{key}
models = ["{name}"]
input_rate = 1
output_rate = 1
"""


def canary() -> str:
    """A new secret. Its first characters may be shown, so they tell nothing."""
    return f"sk-aaa-{secrets.token_hex(12)}"


def http(status: str, body: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", body]).encode()


def error(status: str, message: str, **fields: object) -> bytes:
    return http(status, json.dumps({"error": {"message": message, "type": "t", "param": None, "code": None, **fields}}))


def stream(*events: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + b"".join(events)


def answers(key: str) -> dict[str, bytes]:
    """What a provider may do with our key: quote it, wherever there is room for words."""
    html = "content-type: text/html"
    found = {
        "code": error("400 Bad Request", "no", code=key),
        "type": error("400 Bad Request", "no", type=key),
        "param": error("400 Bad Request", "no", param=key),
        "code of a 500": error("500 No", "no", code=key, type=key, param=key),
        "escaped": http("400 No", '{"error": {"message": "' + "".join(f"\\u{ord(each):04x}" for each in key) + '"}}'),
        "a page with 200": http("200 OK", f"<html>{key}</html>", html),
        "no JSON with 200": http("200 OK", f'{{"choices": [{key}'),
        "an error with 200": http("200 OK", json.dumps({"error": {"message": key, "code": key}})),
        "reason": http(f"500 {key}", "{}"),
        "status line": f"HTTP/1.1 {key}\r\n\r\n".encode(),
        "no HTTP": f"{key}\r\n\r\n".encode(),
        "content-length": f"HTTP/1.1 200 OK\r\ncontent-length: {key}\r\n\r\n{{}}".encode(),
        "chunk": f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{key}\r\n".encode(),
        "content-encoding": http("200 OK", "{}", f"content-encoding: {key}"),
        "transfer-encoding": http("200 OK", "{}", f"transfer-encoding: {key}"),
    }
    for status in ("400 Bad Request", "401 Unauthorized", "404 Not Found", "429 Too Many Requests", "500 No"):
        found[f"message, {status}"] = error(status, f"the key {key} is bad")
    for length in (470, 480, 490):
        found[f"cut at {length}"] = error("400 Bad Request", "x" * length + key)
    for length in (170, 180, 190):
        found[f"page cut at {length}"] = http("500 No", "x" * length + key, html)
    for name in ("retry-after", "x-key", "location", "content-type", "www-authenticate", "x-request-id"):
        for status in ("200 OK", "302 Found", "401 Unauthorized", "503 No"):
            found[f"{name}, {status}"] = http(status, "{}", f"{name}: {key}")
    failure = event({"error": {"message": f"bad {key}", "type": key, "code": key, "param": key}})
    found["first event"] = stream(failure)
    found["later event"] = stream(ROLE, HEL, failure)
    found["named event"] = stream(ROLE, HEL, b"event: error\ndata: " + key.encode() + b"\n\n")
    return found


class Sinks:
    """Everything that came out of the gateway: what it was, and the bytes."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bytes]] = []

    async def fetch(self, http: aiohttp.ClientSession, what: str, method: str, url: str, **how: Any) -> int:
        """Keep one answer, head and body, whatever it is; its status."""
        async with http.request(method, url, **how) as response:
            data = repr(response.raw_headers).encode()
            with suppress(aiohttp.ClientPayloadError):
                async for piece in response.content.iter_any():
                    data += piece
        self.found.append((what, data))
        return response.status

    def add_files(self, folder: Path) -> None:
        self.found += [(path.name, path.read_bytes()) for path in folder.iterdir() if path.suffix != ".toml"]

    def with_any_of(self, canaries: Mapping[str, str]) -> list[str]:
        """Where which canary was found; half of one is too much."""
        halves = [(name, half.encode()) for name, key in canaries.items() for half in (key[7:19], key[19:])]
        return sorted({f"{name} in {what}" for what, data in self.found for name, half in halves if half in data})


async def test_no_secret_gets_anywhere(tmp_path: Path) -> None:
    """Keys from the file, from a variable, by convention, in a header of one's own, from a command and for the
    administrator, and what a caller sends as its own: none of them is in an answer, a line, the database or its log,
    whatever a provider says and whatever fails."""
    folder = tmp_path / "run"
    folder.mkdir()
    keys = {kind: canary() for kind in ("literal", "variable", "convention", "header", "command", "admin", "caller")}
    environ = {
        "SOME_KEY": keys["variable"],
        "TOKEN": keys["header"],
        "FETCHED": keys["command"],
        "ARBSTR_BUGGY_API_KEY": keys["convention"],
    }
    lines = {"literal": f'api_key = "{keys["literal"]}"', "variable": 'api_key = "${SOME_KEY}"', "convention": ""}
    lines["header"] = 'headers = { X-Cashu = "${TOKEN}" }\nauto_discover = true'
    lines["command"] = 'token_command = "printenv FETCHED"\nauto_discover = true'
    provider, sinks = FakeProvider(), Sinks()

    async def quote(ask: Ask) -> None:
        key = ask.header("x-cashu") or (ask.header("authorization") or "").removeprefix("Bearer ")
        if ask.head.startswith(b"GET "):
            await ask.peer.send(error("401 Unauthorized", f"the key {key} is bad", code=key))
        else:
            await ask.peer.send(list(answers(key).values())[int(ask.body["model"][1:]) // 2])
        ask.peer.writer.close()

    provider.usual = quote
    async with AsyncExitStack() as stack:
        provider.server = await stack.enter_async_context(serve(provider.script))
        text = CONFIG.format(admin=keys["admin"]) + PROVIDER.format(name="buggy", url=provider.url, key="")
        for nth in range(2 * len(answers(""))):  # a provider for each answer, because some of them put it aside
            kind = ("literal", "variable", "convention", "header", "command")[nth // 2 % 5]
            text += PROVIDER.format(name=f"p{nth}", url=provider.url, key=lines[kind])
            if kind != "command":
                environ[f"ARBSTR_P{nth}_API_KEY"] = keys["convention"]
        (folder / "arbstr.toml").write_text(text)
        program = await stack.enter_async_context(
            serving(
                *("--config", "arbstr.toml", "--log-level", "debug"),
                folder=folder,
                environ=environ,
                module="tests.process.buggy",
            )
        )
        connector = aiohttp.TCPConnector(force_close=True)
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        own = {"authorization": f"Bearer {keys['caller']}", "x-api-key": keys["caller"], "api-key": keys["caller"]}
        url = f"{program.url}/v1/chat/completions"

        for nth, what in enumerate([each for name in answers("") for each in (name, f"{name}, streamed")]):
            question = {"model": f"p{nth}", "stream": nth % 2 == 1, "messages": [{"role": "user", "content": "Hello"}]}
            await sinks.fetch(client, what, "POST", url, json=question, headers=own)
        question = {"model": "buggy", "messages": [{"role": "user", "content": "Hello"}]}
        assert await sinks.fetch(client, "a bug", "POST", url, json=question, headers=own) == 500
        asked = {ask.body["model"] for ask in provider.asks if ask.body}
        assert len(asked) == 2 * len(answers(""))
        assert any(ask.header("x-cashu") == keys["header"] for ask in provider.asks)
        assert any(ask.header("authorization") == f"Bearer {keys['command']}" for ask in provider.asks)
        own["x-admin-key"] = keys["admin"]
        for path in ("health", "livez", "readyz", "metrics", "admin", "v1/models", "v1/models/p1", "v1/providers"):
            await sinks.fetch(client, path, "GET", f"{program.url}/{path}", headers=own)
        await sinks.fetch(client, "log", "GET", f"{program.url}/v1/requests?per_page=100", headers=own)
        for what, data in list(sinks.found):
            if what.startswith("message"):
                request_id = data.partition(b"x-arbstr-request-id', b'")[2][:36].decode()
                await sinks.fetch(client, f"entry: {what}", "GET", f"{program.url}/v1/requests/{request_id}")
        environ["ARBSTR_SERVER__LISTEN"] = program.url.removeprefix("http://")
        for command in ("check", "providers", "models"):
            for flags in ((), ("--json",)):
                code, out, err = await run(command, *flags, folder=folder, environ=environ)
                assert code == 0
                sinks.found.append((" ".join((command, *flags)), (out + err).encode()))
        sinks.add_files(folder)
        assert await program.stopped() == 0
    sinks.add_files(folder)
    sinks.found += [("stdout", bytes(program.stdout.data)), ("stderr", bytes(program.stderr.data))]

    assert "a request failed in this gateway" in program.events
    assert not [ask for ask in provider.asks if keys["caller"].encode() in ask.head]
    assert sinks.with_any_of(keys) == []


BAD = {
    "unknown key": 'a.toml: [providers.a]\napi_kee = "{key}"\n',
    "list": 'a.toml: [providers.a]\napi_key = ["{key}"]\n',
    "table": 'a.toml: [providers.a]\napi_key = {{ key = "{key}" }}\n',
    "header": 'a.toml: [providers.a]\nheaders = {{ X-Cashu = "{key}\\n" }}\n',
    "headers": 'a.toml: [providers.a]\nheaders = "X-Cashu: {key}"\n',
    "line feed": 'a.toml: [providers.a]\napi_key = "{key}\\n"\n',
    "user": 'a.toml: [providers.a]\nbase_url = "https://user:{key}@example.com/v1"\n',
    "query": 'a.toml: [providers.a]\nbase_url = "https://example.com/v1?key={key}"\n',
    "unclosed": 'a.toml: [providers.a]\napi_key = "{key}\n',
    "twice": 'a.toml: [providers.a]\napi_key = "{key}"\napi_key = "{key}"\n',
    "unclosed in YAML": 'a.yaml: providers: {{a: {{api_key: "{key}\n',
    "tab in YAML": "a.yaml: providers:\n  a:\n\tapi_key: {key}\n",
    "tag in YAML": "a.yaml: providers:\n  a:\n    api_key: !{key} {key}\n",
    "anchor in YAML": "a.yaml: providers:\n  a:\n    api_key: *{key}\n",
}
"""File name and content: a key in a place where it makes the configuration a bad one."""


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_configuration_is_told_without_its_secrets(tmp_path: Path, bad: str) -> None:
    """The lines that say what is wrong do not quote a key that is in the wrong place."""
    key = canary()
    name, _, text = BAD[bad].format(key=key).partition(": ")
    (tmp_path / name).write_text(text)

    code, out, err = await run("check", "--config", name, "--json", folder=tmp_path)

    assert code == 78
    assert err.startswith(f"{name}: ")
    assert key[7:19] not in out + err
