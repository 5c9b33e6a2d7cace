"""A Redis that dies, freezes, fills up or is slow costs sharing, and no answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.failures.household import EVM, ONDO_GM, assert_whole, household, look
from tests.graph import ONDO_BALANCES, Graph
from tests.replicas.fleet import FAILURES, Fleet, count, crowd, open_fleet, tell, until, values
from tests.replicas.redis_server import RedisServer, SlowProxy

# Nothing is known for long, so that every look has to ask; and The Graph may be asked as often as one likes.
RESTLESS: dict[str, Any] = {
    "cache_fresh_seconds": 0.3,
    "cache_stale_while_revalidate_seconds": 0.0,
    "thegraph_requests_per_minute": 0,
}


def states(fleet: Fleet) -> list[str]:
    """How each replica finds the store."""
    return [graph.upstreams.store_state for graph in (fleet.first, fleet.second)]


async def assert_shared(fleet: Fleet, wallet: str, amount: str) -> None:
    """What one replica learns of a wallet that nobody knows the other need not ask."""
    for graph in (fleet.first, fleet.second):
        told = await tell(graph, ONDO_GM, [wallet])
        assert (told.amounts, told.codes) == ({wallet: amount}, ["OK"])
    asked = fleet.simulators.ondo.asked(ONDO_BALANCES)
    assert len([request for request in asked if request.param("userAddress") == wallet]) == 1


async def test_redis_may_die_under_load_and_come_back(redis_server: RedisServer) -> None:
    simulators = household()
    wallets = crowd(simulators, 1)
    looks = 0
    stop = False

    async def keep_looking(graph: Graph) -> None:
        nonlocal looks
        while not stop:
            assert_whole(await look(graph))
            looks += 1
            await asyncio.sleep(0.01)

    async with open_fleet(simulators, redis_server.url, **RESTLESS) as fleet:
        assert states(fleet) == ["OK", "OK"]
        load = asyncio.gather(*[keep_looking(graph) for graph in (fleet.first, fleet.second) for _ in range(3)])
        try:
            await until(lambda: looks >= 30 or load.done())
            redis_server.kill()
            await until(lambda: states(fleet) == ["UNAVAILABLE"] * 2 or load.done())
            looks = 0
            await until(lambda: looks >= 60 or load.done())
            redis_server.start()
            await until(lambda: states(fleet) == ["OK", "OK"] or load.done())
            looks = 0
            await until(lambda: looks >= 30 or load.done())
        finally:
            stop = True
            await load
        for wallet, amount in wallets.items():
            await assert_shared(fleet, wallet, amount)


async def test_replicas_start_without_redis_and_find_it_later(redis_server: RedisServer) -> None:
    redis_server.kill()
    simulators = household()
    ((wallet, amount),) = crowd(simulators, 1).items()
    async with open_fleet(simulators, redis_server.url) as fleet:
        assert states(fleet) == ["UNAVAILABLE", "UNAVAILABLE"]
        for graph in (fleet.first, fleet.second):
            assert_whole(await look(graph))
        redis_server.start()
        await until(lambda: states(fleet) == ["OK", "OK"])
        await assert_shared(fleet, wallet, amount)


async def test_a_redis_that_freezes_costs_a_few_timeouts_once(redis_server: RedisServer) -> None:
    simulators = household()
    wallets = crowd(simulators, 22)
    (last, amount), *others = wallets.items()
    async with open_fleet(simulators, redis_server.url, redis_timeout_seconds=0.3) as fleet:
        await until(lambda: states(fleet) == ["OK", "OK"])
        redis_server.pause()
        started = time.monotonic()
        assert_whole(await look(fleet.first))
        assert states(fleet)[0] == "UNAVAILABLE"
        failures = count(FAILURES)
        for wallet, held in others[:20]:
            assert (await tell(fleet.first, ONDO_GM, [wallet])).amounts == {wallet: held}
        assert count(FAILURES) == failures
        assert time.monotonic() - started < 10
        redis_server.resume()
        await until(lambda: states(fleet) == ["OK", "OK"])
        await assert_shared(fleet, last, amount)


async def test_a_redis_that_is_slow_is_left_alone(redis_server: RedisServer) -> None:
    simulators = household()
    wallets = crowd(simulators, 20)
    async with (
        SlowProxy(redis_server.port, seconds=0.2) as proxy,
        open_fleet(simulators, proxy.url, redis_timeout_seconds=0.05) as fleet,
    ):
        assert_whole(await look(fleet.first))
        assert states(fleet)[0] == "UNAVAILABLE"
        scripts = proxy.scripts
        started = time.monotonic()
        for wallet, amount in wallets.items():
            assert (await tell(fleet.first, ONDO_GM, [wallet])).amounts == {wallet: amount}
        assert proxy.scripts == scripts
        assert time.monotonic() - started < 10
        await asyncio.sleep(1.0)
        assert states(fleet)[0] == "UNAVAILABLE"


async def test_a_full_redis_is_read_and_its_refusals_are_counted(fleet: Fleet, redis_server: RedisServer) -> None:
    assert_whole(await look(fleet.first))
    wallets = crowd(fleet.simulators, 2)
    redis_server.limit_memory(1)
    fleet.simulators.forget()
    refused = count(FAILURES, reason="refused")
    assert_whole(await look(fleet.second))
    assert [request for request in fleet.simulators.requests() if "/prices/" not in request.path] == []
    for graph in (fleet.first, fleet.second):
        assert (await tell(graph, ONDO_GM, [*wallets])).amounts == wallets
    assert count(FAILURES, reason="refused") > refused
    assert states(fleet) == ["OK", "OK"]
    kept = values(redis_server)
    assert not [wallet for wallet in wallets for key in kept if wallet in key]
    redis_server.limit_memory(0)
    ((wallet, amount),) = [*crowd(fleet.simulators, 3).items()][2:]
    await assert_shared(fleet, wallet, amount)


async def test_a_full_redis_is_read_also_along_with_what_it_does_not_have(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    assert_whole(await look(fleet.first))
    (wallet,) = crowd(fleet.simulators, 1)
    redis_server.limit_memory(1)
    fleet.simulators.forget()
    await look(fleet.second, EVM, wallet)
    asked = {request.param("userAddress") for request in fleet.simulators.ondo.asked(ONDO_BALANCES)}
    assert asked == {wallet}
