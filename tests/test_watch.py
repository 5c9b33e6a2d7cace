"""Wallets that are watched: who is told of what, and what it costs upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import REGISTRY

from loaders import Loaders
from loaders.caip import AccountAddress, AssetId
from loaders.records import SourceStatus, Wants
from loaders.source import EVERYTHING
from loaders.upstream.simulator.base import Fault
from resolvers.context import Context, RequestContext
from resolvers.watch import Watches
from tests.chaos.helpers import note_arrivals
from tests.failures.household import (
    AAPL,
    BALANCES,
    ETH,
    EVM,
    ONDO_GM,
    ONEBALANCE,
    PRICES,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    open_household,
)
from tests.graph import KEPT, ONEBALANCE_BALANCES, Graph

SECOND = 0.05
"""How long a second is here."""

AMOUNTS = "removedIds changed { token { assetId } amount }"
VALUES = "removedIds changed { token { assetId } amount valueUsd valueStatus }"
ETH_ID = f"Holding:eip155:1:{EVM}/slip44:60"


@dataclass(slots=True)
class Watched:
    """The graph over the household, and its watched wallets."""

    graph: Graph
    watches: Watches

    async def stream(self, fields: str, *, address: str = EVM, every: int = 1, **request: Any) -> Any:
        """A subscription as transports run it."""
        query = (
            f'subscription Watching {{ walletChanged(address: "{address}", everySeconds: {every}) {{ {fields} }} }}'
        )
        context = RequestContext(self.graph.sources, watches=self.watches, **request)
        return await self.graph.schema.stream(query, context_value=context)

    @asynccontextmanager
    async def events(self, fields: str = AMOUNTS, **arguments: Any) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
        """The events of a subscription that has its baseline, as they come."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        before = polls()

        async def read() -> None:
            async with aclosing(await self.stream(fields, **arguments)) as results:
                async for result in results:
                    assert result.errors is None, result.errors
                    queue.put_nowait(result.data["walletChanged"])

        reading = asyncio.create_task(read())
        try:
            await self.polled(1, before)
            yield queue
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.result()

    async def polled(self, times: int = 2, since: float | None = None) -> None:
        """Waits for some polls to end: the second one has begun after this call."""
        since = polls() if since is None else since
        async with asyncio.timeout(10):
            while polls() < since + times:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    def hold(self, asset: str, balance: int, value: str = "0") -> None:
        """Lets the wallet hold so many smallest units of an asset of OneBalance's."""
        dataset = self.graph.simulators.onebalance.dataset
        dataset.add_balance(account=EVM, asset_type=asset, balance=balance, fiat_value=value)

    def hold_apple(self, balance: str) -> None:
        """Lets the wallet hold so many tokens of Ondo's."""
        dataset = self.graph.simulators.ondo.dataset
        dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance=balance)


@asynccontextmanager
async def open_watched(*, max_watches: int = 1_000, **settings: Any) -> AsyncIterator[Watched]:
    async with open_household(**settings) as graph:
        watches = Watches(graph.sources, max_watches=max_watches, floor_seconds=1, unit_seconds=SECOND)
        try:
            yield Watched(graph, watches)
        finally:
            await watches.close()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    async with open_watched() as watched:
        yield watched


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def polls() -> float:
    return sum(metric("walletgraph_watch_polls_total", outcome=outcome) for outcome in ("OK", "PARTIAL", "FAILED"))


async def next_of(events: asyncio.Queue[dict[str, Any]]) -> dict[str, Any]:
    async with asyncio.timeout(5):
        return await events.get()


def changed(event: dict[str, Any]) -> dict[str, str]:
    return {holding["token"]["assetId"]: holding["amount"] for holding in event["changed"]}


async def test_an_event_says_what_changed_and_nothing_else(watched: Watched) -> None:
    async with watched.events() as events:
        await watched.polled()
        assert events.empty()
        watched.hold_apple("7")
        event = await next_of(events)
        assert (changed(event), event["removedIds"]) == ({AAPL: "7"}, [])
        watched.hold(ETH, 0)
        event = await next_of(events)
        assert (changed(event), event["removedIds"]) == ({}, [ETH_ID])
        watched.hold(ETH, 10**18)
        event = await next_of(events)
        assert (changed(event), event["removedIds"]) == ({ETH: "1"}, [])
        await watched.polled()
        assert events.empty()


