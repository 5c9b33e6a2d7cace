"""Who asks the same at the same time shares what it costs, and nobody's fate but the answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from loaders.upstream import UpstreamSettings
from loaders.upstream.simulator.base import Fault
from tests.chaos.helpers import (
    QUESTIONS,
    aged,
    asked,
    break_balances,
    codes,
    every_source,
    look,
    look_each,
    metric,
    open_kept,
    solana_wallet,
    timed_look,
    until,
    wallet,
)
from tests.failures.household import (
    BALANCES,
    EVM,
    ONDO_GM,
    ONEBALANCE,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    WITHOUT_BALANCES,
    assert_failed,
    assert_whole,
    open_household,
)
from tests.graph import KEPT, PLAIN, Graph

IN_ALL = 9
"""What the household costs: its balances, two registers of Ondo's and one of OneBalance's."""


def slow_down(graph: Graph, seconds: float) -> None:
    for simulator in graph.simulators.all:
        simulator.inject(Fault("delay", seconds=seconds))


def hang_once(graph: Graph, source: str) -> None:
    for path in BALANCES[source]:
        graph.simulators.by_source()[source].inject(Fault("hang", path=path, times=1))


def cancelled_requests() -> float:
    name = "walletgraph_upstream_requests_total"
    return sum(metric(name, source=source, status="none", outcome="CANCELLED") for source in SOURCES)


def running_requests() -> float:
    return sum(metric("walletgraph_upstream_requests_running", source=source) for source in SOURCES)


@pytest.mark.parametrize("settings", [PLAIN, KEPT], ids=["plain", "kept"])
async def test_many_equal_operations_at_once_cost_what_one_costs(settings: UpstreamSettings) -> None:
    async with open_household(base=settings) as graph:
        slow_down(graph, 0.2)
        looks = await asyncio.gather(*[look(graph) for _ in range(10)])
        for seen in looks:
            assert_whole(seen)
        assert len(graph.simulators.requests()) == IN_ALL
        # One of them caused them all; a request is nobody's twice.
        calls = [sum(report["upstreamCalls"] for report in seen.view["sources"]) for seen in looks]
        assert sum(calls) == sum(QUESTIONS.values())


async def test_who_wants_a_part_of_what_is_under_way_costs_nothing_more() -> None:
    async with open_kept() as graph:
        slow_down(graph, 0.2)
        both, evm, solana = await asyncio.gather(look(graph), look(graph, EVM), look(graph, SOLANA))
        assert_whole(both)
        assert evm.held | solana.held == both.held
        assert len(asked(graph, "ONDO_GM")) == QUESTIONS["ONDO_GM"]
        assert len(asked(graph, "SOLANA_SPL")) == QUESTIONS["SOLANA_SPL"]


@every_source
async def test_a_failure_is_shared_as_an_answer_is(source: str) -> None:
    async with open_kept(retries=0) as graph:
        break_balances(graph, source, Fault(status=500))
        for seen in await asyncio.gather(*[look(graph) for _ in range(5)]):
            assert_failed(seen, source, "UPSTREAM_ERROR", known=WITHOUT_BALANCES)
        assert len(asked(graph, source)) == QUESTIONS[source]


async def test_an_operation_that_is_given_up_takes_its_requests_with_it() -> None:
    async with open_kept() as graph:
        await look(graph, wallet(1))  # the registers are known
        before, questions = cancelled_requests(), sum(QUESTIONS.values())
        graph.simulators.forget()
        for source in SOURCES:
            break_balances(graph, source, Fault("hang"))
        asking = asyncio.create_task(look(graph))
        await until(lambda: len(graph.simulators.requests()) == questions)
        assert running_requests() == questions
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: running_requests() == 0)
        assert cancelled_requests() == before + questions
        for simulator in graph.simulators.all:
            simulator.heal()
        assert_whole(await look(graph))


async def test_an_operation_that_is_given_up_takes_nothing_from_another_that_joined_it() -> None:
    async with open_kept() as graph:
        await look(graph, wallet(1))
        before = cancelled_requests()
        graph.simulators.forget()
        for source in SOURCES:
            break_balances(graph, source, Fault("delay", seconds=0.9))
        starter = asyncio.create_task(look(graph))
        await until(lambda: len(graph.simulators.requests()) == sum(QUESTIONS.values()))
        joiner = asyncio.create_task(look(graph))
        await asyncio.sleep(0.3)  # it waits by now
        starter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starter
        assert_whole(await joiner)
        assert len(graph.simulators.requests()) == sum(QUESTIONS.values())
        assert cancelled_requests() == before


async def test_the_last_one_to_give_up_ends_the_requests() -> None:
    async with open_kept() as graph:
        await look(graph, wallet(1))
        for source in SOURCES:
            break_balances(graph, source, Fault("hang"))
        looks = [asyncio.create_task(look(graph)) for _ in range(3)]
        await until(lambda: running_requests() == sum(QUESTIONS.values()))
        for n, asking in enumerate(looks):
            await asyncio.sleep(0.05)
            assert running_requests() == sum(QUESTIONS.values()), n
            asking.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        await until(lambda: running_requests() == 0)


async def test_who_joined_late_still_has_time_when_the_first_one_has_none() -> None:
    async def try_out(source: str) -> None:
        async with open_kept(timeout_seconds=1.0) as graph:
            await look(graph, wallet(1))
            graph.simulators.forget()
            hang_once(graph, source)
            starter = asyncio.create_task(look(graph))
            await until(lambda: len(asked(graph, source)) == QUESTIONS[source])
            await asyncio.sleep(0.5)
            joiner = asyncio.create_task(look(graph))
            assert ("FAILED", "TIMEOUT") in codes(await starter, source)
            assert not joiner.done()
            assert_whole(await joiner)
            assert len(asked(graph, source)) <= QUESTIONS[source] + 2  # one of them had been lost, or two

    await asyncio.gather(*map(try_out, SOURCES))


async def test_a_request_that_is_lost_holds_up_nobody_who_asks_later() -> None:
    async def try_out(source: str) -> None:
        async with open_kept(timeout_seconds=2.0) as graph:
            await look(graph, wallet(1))
            break_balances(graph, source, Fault("hang"))
            assert_failed(await look(graph), source, "TIMEOUT", known=WITHOUT_BALANCES)
            graph.simulators.by_source()[source].heal()
            seen, seconds = await timed_look(graph)
            assert_whole(seen)
            assert seconds < 2.0

    await asyncio.gather(*map(try_out, SOURCES))


async def test_a_lost_request_holds_up_no_other_question() -> None:
    async def try_out(source: str) -> None:
        async with open_kept() as graph:
            await look(graph, wallet(1))
            graph.simulators.forget()
            hang_once(graph, source)
            lost = asyncio.create_task(look(graph))
            await until(lambda: len(asked(graph, source)) == QUESTIONS[source])
            seen, seconds = await timed_look(graph, wallet(2), solana_wallet(2))
            assert seconds < 3.0
            assert codes(seen, source) == {("OK", None)}
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)

    await asyncio.gather(*map(try_out, SOURCES))


async def test_a_lost_request_holds_up_no_answer_that_came_with_it() -> None:
    async with open_kept(without=(ONDO_GM, SOLANA_SPL), timeout_seconds=1.4) as graph:
        await look(graph, wallet(1))
        graph.simulators.forget()
        hang_once(graph, ONEBALANCE)
        starter = asyncio.create_task(look_each(graph, wallet(2), wallet(3)))
        await until(lambda: len(asked(graph, ONEBALANCE)) == 2)
        later = await asyncio.gather(timed_look(graph, wallet(2)), timed_look(graph, wallet(3)))
        await starter
        assert min(seconds for _, seconds in later) < 1.0  # one of them was answered at once


async def test_the_cap_of_one_operation_is_no_cap_of_another_that_joined_it() -> None:
    async with open_kept(without=(ONDO_GM, SOLANA_SPL), max_requests_per_operation=3) as graph:
        await look(graph, wallet(99))
        graph.simulators.forget()
        break_balances(graph, ONEBALANCE, Fault("delay", seconds=0.3))
        large = asyncio.create_task(look_each(graph, *map(wallet, range(6))))
        await until(lambda: len(asked(graph, ONEBALANCE)) == 3)
        small = await asyncio.gather(*[look(graph, wallet(n)) for n in range(6)])
        assert {("FAILED", "BUDGET_EXHAUSTED"), ("OK", None)} == {
            code for seen in await large for code in codes(seen, ONEBALANCE)
        }
        assert [codes(seen, ONEBALANCE) for seen in small] == [{("OK", None)}] * 6


async def test_the_cap_of_one_operation_is_no_failure_to_those_who_come_later() -> None:
    cap: dict[str, Any] = {"max_requests_per_operation": 3, **aged("stale if error")}
    async with open_kept(without=(ONDO_GM, SOLANA_SPL), **cap) as graph:
        for n in range(6):
            assert codes(await look(graph, wallet(n)), ONEBALANCE) == {("OK", None)}
        large = await look_each(graph, *map(wallet, range(6)))
        told = [code for seen in large for code in codes(seen, ONEBALANCE)]
        assert sorted(told) == sorted([("OK", None)] * 3 + [("STALE", "BUDGET_EXHAUSTED")] * 3)
        graph.simulators.forget()
        small = [codes(await look(graph, wallet(n)), ONEBALANCE) for n in range(6)]
        assert small == [{("OK", None)}] * 6
        assert len(asked(graph, ONEBALANCE)) == 6


async def test_an_operation_that_is_given_up_tells_of_the_requests_that_it_had_under_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="walletgraph")
    async with open_kept() as graph:
        await look(graph, wallet(1))
        graph.simulators.forget()
        caplog.clear()
        for source in SOURCES:
            break_balances(graph, source, Fault("hang"))
        asking = asyncio.create_task(look(graph))
        await until(lambda: len(graph.simulators.requests()) == sum(QUESTIONS.values()))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    (line,) = [vars(record)["fields"] for record in caplog.records if record.msg == "operation"]
    assert (line["outcome"], line["upstream_requests"]) == ("CANCELLED", QUESTIONS)
