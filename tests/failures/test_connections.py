"""An upstream that is away, or too slow, costs at most its deadline, and only its own word."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loaders.upstream.simulator.base import Fault
from tests.failures.household import (
    AAPL_ON_SOLANA,
    BALANCES,
    BSC_BALANCES,
    HEALTHY,
    NVDA,
    ONDO_GM,
    ONEBALANCE,
    PARTS,
    SOLANA_SPL,
    SOURCES,
    WITHOUT,
    Held,
    Seen,
    assert_failed,
    assert_incomplete,
    assert_whole,
    healthy_but,
    household,
    look,
    meet,
    open_household,
)
from tests.graph import ONDO_BALANCES, SPL_BALANCES, Graph, open_graph

DEADLINE = 1.0
MARGIN = 4.0  # for a machine that has other things to do; whoever waits for a slow one waits longer

BASE_URLS = {ONDO_GM: "ondo_base_url", ONEBALANCE: "onebalance_base_url", SOLANA_SPL: "thegraph_base_url"}


def at(source: str, url: str) -> dict[str, Any]:
    """The setting by which a source is elsewhere."""
    return {BASE_URLS[source]: url}


every_source = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture
async def hasty() -> AsyncIterator[Graph]:
    """The graph over the household, with a short deadline."""
    async with open_household(timeout_seconds=DEADLINE) as graph:
        yield graph


async def timed_look(graph: Graph) -> tuple[Seen, float]:
    """What is told, and after how many seconds."""
    started = asyncio.get_running_loop().time()
    seen = await look(graph)
    return seen, asyncio.get_running_loop().time() - started


SLOW: Mapping[str, Fault] = {
    "hangs": Fault("hang"),
    "drips": Fault("drip", status=200, body=b'{"tokens": [], "data": []}', seconds=0.2),
    "is late": Fault("delay", seconds=20 * DEADLINE),
}


@pytest.mark.parametrize("how", SLOW)
async def test_who_is_slow_times_out_and_the_others_answer_within_the_deadline(how: str) -> None:
    async def try_out(source: str) -> None:
        async with open_household(timeout_seconds=DEADLINE) as graph:
            simulator = graph.simulators.by_source()[source]
            simulator.inject(SLOW[how])
            seen, seconds = await timed_look(graph)
            assert_failed(seen, source, "TIMEOUT")
            assert seconds < DEADLINE + MARGIN
            simulator.heal()
            assert_whole(await look(graph))

    await asyncio.gather(*[try_out(source) for source in SOURCES])


async def test_who_is_slow_but_in_time_is_waited_for(hasty: Graph) -> None:
    for simulator in hasty.simulators.all:
        simulator.inject(Fault("delay", seconds=0.05))
    assert_whole(await look(hasty))


async def test_the_deadline_is_for_a_source_and_not_for_each_of_its_requests(hasty: Graph) -> None:
    hasty.simulators.onebalance.inject(Fault("delay", seconds=0.6 * DEADLINE))
    seen, seconds = await timed_look(hasty)
    assert_failed(seen, ONEBALANCE, "TIMEOUT")
    assert seconds < DEADLINE + MARGIN


async def test_pages_and_chains_that_came_in_time_are_kept() -> None:
    simulators = household()
    simulators.thegraph.plan = "2/1"
    async with open_graph(simulators, thegraph_plan="2/1", timeout_seconds=DEADLINE) as graph:
        simulators.ondo.inject(Fault("hang", path=BSC_BALANCES))
        simulators.thegraph.inject(Fault("hang", path=SPL_BALANCES))
        simulators.thegraph.inject(Fault("delay", path=SPL_BALANCES, times=1))  # lets the first page through
        seen, seconds = await timed_look(graph)
        assert seconds < DEADLINE + MARGIN
        (report,) = seen.reports(SOLANA_SPL)
        assert (report["status"], report["code"], report["truncated"]) == ("PARTIAL", "TIMEOUT", True)
        codes = {chain: report["code"] for chain, report in seen.by_chain(ONDO_GM).items()}
        assert codes == dict.fromkeys(PARTS[ONDO_GM]) | {"eip155:56": "TIMEOUT"}
        assert seen.held == healthy_but(NVDA) | {AAPL_ON_SOLANA: Held("1.25", "250", ONDO_GM)}
        assert_incomplete(seen, ONDO_GM, SOLANA_SPL)
        for simulator in simulators.all:
            simulator.heal()
        assert_whole(await look(graph))


async def test_a_connection_that_is_reset_is_unreachable(graph: Graph) -> None:
    for source in SOURCES:
        await meet(graph, source, "UNREACHABLE", Fault("reset"))
        assert_whole(await look(graph))


@every_source
async def test_an_upstream_that_closes_is_unreachable(graph: Graph, source: str) -> None:
    assert_whole(await look(graph))
    await graph.simulators.by_source()[source].close()
    seen = await look(graph)
    assert {(report["status"], report["code"]) for report in seen.reports(source)} == {("FAILED", "UNREACHABLE")}
    assert_incomplete(seen, source)


@every_source
async def test_a_connection_that_is_refused_is_unreachable(source: str) -> None:
    with socket.socket() as nobody:  # bound, but not listening
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with open_household(**at(source, url)) as graph:
            assert_failed(await look(graph), source, "UNREACHABLE")


@every_source
async def test_a_host_without_an_address_is_unreachable(source: str) -> None:
    async with open_household(**at(source, "http://nonexistent.invalid/api")) as graph:
        assert_failed(await look(graph), source, "UNREACHABLE")


@asynccontextmanager
async def serve_bytes(answer: bytes) -> AsyncIterator[str]:
    """The address of a server that says the same to everyone, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@every_source
async def test_what_is_not_http_is_a_bad_response(source: str) -> None:
    answers = [
        b"\x16\x03\x01\x02\x00 is no HTTP\r\n\r\n",
        b"HTTP/1.1 two hundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n{}",
    ]
    for answer in answers:
        async with serve_bytes(answer) as url, open_household(**at(source, url)) as graph:
            assert_failed(await look(graph), source, "BAD_RESPONSE")


async def test_operations_that_share_what_hangs_all_end_at_the_deadline(hasty: Graph) -> None:
    for source, simulator in hasty.simulators.by_source().items():
        for path in BALANCES[source]:
            simulator.inject(Fault("hang", path=path))
    for seen, seconds in await asyncio.gather(*[timed_look(hasty) for _ in range(5)]):
        assert seconds < DEADLINE + MARGIN
        assert seen.held == {}
        assert seen.view["total"] == {"valueUsd": None, "complete": False, "missingSources": [*SOURCES]}
        codes = {report["code"] for source in SOURCES for report in seen.reports(source)}
        assert codes == {"TIMEOUT"}
    for simulator in hasty.simulators.all:
        simulator.heal()
    assert_whole(await look(hasty))


async def test_a_register_that_hangs_takes_nothing_from_the_balances(hasty: Graph) -> None:
    hasty.simulators.ondo.inject(Fault("hang"))
    hasty.simulators.ondo.inject(Fault("delay", path=ONDO_BALANCES))
    seen, seconds = await timed_look(hasty)
    assert seconds < DEADLINE + MARGIN
    assert {asset: held.amount for asset, held in seen.held.items()} == {a: h.amount for a, h in HEALTHY.items()}
    assert {**seen.held, **WITHOUT[ONDO_GM]} == seen.held
