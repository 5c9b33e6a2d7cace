"""Replicas of the graph over the same upstreams and one Redis, and what they are asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import REGISTRY

from loaders.upstream import Upstreams
from tests.failures.household import ETH, EVM, SOLANA
from tests.graph import KEPT, Graph, Simulators, open_graph
from tests.replicas.redis_server import RedisServer

CHAIN = "eip155:1"
PATIENCE_SECONDS = 2.0
"""What a command to Redis may take where its speed is not the question: the machine may be busy."""

EVERYTHING = """query ($a: [AccountAddress!]!) { portfolio(addresses: $a) {
  holdings { nodes {
    accountId amount rawAmount valueUsd valueStatus amountSource agreement
    token { assetId symbol name decimals price { usd change24h } stock { ticker underlyingName sharesPerToken } }
    observations { source amount rawAmount reportedValueUsd reportedAsset tokenAccounts { address } fetchedAt }
  } }
  total { valueUsd complete }
  byAssetGroup { group { groupId symbol } amount reported { rawAmount decimals valueUsd } }
  sources { source chain { chainId } status code cacheAgeSeconds upstreamCalls fetchedAt indexedTo { blockNumber } }
} }"""

OF_SOURCE = """query ($a: [AccountAddress!]!, $s: HoldingSource!, $c: ChainId!) { portfolio(addresses: $a) {
  holdings(first: 200, filter: {sources: [$s], chains: [$c]}) {
    nodes { accountId amount }
    sources { source accounts status code retryAfterSeconds cacheAgeSeconds upstreamCalls }
  }
} }"""


@dataclass(slots=True)
class Fleet:
    """Two replicas."""

    first: Graph
    second: Graph

    @property
    def simulators(self) -> Simulators:
        """Their upstreams."""
        return self.first.simulators


@asynccontextmanager
async def open_fleet(simulators: Simulators, url: str, **settings: Any) -> AsyncIterator[Fleet]:
    """Two replicas with caches, retries and a breaker, over these upstreams and the Redis there."""
    settings = {"redis_timeout_seconds": PATIENCE_SECONDS, **settings}
    async with open_graph(simulators, base=KEPT, redis_url=url, **settings) as first, join(first) as second:
        yield Fleet(first, second)


@asynccontextmanager
async def join(other: Graph) -> AsyncIterator[Graph]:
    """One more replica, which has just started."""
    graph = Graph(other.simulators, await Upstreams(other.upstreams.settings).__aenter__(), other.schema)
    try:
        yield graph
    finally:
        await graph.upstreams.__aexit__()


async def see(graph: Graph, *addresses: str) -> dict[str, Any]:
    """Everything about the household, or these addresses."""
    seen: dict[str, Any] = (await graph.ask(EVERYTHING, a=list(addresses or (EVM, SOLANA))))["portfolio"]
    seen["sources"] = [report for report in seen["sources"] if report["status"] != "NOT_APPLICABLE"]
    return seen


@dataclass(slots=True)
class Told:
    """What one source told of some wallets: amounts by address, and its report on each of them."""

    amounts: Mapping[str, str]
    reports: Mapping[str, Mapping[str, Any]]

    @property
    def codes(self) -> list[str]:
        """OK, or why it failed, for each wallet."""
        return [report["code"] or report["status"] for report in self.reports.values()]


async def tell(graph: Graph, source: str, addresses: Sequence[str]) -> Told:
    """What a source knows of wallets on Ethereum, each asked for in an operation of its own, all at once."""
    return await tell_by(graph.ask, source, addresses)


async def tell_by(ask: Callable[..., Awaitable[dict[str, Any]]], source: str, addresses: Sequence[str]) -> Told:
    """The same by whatever answers operations."""
    answers = await asyncio.gather(*[ask(OF_SOURCE, a=[one], s=source, c=CHAIN) for one in addresses])
    amounts, reports = {}, {}
    for address, answer in zip(addresses, answers, strict=True):
        holdings = answer["portfolio"]["holdings"]
        amounts.update({node["accountId"].rpartition(":")[2]: node["amount"] for node in holdings["nodes"]})
        reports[address] = next(report for report in holdings["sources"] if report["source"] == source)
    return Told(amounts, reports)


def crowd(simulators: Simulators, count: int) -> dict[str, str]:
    """So many more wallets, each with an amount of its own, of AAPLon by Ondo and of ETH by OneBalance."""
    wallets = {f"0x{0xC0FFEE + n:040x}": str(n) for n in range(1, count + 1)}
    for address, amount in wallets.items():
        simulators.ondo.dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=address, balance=amount)
        wei = int(amount) * 10**18
        simulators.onebalance.dataset.add_balance(account=address, asset_type=ETH, balance=wei, fiat_value="1")
    return wallets


def values(server: RedisServer) -> dict[str, bytes]:
    """The answers that Redis holds, by key."""
    others = ("budget:", "breaker:", "demand:")
    keys = [key.decode().removeprefix("{walletgraph}:") for key in server.client.keys("*")]
    kept = [key for key in keys if not key.endswith(":flight") and not key.startswith(others)]
    return {key: server.client.get(f"{{walletgraph}}:{key}") for key in kept}


def kinds(server: RedisServer) -> set[str]:
    """The kinds of answers that Redis holds, e.g. ``ondo:balances``."""
    return {":".join(key.split(":")[:2]) for key in values(server)}


FAILURES = "walletgraph_shared_store_failures_total"


def count(name: str, **labels: str) -> float:
    """What the counters of this name and these labels stand at, for all replicas of this process together."""
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


async def until(holds: Callable[[], object], within_seconds: float = 20.0) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(within_seconds):
        while not holds():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.02)


def as_text(seen: Mapping[str, Any]) -> str:
    """What was seen, to the letter, less what tells how it was come by."""
    told = {"cacheAgeSeconds", "upstreamCalls"}
    sources = [{name: value for name, value in one.items() if name not in told} for one in seen["sources"]]
    return json.dumps({**seen, "sources": sources})
