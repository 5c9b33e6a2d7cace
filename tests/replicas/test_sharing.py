"""What one replica has learnt, or is about to learn, the others need not ask."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from loaders.upstream import UpstreamSettings
from loaders.upstream.simulator.base import Fault
from tests.failures.household import (
    AAPL,
    HEALTHY,
    ONDO_GM,
    SOLANA_SPL,
    SOURCES,
    USDC_MINT,
    USDC_ON_SOLANA,
    assert_whole,
    household,
    look,
)
from tests.graph import ONDO_BALANCES, SPL_BALANCES, Simulators
from tests.replicas.fleet import Fleet, as_text, count, crowd, join, kinds, open_fleet, see, tell, until, values
from tests.replicas.redis_server import RedisServer

TOKENS = f"""{{
  named: token(assetId: "{USDC_ON_SOLANA}") {{ symbol name decimals }}
  held: token(assetId: "{AAPL}") {{ holders {{ nodes {{ accountId amount }} }} }}
  chains {{ chainId }}
}}"""


def asked(simulators: Simulators) -> list[tuple[str, object]]:
    """Every question that came to an upstream, but for prices, which hardly live longer than a test."""
    questions: list[tuple[str, Any]] = [(request.path, request.query) for request in simulators.requests()]
    return sorted(question for question in questions if "/prices/" not in question[0])


def slow_down(simulators: Simulators) -> None:
    """Lets answers take so long that questions meet."""
    for simulator in simulators.all:
        simulator.inject(Fault(kind="delay", seconds=0.4))


async def landed(redis_server: RedisServer) -> None:
    """Waits until nobody fetches anything, and what failed is known to have failed."""
    client = redis_server.client
    await until(lambda: all((client.get(key) or b"!")[:1] == b"!" for key in client.keys("*:flight")))


async def test_one_question_to_two_replicas_at_once_is_asked_upstream_once(fleet: Fleet) -> None:
    slow_down(fleet.simulators)
    first, second = await asyncio.gather(see(fleet.first), see(fleet.second))
    assert as_text(first) == as_text(second)
    amounts = {node["token"]["assetId"]: node["amount"] for node in first["holdings"]["nodes"]}
    assert amounts == {asset: held.amount for asset, held in HEALTHY.items()}
    questions = asked(fleet.simulators)
    assert len(questions) == len(set(questions))


async def test_a_wallet_seen_by_one_replica_costs_the_other_no_request(fleet: Fleet) -> None:
    first = await see(fleet.first)
    fleet.simulators.forget()
    second = await see(fleet.second)
    assert asked(fleet.simulators) == []
    assert as_text(first) == as_text(second)
    assert {report["source"] for report in second["sources"]} == {*SOURCES}
    for report in second["sources"]:
        assert (report["status"], report["upstreamCalls"]) == ("OK", 0)
        assert report["cacheAgeSeconds"] is not None


async def test_tokens_and_their_holders_seen_by_one_replica_cost_the_other_no_request(fleet: Fleet) -> None:
    first = await fleet.first.ask(TOKENS)
    fleet.simulators.forget()
    assert await fleet.second.ask(TOKENS) == first
    assert asked(fleet.simulators) == []
    assert [node["amount"] for node in first["held"]["holders"]["nodes"]] == ["2.5"]


async def test_a_replica_that_starts_later_knows_what_the_others_know(fleet: Fleet) -> None:
    first = await see(fleet.first)
    fleet.simulators.forget()
    async with join(fleet.first) as late:
        assert as_text(await see(late)) == as_text(first)
    assert asked(fleet.simulators) == []


async def test_past_its_soft_end_an_answer_is_served_at_once_and_renewed_once_in_the_fleet(
    redis_server: RedisServer,
) -> None:
    async with open_fleet(household(), redis_server.url, cache_fresh_seconds=1.0) as fleet:
        before = await see(fleet.first)
        balances = [question for question in asked(fleet.simulators) if "balance" in str(question)]
        await asyncio.sleep(1.1)
        fleet.simulators.forget()
        slow_down(fleet.simulators)
        for seen in await asyncio.gather(see(fleet.first), see(fleet.second)):
            assert as_text(seen) == as_text(before)
            assert {(report["status"], report["upstreamCalls"]) for report in seen["sources"]} == {("OK", 0)}
        await until(lambda: len(asked(fleet.simulators)) >= len(balances))
        await landed(redis_server)
        assert asked(fleet.simulators) == balances


async def test_a_refresh_that_failed_for_one_replica_lets_the_others_serve_the_old_without_asking(
    redis_server: RedisServer,
) -> None:
    async with open_fleet(
        household(),
        redis_server.url,
        cache_fresh_seconds=0.5,
        cache_stale_while_revalidate_seconds=0.0,
        retries=0,
    ) as fleet:
        ondo = fleet.simulators.ondo
        assert (await look(fleet.first)).held == HEALTHY
        ondo.inject(Fault(status=503, headers={"Retry-After": "20"}, path=ONDO_BALANCES))
        await asyncio.sleep(0.6)
        failed = await look(fleet.first)
        assert failed.status(ONDO_GM) == "STALE"
        assert failed.reports(ONDO_GM)[0]["code"] == "UPSTREAM_ERROR"
        await landed(redis_server)
        fleet.simulators.forget()
        seen = await look(fleet.second)
        assert ondo.asked(ONDO_BALANCES) == []
        assert seen.held == HEALTHY
        assert seen.status(ONDO_GM) == "STALE"
        assert [r["code"] for r in seen.reports(ONDO_GM)] == [r["code"] for r in failed.reports(ONDO_GM)]


async def test_a_failure_is_never_kept_as_an_answer(redis_server: RedisServer) -> None:
    async with open_fleet(household(), redis_server.url, retries=0) as fleet:
        for simulator in fleet.simulators.all:
            simulator.inject(Fault(status=500))
        for graph in (fleet.first, fleet.second):
            assert (await look(graph)).held == {}
        await landed(redis_server)
        assert values(redis_server) == {}
        for simulator in fleet.simulators.all:
            simulator.heal()
        await until(lambda: not redis_server.client.keys("*:flight"))
        assert_whole(await look(fleet.second))
        await landed(redis_server)
        assert values(redis_server)


async def test_an_answer_that_lacks_pages_is_kept_for_nobody(redis_server: RedisServer) -> None:
    async with open_fleet(household(), redis_server.url, thegraph_plan="2/1", retries=0) as fleet:
        thegraph = fleet.simulators.thegraph
        thegraph.inject(Fault(status=500, path=SPL_BALANCES))
        thegraph.inject(Fault(kind="delay", path=SPL_BALANCES, times=1))  # the first page comes
        assert (await look(fleet.first)).status(SOLANA_SPL) == "PARTIAL"
        await landed(redis_server)
        assert "thegraph:native" in kinds(redis_server)
        assert "thegraph:balances" not in kinds(redis_server)
        thegraph.heal()
        assert_whole(await look(fleet.second))


async def test_a_replica_that_stops_while_it_asks_leaves_the_question_to_the_others(fleet: Fleet) -> None:
    (wallet,) = crowd(fleet.simulators, 1)
    ondo = fleet.simulators.ondo
    ondo.inject(Fault(kind="hang", path=ONDO_BALANCES, times=1))
    async with join(fleet.first) as leaving:
        lost = asyncio.create_task(tell(leaving, ONDO_GM, [wallet]))
        await until(lambda: ondo.asked(ONDO_BALANCES))
        waiting = asyncio.create_task(tell(fleet.second, ONDO_GM, [wallet]))
        await asyncio.sleep(0.3)
        assert len(ondo.asked(ONDO_BALANCES)) == 1
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    told = await waiting
    assert (told.amounts, told.codes) == ({wallet: "1"}, ["OK"])
    assert len(ondo.asked(ONDO_BALANCES)) == 2


async def test_many_wallets_are_read_in_one_round_trip_for_each_kind_of_answer(redis_server: RedisServer) -> None:
    simulators = household()
    wallets = crowd(simulators, 20)
    async with open_fleet(simulators, redis_server.url, ondo_snapshot_threshold=0) as fleet:
        await see(fleet.first, *wallets)
        await landed(redis_server)
        assert len(values(redis_server)) > 3 * len(wallets)
        simulators.forget()
        redis_server.forget_calls()
        seen = await see(fleet.second, *wallets)
        assert redis_server.calls("evalsha") <= len(kinds(redis_server))
        assert asked(simulators) == []
        assert len(seen["holdings"]["nodes"]) == 2 * len(wallets)


async def test_half_a_character_in_a_symbol_costs_no_sharing(fleet: Fleet, redis_server: RedisServer) -> None:
    row = {
        "mint": USDC_MINT,
        "program_id": "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "decimals": 6,
        "symbol": "US\ud800",
    }
    thegraph = fleet.simulators.thegraph
    body = json.dumps({"data": [row]}).encode()
    thegraph.inject(Fault(status=200, headers={"Content-Type": "application/json"}, body=body, path="/v1/svm/tokens"))
    query = f'{{ token(assetId: "{USDC_ON_SOLANA}") {{ decimals }} }}'
    assert await fleet.first.ask(query) == {"token": {"decimals": 6}}
    await landed(redis_server)
    assert await fleet.second.ask(query) == {"token": {"decimals": 6}}
    assert len(thegraph.asked("/v1/svm/tokens")) == 1


async def test_a_burst_on_a_healthy_redis_costs_no_sharing(redis_server: RedisServer) -> None:
    simulators = household()
    wallets = crowd(simulators, 120)
    seconds = UpstreamSettings().redis_timeout_seconds
    async with open_fleet(
        simulators, redis_server.url, redis_timeout_seconds=seconds, ondo_snapshot_threshold=0
    ) as fleet:
        failures = count("walletgraph_shared_store_failures_total")
        assert (await tell(fleet.first, ONDO_GM, [*wallets])).amounts == wallets
        assert count("walletgraph_shared_store_failures_total") == failures
