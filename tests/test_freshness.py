"""For how long an answer stays fresh: as long as the shortest-lived of all that went into it."""

from __future__ import annotations

import json

import pytest

from loaders.upstream.simulator.base import Fault
from resolvers.context import RequestContext
from tests.chaos.helpers import break_balances, open_kept, wallet
from tests.failures.household import BALANCES, ETHEREUM_BALANCES, EVM, PRICES, SOLANA, SOURCES
from tests.graph import ONEBALANCE_BALANCES, SPL_BALANCES, Graph

AMOUNTS = '{{ wallet(address: "{}") {{ holdings(orderBy: {{field: SYMBOL}}) {{ nodes {{ amount }} }} }} }}'
OF_ONE = '{{ wallet(address: "{}") {{ holdings(filter: {{sources: [{}]}}) {{ totalCount sources {{ status }} }} }} }}'
TOTAL = f'{{ wallet(address: "{EVM}") {{ total {{ valueUsd }} }} }}'


async def lifetime_of(graph: Graph, query: str) -> float | None:
    """What one operation leaves for whoever sends its answer."""
    request = RequestContext(graph.sources)
    await graph.schema.execute(query, context_value=request)
    (lifetime,) = request.lifetimes
    return lifetime


def nearly(seconds: float) -> object:
    """A lifetime that began a moment ago."""
    return pytest.approx(seconds - 1, abs=1)


@pytest.mark.parametrize(
    ("address", "source", "seconds"),
    [(EVM, "ONDO_GM", 60), (EVM, "ONEBALANCE", 30), (SOLANA, "SOLANA_SPL", 15), (SOLANA, "ONDO_GM", 60)],
)
async def test_balances_stay_fresh_for_as_long_as_their_source_says(
    address: str, source: str, seconds: float
) -> None:
    async with open_kept() as graph:
        assert await lifetime_of(graph, OF_ONE.format(address, source)) == nearly(seconds)


async def test_the_shortest_lived_of_all_that_went_into_it_counts() -> None:
    async with open_kept() as graph:
        assert await lifetime_of(graph, AMOUNTS.format(EVM)) == nearly(30)
        assert await lifetime_of(graph, AMOUNTS.format(SOLANA)) == nearly(15)
        price = await lifetime_of(graph, TOTAL)
        assert price is not None
        assert 0 < price <= 1


async def test_what_a_cache_gave_has_only_the_rest_of_its_lifetime() -> None:
    async with open_kept(cache_fresh_seconds=2.0) as graph:
        first = await lifetime_of(graph, AMOUNTS.format(EVM))
        graph.simulators.forget()
        second = await lifetime_of(graph, AMOUNTS.format(EVM))
        assert graph.simulators.requests() == []
        assert first is not None
        assert second is not None
        assert 0 < second < first <= 2


async def test_what_is_served_while_it_is_renewed_is_fresh_no_longer() -> None:
    async with open_kept(cache_fresh_seconds=0.0, cache_stale_while_revalidate_seconds=60.0) as graph:
        await lifetime_of(graph, AMOUNTS.format(EVM))
        assert await lifetime_of(graph, AMOUNTS.format(EVM)) == 0


@pytest.mark.parametrize("query", ["{ __typename }", f'{{ wallet(address: "{EVM}") {{ address namespace }} }}'])
async def test_what_no_upstream_was_asked_for_has_no_lifetime(query: str) -> None:
    async with open_kept() as graph:
        assert await lifetime_of(graph, query) is None


async def test_a_source_that_is_not_configured_or_not_requested_takes_nothing_away() -> None:
    async with open_kept(without=("ONEBALANCE", "SOLANA_SPL")) as graph:
        assert await lifetime_of(graph, AMOUNTS.format(EVM)) == nearly(60)
        assert await lifetime_of(graph, AMOUNTS.format(SOLANA)) == nearly(60)


@pytest.mark.parametrize("source", SOURCES)
async def test_an_answer_without_one_of_its_sources_must_not_be_kept(source: str) -> None:
    address = SOLANA if source == "SOLANA_SPL" else EVM
    async with open_kept(retries=0) as graph:
        break_balances(graph, source, Fault(status=500))
        assert await lifetime_of(graph, AMOUNTS.format(address)) == 0


