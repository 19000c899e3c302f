"""Streams that are odd, broken or too much, from a provider's first byte to what the caller is given."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from pathlib import Path

import pytest

from arbstr.domain.errors import FailureKind
from arbstr.domain.record import CostSource
from arbstr.domain.routing import RetrySettings
from tests.e2e.gateway import ANSWER, DONE, HEL, LO, MODEL, QUESTION, ROLE, STOP, USAGE_CHUNK, Ask, gateway
from tests.faults.third import FAST, HASTY, gateway_before
from tests.pipeline.rig import CHEAP, ERROR, HELLO, Rig, deployment, error_of, failure, text
from tests.pipeline.rig import DONE as END
from tests.pipeline.rig import ROLE as LEAD
from tests.pipeline.rig import STOP as FINISH
from tests.upstream.servers import LONG, Peer

GOOD = ROLE + HEL + LO + STOP + USAGE_CHUNK + DONE


def sse(data: str) -> bytes:
    return b"data: " + data.encode() + b"\n\n"


@pytest.mark.parametrize("content_type", [None, b"application/json", b"text/plain", b"text/event-stream;charset=x"])
@pytest.mark.parametrize("cut", [1, 7, 10_000])
async def test_a_stream_is_one_whatever_its_type_says(tmp_path: Path, content_type: bytes | None, cut: int) -> None:
    """Its first bytes tell, however few of them come at once."""

    async def script(peer: Peer) -> None:
        await peer.request()
        typed = b"" if content_type is None else b"content-type: " + content_type + b"\r\n"
        await peer.send(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (typed, len(GOOD)))
        await peer.send(GOOD[:cut])
        await asyncio.sleep(0.02)
        await peer.send(GOOD[cut:])
        await peer.left()

    async with gateway_before(tmp_path, script) as (running, _):
        reply = await running.chat(stream=True)

        assert reply.headers["x-arbstr-provider"] == "third"
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.body.startswith(ROLE + HEL + LO + STOP + DONE)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_json_that_says_it_is_a_stream_does_not_pass(tmp_path: Path, stream: bool) -> None:
    """Nothing in it is an event: unreadable, so the next provider answers."""

    async def mislabelled(ask: Ask) -> None:
        await ask.peer.answer(json.dumps(ANSWER).encode(), b"content-type: text/event-stream")

    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = mislabelled

        reply = await running.chat(stream=stream)

        assert (reply.status, reply.headers["x-arbstr-provider"]) == (200, "beta")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_stream_arrives_piece_by_piece(tmp_path: Path, encoding: str) -> None:
    """What the provider has flushed is with the caller before the provider says more."""
    heard = asyncio.Event()

    async def squeezed(ask: Ask) -> None:
        packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
        await ask.peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: %b\r\n"
            b"transfer-encoding: chunked\r\n\r\n" % encoding.encode()
        )
        await ask.send(packer.compress(ROLE + HEL) + packer.flush(zlib.Z_SYNC_FLUSH))
        await heard.wait()
        await ask.send(packer.compress(LO + STOP + DONE) + packer.flush())
        await ask.end()

    async with gateway(tmp_path) as running:
        running.alpha.usual = squeezed
        body = {"model": MODEL, "messages": QUESTION, "stream": True}
        async with running.http.post(f"{running.url}/v1/chat/completions", json=body) as response:
            async with asyncio.timeout(LONG):
                first = await response.content.readexactly(len(ROLE + HEL))
            heard.set()
            rest = await response.read()

        assert "content-encoding" not in response.headers
        assert first == ROLE + HEL
        assert rest.startswith(LO + STOP + DONE)


@pytest.mark.parametrize("held", [b"", gzip.compress(b"")], ids=["nothing", "compressed nothing"])
async def test_a_stream_of_nothing_falls_back(tmp_path: Path, held: bytes) -> None:
    """A 200 that is closed at once, without an event."""

    async def nothing(ask: Ask) -> None:
        encoding = b"content-encoding: gzip\r\n" if held else b""
        await ask.peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%bcontent-length: %d\r\n\r\n%b"
            % (encoding, len(held), held)
        )

    async with gateway(tmp_path, more=FAST) as running:
        running.alpha.usual = nothing

        reply = await running.chat(stream=True)

        assert reply.headers["x-arbstr-provider"] == "beta"
        assert reply.headers["x-arbstr-retries"] == "3/alpha"


async def test_a_connection_that_goes_on_after_done_is_not_used_again(tmp_path: Path) -> None:
    """The caller has the whole answer and nothing of what follows; the next request gets a connection of its own."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await peer.send(b"%x\r\n%b\r\n" % (len(GOOD), GOOD))
        while True:
            await peer.send(b"%x\r\n%b\r\n" % (len(HEL), HEL))
            await asyncio.sleep(0.01)

    async with gateway_before(tmp_path, script) as (running, server):
        replies = [await running.chat(stream=True) for _ in range(2)]
        await server.nobody()

        assert [reply.body.count(HEL) for reply in replies] == [1, 1]
        assert [(await running.row(reply))["stream_status"] for reply in replies] == ["complete", "complete"]
        assert len(server.peers) == 2
        running.check_nothing_is_left()


