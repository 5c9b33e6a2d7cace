"""The server: settings from the environment, the ASGI applications, and the command line.

Two doors lead to the graph. ``create_app`` gives an application that owns its upstreams and its life; ``GraphQLApp``
is mounted by a host that opens the upstreams itself.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import gc
import logging
import os
import re
import sys
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import prometheus_client
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loaders.upstream import Upstreams, UpstreamSettings
from loaders.upstream.logs import LogFormat, configure_logs
from loaders.upstream.metrics import READ_WHEN_ASKED
from loaders.upstream.otlp import can_export_spans, exported_spans
from loaders.upstream.shared import SharedStore
from loaders.upstream.thegraph import Plan
from schema import Limits, Schema
from schema import schema as default_schema
from schema.http.app import GraphQLApp as GraphQLApp
from schema.http.authentication import ALGORITHMS, DEFAULT_ALGORITHMS, ApiKeys, Authenticator, Tokens
from schema.http.browsers import Origins, SecurityHeaders
from schema.http.persisted import TrustedDocuments, TrustedMode
from schema.http.rate_limit import RateLimit
from schema.http.refusal import too_busy
from schema.http.serving import Server, is_no_clients_mistake
from schema.http.settings import HttpSettings
from schema.http.workers import run_workers

_DEFAULTS = UpstreamSettings()
_LIMITS = Limits()
_DEEPEST = 150  # what recursion can stand
_HTTP_DEFAULTS = HttpSettings()
_PATH = "/graphql"
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # as prometheus_client has it
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9.-]+")
_NAMES = {
    "timeout_seconds": "upstream_timeout_seconds",
    "request_timeout_seconds": "upstream_request_timeout_seconds",
    "connect_timeout_seconds": "upstream_connect_timeout_seconds",
    "retries": "upstream_retries",
    "retry_backoff_seconds": "upstream_retry_backoff_seconds",
    "retry_ratio": "upstream_retry_ratio",
    "hedge_requests": "upstream_hedge_requests",
    "max_upstream_waiting": "upstream_max_waiting",
}
"""What is called otherwise in the environment, where it stands beside other names."""


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
    ondo_requests_per_minute: int = Field(default=_DEFAULTS.ondo_requests_per_minute, ge=0)
    onebalance_requests_per_minute: int | None = Field(default=None, ge=0)
    onebalance_connections: int | None = Field(default=None, gt=0)
    thegraph_requests_per_minute: int | None = Field(default=None, ge=0)
    upstream_timeout_seconds: float = Field(default=_DEFAULTS.timeout_seconds, gt=0)
    upstream_request_timeout_seconds: float = Field(default=_DEFAULTS.request_timeout_seconds, gt=0)
    upstream_connect_timeout_seconds: float = Field(default=_DEFAULTS.connect_timeout_seconds, gt=0)
    upstream_retries: int = Field(default=_DEFAULTS.retries, ge=0)
    upstream_retry_backoff_seconds: float = Field(default=_DEFAULTS.retry_backoff_seconds, gt=0)
    upstream_retry_ratio: float = Field(default=_DEFAULTS.retry_ratio, ge=0)
    upstream_hedge_requests: bool = _DEFAULTS.hedge_requests
    upstream_connections: int = Field(default=_DEFAULTS.upstream_connections, gt=0)
    upstream_max_waiting: int = Field(default=_DEFAULTS.max_upstream_waiting, ge=0)
    breaker_failure_rate: float = Field(default=_DEFAULTS.breaker_failure_rate, ge=0, le=1)
    breaker_min_requests: int = Field(default=_DEFAULTS.breaker_min_requests, gt=0)
    breaker_open_seconds: float = Field(default=_DEFAULTS.breaker_open_seconds, gt=0)
    cache_max_bytes: int = Field(default=_DEFAULTS.cache_max_bytes, ge=0)
    cache_fresh_seconds: float | None = Field(default=None, ge=0)
    cache_stale_while_revalidate_seconds: float = Field(default=_DEFAULTS.cache_stale_while_revalidate_seconds, ge=0)
    cache_stale_if_error_seconds: float = Field(default=_DEFAULTS.cache_stale_if_error_seconds, ge=0)
    redis_url: SecretStr | None = None
    redis_timeout_seconds: float = Field(default=_DEFAULTS.redis_timeout_seconds, gt=0)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=256)
    subgraph: bool = False
    demo: bool = False
    log_format: LogFormat = "auto"
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    otel_exporter_otlp_endpoint: str | None = None
    max_operations: int = Field(default=_HTTP_DEFAULTS.max_operations, gt=0)
    max_queued_operations: int = Field(default=_HTTP_DEFAULTS.max_queued_operations, ge=0)
    max_body_bytes: int = Field(default=_HTTP_DEFAULTS.max_body_bytes, gt=0)
    max_batch_operations: int = Field(default=_HTTP_DEFAULTS.max_batch_operations, gt=0)
    max_subscriptions: int = Field(default=_HTTP_DEFAULTS.max_subscriptions, ge=0)
    max_watches: int = Field(default=_HTTP_DEFAULTS.max_watches, ge=0)
    watch_floor_seconds: int = Field(default=_HTTP_DEFAULTS.watch_floor_seconds, gt=0)
    max_websockets: int = Field(default=_HTTP_DEFAULTS.max_websockets, ge=0)
    max_operations_per_websocket: int = Field(default=_HTTP_DEFAULTS.max_operations_per_websocket, gt=0)
    heartbeat_seconds: float = Field(default=_HTTP_DEFAULTS.heartbeat_seconds, gt=0)
    send_timeout_seconds: float = Field(default=_HTTP_DEFAULTS.send_timeout_seconds, gt=0)
    connection_init_timeout_seconds: float = Field(default=_HTTP_DEFAULTS.connection_init_timeout_seconds, gt=0)
    trusted_documents: Path | None = None
    trusted_documents_mode: TrustedMode = TrustedMode.ALLOW
    api_key_hashes: str = ""
    jwt_jwks_file: Path | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_algorithms: str = ",".join(DEFAULT_ALGORITHMS)
    rate_limit_per_minute: int = Field(default=0, ge=0, le=1_000_000)
    rate_limit_burst: int | None = Field(default=None, gt=0, le=1_000_000)
    allowed_origins: str = ""
    allowed_hosts: str = ""
    max_document_bytes: int = Field(default=_LIMITS.max_document_bytes, gt=0)
    max_tokens: int = Field(default=_LIMITS.max_tokens, gt=0)
    max_nesting: int = Field(default=_LIMITS.max_nesting, gt=0, le=_DEEPEST)
    max_operations_per_document: int = Field(default=_LIMITS.max_operations_per_document, gt=0)
    max_fragments: int = Field(default=_LIMITS.max_fragments, ge=0, le=_DEEPEST)
    max_selections: int = Field(default=_LIMITS.max_selections, gt=0)
    max_directives: int = Field(default=_LIMITS.max_directives, ge=0)
    max_directives_per_location: int = Field(default=_LIMITS.max_directives_per_location, ge=0)
    max_depth: int = Field(default=_LIMITS.max_depth, gt=0)
    max_fields: int = Field(default=_LIMITS.max_fields, gt=0)
    max_aliases: int = Field(default=_LIMITS.max_aliases, ge=0)
    max_root_fields: int = Field(default=_LIMITS.max_root_fields, gt=0)
    max_list_items: int = Field(default=_LIMITS.max_list_items, gt=0)
    max_variable_values: int = Field(default=_LIMITS.max_variable_values, ge=0)
    max_cost: int = Field(default=_LIMITS.max_cost, gt=0)
    introspection: bool = True
    max_requests_per_operation: int = Field(default=_DEFAULTS.max_requests_per_operation, gt=0)
    operation_timeout_seconds: float = Field(default=_DEFAULTS.operation_timeout_seconds, gt=0)

    @field_validator("log_format", "log_level", "trusted_documents_mode", mode="before")
    @classmethod
    def _in_any_case(cls, name: object) -> object:
        return name.lower() if isinstance(name, str) else name

    @field_validator("ondo_base_url", "onebalance_base_url", "thegraph_base_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError("expected a URL that begins with https:// or http://")
        return url

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected a URL that begins with redis://, rediss:// or unix://")
        return url

    @field_validator("thegraph_plan")
    @classmethod
    def _is_plan(cls, plan: str) -> str:
        Plan.parse(plan)
        return plan

    @field_validator("api_key_hashes")
    @classmethod
    def _are_hashes(cls, hashes: str) -> str:
        if hashes:
            ApiKeys.parse(hashes)
        return hashes

    @field_validator("jwt_algorithms")
    @classmethod
    def _are_algorithms(cls, names: str) -> str:
        if not (chosen := _parts(names)) or not set(chosen) <= set(ALGORITHMS):
            raise ValueError(f"expected some of {', '.join(ALGORITHMS)}")
        return names

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: str) -> str:
        for host in _parts(hosts):
            if not _HOST.fullmatch(host):
                raise ValueError("expected names of hosts such as graph.example or *.example, without a port")
        return hosts

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: str) -> str:
        Origins.parse(origins)
        return origins

    @property
    def upstreams(self) -> UpstreamSettings:
        """The part that the upstreams need."""
        values = {name: getattr(self, _NAMES.get(name, name)) for name in _DEFAULTS.__slots__}
        return UpstreamSettings(**{name: _revealed(value) for name, value in values.items()})

    @property
    def http(self) -> HttpSettings:
        """The part that the transports need."""
        return HttpSettings(**{name: getattr(self, name) for name in _HTTP_DEFAULTS.__slots__})

    @property
    def trusted(self) -> TrustedDocuments | None:
        """The documents that clients may name by their hash; raises ``ConfigurationError``."""
        if self.trusted_documents is None:
            if self.trusted_documents_mode is TrustedMode.ALLOW:
                return None
            raise ConfigurationError("TRUSTED_DOCUMENTS_MODE is set: set TRUSTED_DOCUMENTS to a folder too.")
        try:
            return TrustedDocuments.load(self.trusted_documents, self.trusted_documents_mode)
        except ValueError as error:
            raise ConfigurationError(f"TRUSTED_DOCUMENTS: {error}") from error

    @property
    def authenticator(self) -> Authenticator | None:
        """Who says which clients are known; None: all may ask. Raises ``ConfigurationError``."""
        tokens = None
        if self.jwt_jwks_file is not None:
            try:
                tokens = Tokens(
                    self.jwt_jwks_file,
                    issuer=self.jwt_issuer,
                    audience=self.jwt_audience,
                    algorithms=_parts(self.jwt_algorithms),
                )
            except ValueError as error:
                raise ConfigurationError(f"JWT_JWKS_FILE: {error}") from error
        elif self.jwt_issuer or self.jwt_audience:
            raise ConfigurationError("JWT_ISSUER or JWT_AUDIENCE is set: set JWT_JWKS_FILE too.")
        api_keys = ApiKeys.parse(self.api_key_hashes) if self.api_key_hashes else None
        return Authenticator(api_keys, tokens) if api_keys or tokens else None

    @property
    def origins(self) -> Origins:
        """The sites whose pages may ask."""
        return Origins.parse(self.allowed_origins)

    def rate_limit(self, store: SharedStore | None) -> RateLimit | None:
        """How often a client may ask, counted over all replicas of a store; None: as often as it likes."""
        limit = self.rate_limit_per_minute
        return RateLimit(limit, self.rate_limit_burst, store=store) if limit else None

    @property
    def limits(self) -> Limits:
        """How large an operation may be."""
        return Limits(**{name: getattr(self, name) for name in Limits.__slots__})

    def check(self) -> None:
        """Raises ``ConfigurationError`` unless there is a source or the demo: none is chosen by accident."""
        if self.otel_exporter_otlp_endpoint and not can_export_spans():
            raise ConfigurationError("OTEL_EXPORTER_OTLP_ENDPOINT is set: install the extra otel, or unset it.")
        _ = self.authenticator, self.trusted  # what they are made of may be missing
        if not (self.demo or self.ondo_api_key or self.onebalance_api_key or self.thegraph_api_token):
            raise ConfigurationError(
                "No source is configured. Set at least one of ONDO_API_KEY, ONEBALANCE_API_KEY and "
                "THEGRAPH_API_TOKEN, or start with --demo (DEMO=1) for simulated data."
            )


def _parts(text: str) -> list[str]:
    """What stands between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _revealed(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


class _Door:
    """Leads to the graph while the application lives."""

    graphql: GraphQLApp | None = None

    async def drain(self) -> None:
        """Ends what would otherwise never end, and waits for what runs on WebSockets."""
        if self.graphql is not None:
            await self.graphql.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.graphql is None:
            raise RuntimeError("the application is not alive: its server must run the ASGI lifespan")
        answering = False

        async def note_and_send(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            await self.graphql(scope, receive, note_and_send)
        except asyncio.CancelledError:  # the server stops, and has waited long enough
            if scope["type"] == "http" and not answering:
                await SecurityHeaders(too_busy("The server stops: try again.").response)(scope, receive, send)


class _Service(Starlette):
    """Leads to the graph past its routes and what stands around them, unless a host has added something to that."""

    def __init__(self, graph: ASGIApp, **options: Any) -> None:
        super().__init__(**options)
        self._graph = graph
        self._own_middleware = len(self.user_middleware)

    def build_middleware_stack(self) -> ASGIApp:
        graph, around = self._graph, super().build_middleware_stack()
        if len(self.user_middleware) > self._own_middleware or self.exception_handlers:
            return around

        async def lead(scope: Scope, receive: Receive, send: Send) -> None:
            straight = scope["type"] == "http" and scope["path"] == _PATH and not scope.get("root_path")
            await (graph if straight else around)(scope, receive, send)

        return lead


def create_app(settings: Settings) -> Starlette:
    """The whole service as an ASGI application that opens its upstreams when it starts and closes them at its end."""
    schema = default_schema
    if settings.subgraph or settings.limits != Limits() or not settings.introspection:
        schema = Schema(subgraph=settings.subgraph, limits=settings.limits, introspection=settings.introspection)
    trusted_documents, authenticator = settings.trusted, settings.authenticator
    door = _Door()
    hosts = _parts(settings.allowed_hosts)
    entrance: ASGIApp = SecurityHeaders(TrustedHostMiddleware(door, hosts, www_redirect=False)) if hosts else door

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if not logging.getLogger().handlers:  # else the process has logs already
            configure_logs(settings.log_format, settings.log_level)
        logging.getLogger("uvicorn.error").addFilter(is_no_clients_mistake)
        async with AsyncExitStack() as stack:
            upstream_settings = await _start_demo(stack, settings) if settings.demo else settings.upstreams
            upstreams = await stack.enter_async_context(Upstreams(upstream_settings))
            door.graphql = GraphQLApp(
                upstreams,
                schema=schema,
                demo=settings.demo,
                settings=settings.http,
                trusted_documents=trusted_documents,
                authenticator=authenticator,
                rate_limit=settings.rate_limit(upstreams.store),
                origins=settings.origins,
            )
            try:
                yield
            finally:
                await door.graphql.close()
                door.graphql = None

    async def readyz(request: Request) -> Response:
        if door.graphql is None:
            return JSONResponse({"status": "not ready"}, 503)
        upstreams = door.graphql.upstreams
        return JSONResponse(
            {
                "status": "ready",
                "demo": settings.demo,
                "sources": upstreams.states,
                "shared_store": upstreams.store_state,
            }
        )

    app = _Service(
        entrance,
        routes=[
            Route(_PATH, entrance),
            WebSocketRoute(_PATH, entrance),
            Route("/healthz", _healthz),
            Route("/readyz", readyz),
            Route("/metrics", _metrics),
        ],
        middleware=[Middleware(SecurityHeaders)],
        lifespan=lifespan,
    )
    app.state.drain = door.drain
    return app


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "alive"})


