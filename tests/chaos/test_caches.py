"""An answer ages: it is served, renewed behind the scenes, shown as STALE and forgotten, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loaders.cache import Age, Entry, Lifetime
from loaders.upstream.simulator.base import Fault
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
    looks_until,
    note_arrivals,
    open_kept,
    until,
)
from tests.failures.household import (
    EVM,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    WITHOUT,
    WITHOUT_BALANCES,
    Seen,
    assert_failed,
    assert_whole,
)
from tests.graph import NATIVE_BALANCES, SPL_BALANCES, Graph

REFUSED = Fault(status=400)
"""A failure that costs one request a question."""


async def in_every_source(meet: Callable[[Graph, str], Awaitable[None]], **settings: Any) -> None:
    """Tries something with each source, each over upstreams of its own."""

    async def meet_in(source: str) -> None:
        async with open_kept(**settings) as graph:
            await meet(graph, source)

    await asyncio.gather(*map(meet_in, SOURCES))


def seconds_old(seen: Seen, source: str) -> float:
    """How old the newest of a source's answers is by now."""
    fetched = [datetime.fromisoformat(report["fetchedAt"]) for report in seen.reports(source)]
    return time.time() - max(fetched).timestamp()


async def until_old(seen: Seen, source: str, seconds: float) -> None:
    await until(lambda: seconds_old(seen, source) > seconds)


async def test_an_answer_is_served_then_renewed_then_stale_then_gone() -> None:
    lifetime = {
        "cache_fresh_seconds": 0.7,
        "cache_stale_while_revalidate_seconds": 1.2,
        "cache_stale_if_error_seconds": 2.3,
    }

    async def meet(graph: Graph, source: str) -> None:
        first = await look(graph)
        assert_whole(first)
        break_balances(graph, source, REFUSED)

        assert_from_cache(await look(graph), source)
        assert len(asked(graph, source)) == QUESTIONS[source]

        await until_old(first, source, 0.75)
        assert_from_cache(await look(graph), source)
        rejected = "UPSTREAM_REJECTED_INPUT"
        seen = await look_until(graph, lambda seen: codes(seen, source) == {("STALE", rejected)})
        assert len(asked(graph, source)) == 2 * QUESTIONS[source]
        assert_stale(seen, source, rejected, calls=0)

        await until_old(first, source, 2.0)
        seen = await look(graph)
        assert_stale(seen, source, rejected)
        assert {report["cacheAgeSeconds"] for report in seen.reports(source)} <= {2, 3}

        await until_old(first, source, 3.1)
        assert_failed(await look(graph), source, rejected, known=WITHOUT_BALANCES)
        graph.simulators.by_source()[source].heal()
        assert_whole(await look(graph))

    await in_every_source(meet, **lifetime)


async def test_what_failed_rests_a_second_then_two_and_is_well_again_after() -> None:
    async def meet(graph: Graph, source: str) -> None:
        assert_whole(await look(graph))
        break_balances(graph, source, REFUSED)
        arrivals, questions = note_arrivals(graph, source), QUESTIONS[source]
        await look_until(graph, lambda _: len(arrivals.times) == 2 * questions)
        graph.simulators.by_source()[source].heal()
        *resting, _ = await looks_until(graph, lambda _: len(arrivals.times) >= 3 * questions)
        for seen in resting:
            assert_stale(seen, source, "UPSTREAM_REJECTED_INPUT", calls=0)
        assert_whole(await look_until(graph, lambda seen: codes(seen, source) == {("OK", None)}))
        first, second, third = (arrivals.times[n * questions] for n in range(3))
        assert second - first >= 1.0
        assert third - second >= 2.0

    # Whoever looks again and again must not use up a budget.
    await in_every_source(meet, **aged("stale if error"), thegraph_requests_per_minute=0)


async def test_a_refresh_behind_the_scenes_is_one_for_all_who_look() -> None:
    async def meet(graph: Graph, source: str) -> None:
        await look(graph)
        break_balances(graph, source, Fault("delay", seconds=0.5))
        for seen in await asyncio.gather(*[look(graph) for _ in range(5)]):
            assert_from_cache(seen, source)
        await until(lambda: len(asked(graph, source)) == 2 * QUESTIONS[source])
        assert_from_cache(await look(graph), source)
        assert len(asked(graph, source)) == 2 * QUESTIONS[source]

    await in_every_source(meet, **aged("stale while revalidate"))


