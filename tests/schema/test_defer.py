"""What is deferred holds nothing up, begins at once, and says the same as if it were not deferred."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from graphql.execution import InitialIncrementalExecutionResult, SubsequentIncrementalExecutionResult
from prometheus_client import REGISTRY

from loaders.upstream.simulator.base import Fault
from resolvers.context import RequestContext
from tests.failures.household import EVM, NETWORKS, SOLANA, open_household
from tests.graph import NATIVE_BALANCES, ONEBALANCE_BALANCES, SPL_BALANCES, Graph

ONDO_ALONE = "holdings(filter: {sources: [ONDO_GM]}) { nodes { token { symbol } amount valueUsd } }"


@dataclass(slots=True)
class Delivered:
    """A response as a client puts it together."""

    data: Any = None
    errors: list[Mapping[str, Any]] = field(default_factory=list)


async def deliver(graph: Graph, query: str) -> Delivered:
    """Takes every payload of an operation."""
    delivered = Delivered()
    places: dict[str, Sequence[str | int]] = {}
    request = RequestContext(graph.sources, incremental=True)
    async with aclosing(await graph.schema.stream(query, context_value=request)) as payloads:
        async for payload in payloads:
            assert isinstance(payload, InitialIncrementalExecutionResult | SubsequentIncrementalExecutionResult)
            part: Mapping[str, Any] = payload.formatted
            if "data" in part:
                delivered.data = part["data"]
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


def hang(graph: Graph, source: str, path: str) -> None:
    """Lets requests wait for as long as their clients do: five seconds."""
    graph.simulators.by_source()[source].inject(Fault(kind="hang", path=path))


async def first_of(graph: Graph, query: str) -> Any:
    """The data of the first payload, which nothing that hangs may hold up."""
    request = RequestContext(graph.sources, incremental=True)
    async with asyncio.timeout(4), aclosing(await graph.schema.stream(query, context_value=request)) as payloads:
        first = await anext(payloads)
        assert isinstance(first, InitialIncrementalExecutionResult)
        return first.formatted["data"]


async def all_asked(graph: Graph, query: str, *paths: tuple[str, str]) -> None:
    """Waits until a query has asked all of these, though none is answered."""
    for source, path in paths:
        hang(graph, source, path)
    asking = asyncio.create_task(deliver(graph, query))
    sources = graph.simulators.by_source()
    async with asyncio.timeout(4):
        while not all(sources[source].asked(path) for source, path in paths):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait([asking])


async def test_reports_behind_defer_hold_nothing_up() -> None:
    query = f'{{ wallet(address: "{EVM}") {{ address ... @defer {{ sources {{ source status }} }} }} }}'
    async with open_household() as graph:
        delivered = await deliver(graph, query)
        assert {one["status"] for one in delivered.data["wallet"]["sources"]} == {"OK", "NOT_APPLICABLE"}
        hang(graph, "ONEBALANCE", ONEBALANCE_BALANCES)
        assert await first_of(graph, query) == {"wallet": {"address": EVM}}


async def test_a_total_behind_defer_does_not_make_a_list_wait_for_sources_that_it_does_not_need() -> None:
    query = f'{{ wallet(address: "{EVM}") {{ {ONDO_ALONE} ... @defer {{ total {{ valueUsd complete }} }} }} }}'
    async with open_household() as graph:
        plain = await graph.ask(f'{{ wallet(address: "{EVM}") {{ {ONDO_ALONE} total {{ valueUsd complete }} }} }}')
        asked = [(request.path, request.query) for request in graph.simulators.requests()]
        await graph.restart()
        graph.simulators.forget()
        assert (await deliver(graph, query)).data == plain
        # Each source is asked once for both, and for nothing more than if nothing were deferred.
        assert sorted((one.path, one.query) for one in graph.simulators.requests()) == sorted(asked)
        hang(graph, "ONEBALANCE", ONEBALANCE_BALANCES)
        first = await first_of(graph, query)
        assert first["wallet"].keys() == {"holdings"}
        assert first["wallet"]["holdings"] == plain["wallet"]["holdings"]


async def test_what_is_deferred_is_asked_for_at_once_not_after_the_first_payload() -> None:
    query = f'{{ wallet(address: "{EVM}") {{ {ONDO_ALONE} ... @defer {{ total {{ valueUsd }} }} }} }}'
    async with open_household() as graph:
        await all_asked(graph, query, ("ONDO_GM", "/v1/chains/*/balances"), ("ONEBALANCE", ONEBALANCE_BALANCES))


async def test_how_far_a_chain_is_read_holds_up_no_list_of_holdings() -> None:
    query = f"""{{ wallet(address: "{SOLANA}") {{ holdings {{
      nodes {{ amount }} ... @defer {{ sources {{ source indexedTo {{ blockNumber }} }} }}
    }} }} }}"""
    async with open_household() as graph:
        delivered = await deliver(graph, query)
        reports = {one["source"]: one for one in delivered.data["wallet"]["holdings"]["sources"]}
        assert reports["SOLANA_SPL"]["indexedTo"]["blockNumber"]
        assert reports["ONDO_GM"]["indexedTo"] is None
        assert len(graph.simulators.thegraph.asked(NETWORKS)) == 1
        await graph.restart()
        hang(graph, "SOLANA_SPL", NETWORKS)
        assert (await first_of(graph, query))["wallet"]["holdings"].keys() == {"nodes"}


async def test_how_far_a_chain_is_read_is_asked_for_with_the_balances() -> None:
    query = f'{{ wallet(address: "{SOLANA}") {{ sources {{ indexedTo {{ blockNumber }} }} }} }}'
    async with open_household() as graph:
        await all_asked(graph, query, *(("SOLANA_SPL", path) for path in (NETWORKS, SPL_BALANCES, NATIVE_BALANCES)))


async def test_a_streamed_list_is_the_same_list() -> None:
    async with open_household() as graph:
        query = '{{ wallet(address: "{}") {{ holdings {{ nodes {} {{ id amount valueUsd }} }} }} }}'
        plain = await graph.ask(query.format(EVM, ""))
        await graph.restart()
        streamed = query.format(EVM, "@stream(initialCount: 1)")
        assert (await deliver(graph, streamed)).data == plain
        assert len(plain["wallet"]["holdings"]["nodes"]) > 2
        assert repr(await first_of(graph, streamed)).count("'id'") == 1


async def test_observations_behind_defer_come_with_the_rest_of_the_holding() -> None:
    async with open_household() as graph:
        nodes = "nodes {{ id ... {} {{ observations {{ source amount }} }} }}"
        query = '{{ wallet(address: "{}") {{ holdings {{ ' + nodes + " }} }} }}"
        plain = await graph.ask(query.format(SOLANA, "@include(if: true)"))
        await graph.restart()
        assert (await deliver(graph, query.format(SOLANA, "@defer"))).data == plain


async def test_a_client_that_takes_one_payload_gets_all_in_one() -> None:
    async with open_household() as graph:
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
    async with open_household() as graph:
        hang(graph, "ONEBALANCE", ONEBALANCE_BALANCES)
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
