"""What callers do wrong, over real sockets: leave, do not read, send nonsense."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateway import DONE, HEL, MODEL, QUESTION, ROLE, Ask, Gateway, busy, chunk, gateway
from tests.upstream.servers import LONG

GOOD = json.dumps({"model": MODEL, "messages": QUESTION}).encode()
STREAM = json.dumps({"model": MODEL, "messages": QUESTION, "stream": True}).encode()


def post(body: bytes, *headers: str) -> bytes:
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def connect(running: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = running.url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def forever(ask: Ask) -> None:
    """Content that never ends, until the gateway hangs up."""
    await ask.begin()
    await ask.send(ROLE)
    while True:
        await ask.send(HEL)
        await asyncio.sleep(0.005)


async def silent(ask: Ask) -> None:
    await ask.peer.left()


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


WAYS: dict[str, Callable[[asyncio.StreamWriter], Any]] = {
    "closes": lambda writer: writer.close(),
    "resets": reset,
    "half-closes": lambda writer: writer.write_eof(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", ["before the headers", "in the stream"])
async def test_upstream_is_aborted_when_the_caller_leaves(tmp_path: Path, way: str, moment: str) -> None:
    """By any means, at any moment: the provider's connection is gone at once, one row says 499, the breaker is as it
    was."""
    async with gateway(tmp_path) as running:
        running.alpha.usual = silent if moment == "before the headers" else forever
        reader, writer = await connect(running)
        writer.write(post(STREAM))
        if moment == "in the stream":
            await reader.readuntil(HEL)
        else:
            async with asyncio.timeout(LONG):
                while not running.alpha.asks:
                    await asyncio.sleep(0.01)

        WAYS[way](writer)

        async with asyncio.timeout(1.0):
            await running.alpha.asks[0].peer.gone.wait()
        (row,) = await running.rows(1)
        assert (row["success"], row["error"]["status"], row["stream_status"]) == (False, 499, "client_disconnect")
        assert row["cost"]["source"] == "estimated", "the prompt was sent, and is charged for"
        assert (await running.get("/health")).json()["providers"]["alpha"]["failure_count"] == 0
        running.check_nothing_is_left()
        writer.close()


async def test_a_caller_who_leaves_in_backoff_is_not_retried_for(tmp_path: Path) -> None:
    """No second attempt is made on behalf of somebody who is gone."""
    retry = '[resilience.retry]\ninitial_backoff = "60s"\nmax_backoff = "60s"\n'
    async with gateway(tmp_path, more=retry) as running:
        running.alpha.usual = busy
        _, writer = await connect(running)
        writer.write(post(GOOD))
        async with asyncio.timeout(LONG):
            while not running.alpha.asks:
                await asyncio.sleep(0.01)

        writer.close()

        (row,) = await running.rows(1)
        assert row["error"]["status"] == 499
        assert len(running.alpha.asks) == 1


async def test_a_caller_who_does_not_read_holds_bounded_memory(tmp_path: Path) -> None:
    """The provider is not read either: what it could send before it was stopped is a few megabytes of buffers, not
    everything."""
    sent = 0
    stopped = asyncio.Event()
    piece = chunk({"content": "x" * 65_000})

    async def flood(ask: Ask) -> None:
        nonlocal sent
        await ask.begin()
        while sent < 400 * 2**20:
            try:
                async with asyncio.timeout(0.5):
                    await ask.send(piece)
            except TimeoutError:
                stopped.set()
                await ask.peer.left()
                return
            sent += len(piece)

    async with gateway(tmp_path) as running:
        running.alpha.usual = flood
        _, writer = await connect(running)
        writer.write(post(STREAM))

        async with asyncio.timeout(LONG):
            await stopped.wait()
        writer.close()

        assert sent < 64 * 2**20
        (row,) = await running.rows(1)
        assert row["error"]["status"] == 499


BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "cut": GOOD[:-10],
    "text": b"hello",
    "a list": b"[1]",
    "a number": b"1",
    "null": b"null",
    "deep": b"[" * 100_000,
    "deep inside": GOOD[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000,
    "no model": b'{"messages": [{"role": "user", "content": "x"}]}',
    "model is a list": b'{"model": [], "messages": [{"role": "user", "content": "x"}]}',
    "model with CRLF": b'{"model": "x\\r\\ny", "messages": [{"role": "user", "content": "x"}]}',
    "messages is an object": b'{"model": "gpt-4o", "messages": {}}',
    "messages is empty": b'{"model": "gpt-4o", "messages": []}',
    "a message is a number": b'{"model": "gpt-4o", "messages": [1]}',
    "content is a number": b'{"model": "gpt-4o", "messages": [{"role": "user", "content": 1}]}',
    "max_tokens is text": GOOD[:-1] + b', "max_tokens": "9"}',
    "max_tokens is negative": GOOD[:-1] + b', "max_tokens": -1}',
    "max_tokens is huge": GOOD[:-1] + b', "max_tokens": 1000000000000}',
    "n is huge": GOOD[:-1] + b', "n": 1000}',
    "stream is text": GOOD[:-1] + b', "stream": "yes"}',
    "stream_options is a list": GOOD[:-1] + b', "stream": true, "stream_options": []}',
    "NaN": GOOD[:-1] + b', "temperature": NaN}',
    "Infinity": GOOD[:-1] + b', "temperature": -Infinity}',
    "1e400": GOOD[:-1] + b', "temperature": 1e400}',
    "1e400 deep inside": GOOD[:-1] + b', "x": {"y": [1, {"z": -1e999}]}}',
    "4,301 digits": GOOD[:-1] + b', "seed": ' + b"1" * 4301 + b"}",
    "digits deep inside": GOOD[:-1] + b', "x": [[' + b"9" * 5000 + b"]]}",
    "not UTF-8": GOOD.replace(b"hello", b"\xff\xfe"),
    "not UTF-8 in an unknown field": GOOD[:-1] + b', "x": "\xc3\x28"}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "with a BOM": b"\xef\xbb\xbf" + GOOD,
    "two values": GOOD + GOOD,
}


async def test_every_bad_body_is_a_400_and_the_next_request_is_served(tmp_path: Path) -> None:
    """The OpenAI error object, nothing sent upstream, a row each, all over one connection."""
    async with gateway(tmp_path) as running:
        for name, body in BAD_BODIES.items():
            async with running.http.post(
                f"{running.url}/v1/chat/completions", data=body, headers={"content-type": "application/json"}
            ) as response:
                error = (await response.json())["error"]
                assert (response.status, error["code"]) == (400, "invalid_request"), name
                assert error["type"] == "invalid_request_error"
                assert error["message"], name
                assert len(response.headers["x-arbstr-request-id"]) == 36
        assert running.alpha.asks == []

        assert (await running.chat()).status == 200
        assert len(await running.rows(len(BAD_BODIES) + 1)) == len(BAD_BODIES) + 1


async def test_of_duplicate_keys_the_last_wins_and_is_what_the_provider_sees(tmp_path: Path) -> None:
    """What was checked is what is sent, inside messages and their parts too."""
    body = (
        b'{"model": "evil", "model": "gpt-4o", "max_tokens": "x", "max_tokens": 7, "messages": '
        b'[{"role": "system", "role": "user", "content": [{"type": "text", "text": "a", "text": "b"}]}]}'
    )
    async with gateway(tmp_path) as running:
        async with running.http.post(
            f"{running.url}/v1/chat/completions", data=body, headers={"content-type": "application/json"}
        ) as response:
            assert response.status == 200

        head, sent = running.alpha.asks[0].head, running.alpha.asks[0].body
        assert sent == {
            "model": "gpt-4o",
            "max_tokens": 7,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "b"}]}],
        }
        assert b"evil" not in head


async def test_lone_surrogates_are_forwarded_escaped(tmp_path: Path) -> None:
    """Half an emoji is not our business."""
    body = GOOD.replace(b"hello", b"\\ud83d and \\ude00")
    async with gateway(tmp_path) as running:
        async with running.http.post(
            f"{running.url}/v1/chat/completions", data=body, headers={"content-type": "application/json"}
        ) as response:
            assert response.status == 200

        assert running.alpha.asks[0].body["messages"][0]["content"] == "Say \ud83d and \ude00"


async def test_unknown_fields_and_numbers_reach_the_provider_as_they_were(tmp_path: Path) -> None:
    """A gateway of last year must not stand in the way of a parameter of next year."""
    async with gateway(tmp_path) as running:
        await running.chat(temperature=0.1, next_year={"deep": [1, 2.50, None, "é"]}, seed=2**60)

        sent = running.alpha.asks[0].body
        assert (sent["temperature"], sent["seed"]) == (0.1, 2**60)
        assert sent["next_year"] == {"deep": [1, 2.5, None, "é"]}
        assert "stream_options" not in sent


async def test_a_body_over_the_limit_is_a_413_however_it_comes(tmp_path: Path) -> None:
    """Announced, chunked or compressed: refused before it is held."""
    async with gateway(tmp_path, server='max_body = "64KiB"') as running:
        large = GOOD[:-1] + b', "x": "' + b"y" * 70_000 + b'"}'
        url = f"{running.url}/v1/chat/completions"

        async def pieces() -> Any:
            for start in range(0, len(large), 8192):
                yield large[start : start + 8192]

        requests: list[dict[str, Any]] = [
            {"data": large},
            {"data": pieces()},
            {"data": gzip.compress(large), "headers": {"content-encoding": "gzip"}},
        ]
        for request in requests:
            headers = {"content-type": "application/json", **request.pop("headers", {})}
            async with running.http.post(url, headers=headers, **request) as response:
                error = (await response.json())["error"]
                assert (response.status, error["code"]) == (413, "request_too_large")
        assert running.alpha.asks == []
        assert (await running.chat()).status == 200


async def test_a_compressed_body_is_understood(tmp_path: Path) -> None:
    """gzip and deflate; anything else, and nonsense, is a 400."""
    async with gateway(tmp_path) as running:
        cases: list[tuple[bytes, str, int]] = [
            (gzip.compress(GOOD), "gzip", 200),
            (zlib.compress(GOOD), "deflate", 200),
            (GOOD, "gzip", 400),
            (gzip.compress(GOOD)[:-4], "gzip", 400),
            (gzip.compress(GOOD) + b"more", "gzip", 400),
            (GOOD, "br", 400),
        ]
        for body, encoding, status in cases:
            headers = {"content-type": "application/json", "content-encoding": encoding}
            async with running.http.post(f"{running.url}/v1/chat/completions", data=body, headers=headers) as response:
                assert response.status == status, (encoding, body[:10])


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_body_that_is_not_json_by_its_type_is_a_400(tmp_path: Path, content_type: str) -> None:
    """What a page's form could send is not accepted either."""
    async with gateway(tmp_path) as running:
        headers = {"content-type": content_type}
        async with running.http.post(f"{running.url}/v1/chat/completions", data=GOOD, headers=headers) as response:
            assert response.status == 400
            assert "application/json" in (await response.json())["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
    ],
    ids=str,
)
async def test_pages_of_other_origins_and_foreign_hosts_are_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    """On every path under /v1; what orchestrators ask is open."""
    async with gateway(tmp_path) as running:
        reply = await running.chat(headers=headers)
        listed = await running.get("/v1/requests", headers=headers)

        assert (reply.status, reply.error["code"]) == (403, "forbidden_origin")
        assert listed.status == 403
        assert running.alpha.asks == []
        assert (await running.get("/livez", headers=headers)).status == 200


