"""Streams: the commit point, what follows it, and how they end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from arbstr.dialects.anthropic import AnthropicCaller
from arbstr.dialects.translate import StreamWriter
from arbstr.domain.errors import FailureKind, GatewayError, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.record import CostSource, StreamStatus
from arbstr.domain.request import ChatRequest, Wishes
from arbstr.domain.routing import Commit, Route, Strategy
from arbstr.testing import ScriptedCaller, Step
from tests.pipeline.rig import (
    CHEAP,
    DEAR,
    DONE,
    ERROR,
    HELLO,
    ROLE,
    STOP,
    Rig,
    deployment,
    error_of,
    failure,
    text,
)


async def test_a_stream_passes_untouched_and_its_row_is_exact() -> None:
    """Usage that nobody asked for is kept from the caller, and counted; the metadata follows [DONE]."""
    rig = Rig()
    rig.script(CHEAP, HELLO)

    caller = await rig.ask(stream=True)

    relayed, trailer = caller.received.split(DONE)
    assert relayed == ROLE + text("Hel") + text("lo") + STOP
    assert trailer.startswith(b": arbstr {")
    assert json.loads(trailer.removeprefix(b": arbstr ")) == {
        "arbstr_cost_sats": 3.5,
        "arbstr_latency_ms": 0,
        "arbstr_request_id": "request-1",
        "arbstr_provider": "cheap",
    }
    assert (caller.status, caller.finished, caller.closed) == (200, True, False)
    assert caller.headers[b"x-arbstr-streaming"] == b"true"
    row = rig.row
    assert (row.streaming, row.success, row.stream_status) == (True, True, StreamStatus.COMPLETE)
    assert (row.input_tokens, row.output_tokens, row.cost) == (100, 200, 3_500_000)


async def test_a_caller_who_asked_for_usage_gets_it_with_the_cost() -> None:
    """In the usage chunk, beside the provider's own numbers."""
    rig = Rig()
    rig.script(CHEAP, HELLO)

    caller = await rig.ask(stream=True, stream_options={"include_usage": True})

    chunk = next(line for line in caller.received.split(b"\n\n") if b"usage" in line)
    usage = json.loads(chunk.removeprefix(b"data: "))["usage"]
    assert usage == {"prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 300, "cost_sats": 3.5}


@pytest.mark.parametrize(
    ("wish", "trailer"), [("comment", b": arbstr {"), ("event", b'data: {"arbstr_cost_sats"'), ("OFF", b"")]
)
async def test_the_metadata_has_three_forms(wish: str, trailer: bytes) -> None:
    """By the request's own header."""
    rig = Rig()
    rig.script(CHEAP, HELLO)

    caller = await rig.ask(stream=True, wishes=Wishes(stream_metadata=wish))

    after = caller.received.split(DONE)[1]
    assert after.startswith(trailer)
    assert bool(after) is bool(trailer)


@pytest.mark.parametrize("header", ["commit", "stream_metadata"])
async def test_a_wish_that_is_none_of_the_choices_is_a_400(header: str) -> None:
    """The error lists them."""
    rig = Rig()

    caller = await rig.ask(stream=True, wishes=Wishes(**{header: "maybe"}))

    assert caller.status == 400
    assert "expected one of" in error_of(caller)["message"]


@pytest.mark.parametrize(
    "early",
    [
        [failure()],
        [ROLE, failure(FailureKind.UNREADABLE, "cut")],
        [ROLE, ERROR],
        [ERROR],
        [b": ping\n\n", ERROR],
        [ROLE],
        [ROLE, DONE],
        [],
    ],
    ids=["503", "cut", "error event", "error first", "after a comment", "ended", "empty", "nothing"],
)
async def test_whatever_fails_before_the_first_content_falls_back(early: list[object]) -> None:
    """The caller sees one lifecycle, the fallback's, and a 200."""
    rig = Rig()
    rig.script(CHEAP, *[early[0] if len(early) == 1 and not isinstance(early[0], bytes) else early] * 3)  # type: ignore[arg-type]
    rig.script(DEAR, HELLO)

    caller = await rig.ask(stream=True)

    assert caller.status == 200
    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert caller.headers[b"x-arbstr-retries"] == b"3/cheap"
    assert caller.received.count(ROLE) == 1
    assert caller.received.count(b"Hel") == 1


async def test_pings_do_not_hold_off_the_first_token_timeout() -> None:
    """Comments for half a minute, and then the next provider."""
    rig = Rig()
    rig.script(CHEAP, [item for _ in range(20) for item in (5.0, b": ping\n\n")])
    rig.script(DEAR, HELLO)

    caller = await rig.ask(stream=True)

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert rig.clock.now == 1030.0


async def test_the_first_token_may_take_its_time_but_no_more() -> None:
    """30 s by default, per deployment."""
    rig = Rig()
    rig.script(CHEAP, [29.0, *HELLO])

    caller = await rig.ask(stream=True)

    assert caller.headers[b"x-arbstr-provider"] == b"cheap"
    assert rig.row.ttft_ms == pytest.approx(29_000)


async def test_a_cut_after_content_is_an_error_event_without_done() -> None:
    """The status is spent: in-band, the body ended properly, the connection closed, the row truncated."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hel"), failure(FailureKind.UNREADABLE, "the connection was lost")])

    caller = await rig.ask(stream=True)

    assert caller.status == 200
    assert error_of(caller)["message"] == "cheap: the connection was lost"
    assert DONE not in caller.received
    assert (caller.finished, caller.closed) == (True, True)
    assert rig.asked == [CHEAP]
    row = rig.row
    assert (row.success, row.stream_status, row.error_status) == (False, StreamStatus.TRUNCATED, 502)
    assert (row.cost_source, row.output_tokens) == (CostSource.ESTIMATED, 1)
    assert [each.error for each in row.attempts] == ["unreadable: the connection was lost"]
    assert rig.state.circuits[CHEAP].breaker.failure_count == 1


async def test_an_error_event_after_content_is_passed_on_as_ours() -> None:
    """In the same network read or not: what was content before it is given to the caller."""
    rig = Rig()
    rig.script(CHEAP, [ROLE + text("Hel") + ERROR])

    caller = await rig.ask(stream=True)

    assert caller.received.startswith(ROLE + text("Hel"))
    assert error_of(caller)["message"] == "cheap: overloaded"
    assert rig.asked == [CHEAP]


async def test_a_stall_after_content_ends_the_stream() -> None:
    """The idle timeout, 30 s by default; a timeout is a 504 in the row."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hel"), 31.0, text("lo"), DONE])

    caller = await rig.ask(stream=True)

    assert error_of(caller)["code"] == "upstream_timeout"
    assert rig.row.status == 504


