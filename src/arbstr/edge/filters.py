"""Which requests of the log a query means, and who may mean them."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from arbstr.domain.errors import AdminOnly, ModelNotFound, NotFound
from arbstr.domain.identity import Key
from arbstr.domain.routing import Tier
from arbstr.domain.span import span
from arbstr.domain.statistics import Filter, Group
from arbstr.edge.context import Context, Request
from arbstr.edge.query import amount, choice, flag, whole_number

PARAMETERS = "range, since, until, model, provider, policy, key, tier, success, streaming, status, min_cost"

NONE = ""
"""As a value: the requests that have none."""


def take_filter(query: dict[str, str], *, now: float, default: str | None) -> Filter:
    """What PARAMETERS say, taken out of ``query``, but for ``key``. ``default`` is that of the range; None: all time.

    Raises InvalidRequest that names the parameter and what was expected.
    """
    asked = span(query.pop("range", None), query.pop("since", None), query.pop("until", None), now=now, default=default)
    return Filter(
        since=asked.since,
        until=asked.until,
        model=query.pop("model", None),
        provider=query.pop("provider", None),
        policy=query.pop("policy", None),
        tier=choice(query, "tier", [*(tier.value for tier in Tier), NONE]),
        success=flag(query, "success"),
        streaming=flag(query, "streaming"),
        status=whole_number(query, "status", default=0, least=100, most=599) or None,
        min_cost=amount(query, "min_cost"),
    )


def take_own_filter(context: Context, request: Request, query: dict[str, str], *, default: str | None = None) -> Filter:
    """Likewise with ``key``, and bound to the key that asks.

    Raises AdminOnly where that one asks for another's requests, and NotFound for a key that does not exist.
    """
    which = take_filter(query, now=context.clock.time(), default=default)
    named = query.pop("key", None)
    if request.key is not None:
        if named is not None and named not in (request.key.id, request.key.name):
            raise AdminOnly("a key sees its own requests alone", param="key")
        return msgspec.structs.replace(which, key_id=request.key.id)
    if named is None or named == NONE:
        return msgspec.structs.replace(which, key_id=named)
    return msgspec.structs.replace(which, key_id=key_named(context, named).id)


def key_named(context: Context, named: str) -> Key:
    """The key with that id or name: of several with a name the one that is not revoked, or else the newest. Raises
    NotFound."""
    keys = context.pipeline.state.keys.keys
    found = [key for key in keys if key.id == named] or [key for key in keys if key.name == named]
    if not found:
        raise NotFound(f"there is no key with the name or id {named[:100]!r}", param="key")
    return max(found, key=lambda key: (key.revoked_at is None, key.created_at))


async def check_known(context: Context, request: Request, which: Filter) -> None:
    """Raise ModelNotFound or NotFound for a model, provider or policy that is not configured and that no request in
    the log has: none of its own, where a key asks. Raises LogUnavailable."""
    own = Filter(key_id=request.key.id if request.key is not None else None)
    for group, name in ((Group.MODEL, which.model), (Group.PROVIDER, which.provider), (Group.POLICY, which.policy)):
        if not name or name in configured(context, request, group):
            continue
        if not await context.stats.seen(msgspec.structs.replace(own, **{group.value: name})):
            error = ModelNotFound if group is Group.MODEL else NotFound
            unknown = f"the {group.value} {name[:100]!r} is not configured, and no request in the log has it"
            raise error(unknown, param=group.value)


def configured(context: Context, request: Request, group: Group) -> Collection[str]:
    """The models, providers, policies, keys or tiers that there are now; for a key, as far as it may use them."""
    snapshot, key = context.pipeline.snapshot, request.key
    if group is Group.POLICY:
        return {rule.name for rule in snapshot.rules}
    if group is Group.KEY:
        keys = context.pipeline.state.keys.keys if key is None else (key,)
        return {each.id for each in keys if each.revoked_at is None}
    routes = {name: route for name, route in snapshot.routes.items() if key is None or key.allows(name)}
    if group is Group.MODEL:
        return routes.keys()
    if key is None:
        return {view.name if group is Group.PROVIDER else view.tier.value for view in snapshot.providers}
    usable = [each for route in routes.values() for each in route.deployments]
    return {each.provider if group is Group.PROVIDER else each.tier.value for each in usable}
