"""The end of every request: what it used, what it cost, one record. Nothing here waits."""

from __future__ import annotations

import math

import msgspec

from arbstr.domain.decision import Decision
from arbstr.domain.errors import CallerLeft, UpstreamFailure
from arbstr.domain.money import Cost, MicroSats
from arbstr.domain.record import AttemptRecord, CostSource, RequestRecord, StreamStatus
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Deployment
from arbstr.domain.usage import Usage, estimated_tokens
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.state import LiveState
from arbstr.policy.pricing import cost_of
from arbstr.ports import Clock, RecordSink


def used(exchange: Exchange) -> Usage | None:
    """What the request used: the provider's own numbers, or an estimate of what it read and produced. None where no
    provider was at work on it: one that was, when the request was interrupted, has read it and will charge for that.

    The numbers of an answer that was broken off may be those of its beginning, and some providers report no output
    at all: then what was produced counts, if it is more.
    """
    reported = exchange.usage
    if exchange.request is None or (exchange.answered_by is None and exchange.abandoned is None):
        return None
    if reported is not None and reported.output_tokens and exchange.error is None:
        return reported
    return sum_up(reported, exchange.content_bytes, exchange.request)


def sum_up(reported: Usage | None, content_bytes: int, request: ChatRequest) -> Usage:
    """What an answer used that was broken off, or reported too little: what it reported, or what it produced."""
    produced = estimated_tokens(content_bytes)
    if reported is None:
        return Usage(estimated_tokens(request.input_bytes), produced, estimated=True)
    if reported.output_tokens >= produced:
        return reported
    return msgspec.structs.replace(reported, output_tokens=produced, estimated=True)


def cost(exchange: Exchange, usage: Usage | None) -> Cost | None:
    """The price of ``usage`` at the provider that served, as the request's own snapshot has it. None where no price is
    known."""
    deployment = exchange.answered_by or exchange.abandoned
    if usage is None or deployment is None or deployment.rates is None:
        return None
    if exchange.answered_by is None and not exchange.streaming:
        most = set_aside(deployment, exchange)
        if most is not None:
            return most
    priced = exchange.priced
    if priced is None or priced[0] is not usage:  # it is asked for more than once
        priced = exchange.priced = usage, cost_of(usage, deployment.rates, exchange.rate)
    return priced[1]


def set_aside(deployment: Deployment, exchange: Exchange) -> Cost | None:
    """The most that a request can have cost at a deployment which had it, and whose answer nobody saw the end of: so
    much is charged where a budget must not be passed, for the provider may well have done all of the work. None where
    no such budget holds, or the deployment has no price.

    A stream is another matter: what came of it was seen, and a provider stops when it is hung up on
    (:func:`_at_least`).
    """
    hold, plan = exchange.hold, exchange.plan
    if hold is None or plan is None or not hold.hard:
        return None
    found = (each for each in plan.candidates if each.deployment is deployment)
    return next((each.worst_cost(exchange.rate) for each in found), None)


TOKENS_PER_SECOND = 200
"""More than models that think reach: what one may have thought, unseen, while its stream was open."""


