"""What an outcome costs: how many requests, when they come, and that an outage is not multiplied."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.upstream.retries import RetryBudget, backoff_seconds
from loaders.upstream.simulator.base import Fault
from tests.chaos.helpers import (
    ATTEMPTS,
    QUESTIONS,
    aged,
    asked,
    assert_stale,
    break_balances,
    codes,
    every_source,
    look,
    look_until,
    metric,
    note_arrivals,
    open_kept,
    timed_look,
    wallet,
)
from tests.failures.household import (
    BALANCES,
    EVM,
    ONDO_GM,
    ONEBALANCE,
    SOLANA_SPL,
    SOURCES,
    WITHOUT_BALANCES,
    assert_failed,
    assert_whole,
)
from tests.graph import Graph

ONLY_ONEBALANCE = (ONDO_GM, SOLANA_SPL)


async def test_a_request_that_is_lost_is_sent_again_within_the_deadline() -> None:
    async def meet_in(source: str) -> None:
        async with open_kept(request_timeout_seconds=0.6) as graph:
            for path in BALANCES[source]:
                graph.simulators.by_source()[source].inject(Fault("hang", path=path, times=1))
            assert_whole(await look(graph))
            assert len(asked(graph, source)) == QUESTIONS[source] + len(BALANCES[source])

    await asyncio.gather(*map(meet_in, SOURCES))


@every_source
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_who_fails_twice_and_then_answers_has_answered(source: str, status: int) -> None:
    async with open_kept() as graph:
        for path in BALANCES[source]:
            graph.simulators.by_source()[source].inject(Fault(status=status, path=path, times=2))
        assert_whole(await look(graph))
        assert len(asked(graph, source)) == QUESTIONS[source] + 2 * len(BALANCES[source])


async def test_no_retry_is_begun_that_would_come_too_late() -> None:
    async with open_kept(timeout_seconds=2.0, retry_backoff_seconds=60.0) as graph:
        break_balances(graph, ONEBALANCE, Fault(status=500))
        seen, seconds = await timed_look(graph)
        assert_failed(seen, ONEBALANCE, "UPSTREAM_ERROR")
        assert len(asked(graph, ONEBALANCE)) == 1
        assert seconds < 2.0


async def test_who_asks_for_a_second_is_given_a_second() -> None:
    async def meet_in(source: str, status: int) -> None:
        async with open_kept() as graph:
            arrivals = note_arrivals(graph, source)
            simulator = graph.simulators.by_source()[source]
            path = next(iter(BALANCES[source]))
            simulator.inject(Fault(status=status, headers={"Retry-After": "1"}, path=path, times=1))
            assert_whole(await look(graph))
            assert len(asked(graph, source)) == QUESTIONS[source] + 1
            assert arrivals.times[-1] - arrivals.times[0] >= 1.0

    await asyncio.gather(*[meet_in(source, status) for source in SOURCES for status in (429, 503)])


@every_source
async def test_nobody_asks_who_asked_for_longer_than_anyone_can_wait(source: str) -> None:
    async with open_kept() as graph:
        await look(graph, wallet(1))  # the registers are known
        simulator = graph.simulators.by_source()[source]
        break_balances(graph, source, Fault(status=429, headers={"Retry-After": "7200"}))
        seen = await look(graph)
        assert_failed(seen, source, "RATE_LIMITED", retry_after=range(7_190, 7_201), known=WITHOUT_BALANCES)
        simulator.heal()
        simulator.requests.clear()
        for _ in range(2):  # after a minute it may be asked whether it still means it
            seen, seconds = await timed_look(graph)
            assert_failed(seen, source, "RATE_LIMITED", retry_after=range(40, 61), known=WITHOUT_BALANCES)
            assert seconds < 4.0
        assert simulator.requests == []


async def test_silence_ends_when_it_was_said_to() -> None:
    async def meet_in(source: str) -> None:
        async with open_kept(timeout_seconds=1.5, **aged("stale if error")) as graph:
            await look(graph)
            arrivals = note_arrivals(graph, source)
            break_balances(graph, source, Fault(status=503, headers={"Retry-After": "2"}))
            assert_stale(await look(graph), source, "UPSTREAM_ERROR", retry_after=[2])
            met = len(asked(graph, source))
            assert met == QUESTIONS[source]
            graph.simulators.by_source()[source].heal()
            assert_whole(await look_until(graph, lambda seen: codes(seen, source) == {("OK", None)}))
            assert arrivals.times[met] - arrivals.times[met - 1] >= 2.0

    await asyncio.gather(*map(meet_in, SOURCES))


async def outage(graph: Graph, source: str, looks: int, size: int) -> int:
    """How many requests a source sees while many wallets are looked at in vain."""
    await look(graph, wallet(0))
    break_balances(graph, source, Fault(status=503))
    before = len(asked(graph, source))
    for n in range(looks):
        wallets = [wallet(1 + n * size + k) for k in range(size)]
        assert codes(await look(graph, *wallets), source) == {("FAILED", "UPSTREAM_ERROR")}
    return len(asked(graph, source)) - before


async def test_an_outage_is_not_multiplied_by_retries() -> None:
    async def meet_in(source: str, questions: int) -> None:
        others = tuple({*SOURCES} - {source})
        async with open_kept(
            without=others, breaker_failure_rate=0.0, retry_ratio=0.2, ondo_snapshot_threshold=0
        ) as graph:
            denied, started = metric("walletgraph_upstream_retries_denied_total", source=source), time.monotonic()
            asked_in_all = await outage(graph, source, 5, 20)
            seconds = time.monotonic() - started
            assert questions < asked_in_all <= 1.2 * questions + 10 + seconds * 0.5
            assert metric("walletgraph_upstream_retries_denied_total", source=source) > denied

    await asyncio.gather(meet_in(ONEBALANCE, 100), meet_in(ONDO_GM, 200))


async def test_a_single_question_still_has_its_retries_after_many_good_answers() -> None:
    async with open_kept(without=ONLY_ONEBALANCE, retry_ratio=0.0) as graph:
        for n in range(4):
            await look(graph, wallet(n))
        break_balances(graph, ONEBALANCE, Fault(status=500))
        await look(graph, EVM)
        assert len(asked(graph, ONEBALANCE)) == 4 + ATTEMPTS


@given(st.floats(min_value=0, max_value=1), st.lists(st.booleans(), max_size=300))
def test_retries_stay_within_their_part_of_all_questions(ratio: float, asked: list[bool]) -> None:
    """True is a first request, False one that wants to be sent again."""
    started, budget, sent_again = time.monotonic(), RetryBudget(ratio), 0
    for first in asked:
        if first:
            budget.deposit()
        else:
            sent_again += budget.withdraw()
        bound = 10 + ratio * sum(asked) + 0.5 * (time.monotonic() - started)
        assert sent_again <= bound + 1e-6
    assert sent_again >= min(10, len(asked) - sum(asked))


@given(
    st.floats(min_value=0.001, max_value=2),
    st.integers(min_value=1, max_value=20),
    st.none() | st.floats(min_value=0, max_value=86_400),
)
def test_the_wait_before_a_retry_grows_to_five_seconds_and_is_never_shorter_than_asked_for(
    first: float, attempt: int, asked_seconds: float | None
) -> None:
    wait = backoff_seconds(first, attempt, asked_seconds)
    if asked_seconds is not None:
        assert asked_seconds <= wait <= asked_seconds + first
    else:
        assert min(first * 2 ** (attempt - 1), 5) / 2 <= wait <= min(first * 2 ** (attempt - 1), 5)


HEDGED = "walletgraph_upstream_hedges_total"


async def ask_slowly(graph: Graph, answers: int, delay: float) -> float:
    """How long an answer takes that is slow after so many quick ones."""
    for n in range(answers):
        await look(graph, wallet(n))
    graph.simulators.onebalance.requests.clear()
    break_balances(graph, ONEBALANCE, Fault("delay", seconds=delay, times=1))
    seen, seconds = await timed_look(graph, EVM)
    assert codes(seen, ONEBALANCE) == {("OK", None)}
    assert len(seen.nodes) == 2
    return seconds


async def test_a_slow_request_has_no_copy_unless_hedging_is_on() -> None:
    async with open_kept(without=ONLY_ONEBALANCE) as graph:
        assert await ask_slowly(graph, 21, 0.6) >= 0.6
        assert len(asked(graph, ONEBALANCE)) == 1


async def test_a_slow_request_has_a_copy_once_it_is_known_what_is_slow() -> None:
    async with open_kept(without=ONLY_ONEBALANCE, hedge_requests=True) as graph:
        before = metric(HEDGED, source=ONEBALANCE, won="second")
        assert await ask_slowly(graph, 20, 4.0) < 4.0
        first, copy = asked(graph, ONEBALANCE)
        assert (first.path, first.query) == (copy.path, copy.query)
        assert metric(HEDGED, source=ONEBALANCE, won="second") == before + 1


async def test_a_copy_that_is_slower_than_the_first_is_given_up() -> None:
    async with open_kept(without=ONLY_ONEBALANCE, hedge_requests=True) as graph:
        for n in range(20):
            await look(graph, wallet(n))
        break_balances(graph, ONEBALANCE, Fault("hang"))
        break_balances(graph, ONEBALANCE, Fault("delay", seconds=0.6, times=1))
        before = metric(HEDGED, source=ONEBALANCE, won="first")
        seen, seconds = await timed_look(graph, EVM)
        assert codes(seen, ONEBALANCE) == {("OK", None)}
        assert metric(HEDGED, source=ONEBALANCE, won="first") == before + 1
        assert 0.6 <= seconds < 4.0