async def test_a_page_of_our_own_origin_and_names_of_this_machine_are_served(tmp_path: Path) -> None:
    """localhost is as good as 127.0.0.1."""
    async with gateway(tmp_path) as running:
        port = running.url.rpartition(":")[2]

        same = await running.chat(headers={"Origin": running.url, "Sec-Fetch-Site": "same-origin"})
        named = await running.chat(headers={"Host": f"localhost:{port}"})

        assert (same.status, named.status) == (200, 200)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/models/", 404, "not_found"),
        ("POST", "/v1/chat/completions/", 404, "not_found"),
        ("POST", "/v1//chat/completions", 404, "not_found"),
        ("POST", "/v1/../v1/chat/completions", 404, "not_found"),
        ("POST", "/V1/chat/completions", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("PATCH", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/requests?page=0", 400, "invalid_request"),
        ("GET", "/v1/requests?page=x", 400, "invalid_request"),
        ("GET", "/v1/requests?per_page=-1", 400, "invalid_request"),
        ("GET", "/v1/requests?page=1&page=2", 400, "invalid_request"),
        ("GET", "/v1/requests?order=sideways", 400, "invalid_request"),
        ("GET", "/v1/requests?made_up=1", 400, "invalid_request"),
        ("GET", "/v1/requests/no-such-id", 404, "not_found"),
        ("GET", "/v1/requests/%27%20OR%201=1--", 404, "not_found"),
    ],
)
async def test_odd_paths_and_methods_have_our_error_object(
    tmp_path: Path, method: str, path: str, status: int, code: str
) -> None:
    """With a request id each."""
    async with gateway(tmp_path) as running:
        reader, writer = await connect(running)
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        raw = await reader.read()
        writer.close()

        head, _, body = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"x-arbstr-request-id: " in head
        assert json.loads(body)["error"]["code"] == code


