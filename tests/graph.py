"""The graph over simulated upstreams, asked as clients ask it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loaders import Sources
from loaders.upstream import Upstreams, UpstreamSettings
from loaders.upstream.simulator.base import SeenRequest, Simulator
from loaders.upstream.simulator.demo import demo_settings, demo_upstreams
from loaders.upstream.simulator.ondo import OndoDataset, OndoSimulator
from loaders.upstream.simulator.onebalance import OneBalanceDataset, OneBalanceSimulator
from loaders.upstream.simulator.thegraph import TheGraphDataset, TheGraphSimulator
from resolvers.context import RequestContext
from schema import Schema, schema

DATA = Path(__file__).with_name("data")

ONDO_BALANCES = "/v1/chains/*/balances"
ONEBALANCE_BALANCES = "*/v3/balances/aggregated-balance"
SPL_BALANCES = "/v1/svm/balances"
NATIVE_BALANCES = "/v1/svm/balances/native"


def published(name: str) -> Any:
    """The published examples of an upstream."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


PLAIN = UpstreamSettings(
    timeout_seconds=5.0,
    retries=0,
    retry_backoff_seconds=0.001,
    breaker_failure_rate=0.0,
    cache_fresh_seconds=0.0,
    cache_stale_while_revalidate_seconds=0.0,
    cache_stale_if_error_seconds=0.0,
)
"""Every question is asked, once, and no answer kept: what is asked upstream tells what an operation needs."""

KEPT = UpstreamSettings(timeout_seconds=5.0, retry_backoff_seconds=0.001)
"""As in production: retries, a breaker and caches, but with little patience between retries."""


@dataclass(slots=True)
class Simulators:
    """The three upstreams; ``datasets`` are theirs, to be filled."""

    ondo: OndoSimulator
    onebalance: OneBalanceSimulator
    thegraph: TheGraphSimulator

    @classmethod
    def empty(cls) -> Simulators:
        """Upstreams that know nothing."""
        return cls(
            OndoSimulator(OndoDataset()),
            OneBalanceSimulator(OneBalanceDataset()),
            TheGraphSimulator(TheGraphDataset()),
        )

    @classmethod
    def demo(cls) -> Simulators:
        """Upstreams with the wallets of ``--demo``."""
        return cls(*demo_upstreams())

    @property
    def all(self) -> tuple[OndoSimulator, OneBalanceSimulator, TheGraphSimulator]:
        return self.ondo, self.onebalance, self.thegraph

    def requests(self) -> list[SeenRequest]:
        """Everything asked of any upstream."""
        return [request for simulator in self.all for request in simulator.requests]

    def forget(self) -> None:
        """Forget what was asked."""
        for simulator in self.all:
            simulator.requests.clear()

    def by_source(self) -> dict[str, Simulator]:
        return {"ONDO_GM": self.ondo, "ONEBALANCE": self.onebalance, "SOLANA_SPL": self.thegraph}


@dataclass(slots=True)
class Graph:
    """The graph, and the upstreams behind it."""

    simulators: Simulators
    upstreams: Upstreams
    schema: Schema = schema
    sources: Sources = field(init=False)

    def __post_init__(self) -> None:
        self.sources = Sources(self.upstreams)

    async def restart(self) -> None:
        """A new start of the application: nothing is known of the upstreams, nor of what they have answered."""
        await self.upstreams.__aexit__()
        self.upstreams = await Upstreams(self.upstreams.settings).__aenter__()
        self.sources = Sources(self.upstreams)

    async def respond(self, query: str, *, trace: bool = False, **variables: Any) -> dict[str, Any]:
        """The whole response to one operation, as JSON carries it."""
        context = RequestContext(self.sources, trace=trace)
        result = await self.schema.execute(query, variable_values=variables, context_value=context)
        response = {
            "data": result.data,
            "errors": [error.formatted for error in result.errors or ()],
            "extensions": result.extensions,
        }
        return json.loads(json.dumps(response))  # type: ignore[no-any-return]

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of one operation that has no errors."""
        response = await self.respond(query, **variables)
        assert response["errors"] == [], response["errors"]
        return response["data"]  # type: ignore[no-any-return]


@asynccontextmanager
async def open_graph(
    simulators: Simulators,
    *,
    without: tuple[str, ...] = (),
    schema: Schema = schema,
    base: UpstreamSettings = PLAIN,
    **settings: Any,
) -> AsyncIterator[Graph]:
    """The graph over these upstreams, started; sources in ``without`` have no key."""
    async with AsyncExitStack() as stack:
        for simulator in simulators.all:
            await stack.enter_async_context(simulator)
        found = demo_settings(simulators.all, base)
        keys = {"ONDO_GM": "ondo_api_key", "ONEBALANCE": "onebalance_api_key", "SOLANA_SPL": "thegraph_api_token"}
        unset: dict[str, Any] = {keys[name]: None for name in without}
        upstreams = await Upstreams(replace(found, **unset, **settings)).__aenter__()
        graph = Graph(simulators, upstreams, schema)
        try:
            yield graph
        finally:
            await graph.upstreams.__aexit__()
