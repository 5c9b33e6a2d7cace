"""What it costs to wait for another replica, and for an upstream that fails: no more than it must."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from loaders.upstream.simulator.base import Fault
from tests.chaos.helpers import aged, asked, break_balances, codes, look, look_until, note_arrivals
from tests.failures.household import AAPL, ONDO_GM, ONEBALANCE, SOLANA_SPL, assert_whole, household
from tests.graph import ONDO_BALANCES, PLAIN, open_graph
from tests.replicas.fleet import PATIENCE_SECONDS, kinds, open_fleet, see, until, values
from tests.replicas.redis_server import RedisServer

HOLDERS = f'{{ token(assetId: "{AAPL}") {{ holders {{ nodes {{ amount }} }} }} }}'


async def test_what_fails_again_rests_for_twice_as_long_with_a_store_as_well(redis_server: RedisServer) -> None:
    alone: dict[str, Any] = {"without": (ONDO_GM, SOLANA_SPL), "retries": 0, "breaker_failure_rate": 0.0}
    async with open_fleet(household(), redis_server.url, **alone, **aged("stale if error")) as fleet:
        graph = fleet.first
        assert codes(await look(graph), ONEBALANCE) == {("OK", None)}
        break_balances(graph, ONEBALANCE, Fault(status=500))
        arrivals = note_arrivals(graph, ONEBALANCE)
        await look_until(graph, lambda _: len(arrivals.times) == 3)
        assert codes(await look(graph), ONEBALANCE) == {("STALE", "UPSTREAM_ERROR")}
        first, second, third = arrivals.times
        assert second - first >= 1.0
        assert third - second >= 2.0


async def test_who_waits_for_another_replica_does_not_read_an_old_answer_again_and_again(
    redis_server: RedisServer,
) -> None:
    simulators, chance = household(), random.Random(1)
    for _ in range(3_000):
        account = f"0x{chance.getrandbits(160):040x}"
        simulators.ondo.dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=account, balance="1")
    lifetime = {"cache_fresh_seconds": 3.0, "cache_stale_while_revalidate_seconds": 0.0}
    async with open_fleet(simulators, redis_server.url, **lifetime) as fleet:

        def sent() -> int:
            return int(redis_server.client.info("stats")["total_net_output_bytes"])

        held = await fleet.first.ask(HOLDERS)
        await until(lambda: "ondo:holders" in kinds(redis_server) and not redis_server.client.keys("*:flight"))
        (size,) = [len(value) for key, value in values(redis_server).items() if key.startswith("ondo:holders")]
        assert size > 40_000
        await asyncio.sleep(3.1)  # it is old
        simulators.forget()
        simulators.ondo.inject(Fault("delay", seconds=1.2, path=ONDO_BALANCES))
        fetching = asyncio.create_task(fleet.first.ask(HOLDERS))
        await until(lambda: simulators.ondo.asked(ONDO_BALANCES))
        before = sent()
        assert await fleet.second.ask(HOLDERS) == held
        assert sent() - before < 3 * size  # as it comes, the old one and the new one
        assert await fetching == held
        assert len(simulators.ondo.asked(ONDO_BALANCES)) == 1


async def test_where_nothing_is_kept_the_next_look_waits_for_nobody(redis_server: RedisServer) -> None:
    settings: dict[str, Any] = {"redis_url": redis_server.url, "redis_timeout_seconds": PATIENCE_SECONDS}
    async with open_graph(household(), base=PLAIN, **settings) as graph:
        commands = []
        for _ in range(3):
            graph.simulators.forget()
            redis_server.forget_calls()
            assert_whole(await look(graph))
            assert len(asked(graph, ONEBALANCE)) == 1
            commands.append(redis_server.calls("evalsha"))
        # Whoever waits for another's answer asks for it again and again.
        assert max(commands[1:]) < 2 * commands[0]


async def test_an_address_of_the_store_that_wants_text_is_as_good_as_any(redis_server: RedisServer) -> None:
    async with open_fleet(household(), f"{redis_server.url}?decode_responses=True") as fleet:
        first = await see(fleet.first)
        await until(lambda: not redis_server.client.keys("*:flight"))
        fleet.simulators.forget()
        second = await see(fleet.second)
        assert first["total"] == second["total"]
        assert {report["status"] for report in second["sources"]} == {"OK"}
        assert sum(report["upstreamCalls"] for report in second["sources"]) == 0
        assert [graph.upstreams.store_state for graph in (fleet.first, fleet.second)] == ["OK", "OK"]