async def test_a_stall_hangs_up_on_the_provider(tmp_path: Path) -> None:
    """After content: an error event without [DONE], a row, and nobody who goes on producing for nobody."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + ROLE + HEL)
        await peer.left()

    async with gateway_before(tmp_path, script, extra=HASTY) as (running, server):
        reply = await running.chat(stream=True)
        row = await running.row(reply)
        await server.nobody()

        assert reply.body.startswith(ROLE + HEL + b'data: {"error":')
        assert (DONE in reply.body, reply.cut) == (False, False)
        assert (row["stream_status"], row["error"]["status"]) == ("truncated", 504)
        running.check_nothing_is_left()


async def test_others_are_served_beside_a_flood(tmp_path: Path) -> None:
    """One stream that comes as fast as it can takes no turn from anybody: twenty whole answers go past it."""

    async def script(peer: Peer) -> None:
        body = (await peer.request())[1]
        if b'"stream"' not in body:
            await peer.answer(json.dumps(ANSWER).encode(), b"content-type: application/json")
            return
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + ROLE)
        while True:
            await peer.send(HEL * 1000)

    async with gateway_before(tmp_path, script) as (running, server):
        relayed = 0
        body = {"model": MODEL, "messages": QUESTION, "stream": True}

        async def drink() -> None:
            nonlocal relayed
            async with running.http.post(f"{running.url}/v1/chat/completions", json=body) as response:
                async for piece in response.content.iter_any():
                    relayed += len(piece)

        drinker = asyncio.create_task(drink())
        async with asyncio.timeout(LONG):
            while not relayed:
                await asyncio.sleep(0.01)
            before = relayed
            replies = [await running.chat() for _ in range(20)]
            while relayed == before:
                await asyncio.sleep(0.01)
        drinker.cancel()
        await asyncio.gather(drinker, return_exceptions=True)
        await server.nobody()

        assert {reply.status for reply in replies} == {200}


ODD_CALLS = [
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":3,"id":"c","function":{"name":"f","arguments":"{"}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\\"a\\""}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":3,"id":"c","function":{"name":"f","arguments":"{"}}]}}]}',
    '{"choices":[{"index":7,"delta":{"tool_calls":[{"function":{"arguments":":1}"}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":{"not":"a list"}}}]}',
]


async def test_odd_tool_calls_are_not_repaired() -> None:
    """Repeated, out of order, with gaps, without a beginning: they are relayed as they came."""
    rig = Rig()
    events = [sse(each) for each in ODD_CALLS]
    rig.script(CHEAP, [LEAD, *events, FINISH, END])

    caller = await rig.ask(stream=True)

    assert caller.received.startswith(LEAD + b"".join(events) + FINISH + END)
    assert (rig.row.success, rig.row.malformed_events) == (True, 0)


async def test_a_filter_in_mid_stream_is_a_finish() -> None:
    """It is the answer's end and not a failure: relayed, complete, and asked of nobody else."""
    rig = Rig()
    filtered = sse('{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}')
    rig.script(CHEAP, [LEAD, text("I will"), filtered, END])

    caller = await rig.ask(stream=True)

    assert caller.received.startswith(LEAD + text("I will") + filtered + END)
    assert rig.row.success
    assert rig.asked == [CHEAP]


