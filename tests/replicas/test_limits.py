"""Limits of upstreams hold for all replicas of one key together, and what one learns of their health all know."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from loaders.upstream.background import Background
from loaders.upstream.budget import Budget
from loaders.upstream.http import fingerprint
from loaders.upstream.shared import SharedStore
from loaders.upstream.simulator.base import Fault, Handler
from loaders.upstream.simulator.onebalance import OneBalanceSimulator
from tests.failures.household import ETHEREUM_BALANCES, ONDO_GM, ONEBALANCE, household
from tests.graph import ONDO_BALANCES, ONEBALANCE_BALANCES, Simulators
from tests.replicas.fleet import PATIENCE_SECONDS, Fleet, crowd, join, open_fleet, tell, until
from tests.replicas.redis_server import RedisServer


class PublicOneBalance(OneBalanceSimulator):
    """OneBalance by its public key: ``refused`` counts what was one request too many, or at the same time."""

    refused = 0

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await super()._middleware(request, handler)
        self.refused += response.status == 429
        return response


def public(requests_per_minute: int) -> tuple[Simulators, PublicOneBalance]:
    """The household's upstreams, with OneBalance by its public key and this limit, which its answers announce."""
    simulators = household()
    onebalance = PublicOneBalance(simulators.onebalance.dataset, public_key=True)
    onebalance.requests_per_minute = requests_per_minute
    simulators.onebalance = onebalance
    return simulators, onebalance


async def test_two_replicas_together_keep_a_limit_and_use_it_up(redis_server: RedisServer) -> None:
    simulators, onebalance = public(requests_per_minute=12)
    wallets = [*crowd(simulators, 20)]
    async with open_fleet(simulators, redis_server.url) as fleet:
        # Each learns the limit by an answer; with the register this makes three requests.
        for graph, wallet in ((fleet.first, wallets[0]), (fleet.second, wallets[1])):
            assert (await tell(graph, ONEBALANCE, [wallet])).codes == ["OK"]
        assert len(onebalance.requests) == 3
        told = await asyncio.gather(
            tell(fleet.first, ONEBALANCE, wallets[2:11]), tell(fleet.second, ONEBALANCE, wallets[11:])
        )
        assert Counter(told[0].codes + told[1].codes) == {"OK": 9, "BUDGET_EXHAUSTED": 9}
        for report in [*told[0].reports.values(), *told[1].reports.values()]:
            if report["code"] == "BUDGET_EXHAUSTED":
                assert 1 <= report["retryAfterSeconds"] <= 61
        assert (len(onebalance.requests), onebalance.refused) == (12, 0)


async def test_a_replica_that_starts_when_the_limit_is_used_up_does_not_ask(redis_server: RedisServer) -> None:
    simulators, onebalance = public(requests_per_minute=3)
    wallets = [*crowd(simulators, 4)]
    async with open_fleet(simulators, redis_server.url) as fleet:
        told = await tell(fleet.first, ONEBALANCE, wallets[:3])
        assert sorted(told.codes) == ["BUDGET_EXHAUSTED", "OK", "OK"]
        async with join(fleet.first) as late:
            assert (await tell(late, ONEBALANCE, wallets[3:])).codes == ["BUDGET_EXHAUSTED"]
        assert (len(onebalance.requests), onebalance.refused) == (3, 0)


async def test_one_connection_is_one_for_all_replicas(redis_server: RedisServer) -> None:
    simulators, onebalance = public(requests_per_minute=60)
    wallets = [*crowd(simulators, 10)]
    onebalance.inject(Fault(kind="delay", seconds=0.05))
    async with open_fleet(simulators, redis_server.url) as fleet:
        told = await asyncio.gather(
            tell(fleet.first, ONEBALANCE, wallets[:5]), tell(fleet.second, ONEBALANCE, wallets[5:])
        )
        assert told[0].codes + told[1].codes == ["OK"] * 10
        assert onebalance.refused == 0


async def test_silence_that_one_replica_is_asked_for_is_kept_by_the_others(redis_server: RedisServer) -> None:
    simulators, onebalance = public(requests_per_minute=60)
    wallets = [*crowd(simulators, 3)]
    async with open_fleet(simulators, redis_server.url, retries=0) as fleet:
        assert (await tell(fleet.second, ONEBALANCE, wallets[:1])).codes == ["OK"]
        onebalance.inject(Fault(status=429, headers={"Retry-After": "30"}, path=ONEBALANCE_BALANCES))
        assert (await tell(fleet.first, ONEBALANCE, wallets[1:2])).codes == ["RATE_LIMITED"]
        onebalance.heal()
        onebalance.requests.clear()
        told = await tell(fleet.second, ONEBALANCE, wallets[2:])
        assert told.codes == ["RATE_LIMITED"]
        assert 20 <= told.reports[wallets[2]]["retryAfterSeconds"] <= 30
        assert onebalance.requests == []


async def test_the_connection_of_a_replica_that_died_is_free_soon(redis_server: RedisServer) -> None:
    simulators, onebalance = public(requests_per_minute=60)
    (wallet,) = crowd(simulators, 1)
    async with open_fleet(simulators, redis_server.url) as fleet, store_at(redis_server) as store:
        budget = budget_of(onebalance, store)
        permit = await budget.enter(asyncio.get_running_loop().time() + 30)
        assert permit.renewal is not None
        permit.renewal.cancel()  # it died: nothing is given back
        told = await tell(fleet.first, ONEBALANCE, [wallet])
        assert (told.amounts, told.codes) == ({wallet: "1"}, ["OK"])


