"""Callers who leave, and callers who try to reach further than they may."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import PolicyRule
from arbstr.edge.access import Access
from arbstr.edge.app import ROUTES
from arbstr.policy.planner import choose_rule
from tests.e2e.gateway import DONE, MODEL, QUESTION, ROLE, Ask, Gateway, chunk, gateway, good
from tests.faults.third import FAST
from tests.upstream.servers import LONG, answers, serve

GOOD = json.dumps({"model": MODEL, "messages": QUESTION}).encode()


def post(body: bytes, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def connect(running: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = running.url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def send(running: Gateway, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Bytes on a connection of their own, and what they are answered with: status, headers, body."""
    reader, writer = await connect(running)
    writer.write(data)
    async with asyncio.timeout(LONG):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    writer.close()
    return int(status_line.split(" ")[1]), headers, body


@pytest.mark.parametrize("moment", ["before the head", "in the body"])
async def test_leaving_a_whole_answer_aborts_it_upstream(tmp_path: Path, moment: str) -> None:
    """As a stream's is: nobody goes on producing what nobody will read, and the row says 499."""

    async def slow(ask: Ask) -> None:
        if moment == "in the body":
            await ask.peer.send(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"choices": [')
        await ask.peer.left()

    async with gateway(tmp_path) as running:
        running.alpha.usual = slow
        _, writer = await connect(running)
        writer.write(post(GOOD))
        async with asyncio.timeout(LONG):
            while not running.alpha.asks:
                await asyncio.sleep(0.01)

        writer.close()

        async with asyncio.timeout(LONG):
            await running.alpha.asks[0].peer.gone.wait()
        (row,) = await running.rows(1)
        assert (row["success"], row["error"]["status"], row["streaming"]) == (False, 499, False)
        assert running.beta.asks == []
        assert (await running.get("/health")).json()["providers"]["alpha"]["failure_count"] == 0
        running.check_nothing_is_left()


async def test_a_body_that_is_refused_is_not_asked_for(tmp_path: Path) -> None:
    """A caller that waits for 100 Continue hears the refusal instead, and sends nothing."""
    async with gateway(tmp_path, server='max_body = "1KiB"') as running:
        head = post(b"x" * 2000, "expect: 100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

        status, _, body = await send(running, head)

        assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("name", ["x-request-id", "x-arbstr-request-id"])
async def test_request_ids_are_made_here(tmp_path: Path, name: str) -> None:
    """What a caller sends as one is neither believed nor repeated."""
    async with gateway(tmp_path) as running:
        reply = await running.chat(headers={name: "11111111-2222-3333-4444-555555555555"})

        assert reply.headers["x-request-id"] == reply.headers["x-arbstr-request-id"]
        assert reply.headers["x-request-id"] != "11111111-2222-3333-4444-555555555555"
        assert (await running.row(reply))["id"] == reply.headers["x-request-id"]


CALLERS_HEADERS = {
    "authorization": "Bearer sk-caller",
    "x-api-key": "sk-caller",
    "api-key": "sk-caller",
    "cookie": "session=caller",
    "proxy-authorization": "Basic caller",
    "connection": "x-api-key, authorization",
    "te": "trailers",
    "upgrade": "h2c",
    "x-forwarded-for": "1.2.3.4",
    "forwarded": "for=1.2.3.4",
    "openai-organization": "org-caller",
    "x-arbstr-stream-metadata": "off",
    "x-anything": "caller",
}


async def test_no_header_of_the_caller_reaches_a_provider(tmp_path: Path) -> None:
    """A provider sees the headers that the gateway means to send, and its own key."""
    async with gateway(tmp_path) as running:
        status, _, _ = await send(running, post(GOOD, *(f"{name}: {value}" for name, value in CALLERS_HEADERS.items())))

        (ask,) = running.alpha.asks
        names = {line.partition(":")[0].lower() for line in ask.head.decode().split("\r\n")[1:-2]}
        assert status == 200
        assert names == {
            *("host", "content-type", "content-length", "accept", "accept-encoding", "user-agent", "authorization")
        }
        assert ask.header("authorization") == "Bearer sk-alpha-0123456789"
        assert b"caller" not in ask.head


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_no_header_of_a_provider_reaches_the_caller(tmp_path: Path, stream: bool) -> None:
    """Its cookies, its organisation and its limits are the operator's business."""
    theirs = b"set-cookie: a=b\r\nopenai-organization: org-ours\r\nx-ratelimit-remaining-requests: 1\r\n" + (
        b"server: theirs\r\nconnection: keep-alive, x-odd\r\nx-odd: 1\r\nx-arbstr-provider: somebody\r\n"
    )
    body = ROLE + chunk({"content": "Hi"}, "stop") + DONE if stream else b'{"choices": [{"message": {"content": "a"}}]}'
    typed = b"text/event-stream" if stream else b"application/json"

    async def marked(ask: Ask) -> None:
        await ask.peer.send(
            b"HTTP/1.1 200 OK\r\n%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (theirs, typed, len(body), body)
        )

    async with gateway(tmp_path) as running:
        running.alpha.usual = marked

        reply = await running.chat(stream=stream)

        ours = {name for name in reply.headers if not name.startswith("x-arbstr-")}
        assert ours <= {
            *("content-type", "content-length", "transfer-encoding", "cache-control", "date", "x-request-id"),
            "x-accel-buffering",
        }
        assert reply.headers["x-arbstr-provider"] == "alpha"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/%2e%2e/v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/chat/completions;x=y",
        "/v1/chat/completions%00",
        "/v1/chat/completions%2f",
        "/v1/chat\\completions",
        "/v1\\chat\\completions",
        "//v1/chat/completions",
        "/v1/chat/%63ompletions/../completions",
    ],
)
async def test_paths_are_taken_at_their_word(tmp_path: Path, path: str) -> None:
    """Nothing is collapsed, cut off or guessed: what is not a route is a 404, or no HTTP at all, and asks nobody."""
    async with gateway(tmp_path) as running:
        status, _, body = await send(running, post(GOOD, path=path))

        assert status in (400, 404)
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
        assert running.alpha.asks == []


async def test_a_request_cannot_say_where_it_goes(tmp_path: Path) -> None:
    """Addresses and keys in the body or in headers are parameters like any other: they reach the configured provider
    under its own key, and the address in them hears nothing."""
    async with serve(answers()) as trap, gateway(tmp_path) as running:
        where = {"api_base": f"{trap.origin}/v1", "base_url": f"{trap.origin}/v1", "api_key": "sk-x"}
        nested = {"litellm_params": where, "extra_body": where, "extra_headers": {"authorization": "Bearer sk-x"}}
        headers = {"x-base-url": str(trap.origin), "x-arbstr-provider": "beta", "x-arbstr-base-url": str(trap.origin)}

        reply = await running.chat(**where, **nested, headers=headers)

        (ask,) = running.alpha.asks
        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "alpha")
        assert ask.header("authorization") == "Bearer sk-alpha-0123456789"
        assert {name: ask.body[name] for name in where} == where
        assert trap.peers == []