async def test_a_slow_stream_that_moves_is_not_stalled() -> None:
    """29 s between reads, again and again, up to the deadline over everything."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, *[item for _ in range(15) for item in (29.0, text("x"))], STOP, DONE])

    caller = await rig.ask(stream=True)

    assert DONE in caller.received


async def test_the_deadline_over_everything_ends_a_stream_without_a_vote() -> None:
    """It is our limit, not the provider's fault."""
    rig = Rig(settings={"request_timeout": 100.0})
    rig.script(CHEAP, [ROLE, *[item for _ in range(15) for item in (20.0, text("x"))], STOP, DONE])

    caller = await rig.ask(stream=True)

    assert error_of(caller)["code"] == "upstream_timeout"
    assert rig.state.circuits[CHEAP].breaker.failure_count == 0


async def test_a_finish_without_done_is_complete_and_is_given_one() -> None:
    """Some providers just close."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi"), STOP])

    caller = await rig.ask(stream=True)

    assert caller.received.startswith(ROLE + text("Hi") + STOP + DONE)
    assert rig.row.stream_status is StreamStatus.COMPLETE


async def test_done_without_a_finish_is_complete() -> None:
    """The provider's word is enough."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi"), DONE])

    caller = await rig.ask(stream=True)

    assert rig.row.stream_status is StreamStatus.COMPLETE
    assert caller.received.count(DONE) == 1


async def test_neither_done_nor_finish_is_truncated() -> None:
    """A clean end of the body is no end of the answer."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi")])

    caller = await rig.ask(stream=True)

    assert DONE not in caller.received
    assert rig.row.stream_status is StreamStatus.TRUNCATED
    assert rig.state.circuits[CHEAP].breaker.failure_count == 1


async def test_what_follows_done_is_not_relayed() -> None:
    """Nor does an error there change anything."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi"), STOP, DONE + text("more"), failure()])

    caller = await rig.ask(stream=True)

    assert b"more" not in caller.received
    assert rig.row.success


