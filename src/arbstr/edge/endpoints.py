"""What each path answers. The route table that leads here is in ``app``."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr import __version__
from arbstr.dialects.callers import caller_dialect
from arbstr.dialects.openai import model_object, models_list
from arbstr.domain.errors import GatewayError, ModelNotFound
from arbstr.domain.health import CircuitState
from arbstr.domain.routing import Deployment, ProviderView, Snapshot
from arbstr.edge import respond
from arbstr.edge.access import is_operator
from arbstr.edge.caller import HttpCaller
from arbstr.edge.context import Context, Request
from arbstr.edge.rates import shown_rates
from arbstr.policy.verdict import Park

OWNER = "arbstr"
"""Who owns the models: ``/v1/models`` must name somebody."""


async def chat_completions(context: Context, request: Request) -> None:
    await _ask(context, request, "openai", "chat.completions")


async def completions(context: Context, request: Request) -> None:
    await _ask(context, request, "completions", "completions")


async def embeddings(context: Context, request: Request) -> None:
    await _ask(context, request, "embeddings", "embeddings")


async def responses(context: Context, request: Request) -> None:
    await _ask(context, request, "responses", "responses")


async def messages(context: Context, request: Request) -> None:
    await _ask(context, request, "anthropic", "messages")


async def count_tokens(context: Context, request: Request) -> None:
    """An estimate of a message's input tokens: nobody is asked, and nothing is charged."""
    from arbstr.dialects.anthropic.request import count_answer, parse_count

    caller = _caller(context, request, "anthropic", "messages.count_tokens")
    try:
        body = await caller.body(context.pipeline.snapshot.max_body)
        await caller.answer(200, (), count_answer(parse_count(body)))
    except GatewayError as error:
        await caller.answer(error.status, respond.error_headers(error), caller.dialect.error(error))
    finally:
        caller.close()


async def _ask(context: Context, request: Request, dialect: str, endpoint: str) -> None:
    """Hand a model request to the pipeline: the only way there is."""
    caller = _caller(context, request, dialect, endpoint)
    try:
        await context.pipeline.handle(caller)
    finally:
        caller.close()


def _caller(context: Context, request: Request, dialect: str, endpoint: str) -> HttpCaller:
    return HttpCaller(
        request.scope,
        request.receive,
        request.send,
        headers=request.headers,
        request_id=request.id,
        bodies=context.bodies,
        dialect=caller_dialect(dialect),
        endpoint=endpoint,
        address=request.address.group,
        credential=request.credential,
        guarded=not context.pipeline.state.keys.exists and not context.pipeline.snapshot.auth_required,
    )


async def models(context: Context, request: Request) -> None:
    """Every model that its caller can ask for, once."""
    names = sorted(name for name in context.pipeline.snapshot.routes if _may_use(request, name))
    body = models_list(names, created=context.started_at, owned_by=OWNER)
    await respond.json(request.send, request.id, msgspec.Raw(body))


def _may_use(request: Request, model: str) -> bool:
    return request.key is None or request.key.allows(model)


async def model(context: Context, request: Request) -> None:
    if request.rest not in context.pipeline.snapshot.routes or not _may_use(request, request.rest):
        raise ModelNotFound(f"no route and no provider lists the model {request.rest!r}", param="model")
    body = model_object(request.rest, created=context.started_at, owned_by=OWNER)
    await respond.json(request.send, request.id, msgspec.Raw(body))


async def providers(context: Context, request: Request) -> None:
    """Providers with rates, circuit and masked key."""
    snapshot = context.pipeline.snapshot
    served = _served(snapshot)
    entries = [_provider(view, context, served) for view in snapshot.providers]
    await respond.json(request.send, request.id, {"object": "list", "data": entries})


def _served(snapshot: Snapshot) -> dict[Deployment, list[str]]:
    """The names that callers use, sorted, by what serves them."""
    served: dict[Deployment, list[str]] = {}
    for name in sorted(snapshot.routes):
        for deployment in snapshot.routes[name].deployments:
            served.setdefault(deployment, []).append(name)
    return served


