"""A part that fails, or a row that cannot be read, takes nothing else with it and does not go unsaid."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest

from loaders.upstream.simulator.base import Fault
from tests.failures.household import (
    AAPL,
    AAPL_ACCOUNT,
    AAPL_MINT,
    AAPL_ON_SOLANA,
    AAPL_TOKEN,
    BSC_BALANCES,
    CHAIN,
    ETH,
    ETHEREUM_BALANCES,
    EVM,
    HEALTHY,
    NVDA,
    ONDO_GM,
    ONEBALANCE,
    PARTS,
    SOL,
    SOLANA,
    SOLANA_BALANCES,
    SOLANA_SPL,
    SOURCES,
    TSLA,
    TSLA_TOKEN,
    USDC,
    USDC_ACCOUNTS,
    USDC_MINT,
    USDC_ON_SOLANA,
    Held,
    Seen,
    assert_incomplete,
    assert_whole,
    healthy_but,
    household,
    look,
)
from tests.graph import NATIVE_BALANCES, ONEBALANCE_BALANCES, SPL_BALANCES, Graph, open_graph

WITHOUT_THE_MINT = {**HEALTHY, AAPL_ON_SOLANA: Held("1.25", "250", ONDO_GM)}
WITHOUT_NATIVE = {**HEALTHY, SOL: Held("2", "300", ONEBALANCE)}


@pytest.fixture
async def paged() -> AsyncIterator[Graph]:
    """The graph over the household; the second page of token accounts has but Apple's mint."""
    simulators = household()
    simulators.thegraph.plan = "2/1"
    async with open_graph(simulators, thegraph_plan="2/1") as graph:
        yield graph


def assert_partial(seen: Seen, source: str, code: str, *, chain: str | None, truncated: bool = False) -> None:
    """One part of one source has this code, and every other part of every source is as it should be."""
    for other in SOURCES:
        for part, report in seen.by_chain(other).items():
            told = (report["status"], report["code"], report["truncated"])
            if (other, part) == (source, chain):
                assert told == ("PARTIAL", code, truncated)
                assert report["message"]
            else:
                assert told == ("OK", None, False)
    assert_incomplete(seen, source)


@pytest.mark.parametrize(
    ("fault", "code", "retry_after"),
    [
        (Fault(status=500), "UPSTREAM_ERROR", None),
        (Fault(status=429, headers={"Retry-After": "7"}), "RATE_LIMITED", 7),
        (Fault(status=200, body=b"<html>"), "BAD_RESPONSE", None),
        (Fault("reset"), "UNREACHABLE", None),
    ],
)
async def test_pages_before_the_one_that_fails_are_kept(
    paged: Graph, fault: Fault, code: str, retry_after: int | None
) -> None:
    thegraph = paged.simulators.thegraph
    fault.path = SPL_BALANCES
    thegraph.inject(fault)
    thegraph.inject(Fault("delay", path=SPL_BALANCES, times=1))  # lets the first page through
    seen = await look(paged)
    assert seen.held == WITHOUT_THE_MINT
    assert_partial(seen, SOLANA_SPL, code, chain=CHAIN, truncated=True)
    (report,) = seen.reports(SOLANA_SPL)
    assert report["retryAfterSeconds"] == retry_after
    assert report["observationCount"] == 2  # the dollars and SOL
    thegraph.heal()
    await paged.restart()
    assert_whole(await look(paged))


async def test_token_accounts_are_kept_when_native_sol_fails(graph: Graph) -> None:
    thegraph = graph.simulators.thegraph
    thegraph.inject(Fault(status=429, headers={"Retry-After": "7"}, path=NATIVE_BALANCES))
    seen = await look(graph)
    assert seen.held == WITHOUT_NATIVE
    assert_partial(seen, SOLANA_SPL, "RATE_LIMITED", chain=CHAIN)
    assert seen.reports(SOLANA_SPL)[0]["retryAfterSeconds"] == 7
    thegraph.heal()
    await graph.restart()
    assert_whole(await look(graph))


async def test_native_sol_is_kept_when_token_accounts_fail(graph: Graph) -> None:
    thegraph = graph.simulators.thegraph
    thegraph.inject(Fault(status=503, path=SPL_BALANCES))
    seen = await look(graph)
    dollars = Held("10", "10", ONEBALANCE)
    assert seen.held == {**WITHOUT_THE_MINT, USDC_ON_SOLANA: dollars}
    (report,) = seen.reports(SOLANA_SPL)
    assert (report["status"], report["code"]) == ("PARTIAL", "UPSTREAM_ERROR")
    assert_incomplete(seen, SOLANA_SPL)
    thegraph.heal()
    assert_whole(await look(graph))


LESS_ONE_CHAIN: Mapping[str, tuple[str, Mapping[str, Held]]] = {
    ETHEREUM_BALANCES: ("eip155:1", healthy_but(AAPL, TSLA)),
    BSC_BALANCES: ("eip155:56", healthy_but(NVDA)),
    SOLANA_BALANCES: (CHAIN, HEALTHY),
}