async def test_an_event_that_cannot_be_read_is_dropped_and_counted() -> None:
    """The stream goes on."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi"), b"data: {broken\n\n", STOP, DONE])

    caller = await rig.ask(stream=True)

    assert b"broken" not in caller.received
    assert (rig.row.malformed_events, rig.row.success) == (1, True)


async def test_usage_on_every_chunk_is_cumulative_and_relayed_as_it_is() -> None:
    """The last value wins; it is never summed."""
    rig = Rig()
    chunks = [
        b'data: {"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":10,"completion_tokens":%d}}\n\n' % count
        for count in (1, 2, 3)
    ]
    rig.script(CHEAP, [*chunks, STOP, DONE])

    caller = await rig.ask(stream=True)

    assert caller.received.startswith(b"".join(chunks))
    assert (rig.row.input_tokens, rig.row.output_tokens) == (10, 3)


async def test_usage_beside_an_empty_delta_is_kept_from_who_did_not_ask() -> None:
    """LiteLLM's form of the usage chunk."""
    rig = Rig()
    late = b'data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":10,"completion_tokens":3}}\n\n'
    rig.script(CHEAP, [ROLE, text("Hi"), STOP, late, DONE], [ROLE, text("Hi"), STOP, late, DONE])

    silent = await rig.ask(stream=True)
    asked = await rig.ask(stream=True, stream_options={"include_usage": True})

    assert b"usage" not in silent.received
    assert b'"cost_sats":' in asked.received
    assert [row.output_tokens for row in rig.sink.requests] == [3, 3]


async def test_without_usage_the_output_is_estimated_from_what_was_said() -> None:
    """Four bytes a token."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, *[text("x" * 40) for _ in range(10)], STOP, DONE])

    await rig.ask(stream=True)

    assert (rig.row.output_tokens, rig.row.cost_source) == (100, CostSource.ESTIMATED)


async def test_a_stream_held_until_complete_can_still_fall_back() -> None:
    """X-Arbstr-Commit: complete: a cut after content is as if it had never been."""
    rig = Rig()
    cut: Step = [ROLE, text("Hel"), failure(FailureKind.UNREADABLE, "cut")]
    rig.script(CHEAP, cut, cut, cut)
    rig.script(DEAR, HELLO)

    caller = await rig.ask(stream=True, wishes=Wishes(commit="complete"))

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert caller.received.count(b"Hel") == 1


async def test_a_route_may_hold_its_streams() -> None:
    """commit = "complete" in the config; the header may undo it."""
    deployments = (deployment(CHEAP, "5"),)
    routes = {"gpt-4o": Route("gpt-4o", Strategy.CHEAPEST, deployments, Commit.COMPLETE)}
    rig = Rig(deployments=deployments, settings={"routes": routes})
    cut: Step = [ROLE, text("Hel"), failure(FailureKind.TIMEOUT, "stalled")]
    rig.script(CHEAP, cut, cut)

    held = await rig.ask(stream=True)
    passed = await rig.ask(stream=True, wishes=Wishes(commit="first_content"))

    assert held.status == 504
    assert passed.status == 200
    assert b"Hel" in passed.received


async def test_a_held_stream_that_is_cut_clean_falls_back() -> None:
    """Neither [DONE] nor a finish: not complete, so not committed."""
    rig = Rig()
    rig.script(CHEAP, *[[ROLE, text("Hel")]] * 3)
    rig.script(DEAR, [ROLE, text("Hi"), STOP])

    caller = await rig.ask(stream=True, wishes=Wishes(commit="complete"))

    assert caller.headers[b"x-arbstr-provider"] == b"dear"
    assert DONE in caller.received


async def test_a_stream_too_long_to_be_held_is_passed_on() -> None:
    """Memory is bounded: beyond 16 MiB the caller gets what there is, and the rest as it comes."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, *[text("x" * 2**20) for _ in range(18)], STOP, DONE])

    caller = await rig.ask(stream=True, wishes=Wishes(commit="complete"))

    assert len(caller.writes[0]) < 18 * 2**20
    assert caller.received.count(DONE) == 1


async def test_a_slow_reader_stops_the_reading() -> None:
    """While the caller does not take what it was given, nothing more is read from the provider."""
    rig = Rig()
    provider = rig.script(CHEAP, HELLO)
    caller = rig.caller(stream=True)
    caller.hears.clear()
    task = asyncio.create_task(rig.pipeline.handle(caller))
    for _ in range(50):
        await asyncio.sleep(0)

    assert len(caller.writes) == 1
    assert provider.closed == []
    caller.hears.set()
    await task
    assert DONE in caller.received


@pytest.mark.parametrize(
    "end",
    [failure(FailureKind.UNREADABLE, "cut"), failure(FailureKind.TIMEOUT, "silent"), 100.0],
    ids=["cut", "timeout", "silence"],
)
async def test_a_finished_stream_is_complete_however_its_connection_ends(end: UpstreamFailure | float) -> None:
    """The answer was whole: [DONE] is added after half a second at most, and nobody is to blame."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi"), STOP, end])

    caller = await rig.ask(stream=True)

    assert caller.received.startswith(ROLE + text("Hi") + STOP + DONE)
    assert (rig.row.success, rig.row.stream_status) == (True, StreamStatus.COMPLETE)
    assert rig.state.circuits[CHEAP].breaker.failure_count == 0
    assert rig.clock.now <= 1000.5


async def test_a_finished_stream_that_is_held_is_not_bought_again() -> None:
    """Under commit = complete, too."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi"), STOP, failure(FailureKind.UNREADABLE, "cut")])

    caller = await rig.ask(stream=True, wishes=Wishes(commit="complete"))

    assert rig.asked == [CHEAP]
    assert caller.received.startswith(ROLE + text("Hi") + STOP + DONE)