async def test_what_is_renewed_behind_the_scenes_is_what_the_next_ones_see() -> None:
    async with open_kept(**aged("stale while revalidate")) as graph:
        assert_whole(await look(graph))
        dataset = graph.simulators.ondo.dataset
        dataset.add_balance(chain="ethereum-1", symbol="TSLAon", account=EVM, balance="7")
        assert_whole(await look(graph))
        tesla = "eip155:1/erc20:0xf6b1117ec07684d3958cad8beb1b302bfd21103f"
        seen = await look_until(graph, lambda seen: seen.held[tesla].amount == "7")
        assert seen.held[tesla].value_usd == "350"
        assert seen.status("ONDO_GM") == "OK"


@every_source
async def test_who_wants_all_or_nothing_gets_nothing_of_what_is_stale(source: str) -> None:
    query = """query ($a: [AccountAddress!]!) {
      portfolio(addresses: $a, onSourceFailure: FAIL) { total { valueUsd complete } }
    }"""
    async with open_kept(**aged("stale if error")) as graph:
        data = await graph.ask(query, a=[EVM, SOLANA])
        assert data["portfolio"]["total"] == {"valueUsd": "6537.75", "complete": True}
        break_balances(graph, source, REFUSED)
        for _ in range(2):  # the look that meets the fault, and one that need not
            response = await graph.respond(query, a=[EVM, SOLANA])
            assert (response["data"] or {}).get("portfolio") is None
            (error,) = response["errors"]
            assert error["extensions"]["code"] == "SOURCE_FAILED"
            assert error["extensions"]["sources"] == [source]


async def test_a_part_of_an_answer_never_replaces_a_whole_one() -> None:
    """Pages of two rows, of which the second fails."""
    pages = {"thegraph_plan": "2/1", "retries": 0}
    async with open_kept(**pages, **aged("stale if error")) as graph:
        thegraph = graph.simulators.thegraph
        thegraph.plan = "2/1"

        def break_second_page() -> None:
            thegraph.inject(Fault(status=500, path=SPL_BALANCES))
            thegraph.inject(Fault("delay", path=SPL_BALANCES, times=1))

        break_second_page()
        (report,) = (await look(graph)).reports(SOLANA_SPL)
        assert (report["status"], report["code"], report["truncated"]) == ("PARTIAL", "UPSTREAM_ERROR", True)
        thegraph.heal()
        assert_whole(await look(graph))  # what lacked something was not kept
        break_second_page()
        thegraph.requests.clear()
        assert_stale(await look(graph), SOLANA_SPL, "UPSTREAM_ERROR", calls=3)  # two pages and SOL
        assert len(asked(graph, SOLANA_SPL)) == 3


async def test_one_stale_part_makes_the_whole_report_stale() -> None:
    async with open_kept(**aged("stale if error")) as graph:
        await look(graph)
        graph.simulators.thegraph.inject(Fault(status=400, path=NATIVE_BALANCES))
        seen = await look(graph)
        assert codes(seen, SOLANA_SPL) == {("STALE", "UPSTREAM_REJECTED_INPUT")}
        assert seen.held == WITHOUT[SOLANA_SPL]


spans = st.integers(min_value=0, max_value=100_000)


@given(st.builds(Lifetime, spans, spans, spans), st.lists(spans, min_size=2))
def test_an_answer_only_ever_grows_older(lifetime: Lifetime, ages: list[int]) -> None:
    stages = list(Age)
    seen = []
    for age in sorted(ages):
        seen.append(Entry(None, datetime.now(UTC) - timedelta(seconds=age), 0).age(lifetime))
        assert (seen[-1] is Age.FRESH) <= (age <= lifetime.fresh)
        assert (seen[-1] is Age.DEAD) >= (age >= lifetime.kept)
    assert [stages.index(stage) for stage in seen] == sorted(stages.index(stage) for stage in seen)