async def test_one_wallet_is_asked_for_once_for_all_who_watch_it(watched: Watched) -> None:
    simulators = watched.graph.simulators
    async with watched.events() as one, watched.events() as other, watched.events() as third:
        assert metric("walletgraph_watches") == 1
        assert metric("walletgraph_watch_subscribers") == 3
        before, asked = polls(), len(simulators.onebalance.asked(ONEBALANCE_BALANCES))
        watched.hold_apple("7")
        for events in (one, other, third):
            assert changed(await next_of(events)) == {AAPL: "7"}
        asked = len(simulators.onebalance.asked(ONEBALANCE_BALANCES)) - asked
        assert asked <= polls() - before + 1


async def test_asking_ends_with_the_last_who_is_told(watched: Watched) -> None:
    async with watched.events():
        async with watched.events():
            pass
        await watched.polled()  # goes on for the other
    await asyncio.sleep(0)
    assert metric("walletgraph_watches") == metric("walletgraph_watch_subscribers") == 0
    watched.graph.simulators.forget()
    await asyncio.sleep(3 * SECOND)
    assert watched.graph.simulators.requests() == []


async def test_a_subscriber_that_leaves_in_the_middle_of_a_poll_takes_the_poll_with_it(watched: Watched) -> None:
    watched.graph.simulators.onebalance.inject(Fault(kind="hang", path=ONEBALANCE_BALANCES))
    stream = await watched.stream(AMOUNTS)
    waiting = asyncio.create_task(anext(stream))
    while not watched.graph.simulators.onebalance.asked(ONEBALANCE_BALANCES):  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    waiting.cancel()
    await asyncio.wait([waiting])
    await stream.aclose()
    await asyncio.sleep(0.01)
    assert metric("walletgraph_watches") == 0
    assert [task for task in asyncio.all_tasks() if "/resolvers/" in repr(task) or "/loaders/" in repr(task)] == []


@pytest.mark.parametrize("source", SOURCES)
async def test_a_failed_source_never_looks_like_an_emptied_wallet(watched: Watched, source: str) -> None:
    simulator = watched.graph.simulators.by_source()[source]
    async with watched.events(address=SOLANA if source == SOLANA_SPL else EVM) as events:
        partly = metric("walletgraph_watch_polls_total", outcome="PARTIAL")
        for path in BALANCES[source]:
            simulator.inject(Fault(status=500, path=path))
        await watched.polled(3)
        assert metric("walletgraph_watch_polls_total", outcome="PARTIAL") > partly
        simulator.heal()
        await watched.polled(3)
        assert events.empty()


async def test_while_one_source_fails_the_others_are_told_of(watched: Watched) -> None:
    async with watched.events() as events:
        watched.graph.simulators.ondo.inject(Fault(status=500, path=BALANCES[ONDO_GM][0]))  # type: ignore[index]
        watched.hold(ETH, 10**18)
        assert changed(await next_of(events)) == {ETH: "1"}
        watched.hold_apple("7")
        watched.graph.simulators.ondo.heal()
        assert changed(await next_of(events)) == {AAPL: "7"}


async def test_a_poll_that_fails_altogether_tells_nothing_and_watching_goes_on(watched: Watched) -> None:
    failed = metric("walletgraph_watch_polls_total", outcome="FAILED")
    async with watched.events() as events:
        for simulator in watched.graph.simulators.all:
            simulator.inject(Fault(status=500))
        await watched.polled(3)
        assert metric("walletgraph_watch_polls_total", outcome="FAILED") > failed
        assert events.empty()
        for simulator in watched.graph.simulators.all:
            simulator.heal()
        watched.hold_apple("7")
        assert changed(await next_of(events)) == {AAPL: "7"}


