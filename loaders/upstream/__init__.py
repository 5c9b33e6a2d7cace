"""The three REST upstreams behind one HTTP session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import aiohttp

from loaders.upstream.http import HttpClient
from loaders.upstream.ondo import OndoClient
from loaders.upstream.onebalance import OneBalanceClient
from loaders.upstream.thegraph import Plan, TheGraphClient

_CONNECTIONS = 200
_CONNECTIONS_PER_HOST = 64
_DNS_CACHE_SECONDS = 300
_KEEP_ALIVE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """Where the upstreams are and by which keys they are asked; a source without a key is not configured.

    ``timeout_seconds`` is the deadline of one source within one operation. From ``ondo_snapshot_threshold``
    addresses on one Ondo chain on, one request for the whole chain replaces one for each; 0 means never.
    """

    ondo_base_url: str = "https://api.gm.ondo.finance"
    ondo_api_key: str | None = None
    onebalance_base_url: str = "https://be.onebalance.io/api"
    onebalance_api_key: str | None = None
    thegraph_base_url: str = "https://token-api.thegraph.com"
    thegraph_api_token: str | None = None
    thegraph_plan: str = "free"
    timeout_seconds: float = 10.0
    ondo_snapshot_threshold: int = 10


class Upstreams:
    """Clients of the upstreams that have a key, None for the others; ``async with`` opens their session."""

    def __init__(self, settings: UpstreamSettings) -> None:
        """Raises ValueError for a plan of The Graph that cannot be read."""
        self.settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._clients: dict[str, HttpClient | None] = dict.fromkeys(("ONDO_GM", "ONEBALANCE", "SOLANA_SPL"))
        self.ondo: OndoClient | None = None
        self.onebalance: OneBalanceClient | None = None
        self.thegraph: TheGraphClient | None = None
        if key := settings.ondo_api_key:
            http = self._client(
                "ONDO_GM", settings.ondo_base_url, {"x-api-key": key}, codeless_403_is_unauthorized=True
            )
            self.ondo = OndoClient(http)
        if key := settings.onebalance_api_key:
            http = self._client("ONEBALANCE", settings.onebalance_base_url, {"x-api-key": key})
            self.onebalance = OneBalanceClient(http)
        if key := settings.thegraph_api_token:
            http = self._client("SOLANA_SPL", settings.thegraph_base_url, {"Authorization": f"Bearer {key}"})
            self.thegraph = TheGraphClient(http, Plan.parse(settings.thegraph_plan))

    def _client(
        self, name: str, base_url: str, headers: dict[str, str], *, codeless_403_is_unauthorized: bool = False
    ) -> HttpClient:
        client = self._clients[name] = HttpClient(
            self._opened,
            name,
            base_url,
            headers,
            codeless_403_is_unauthorized=codeless_403_is_unauthorized,
        )
        return client

    @property
    def states(self) -> dict[str, str]:
        """By source: NOT_CONFIGURED, UNTRIED, or how its last request went: OK or an error code."""
        return {
            name: "NOT_CONFIGURED" if client is None else client.last_outcome or "UNTRIED"
            for name, client in self._clients.items()
        }

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the upstreams are not open: wrap the application's life in `async with upstreams:`")
        return self._session

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS,
                limit_per_host=_CONNECTIONS_PER_HOST,
                ttl_dns_cache=_DNS_CACHE_SECONDS,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "User-Agent": "walletgraph"},
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
