"""``GET /v1/requests`` and ``/v1/requests/{id}``: the request log."""

from __future__ import annotations

from arbstr.domain.errors import InvalidRequest, NotFound
from arbstr.domain.span import instant_text
from arbstr.domain.statistics import Sort
from arbstr.edge import respond
from arbstr.edge.context import Context, Request
from arbstr.edge.filters import PARAMETERS, check_known, take_own_filter
from arbstr.edge.query import choice, no_more, query_of, whole_number

MAX_PER_PAGE = 100
MAX_PAGE = 10**12


async def requests(context: Context, request: Request) -> None:
    """One page of the log, newest first unless asked otherwise."""
    query = query_of(request)
    which = take_own_filter(context, request, query)
    cursor = query.pop("cursor", None)
    if cursor is not None and "page" in query:
        raise InvalidRequest("page cannot be combined with cursor, which says where the page begins", param="cursor")
    page = whole_number(query, "page", default=1, most=MAX_PAGE)
    per_page = min(whole_number(query, "per_page", default=20, most=MAX_PAGE), MAX_PER_PAGE)
    sort = Sort(choice(query, "sort", [sort.value for sort in Sort]) or "timestamp")
    descending = choice(query, "order", ("desc", "asc")) != "asc"
    no_more(query, expected=f"{PARAMETERS}, page, per_page, cursor, sort or order")
    await check_known(context, request, which)
    found = await context.request_log.page(
        which, page=page, per_page=per_page, sort=sort, descending=descending, cursor=cursor
    )
    answer = {
        "data": found.entries,
        "page": page if cursor is None else None,
        "per_page": per_page,
        "total": found.total,
        "total_pages": -(-found.total // per_page),
        "total_estimated": found.estimated,
        "next_cursor": found.next_cursor,
        "since": None if which.since is None else instant_text(which.since),
        "until": None if which.until is None else instant_text(which.until),
    }
    await respond.json(request.send, request.id, answer)


async def logged_request(context: Context, request: Request) -> None:
    """One entry of the request log, with its attempts and the decision; for a key one of its own."""
    own = request.key.id if request.key is not None else None
    entry = await context.request_log.find(request.rest, key_id=own)
    if entry is None:
        raise NotFound(f"no request with the id {request.rest[:100]!r} is in the log")
    await respond.json(request.send, request.id, entry)