async def test_a_fault_of_ours_in_a_poll_ends_nothing(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("of ours")

    async with watched.events() as events:
        with monkeypatch.context() as patched:
            patched.setattr("resolvers.watch.load_view", fail)
            await watched.polled()
        watched.hold_apple("7")
        assert changed(await next_of(events)) == {AAPL: "7"}


async def test_nobody_is_told_of_everything_because_the_first_poll_failed(watched: Watched) -> None:
    for simulator in watched.graph.simulators.all:
        simulator.inject(Fault(status=500))
    async with watched.events() as events:
        for simulator in watched.graph.simulators.all:
            simulator.heal()
        await watched.polled(3)
        assert events.empty()


async def test_a_price_alone_is_told_only_to_those_who_see_values(watched: Watched) -> None:
    async with watched.events(AMOUNTS) as amounts, watched.events(VALUES) as values:
        await watched.polled(3)
        watched.hold(ETH, 1_500_000_000_000_000_000, "4600")
        event = await next_of(values)
        assert [(one["token"]["assetId"], one["valueUsd"]) for one in event["changed"]] == [(ETH, "4600")]
        watched.hold_apple("7")
        assert changed(await next_of(amounts)) == {AAPL: "7"}


async def test_prices_are_asked_for_only_if_somebody_sees_them(watched: Watched) -> None:
    ondo = watched.graph.simulators.ondo
    async with watched.events(AMOUNTS):
        await watched.polled(3)
        assert ondo.asked(PRICES) == []
        async with watched.events(VALUES):
            assert ondo.asked(PRICES)


async def test_who_needs_more_than_the_others_does_not_wait_for_the_next_turn(watched: Watched) -> None:
    async with watched.events(AMOUNTS, every=1_000), watched.events(VALUES, every=1_000):
        assert metric("walletgraph_watches") == 1


async def test_a_slow_subscriber_holds_nobody_up_and_is_told_of_the_whole_difference(watched: Watched) -> None:
    ready, told = asyncio.Event(), list[dict[str, Any]]()

    async def read_slowly() -> None:
        async with aclosing(await watched.stream(AMOUNTS)) as results:
            async for result in results:
                told.append(result.data["walletChanged"])
                await ready.wait()

    async with watched.events() as events:
        reading = asyncio.create_task(read_slowly())
        await watched.polled()
        for amount in ("7", "8"):
            watched.hold_apple(amount)
            assert changed(await next_of(events)) == {AAPL: amount}
        watched.hold(ETH, 0)
        assert (await next_of(events))["removedIds"] == [ETH_ID]
        watched.hold_apple("9")
        await next_of(events)
        assert [changed(event) for event in told] == [{AAPL: "7"}]
        ready.set()
        await watched.polled()
        reading.cancel()
        await asyncio.wait([reading])
    assert [changed(event) for event in told] == [{AAPL: "7"}, {AAPL: "9"}]
    assert told[1]["removedIds"] == [ETH_ID]


async def test_slow_upstreams_do_not_pile_polls_up(watched: Watched) -> None:
    arrivals = note_arrivals(watched.graph, ONEBALANCE)
    async with watched.events():
        watched.graph.simulators.onebalance.inject(
            Fault(kind="delay", seconds=3.2 * SECOND, path=ONEBALANCE_BALANCES)
        )
        await watched.polled(2)
        arrivals.times.clear()
        await watched.polled(4)
        # In step with the turns that are not missed, not one right after the other, and not four at a time.
        assert arrivals.times[3] - arrivals.times[0] >= 3 * 4 * SECOND - SECOND / 2


async def test_an_event_speaks_of_its_poll_and_costs_nothing_beyond_it(watched: Watched) -> None:
    fields = f"""at {VALUES} wallet {{
      address total {{ valueUsd complete }} byAssetGroup {{ amount reported {{ rawAmount }} }}
      holdings(filter: {{sources: [ONEBALANCE], chains: ["eip155:1"]}}) {{ totalCount }}
      sources {{ source status upstreamCalls indexedTo {{ time }} }}
    }}"""
    async with watched.events(fields, every=2) as events:
        watched.graph.simulators.forget()
        watched.hold(ETH, 10**18, "3000")
        event = await next_of(events)
        assert event["wallet"]["total"] == {"valueUsd": "4476.999999", "complete": True}
        statuses = {report["source"]: report["status"] for report in event["wallet"]["sources"]}
        assert statuses == {ONDO_GM: "OK", ONEBALANCE: "OK", SOLANA_SPL: "NOT_APPLICABLE"}
        asked = [(request.path, request.query) for request in watched.graph.simulators.requests()]
        assert len(asked) == len(set(asked))


async def test_a_subscription_outlives_the_deadline_and_the_cap_of_an_operation() -> None:
    async with open_watched(operation_timeout_seconds=0.3, max_requests_per_operation=12) as watched:
        fields = f'{AMOUNTS} wallet {{ sources {{ status }} holding(assetId: "{AAPL}") {{ amount }} }}'
        async with watched.events(fields) as events:
            await watched.polled(10)
            watched.hold_apple("7")
            event = await next_of(events)
            assert event["wallet"]["holding"]["amount"] == "7"
            assert {report["status"] for report in event["wallet"]["sources"]} == {"OK", "NOT_APPLICABLE"}


async def test_what_an_event_asks_in_addition_counts_against_no_earlier_one() -> None:
    async with open_watched(max_requests_per_operation=6) as watched:
        fields = "changed { token { holders { totalCount sources { status } } } }"
        async with watched.events(fields) as events:
            for amount in range(10, 20):
                watched.hold_apple(str(amount))
                (holding,) = (await next_of(events))["changed"]
                assert holding["token"]["holders"] == {"totalCount": 1, "sources": [{"status": "OK"}]}


async def test_what_is_asked_in_addition_long_after_a_poll_has_its_own_deadline() -> None:
    async with open_watched(timeout_seconds=0.2, operation_timeout_seconds=0.2) as watched:
        needs = {EVERYTHING: Wants.NOTHING}
        async with aclosing(watched.watches.changes(AccountAddress(EVM), 4, needs, valued=False)) as changes:
            waiting = asyncio.create_task(anext(changes))
            await watched.polled(1)
            watched.hold_apple("7")
            change = await waiting
            await asyncio.sleep(0.3)
            context = Context(Loaders(watched.graph.sources))
            context.adopt(change.context)
            (answer,) = await context.loaders.holders.load(AssetId(AAPL))
            assert {report.status for report in answer.reports} == {SourceStatus.OK}


async def test_a_poll_asks_no_more_than_an_operation_may() -> None:
    async with open_watched(max_requests_per_operation=2) as watched:
        partly = metric("walletgraph_watch_polls_total", outcome="PARTIAL")
        async with watched.events():
            await watched.polled()
        assert metric("walletgraph_watch_polls_total", outcome="PARTIAL") >= partly + 2


async def test_polls_are_no_part_of_the_trace_of_who_happened_to_be_the_first(watched: Watched) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with watched.events(headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}):
        await watched.polled()
    requests = watched.graph.simulators.requests()
    assert requests
    assert not any(trace in request.headers["traceparent"] for request in requests)


