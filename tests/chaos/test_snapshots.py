"""Many addresses on one chain of Ondo's cost one request, and nobody sees any other difference."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from loaders.upstream.simulator.base import Fault, SeenRequest
from tests.chaos.helpers import aged, asked, break_balances, codes, look, look_each, open_kept, until, wallet
from tests.failures.household import (
    BSC_BALANCES,
    ETHEREUM_BALANCES,
    EVM,
    ONDO_GM,
    ONEBALANCE,
    SOLANA,
    SOLANA_SPL,
    TSLA,
    TSLA_TOKEN,
    assert_whole,
)
from tests.graph import KEPT, PLAIN, Graph

ENOUGH = 5
CHAINS = 2
"""Chains that an EVM address is looked for on."""


@asynccontextmanager
async def open_ondo(**settings: Any) -> AsyncIterator[Graph]:
    """Ondo alone, with wallets that hold as many TSLAon as their number says."""
    ondo = {"without": (ONEBALANCE, SOLANA_SPL), "ondo_snapshot_threshold": ENOUGH}
    async with open_kept(**{**ondo, **settings}) as graph:
        for n in range(1, 10):
            hold(graph, n, str(n))
        yield graph


def hold(graph: Graph, number: int, amount: str) -> None:
    dataset = graph.simulators.ondo.dataset
    dataset.add_balance(chain="ethereum-1", symbol="TSLAon", account=wallet(number), balance=amount)


async def amount_of(graph: Graph, number: int) -> str:
    return (await look(graph, wallet(number))).held[TSLA].amount


def of_chains(graph: Graph) -> list[SeenRequest]:
    """The requests for whole chains."""
    return [request for request in asked(graph, ONDO_GM) if request.param("userAddress") is None]


def counts(graph: Graph) -> tuple[int, int]:
    """How many requests there were for one address, and how many for whole chains."""
    whole = len(of_chains(graph))
    return len(asked(graph, ONDO_GM)) - whole, whole


async def test_few_addresses_are_asked_for_one_by_one() -> None:
    async with open_ondo() as graph:
        for seen in await look_each(graph, *map(wallet, range(1, ENOUGH))):
            assert codes(seen, ONDO_GM) == {("OK", None)}
        assert counts(graph) == (CHAINS * (ENOUGH - 1), 0)


@pytest.mark.parametrize("settings", [PLAIN, KEPT], ids=["plain", "kept"])
async def test_many_addresses_at_once_cost_one_request_a_chain(settings: Any) -> None:
    async with open_ondo(base=settings) as graph:
        looks = await look_each(graph, *map(wallet, range(1, ENOUGH + 1)))
        assert [seen.held[TSLA].amount for seen in looks] == ["1", "2", "3", "4", "5"]
        assert counts(graph) == (0, CHAINS)
        assert {request.path for request in of_chains(graph)} == {ETHEREUM_BALANCES, BSC_BALANCES}


async def test_many_addresses_one_after_another_cost_one_request_a_chain_too() -> None:
    async with open_ondo() as graph:
        for n in range(1, ENOUGH):
            assert await amount_of(graph, n) == str(n)
        assert counts(graph) == (CHAINS * (ENOUGH - 1), 0)
        for n in range(ENOUGH, 10):
            assert await amount_of(graph, n) == str(n)
        assert counts(graph) == (CHAINS * (ENOUGH - 1), CHAINS)


async def test_operations_at_the_same_time_share_a_snapshot() -> None:
    async with open_ondo() as graph:
        graph.simulators.ondo.inject(Fault("delay", seconds=0.3))
        numbers = range(1, 10)
        assert await asyncio.gather(*[amount_of(graph, n) for n in numbers]) == [str(n) for n in numbers]
        one_by_one, whole = counts(graph)
        assert whole == CHAINS
        assert one_by_one <= CHAINS * (ENOUGH - 1)


async def test_one_address_asked_for_often_is_one_address() -> None:
    async with open_ondo(**aged("dead")) as graph:
        for _ in range(2 * ENOUGH):
            await look(graph, wallet(1))
        assert counts(graph) == (CHAINS * 2 * ENOUGH, 0)


async def test_without_a_threshold_there_is_never_a_snapshot() -> None:
    async with open_ondo(ondo_snapshot_threshold=0) as graph:
        await look_each(graph, *map(wallet, range(20)))
        assert counts(graph) == (CHAINS * 20, 0)


async def test_the_household_is_the_same_by_snapshots() -> None:
    async with open_kept(ondo_snapshot_threshold=1) as graph:
        assert_whole(await look(graph))
        assert counts(graph) == (0, 3)
        assert_whole(await look(graph))
        assert counts(graph) == (0, 3)


def crowd(graph: Graph, seed: int) -> list[str]:
    """Addresses of which many hold something, some with balances of zero, and some nothing."""
    chance, dataset = random.Random(seed), graph.simulators.ondo.dataset
    addresses = [f"0x{chance.getrandbits(160):040x}" for _ in range(20)]
    places = [("ethereum-1", "AAPLon"), ("ethereum-1", "TSLAon"), ("bsc-56", "NVDAon")]
    for address in addresses:
        for chain, symbol in chance.sample(places, chance.randrange(4)):
            amount = f"{chance.randrange(10 ** chance.randrange(1, 12))}.{chance.randrange(10**18):018d}"
            dataset.add_balance(chain=chain, symbol=symbol, account=address, balance=chance.choice([amount, "0"]))
    return [*addresses, EVM, SOLANA]


@pytest.mark.parametrize("style", ["no-tokens", "empty-balances", "zero-rows"])
async def test_a_snapshot_tells_of_every_address_what_asking_for_it_alone_does(style: Any) -> None:
    told: list[list[Mapping[str, Any]]] = []
    for threshold in (0, 1):
        async with open_ondo(ondo_snapshot_threshold=threshold, base=PLAIN) as graph:
            graph.simulators.ondo.empty_style = style
            looks = await look_each(graph, *crowd(graph, seed=7))
            told.append([{**seen.view["total"], **seen.nodes} for seen in looks])
            assert (counts(graph)[1] > 0) is bool(threshold)
    assert told[0] == told[1]
    assert sum(len(one) > 3 for one in told[0]) > 5


async def test_an_answer_from_a_snapshot_says_how_old_it_is() -> None:
    async with open_ondo() as graph:
        looks = await look_each(graph, *map(wallet, range(1, ENOUGH + 1)))
        fetched = set()
        for report in (report for seen in looks for report in seen.reports(ONDO_GM)):
            assert report["cacheAgeSeconds"] is None
            fetched.add(report["fetchedAt"])
        assert len(fetched) == CHAINS
        oldest = min(fetched, key=datetime.fromisoformat)
        await until(lambda: datetime.now().timestamp() - datetime.fromisoformat(oldest).timestamp() > 1.1)
        seen = await look(graph, wallet(9))
        assert seen.view["holdings"]["snapshotAt"] == oldest
        for report in seen.reports(ONDO_GM):
            assert (report["status"], report["upstreamCalls"]) == ("OK", 0)
            assert 1 <= report["cacheAgeSeconds"] <= 10
            assert report["fetchedAt"] in fetched


async def test_a_snapshot_that_cannot_be_read_is_replaced_by_one_request_each() -> None:
    for garbage in (b"<html>", b"", b"null", b'{"tokens": {}}', b"[" * 100_000):
        async with open_ondo() as graph:
            for path in (ETHEREUM_BALANCES, BSC_BALANCES):
                fault = Fault(status=200, body=garbage, path=path, times=1)
                graph.simulators.ondo.inject(fault)
            looks = await look_each(graph, *map(wallet, range(1, ENOUGH + 1)))
            assert [seen.held[TSLA].amount for seen in looks] == ["1", "2", "3", "4", "5"]
            assert {code for seen in looks for code in codes(seen, ONDO_GM)} == {("OK", None)}
            assert counts(graph) == (CHAINS * ENOUGH, CHAINS)
            # And the next ones are not tried in vain.
            assert await amount_of(graph, 9) == "9"
            assert counts(graph) == (CHAINS * (ENOUGH + 1), CHAINS)


def spoil_snapshot(graph: Graph, *rows: Any) -> None:
    """Lets these rows stand between those of TSLAon in the next answer for all of Ethereum."""
    known = [{"holderAddress": {"account": wallet(n)}, "balance": str(n)} for n in range(1, 10)]
    token = {"tokenAddress": TSLA_TOKEN, "tokenSymbol": "TSLAon", "balances": [*known[:5], *rows, *known[5:]]}
    body = json.dumps({"tokens": [token]}).encode()
    graph.simulators.ondo.inject(Fault(status=200, body=body, path=ETHEREUM_BALANCES, times=1))


async def test_a_balance_that_cannot_be_read_is_missing_to_its_holder_alone() -> None:
    async with open_ondo() as graph:
        spoil_snapshot(graph, {"holderAddress": {"account": wallet(77)}, "balance": "?"})
        looks = await look_each(graph, *map(wallet, range(1, ENOUGH + 1)))
        assert [seen.held[TSLA].amount for seen in looks] == ["1", "2", "3", "4", "5"]
        assert {code for seen in looks for code in codes(seen, ONDO_GM)} == {("OK", None)}
        holder = await look(graph, wallet(77))
        assert holder.by_chain(ONDO_GM)["eip155:1"]["status"] == "PARTIAL"
        assert holder.by_chain(ONDO_GM)["eip155:1"]["code"] == "BAD_RESPONSE"
        assert holder.by_chain(ONDO_GM)["eip155:56"]["status"] == "OK"
        assert counts(graph) == (0, CHAINS)


@pytest.mark.parametrize(
    "row",
    [{"holderAddress": {"account": "0xnotanaddress"}, "balance": "1"}, {"holderAddress": {}, "balance": "1"}, None],
    ids=["no address", "nobody", "no row"],
)
async def test_a_snapshot_with_a_row_of_nobody_knows_whom_is_not_used(row: Any) -> None:
    async with open_ondo() as graph:
        spoil_snapshot(graph, row)
        looks = await look_each(graph, *map(wallet, range(1, ENOUGH + 1)))
        assert [seen.held[TSLA].amount for seen in looks] == ["1", "2", "3", "4", "5"]
        assert {code for seen in looks for code in codes(seen, ONDO_GM)} == {("OK", None)}
        assert counts(graph) == (ENOUGH, CHAINS)


async def test_where_a_snapshot_fails_each_is_asked_for_alone() -> None:
    async with open_ondo(retries=0) as graph:
        for path in (ETHEREUM_BALANCES, BSC_BALANCES):
            graph.simulators.ondo.inject(Fault(status=500, path=path, times=1))
        looks = await look_each(graph, *map(wallet, range(1, ENOUGH + 1)))
        assert {code for seen in looks for code in codes(seen, ONDO_GM)} == {("OK", None)}
        assert counts(graph) == (ENOUGH * CHAINS, CHAINS)


async def test_where_a_snapshot_and_each_fail_the_last_snapshot_stands_in() -> None:
    lifetime = {"cache_fresh_seconds": 0.5, "cache_stale_while_revalidate_seconds": 0.0}
    async with open_ondo(retries=0, breaker_failure_rate=0.0, **lifetime) as graph:
        (seen, *_) = await look_each(graph, *map(wallet, range(1, ENOUGH + 1)))
        fetched = {report["fetchedAt"] for report in seen.reports(ONDO_GM)}
        newest = max(datetime.fromisoformat(one).timestamp() for one in fetched)
        await until(lambda: datetime.now().timestamp() - newest > 0.6)
        graph.simulators.forget()
        hold(graph, 1, "100")
        break_balances(graph, ONDO_GM, Fault(status=500))
        for number, whole in ((1, CHAINS), (2, 0)):  # which are not tried again so soon
            seen = await look(graph, wallet(number))
            assert seen.held[TSLA].amount == str(number)
            assert counts(graph) == (CHAINS, whole)
            for report in seen.reports(ONDO_GM):
                assert (report["status"], report["code"]) == ("STALE", "UPSTREAM_ERROR")
                assert report["fetchedAt"] in fetched
                assert report["upstreamCalls"] == len(asked(graph, ONDO_GM)) / CHAINS
            graph.simulators.forget()


async def test_a_newer_snapshot_goes_before_an_older_answer() -> None:
    async with open_ondo() as graph:
        assert await amount_of(graph, 1) == "1"
        hold(graph, 1, "100")
        assert await amount_of(graph, 1) == "1"  # fresh still
        await look_each(graph, *map(wallet, range(2, ENOUGH + 2)))
        assert await amount_of(graph, 1) == "100"
        assert counts(graph) == (CHAINS, CHAINS)


async def test_a_newer_answer_goes_before_an_older_snapshot() -> None:
    async with open_ondo() as graph:
        await look(graph, wallet(20))  # the registers are known
        graph.simulators.ondo.inject(Fault("delay", seconds=1.0, path=ETHEREUM_BALANCES, times=1))
        under_way = asyncio.create_task(amount_of(graph, 1))
        await until(lambda: len(graph.simulators.ondo.asked(ETHEREUM_BALANCES)) == 2)
        await look_each(graph, *map(wallet, range(2, ENOUGH + 2)))
        assert counts(graph)[1] == CHAINS
        hold(graph, 1, "100")
        hold(graph, 2, "200")
        assert await under_way == "100"
        assert await amount_of(graph, 1) == "100"
        assert await amount_of(graph, 2) == "2"  # the snapshot's word, which is fresh still
        assert counts(graph) == (2 * CHAINS, CHAINS)
