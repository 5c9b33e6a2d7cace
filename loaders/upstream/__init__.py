"""The three REST upstreams over the same connections, and the store that replicas share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from loaders.upstream.background import Background
from loaders.upstream.breaker import Breaker, BreakerState
from loaders.upstream.budget import Budget
from loaders.upstream.connections import Connections
from loaders.upstream.http import HttpClient, RequestPolicy, fingerprint
from loaders.upstream.ondo import OndoClient
from loaders.upstream.onebalance import OneBalanceClient
from loaders.upstream.retries import RetryBudget
from loaders.upstream.shared import SharedStore
from loaders.upstream.thegraph import Plan, TheGraphClient

_DNS_CACHE_SECONDS = 300
_KEEP_ALIVE_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """Where the upstreams are, by which keys and how they are asked; a source without a key is not configured.

    ``timeout_seconds`` is the deadline of one source within one operation, retries included; ``operation_timeout``,
    ``request_timeout`` and ``connect_timeout`` those of the whole operation, of one request and of its connection.
    From ``ondo_snapshot_threshold`` addresses a minute on one Ondo chain on, one request for the whole chain
    replaces one for each; 0 means never.

    ``…_requests_per_minute`` None is what the upstream or its plan says, 0 no limit; ``onebalance_connections`` None
    is one for the public key. At most ``max_upstream_waiting`` requests wait for each upstream.

    The breaker opens when ``breaker_failure_rate`` of at least ``breaker_min_requests`` in 30 s failed; 0: never.

    Balances are fresh for ``cache_fresh_seconds``, None leaves it to each source; then served and renewed behind, and
    then only in place of a failure, for the seconds that the two names say. Replicas share by ``redis_url``.
    """

    ondo_base_url: str = "https://api.gm.ondo.finance"
    ondo_api_key: str | None = None
    onebalance_base_url: str = "https://be.onebalance.io/api"
    onebalance_api_key: str | None = None
    thegraph_base_url: str = "https://token-api.thegraph.com"
    thegraph_api_token: str | None = None
    thegraph_plan: str = "free"
    ondo_snapshot_threshold: int = 10

    timeout_seconds: float = 10.0
    operation_timeout_seconds: float = 30.0
    request_timeout_seconds: float = 10.0
    connect_timeout_seconds: float = 3.0
    retries: int = 2
    retry_backoff_seconds: float = 0.1
    retry_ratio: float = 0.2
    hedge_requests: bool = False
    max_requests_per_operation: int = 500

    ondo_requests_per_minute: int = 0
    onebalance_requests_per_minute: int | None = None
    onebalance_connections: int | None = None
    thegraph_requests_per_minute: int | None = None
    upstream_connections: int = 64
    max_upstream_waiting: int = 1_000

    breaker_failure_rate: float = 0.5
    breaker_min_requests: int = 20
    breaker_open_seconds: float = 5.0

    cache_max_bytes: int = 64 * 1024 * 1024
    cache_fresh_seconds: float | None = None
    cache_stale_while_revalidate_seconds: float = 60.0
    cache_stale_if_error_seconds: float = 86_400.0
    redis_url: str | None = None
    redis_timeout_seconds: float = 0.02


class Upstreams:
    """Clients of the upstreams that have a key, None for the others; ``async with`` opens their connections."""

    def __init__(self, settings: UpstreamSettings) -> None:
        """Raises ValueError for a plan of The Graph or a URL of Redis that cannot be read."""
        self.settings = settings
        self.background = Background()
        self.store: SharedStore | None = None
        if settings.redis_url:
            self.store = SharedStore(settings.redis_url, settings.redis_timeout_seconds)
        self._connections: Connections | None = None
        self._clients: dict[str, HttpClient | None] = dict.fromkeys(("ONDO_GM", "ONEBALANCE", "SOLANA_SPL"))
        self.ondo: OndoClient | None = None
        self.onebalance: OneBalanceClient | None = None
        self.thegraph: TheGraphClient | None = None
        connections = settings.upstream_connections
        if key := settings.ondo_api_key:
            http = self._client(
                "ONDO_GM",
                settings.ondo_base_url,
                {"x-api-key": key},
                settings.ondo_requests_per_minute,
                connections,
                codeless_403_is_unauthorized=True,
            )
            self.ondo = OndoClient(http)
        if key := settings.onebalance_api_key:
            http = self._client(
                "ONEBALANCE",
                settings.onebalance_base_url,
                {"x-api-key": key},
                settings.onebalance_requests_per_minute,
                settings.onebalance_connections,
            )
            self.onebalance = OneBalanceClient(http)
        if key := settings.thegraph_api_token:
            plan = Plan.parse(settings.thegraph_plan)
            limit = settings.thegraph_requests_per_minute
            http = self._client(
                "SOLANA_SPL",
                settings.thegraph_base_url,
                {"Authorization": f"Bearer {key}"},
                plan.requests_per_minute if limit is None else limit,
                connections,
            )
            self.thegraph = TheGraphClient(http, plan)

    def _client(
        self,
        name: str,
        base_url: str,
        headers: dict[str, str],
        requests_per_minute: int | None,
        connections: int | None,
        *,
        codeless_403_is_unauthorized: bool = False,
    ) -> HttpClient:
        settings = self.settings
        budget = Budget(
            name,
            requests_per_minute=requests_per_minute,
            connections=connections,
            max_waiting=settings.max_upstream_waiting,
            background=self.background,
            shared=self.store,
            shared_name=fingerprint(base_url, headers),
        )
        breaker = Breaker(
            name,
            failure_rate=settings.breaker_failure_rate,
            min_requests=settings.breaker_min_requests,
            open_seconds=settings.breaker_open_seconds,
            background=self.background,
            shared=self.store,
            shared_name=f"{name}:{urlsplit(base_url).hostname}:{urlsplit(base_url).port or ''}",
        )
        policy = RequestPolicy(
            request_seconds=settings.request_timeout_seconds,
            connect_seconds=settings.connect_timeout_seconds,
            retries=settings.retries,
            backoff_seconds=settings.retry_backoff_seconds,
            hedge=settings.hedge_requests,
            max_per_operation=settings.max_requests_per_operation,
        )
        client = self._clients[name] = HttpClient(
            self._opened,
            name,
            base_url,
            headers,
            policy=policy,
            budget=budget,
            breaker=breaker,
            retry_budget=RetryBudget(settings.retry_ratio),
            codeless_403_is_unauthorized=codeless_403_is_unauthorized,
        )
        return client

    @property
    def states(self) -> dict[str, str]:
        """By source: NOT_CONFIGURED, UNTRIED, CIRCUIT_OPEN, or how its last request went: OK or an error code."""
        states = {}
        for name, client in self._clients.items():
            if client is None:
                states[name] = "NOT_CONFIGURED"
            elif client.breaker.state is not BreakerState.CLOSED:
                states[name] = "CIRCUIT_OPEN"
            else:
                states[name] = client.last_outcome or "UNTRIED"
        return states

    @property
    def store_state(self) -> str:
        """NOT_CONFIGURED, OK, or UNAVAILABLE while the shared store is given a rest."""
        if self.store is None:
            return "NOT_CONFIGURED"
        return "OK" if self.store.available else "UNAVAILABLE"

    def _opened(self) -> Connections:
        if self._connections is None:
            raise RuntimeError("the upstreams are not open: wrap the application's life in `async with upstreams:`")
        return self._connections

    async def __aenter__(self) -> Self:
        self._connections = Connections(
            aiohttp.TCPConnector(
                limit=0,  # each upstream's budget has its own
                ttl_dns_cache=_DNS_CACHE_SECONDS,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
            )
        )
        if self.store is not None:
            await self.store.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.background.close()
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()
        if self.store is not None:
            await self.store.close()
