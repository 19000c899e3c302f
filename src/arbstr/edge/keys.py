"""``/admin/keys``: what ``arbstr keys`` does, over HTTP and for the operator alone.

A secret is in the answer to the request that made it, and nowhere else. What is changed holds from that answer on.
"""

from __future__ import annotations

from typing import Any

from arbstr.config.keys import key_change, key_entry
from arbstr.config.units import duration
from arbstr.domain.errors import InvalidRequest, NotFound
from arbstr.domain.identity import Key
from arbstr.domain.secret import Secret
from arbstr.edge import body, respond
from arbstr.edge.context import Context, Request
from arbstr.edge.query import no_more, query_of
from arbstr.policy.key_changes import KeyChange

MAX_BODY = 64 * 1024
"""Bytes."""


async def list_keys(context: Context, request: Request) -> None:
    """All keys, revoked ones too, the oldest first."""
    no_more(query_of(request), expected="none")
    now = context.clock.time()
    entries = [key_entry(key, now=now) for key in await context.key_store.list()]
    await respond.json(request.send, request.id, {"object": "list", "data": entries})


async def create(context: Context, request: Request) -> None:
    """A new key. It may do everything that the body does not restrict."""
    change = _change(context, await _fields(context, request))
    key, secret = await context.key_store.create(change)
    context.log.info("a key was created", **_named(request, key))
    await _answer(context, request, key, secret, status=201)


async def show(context: Context, request: Request) -> None:
    await _answer(context, request, await context.key_store.get(request.rest))


async def update(context: Context, request: Request) -> None:
    """Change what the body names, and nothing else; all of it, or nothing."""
    fields = await _fields(context, request)
    key = await context.key_store.update(request.rest, _change(context, fields))
    context.log.info("a key was changed", **_named(request, key), fields=sorted(fields))
    await _answer(context, request, key)


async def revoke(context: Context, request: Request) -> None:
    """Revoke a key for good; once more, it stays as it is."""
    key = await context.key_store.revoke(request.rest)
    context.log.info("a key was revoked", **_named(request, key))
    await _answer(context, request, key)


async def rotate(context: Context, request: Request) -> None:
    """A new secret for a key; the old one is good for the ``grace`` that the body may ask for."""
    name_or_id, _, action = request.rest.rpartition("/")
    if action != "rotate":
        raise NotFound(
            f"there is nothing to post to at {request.scope['path'][:200]!r}, expected /admin/keys/NAME/rotate"
        )
    grace = _grace(await _fields(context, request, optional=True))
    key, secret = await context.key_store.rotate(name_or_id, grace=grace)
    context.log.info("a key was given a new secret", **_named(request, key), grace_s=grace)
    await _answer(context, request, key, secret)


async def _fields(context: Context, request: Request, *, optional: bool = False) -> dict[str, Any]:
    """The object that the body is; ``optional``: it may be empty."""
    with body.Held(context.bodies) as held:
        sent = await body.read(request.receive, request.headers, held, most=MAX_BODY)
        return {} if optional and not sent else body.json_object(sent)


def _change(context: Context, fields: dict[str, Any]) -> KeyChange:
    rules = context.pipeline.snapshot.rules
    return key_change(fields, now=context.clock.time(), policies=[rule.name for rule in rules])


def _grace(fields: dict[str, Any]) -> float:
    """Seconds."""
    given = fields.pop("grace", None)
    for name in fields:
        raise InvalidRequest(f"{name[:40]!r} is nothing that a rotation has, expected grace", param=name[:40])
    try:
        return 0.0 if given is None else duration(given, zero=True)
    except ValueError as error:
        raise InvalidRequest(f"grace: {error}", param="grace") from None


def _named(request: Request, key: Key) -> dict[str, str]:
    """What a line of the log says of a key and of who changed it."""
    return {"request_id": request.id, "key": key.name, "key_id": key.id, "address": request.address.text}


async def _answer(
    context: Context, request: Request, key: Key, secret: Secret | None = None, *, status: int = 200
) -> None:
    entry = key_entry(key, now=context.clock.time())
    if secret is not None:
        entry["key"] = secret.reveal()
    await respond.json(request.send, request.id, entry, status=status)
