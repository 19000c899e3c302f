"""From the commit point to the last byte: the answer to the caller, observed on the way.

After the first byte the status is spent. A failure is then one error event, without a ``[DONE]`` behind it, so that a
broken answer never looks like a whole one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import lru_cache

from arbstr.dialects.metadata import metadata_comment, metadata_event
from arbstr.domain.errors import CallerLeft, FailureKind, GatewayError, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.money import Cost, amount_text, sats, sats_text, usd, usd_text
from arbstr.domain.routing import StreamMetadata
from arbstr.pipeline.answer import Answer
from arbstr.pipeline.attempts import AFTER_FINISH
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.ratelimit import rate_limit_headers
from arbstr.pipeline.settle import cost, total, used
from arbstr.pipeline.transcript import Transcript
from arbstr.policy.budget import Meter
from arbstr.policy.decision import route_text
from arbstr.policy.limits import NO_SLOT
from arbstr.policy.verdict import VERDICTS, answer_to
from arbstr.ports import Caller, Clock

AFTERMATH = 0.25
"""Seconds that a finished stream's connection has to end its body, so that it can be used again."""


async def relay(answer: Answer, caller: Caller, exchange: Exchange, *, clock: Clock) -> None:
    """Pass the answer on. Raises the GatewayError of a stream that broke."""
    if exchange.streaming:
        await _stream(answer, caller, exchange, clock)
    else:
        await _whole(answer, caller, exchange, clock)


async def _whole(answer: Answer, caller: Caller, exchange: Exchange, clock: Clock) -> None:
    """A whole answer is a single frame, and complete before its first byte is passed on."""
    frame = answer.held[-1]
    exchange.usage = frame.usage
    exchange.content_bytes = frame.content_bytes
    try:
        body = _body(answer, caller, exchange, frame)
    except UpstreamFailure as failure:
        answer.circuit.last_failure = failure
        answer.permit.fail(clock.monotonic())
        raise answer_to(failure, provider=answer.deployment.provider) from failure
    answer.permit.succeed()
    headers = route_headers(exchange, clock)
    price = cost(exchange, used(exchange))
    if price is not None:
        if price.sats is not None:
            headers.append((b"x-arbstr-cost-sats", sats_text(price.sats).encode()))
        if price.usd is not None:
            headers.append((b"x-arbstr-cost-usd", usd_text(price.usd).encode()))
    _warn(headers, exchange, price)
    headers.append((b"x-arbstr-latency-ms", str(_elapsed_ms(exchange, clock)).encode()))
    await caller.answer(200, headers, body)
    exchange.completed_at = clock.monotonic()


def _body(answer: Answer, caller: Caller, exchange: Exchange, frame: Frame) -> bytes:
    """The answer in the caller's dialect: the provider's own bytes where that is the same one."""
    request = exchange.request
    assert request is not None
    if answer.upstream.dialect == request.dialect:
        return frame.raw
    return caller.dialect.whole(
        request,
        (frame,),
        request_id=exchange.request_id,
        model=answer.deployment.model,
        created=int(exchange.received_at),
    )


async def _stream(answer: Answer, caller: Caller, exchange: Exchange, clock: Clock) -> None:
    permit = answer.permit
    request = exchange.request
    assert request is not None
    if answer.upstream.dialect != request.dialect:
        exchange.writer = caller.dialect.stream(
            request,
            request_id=exchange.request_id,
            model=answer.deployment.model,
            created=int(exchange.received_at),
        )
    transcript = Transcript(
        exchange,
        caller.dialect,
        writer=exchange.writer,
        wants_usage=request.include_usage,
        choices=request.n,
    )
    passed = transcript.take(answer.held)  # before anything is waited for: it is paid for, whoever is there to hear it
    permit.commit()
    headers = route_headers(exchange, clock)
    _warn(headers, exchange, None)
    headers.append((b"x-arbstr-streaming", b"true"))
    await caller.start(headers)
    try:
        ended = answer.ended
        while not transcript.done:
            if passed:
                await caller.write(passed)
            if transcript.failure is not None:
                raise transcript.failure
            if ended:
                passed = b""  # a finish without an end mark is complete, and is given one
                break
            frames = await _next(answer, exchange, clock, finished=transcript.all_finished)
            ended = not frames
            if ended and not transcript.finished:
                raise UpstreamFailure(FailureKind.UNREADABLE, "the stream was cut before its end")
            passed = transcript.take(frames)
    except UpstreamFailure as failure:
        late = failure.kind is FailureKind.TIMEOUT and clock.monotonic() >= exchange.deadline
        if failure.kind is FailureKind.TIMEOUT:
            limit = exchange.deadline_text if late else f"timeout.idle = {answer.idle:g} s"
            failure.message = f"{failure.message} ({limit})"
        if VERDICTS[failure.kind].counts and not late:
            answer.circuit.last_failure = failure
            permit.fail(clock.monotonic())
        raise answer_to(failure, provider=answer.deployment.provider) from failure
    permit.succeed()
    await caller.finish(passed + transcript.end() + _metadata(exchange, clock))
    exchange.completed_at = clock.monotonic()
    if not ended:
        await _end_of_body(answer, clock)