@pytest.mark.parametrize("path", ROUTES)
async def test_every_route_goes_through_the_same_door(tmp_path: Path, path: str) -> None:
    """A page of another origin is refused on each, but for those that tell nothing; and no answer is kept by caches."""
    method = next(iter(ROUTES[path].methods))
    full = f"{path}gpt-4o" if path.endswith("/") else path
    async with gateway(tmp_path) as running:
        url = f"{running.url}{full}"
        async with running.http.request(method, url, headers={"Origin": "https://evil.example"}) as response:
            foreign = response.status
        async with running.http.request(method, url, json={"model": MODEL, "messages": QUESTION}) as response:
            stored = response.headers["cache-control"]

        assert (foreign == 403) is (ROUTES[path].access not in (Access.OPEN, Access.SCRAPE))
        assert stored == "no-store"
        assert len(running.alpha.asks) == (path == "/v1/chat/completions")


@pytest.mark.parametrize(
    "host",
    [
        "localhost:1/#@evil.example",
        "evil.example/#@localhost",
        "evil.example@localhost",
        "localhost#evil.example",
        "[::1",
    ],
)
async def test_a_host_with_more_in_it_than_a_host_is_refused(tmp_path: Path, host: str) -> None:
    """It is no name of this machine, however it may be read."""
    async with gateway(tmp_path) as running:
        data = post(GOOD).replace(b"host: 127.0.0.1", b"host: " + host.encode())

        status, _, _ = await send(running, data)

        assert status in (400, 403)
        assert running.alpha.asks == []


