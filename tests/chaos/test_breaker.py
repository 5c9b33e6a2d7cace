"""Who keeps failing is left alone for a while, and then asked once to see whether it is well again."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from loaders.upstream.simulator.base import Fault
from tests.chaos.helpers import (
    aged,
    asked,
    assert_from_cache,
    assert_stale,
    break_balances,
    codes,
    every_source,
    look,
    look_until,
    metric,
    open_kept,
    timed_look,
    until,
    wallet,
)
from tests.failures.household import EVM, ONDO_GM, ONEBALANCE, SOLANA_SPL, SOURCES, assert_failed, assert_whole
from tests.graph import Graph

MANY = 5
OPEN_SECONDS = 0.5

BREAKING: dict[str, Any] = {
    "retries": 0,
    "breaker_min_requests": MANY,
    "breaker_open_seconds": 5.0,
    "ondo_snapshot_threshold": 0,
}
"""No retries, so a request is a question."""

SHORTLY: dict[str, Any] = {**BREAKING, "breaker_open_seconds": OPEN_SECONDS}

DOWN = Fault(status=500)
LEFT_ALONE = {("FAILED", "CIRCUIT_OPEN")}
ALONE = {source: tuple({*SOURCES} - {source}) for source in SOURCES}


async def trip(graph: Graph, fault: Fault = DOWN) -> None:
    """Lets OneBalance fail again and again, until nothing is asked of it any more."""
    break_balances(graph, ONEBALANCE, fault)
    for n in range(100, 100 + 3 * MANY):
        if codes(await look(graph, wallet(n)), ONEBALANCE) == LEFT_ALONE:
            return
    raise AssertionError("the circuit never opened")


@every_source
async def test_a_source_that_only_fails_is_soon_left_alone(source: str) -> None:
    async with open_kept(**BREAKING) as graph:
        simulator = graph.simulators.by_source()[source]
        simulator.inject(DOWN)
        seen = await look(graph)
        while codes(seen, source) != LEFT_ALONE:
            assert len(simulator.requests) <= MANY + 5
            seen = await look(graph)
        met = len(simulator.requests)
        assert met >= MANY
        simulator.heal()  # which nobody can know
        seen, seconds = await timed_look(graph)
        assert_failed(seen, source, "CIRCUIT_OPEN", retry_after=range(1, 6))
        assert len(simulator.requests) == met
        assert seconds < 4.0
        assert [name for name, state in graph.upstreams.states.items() if state == "CIRCUIT_OPEN"] == [source]
        assert metric("walletgraph_upstream_breaker_state", source=source) == 2


async def test_it_takes_as_many_questions_as_were_agreed() -> None:
    async with open_kept(without=ALONE[ONEBALANCE], **BREAKING) as graph:
        await trip(graph)
        assert len(graph.simulators.onebalance.requests) == MANY  # the first of them was the register, and well


async def test_half_of_the_questions_must_fail() -> None:
    async with open_kept(without=ALONE[ONEBALANCE], **BREAKING) as graph:
        for n in range(MANY):
            await look(graph, wallet(n))
        break_balances(graph, ONEBALANCE, DOWN)
        for n in range(MANY):
            assert codes(await look(graph, wallet(50 + n)), ONEBALANCE) == {("FAILED", "UPSTREAM_ERROR")}
        assert len(asked(graph, ONEBALANCE)) == 2 * MANY  # MANY of 2 MANY + 1, the register among them
        await trip(graph)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400),
        Fault(status=403, body=b'{"code": "NOT_YOURS"}'),
        Fault(status=429),
        Fault(status=418),
    ],
    ids=["400", "403", "429", "418"],
)
async def test_a_refusal_shows_that_a_source_is_well(fault: Fault) -> None:
    async def refuse(source: str) -> None:
        async with open_kept(without=ALONE[source], **BREAKING) as graph:
            break_balances(graph, source, fault)
            refused = set()
            for _ in range(3 * MANY):
                refused |= codes(await look(graph), source)
            assert len(refused) == 1
            assert refused != LEFT_ALONE
            assert len(asked(graph, source)) >= 3 * MANY
            assert metric("walletgraph_upstream_breaker_state", source=source) == 0

    await asyncio.gather(*map(refuse, SOURCES))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=401),
        Fault(status=404),
        Fault(status=503),
        Fault(status=200, body=b"<html></html>"),
        Fault("truncate", status=200, body=b"{" + b" " * 99 + b"}"),
        Fault("reset"),
    ],
    ids=["401", "404", "503", "html", "truncated", "reset"],
)
async def test_whatever_speaks_against_a_hosts_health_opens_the_circuit(fault: Fault) -> None:
    async with open_kept(without=ALONE[ONEBALANCE], **BREAKING) as graph:
        await trip(graph, fault)
        assert graph.upstreams.states[ONEBALANCE] == "CIRCUIT_OPEN"


async def test_silence_opens_the_circuit() -> None:
    async with open_kept(without=ALONE[ONDO_GM], timeout_seconds=0.5, **BREAKING) as graph:
        await look(graph)
        break_balances(graph, ONDO_GM, Fault("hang"))
        await asyncio.gather(*[look(graph, wallet(n)) for n in range(MANY)])
        assert codes(await look(graph, wallet(99)), ONDO_GM) == LEFT_ALONE


async def test_without_a_rate_the_circuit_never_opens() -> None:
    async with open_kept(without=ALONE[ONEBALANCE], **{**BREAKING, "breaker_failure_rate": 0.0}) as graph:
        break_balances(graph, ONEBALANCE, DOWN)
        for n in range(3 * MANY):
            assert codes(await look(graph, wallet(n)), ONEBALANCE) == {("FAILED", "UPSTREAM_ERROR")}


async def half_open() -> None:
    """Waits for as long as a circuit stays open that has opened just now, for the first time."""
    await asyncio.sleep(OPEN_SECONDS + 0.05)


async def test_what_operators_see_of_a_circuit_is_how_it_stands_now() -> None:
    async with open_kept(without=ALONE[ONEBALANCE], **SHORTLY) as graph:
        await trip(graph)
        await half_open()  # and nobody asks
        assert metric("walletgraph_upstream_breaker_state", source=ONEBALANCE) == 1
        graph.simulators.onebalance.heal()
        await look(graph, EVM)
        assert metric("walletgraph_upstream_breaker_state", source=ONEBALANCE) == 0


async def looks_at_once(graph: Graph) -> list[tuple[str, str | None]]:
    """What many look at who want different things."""
    seen = await asyncio.gather(*[look(graph, wallet(n)) for n in range(200, 208)])
    return [code for one in seen for code in codes(one, ONEBALANCE)]


async def test_one_probe_alone_is_sent_and_if_it_fails_the_circuit_stays_open_for_twice_as_long() -> None:
    async with open_kept(without=ALONE[ONEBALANCE], **SHORTLY) as graph:
        await trip(graph)
        met = len(asked(graph, ONEBALANCE))
        await half_open()
        said = await looks_at_once(graph)
        assert len(asked(graph, ONEBALANCE)) == met + 1
        assert sorted(said) == sorted([("FAILED", "UPSTREAM_ERROR"), *[("FAILED", "CIRCUIT_OPEN")] * 7])
        opened = time.monotonic()
        (report,) = (await look(graph, EVM)).reports(ONEBALANCE)
        assert (report["code"], report["retryAfterSeconds"]) in [("CIRCUIT_OPEN", 1), ("CIRCUIT_OPEN", 2)]
        graph.simulators.onebalance.heal()
        await look_until(graph, lambda seen: codes(seen, ONEBALANCE) == {("OK", None)}, EVM)
        assert time.monotonic() - opened > 1.5 * OPEN_SECONDS
        assert len(asked(graph, ONEBALANCE)) == met + 2


async def test_a_probe_that_is_answered_closes_the_circuit_for_all() -> None:
    async with open_kept(**SHORTLY) as graph:
        await trip(graph)
        met = len(asked(graph, ONEBALANCE))
        graph.simulators.onebalance.heal()
        break_balances(graph, ONEBALANCE, Fault("delay", seconds=0.3, times=1))
        await half_open()
        said = await looks_at_once(graph)
        assert len(asked(graph, ONEBALANCE)) == met + 1
        assert sorted(said) == sorted([("OK", None), *[("FAILED", "CIRCUIT_OPEN")] * 7])
        assert graph.upstreams.states[ONEBALANCE] == "OK"
        assert await looks_at_once(graph) == [("OK", None)] * 8
        assert_whole(await look(graph))


async def test_a_probe_that_is_given_up_lets_another_one_through() -> None:
    async with open_kept(without=ALONE[ONEBALANCE], **SHORTLY) as graph:
        await trip(graph)
        graph.simulators.onebalance.heal()
        break_balances(graph, ONEBALANCE, Fault("hang", times=1))
        met = len(asked(graph, ONEBALANCE))
        await half_open()
        giving_up = asyncio.create_task(look(graph, wallet(1)))
        await until(lambda: len(asked(graph, ONEBALANCE)) > met)
        giving_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await giving_up
        await look_until(graph, lambda seen: codes(seen, ONEBALANCE) == {("OK", None)}, wallet(2), seconds=5)
        assert graph.upstreams.states[ONEBALANCE] == "OK"


async def test_a_probe_that_was_never_sent_says_nothing() -> None:
    async with open_kept(without=ALONE[ONEBALANCE], timeout_seconds=0.6, **SHORTLY) as graph:
        await look(graph, wallet(1))  # the register is known
        break_balances(graph, ONEBALANCE, Fault(status=503, headers={"Retry-After": "2"}))
        await looks_at_once(graph)
        assert graph.upstreams.states[ONEBALANCE] == "CIRCUIT_OPEN"
        met, spoke = len(asked(graph, ONEBALANCE)), time.monotonic()
        await half_open()
        (report,) = (await look(graph, wallet(2))).reports(ONEBALANCE)
        assert (report["code"], report["upstreamCalls"]) == ("UPSTREAM_ERROR", 0)
        assert len(asked(graph, ONEBALANCE)) == met
        await until(lambda: time.monotonic() > spoke + 2.0)
        await looks_at_once(graph)
        assert len(asked(graph, ONEBALANCE)) == met + 1


async def test_who_waits_in_vain_for_a_connection_says_nothing_of_the_upstream() -> None:
    async with open_kept(
        without=ALONE[ONEBALANCE], timeout_seconds=0.6, onebalance_connections=1, **BREAKING
    ) as graph:
        await look(graph, wallet(1))
        break_balances(graph, ONEBALANCE, Fault("delay", seconds=0.2))
        outcomes = {*await looks_at_once(graph), *await looks_at_once(graph)}
        assert outcomes == {("OK", None), ("FAILED", "TIMEOUT")}
        assert codes(await look(graph, wallet(3)), ONEBALANCE) == {("OK", None)}


async def test_what_is_known_is_served_while_the_circuit_is_open() -> None:
    async with open_kept(**BREAKING, **aged("stale if error")) as graph:
        assert_whole(await look(graph))
        await trip(graph)
        met = len(asked(graph, ONEBALANCE))
        for _ in range(2):
            assert_stale(await look(graph), ONEBALANCE, "CIRCUIT_OPEN", retry_after=range(1, 6), calls=0)
        assert len(asked(graph, ONEBALANCE)) == met


async def test_what_is_fresh_tells_nothing_of_an_open_circuit() -> None:
    async with open_kept(**BREAKING, **aged("fresh")) as graph:
        assert_whole(await look(graph))
        await trip(graph)
        assert_from_cache(await look(graph), ONEBALANCE)


async def test_one_circuit_is_no_others() -> None:
    async with open_kept(**BREAKING) as graph:
        await trip(graph)
        seen = await look(graph)
        assert codes(seen, ONEBALANCE) == LEFT_ALONE
        assert (seen.status(ONDO_GM), seen.status(SOLANA_SPL)) == ("OK", "OK")