async def test_of_two_choices_one_finish_is_not_the_end() -> None:
    """The other one may still be speaking, and a cut there is a cut."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi"), STOP, 10.0, text("there"), failure(FailureKind.UNREADABLE, "cut")])

    caller = await rig.ask(stream=True, n=2)

    assert b"there" in caller.received
    assert rig.row.stream_status is StreamStatus.TRUNCATED


async def test_the_usage_of_a_beginning_is_not_the_usage_of_what_followed() -> None:
    """A stream that reported one token early and was cut after five hundred."""
    rig = Rig()
    early = b'data: {"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":10,"completion_tokens":1}}\n\n'
    rig.script(CHEAP, [early, text("x" * 2000), failure(FailureKind.UNREADABLE, "cut")])

    await rig.ask(stream=True)

    assert (rig.row.input_tokens, rig.row.output_tokens) == (10, 501)
    assert rig.row.cost_source is CostSource.ESTIMATED


async def test_a_provider_that_reports_no_output_is_not_free() -> None:
    """Zero output tokens for four hundred bytes of text: what was produced counts."""
    rig = Rig()
    none = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":0}}\n\n'
    rig.script(CHEAP, [ROLE, text("x" * 400), STOP, none, DONE])

    await rig.ask(stream=True)

    assert (rig.row.output_tokens, rig.row.cost_source) == (100, CostSource.ESTIMATED)


async def test_the_rows_latency_ends_with_the_last_byte() -> None:
    """Not with the connection's way back into the pool."""
    rig = Rig()
    rig.script(CHEAP, [*HELLO, 0.2])

    await rig.ask(stream=True)

    assert rig.row.latency_ms == 0.0
    assert rig.clock.now == 1000.2


async def test_a_held_stream_of_two_choices_is_whole_when_both_have_finished() -> None:
    """A cut after the first finish is a cut: it falls back."""
    rig = Rig()
    cut: Step = [ROLE, text("Hi"), STOP, failure(FailureKind.UNREADABLE, "cut")]
    rig.script(CHEAP, cut, cut, cut)
    rig.script(DEAR, [ROLE, text("Hi"), STOP, STOP, DONE])

    caller = await rig.ask(stream=True, n=2, wishes=Wishes(commit="complete"))

    assert caller.headers[b"x-arbstr-provider"] == b"dear"


async def test_a_held_stream_waits_for_its_end_mark_only_a_moment() -> None:
    """Half a second after its finish, not the idle timeout."""
    rig = Rig()
    rig.script(CHEAP, [ROLE, text("Hi"), STOP, 100.0])

    caller = await rig.ask(stream=True, wishes=Wishes(commit="complete"))

    assert DONE in caller.received
    assert rig.clock.now <= 1000.5


async def test_a_stream_that_cannot_be_translated_any_further_breaks_where_it_stands() -> None:
    """What was translated before it reaches the caller, in order; then the end of a broken stream in its dialect."""

    class Stuck:
        def __init__(self, writer: StreamWriter) -> None:
            self.writer = writer
            self.frames = 0

        def write(self, frame: Frame) -> bytes:
            self.frames += 1
            if self.frames == 3:
                raise UpstreamFailure(FailureKind.UNREADABLE, "out of order")
            return self.writer.write(frame)

        def error(self, error: GatewayError) -> bytes:
            return self.writer.error(error)

    class Dialect(AnthropicCaller):
        def stream(self, request: ChatRequest, *, request_id: str, model: str, created: int) -> Any:
            made = super().stream(request, request_id=request_id, model=model, created=created)
            return Stuck(made)

    rig = Rig()
    rig.script(CHEAP, [ROLE + text("Hel") + text("lo") + STOP + DONE])
    asked = {"model": "gpt-4o", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    caller = ScriptedCaller(json.dumps(asked).encode(), dialect="anthropic")
    caller.dialect = Dialect()

    await rig.pipeline.handle(caller)

    assert caller.received.startswith(b"event: message_start")
    assert caller.received.index(b"Hel") < caller.received.index(b"event: error")
    assert b"message_stop" not in caller.received
    assert rig.row.stream_status is StreamStatus.TRUNCATED