class _OfAllWorkers(MultiProcessCollector):
    """Metrics of all processes, without those that only the process itself can tell: here they would be 0."""

    def collect(self) -> list[Any]:
        unknown = {family.name for gauge in READ_WHEN_ASKED for family in gauge.describe()}
        families = super().collect()  # type: ignore[no-untyped-call]  # its package has no types for it
        return [family for family in families if family.name not in unknown]


async def _metrics(request: Request) -> Response:
    registry = prometheus_client.REGISTRY
    if _METRICS_FOLDER in os.environ:
        registry = prometheus_client.CollectorRegistry()
        _OfAllWorkers(registry)  # type: ignore[no-untyped-call]
    return Response(prometheus_client.generate_latest(registry), media_type=prometheus_client.CONTENT_TYPE_LATEST)


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
    settings.check()
    app = globals()["app"] = create_app(settings)
    return app


def _print_new_api_key(client: str) -> int:
    try:
        key, setting = ApiKeys.new(client)
    except ValueError as error:
        print(f"--new-api-key: {error}", file=sys.stderr)
        return 2
    print(f"For the client, and not to be had again:\nx-api-key: {key}\n")
    print(f"For the server, beside the hashes of others:\nAPI_KEY_HASHES={setting}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; gives the process's exit status."""
    parser = argparse.ArgumentParser(prog="server.py", description="One GraphQL query for all that a wallet holds.")
    parser.add_argument("--demo", action="store_true", default=None, help="serve simulated data; needs no key")
    parser.add_argument("--host", help="address to listen on (HOST, default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any free one (PORT, default 8000)")
    parser.add_argument("--workers", type=int, help="processes that serve (WORKERS, default 1)")
    parser.add_argument("--new-api-key", metavar="CLIENT", help="print a new key for a client, and serve nothing")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    if "new_api_key" in given:
        return _print_new_api_key(given["new_api_key"])
    try:
        settings = Settings(**given)
        settings.check()
    except ValidationError as error:
        for problem in error.errors():
            print(f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}", file=sys.stderr)
        return 2
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    if settings.workers > 1:
        configure_logs(settings.log_format, settings.log_level)
        with TemporaryDirectory(prefix="walletgraph-metrics-") as folder:
            os.environ.setdefault(_METRICS_FOLDER, folder)
            return run_workers(partial(_build_server, settings), settings.host, settings.port, settings.workers)
    with suppress(KeyboardInterrupt):
        _build_server(settings).run()
    return 0


def _build_server(settings: Settings) -> Server:
    """The server of this process, with whatever a process that serves needs."""
    configure_logs(settings.log_format, settings.log_level)
    until_the_end = ExitStack()
    until_the_end.enter_context(exported_spans(settings.otel_exporter_otlp_endpoint))
    atexit.register(until_the_end.close)
    # An operation that its client leaves has fields that were not begun yet.
    warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)
    app = create_app(settings)
    gc.collect()
    gc.freeze()  # what lives as long as the process need not be looked through again and again
    gc.set_threshold(50_000, 20, 20)
    notes = ["simulated data"] * settings.demo + [f"worker {os.getpid()}"] * (settings.workers > 1)
    note = f" ({', '.join(notes)})" if notes else ""
    return Server(app, settings.host, settings.port, settings.http, note=note)


if __name__ == "__main__":
    sys.exit(main())
