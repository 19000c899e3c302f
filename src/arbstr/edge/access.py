"""Who may call what: keys, the operator, and pages of strangers.

While no key exists and none is asked for, whoever reaches the gateway may use all of it, but for the pages of other
origins (``guard``). From the first key on it matters who asks. The operator is whoever has the admin key, or calls from
this machine itself.
"""

from __future__ import annotations

import enum

from arbstr.domain.errors import AdminOnly, InvalidApiKey, RateLimited
from arbstr.domain.secret import Secret
from arbstr.edge import guard
from arbstr.edge.context import Context, Request
from arbstr.pipeline.identify import authenticate


class Access(enum.Enum):
    """What a route asks of its caller."""

    OPEN = "open"
    """Nothing."""
    MODEL = "model"
    """A key, where keys are asked for; the pipeline sees to that, so that who is refused leaves a row."""
    KEY = "key"
    """A key, where keys are asked for, or the admin key."""
    OWN = "own"
    """Likewise, and a key sees what is its own; the operator sees all."""
    OPERATOR = "operator"
    """The operator, where keys are asked for."""
    SCRAPE = "scrape"
    """Likewise; and where keys are not asked for, also pages of other origins."""
    ADMIN = "admin"
    """The operator: with the admin key where one is set, else from this machine."""


def let_in(context: Context, request: Request, access: Access) -> None:
    """Take down whose request it is. Raises InvalidApiKey, AdminOnly, ForeignOrigin, RateLimited."""
    if access is Access.MODEL:
        return
    state, required = context.pipeline.state, context.pipeline.snapshot.auth_required
    if access is Access.OPEN:
        return
    if access is Access.ADMIN:
        _administer(context, request)
        return
    if not required and not state.keys.exists:
        if access is not Access.SCRAPE:
            check_origin(request)
        return
    if _has_admin_key(context, request):
        request.operator = True
        return
    if access is not Access.KEY and request.credential is None and request.address.local:
        check_origin(request)
        request.operator = True
        return
    if context.admin_key is not None and request.credential is None and b"x-admin-key" in request.headers:
        _guessed(context, request)
        raise InvalidApiKey("this is not the admin key of this gateway (server.admin_key)")
    request.key = authenticate(state, request.credential, request.address.group, required=True)
    if access in (Access.OPERATOR, Access.SCRAPE):
        raise AdminOnly("this is for the operator: send the admin key, or call from the gateway's own machine")


def is_operator(context: Context, request: Request) -> bool:
    """Whether the operator asks, or nobody is asked who they are: of routes that are open to everybody."""
    if not context.pipeline.snapshot.auth_required and not context.pipeline.state.keys.exists:
        return True
    return _has_admin_key(context, request) or (request.credential is None and request.address.local)


def check_origin(request: Request) -> None:
    """Raise ForeignOrigin where a page of another origin asks, or who took a foreign name for this machine."""
    server = request.scope.get("server")
    guard.check(request.headers, server[0] if server is not None else None)


def _administer(context: Context, request: Request) -> None:
    if _has_admin_key(context, request):
        request.operator = True
        return
    if context.admin_key is not None:
        if request.credential is not None or b"x-admin-key" in request.headers:
            _guessed(context, request)
        raise InvalidApiKey("this needs the admin key: send Authorization: Bearer … or X-Admin-Key (server.admin_key)")
    if not request.address.local:
        raise AdminOnly("without server.admin_key this is for callers on the gateway's own machine")
    check_origin(request)
    request.operator = True


def _guessed(context: Context, request: Request) -> None:
    """Count a wrong admin key. Raises RateLimited where too many wrong keys came from its address."""
    state = context.pipeline.state
    wait = state.guesses.failed(request.address.group, state.clock.monotonic())
    if wait is not None:
        raise RateLimited("too many wrong keys came from this address", retry_after=wait)


def _has_admin_key(context: Context, request: Request) -> bool:
    """Whether the admin key was sent. Compared in constant time."""
    admin_key = context.admin_key
    if admin_key is None:
        return False
    sent = (request.headers.get(b"x-admin-key"), request.credential)
    return any(value is not None and Secret(value.decode("latin-1")) == admin_key for value in sent)
