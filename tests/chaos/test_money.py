"""Sums over accounts, and what one address may cost another: nothing, whatever was kept of which question."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from aiohttp import web

from loaders.upstream.simulator.base import Fault, Handler
from loaders.upstream.simulator.onebalance import OneBalanceSimulator
from tests.chaos.helpers import aged, asked, codes, every_source, look, open_kept, solana_wallet
from tests.failures.household import (
    AAPL,
    AAPL_ON_SOLANA,
    AAPL_TOKEN,
    CHAIN,
    ETH,
    ETHEREUM_BALANCES,
    EVM,
    HEALTHY,
    ONDO_GM,
    ONEBALANCE,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    USDC,
    USDC_MINT,
    USDC_ON_SOLANA,
    household,
)
from tests.graph import KEPT, ONEBALANCE_BALANCES, SPL_BALANCES, Graph, Simulators, open_graph

ALONE = (ONDO_GM, SOLANA_SPL)
"""The sources that have no key where OneBalance is asked alone."""

UNLISTED = "eip155:1/erc20:0x00000000000000000000000000000000000000aa"
UNLISTED_ON_SOLANA = f"{CHAIN}/token:So11111111111111111111111111111111111111112"

# Sums over accounts

PAIR = (EVM, SOLANA)
NAMED: Sequence[Any] = [
    None,
    {"assetIds": [UNLISTED]},
    {"assetIds": [UNLISTED_ON_SOLANA]},
    {"assetIds": [UNLISTED, UNLISTED_ON_SOLANA]},
    {"assetIds": [USDC]},
]
SUMS = """query ($a: [AccountAddress!]!, $f: HoldingFilter, $named: Boolean!) { portfolio(addresses: $a) {
  byAssetGroup { group { groupId } reported { rawAmount } }
  holdings(filter: $f) @include(if: $named) { nodes { amount } }
  sources { source status }
} }"""
HOLDINGS = """query ($a: [AccountAddress!]!, $f: HoldingFilter) { portfolio(addresses: $a) {
  holdings(filter: $f) { nodes { amount } }
} }"""


def usdc(portfolio: Any) -> int | None:
    """The sum of USDC that OneBalance says is held."""
    (told,) = [one["reported"] for one in portfolio["byAssetGroup"] if one["group"]["groupId"] == "ob:usdc"]
    return told and int(told["rawAmount"])


async def reported(graph: Graph, addresses: Sequence[str], named: Any) -> int | None:
    """The same of these addresses, in an operation that names assets."""
    portfolio = (await graph.ask(SUMS, a=[*addresses], f=named, named=named is not None))["portfolio"]
    assert {one["status"] for one in portfolio["sources"] if one["source"] == ONEBALANCE} == {"OK"}
    return usdc(portfolio)


class Purse:
    """USDC of the pair. Each deposit is twice the last, so no sum of balances of unlike times looks like a true one.

    ``known`` are the sums that were true at some time, by who is asked about.
    """

    def __init__(self, simulators: Simulators) -> None:
        self._dataset = simulators.onebalance.dataset
        self._deposits = (1 << n for n in count())
        self._balances = {EVM: 0, SOLANA: 0}
        self.known: dict[tuple[str, ...], list[int]] = {PAIR: [], PAIR[::-1]: [], (EVM,): [], (SOLANA,): []}
        for address in PAIR:
            self.deposit(address)

    def deposit(self, address: str) -> None:
        self._balances[address] += next(self._deposits)
        balance = self._balances[address]
        asset = USDC if address == EVM else USDC_ON_SOLANA
        self._dataset.add_balance(account=address, asset_type=asset, balance=balance, fiat_value=str(balance))
        for who, sums in self.known.items():
            sums.append(sum(self._balances[one] for one in who))


async def test_a_sum_over_a_pair_is_never_of_two_times_nor_of_two_questions() -> None:
    async with open_kept(without=ALONE, **aged("fresh")) as graph:
        purse = Purse(graph.simulators)
        for named in NAMED:
            for _ in range(2):
                assert await reported(graph, PAIR, named) in purse.known[PAIR]
                purse.deposit(EVM)


@pytest.mark.parametrize("age", ["fresh", "stale while revalidate", "dead"])
@pytest.mark.parametrize("seed", range(3))
async def test_every_sum_was_true_at_one_time(seed: int, age: str) -> None:
    chance = random.Random(seed)
    async with open_kept(without=ALONE, **aged(age)) as graph:
        purse = Purse(graph.simulators)
        for _ in range(40):
            who, named = chance.choice([PAIR, PAIR, *purse.known]), chance.choice(NAMED)
            if chance.random() < 0.3:
                purse.deposit(chance.choice(PAIR))
            elif chance.random() < 0.3:
                await graph.ask(HOLDINGS, a=[*who], f=named)
            else:
                told = await reported(graph, who, named)
                assert told in purse.known[who]
                assert told == purse.known[who][-1] or age != "dead"


async def test_a_pair_and_each_of_them_in_one_operation_have_sums_of_their_own() -> None:
    query = """query ($a: AccountAddress!, $b: AccountAddress!) {
      pair: portfolio(addresses: [$a, $b]) { ...sums } evm: portfolio(addresses: [$a]) { ...sums }
      solana: portfolio(addresses: [$b]) { ...sums }
    }
    fragment sums on Portfolio { byAssetGroup { group { groupId } reported { rawAmount } } }"""
    async with open_kept(without=ALONE, **aged("fresh")) as graph:
        purse = Purse(graph.simulators)
        for _ in range(2):
            data = await graph.ask(query, a=EVM, b=SOLANA)
            told = [usdc(data[name]) for name in ("pair", "evm", "solana")]
            assert told == [purse.known[who][-1] for who in (PAIR, (EVM,), (SOLANA,))]
            await reported(graph, PAIR, NAMED[3])


# A neighbour's refused asset


class Choosy(OneBalanceSimulator):
    """OneBalance that answers 400 to whoever names these assets."""

    refused: tuple[str, ...] = ()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await super()._middleware(request, handler)
        named = request.query.get("assetId", "")
        return web.Response(status=400) if any(asset in named for asset in self.refused) else response


@asynccontextmanager
async def open_choosy(*refused: str, **settings: Any) -> AsyncIterator[Graph]:
    """OneBalance alone, with a few units of assets off its list that the pair holds."""
    simulators = household()
    simulators.onebalance = choosy = Choosy(simulators.onebalance.dataset)
    choosy.refused = refused
    choosy.dataset.add_balance(account=EVM, asset_type=UNLISTED, balance=5)
    async with open_graph(simulators, **{"base": KEPT, "without": ALONE, **settings}) as graph:
        yield graph


EACH = """query ($a: AccountAddress!, $f: HoldingFilter, $b: AccountAddress!, $g: HoldingFilter) {
  evm: wallet(address: $a) { holdings(filter: $f) { ...shown } }
  solana: wallet(address: $b) { holdings(filter: $g) { ...shown } }
}
fragment shown on HoldingConnection {
  nodes { token { assetId } rawAmount } sources { source status code cacheAgeSeconds upstreamCalls }
}"""


async def look_apart(graph: Graph, evm: Any, solana: Any) -> list[tuple[set[str], str, Any, int]]:
    """Of each of the pair, each with a filter of its own: assets, and how OneBalance did at what cost."""
    data = await graph.ask(EACH, a=EVM, f=evm, b=SOLANA, g=solana)
    told = []
    for name in ("evm", "solana"):
        shown = data[name]["holdings"]
        (report,) = [one for one in shown["sources"] if one["source"] == ONEBALANCE]
        assets = {node["token"]["assetId"] for node in shown["nodes"]}
        told.append((assets, report["status"], report["code"], report["upstreamCalls"]))
    return told


REFUSED = "UPSTREAM_REJECTED_INPUT"


async def test_an_asset_of_a_neighbour_that_is_refused_makes_nobody_else_stale() -> None:
    async with open_choosy(UNLISTED_ON_SOLANA, **aged("stale if error")) as graph:
        assert (await look(graph, EVM)).held[ETH].amount == "1.5"
        dataset = graph.simulators.onebalance.dataset
        dataset.add_balance(account=EVM, asset_type=ETH, balance=9 * 10**18, fiat_value="27000")
        data = await graph.ask(EACH, a=EVM, f=None, b=SOLANA, g={"assetIds": [UNLISTED_ON_SOLANA]})
        shown = data["evm"]["holdings"]
        assert {node["token"]["assetId"]: node["rawAmount"] for node in shown["nodes"]}[ETH] == "9" + "0" * 18
        (report,) = [one for one in shown["sources"] if one["source"] == ONEBALANCE]
        assert (report["status"], report["code"], report["cacheAgeSeconds"]) == ("OK", None, None)
        assert report["upstreamCalls"] == 2


async def test_what_was_told_beside_a_refused_asset_of_a_neighbour_is_kept() -> None:
    async with open_choosy(UNLISTED_ON_SOLANA, **aged("fresh")) as graph:
        evm, solana = await look_apart(graph, None, {"assetIds": [UNLISTED_ON_SOLANA, USDC_ON_SOLANA]})
        assert evm == ({ETH, USDC}, "OK", None, 2)
        assert solana == ({USDC_ON_SOLANA}, "PARTIAL", REFUSED, 2)
        assert {*(await look(graph, EVM)).held} == {ETH, USDC}
        assert len(asked(graph, ONEBALANCE)) == 2
        # What lacks something is not.
        await look_apart(graph, None, {"assetIds": [UNLISTED_ON_SOLANA, USDC_ON_SOLANA]})
        assert len(asked(graph, ONEBALANCE)) == 4


async def test_of_two_who_name_nothing_but_unlisted_assets_one_is_refused_alone() -> None:
    async with open_choosy(UNLISTED_ON_SOLANA, **aged("fresh")) as graph:
        named = {"assetIds": [UNLISTED]}, {"assetIds": [UNLISTED_ON_SOLANA]}
        evm, solana = await look_apart(graph, *named)
        assert evm == ({UNLISTED}, "OK", None, 2)
        assert solana == (set(), "FAILED", REFUSED, 2)
        assert len(asked(graph, ONEBALANCE)) == 3
        assert (await look_apart(graph, *named))[0] == ({UNLISTED}, "OK", None, 0)


@pytest.mark.parametrize(
    ("evm", "solana"),
    [
        ([UNLISTED], [UNLISTED_ON_SOLANA, USDC_ON_SOLANA]),
        ([UNLISTED, ETH], [UNLISTED_ON_SOLANA]),
        ([UNLISTED, ETH], [UNLISTED_ON_SOLANA, USDC_ON_SOLANA]),
    ],
)
async def test_who_names_listed_assets_too_loses_nothing_by_a_refused_asset_of_a_neighbour(
    evm: list[str], solana: list[str]
) -> None:
    async with open_choosy(UNLISTED_ON_SOLANA, **aged("fresh")) as graph:
        told = await look_apart(graph, {"assetIds": evm}, {"assetIds": solana})
        assert told[0][:3] == ({*evm}, "OK", None)
        assert told[1][0] == {*solana} - {UNLISTED_ON_SOLANA}
        assert told[1][2] == REFUSED


# Narrow questions, and wide answers

SPOILT: Mapping[str, tuple[str, str, str, Any]] = {
    ONDO_GM: (
        ETHEREUM_BALANCES,
        EVM,
        AAPL,
        {
            "tokens": [
                {
                    "tokenAddress": AAPL_TOKEN,
                    "tokenSymbol": "AAPLon",
                    "balances": [{"holderAddress": {"account": EVM}, "balance": "?"}],
                }
            ]
        },
    ),
    ONEBALANCE: (
        ONEBALANCE_BALANCES,
        EVM,
        ETH,
        {
            "accounts": {"evm": EVM},
            "balanceByAggregatedAsset": [
                {
                    "aggregatedAssetId": "ob:eth",
                    "balance": "0",
                    "individualAssetBalances": [{"assetType": ETH, "balance": "?", "fiatValue": 0}],
                    "fiatValue": 0,
                }
            ],
            "balanceBySpecificAsset": [],
            "totalBalance": {"fiatValue": 0},
        },
    ),
    SOLANA_SPL: (SPL_BALANCES, SOLANA, AAPL_ON_SOLANA, {"data": [{"owner": SOLANA, "amount": "?"}]}),
}
"""By source: where it is asked about whom, an asset that he holds, and an answer in which it cannot be read."""

NARROW = """query ($a: AccountAddress!, $f: HoldingFilter) { wallet(address: $a) {
  holdings(filter: $f) { nodes { token { assetId } amount } sources { source status code upstreamCalls } }
} }"""
UNASKED = {"NOT_APPLICABLE", "NOT_CONFIGURED", "NOT_REQUESTED"}


async def look_narrowly(graph: Graph, address: str, asset: str) -> tuple[str | None, str, int]:
    """How much of one asset an address holds, and how the one source did that has a key, at what cost."""
    shown = (await graph.ask(NARROW, a=address, f={"assetIds": [asset]}))["wallet"]["holdings"]
    amount = next((node["amount"] for node in shown["nodes"] if node["token"]["assetId"] == asset), None)
    reports = [one for one in shown["sources"] if one["status"] not in UNASKED]
    (status,) = {one["status"] for one in reports}
    return amount, status, sum(one["upstreamCalls"] for one in reports)


@every_source
async def test_a_clean_wide_answer_is_one_to_a_narrow_question_and_one_with_a_gap_is_not(source: str) -> None:
    path, address, asset, spoilt = SPOILT[source]
    async with open_kept(without=tuple({*SOURCES} - {source}), **aged("fresh")) as graph:
        simulator = graph.simulators.by_source()[source]
        simulator.inject(Fault(status=200, body=json.dumps(spoilt).encode(), path=path, times=1))
        seen = await look(graph, address)
        assert ("PARTIAL", "BAD_RESPONSE") in codes(seen, source)
        assert asset not in seen.held
        assert await look_narrowly(graph, address, asset) == (HEALTHY[asset].amount, "OK", 1)
        await graph.restart()
        await look(graph, address)
        assert await look_narrowly(graph, address, asset) == (HEALTHY[asset].amount, "OK", 0)


@pytest.mark.parametrize("more", [90, 110])
async def test_an_answer_cut_off_after_a_hundred_pages_is_none_to_a_narrow_question(more: int) -> None:
    simulators = household()
    simulators.thegraph.plan = "1/1"
    for n in range(1, more + 1):
        simulators.thegraph.dataset.add_token_account(
            owner=SOLANA, account=solana_wallet(n), mint=USDC_MINT, amount=1, time=datetime(2025, 11, 1, tzinfo=UTC)
        )
    only: dict[str, Any] = {"base": KEPT, "without": (ONDO_GM, ONEBALANCE), "thegraph_plan": "1/1", **aged("fresh")}
    async with open_graph(simulators, **only) as graph:
        seen = await look(graph, SOLANA)
        (report,) = seen.reports(SOLANA_SPL)
        assert report["truncated"] is (more > 100)
        assert (AAPL_ON_SOLANA in seen.held) is (more < 100)  # unchanged for longest, it is on the last page
        amount, status, calls = await look_narrowly(graph, SOLANA, AAPL_ON_SOLANA)
        assert (amount, status) == ("1.25", "OK")
        assert (calls > 0) is (more > 100)
