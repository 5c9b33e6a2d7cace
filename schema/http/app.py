"""The graph as an ASGI application."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from loaders import Sources
from loaders.upstream import Upstreams
from resolvers.context import RequestContext
from schema import Schema
from schema import schema as default_schema
from schema.http.admission import Admission
from schema.http.body import BufferedBody
from schema.http.disconnect import CancelOnDisconnect
from schema.playground import Playground

_DEMO_NOTE = "Simulated data: nothing here is on any chain, and no price is a market's."
_TRACE_HEADERS = ("traceparent", "tracestate")


class GraphQLApp(GraphQL[RequestContext, None]):
    """The graph as an ASGI application: HTTP, WebSocket, and a playground for browsers.

    It is mounted by a host that keeps ``upstreams`` open while it serves (``async with upstreams:``). ``demo`` says
    on every response that the data is simulated. Of HTTP requests, ``max_operations`` run at once and
    ``max_queued_operations`` wait; one that its client leaves is cancelled, and one with a body of more than
    ``max_body_bytes`` refused.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        *,
        schema: Schema = default_schema,
        demo: bool = False,
        max_operations: int = 128,
        max_queued_operations: int = 256,
        max_body_bytes: int = 2 * 1024 * 1024,
    ) -> None:
        super().__init__(schema, subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,))
        self.upstreams = upstreams
        self._sources = Sources(upstreams)
        self._extensions: Mapping[str, Any] = {"demo": _DEMO_NOTE} if demo else {}
        self._demo = demo
        self._playground = Playground()
        admitted = Admission(super().__call__, max_operations, max_queued_operations)
        self._http = BufferedBody(CancelOnDisconnect(admitted), max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._http if scope["type"] == "http" else super().__call__
        await serve(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> RequestContext:
        """One request's context; each operation in it gets loaders of its own."""
        return RequestContext(
            self._sources,
            trace=request.headers.get("x-walletgraph-trace") == "1",
            extensions=self._extensions,
            # A list of trace states may come in parts; two parents make none.
            headers={name: ",".join(request.headers.getlist(name)) for name in _TRACE_HEADERS},
        )

    def encode_json(self, data: object) -> str:
        return _json(data).decode()

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        return Response(
            _json(response_data), sub_response.status_code or 200, dict(sub_response.headers), "application/json"
        )

    async def render_graphql_ide(self, request: Request) -> Response:
        """The playground."""
        nonce = secrets.token_urlsafe(16)
        page = self._playground.html(request.url.path, demo=self._demo, nonce=nonce)
        headers = {
            "Content-Security-Policy": self._playground.content_security_policy(nonce),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return HTMLResponse(page, headers=headers)


def _json(data: object) -> bytes:
    try:
        return orjson.dumps(data)
    except TypeError:  # a lone surrogate, quoted from a client's own input
        return json.dumps(data).encode()