async def test_paging_through_the_log(tmp_path: Path) -> None:
    """Newest first, clamped to a hundred a page, a page beyond the end is empty."""
    async with gateway(tmp_path) as running:
        ids = [(await running.chat()).headers["x-arbstr-request-id"] for _ in range(5)]
        await running.rows(5)

        first = (await running.get("/v1/requests?per_page=2")).json()
        last = (await running.get("/v1/requests?per_page=2&page=3&order=asc")).json()
        beyond = (await running.get("/v1/requests?page=1000000000&per_page=1000")).json()

        assert [row["id"] for row in first["data"]] == [ids[4], ids[3]]
        assert (first["total"], first["total_pages"], first["page"], first["per_page"]) == (5, 3, 1, 2)
        assert [row["id"] for row in last["data"]] == [ids[4]]
        assert (beyond["data"], beyond["per_page"]) == ([], 100)


async def test_providers_show_rates_and_circuits_and_no_keys(tmp_path: Path) -> None:
    """The masked key and where it came from."""
    async with gateway(tmp_path) as running:
        reply = await running.get("/v1/providers")

        alpha = reply.json()["data"][0]
        assert (alpha["name"], alpha["api_key"], alpha["key_source"]) == ("alpha", "sk-alp***", "literal")
        assert alpha["models"][0]["input_rate"] == 5
        assert alpha["models"][0]["base_fee"] == 1
        assert alpha["circuit"] == {"state": "closed", "failure_count": 0}
        assert b"0123456789" not in reply.body


