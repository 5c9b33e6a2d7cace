"""Requests that are refused before any operation runs: why, and how their clients are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphql import GraphQLError
from prometheus_client import Counter
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from schema.http.caching import NO_STORE

REFUSED = Counter(
    "walletgraph_requests_refused",
    "Requests and WebSockets not let in, by reason (UNAUTHENTICATED, RATE_LIMITED, CROSS_SITE).",
    ["reason"],
)


class RequestError(Exception):
    """A request that is refused: the HTTP status, a message for the client, and its code."""

    def __init__(
        self, status: int, message: str, code: str = "BAD_USER_INPUT", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = {"Cache-Control": NO_STORE, **(headers or {})}

    @property
    def graphql_error(self) -> GraphQLError:
        """The same in a response."""
        return GraphQLError(self.message, extensions={"code": self.code})

    @property
    def body(self) -> dict[str, Any]:
        """The response to the whole request."""
        return {"errors": [self.graphql_error.formatted]}

    @property
    def response(self) -> Response:
        """The HTTP response to one of whom nobody knows what media types it takes."""
        return JSONResponse(self.body, self.status, self.headers)


def too_busy(message: str) -> RequestError:
    """A 503 that says to try again in a second."""
    return RequestError(503, message, "RATE_LIMITED", headers={"Retry-After": "1"})


async def turn_away(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers an HTTP request, or the handshake of a WebSocket before it is accepted."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})  # that is a 403
    else:
        await error.response(scope, receive, send)
