"""Operations that want balances fresher than the caches would serve them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal

import pytest

from loaders import Loaders
from loaders.caip import AccountAddress
from loaders.records import SourceStatus, Wants
from loaders.source import EVERYTHING
from loaders.upstream.simulator.base import Fault
from resolvers.context import Context
from resolvers.view import View, load_view
from tests.chaos.helpers import asked, break_balances, look, open_kept
from tests.failures.household import ASSETS_LIST, ETH, EVM, METADATA, SOLANA, SOLANA_SPL, SOURCES, household
from tests.graph import ONEBALANCE_BALANCES, Graph
from tests.replicas.fleet import join, open_fleet
from tests.replicas.redis_server import RedisServer

PAIR = (AccountAddress(EVM), AccountAddress(SOLANA))


async def view(graph: Graph, max_age_seconds: float | None) -> View:
    """What the pair holds, by answers that are no older than this."""
    loaders = Loaders(graph.sources, max_age_seconds=max_age_seconds)
    try:
        return await load_view(Context(loaders), PAIR, EVERYTHING, Wants.NOTHING)
    finally:
        loaders.close()


async def eth(graph: Graph, max_age_seconds: float | None) -> Decimal | None:
    by_asset = {one.asset_id: one.amount for one in (await view(graph, max_age_seconds)).holdings}
    return by_asset.get(ETH)  # type: ignore[call-overload, no-any-return]  # an asset id is a string


def hold(graph: Graph, ether: int) -> None:
    dataset = graph.simulators.onebalance.dataset
    dataset.add_balance(account=EVM, asset_type=ETH, balance=ether * 10**18, fiat_value="1")


def count(graph: Graph) -> Mapping[str, int]:
    return {source: len(asked(graph, source)) for source in SOURCES}


async def test_what_is_older_than_asked_for_is_renewed_and_waited_for() -> None:
    async with open_kept() as graph:
        await look(graph)
        hold(graph, 7)
        graph.simulators.forget()
        await asyncio.sleep(0.06)
        assert await eth(graph, 3_600) == Decimal("1.5")
        assert graph.simulators.requests() == []
        assert await eth(graph, 0.05) == 7
        assert all(count(graph).values())
        assert await eth(graph, None) == 7  # all others have the newer one as well


async def test_nothing_old_is_served_while_it_is_renewed() -> None:
    async with open_kept(cache_fresh_seconds=0.0, cache_stale_while_revalidate_seconds=3_600.0) as graph:
        await look(graph)
        hold(graph, 7)
        assert await eth(graph, 3_600) == 7


async def test_registers_keep_their_own_lifetime() -> None:
    async with open_kept() as graph:
        await look(graph)
        graph.simulators.forget()
        await asyncio.sleep(0.02)
        await view(graph, 0.01)
        assert graph.simulators.ondo.asked(METADATA) == []
        assert graph.simulators.onebalance.asked(ASSETS_LIST) == []


async def test_all_who_want_it_fresher_at_once_cause_one_request() -> None:
    async with open_kept() as graph:
        await look(graph)
        graph.simulators.forget()
        await asyncio.sleep(0.06)
        await asyncio.gather(*[view(graph, 0.05) for _ in range(5)])
        assert count(graph) == {"ONDO_GM": 3, "ONEBALANCE": 1, "SOLANA_SPL": 2}


@pytest.mark.parametrize("source", SOURCES)
async def test_if_it_cannot_be_renewed_the_earlier_one_is_served_as_what_it_is(source: str) -> None:
    async with open_kept(retries=0) as graph:
        await look(graph)
        break_balances(graph, source, Fault(status=500))
        await asyncio.sleep(0.02)
        reports = [report for report in (await view(graph, 0.01)).reports if report.source.value == source]
        assert {report.status for report in reports} == {SourceStatus.STALE}
        assert {report["status"] for report in (await look(graph)).reports(source)} == {"OK"}  # it is fresh to others


async def test_while_it_rests_after_a_failure_it_is_not_asked_again_and_again() -> None:
    async with open_kept(retries=0) as graph:
        await look(graph)
        break_balances(graph, SOLANA_SPL, Fault(status=500))
        await asyncio.sleep(0.02)
        await view(graph, 0.01)
        graph.simulators.forget()
        await view(graph, 0.01)
        assert asked(graph, SOLANA_SPL) == []


async def test_a_whole_chain_is_good_for_its_minute() -> None:
    async with open_kept(ondo_snapshot_threshold=1) as graph:
        await look(graph)
        graph.simulators.forget()
        await asyncio.sleep(0.02)
        await view(graph, 0.01)
        assert count(graph) == {"ONDO_GM": 0, "ONEBALANCE": 1, "SOLANA_SPL": 2}


async def test_what_another_replica_has_fetched_of_late_is_fresh_enough(redis_server: RedisServer) -> None:
    async with open_fleet(household(), redis_server.url) as fleet:
        await look(fleet.first)
        await asyncio.sleep(0.1)
        fleet.simulators.forget()
        await view(fleet.second, 3_600)
        assert count(fleet.second) == dict.fromkeys(SOURCES, 0)


async def test_what_is_too_old_is_renewed_by_one_of_all_replicas(redis_server: RedisServer) -> None:
    async with open_fleet(household(), redis_server.url) as fleet:
        await look(fleet.first)
        hold(fleet.first, 7)
        await asyncio.sleep(0.3)
        fleet.simulators.forget()
        fleet.simulators.onebalance.inject(Fault(kind="delay", seconds=0.1, path=ONEBALANCE_BALANCES))
        assert {*await asyncio.gather(eth(fleet.first, 0.25), eth(fleet.second, 0.25))} == {Decimal(7)}
        assert count(fleet.first)["ONEBALANCE"] == 1


async def test_who_meets_others_that_are_content_with_less_asks_again(redis_server: RedisServer) -> None:
    async with open_fleet(household(), redis_server.url) as fleet:
        await look(fleet.first)
        for ether in (7, 8, 9):
            hold(fleet.first, ether)
            await asyncio.sleep(0.1)
            async with join(fleet.first) as other:
                _, fresher = await asyncio.gather(eth(other, None), eth(other, 0.05))
                assert fresher == ether