@pytest.mark.parametrize("every", [0, -1, 86_401])
async def test_an_interval_that_cannot_be_is_refused_before_anything_is_asked(watched: Watched, every: int) -> None:
    (error,) = await refused(await watched.stream(AMOUNTS, every=every))
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "everySeconds"}
    assert error["message"] == f'Argument "everySeconds": {every} is out of range: at least 1, at most 86400'
    assert watched.graph.simulators.requests() == []


@pytest.mark.parametrize(
    "fields", ["wallet { holdings(first: 900) { totalCount } }", 'wallet { holdings(after: "x") { totalCount } }']
)
async def test_a_page_that_cannot_be_is_refused_before_anything_is_asked(watched: Watched, fields: str) -> None:
    (error,) = await refused(await watched.stream(fields))
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert watched.graph.simulators.requests() == []


async def test_by_itself_no_wallet_is_asked_for_more_often_than_every_15_seconds() -> None:
    async with open_household() as graph:
        watched = Watched(graph, Watches(graph.sources))
        (error,) = await refused(await watched.stream(AMOUNTS, every=14))
        assert "at least 15" in error["message"]


async def test_one_wallet_too_many_is_refused_and_the_others_go_on() -> None:
    async with open_watched(max_watches=1) as watched:
        async with watched.events() as events, watched.events() as again:
            (error,) = await refused(await watched.stream(AMOUNTS, address=SOLANA))
            assert error["extensions"]["code"] == "RATE_LIMITED"
            (error,) = await refused(await watched.stream(AMOUNTS, every=2))
            assert error["extensions"]["code"] == "RATE_LIMITED"
            watched.hold_apple("7")
            for one in (events, again):
                assert changed(await next_of(one)) == {AAPL: "7"}
        async with watched.events(address=SOLANA):
            assert metric("walletgraph_watches") == 1