async def _next(answer: Answer, exchange: Exchange, clock: Clock, *, finished: bool) -> Sequence[Frame]:
    """The next frames; none at the end. What follows a finish (usage, ``[DONE]``) is waited for only a moment, and its
    absence, by whatever fault, is the end."""
    patience = AFTER_FINISH if finished else answer.idle
    try:
        return await answer.upstream.read(min(clock.monotonic() + patience, exchange.deadline))
    except UpstreamFailure:
        if finished:
            return ()
        raise


async def _end_of_body(answer: Answer, clock: Clock) -> None:
    """Read what follows ``[DONE]``, which is nothing, so that the connection can be used again. Anything else, or too
    much time, and it is closed: the caller has had everything either way."""
    with contextlib.suppress(UpstreamFailure):
        await answer.upstream.read(clock.monotonic() + AFTERMATH)


async def tell(caller: Caller, exchange: Exchange, error: GatewayError, *, clock: Clock) -> None:
    """Tell the caller what went wrong: as a status where it still can be one, in the stream otherwise."""
    if isinstance(error, CallerLeft):
        return
    if not caller.answered:
        headers = route_headers(exchange, clock)
        if error.retry_after_header is not None:
            headers.append((b"retry-after", error.retry_after_header))
        if not error.should_retry:
            headers.append((b"x-should-retry", b"false"))
        await caller.answer(error.status, headers, caller.dialect.error(error))
    elif exchange.streaming and exchange.answered_by is not None:
        broken = exchange.writer.error(error) if exchange.writer is not None else caller.dialect.error_event(error)
        await caller.finish(broken, close=True)


def route_headers(exchange: Exchange, clock: Clock) -> list[tuple[bytes, bytes]]:
    """Who answered, with which model, what failed before, and how the caller's limits stand: as far as it is known."""
    headers: list[tuple[bytes, bytes]] = []
    served = exchange.answered_by or (exchange.refused_by if exchange.passes_a_refusal else None)
    if served is not None:
        headers.append((b"x-arbstr-provider", _header_text(served.provider)))
        headers.append((b"x-arbstr-model", _header_text(served.model)))
    if exchange.plan is not None:
        headers.append((b"x-arbstr-route", route_text(exchange.plan)))
    if exchange.dropped:
        headers.append((b"x-arbstr-dropped", _header_text(", ".join(exchange.dropped))))
    if exchange.attempts:
        retries = exchange.retries()
        if retries is not None:
            headers.append((b"x-arbstr-retries", _header_text(retries)))
    if exchange.limits_view is not None:
        headers.extend(rate_limit_headers(exchange.limits_view))
    elif exchange.slot is not NO_SLOT:
        headers.extend(rate_limit_headers(exchange.slot.view(clock.monotonic())))
    return headers


def _warn(headers: list[tuple[bytes, bytes]], exchange: Exchange, price: Cost | None) -> None:
    """Say which budgets are nearly used up, or are and let it pass: ``key hour: 85% of 10 usd``."""
    if exchange.hold is None:
        return
    low = exchange.hold.low(total(price, exchange.failed_cost))
    if low:
        said = [_low(meter, share, of_a_key=exchange.key is not None) for meter, share in low]
        headers.append((b"x-arbstr-budget-warning", ", ".join(said).encode()))


def _low(meter: Meter, share: float, *, of_a_key: bool) -> str:
    """A window that is nearly used up. What all spend together is no business of a single key's holder."""
    if not meter.account.id and of_a_key:
        return f"gateway {meter.period.value}: nearly used up"
    whose = "key" if meter.account.id else "gateway"
    return f"{whose} {meter.period.value}: {share:.0%} of {amount_text(meter.limit or 0, meter.account.currency)}"


@lru_cache(maxsize=4096)
def _header_text(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")


def _metadata(exchange: Exchange, clock: Clock) -> bytes:
    """What follows a stream's ``[DONE]``."""
    if exchange.metadata is StreamMetadata.OFF:
        return b""
    price = cost(exchange, used(exchange))
    served = exchange.answered_by
    fields: dict[str, object] = {
        "arbstr_cost_sats": sats(price.sats) if price is not None and price.sats is not None else None,
        "arbstr_latency_ms": _elapsed_ms(exchange, clock),
        "arbstr_request_id": exchange.request_id,
        "arbstr_provider": served.provider if served is not None else None,
    }
    if price is not None and price.usd is not None:
        fields["arbstr_cost_usd"] = usd(price.usd)
    return metadata_event(fields) if exchange.metadata is StreamMetadata.EVENT else metadata_comment(fields)


def _elapsed_ms(exchange: Exchange, clock: Clock) -> int:
    return round((clock.monotonic() - exchange.started) * 1000)