@pytest.mark.parametrize(
    "odd",
    [
        b'data: {"choices":[{"index":0,"delta":{"content":"caf\xc3"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}\n\n',
        sse('{"choices":[{"index":0,"delta":{"content":"half \\ud83d"}}]}'),
        sse('{"choices":[{"index":0,"delta":{"content":"nul \\u0000"}}]}'),
        b'data: {"choices":[{"index":0,"delta":{"content":"a raw \x00"}}]}\n\n',
        sse('{"choices":[{"index":0,"delta":{"content":"\u2028\u2029\x85"}}]}'),
    ],
    ids=["cut UTF-8", "no UTF-8", "lone surrogate", "escaped NUL", "raw NUL", "other line ends"],
)
async def test_broken_text_is_relayed_as_it_came(odd: bytes) -> None:
    """Only what is read of it is mended; the caller gets the provider's bytes, and the row is complete."""
    rig = Rig()
    rig.script(CHEAP, [LEAD, odd, FINISH, END])

    caller = await rig.ask(stream=True)

    assert caller.received.startswith(LEAD + odd + FINISH + END)
    assert (rig.row.success, rig.row.malformed_events) == (True, 0)
    assert rig.row.cost_source is CostSource.ESTIMATED


async def test_broken_text_in_an_error_is_logged(tmp_path: Path) -> None:
    """NUL and half an emoji in a provider's message: the caller gets an error object, and the log its row."""

    async def odd(ask: Ask) -> None:
        await ask.answer(b'{"error": {"message": "nul \\u0000 half \\ud83d end"}}', status="400 Bad Request")

    async with gateway(tmp_path) as running:
        running.alpha.usual = odd

        reply = await running.chat()
        row = await running.row(reply)

        assert (reply.status, row["error"]["status"]) == (400, 400)
        assert reply.error["message"].startswith("nul")
        assert row["error"]["message"].endswith("end")


async def test_without_a_fallback_an_error_in_a_stream_ends_it_once() -> None:
    """Before content: as many tries as there may be, then a status. After it: one error event. Nobody goes round."""
    rig = Rig(deployments=(deployment(CHEAP, "5"),), settings={"retry": RetrySettings(max_attempts=2)})
    rig.script(CHEAP, [LEAD, ERROR], [LEAD, ERROR], [LEAD, text("Hel"), ERROR])

    early = await rig.ask(stream=True)
    late = await rig.ask(stream=True)

    assert (early.status, early.headers[b"x-arbstr-retries"]) == (502, b"2/cheap")
    assert error_of(late)["message"] == "cheap: overloaded"
    assert late.received.count(b'data: {"error"') == 1
    assert [row.success for row in rig.sink.requests] == [False, False]


async def test_pings_after_content_keep_a_stream_alive() -> None:
    """They are signs of life, up to the deadline over everything."""
    rig = Rig(settings={"request_timeout": 200.0})
    pings = [item for _ in range(5) for item in (20.0, b": ping\n\n")]
    rig.script(CHEAP, [LEAD, text("Hel"), *pings, text("lo"), FINISH, END], [LEAD, text("Hel"), *pings * 4])

    alive = await rig.ask(stream=True)
    endless = await rig.ask(stream=True)

    assert text("lo") in alive.received
    assert error_of(endless)["code"] == "upstream_timeout"


async def test_a_late_error_is_not_retried_anywhere() -> None:
    """Not at the same provider, not at the next, not with what was said so far as a beginning."""
    rig = Rig()
    rig.script(CHEAP, [LEAD, text("Hel"), failure(FailureKind.RESET, "the connection was lost")])
    rig.script("dear", HELLO)

    caller = await rig.ask(stream=True)

    assert rig.asked == [CHEAP]
    assert caller.received.count(b'data: {"error"') == 1
    assert END not in caller.received
