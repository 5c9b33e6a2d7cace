"""What one replica holds for all, it gives back, however it ends; and no upstream's word can hold up the store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web

from loaders.errors import UpstreamRateLimitedError
from loaders.upstream import Upstreams
from loaders.upstream.background import Background
from loaders.upstream.breaker import Breaker, BreakerState
from loaders.upstream.budget import Budget
from loaders.upstream.shared import SharedStore
from loaders.upstream.simulator.base import Fault, Handler
from loaders.upstream.simulator.onebalance import OneBalanceSimulator
from tests.failures.household import ONEBALANCE, SOLANA, SOLANA_SPL, household
from tests.graph import NATIVE_BALANCES, ONEBALANCE_BALANCES, SPL_BALANCES, Graph
from tests.replicas.fleet import PATIENCE_SECONDS, Fleet, crowd, open_fleet, see, tell, until
from tests.replicas.redis_server import RedisServer, SlowProxy

Replica = tuple[SharedStore, Background]


@asynccontextmanager
async def replica_at(url: str) -> AsyncIterator[Replica]:
    """A store as a replica opens it, and where the replica's work behind the scenes runs."""
    store, background = SharedStore(url, PATIENCE_SECONDS), Background()
    await store.open()
    try:
        yield store, background
    finally:
        await background.close()
        await store.close()


def budget_of(replica: Replica, **settings: Any) -> Budget:
    """A replica's budget for one connection, which all replicas share."""
    store, background = replica
    limits = {"requests_per_minute": 10_000, "connections": 1, "max_waiting": 9, **settings}
    return Budget("A_SOURCE", background=background, shared=store, shared_name="one", **limits)


async def test_who_gives_up_at_any_moment_leaves_the_connection_to_the_next_at_once(
    redis_server: RedisServer,
) -> None:
    chance, loop = random.Random(2), asyncio.get_running_loop()
    async with (
        SlowProxy(redis_server.port, 0.002) as way,
        replica_at(way.url) as one,
        replica_at(redis_server.url) as another,
    ):
        hasty, calm = budget_of(one), budget_of(another)

        async def send() -> None:
            permit = await hasty.enter(loop.time() + 5.0)
            try:
                await asyncio.sleep(chance.random() * 0.002)
            finally:
                await hasty.leave(permit, {})

        for _ in range(100):
            sending = asyncio.create_task(send())
            await asyncio.sleep(chance.random() * 0.012)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await calm.leave(await calm.enter(loop.time() + 2.0), {})  # a lease that is left behind lasts 3 s


async def test_a_shorter_silence_never_replaces_a_longer_one(redis_server: RedisServer) -> None:
    loop = asyncio.get_running_loop()
    async with replica_at(redis_server.url) as one, replica_at(redis_server.url) as another:
        budget = budget_of(one, connections=64)
        first, second = await budget.enter(loop.time() + 5.0), await budget.enter(loop.time() + 5.0)
        await budget.leave(first, None, UpstreamRateLimitedError(retry_after_seconds=50))
        await budget.leave(second, None, UpstreamRateLimitedError(retry_after_seconds=1))
        with pytest.raises(UpstreamRateLimitedError) as refused:
            await budget_of(another, connections=64).enter(loop.time() + 5.0)
        assert 30 < (refused.value.retry_after_seconds or 0) <= 50


class Announcing(OneBalanceSimulator):
    """OneBalance that says whatever it likes of its limit."""

    limit, remaining = "", ""

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await super()._middleware(request, handler)
        response.headers.update({"x-ratelimit-limit": self.limit, "x-ratelimit-remaining": self.remaining})
        return response


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [("999999999", "0"), ("10001", "0"), ("60", "999999999"), ("-60", "-1"), ("sixty", "none")],
)
@pytest.mark.parametrize("of_plan", [None, 10_000])
async def test_an_absurd_limit_neither_holds_up_the_store_nor_stops_a_request(
    redis_server: RedisServer, limit: str, remaining: str, of_plan: int | None
) -> None:
    simulators = household()
    simulators.onebalance = announcing = Announcing(simulators.onebalance.dataset)
    announcing.limit, announcing.remaining = limit, remaining
    wallets = [*crowd(simulators, 6)]
    settings = {"onebalance_requests_per_minute": of_plan, "breaker_failure_rate": 0.0}
    async with open_fleet(simulators, redis_server.url, **settings) as fleet:
        for graph, some in ((fleet.first, wallets[:3]), (fleet.second, wallets[3:])):
            assert (await tell(graph, ONEBALANCE, some)).codes == ["OK"] * 3
            assert graph.upstreams.store_state == "OK"
        counted = [redis_server.client.zcard(key) for key in redis_server.client.keys("*:log")]
        assert sum(counted) <= len(announcing.requests)


# Probes

OPEN_SECONDS = 0.5
BREAKER: dict[str, Any] = {"breaker_min_requests": 3, "breaker_open_seconds": OPEN_SECONDS, "retries": 0}


@asynccontextmanager
async def another(graph: Graph, **settings: Any) -> AsyncIterator[Graph]:
    """One more replica, with settings of its own."""
    async with Upstreams(replace(graph.upstreams.settings, **settings)) as upstreams:
        yield Graph(graph.simulators, upstreams)


@dataclass(slots=True)
class Broken:
    """Two replicas that have left OneBalance alone for long enough.

    Two more cannot ask it: one has no budget left, one may send no request at all.
    """

    fleet: Fleet
    spent: Graph
    capped: Graph
    wallets: list[str]

    @property
    def onebalance(self) -> OneBalanceSimulator:
        return self.fleet.simulators.onebalance


