"""What providers do wrong, over real sockets, and what the caller sees of it."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from arbstr.upstream.http import HttpProvider
from tests.e2e.gateway import (
    ANSWER,
    DONE,
    HEL,
    LO,
    ROLE,
    STOP,
    USAGE_CHUNK,
    Ask,
    Behaviour,
    busy,
    chunk,
    event,
    gateway,
    good,
)

FAST = """
[resilience.retry]
initial_backoff = "1ms"
max_backoff = "2ms"
"""
HASTY = 'timeout = { first_token = "200ms", idle = "200ms", answer = "200ms", connect = "200ms" }'


def raw(data: bytes) -> Behaviour:
    """Answer with these bytes and hang up."""

    async def behave(ask: Ask) -> None:
        await ask.peer.send(data)
        ask.peer.writer.close()
        await ask.peer.left()

    return behave


async def reset(ask: Ask) -> None:
    ask.peer.reset(hard=True)


async def silent(ask: Ask) -> None:
    await ask.peer.left()


async def role_only(ask: Ask) -> None:
    await ask.begin()
    await ask.send(ROLE)
    await ask.peer.left()


async def error_first(ask: Ask) -> None:
    await ask.stream(ROLE, event({"error": {"message": "overloaded", "code": 503}}))


async def html(ask: Ask) -> None:
    await ask.peer.answer(b"<html><title>Captive portal</title></html>", b"content-type: text/html")


async def error_in_200(ask: Ask) -> None:
    await ask.answer({"error": {"message": "upstream is down", "code": 502}})


async def redirect(ask: Ask) -> None:
    await ask.peer.answer(b"", b"location: http://127.0.0.1:1/v1/elsewhere", status=b"307 Temporary Redirect")


EARLY: dict[str, Behaviour] = {
    "503": busy,
    "reset": reset,
    "silent": silent,
    "html": html,
    "error in 200": error_in_200,
    "redirect": redirect,
    "empty 200": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    "204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "cut body": raw(b'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"choices": ['),
    "bad json": raw(b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"choices": ['),
    "no choices": raw(b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"choices":[]}'),
    "not http": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "two lengths": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
    "huge head": raw(b"HTTP/1.1 200 OK\r\n" + b"x-pad: " + b"y" * 200_000 + b"\r\n\r\n"),
    "brotli": raw(b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\n{}"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", EARLY)
async def test_whatever_goes_wrong_before_the_answer_falls_back(tmp_path: Path, name: str, stream: bool) -> None:
    """The caller gets a good answer from the next provider and never sees the first one's trouble."""
    async with gateway(tmp_path, provider=HASTY, more=FAST) as running:
        running.alpha.usual = EARLY[name]

        reply = await running.chat(stream=stream)

        assert reply.status == 200
        assert reply.headers["x-arbstr-provider"] == "beta"
        assert reply.headers["x-arbstr-retries"].endswith("/alpha")
        row = await running.row(reply)
        assert [each["provider"] for each in row["attempts"]][-1] == "beta"
        assert (await running.get("/health")).json()["providers"]["alpha"]["failure_count"] >= 1
        running.check_nothing_is_left()


@pytest.mark.parametrize("behaviour", [role_only, error_first], ids=["stalls", "fails"])
async def test_a_stream_that_says_only_hello_falls_back(tmp_path: Path, behaviour: Behaviour) -> None:
    """A role is no content: the caller sees one lifecycle."""
    async with gateway(tmp_path, provider=HASTY, more=FAST) as running:
        running.alpha.usual = behaviour

        reply = await running.chat(stream=True)

        assert reply.headers["x-arbstr-provider"] == "beta"
        assert reply.body.count(ROLE) == 1


async def test_a_refused_connection_falls_back_at_once(tmp_path: Path) -> None:
    """The first provider's server is gone."""
    async with gateway(tmp_path) as running:
        listener = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        provider = running.service.providers["alpha"]
        assert isinstance(provider, HttpProvider)
        provider.origin = provider.origin._replace(port=port)

        reply = await running.chat()

        assert reply.headers["x-arbstr-provider"] == "beta"
        assert reply.headers["x-arbstr-retries"] == "1/alpha"


async def test_an_html_page_never_reaches_the_caller_whole(tmp_path: Path) -> None:
    """Where everybody fails: the OpenAI error object, with a short and clean text."""

    async def page(ask: Ask) -> None:
        await ask.peer.answer(
            b"<html><body><script>alert(1)</script>" + b"<p>gateway</p>" * 500 + b"</body></html>",
            b"content-type: text/html",
            status=b"502 Bad Gateway",
        )

    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = running.beta.usual = page

        reply = await running.chat()

        assert (reply.status, reply.error["code"]) == (502, "upstream_error")
        assert len(reply.error["message"]) < 300
        assert "<" not in reply.error["message"]


