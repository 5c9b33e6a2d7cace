"""What is asked for and what is answered are two things: no answer is trusted to be only what was asked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.ondo import OndoAsset
from tests.graph import NATIVE_BALANCES, ONEBALANCE_BALANCES, SPL_BALANCES, Graph

EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
SOLANA = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"
CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
WSOL = "So11111111111111111111111111111111111111112"
ACCOUNTS = ("FfwfJM9szoNKz4wNTtokCEfxWnHCSorNJsNGcn2ZLDjm", "GB7y5WiV7DNjRscuuN1JPVNfVFcJAvmn8u9bQKrgSzD5")
AAPL = "0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c"

HOLDINGS = """query ($a: AccountAddress!, $f: HoldingFilter) { wallet(address: $a) { holdings(filter: $f) {
  nodes { token { assetId kind trust } rawAmount amount observations { tokenAccounts { address } } }
  total { valueUsd complete }
  sources { source status code upstreamCalls observationCount retryAfterSeconds }
} } }"""


def row(account: str, mint: str, amount: int, block: int = 5) -> dict[str, Any]:
    return {
        "owner": SOLANA,
        "account": account,
        "mint": mint,
        "program_id": "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "amount": str(amount),
        "decimals": 6,
        "symbol": "T",
        "last_update_block_num": block,
        "last_update_timestamp": 1_760_000_000,
    }


@pytest.mark.parametrize(
    "condition",
    [
        {"assetIds": [f"{CHAIN}/token:{USDC}", f"{CHAIN}/token:{WSOL}"]},
        {"tokenAccounts": list(ACCOUNTS)},
        {},
    ],
)
async def test_rows_that_come_more_than_once_are_counted_once(graph: Graph, condition: dict[str, Any]) -> None:
    rows = [row(ACCOUNTS[0], USDC, 7), row(ACCOUNTS[1], WSOL, 5), row(ACCOUNTS[0], USDC, 6, block=4)]
    graph.simulators.thegraph.inject(Fault(status=200, body=orjson.dumps({"data": rows}), path=SPL_BALANCES))
    holdings = (await graph.ask(HOLDINGS, a=SOLANA, f=condition))["wallet"]["holdings"]["nodes"]
    assert {node["token"]["assetId"].rpartition(":")[2]: node["rawAmount"] for node in holdings} == {
        USDC: "7",
        WSOL: "5",
    }
    assert all(len(node["observations"][0]["tokenAccounts"]) == 1 for node in holdings)


async def test_an_asset_that_the_register_of_ondo_gives_no_place_may_be_held_all_the_same(graph: Graph) -> None:
    dataset = graph.simulators.ondo.dataset
    dataset.add_asset(OndoAsset(symbol="AAPLon", ticker="AAPL", name="Apple", addresses={"ethereum-1": AAPL}))
    dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2.5")
    body = orjson.dumps([{"symbol": "AAPLon", "ticker": "AAPL"}])
    graph.simulators.ondo.inject(Fault(status=200, body=body, path="/v1/assets/all/metadata"))
    query = """query ($a: AccountAddress!, $x: AssetId!) {
      wallet(address: $a) { holding(assetId: $x) { amount } }
    }"""
    holding = (await graph.ask(query, a=EVM, x=f"eip155:1/erc20:{AAPL}"))["wallet"]["holding"]
    assert holding["amount"] == "2.5"


@pytest.mark.parametrize("kinds", [["UNKNOWN"], ["SPL_2022", "UNKNOWN"], ["SPL"], ["NATIVE"], ["SPL", "SPL_2022"]])
async def test_a_kind_is_what_the_chain_says_whoever_else_is_asked(demo: Graph, kinds: list[str]) -> None:
    query = """query ($a: AccountAddress!, $f: HoldingFilter) { wallet(address: $a) {
      holdings(filter: $f) { nodes { token { assetId kind } amount } totalCount sources { status observationCount } }
      %s
    } }"""
    condition = {"kinds": kinds, "includeZero": True}
    alone = (await demo.ask(query % "", a=SOLANA, f=condition))["wallet"]["holdings"]
    neighbour = "all: holdings(filter: {includeZero: true}) { totalCount }"
    beside = (await demo.ask(query % neighbour, a=SOLANA, f=condition))["wallet"]["holdings"]
    assert beside == alone
    assert {node["token"]["kind"] for node in alone["nodes"]} <= set(kinds)


async def test_an_odd_asset_costs_the_others_nothing(demo: Graph) -> None:
    query = """query ($a: AccountAddress!, $x: AssetId!) { wallet(address: $a) {
      total { valueUsd } holding(assetId: $x) { amount } sources { source status code }
    } }"""
    whole = (await demo.ask("query ($a: AccountAddress!) { wallet(address: $a) { total { valueUsd } } }", a=EVM))[
        "wallet"
    ]
    demo.simulators.forget()
    wallet = (await demo.ask(query, a=EVM, x="eip155:1/erc721:0x" + "12" * 20))["wallet"]
    assert (wallet["total"], wallet["holding"]) == (whole["total"], None)
    assert all(r.param("assetId") is None for r in demo.simulators.onebalance.asked(ONEBALANCE_BALANCES))
    # One that looks right, and that the upstream refuses: the others are asked for without it.
    demo.simulators.onebalance.inject(Fault(status=400, body=b"{}", path=ONEBALANCE_BALANCES, times=1))
    wallet = (await demo.ask(query, a=EVM, x="eip155:1/erc20:0x" + "12" * 20))["wallet"]
    assert wallet["total"] == whole["total"]
    partial = {"source": "ONEBALANCE", "status": "PARTIAL", "code": "UPSTREAM_REJECTED_INPUT"}
    assert partial in wallet["sources"]


async def test_a_list_of_native_coins_does_not_suffer_from_token_accounts_that_fail(demo: Graph) -> None:
    demo.simulators.thegraph.inject(Fault(status=500, path=SPL_BALANCES))
    native = {"kinds": ["NATIVE"], "sources": ["SOLANA_SPL"]}
    alone = (await demo.ask(HOLDINGS, a=SOLANA, f=native))["wallet"]["holdings"]
    beside = await demo.ask(
        """query ($a: AccountAddress!, $f: HoldingFilter) { wallet(address: $a) {
          holdings(filter: $f) { total { complete } sources { source status observationCount } }
          total { complete missingSources }
        } }""",
        a=SOLANA,
        f=native,
    )
    (report,) = [r for r in alone["sources"] if r["source"] == "SOLANA_SPL"]
    assert (report["status"], report["observationCount"], report["upstreamCalls"]) == ("OK", 1, 1)
    assert {"source": "SOLANA_SPL", "status": "OK", "observationCount": 1} in beside["wallet"]["holdings"]["sources"]
    assert beside["wallet"]["total"] == {"complete": False, "missingSources": ["SOLANA_SPL"]}


async def test_every_request_that_failed_is_counted(demo: Graph) -> None:
    demo.simulators.thegraph.inject(Fault(status=500, path=SPL_BALANCES))
    demo.simulators.thegraph.inject(Fault(status=500, path=NATIVE_BALANCES))
    reports = (await demo.ask(HOLDINGS, a=SOLANA, f={}))["wallet"]["holdings"]["sources"]
    (report,) = [r for r in reports if r["source"] == "SOLANA_SPL"]
    assert (report["status"], report["upstreamCalls"]) == ("FAILED", 2)


async def test_the_reset_of_a_limit_that_was_not_met_is_no_advice(demo: Graph) -> None:
    headers = {"x-ratelimit-reset": "99999999999"}
    demo.simulators.onebalance.inject(Fault(status=500, headers=headers, path=ONEBALANCE_BALANCES))
    reports = (await demo.ask(HOLDINGS, a=EVM, f={}))["wallet"]["holdings"]["sources"]
    (report,) = [r for r in reports if r["source"] == "ONEBALANCE"]
    assert (report["code"], report["retryAfterSeconds"]) == ("UPSTREAM_ERROR", None)


async def test_a_narrow_list_makes_its_wide_neighbour_no_heavier(demo: Graph) -> None:
    query = """query ($a: AccountAddress!, $x: AssetId!, $t: String!) { wallet(address: $a) {
      total { holdingCount }
      zero: holdings(filter: {assetIds: [$x], includeZero: true}) { totalCount }
      account: holdings(filter: {assetIds: [$x], tokenAccounts: [$t]}) { totalCount }
      one: holding(assetId: $x) { amount }
    } }"""
    await demo.ask(query, a=SOLANA, x=f"{CHAIN}/token:{USDC}", t=ACCOUNTS[0])
    asked = [
        (r.param("mint"), r.param("token_account"), r.param("include_null_balances"))
        for r in demo.simulators.thegraph.asked(SPL_BALANCES)
    ]
    assert set(asked) == {(None, None, None), (USDC, None, "true")}


async def test_reported_aggregates_do_not_depend_on_other_portfolios(demo: Graph) -> None:
    other = "0xc3e2e26a072ed093ff846494fd5e32031c035e5d"
    query = """query ($a: [AccountAddress!]!, $b: [AccountAddress!]!) {
      %s a: portfolio(addresses: $a) { byAssetGroup { group { groupId } reported { rawAmount } } }
    }"""
    variables = {"a": [EVM, SOLANA], "b": [other, SOLANA]}
    alone = (await demo.ask((query % "").replace(", $b: [AccountAddress!]!", ""), a=variables["a"]))["a"]
    beside = (await demo.ask(query % "b: portfolio(addresses: $b) { total { valueUsd } }", **variables))["a"]
    assert beside == alone
    assert any(row["reported"] for row in alone["byAssetGroup"])


async def test_what_a_neighbour_names_in_vain_is_missing_there_alone(demo: Graph) -> None:
    query = """query ($a: AccountAddress!, $x: AssetId!) {
      whole: wallet(address: $a, onSourceFailure: FAIL) { total { valueUsd } sources { status } }
      named: wallet(address: $a) { holdings(filter: {assetIds: [$x]}) { sources { source status code } } }
    }"""
    demo.simulators.onebalance.inject(Fault(status=400, body=b"{}", path=ONEBALANCE_BALANCES, times=1))
    data = await demo.ask(query, a=EVM, x="eip155:1/erc20:0x" + "12" * 20)
    assert data["whole"]["total"]["valueUsd"] is not None
    refused = {"source": "ONEBALANCE", "status": "FAILED", "code": "UPSTREAM_REJECTED_INPUT"}
    assert refused in data["named"]["holdings"]["sources"]