def _at_least(usage: Usage, exchange: Exchange, now: float) -> Usage:
    """What a stream that was broken off has used, where a budget must not be passed: no fewer tokens than it can be.

    A prompt has a token for two bytes at most, but for texts that nobody writes; what was produced has one for each
    byte at most; and what was thought is not seen, but takes time. Elsewhere the mean of four bytes a token will do.
    """
    hold, request = exchange.hold, exchange.request
    if hold is None or request is None or not hold.hard:
        return usage
    since = exchange.attempt_started[0] or exchange.started
    thought = math.ceil(max(0.0, now - since) * TOKENS_PER_SECOND)
    output = max(usage.output_tokens, exchange.content_bytes, thought)
    if request.max_tokens is not None:
        output = min(output, request.max_tokens * request.n)
    reported = exchange.usage
    known = reported.input_tokens if reported is not None else 0
    return msgspec.structs.replace(
        usage, input_tokens=known or -(-request.input_bytes // 2), output_tokens=max(usage.output_tokens, output)
    )


def settle(exchange: Exchange, *, state: LiveState, clock: Clock, publisher: RecordSink) -> None:
    """Close the books on a request: called exactly once for each, on every way out."""
    now = exchange.completed_at if exchange.completed_at is not None else clock.monotonic()
    usage: Usage | None = None
    price: Cost | None = None
    try:
        usage = used(exchange)
        if usage is not None and usage.estimated and exchange.error is not None and exchange.streaming:
            usage = _at_least(usage, exchange, now)
        price = cost(exchange, usage)
    finally:  # whatever happens, nothing stays reserved
        if exchange.hold is not None:
            exchange.hold.settle(total(price, exchange.failed_cost))
        tokens = usage.input_tokens + usage.output_tokens if usage is not None else 0
        exchange.slot.settle(tokens, clock.monotonic())
    served = exchange.answered_by
    if served is not None:
        _close_attempt(exchange, served, price, now, publisher)
        plan, request = exchange.plan, exchange.request
        if usage is not None and not usage.estimated and exchange.error is None and plan and request:
            state.saw_output(plan.route.model, usage.output_tokens, request.n)
        if served.rates is None:
            state.saw_unpriced(served)
    publisher.request(_record(exchange, usage, price, now))


def total(price: Cost | None, failed: Cost | None) -> Cost | None:
    """What a request cost with its failed attempts."""
    if price is None or failed is None:
        return price or failed
    return price.plus(failed)


def _close_attempt(
    exchange: Exchange, served: Deployment, price: Cost | None, now: float, publisher: RecordSink
) -> None:
    """The attempt that served is over too."""
    started, began_at = exchange.attempt_started
    failure = exchange.error.__cause__ if exchange.error is not None else None
    record = AttemptRecord(
        request_id=exchange.request_id,
        provider=served.provider,
        model=served.model,
        started_at=began_at,
        duration_ms=(now - started) * 1000,
        status=200,
        error=f"{failure.kind.value}: {failure.message}" if isinstance(failure, UpstreamFailure) else None,
        cost=price.sats if price is not None else None,
        cost_usd=price.usd if price is not None else None,
    )
    exchange.attempts.append(record)
    publisher.attempt(record)


def _record(exchange: Exchange, usage: Usage | None, price: Cost | None, now: float) -> RequestRecord:
    request, error = exchange.request, exchange.error
    served = exchange.answered_by or exchange.abandoned or (exchange.refused_by if exchange.passes_a_refusal else None)
    committed = exchange.committed_at
    source = CostSource.NONE
    if price is not None and usage is not None:
        source = CostSource.ESTIMATED if usage.estimated else CostSource.PROVIDER
    failed, key, plan = exchange.failed_cost, exchange.key, exchange.plan
    baseline = _baseline(exchange, usage)
    return RequestRecord(
        correlation_id=exchange.request_id,
        timestamp=exchange.received_at,
        model=request.model if request is not None else None,
        provider=served.provider if served is not None else None,
        upstream_model=served.model if served is not None else None,
        policy=exchange.policy,
        key_id=key.id if key is not None else None,
        streaming=exchange.streaming,
        input_tokens=usage.input_tokens if usage is not None else None,
        output_tokens=usage.output_tokens if usage is not None else None,
        cached_input_tokens=usage.cached_input_tokens if usage is not None else None,
        reasoning_tokens=usage.reasoning_tokens if usage is not None else None,
        cost=price.sats if price is not None else None,
        provider_cost=_reported(exchange, usage),
        cost_source=source,
        latency_ms=(now - exchange.started) * 1000,
        ttft_ms=(committed - exchange.started) * 1000 if committed is not None else None,
        stream_duration_ms=(now - committed) * 1000 if committed is not None and exchange.streaming else None,
        success=error is None,
        stream_status=_stream_status(exchange),
        status=error.status if error is not None else 200,
        error_message=error.message if error is not None else None,
        malformed_events=exchange.malformed,
        attempts=tuple(exchange.attempts),
        endpoint=exchange.endpoint,
        cost_usd=price.usd if price is not None else None,
        cache_write_tokens=usage.cache_write_tokens if usage is not None else None,
        key_name=key.name if key is not None else None,
        sats_per_usd=exchange.rate.sats_per_usd if exchange.rate is not None else None,
        price_source=served.rates.source if price is not None and served is not None and served.rates else None,
        charged_at=exchange.hold.charged_at if exchange.hold is not None else None,
        failed_cost=failed.sats if failed is not None else None,
        failed_cost_usd=failed.usd if failed is not None else None,
        tier=served.tier.value if served is not None else None,
        error_code=error.code if error is not None else None,
        decision=Decision(plan, exchange.matched, request.input_bytes, request.max_tokens, request.n, exchange.needs)
        if plan is not None and request is not None
        else None,
        baseline_cost=baseline.sats if baseline is not None else None,
        baseline_cost_usd=baseline.usd if baseline is not None else None,
    )


def _reported(exchange: Exchange, usage: Usage | None) -> MicroSats | None:
    """What the provider itself says it charged, in satoshis where that is known."""
    charge = usage.reported_cost if usage is not None else None
    return None if charge is None else Cost.of(charge.amount, charge.currency, exchange.rate).sats


def _baseline(exchange: Exchange, usage: Usage | None) -> Cost | None:
    """What ``usage`` would have cost where the request's price is compared."""
    baseline = exchange.plan.baseline if exchange.plan is not None else None
    if usage is None or baseline is None or baseline.rates is None:
        return None
    if baseline is exchange.answered_by:
        return cost(exchange, usage)
    return cost_of(usage, baseline.rates, exchange.rate)


def _stream_status(exchange: Exchange) -> StreamStatus | None:
    if isinstance(exchange.error, CallerLeft):
        return StreamStatus.CLIENT_DISCONNECT
    if not exchange.streaming:
        return None
    if exchange.error is None:
        return StreamStatus.COMPLETE
    return StreamStatus.TRUNCATED if exchange.answered_by is not None else None
