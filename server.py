"""The server: settings from the environment, the ASGI applications, and the command line.

Two doors lead to the graph. ``create_app`` gives an application that owns its upstreams and its life; ``GraphQLApp``
is mounted by a host that opens the upstreams itself.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import orjson
import prometheus_client
import uvicorn
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from loaders import Sources
from loaders.upstream import Upstreams, UpstreamSettings
from loaders.upstream.thegraph import Plan
from resolvers.context import RequestContext
from schema import Schema
from schema import schema as default_schema
from schema.playground import Playground

_SHUTDOWN_SECONDS = 10
_DEFAULTS = UpstreamSettings()
_DEMO_NOTE = "Simulated data: nothing here is on any chain, and no price is a market's."


class ConfigurationError(Exception):
    """The settings do not make a server; the text says which ones to set."""


class Settings(BaseSettings):
    """Settings by the environment, a ``.env`` file included; a source without a key is not configured."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    ondo_base_url: str = _DEFAULTS.ondo_base_url
    ondo_api_key: SecretStr | None = None
    onebalance_base_url: str = _DEFAULTS.onebalance_base_url
    onebalance_api_key: SecretStr | None = None
    thegraph_base_url: str = _DEFAULTS.thegraph_base_url
    thegraph_api_token: SecretStr | None = None
    thegraph_plan: str = _DEFAULTS.thegraph_plan
    ondo_snapshot_threshold: int = Field(default=_DEFAULTS.ondo_snapshot_threshold, ge=0)
    upstream_timeout_seconds: float = Field(default=_DEFAULTS.timeout_seconds, gt=0)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    subgraph: bool = False
    demo: bool = False

    @field_validator("ondo_base_url", "onebalance_base_url", "thegraph_base_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError("expected a URL that begins with https:// or http://")
        return url

    @field_validator("thegraph_plan")
    @classmethod
    def _is_plan(cls, plan: str) -> str:
        Plan.parse(plan)
        return plan

    @property
    def upstreams(self) -> UpstreamSettings:
        """The part that the upstreams need."""
        return UpstreamSettings(
            ondo_base_url=self.ondo_base_url,
            ondo_api_key=_revealed(self.ondo_api_key),
            onebalance_base_url=self.onebalance_base_url,
            onebalance_api_key=_revealed(self.onebalance_api_key),
            thegraph_base_url=self.thegraph_base_url,
            thegraph_api_token=_revealed(self.thegraph_api_token),
            thegraph_plan=self.thegraph_plan,
            timeout_seconds=self.upstream_timeout_seconds,
            ondo_snapshot_threshold=self.ondo_snapshot_threshold,
        )

    def check_data(self) -> None:
        """Raises ``ConfigurationError`` unless there is a source or the demo: none is chosen by accident."""
        if not (self.demo or self.ondo_api_key or self.onebalance_api_key or self.thegraph_api_token):
            raise ConfigurationError(
                "No source is configured. Set at least one of ONDO_API_KEY, ONEBALANCE_API_KEY and "
                "THEGRAPH_API_TOKEN, or start with --demo (DEMO=1) for simulated data."
            )


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


class GraphQLApp(GraphQL[RequestContext, None]):
    """The graph as an ASGI application: HTTP, WebSocket, and a playground for browsers.

    It is mounted by a host that keeps ``upstreams`` open while it serves (``async with upstreams:``). ``demo`` says
    on every response that the data is simulated.
    """

    def __init__(self, upstreams: Upstreams, *, schema: Schema = default_schema, demo: bool = False) -> None:
        super().__init__(schema, subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,))
        self.upstreams = upstreams
        self._sources = Sources(upstreams)
        self._extensions: Mapping[str, Any] = {"demo": _DEMO_NOTE} if demo else {}
        self._demo = demo
        self._playground = Playground()

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> RequestContext:
        """One request's context; each operation in it gets loaders of its own."""
        trace = request.headers.get("x-walletgraph-trace") == "1"
        return RequestContext(self._sources, trace=trace, extensions=self._extensions)

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


class _Door:
    """Leads to the graph while the application lives."""

    graphql: GraphQLApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.graphql is None:
            raise RuntimeError("the application is not alive: its server must run the ASGI lifespan")
        await self.graphql(scope, receive, send)


def create_app(settings: Settings) -> Starlette:
    """The whole service as an ASGI application that opens its upstreams when it starts and closes them at its end."""
    schema = Schema(subgraph=True) if settings.subgraph else default_schema
    door = _Door()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            upstream_settings = await _start_demo(stack, settings) if settings.demo else settings.upstreams
            upstreams = await stack.enter_async_context(Upstreams(upstream_settings))
            door.graphql = GraphQLApp(upstreams, schema=schema, demo=settings.demo)
            try:
                yield
            finally:
                door.graphql = None

    async def readyz(request: Request) -> Response:
        if door.graphql is None:
            return JSONResponse({"status": "not ready"}, 503)
        return JSONResponse({"status": "ready", "demo": settings.demo, "sources": door.graphql.upstreams.states})

    return Starlette(
        routes=[
            Route("/graphql", door),
            WebSocketRoute("/graphql", door),
            Route("/healthz", _healthz),
            Route("/readyz", readyz),
            Route("/metrics", _metrics),
        ],
        lifespan=lifespan,
    )


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _metrics(request: Request) -> Response:
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


async def _start_demo(stack: AsyncExitStack, settings: Settings) -> UpstreamSettings:
    """Settings that lead to simulated upstreams on free loopback ports, which live as long as the stack."""
    from loaders.upstream.simulator.demo import demo_settings, demo_upstreams

    simulators = demo_upstreams()
    for simulator in simulators:
        await stack.enter_async_context(simulator)
    return demo_settings(simulators, settings.upstreams)


def __getattr__(name: str) -> Any:
    """``app``, made when an ASGI server first asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = Settings()
    settings.check_data()
    app = globals()["app"] = create_app(settings)
    return app


class _Server(uvicorn.Server):
    """Says in one line where it serves, once it accepts requests."""

    def __init__(self, config: uvicorn.Config, demo: bool) -> None:
        super().__init__(config)
        self._note = " (simulated data)" if demo else ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in self.servers:
            host, port = listening.sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            print(f"walletgraph serves http://{shown}:{port}/graphql{self._note}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; gives the process's exit status."""
    parser = argparse.ArgumentParser(prog="server.py", description="One GraphQL query for all that a wallet holds.")
    parser.add_argument("--demo", action="store_true", default=None, help="serve simulated data; needs no key")
    parser.add_argument("--host", help="address to listen on (HOST, default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any free one (PORT, default 8000)")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        settings = Settings(**given)
        settings.check_data()
    except ValidationError as error:
        for problem in error.errors():
            print(f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}", file=sys.stderr)
        return 2
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    config = uvicorn.Config(
        create_app(settings),
        settings.host,
        settings.port,
        log_level="warning",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        lifespan="on",
    )
    # uvicorn raises again the signal that stopped it: a wish granted is no failure.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(KeyboardInterrupt):
        _Server(config, settings.demo).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