@asynccontextmanager
async def open_broken(redis_server: RedisServer) -> AsyncIterator[Broken]:
    """Their circuit is half open, and OneBalance is well again."""
    simulators = household()
    wallets = [*crowd(simulators, 9)]
    async with open_fleet(simulators, redis_server.url, **BREAKER) as fleet:
        # By another spelling it is another budget, and the same circuit.
        elsewhere = fleet.first.upstreams.settings.onebalance_base_url.removesuffix("/api")
        one = {"onebalance_base_url": elsewhere, "onebalance_requests_per_minute": 1}
        none = {"max_requests_per_operation": 0}
        async with another(fleet.first, **one) as spent, another(fleet.first, **none) as capped:
            assert (await tell(spent, ONEBALANCE, wallets[:1])).codes == ["BUDGET_EXHAUSTED"]
            simulators.onebalance.inject(Fault(status=500, path=ONEBALANCE_BALANCES))
            codes = [(await tell(fleet.first, ONEBALANCE, [wallet])).codes for wallet in wallets[1:7]]
            assert codes[-1] == ["CIRCUIT_OPEN"]
            simulators.onebalance.heal()
            await until(lambda: not redis_server.client.keys("*breaker*:open"))
            simulators.forget()
            yield Broken(fleet, spent, capped, wallets[7:])


async def give_up(broken: Broken) -> None:
    """Sends a probe, and cancels its operation."""
    broken.onebalance.inject(Fault("hang", path=ONEBALANCE_BALANCES, times=1))
    asking = asyncio.create_task(tell(broken.fleet.first, ONEBALANCE, broken.wallets[:1]))
    await until(lambda: broken.onebalance.requests)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    broken.onebalance.requests.clear()


async def meet_the_cap(broken: Broken) -> None:
    """Lets an operation probe that may cost no request at all."""
    assert (await tell(broken.capped, ONEBALANCE, broken.wallets[:1])).codes == ["BUDGET_EXHAUSTED"]


async def meet_the_budget(broken: Broken) -> None:
    """Lets the replica probe that has no budget left."""
    assert (await tell(broken.spent, ONEBALANCE, broken.wallets[:1])).codes == ["BUDGET_EXHAUSTED"]


@pytest.mark.parametrize("lose_probe", [give_up, meet_the_cap, meet_the_budget])
async def test_a_probe_that_comes_to_no_end_leaves_it_to_the_next(
    redis_server: RedisServer, lose_probe: Callable[[Broken], Awaitable[None]]
) -> None:
    async with open_broken(redis_server) as broken:
        await lose_probe(broken)
        assert broken.onebalance.requests == []
        async with asyncio.timeout(6):  # a probe that is lost stands in the way for 15 s
            while (await tell(broken.fleet.second, ONEBALANCE, broken.wallets[1:])).codes != ["OK"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert len(broken.onebalance.requests) == 1


def breaker_of(replica: Replica) -> Breaker:
    """A replica's breaker, which opens at the first failure."""
    store, background = replica
    return Breaker(
        "A_SOURCE",
        failure_rate=0.5,
        min_requests=1,
        open_seconds=OPEN_SECONDS,
        background=background,
        shared=store,
        shared_name="one",
    )


async def test_who_gives_up_while_he_asks_for_the_probe_leaves_it_to_the_next(redis_server: RedisServer) -> None:
    client = redis_server.client
    async with (
        SlowProxy(redis_server.port, 0.1) as way,
        replica_at(way.url) as one,
        replica_at(redis_server.url) as two,
    ):
        hasty, calm = breaker_of(one), breaker_of(two)
        await calm.record(False, probe=await calm.admit())
        await until(lambda: not client.keys("*breaker*:open"))
        asking = asyncio.create_task(hasty.admit())
        await until(lambda: client.keys("*breaker*:probe"))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: not client.keys("*breaker*:probe"), within_seconds=3)  # it is kept for 15 s
        assert await calm.admit()
        await calm.record(True, probe=True)


async def test_a_replica_that_ends_leaves_the_probe_to_the_others(redis_server: RedisServer) -> None:
    client = redis_server.client
    async with replica_at(redis_server.url) as two:
        calm = breaker_of(two)
        async with replica_at(redis_server.url) as one:
            ending = breaker_of(one)
            await ending.record(False, probe=await ending.admit())
            await until(lambda: not client.keys("*breaker*:open") and ending.state is BreakerState.HALF_OPEN)
            assert await ending.admit()
            await ending.record(None, probe=True)
        await until(lambda: not client.keys("*breaker*:probe"), within_seconds=3)  # it is kept for 15 s
        assert await calm.admit()
        await calm.record(True, probe=True)


async def test_two_sources_behind_one_host_have_a_circuit_each(redis_server: RedisServer) -> None:
    simulators = household()
    wallets = [*crowd(simulators, 5)]
    async with open_fleet(simulators, redis_server.url, **BREAKER | {"breaker_open_seconds": 30.0}) as fleet:
        host = simulators.onebalance.url
        for path in (SPL_BALANCES, NATIVE_BALANCES):
            simulators.onebalance.inject(Fault(status=200, body=b'{"data": []}', path=path))
        async with another(fleet.first, thegraph_base_url=host) as graph:
            simulators.onebalance.inject(Fault(status=500, path=ONEBALANCE_BALANCES))
            codes = [(await tell(graph, ONEBALANCE, [wallet])).codes for wallet in wallets]
            assert codes[-1] == ["CIRCUIT_OPEN"]
            (report,) = [one for one in (await see(graph, SOLANA))["sources"] if one["source"] == SOLANA_SPL]
            assert (report["status"], report["code"]) == ("OK", None)
            assert len(simulators.onebalance.asked(SPL_BALANCES)) == 1
