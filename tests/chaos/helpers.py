"""The household seen through caches while its upstreams fail, and what each look costs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import base58
import pytest
from prometheus_client import REGISTRY

from loaders.upstream.simulator.base import Fault, SeenRequest
from tests.failures.household import (
    BALANCES,
    EVM,
    HEALTHY,
    PARTS,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    WITHOUT,
    Seen,
    assert_tells_no_secret,
    open_household,
)
from tests.graph import KEPT, Graph

ATTEMPTS = 1 + KEPT.retries
"""Requests that a question may cost which fails again and again."""

QUESTIONS: Mapping[str, int] = {"ONDO_GM": 3, "ONEBALANCE": 1, "SOLANA_SPL": 2}
"""How many questions the balances of the household come to."""

every_source = pytest.mark.parametrize("source", SOURCES)

# Lifetimes that put an answer into one state for as long as a test lasts.
_AGES = {
    "fresh": (3_600.0, 0.0, 0.0),
    "stale while revalidate": (0.0, 3_600.0, 3_600.0),
    "stale if error": (0.0, 0.0, 3_600.0),
    "dead": (0.0, 0.0, 0.0),
}

_SHOWN = """{
    holdings { nodes { token { assetId } amount valueUsd valueStatus amountSource } snapshotAt }
    total { valueUsd complete missingSources }
    sources {
      source chain { chainId } status code message retryAfterSeconds observationCount truncated
      fetchedAt cacheAgeSeconds upstreamCalls
    }
} }"""
_AS_ONE = "query ($a: [AccountAddress!]!) { seen: portfolio(addresses: $a) " + _SHOWN
_ONE_BY_ONE = "query ($a: [AccountAddress!]!) { seen: wallets(addresses: $a) " + _SHOWN


def aged(name: str) -> dict[str, float]:
    """The settings by which balances are of one age as soon as they are known."""
    names = ("cache_fresh_seconds", "cache_stale_while_revalidate_seconds", "cache_stale_if_error_seconds")
    return dict(zip(names, _AGES[name], strict=True))


@asynccontextmanager
async def open_kept(**settings: Any) -> AsyncIterator[Graph]:
    """The household with retries, a breaker and caches."""
    async with open_household(**{"base": KEPT, **settings}) as graph:
        yield graph


def wallet(number: int) -> str:
    """An EVM address of which nobody knows anything."""
    return f"0x{number:040x}"


def solana_wallet(number: int) -> str:
    """The same on Solana."""
    return base58.b58encode(number.to_bytes(32, "big")).decode()


async def look(graph: Graph, *addresses: str) -> Seen:
    """Asks for the pair as one, or for others."""
    return Seen(await _seen(graph, _AS_ONE, addresses or (EVM, SOLANA)))


async def look_each(graph: Graph, *addresses: str) -> list[Seen]:
    """Asks for each of several wallets, in one operation."""
    return [Seen(one) for one in await _seen(graph, _ONE_BY_ONE, addresses)]


async def _seen(graph: Graph, query: str, addresses: Collection[str]) -> Any:
    """Nothing in the response may be an error, or tell a secret."""
    response = await graph.respond(query, a=[*addresses])
    assert response["errors"] == []
    assert_tells_no_secret(graph, response)
    return response["data"]["seen"]


async def timed_look(graph: Graph, *addresses: str) -> tuple[Seen, float]:
    """The same, and how many seconds it took."""
    started = time.monotonic()
    seen = await look(graph, *addresses)
    return seen, time.monotonic() - started


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Waits for what must come."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def look_until(graph: Graph, condition: Callable[[Seen], bool], *addresses: str, seconds: float = 15.0) -> Seen:
    """Looks again and again until something is to be seen."""
    return (await looks_until(graph, condition, *addresses, seconds=seconds))[-1]


async def looks_until(
    graph: Graph, condition: Callable[[Seen], bool], *addresses: str, seconds: float = 15.0
) -> list[Seen]:
    """The same, with all that was seen until then."""
    looks: list[Seen] = []
    async with asyncio.timeout(seconds):
        while not (looks and condition(looks[-1])):
            await asyncio.sleep(0.01 if looks else 0)
            looks.append(await look(graph, *addresses))
    return looks


def break_balances(graph: Graph, source: str, fault: Fault) -> None:
    """Lets a source's requests for balances meet a fault, and none of its others."""
    for path in BALANCES[source]:
        graph.simulators.by_source()[source].inject(replace(fault, path=path))


def asked(graph: Graph, source: str) -> list[SeenRequest]:
    """The requests for balances that a source has seen."""
    simulator = graph.simulators.by_source()[source]
    return [request for path in BALANCES[source] for request in simulator.asked(path)]


def codes(seen: Seen, source: str) -> set[tuple[str, str | None]]:
    """How a source did, and why."""
    return {(report["status"], report["code"]) for report in seen.reports(source)}


def metric(name: str, **labels: str) -> float:
    """What operators see at this moment."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def assert_from_cache(seen: Seen, source: str) -> None:
    """Everything is known, this source's word from a cache and without a word on what goes wrong with it."""
    for report in seen.reports(source):
        told = (report["status"], report["code"], report["message"], report["retryAfterSeconds"])
        assert told == ("OK", None, None, None)
        assert report["cacheAgeSeconds"] >= 0
        assert report["upstreamCalls"] == 0
    assert seen.held == HEALTHY
    assert seen.view["total"] == {"valueUsd": "6537.75", "complete": True, "missingSources": []}


def assert_stale(
    seen: Seen, source: str, code: str, *, retry_after: Collection[int | None] = (None,), calls: int | None = None
) -> None:
    """This source's earlier word is shown as what it is; nothing is lost, and nobody says that all is well."""
    reports = seen.by_chain(source)
    assert {*reports} == {*PARTS[source]}
    for report in reports.values():
        assert (source, report["status"], report["code"]) == (source, "STALE", code)
        assert report["message"]
        assert report["retryAfterSeconds"] in retry_after
        assert report["cacheAgeSeconds"] >= 0
        assert report["fetchedAt"]
        assert report["truncated"] is False
    if calls is not None:
        assert sum(report["upstreamCalls"] for report in reports.values()) == calls
    for other in {*SOURCES} - {source}:
        assert seen.status(other) == "OK"
    # Another source's word of the same amount, if it is OK, goes before one that is not.
    assert seen.held == (WITHOUT[SOLANA_SPL] if source == SOLANA_SPL else HEALTHY)
    assert seen.view["total"]["complete"] is False
    assert seen.view["total"]["missingSources"] == []


class Arrivals(list[SeenRequest]):
    """The requests that a source sees, and when those for balances came."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.times: list[float] = []
        self._patterns = BALANCES[source]

    def append(self, request: SeenRequest) -> None:
        if any(fnmatchcase(request.path, pattern) for pattern in self._patterns):
            self.times.append(time.monotonic())
        super().append(request)


def note_arrivals(graph: Graph, source: str) -> Arrivals:
    """Lets a source note from now on when it is asked."""
    arrivals = graph.simulators.by_source()[source].requests = Arrivals(source)
    return arrivals
