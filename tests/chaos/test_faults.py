"""Whatever an upstream does: FAILED with nothing known, STALE with something known, and never an empty wallet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.faults import CASES, Case, too_large
from tests.chaos.helpers import (
    QUESTIONS,
    aged,
    asked,
    assert_from_cache,
    assert_stale,
    break_balances,
    codes,
    every_source,
    look,
    look_until,
    open_kept,
)
from tests.failures.household import HEALTHY, ONEBALANCE, SOURCES, WITHOUT_BALANCES, Seen, assert_failed, assert_whole
from tests.graph import Graph

DEADLINE = 0.8

every_fault = pytest.mark.parametrize("name", CASES)


@asynccontextmanager
async def open_aged(name: str, age: str) -> AsyncIterator[Graph]:
    """Upstreams for a fault, with a deadline that is worth waiting for."""
    deadline = {"timeout_seconds": DEADLINE} if CASES[name].slow else {}
    async with open_kept(**aged(age), **deadline) as graph:
        yield graph


def break_all(graph: Graph, case: Case) -> None:
    for source in SOURCES:
        break_balances(graph, source, case.fault)


def all_are(status: str, case: Case) -> dict[str, set[tuple[str, str | None]]]:
    return {source: {(status, case.code_of(source))} for source in SOURCES}


def how_all_are(seen: Seen) -> dict[str, set[tuple[str, str | None]]]:
    return {source: codes(seen, source) for source in SOURCES}


def assert_all_stale(seen: Seen, case: Case) -> None:
    """Everything is as it was, and nobody says that all is well."""
    assert how_all_are(seen) == all_are("STALE", case)
    assert seen.held == HEALTHY
    assert seen.view["total"] == {"valueUsd": "6537.75", "complete": False, "missingSources": []}
    for report in (report for source in SOURCES for report in seen.reports(source)):
        assert report["message"]
        assert report["retryAfterSeconds"] in case.retry_after
        assert report["cacheAgeSeconds"] >= 0


@every_fault
async def test_a_fault_with_nothing_known_costs_its_requests_and_is_a_failure_of_this_source_alone(name: str) -> None:
    case = CASES[name]

    async def meet_in(source: str) -> None:
        async with open_aged(name, "fresh") as graph:
            await meet(graph, source)

    async def meet(graph: Graph, source: str) -> None:
        break_balances(graph, source, case.fault)
        seen, failed = await look(graph), case.code_of(source)
        assert_failed(seen, source, failed, retry_after=case.retry_after, known=WITHOUT_BALANCES)
        assert len(asked(graph, source)) == case.attempts * QUESTIONS[source]
        assert sum(report["upstreamCalls"] for report in seen.reports(source)) == len(asked(graph, source))
        graph.simulators.by_source()[source].heal()
        if case.retry_after == (None,):
            assert_whole(await look(graph))  # a failure is not kept

    await asyncio.gather(*map(meet_in, SOURCES))


@every_fault
async def test_what_is_too_old_is_never_shown_again_whoever_fails(name: str) -> None:
    async with open_aged(name, "dead") as graph:
        assert_whole(await look(graph))
        break_all(graph, CASES[name])
        seen = await look(graph)
        assert how_all_are(seen) == all_are("FAILED", CASES[name])
        assert seen.held == {}
        assert seen.view["total"] == {"valueUsd": None, "complete": False, "missingSources": [*SOURCES]}


@every_source
async def test_no_fault_is_met_while_the_answer_is_fresh(source: str) -> None:
    async with open_kept(**aged("fresh")) as graph:
        assert_whole(await look(graph))
        for case in CASES.values():
            graph.simulators.by_source()[source].heal()
            break_balances(graph, source, case.fault)
            assert_from_cache(await look(graph), source)
        assert len(asked(graph, source)) == QUESTIONS[source]


@every_fault
async def test_a_fault_met_behind_the_scenes_costs_no_waiting_and_is_told_by_the_next_look(name: str) -> None:
    async with open_aged(name, "stale while revalidate") as graph:
        assert_whole(await look(graph))
        break_all(graph, CASES[name])
        seen = await look(graph)
        for source in SOURCES:
            assert_from_cache(seen, source)
        seen = await look_until(graph, lambda seen: how_all_are(seen) == all_are("STALE", CASES[name]))
        assert_all_stale(seen, CASES[name])


@every_fault
async def test_a_fault_met_by_the_look_that_needs_an_answer_leaves_it_the_earlier_one(name: str) -> None:
    case = CASES[name]
    async with open_aged(name, "stale if error") as graph:
        assert_whole(await look(graph))
        break_all(graph, case)
        # The second one has the same without another try: what failed is given a rest.
        for calls in (case.attempts, 0):
            seen = await look(graph)
            assert_all_stale(seen, case)
            for source in SOURCES:
                assert len(asked(graph, source)) == (1 + case.attempts) * QUESTIONS[source]
                caused = sum(report["upstreamCalls"] for report in seen.reports(source))
                assert caused == calls * QUESTIONS[source]


async def test_an_answer_larger_than_all_bounds_is_not_read() -> None:
    async with open_kept(**aged("stale if error")) as graph:
        assert_whole(await look(graph))
        break_balances(graph, ONEBALANCE, too_large())
        assert_stale(await look(graph), ONEBALANCE, "BAD_RESPONSE", calls=1)