@pytest.mark.parametrize("path", LESS_ONE_CHAIN)
async def test_one_chain_of_ondo_fails_alone(graph: Graph, path: str) -> None:
    chain, held = LESS_ONE_CHAIN[path]
    graph.simulators.ondo.inject(Fault(status=502, path=path))
    seen = await look(graph)
    assert seen.held == held
    told = {part: (report["status"], report["code"]) for part, report in seen.by_chain(ONDO_GM).items()}
    assert told == dict.fromkeys(PARTS[ONDO_GM], ("OK", None)) | {chain: ("FAILED", "UPSTREAM_ERROR")}
    assert seen.status(ONEBALANCE) == seen.status(SOLANA_SPL) == "OK"
    assert_incomplete(seen, ONDO_GM)
    graph.simulators.ondo.heal()
    assert_whole(await look(graph))


async def test_a_chain_that_ondo_pauses_is_refused_and_the_others_are_told(graph: Graph) -> None:
    graph.simulators.ondo.paused_chains.add("bsc-56")
    seen = await look(graph)
    assert seen.by_chain(ONDO_GM)["eip155:56"]["code"] == "UPSTREAM_REJECTED_INPUT"
    assert seen.held == healthy_but(NVDA)
    assert_incomplete(seen, ONDO_GM)


async def test_a_chain_is_whole_where_what_failed_is_on_another(graph: Graph) -> None:
    graph.simulators.ondo.inject(Fault(status=500, path=BSC_BALANCES))
    query = """query ($a: AccountAddress!) { wallet(address: $a) {
      byChain { chain { chainId } total { valueUsd complete missingSources } }
    } }"""
    data = await graph.ask(query, a=EVM)
    totals = {row["chain"]["chainId"]: row["total"] for row in data["wallet"]["byChain"]}
    assert totals == {
        "eip155:1": {"valueUsd": "5013.25", "complete": True, "missingSources": []},
        "eip155:8453": {"valueUsd": "250.499999", "complete": True, "missingSources": []},
        "eip155:56": {"valueUsd": None, "complete": False, "missingSources": [ONDO_GM]},
    }


async def test_a_snapshot_of_a_chain_that_fails_is_missing_for_every_wallet(graph: Graph) -> None:
    addresses = [EVM, *[f"0x{number:040x}" for number in range(1, 12)]]
    graph.simulators.ondo.inject(Fault(status=500, path=BSC_BALANCES))
    query = """query ($a: [AccountAddress!]!) { wallets(addresses: $a) {
      total { valueUsd complete missingSources }
    } }"""
    first, *others = (await graph.ask(query, a=addresses))["wallets"]
    assert first["total"] == {"valueUsd": "5263.749999", "complete": False, "missingSources": [ONDO_GM]}
    assert others == [{"total": {"valueUsd": None, "complete": False, "missingSources": [ONDO_GM]}}] * 11


def ondo_row(account: Any, balance: Any) -> dict[str, Any]:
    return {"holderAddress": {"account": account}, "balance": balance}


TSLA_UNREADABLE: Mapping[str, Any] = {
    "dots": "...",
    "no address": {"tokenSymbol": "TSLAon", "balances": [ondo_row(EVM, "0.25")]},
    "no balances": {"tokenAddress": TSLA_TOKEN, "tokenSymbol": "TSLAon"},
    "address": {"tokenAddress": "0xTSLA", "tokenSymbol": "TSLAon", "balances": [ondo_row(EVM, "0.25")]},
    **{
        name: {"tokenAddress": TSLA_TOKEN, "tokenSymbol": "TSLAon", "balances": [row]}
        for name, row in {
            "no holder": {"balance": "0.25"},
            "holder": ondo_row("nobody", "0.25"),
            "no balance": {"holderAddress": {"account": EVM}},
            "words": ondo_row(EVM, "a quarter"),
            "negative": ondo_row(EVM, "-0.25"),
            "boundless": ondo_row(EVM, "9" * 1_000),
        }.items()
    },
}


@pytest.mark.parametrize("how", TSLA_UNREADABLE)
async def test_a_row_of_ondo_that_cannot_be_read_is_dropped_alone(graph: Graph, how: str) -> None:
    apple = {"tokenAddress": AAPL_TOKEN, "tokenSymbol": "AAPLon", "balances": [ondo_row(EVM, "2.5")]}
    body = orjson.dumps({"tokens": [TSLA_UNREADABLE[how], apple]})
    graph.simulators.ondo.inject(Fault(status=200, body=body, path=ETHEREUM_BALANCES))
    seen = await look(graph)
    assert seen.held == healthy_but(TSLA)
    assert_partial(seen, ONDO_GM, "BAD_RESPONSE", chain="eip155:1")
    graph.simulators.ondo.heal()
    assert_whole(await look(graph))


def onebalance_row(asset: Any, balance: Any, value: Any) -> dict[str, Any]:
    return {"assetType": asset, "balance": balance, "fiatValue": value}