def _provider(view: ProviderView, context: Context, served: dict[Deployment, list[str]]) -> dict[str, Any]:
    return {
        "name": view.name,
        "kind": view.kind,
        "base_url": view.base_url,
        "tier": view.tier.value,
        "api_key": view.masked_key,
        "key_source": view.key_source,
        "circuit": circuit(view.name, context),
        "models": [_deployment(each, served, context) for each in view.deployments],
    }


def _deployment(deployment: Deployment, served: dict[Deployment, list[str]], context: Context) -> dict[str, Any]:
    """``serves`` are the names that callers use."""
    return {
        "model": deployment.model,
        "serves": served.get(deployment, []),
        **shown_rates(deployment.rates, context.pipeline.state.rate),
        "context_window": deployment.context_window,
    }


def circuit(provider: str, context: Context) -> dict[str, Any]:
    """The circuit, and, while the provider's key or account is set aside, why and for how long."""
    live, now = context.pipeline.state, context.clock.monotonic()
    breaker = live.circuits[provider].breaker
    shown: dict[str, Any] = {"state": breaker.state(now).value, "failure_count": breaker.failure_count}
    parked = live.parked_accounts().get(provider)
    if parked is not None:
        shown["set_aside"] = {
            "reason": "key" if parked.park is Park.KEY else "rate_limit",
            "error": parked.failure.message,
            "seconds_left": round(parked.until - now, 1),
        }
    return shown


async def health(context: Context, request: Request) -> None:
    """``ok``: all circuits closed; ``degraded``: some are not; ``unhealthy`` (503): all open."""
    snapshot: Snapshot = context.pipeline.snapshot
    states = {view.name: circuit(view.name, context) for view in snapshot.providers}
    log = context.request_log.health()
    verdict = _verdict([each["state"] for each in states.values()])
    told = is_operator(context, request)
    for each in states.values() if not told else ():
        each.get("set_aside", {}).pop("error", None)  # what a provider says of an account is for its owner
    body = {
        "status": verdict,
        "version": __version__,
        "exchange_rate": _exchange_rate(context),
        "providers": states,
        "request_log": {
            "status": "ok" if log.ok else "failing",
            "queued": log.queued,
            "written": log.written,
            "dropped": log.dropped,
            "error": log.error if told else None,
        },
    }
    await respond.json(request.send, request.id, body, status=503 if verdict == "unhealthy" else 200)


def _exchange_rate(context: Context) -> dict[str, Any] | None:
    """What a dollar is worth in satoshis; stale where nobody has said so for too long. None: not known."""
    rate = context.pipeline.state.rate
    if rate is None:
        return None
    age = max(0.0, context.clock.time() - rate.at) if rate.at else 0.0
    return {
        "sats_per_usd": rate.sats_per_usd,
        "source": rate.source,
        "age_s": round(age, 1),
        "stale": age > context.pipeline.snapshot.rate_max_age,
    }


def _verdict(states: list[str]) -> str:
    if all(state == CircuitState.CLOSED.value for state in states):
        return "ok"
    return "unhealthy" if all(state == CircuitState.OPEN.value for state in states) else "degraded"


async def livez(context: Context, request: Request) -> None:
    """The process is there and its loop turns; what upstream does is no matter."""
    await respond.json(request.send, request.id, {"status": "ok"})


async def readyz(context: Context, request: Request) -> None:
    """503 from the moment that the gateway is told to stop."""
    stopping = context.pipeline.state.stopping
    body = {"status": "draining" if stopping else "ok"}
    await respond.json(request.send, request.id, body, status=503 if stopping else 200)


async def metrics(context: Context, request: Request) -> None:
    body, content_type = context.expose_metrics()
    await respond.whole(request.send, 200, [(b"content-type", content_type), respond.NO_STORE], body)
