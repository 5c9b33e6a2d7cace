"""How those are turned away who are not let in: before a request is read, or a WebSocket accepted."""

from __future__ import annotations

from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from schema.http.caching import NO_STORE
from schema.http.errors import RequestError
from schema.http.refusal import refusal

REFUSED = Counter(
    "walletgraph_requests_refused",
    "Requests and WebSockets not let in, by reason (UNAUTHENTICATED, RATE_LIMITED, CROSS_SITE).",
    ["reason"],
)


async def turn_away(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers an HTTP request, or the handshake of a WebSocket, with an error that nobody may keep."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})  # before it is accepted, that is a 403
        return
    response = refusal(error.status, error.message, error.code, **error.headers, cache_control=NO_STORE)
    await response(scope, receive, send)