USDC_UNREADABLE: Mapping[str, Any] = {
    "dots": "...",
    "null": None,
    "asset": onebalance_row("USDC on Base", "250500000", 250.499999),
    "no balance": {"assetType": USDC, "fiatValue": 250.499999},
    "fraction": onebalance_row(USDC, "250.5", 250.499999),
    "negative": onebalance_row(USDC, "-250500000", 250.499999),
    "words": onebalance_row(USDC, "plenty", 250.499999),
    "value": onebalance_row(USDC, "250500000", "plenty"),
}


@pytest.mark.parametrize("how", USDC_UNREADABLE)
async def test_a_row_of_onebalance_that_cannot_be_read_is_dropped_alone(graph: Graph, how: str) -> None:
    def aggregate(name: str, *rows: Any) -> dict[str, Any]:
        return {"aggregatedAssetId": name, "balance": "1", "fiatValue": 1, "individualAssetBalances": rows}

    body = {
        "accounts": {"evm": EVM, "solana": SOLANA},
        "balanceByAggregatedAsset": [
            aggregate("ob:eth", onebalance_row(ETH, "1500000000000000000", 4500.75)),
            aggregate("ob:usdc", USDC_UNREADABLE[how], onebalance_row(USDC_ON_SOLANA, "10000000", 10)),
            aggregate("ob:sol", onebalance_row(SOL, "2000000000", 300)),
        ],
        "balanceBySpecificAsset": [],
        "totalBalance": {"fiatValue": 3},
    }
    graph.simulators.onebalance.inject(Fault(status=200, body=orjson.dumps(body), path=ONEBALANCE_BALANCES))
    seen = await look(graph)
    assert seen.held == healthy_but(USDC)
    assert_partial(seen, ONEBALANCE, "BAD_RESPONSE", chain=None)
    graph.simulators.onebalance.heal()
    assert_whole(await look(graph))


def account_row(account: str, mint: str, amount: str, decimals: int) -> dict[str, Any]:
    row = {"owner": SOLANA, "account": account, "mint": mint, "amount": amount, "decimals": decimals}
    row |= {"program_id": "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", "name": "A name", "symbol": "A", "uri": None}
    return row | {"last_update_block_num": 372_000_000, "last_update_timestamp": 1_759_881_600}


def spoiled_row(name: str, value: Any) -> dict[str, Any]:
    """The row of Apple's mint with one member changed, or left out for ``...``."""
    row = account_row(AAPL_ACCOUNT, AAPL_MINT, "1250000000", 9) | {name: value}
    return {name: value for name, value in row.items() if value is not ...}


MINT_UNREADABLE: Mapping[str, Any] = {
    "dots": "...",
    **{
        f"{name} {value}": spoiled_row(name, value)
        for name, value in (
            ("mint", ...),
            ("account", ...),
            ("owner", None),
            ("amount", ...),
            ("amount", "1.25"),
            ("amount", -1),
            ("last_update_block_num", "soon"),
        )
    },
}


@pytest.mark.parametrize("how", MINT_UNREADABLE)
async def test_a_token_account_that_cannot_be_read_is_dropped_alone(graph: Graph, how: str) -> None:
    rows = [
        account_row(USDC_ACCOUNTS[0], USDC_MINT, "7000000", 6),
        MINT_UNREADABLE[how],
        account_row(USDC_ACCOUNTS[1], USDC_MINT, "3000001", 6),
    ]
    body = orjson.dumps({"data": rows})
    graph.simulators.thegraph.inject(Fault(status=200, body=body, path=SPL_BALANCES))
    seen = await look(graph)
    assert seen.held == WITHOUT_THE_MINT
    assert_partial(seen, SOLANA_SPL, "BAD_RESPONSE", chain=CHAIN)
    graph.simulators.thegraph.heal()
    assert_whole(await look(graph))


async def test_a_row_that_cannot_be_read_does_not_end_the_pages(paged: Graph) -> None:
    first = orjson.dumps({"data": [account_row(USDC_ACCOUNTS[0], USDC_MINT, "10000001", 6), "..."]})
    paged.simulators.thegraph.inject(Fault(status=200, body=first, path=SPL_BALANCES, times=1))
    seen = await look(paged)
    assert seen.held == HEALTHY
    assert_partial(seen, SOLANA_SPL, "BAD_RESPONSE", chain=CHAIN)


@pytest.mark.parametrize("row", ["...", {"address": SOLANA}, {"address": SOLANA, "amount": "2.0"}])
async def test_native_sol_that_cannot_be_read_is_dropped_alone(graph: Graph, row: Any) -> None:
    body = orjson.dumps({"data": [row]})
    graph.simulators.thegraph.inject(Fault(status=200, body=body, path=NATIVE_BALANCES))
    seen = await look(graph)
    assert seen.held == WITHOUT_NATIVE
    assert_partial(seen, SOLANA_SPL, "BAD_RESPONSE", chain=CHAIN)
    graph.simulators.thegraph.heal()
    assert_whole(await look(graph))
