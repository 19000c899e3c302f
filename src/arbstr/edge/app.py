"""The ASGI application: the route table, and what holds for every route."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from arbstr.domain.errors import GatewayError, InternalError, MethodNotAllowed, NotFound
from arbstr.edge import endpoints, guard, respond
from arbstr.edge.context import Context, Request
from arbstr.edge.ids import new_request_id
from arbstr.edge.respond import Receive, Scope, Send

Endpoint = Callable[[Context, Request], Awaitable[None]]

ROUTES: dict[str, tuple[str, Endpoint]] = {
    "/v1/chat/completions": ("POST", endpoints.chat_completions),
    "/v1/completions": ("POST", endpoints.completions),
    "/v1/embeddings": ("POST", endpoints.embeddings),
    "/v1/responses": ("POST", endpoints.responses),
    "/v1/messages": ("POST", endpoints.messages),
    "/v1/messages/count_tokens": ("POST", endpoints.count_tokens),
    "/v1/models": ("GET", endpoints.models),
    "/v1/models/": ("GET", endpoints.model),
    "/v1/providers": ("GET", endpoints.providers),
    "/v1/requests": ("GET", endpoints.requests),
    "/v1/requests/": ("GET", endpoints.logged_request),
    "/health": ("GET", endpoints.health),
    "/livez": ("GET", endpoints.livez),
    "/readyz": ("GET", endpoints.readyz),
    "/metrics": ("GET", endpoints.metrics),
}
"""Path to method and endpoint. A path that ends in a slash takes whatever follows it, which must be something."""

OPEN_TO_PAGES = frozenset({"/health", "/livez", "/readyz", "/metrics"})
"""Routes that a page of another origin may call: they tell nothing that it could not find out."""

MODEL_ENDPOINTS = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"}
)
"""Routes that end in the pipeline. They guard themselves there: who is refused leaves a row, too."""


class App:
    """``await app(scope, receive, send)``: mountable in any ASGI server."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"arbstr serves HTTP, not {scope['type']}")
        request = Request(scope, receive, send, new_request_id(), dict(scope["headers"]))
        scope["arbstr.request_id"] = request.id  # for an answer that the server gives in our place
        try:
            endpoint = self._route(request)
            await endpoint(self.context, request)
        except GatewayError as error:
            await respond.error(send, request.id, error, headers=_allow(scope["path"], error))
        except asyncio.CancelledError:
            raise
        except Exception as bug:
            self.context.log.error("an endpoint failed", request_id=request.id, path=scope["path"], error=bug)
            ours = InternalError("something went wrong in this gateway; its log has the details")
            await respond.error(send, request.id, ours)

    def _route(self, request: Request) -> Endpoint:
        path: str = request.scope["path"]
        route = ROUTES.get(path)
        if route is None or path.endswith("/"):
            route = self._longer_route(path, request)
        method, endpoint = route
        if path not in OPEN_TO_PAGES and method != "POST":
            server = request.scope.get("server")
            guard.check(request.headers, server[0] if server is not None else None)
        asked = request.scope["method"]
        if asked != method and not (asked == "HEAD" and method == "GET"):
            raise MethodNotAllowed(f"{path[:200]} takes {method}, not {asked[:20]}")
        return endpoint

    def _longer_route(self, path: str, request: Request) -> tuple[str, Endpoint]:
        """A route that ends in a slash and takes the rest of the path."""
        for start, route in ROUTES.items():
            if start.endswith("/") and path.startswith(start) and len(path) > len(start):
                request.rest = path[len(start) :]
                return route
        raise NotFound(f"there is nothing at {path[:200]!r}; the API is under /v1")


def _allow(path: str, error: GatewayError) -> list[tuple[bytes, bytes]]:
    if not isinstance(error, MethodNotAllowed):
        return []
    method = next((method for start, (method, _) in ROUTES.items() if path.startswith(start)), "GET")
    return [(b"allow", b"GET, HEAD" if method == "GET" else method.encode())]