async def test_providers_show_by_which_names_each_model_is_asked_for(tmp_path: Path) -> None:
    """All of them, sorted: its own, and those of routes that lead to it."""
    routes = """
[models.quick]
primary = { provider = "beta", model = "gpt-4o-mini" }
fallbacks = [{ provider = "alpha", model = "gpt-4o" }]
[models.better]
primary = { provider = "alpha", model = "gpt-4o" }
"""
    async with gateway(tmp_path, more=routes) as running:
        shown = (await running.get("/v1/providers")).json()["data"]

        names = {f"{view['name']}/{each['model']}": each["serves"] for view in shown for each in view["models"]}
        assert names == {
            "alpha/gpt-4o": ["better", "gpt-4o", "quick"],
            "beta/gpt-4o": ["gpt-4o"],
            "beta/gpt-4o-mini": ["gpt-4o-mini", "quick"],
        }


async def test_metrics_can_be_scraped(tmp_path: Path) -> None:
    """Requests, tokens, cost and circuits, by provider."""
    async with gateway(tmp_path) as running:
        await running.chat()
        await running.rows(1)

        text = (await running.get("/metrics")).body.decode()

        assert 'arbstr_requests_total{model="gpt-4o",provider="alpha",status="200",streaming="false"} 1.0' in text
        assert 'arbstr_cost_sats_total{model="gpt-4o",provider="alpha"} 3.5' in text
        assert 'arbstr_circuit_state{provider="alpha"} 0.0' in text


async def test_a_head_request_has_no_body(tmp_path: Path) -> None:
    """As for any GET."""
    async with gateway(tmp_path) as running, running.http.head(f"{running.url}/health") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_a_hundred_callers_at_once_are_each_answered_once(tmp_path: Path) -> None:
    """Streams and whole answers mixed; a hundred rows, nothing left behind."""
    async with gateway(tmp_path) as running:
        replies = await asyncio.gather(*(running.chat(stream=bool(turn % 2)) for turn in range(100)))

        assert {reply.status for reply in replies} == {200}
        assert all(DONE in reply.body for reply in replies[1::2])
        assert len({reply.headers["x-arbstr-request-id"] for reply in replies}) == 100
        rows = await running.rows(100)
        assert {row["cost"]["sats"] for row in rows} == {3.5}
        running.check_nothing_is_left()


async def test_callers_who_hang_up_together_leave_nothing(tmp_path: Path) -> None:
    """Every one has its row; the gateway serves on."""
    async with gateway(tmp_path) as running:
        running.alpha.usual = silent
        connections = [await connect(running) for _ in range(200)]
        for _, writer in connections:
            writer.write(post(STREAM))
        async with asyncio.timeout(LONG):
            while len(running.alpha.asks) < 200:
                await asyncio.sleep(0.01)

        for _, writer in connections:
            writer.transport.abort()

        async with asyncio.timeout(LONG):
            while running.service.state.in_flight:
                await asyncio.sleep(0.01)
        running.check_nothing_is_left()
        running.alpha.usual = running.beta.usual
        assert (await running.chat()).status == 200