async def test_when_the_application_ends_subscriptions_end_without_an_error(watched: Watched) -> None:
    results = []

    async def read() -> None:
        async for result in await watched.stream(AMOUNTS):
            results.append(result)

    reading = [asyncio.create_task(read()) for _ in range(3)]
    await watched.polled(1)
    await watched.watches.close()
    await asyncio.wait_for(asyncio.gather(*reading), 1)
    await asyncio.wait_for(read(), 1)  # nor does another begin
    assert results == []
    assert metric("walletgraph_watches") == 0


async def test_a_subscription_is_counted_when_it_ends_and_distorts_no_times(watched: Watched) -> None:
    counted = {"operation": "Watching", "type": "subscription"}
    ok, failed = (metric("walletgraph_operations_total", **counted, outcome=one) for one in ("OK", "FAILED"))
    async with watched.events() as events:
        watched.hold_apple("7")
        await next_of(events)
    async with watched.events():
        pass
    await refused(await watched.stream(AMOUNTS, every=0))
    assert metric("walletgraph_operations_total", **counted, outcome="OK") == ok + 2
    assert metric("walletgraph_operations_total", **counted, outcome="FAILED") == failed + 1
    for outcome in ("OK", "FAILED", "CANCELLED"):
        assert metric("walletgraph_operation_seconds_count", operation="Watching", outcome=outcome) == 0


async def test_what_is_fresh_enough_for_others_is_renewed_for_who_watches() -> None:
    async with open_watched(base=KEPT) as watched, watched.events() as events:
        watched.hold(ETH, 10**18)
        assert changed(await next_of(events)) == {ETH: "1"}


async def refused(stream: AsyncGenerator[Any, None]) -> list[Any]:
    """The errors of a subscription that is over before it began."""
    results = [result async for result in stream]
    assert len(results) == 1
    assert results[0].data is None
    return [error.formatted for error in results[0].errors]


async def test_who_subscribes_and_then_asks_for_the_whole_misses_nothing_in_between() -> None:
    query = f'{{ wallet(address: "{EVM}") {{ holdings {{ nodes {{ amount token {{ assetId }} }} }} }} }}'
    async with open_watched(base=KEPT, cache_fresh_seconds=0.01, cache_stale_while_revalidate_seconds=60) as watched:
        await watched.graph.ask(query)
        await asyncio.sleep(0.02)
        watched.hold("eip155:1/slip44:60", 9 * 10**18)
        watched.graph.simulators.onebalance.inject(Fault("delay", seconds=0.1, path=ONEBALANCE_BALANCES))
        async with watched.events(every=4) as events:
            nodes = (await watched.graph.ask(query))["wallet"]["holdings"]["nodes"]
            (asked,) = (node["amount"] for node in nodes if node["token"]["assetId"] == "eip155:1/slip44:60")
            if asked != "9":  # by the cache, which is being renewed
                assert changed(await next_of(events)) == {"eip155:1/slip44:60": "9"}


async def test_who_comes_during_a_poll_and_needs_more_is_served_without_waiting_for_the_next_turn() -> None:
    async with open_watched() as watched:
        for simulator in watched.graph.simulators.all:
            simulator.inject(Fault("delay", seconds=0.1))
        before = polls()
        async with aclosing(await watched.stream(AMOUNTS, every=10_000)) as first:
            waiting = asyncio.create_task(anext(first))
            await asyncio.sleep(0.02)
            async with watched.events(VALUES, every=10_000):
                await watched.polled(2, before)
            waiting.cancel()
            await asyncio.wait([waiting])


async def test_a_poll_that_breaks_ends_nothing(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Any:
        monkeypatch.undo()
        raise ZeroDivisionError

    async with watched.events() as events:
        monkeypatch.setattr("resolvers.watch.known_for_certain", broken)
        await watched.polled(2)
        watched.hold_apple("7")
        assert changed(await next_of(events)) == {AAPL: "7"}
