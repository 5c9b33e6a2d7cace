"""What is deferred holds nothing up, begins at once, and says the same as if it were not deferred."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from graphql.execution import InitialIncrementalExecutionResult, SubsequentIncrementalExecutionResult
from prometheus_client import REGISTRY

from loaders.upstream.simulator.base import Fault
from resolvers.context import RequestContext
from tests.failures.household import EVM, NETWORKS, SOLANA, open_household
from tests.graph import NATIVE_BALANCES, ONEBALANCE_BALANCES, SPL_BALANCES, Graph

SLOW = 0.5
ONDO_ALONE = "holdings(filter: {sources: [ONDO_GM]}) { nodes { token { symbol } amount valueUsd } }"


@dataclass(slots=True)
class Delivered:
    """A response as a client puts it together, and how many seconds each payload took."""

    data: Any = None
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    first: Any = None


async def deliver(graph: Graph, query: str) -> Delivered:
    """Takes every payload of an operation."""
    delivered, started = Delivered(), time.monotonic()
    places: dict[str, Sequence[str | int]] = {}
    request = RequestContext(graph.sources, incremental=True)
    async with aclosing(await graph.schema.stream(query, context_value=request)) as payloads:
        async for payload in payloads:
            delivered.seconds.append(time.monotonic() - started)
            assert isinstance(payload, InitialIncrementalExecutionResult | SubsequentIncrementalExecutionResult)
            part: Mapping[str, Any] = payload.formatted
            if "data" in part:
                delivered.data = part["data"]
                delivered.first = repr(part["data"])
                delivered.errors += part.get("errors", ())
            places |= {pending["id"]: pending["path"] for pending in part.get("pending", ())}
            for patch in part.get("incremental", ()):
                place = delivered.data
                for key in [*places[patch["id"]], *patch.get("subPath", ())]:
                    place = place[key]
                if "items" in patch:
                    place.extend(patch["items"])
                else:
                    place.update(patch["data"])
                delivered.errors += patch.get("errors", ())
            for completed in part.get("completed", ()):
                delivered.errors += completed.get("errors", ())
    return delivered


def slow_down(graph: Graph, source: str, path: str) -> None:
    graph.simulators.by_source()[source].inject(Fault(kind="delay", seconds=SLOW, path=path))


@asynccontextmanager
async def slow_onebalance() -> AsyncIterator[Graph]:
    async with open_household() as graph:
        slow_down(graph, "ONEBALANCE", ONEBALANCE_BALANCES)
        yield graph


def assert_first_was_fast(delivered: Delivered) -> None:
    assert delivered.seconds[0] < SLOW / 2
    assert delivered.seconds[-1] >= SLOW * 0.9


async def test_reports_behind_defer_hold_nothing_up() -> None:
    async with slow_onebalance() as graph:
        query = f'{{ wallet(address: "{EVM}") {{ address ... @defer {{ sources {{ source status }} }} }} }}'
        delivered = await deliver(graph, query)
        assert_first_was_fast(delivered)
        assert {one["status"] for one in delivered.data["wallet"]["sources"]} == {"OK", "NOT_APPLICABLE"}


async def test_a_total_behind_defer_does_not_make_a_list_wait_for_sources_that_it_does_not_need() -> None:
    async with slow_onebalance() as graph:
        plain = await graph.ask(f'{{ wallet(address: "{EVM}") {{ {ONDO_ALONE} total {{ valueUsd complete }} }} }}')
        asked = [(request.path, request.query) for request in graph.simulators.requests()]
        await graph.restart()
        graph.simulators.forget()
        query = f'{{ wallet(address: "{EVM}") {{ {ONDO_ALONE} ... @defer {{ total {{ valueUsd complete }} }} }} }}'
        delivered = await deliver(graph, query)
        assert_first_was_fast(delivered)
        assert "TSLAon" in delivered.first
        assert delivered.data == plain
        # Each source is asked once for both, and for nothing more than if nothing were deferred.
        assert sorted((one.path, one.query) for one in graph.simulators.requests()) == sorted(asked)


async def test_what_is_deferred_is_asked_for_at_once_not_after_the_first_payload() -> None:
    async with slow_onebalance() as graph:
        slow_down(graph, "ONDO_GM", "/v1/chains/*/balances")
        query = f'{{ wallet(address: "{EVM}") {{ {ONDO_ALONE} ... @defer {{ total {{ valueUsd }} }} }} }}'
        delivered = await deliver(graph, query)
        assert delivered.seconds[0] >= SLOW * 0.9
        assert delivered.seconds[-1] < SLOW * 1.8


async def test_how_far_a_chain_is_read_holds_up_no_list_of_holdings() -> None:
    async with open_household() as graph:
        slow_down(graph, "SOLANA_SPL", NETWORKS)
        query = f"""{{ wallet(address: "{SOLANA}") {{ holdings {{
          nodes {{ amount }} ... @defer {{ sources {{ source indexedTo {{ blockNumber }} }} }}
        }} }} }}"""
        delivered = await deliver(graph, query)
        assert_first_was_fast(delivered)
        reports = {one["source"]: one for one in delivered.data["wallet"]["holdings"]["sources"]}
        assert reports["SOLANA_SPL"]["indexedTo"]["blockNumber"]
        assert reports["ONDO_GM"]["indexedTo"] is None
        assert len(graph.simulators.thegraph.asked(NETWORKS)) == 1


async def test_how_far_a_chain_is_read_is_asked_for_with_the_balances() -> None:
    async with open_household() as graph:
        slow_down(graph, "SOLANA_SPL", NETWORKS)
        for path in (SPL_BALANCES, NATIVE_BALANCES):
            slow_down(graph, "SOLANA_SPL", path)
        started = time.monotonic()
        await graph.ask(f'{{ wallet(address: "{SOLANA}") {{ sources {{ indexedTo {{ blockNumber }} }} }} }}')
        assert time.monotonic() - started < SLOW * 1.8


async def test_a_streamed_list_is_the_same_list() -> None:
    async with open_household() as graph:
        query = '{{ wallet(address: "{}") {{ holdings {{ nodes {} {{ id amount valueUsd }} }} }} }}'
        plain = await graph.ask(query.format(EVM, ""))
        await graph.restart()
        delivered = await deliver(graph, query.format(EVM, "@stream(initialCount: 1)"))
        assert delivered.data == plain
        assert len(plain["wallet"]["holdings"]["nodes"]) > 2
        assert delivered.first.count("'id'") == 1


async def test_observations_behind_defer_come_with_the_rest_of_the_holding() -> None:
    async with open_household() as graph:
        nodes = "nodes {{ id ... {} {{ observations {{ source amount }} }} }}"
        query = '{{ wallet(address: "{}") {{ holdings {{ ' + nodes + " }} }} }}"
        plain = await graph.ask(query.format(SOLANA, "@include(if: true)"))
        await graph.restart()
        assert (await deliver(graph, query.format(SOLANA, "@defer"))).data == plain


async def test_a_client_that_takes_one_payload_gets_all_in_one() -> None:
    async with slow_onebalance() as graph:
        query = f'{{ wallet(address: "{EVM}") {{ address ... @defer {{ total {{ holdingCount }} }} }} }}'
        data = await graph.ask(query)
        assert data["wallet"]["total"]["holdingCount"] == 5


async def test_a_fault_in_a_deferred_part_is_masked_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        await asyncio.sleep(0.01)
        raise RuntimeError("of ours")

    monkeypatch.setattr("schema.holdings_view.load_total", fail)
    labels = {"operation": "Deferring", "type": "query", "outcome": "PARTIAL"}
    before = REGISTRY.get_sample_value("walletgraph_operations_total", labels) or 0
    async with open_household() as graph:
        query = f'query Deferring {{ wallet(address: "{EVM}") {{ address ... @defer {{ total {{ valueUsd }} }} }} }}'
        (error,) = (await deliver(graph, query)).errors
        assert error["message"] == "Internal server error"
        assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert REGISTRY.get_sample_value("walletgraph_operations_total", labels) == before + 1


async def test_bad_input_in_a_deferred_part_has_its_code() -> None:
    async with open_household() as graph:
        query = f'{{ wallet(address: "{EVM}") {{ address ... @defer {{ holdings(first: 900) {{ totalCount }} }} }} }}'
        (error,) = (await deliver(graph, query)).errors
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "first"}


async def test_a_client_that_leaves_takes_its_deferred_parts_with_it() -> None:
    async with slow_onebalance() as graph:
        query = f'{{ wallet(address: "{EVM}") {{ address ... @defer {{ total {{ valueUsd }} }} }} }}'
        request = RequestContext(graph.sources, incremental=True)
        payloads = await graph.schema.stream(query, context_value=request)
        await anext(payloads)
        await asyncio.sleep(0.05)
        assert under_way()
        await payloads.aclose()
        await asyncio.sleep(0.01)
        assert not under_way()


def under_way() -> list[str]:
    """What our loaders are doing."""
    return [described for task in asyncio.all_tasks() if "/loaders/" in (described := repr(task))]