async def test_a_gzipped_answer_is_decoded(tmp_path: Path) -> None:
    """Its headers do not reach the caller, who did not ask for it."""

    async def zipped(ask: Ask) -> None:
        await ask.answer(gzip.compress(json.dumps(ANSWER).encode()), headers=(b"content-encoding: gzip",))

    async with gateway(tmp_path) as running:
        running.alpha.next = [zipped]

        reply = await running.chat()

        assert reply.json() == ANSWER
        assert "content-encoding" not in reply.headers


async def test_a_gzipped_error_is_decoded_too(tmp_path: Path) -> None:
    """The error branch is the one that others forget."""

    async def zipped(ask: Ask) -> None:
        body = gzip.compress(b'{"error": {"message": "bad tool", "code": "tool"}}')
        await ask.answer(body, status="400 Bad Request", headers=(b"content-encoding: gzip",))

    async with gateway(tmp_path) as running:
        running.alpha.next = [zipped]

        reply = await running.chat()

        assert (reply.status, reply.error["message"]) == (400, "bad tool")


async def test_a_stream_as_answer_to_a_whole_request_is_collected(tmp_path: Path) -> None:
    """Some servers stream whatever they are asked."""

    async def streams(ask: Ask) -> None:
        await ask.stream(ROLE, HEL, LO, STOP, USAGE_CHUNK, DONE)

    async with gateway(tmp_path) as running:
        running.alpha.next = [streams]

        reply = await running.chat()

        assert reply.headers["content-type"] == "application/json"
        assert reply.json()["choices"][0]["message"]["content"] == "Hello"
        assert reply.headers["x-arbstr-cost-sats"] == "3.5"


async def test_a_whole_answer_to_a_stream_request_becomes_a_stream(tmp_path: Path) -> None:
    """And others never do."""

    async def answers(ask: Ask) -> None:
        await ask.answer()

    async with gateway(tmp_path) as running:
        running.alpha.next = [answers]

        reply = await running.chat(stream=True)

        assert reply.headers["content-type"].startswith("text/event-stream")
        assert b"Hello there" in reply.body
        assert DONE in reply.body
        assert (await running.row(reply))["tokens"]["output"] == 200


async def test_a_provider_that_knows_no_stream_options_is_asked_without(tmp_path: Path) -> None:
    """Once refused, never sent again; the caller notices nothing."""

    async def strict(ask: Ask) -> None:
        if "stream_options" in ask.body:
            await ask.refuse("400 Bad Request", "Unrecognized request argument supplied: stream_options")
        else:
            await ask.stream(ROLE, HEL, STOP, DONE)

    async with gateway(tmp_path) as running:
        running.alpha.usual = strict

        first, second = await running.chat(stream=True), await running.chat(stream=True)

        assert (first.status, second.status) == (200, 200)
        assert ["stream_options" in ask.body for ask in running.alpha.asks] == [True, False, False]
        assert (await running.row(first))["cost"]["source"] == "estimated"


async def test_a_cut_after_content_is_an_error_event(tmp_path: Path) -> None:
    """The body is ended properly, then the connection is closed; no [DONE]."""

    async def cut(ask: Ask) -> None:
        await ask.begin()
        await ask.send(ROLE + HEL)
        ask.peer.reset()

    async with gateway(tmp_path) as running:
        running.alpha.next = [cut]

        reply = await running.chat(stream=True)

        assert (reply.status, reply.cut) == (200, False)
        events = reply.body.strip().split(b"\n\n")
        assert events[:2] == [ROLE.strip(), HEL.strip()]
        assert json.loads(events[2].removeprefix(b"data: "))["error"]["code"] == "upstream_error"
        assert len(events) == 3


async def test_half_an_event_is_never_passed_on(tmp_path: Path) -> None:
    """What was cut inside an event does not run into the error event."""

    async def cut(ask: Ask) -> None:
        await ask.begin()
        await ask.send(ROLE + HEL + LO[:20])
        ask.peer.reset()

    async with gateway(tmp_path) as running:
        running.alpha.next = [cut]

        reply = await running.chat(stream=True)

        assert reply.body.startswith(ROLE + HEL + b'data: {"error"')


async def test_a_stream_cut_into_single_bytes_is_the_same_stream(tmp_path: Path) -> None:
    """With an emoji across the cuts, comments and CRLF."""
    events = b": hi\r\n\r\n" + ROLE + chunk({"content": "h\u00e9llo \U0001f600"}).replace(b"\n", b"\r\n") + STOP + DONE

    async def dribble(ask: Ask) -> None:
        await ask.begin()
        for byte in events:
            await ask.send(bytes((byte,)))
        await ask.end()

    async with gateway(tmp_path) as running:
        running.alpha.next = [dribble]

        reply = await running.chat(stream=True)

        assert reply.body.startswith(events)
        assert (await running.row(reply))["stream_status"] == "complete"