SAYS = {
    "good": [ROLE, chunk({"content": "canary-answer"}, "stop"), DONE],
    "cut": [ROLE, chunk({"content": "canary-answer"})],
    "no JSON": [ROLE, chunk({"content": "canary-answer"}), b'data: {"canary-answer\n\n', chunk({}, "stop"), DONE],
    "another shape": [b'data: {"message": {"content": "canary-answer"}}\n\n'],
    "good, whole": [b'{"choices": [{"message": {"content": "canary-answer"}, "finish_reason": "stop"}]}'],
    "no JSON, whole": [b'{"choices": [{"message": {"content": "canary-answer'],
    "another shape, whole": [b'{"message": {"content": "canary-answer"}}'],
    "a list, whole": [b'["canary-answer"]'],
}


@pytest.mark.parametrize("said", SAYS)
async def test_what_is_said_is_not_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str], said: str) -> None:
    """Neither the prompt nor the answer is in the log lines, the database or the metrics, whatever becomes of it."""
    stream = not said.endswith("whole")

    async def says(ask: Ask) -> None:
        if stream:
            await ask.stream(*SAYS[said])
        else:
            await ask.answer(SAYS[said][0])

    folder = tmp_path / "run"
    folder.mkdir()
    async with gateway(folder, more=f'{FAST}\n[logging]\nlevel = "debug"\n') as running:
        running.alpha.usual = running.beta.usual = says

        reply = await running.chat(
            stream=stream,
            messages=[{"role": "user", "content": "canary-prompt"}],
            user="canary-user",
            tools=[{"type": "function", "function": {"name": "canary-tool"}}],
        )
        row = await running.row(reply)
        kept = json.dumps(row) + (await running.get("/metrics")).body.decode()
    with closing(sqlite3.connect(folder / "arbstr.db")) as database:
        kept += "\n".join(database.iterdump())
    printed = capfd.readouterr()
    kept += printed.out + printed.err

    assert reply.headers["x-arbstr-request-id"] in printed.out
    assert (b"canary-answer" in reply.body) is row["success"] or said == "cut"
    assert "canary" not in kept


@pytest.mark.parametrize("keyword", ["(a+)+$", "[", "a|b", ".*", "\\", "*"])
def test_keywords_are_text_and_no_patterns(keyword: str) -> None:
    """No operator can write one that takes for ever, and none means more than it says."""
    rule = PolicyRule(name="rule", keywords=(keyword,))

    def asks(text: str) -> ChatRequest:
        return ChatRequest(model=MODEL, stream=False, fields={}, input_bytes=1, last_user_text=text)

    assert choose_rule((rule,), None, asks(f"please {keyword} now")) is rule
    assert choose_rule((rule,), None, asks("a" * 100_000 + "!")) is None


async def test_a_refusal_does_not_cost_the_connection(tmp_path: Path) -> None:
    """After a 400, a 404 and a 405 with their bodies read, the same connection serves on."""
    async with gateway(tmp_path) as running:
        running.alpha.usual = good
        reader, writer = await connect(running)
        writer.write(post(b"nonsense") + post(GOOD, path="/nowhere") + post(GOOD, path="/health") + post(GOOD))
        statuses = []
        async with asyncio.timeout(LONG):
            for _ in range(4):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                statuses.append(int(head.split(" ")[1]))
                await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        writer.close()

        assert statuses == [400, 404, 405, 200]
