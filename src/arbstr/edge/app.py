"""The ASGI application: the route table, and what holds for every route."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from arbstr.domain.errors import GatewayError, InternalError, MethodNotAllowed, NotFound
from arbstr.edge import budget, endpoints, explain, keys, requests, respond, stats
from arbstr.edge.access import Access, let_in
from arbstr.edge.address import caller_address
from arbstr.edge.caller import credential_of
from arbstr.edge.context import Context, Request
from arbstr.edge.ids import new_request_id
from arbstr.edge.respond import Receive, Scope, Send

Endpoint = Callable[[Context, Request], Awaitable[None]]


class Route:
    """What is at a path."""

    __slots__ = ("access", "methods")

    def __init__(self, access: Access, **methods: Endpoint) -> None:
        self.access = access
        self.methods = methods
        if "GET" in methods:
            self.methods["HEAD"] = methods["GET"]


ROUTES: dict[str, Route] = {
    "/v1/chat/completions": Route(Access.MODEL, POST=endpoints.chat_completions),
    "/v1/completions": Route(Access.MODEL, POST=endpoints.completions),
    "/v1/embeddings": Route(Access.MODEL, POST=endpoints.embeddings),
    "/v1/responses": Route(Access.MODEL, POST=endpoints.responses),
    "/v1/messages": Route(Access.MODEL, POST=endpoints.messages),
    "/v1/messages/count_tokens": Route(Access.KEY, POST=endpoints.count_tokens),
    "/v1/models": Route(Access.KEY, GET=endpoints.models),
    "/v1/models/": Route(Access.KEY, GET=endpoints.model),
    "/v1/route/explain": Route(Access.OWN, POST=explain.explain),
    "/v1/budget": Route(Access.OWN, GET=budget.budget),
    "/v1/providers": Route(Access.OPERATOR, GET=endpoints.providers),
    "/v1/stats": Route(Access.OWN, GET=stats.stats),
    "/v1/stats/series": Route(Access.OWN, GET=stats.series),
    "/v1/savings": Route(Access.OWN, GET=stats.savings),
    "/v1/requests": Route(Access.OWN, GET=requests.requests),
    "/v1/requests/": Route(Access.OWN, GET=requests.logged_request),
    "/admin/keys": Route(Access.ADMIN, GET=keys.list_keys, POST=keys.create),
    "/admin/keys/": Route(Access.ADMIN, GET=keys.show, PATCH=keys.update, DELETE=keys.revoke, POST=keys.rotate),
    "/health": Route(Access.OPEN, GET=endpoints.health),
    "/livez": Route(Access.OPEN, GET=endpoints.livez),
    "/readyz": Route(Access.OPEN, GET=endpoints.readyz),
    "/metrics": Route(Access.SCRAPE, GET=endpoints.metrics),
}
"""What is at which path. A path that ends in a slash takes whatever follows it, which must be something."""

MODEL_ENDPOINTS = frozenset(path for path, route in ROUTES.items() if route.access is Access.MODEL)
"""Routes that end in the pipeline."""


class App:
    """``await app(scope, receive, send)``: mountable in any ASGI server."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"arbstr serves HTTP, not {scope['type']}")
        headers = dict(scope["headers"])
        address = caller_address(scope, headers, self.context.pipeline.snapshot.trusted_proxies)
        request = Request(scope, receive, send, new_request_id(), headers, address, credential_of(headers))
        scope["arbstr.request_id"] = request.id  # for an answer that the server gives in our place
        try:
            endpoint = self._endpoint(request)
            await endpoint(self.context, request)
        except GatewayError as error:
            await respond.error(send, request.id, error, headers=_allow(scope["path"], error))
        except asyncio.CancelledError:
            raise
        except Exception as bug:
            self.context.log.error("an endpoint failed", request_id=request.id, path=scope["path"], error=bug)
            ours = InternalError("something went wrong in this gateway; its log has the details")
            await respond.error(send, request.id, ours)

    def _endpoint(self, request: Request) -> Endpoint:
        path: str = request.scope["path"]
        route = ROUTES.get(path)
        if route is None or path.endswith("/"):
            route = self._longer_route(path, request)
        endpoint = route.methods.get(request.scope["method"])
        if endpoint is None:
            let_in(self.context, request, route.access)
            allowed = " or ".join(sorted(set(route.methods) - {"HEAD"}))
            raise MethodNotAllowed(f"{path[:200]} takes {allowed}, not {request.scope['method'][:20]}")
        let_in(self.context, request, route.access)
        return endpoint

    def _longer_route(self, path: str, request: Request) -> Route:
        """A route that ends in a slash and takes the rest of the path."""
        for start, route in ROUTES.items():
            if start.endswith("/") and path.startswith(start) and len(path) > len(start):
                request.rest = path[len(start) :]
                return route
        raise NotFound(f"there is nothing at {path[:200]!r}; the API is under /v1")


def _allow(path: str, error: GatewayError) -> list[tuple[bytes, bytes]]:
    if not isinstance(error, MethodNotAllowed):
        return []
    route = ROUTES.get(path) or next(
        route for start, route in ROUTES.items() if start.endswith("/") and path.startswith(start)
    )
    return [(b"allow", ", ".join(route.methods).encode())]