@asynccontextmanager
async def store_at(redis_server: RedisServer) -> AsyncIterator[SharedStore]:
    """A store as a replica opens it."""
    store = SharedStore(redis_server.url, PATIENCE_SECONDS)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def budget_of(onebalance: OneBalanceSimulator, store: SharedStore) -> Budget:
    """The budget of a replica that is asked nothing."""
    name = fingerprint(f"{onebalance.url}/api", {"x-api-key": onebalance.key})
    return Budget(
        ONEBALANCE,
        requests_per_minute=60,
        connections=None,
        max_waiting=9,
        background=Background(),
        shared=store,
        shared_name=name,
    )


async def test_a_long_request_counts_for_a_window_after_its_end(redis_server: RedisServer) -> None:
    async with store_at(redis_server) as store, OneBalanceSimulator(household().onebalance.dataset) as onebalance:
        budget = budget_of(onebalance, store)
        permit = await budget.enter(asyncio.get_running_loop().time() + 30)
        (log,) = redis_server.client.keys("*:log")
        redis_server.client.pexpire(log, redis_server.client.pttl(log) - 9_000)  # as after 9 s
        await budget.leave(permit, None)
        assert redis_server.client.zcard(log) == 1
        assert redis_server.client.pttl(log) > 59_000


BREAKER = {"breaker_min_requests": 3, "breaker_open_seconds": 1.0, "retries": 0, "ondo_snapshot_threshold": 0}


async def break_ondo(fleet: Fleet, wallets: list[str]) -> None:
    """Lets one replica find Ondo's balances broken; its registers are well."""
    fleet.simulators.ondo.inject(Fault(status=500, path=ONDO_BALANCES))
    codes = [code for wallet in wallets for code in (await tell(fleet.first, ONDO_GM, [wallet])).codes]
    assert {*codes} == {"UPSTREAM_ERROR", "CIRCUIT_OPEN"}
    assert codes[-1] == "CIRCUIT_OPEN"
    fleet.simulators.forget()


async def test_an_upstream_that_one_replica_finds_broken_is_left_alone_by_all(redis_server: RedisServer) -> None:
    simulators = household()
    wallets = [*crowd(simulators, 8)]
    async with open_fleet(simulators, redis_server.url, **BREAKER | {"breaker_open_seconds": 30.0}) as fleet:
        await break_ondo(fleet, wallets[:4])
        told = await tell(fleet.second, ONDO_GM, wallets[4:])
        assert told.codes == ["CIRCUIT_OPEN"] * 4
        assert {report["retryAfterSeconds"] is not None for report in told.reports.values()} == {True}
        assert simulators.ondo.asked(ONDO_BALANCES) == []
        assert fleet.second.upstreams.states[ONDO_GM] == "CIRCUIT_OPEN"


async def test_a_broken_upstream_is_probed_by_one_request_of_one_replica_and_then_asked_by_all(
    redis_server: RedisServer,
) -> None:
    simulators = household()
    wallets = [*crowd(simulators, 20)]
    ondo = simulators.ondo

    async def ask_both(some: list[str]) -> list[str]:
        told = await asyncio.gather(tell(fleet.first, ONDO_GM, some[::2]), tell(fleet.second, ONDO_GM, some[1::2]))
        return told[0].codes + told[1].codes

    async with open_fleet(simulators, redis_server.url, **BREAKER) as fleet:
        await break_ondo(fleet, wallets[:4])
        ondo.heal()
        ondo.inject(Fault(kind="delay", seconds=0.5, times=1))
        await asyncio.sleep(1.2)
        codes = Counter(await ask_both(wallets[4:12]))
        assert len(ondo.requests) == 1
        # A list of prices may have been the probe.
        assert codes["CIRCUIT_OPEN"] >= 7
        assert codes["CIRCUIT_OPEN"] + codes["OK"] == 8
        await until(
            lambda: fleet.first.upstreams.states[ONDO_GM] == "OK" or fleet.second.upstreams.states[ONDO_GM] == "OK"
        )
        assert await ask_both(wallets[12:]) == ["OK"] * 8


async def test_addresses_asked_of_several_replicas_count_together_for_a_snapshot(redis_server: RedisServer) -> None:
    simulators = household()
    wallets = crowd(simulators, 6)
    names = [*wallets]
    async with open_fleet(simulators, redis_server.url, ondo_snapshot_threshold=4) as fleet:
        for graph, some in ((fleet.first, names[:2]), (fleet.second, names[2:3])):
            await tell(graph, ONDO_GM, some)
        assert {request.param("userAddress") for request in simulators.ondo.asked(ETHEREUM_BALANCES)} == {*names[:3]}
        simulators.forget()
        told = [await tell(fleet.second, ONDO_GM, names[3:4])]
        (whole,) = simulators.ondo.asked(ETHEREUM_BALANCES)
        assert whole.query == ()
        await until(lambda: redis_server.client.keys("*ondo:snapshot*") and not redis_server.client.keys("*:flight"))
        told += [await tell(fleet.first, ONDO_GM, names[4:5]), await tell(fleet.second, ONDO_GM, names[5:])]
        assert len(simulators.ondo.asked(ETHEREUM_BALANCES)) == 1
        assert {**told[0].amounts, **told[1].amounts, **told[2].amounts} == {
            name: wallets[name] for name in names[3:]
        }
        assert [code for one in told for code in one.codes] == ["OK"] * 3
