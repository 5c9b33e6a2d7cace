"""The graph as an ASGI application."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from loaders import Sources
from loaders.upstream import Upstreams
from resolvers.context import RequestContext
from resolvers.watch import Watches
from schema import Schema
from schema import schema as default_schema
from schema.http.authentication import Authentication, Authenticator
from schema.http.body import BufferedBody
from schema.http.browsers import CrossSiteGuard, Origins, SecurityHeaders, with_cors
from schema.http.compression import Compression
from schema.http.disconnect import CancelOnDisconnect
from schema.http.endpoint import Endpoint
from schema.http.headers import first, values
from schema.http.persisted import TrustedDocuments
from schema.http.rate_limit import RateLimit
from schema.http.settings import HttpSettings
from schema.http.view import GraphQLView
from schema.http.websocket import WebSocketServer
from schema.playground import Playground

_DEMO_NOTE = "Simulated data: nothing here is on any chain, and no price is a market's."
_TRACE_HEADERS = (b"traceparent", b"tracestate")


class GraphQLApp:
    """The graph as an ASGI application: HTTP, WebSocket, and a playground for browsers.

    It is mounted by a host that keeps ``upstreams`` open while it serves (``async with upstreams:``), and awaits
    ``close`` when it stops. ``demo`` says on every response that the data is simulated. Without ``authenticator``
    anybody may ask, without ``rate_limit`` as often as they like; pages of other ``origins`` may not ask at all.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        *,
        schema: Schema = default_schema,
        demo: bool = False,
        settings: HttpSettings | None = None,
        trusted_documents: TrustedDocuments | None = None,
        authenticator: Authenticator | None = None,
        rate_limit: RateLimit | None = None,
        origins: Origins | None = None,
    ) -> None:
        settings = settings or HttpSettings()
        origins = origins or Origins()
        self.upstreams = upstreams
        self._sources = Sources(upstreams)
        self._extensions: Mapping[str, Any] = {"demo": _DEMO_NOTE} if demo else {}
        self._demo = demo
        self._playground = Playground()
        self._watches = Watches(
            self._sources, max_watches=settings.max_watches, floor_seconds=settings.watch_floor_seconds
        )

        async def charge(connection: HTTPConnection, operations: int) -> None:
            if authenticator is not None:
                authenticator.check_still(connection.scope)  # a WebSocket may outlive a token
            if rate_limit is not None:
                await rate_limit.charge(connection, operations)

        self._endpoint = Endpoint.of(
            schema, self._context, settings, trusted_documents=trusted_documents, charge=charge
        )
        view = GraphQLView(
            self._endpoint,
            playground=self._render_playground,
            private=authenticator is not None,
            vary=["X-Walletgraph-Trace", *(() if authenticator is None else authenticator.headers)],
        )
        self._http = Compression(BufferedBody(CancelOnDisconnect(view), settings.max_body_bytes))
        self._websocket = WebSocketServer(
            self._endpoint, authenticate=None if authenticator is None else authenticator.authenticate
        )
        app: ASGIApp = self._serve if authenticator is None else Authentication(self._serve, authenticator)
        self._app = SecurityHeaders(with_cors(CrossSiteGuard(app, origins), origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def close(self) -> None:
        """Ends what would otherwise never end: subscriptions, and the connections that they are on."""
        self._endpoint.streams.close()
        await self._watches.close()

    async def drain(self) -> None:
        """Ends subscriptions, and returns when what else runs on WebSockets has come to its end."""
        await self.close()
        await self._websocket.drained()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._http if scope["type"] == "http" else self._websocket
        await serve(scope, receive, send)

    def _context(self, request: HTTPConnection) -> RequestContext:
        return RequestContext(
            self._sources,
            trace=first(request.scope, b"x-walletgraph-trace") == "1",
            extensions=self._extensions,
            # A list of trace states may come in parts; two parents make none.
            headers={name.decode(): ",".join(values(request.scope, name)) for name in _TRACE_HEADERS},
            watches=self._watches,
        )

    def _render_playground(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        page = self._playground.html(request.url.path, demo=self._demo, nonce=nonce)
        headers = {
            "Content-Security-Policy": self._playground.content_security_policy(nonce),
            "Cache-Control": "no-store",
        }
        return HTMLResponse(page, headers=headers)