async def test_an_event_of_a_megabyte_passes(tmp_path: Path) -> None:
    """An image, a tool's result."""
    large = chunk({"content": "x" * 2**20})

    async def sends(ask: Ask) -> None:
        await ask.stream(ROLE, large, STOP, DONE)

    async with gateway(tmp_path) as running:
        running.alpha.next = [sends]

        reply = await running.chat(stream=True)

        assert large in reply.body
        assert (await running.row(reply))["tokens"]["output"] == 2**18


async def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    """Beyond 16 MiB an event is an error, not memory."""

    async def endless(ask: Ask) -> None:
        await ask.begin()
        await ask.send(ROLE + HEL)
        while True:
            await ask.send(b"x" * 2**20)

    async with gateway(tmp_path) as running:
        running.alpha.next = [endless]

        reply = await running.chat(stream=True)

        assert b'"code":"upstream_error"' in reply.body
        assert len(reply.body) < 10_000
        running.check_nothing_is_left()


async def test_connections_are_reused_after_whole_answers_and_streams(tmp_path: Path) -> None:
    """Ten requests, one connection: also where the end of a stream's body comes after its [DONE]."""
    async with gateway(tmp_path) as running:
        for turn in range(10):
            await running.chat(stream=bool(turn % 2))
            await running.rows(turn + 1)

        assert len(running.alpha.asks) == 10
        assert running.alpha.server is not None
        assert len(running.alpha.server.peers) == 1


async def test_a_provider_that_echoes_our_key_does_not_give_it_away(tmp_path: Path) -> None:
    """Neither to the caller nor to the log."""

    async def echo(ask: Ask) -> None:
        await ask.refuse("400 Bad Request", f"your header was {ask.header('authorization')}")

    async with gateway(tmp_path) as running:
        running.alpha.usual = echo

        reply = await running.chat()

        assert "sk-alpha-0123456789" not in reply.body.decode()
        assert "sk-alp***" in reply.error["message"]
        assert "sk-alpha-0123456789" not in json.dumps(await running.row(reply))


async def test_a_429_with_retry_after_is_waited_for_where_nobody_else_can_serve(tmp_path: Path) -> None:
    """The provider is asked again when it said so, and not before."""
    async with gateway(tmp_path) as running:
        running.beta.next = [
            lambda ask: ask.refuse("429 Too Many Requests", "slow down", headers=(b"retry-after: 1",)),
            good,
        ]

        reply = await running.chat(model="gpt-4o-mini")

        assert reply.status == 200
        assert reply.headers["x-arbstr-retries"] == "1/beta"


async def test_one_bad_caller_does_not_open_the_circuit(tmp_path: Path) -> None:
    """A hundred 400s are a hundred 400s."""
    async with gateway(tmp_path) as running:
        running.alpha.usual = lambda ask: ask.refuse("400 Bad Request", "no")

        statuses = {(await running.chat()).status for _ in range(20)}

        assert statuses == {400}
        health = (await running.get("/health")).json()
        assert health["providers"]["alpha"] == {"state": "closed", "failure_count": 0}


async def test_the_whole_life_of_a_circuit(tmp_path: Path) -> None:
    """Three failures open it, all others go elsewhere, a probe closes it; /health says so all along."""
    breaker = '[resilience.circuit_breaker]\ntimeout = "100ms"\n[resilience.retry]\nmax_attempts = 1\n'
    async with gateway(tmp_path, more=breaker) as running:
        running.alpha.usual = busy
        for _ in range(3):
            assert (await running.chat()).headers["x-arbstr-provider"] == "beta"
        asked = len(running.alpha.asks)
        opened = (await running.get("/health")).json()
        running.alpha.usual = good
        while (await running.chat()).headers["x-arbstr-provider"] != "alpha":
            pass
        closed = (await running.get("/health")).json()

        assert asked == 3
        assert (opened["status"], opened["providers"]["alpha"]["failure_count"]) == ("degraded", 3)
        assert (closed["status"], closed["providers"]["alpha"]) == ("ok", {"state": "closed", "failure_count": 0})


async def test_with_every_circuit_open_health_is_unhealthy_and_requests_are_503(tmp_path: Path) -> None:
    """At once, without an attempt."""
    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = running.beta.usual = busy

        failed = await running.chat()
        refused = await running.chat()
        health = await running.get("/health")

        assert (failed.status, refused.status, health.status) == (502, 503, 503)
        assert (refused.error["code"], health.json()["status"]) == ("circuit_open", "unhealthy")
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert len(running.alpha.asks) + len(running.beta.asks) == 6
        assert (await running.get("/livez")).status == 200
