"""``GET /v1/stats``, its series, and ``/v1/savings``: what requests came to."""

from __future__ import annotations

from arbstr.domain.errors import InvalidRequest
from arbstr.domain.span import DEFAULT
from arbstr.domain.statistics import Bucket, Filter, Group
from arbstr.edge import respond
from arbstr.edge.context import Context, Request
from arbstr.edge.figures import BUCKETS, savings_answer, series_answer, stats_answer
from arbstr.edge.filters import PARAMETERS, check_known, configured, take_own_filter
from arbstr.edge.query import choice, no_more, query_of

MOST_BUCKETS = 7 * 24 * 60 + 1
"""Of a series, and days of savings: a week of minutes, which need not begin with one."""

_BY = {"day": None, "model": Group.MODEL, "provider": Group.PROVIDER}


async def stats(context: Context, request: Request) -> None:
    """Counts, costs and performance, of all together or also by group."""
    query = query_of(request)
    which = take_own_filter(context, request, query, default=DEFAULT)
    asked = choice(query, "group_by", [group.value for group in Group])
    no_more(query, expected=f"{PARAMETERS} or group_by")
    group_by = None if asked is None else Group(asked)
    await check_known(context, request, which)
    found = await context.stats.stats(which, group_by=group_by)
    answer = stats_answer(
        which,
        found,
        group_by=group_by,
        listed=() if group_by is None else _listed(context, request, which, group_by),
        key_names={key.id: key.name for key in context.pipeline.state.keys.keys},
    )
    await respond.json(request.send, request.id, answer)


async def series(context: Context, request: Request) -> None:
    """The same figures minute by minute, hour by hour or day by day."""
    query = query_of(request)
    which = take_own_filter(context, request, query, default=DEFAULT)
    bucket = choice(query, "bucket", BUCKETS) or "hour"
    no_more(query, expected=f"{PARAMETERS} or bucket")
    _check_length(which, BUCKETS[bucket])
    await check_known(context, request, which)
    points = await context.stats.series(which, bucket=BUCKETS[bucket])
    await respond.json(request.send, request.id, series_answer(which, points, bucket=bucket))


async def savings(context: Context, request: Request) -> None:
    """What was spent, what it would have been at the baseline, and what was saved."""
    query = query_of(request)
    which = take_own_filter(context, request, query, default=DEFAULT)
    by = _BY[choice(query, "by", _BY) or "day"]
    no_more(query, expected=f"{PARAMETERS} or by")
    if by is None:
        _check_length(which, Bucket.DAY)
    await check_known(context, request, which)
    found = await context.stats.savings(which, by=by)
    await respond.json(request.send, request.id, savings_answer(which, found, by=by))


def _listed(context: Context, request: Request, which: Filter, group: Group) -> set[str]:
    """The groups that are shown even if nothing happened in them: the one that was asked for, or else all."""
    names = set(configured(context, request, group))
    asked = which.key_id if group is Group.KEY else getattr(which, group.value)
    return names if asked is None else names & {asked}


def _check_length(which: Filter, bucket: Bucket) -> None:
    assert which.since is not None
    assert which.until is not None
    count = -(-which.until // bucket.value) - which.since // bucket.value
    if count > MOST_BUCKETS:
        raise InvalidRequest(
            f"the range has {count:,.0f} {bucket.name.lower()}s, expected at most {MOST_BUCKETS:,}", param="since"
        )