@pytest.mark.parametrize("source", SOURCES)
async def test_a_stale_answer_must_not_be_kept(source: str) -> None:
    address = SOLANA if source == "SOLANA_SPL" else EVM
    ages = {"cache_fresh_seconds": 0.0, "cache_stale_while_revalidate_seconds": 0.0}
    async with open_kept(retries=0, **ages) as graph:
        await lifetime_of(graph, AMOUNTS.format(address))
        break_balances(graph, source, Fault(status=500))
        assert await lifetime_of(graph, AMOUNTS.format(address)) == 0


UNREADABLE = {
    "ONDO_GM": (ETHEREUM_BALANCES, {"tokens": ["..."]}),
    "ONEBALANCE": (
        ONEBALANCE_BALANCES,
        {
            "accounts": {"evm": EVM},
            "balanceByAggregatedAsset": ["..."],
            "balanceBySpecificAsset": [],
            "totalBalance": {"fiatValue": 0},
        },
    ),
    "SOLANA_SPL": (SPL_BALANCES, {"data": ["..."]}),
}
"""An answer with one row that cannot be read, by source."""


@pytest.mark.parametrize("source", SOURCES)
async def test_an_answer_with_one_row_that_cannot_be_read_must_not_be_kept(source: str) -> None:
    path, body = UNREADABLE[source]
    query = OF_ONE.format(SOLANA if source == "SOLANA_SPL" else EVM, source)
    async with open_kept() as graph:
        graph.simulators.by_source()[source].inject(Fault(status=200, body=json.dumps(body).encode(), path=path))
        assert "PARTIAL" in json.dumps(await graph.ask(query))
        graph.simulators.forget()
        assert await lifetime_of(graph, query) == 0
        assert graph.simulators.requests() == []  # it was our cache that gave it again


async def test_values_without_prices_must_not_be_kept_though_amounts_may() -> None:
    async with open_kept(retries=0) as graph:
        graph.simulators.ondo.inject(Fault(status=500, path=PRICES))
        assert await lifetime_of(graph, TOTAL) == 0
        assert await lifetime_of(graph, AMOUNTS.format(EVM)) == nearly(30)


async def test_an_answer_with_an_error_must_not_be_kept() -> None:
    async with open_kept() as graph:
        holdings = "holdings(orderBy: {field: SYMBOL}) { totalCount }"
        query = f'{{ wallet(address: "{EVM}") {{ {holdings} }} bad: node(id: "x") {{ id }} }}'
        assert await lifetime_of(graph, query) == 0
        assert await lifetime_of(graph, "{ nothing }") == 0


async def test_holders_and_registers_count_too() -> None:
    async with open_kept() as graph:
        asset = "eip155:1/erc20:0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c"
        holders = f'{{ token(assetId: "{asset}") {{ holders {{ totalCount }} }} }}'
        assert await lifetime_of(graph, holders) == nearly(60)
        assert await lifetime_of(graph, f'{{ token(assetId: "{asset}") {{ symbol }} }}') == nearly(300)


async def test_a_snapshot_of_a_whole_chain_counts_with_its_own_age() -> None:
    async with open_kept(ondo_snapshot_threshold=2, without=("ONEBALANCE", "SOLANA_SPL")) as graph:
        for number in range(4):
            assert await lifetime_of(graph, AMOUNTS.format(wallet(number + 1))) == nearly(60)
        assert len(graph.simulators.ondo.asked(*BALANCES["ONDO_GM"])) <= 4


async def test_every_operation_of_a_request_has_a_lifetime_of_its_own() -> None:
    async with open_kept() as graph:
        request = RequestContext(graph.sources)
        for query in (AMOUNTS.format(EVM), "{ __typename }", "{ nothing }"):
            await graph.schema.execute(query, context_value=request)
        assert request.lifetimes == [nearly(30), None, 0]


async def test_what_one_source_takes_counts_for_the_answers_of_the_others() -> None:
    async with open_kept(cache_fresh_seconds=2.0) as graph:
        graph.simulators.ondo.inject(Fault("delay", seconds=1.0, path=ETHEREUM_BALANCES))
        lifetime = await lifetime_of(graph, AMOUNTS.format(EVM))
        assert lifetime is not None
        assert 0 <= lifetime <= 1
