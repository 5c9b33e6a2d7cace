"""Never more requests than an upstream allows, or than one operation may cost; and what is told beyond that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loaders.upstream.simulator.base import Fault
from tests.chaos.helpers import (
    aged,
    assert_from_cache,
    assert_stale,
    break_balances,
    codes,
    look,
    look_each,
    metric,
    solana_wallet,
    timed_look,
    wallet,
)
from tests.failures.household import (
    EVM,
    HEALTHY,
    ONDO_GM,
    ONEBALANCE,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    Seen,
    assert_whole,
    household,
)
from tests.graph import KEPT, Graph, open_graph

LIMIT = 8
EXHAUSTED = ("FAILED", "BUDGET_EXHAUSTED")
ALONE = {source: tuple({*SOURCES} - {source}) for source in SOURCES}


def refused_requests(source: str) -> float:
    """How often a source said that it is asked too much."""
    name = "walletgraph_upstream_requests_total"
    return metric(name, source=source, status="429", outcome="RATE_LIMITED")


@pytest.fixture(autouse=True)
def never_told_so() -> Any:
    """We keep the limits ourselves: no upstream ever has to say so."""
    before = [refused_requests(source) for source in SOURCES]
    yield
    assert [refused_requests(source) for source in SOURCES] == before


@asynccontextmanager
async def open_public(limit: int = LIMIT, **settings: Any) -> AsyncIterator[Graph]:
    """OneBalance by its public key: one request at a time, and so many in a minute."""
    simulators = household()
    simulators.onebalance.public_key = True
    simulators.onebalance.requests_per_minute = limit
    async with open_graph(simulators, **{"base": KEPT, "retries": 0, **settings}) as graph:
        yield graph


def told(looks: Iterable[Seen], source: str = ONEBALANCE) -> list[tuple[str, str | None]]:
    """How a source did for each of many wallets, the bad news first."""
    return sorted(code for seen in looks for code in codes(seen, source))


async def test_the_public_key_is_never_used_twice_at_once() -> None:
    async with open_public(without=ALONE[ONEBALANCE]) as graph:
        # Two at once would be refused, and slow ones would be two at once.
        graph.simulators.onebalance.inject(Fault("delay", seconds=0.05))
        for seen in await asyncio.gather(*[look(graph, wallet(n)) for n in range(LIMIT - 2)], look(graph, EVM)):
            assert codes(seen, ONEBALANCE) == {("OK", None)}
        assert len(graph.simulators.onebalance.requests) == LIMIT


async def test_the_public_key_is_not_used_more_often_than_its_limit_says() -> None:
    async with open_public(without=ALONE[ONEBALANCE]) as graph:
        looks = await look_each(graph, *map(wallet, range(10)))
        assert told(looks) == [EXHAUSTED] * 3 + [("OK", None)] * (LIMIT - 1)
        for report in (report for seen in looks for report in seen.reports(ONEBALANCE)):
            exhausted = report["status"] == "FAILED"
            assert (report["retryAfterSeconds"] in range(50, 61)) is exhausted
            assert report["upstreamCalls"] == (0 if exhausted else 1)
        seen, seconds = await timed_look(graph, wallet(99))
        assert codes(seen, ONEBALANCE) == {EXHAUSTED}
        assert seconds < 4.0  # nobody waits for what cannot come in time
        assert len(graph.simulators.onebalance.requests) == LIMIT
        assert metric("walletgraph_upstream_budget_left", source=ONEBALANCE) == 0


async def test_many_operations_share_one_limit() -> None:
    async with open_public(without=ALONE[ONEBALANCE]) as graph:
        looks = await asyncio.gather(*[look(graph, wallet(n)) for n in range(12)])
        assert told(looks) == [EXHAUSTED] * 5 + [("OK", None)] * (LIMIT - 1)
        assert len(graph.simulators.onebalance.requests) == LIMIT


async def test_retries_count_against_the_limit_as_well() -> None:
    async with open_public(without=ALONE[ONEBALANCE], retries=2, breaker_failure_rate=0.0) as graph:
        break_balances(graph, ONEBALANCE, Fault(status=503))
        for n in range(6):
            ((status, code),) = codes(await look(graph, wallet(n)), ONEBALANCE)
            assert (status, code) in {("FAILED", "UPSTREAM_ERROR"), EXHAUSTED}
        assert len(graph.simulators.onebalance.requests) == LIMIT


async def test_what_is_known_needs_no_budget() -> None:
    async with open_public(limit=2, **aged("fresh")) as graph:
        assert_whole(await look(graph))
        assert codes(await look(graph, wallet(1)), ONEBALANCE) == {EXHAUSTED}
        assert_from_cache(await look(graph), ONEBALANCE)


async def test_what_cannot_be_renewed_for_want_of_budget_is_stale() -> None:
    async with open_public(limit=2, **aged("stale if error")) as graph:
        assert_whole(await look(graph))
        assert_stale(await look(graph), ONEBALANCE, "BUDGET_EXHAUSTED", retry_after=range(50, 61), calls=0)
        assert len(graph.simulators.onebalance.requests) == 2


async def test_an_empty_budget_does_not_open_the_circuit() -> None:
    async with open_public(limit=2, without=ALONE[ONEBALANCE], breaker_min_requests=3) as graph:
        for n in range(12):
            seen = await look(graph, wallet(n))
        assert codes(seen, ONEBALANCE) == {EXHAUSTED}


async def test_a_limit_that_others_have_used_up_is_seen_in_the_answers() -> None:
    async with open_public(without=ALONE[ONEBALANCE]) as graph:
        await look(graph, EVM)
        async with open_graph_of(graph) as another:
            # The other has used two, and its own register is one.
            looks = await look_each(another, *map(wallet, range(LIMIT)))
            assert told(looks) == [EXHAUSTED] * 3 + [("OK", None)] * (LIMIT - 3)
        assert len(graph.simulators.onebalance.requests) == LIMIT


@asynccontextmanager
async def open_graph_of(graph: Graph) -> AsyncIterator[Graph]:
    """Another replica, which asks the same upstreams."""
    settings = graph.upstreams.settings
    async with type(graph.upstreams)(settings) as upstreams:
        yield Graph(graph.simulators, upstreams)


async def test_the_graph_is_asked_as_often_as_the_plan_says() -> None:
    simulators = household()
    simulators.thegraph.requests_per_minute = 200
    async with open_graph(simulators, without=ALONE[SOLANA_SPL], base=KEPT, thegraph_plan="free") as graph:
        looks = []
        for batch in range(5):
            looks += await look_each(graph, *[solana_wallet(25 * batch + n + 1) for n in range(25)])
        assert len(simulators.thegraph.requests) == 200  # two for each of a hundred wallets
        assert told(looks, SOLANA_SPL) == [EXHAUSTED] * 25 + [("OK", None)] * 100


async def test_the_limit_of_a_plan_can_be_set() -> None:
    settings: dict[str, Any] = {"thegraph_plan": "10/1", "thegraph_requests_per_minute": 5}
    async with open_graph(household(), without=ALONE[SOLANA_SPL], base=KEPT, **settings) as graph:
        for _ in range(2):
            await look(graph, *[solana_wallet(n) for n in range(1, 8)])
        assert len(graph.simulators.thegraph.requests) == 5


async def test_where_nobody_may_wait_whoever_need_not_is_served() -> None:
    async with open_graph(household(), base=KEPT, max_upstream_waiting=0, onebalance_connections=1) as graph:
        assert_whole(await look(graph))
        break_balances(graph, ONEBALANCE, Fault("delay", seconds=0.3))
        looks = await look_each(graph, *map(wallet, range(3)))
        assert told(looks) == [EXHAUSTED] * 2 + [("OK", None)]


async def test_one_operation_costs_no_more_than_its_cap_and_the_rest_of_it_is_exact() -> None:
    cap: dict[str, Any] = {"max_requests_per_operation": 9, "ondo_snapshot_threshold": 0, **aged("fresh")}
    async with open_graph(household(), base=KEPT, **cap) as graph:
        assert_whole(await look(graph))
        assert len(graph.simulators.requests()) == 9
        graph.simulators.forget()
        evm, sol, *others = await look_each(graph, EVM, SOLANA, *map(wallet, range(6)))
        assert evm.held | sol.held == HEALTHY
        assert len(graph.simulators.requests()) == 9
        outcomes = told(others, ONDO_GM) + told(others)
        assert {*outcomes} == {EXHAUSTED, ("OK", None)}
        for seen in others:
            missing = {source for source in SOURCES if EXHAUSTED in codes(seen, source)}
            assert {*seen.view["total"]["missingSources"]} == missing
            assert seen.view["total"]["complete"] is not bool(missing)
        # The next operation has a cap of its own.
        assert {*codes(await look(graph, wallet(0)), ONEBALANCE)} == {("OK", None)}
