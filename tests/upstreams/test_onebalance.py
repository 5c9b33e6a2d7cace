"""What OneBalance sends, and what the graph makes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceDataset, OneBalanceEntity
from tests.graph import ONEBALANCE_BALANCES, Graph

EVM = "0xfe52613d747e20f2f62e0a5cc36b0dfae771c442"
EVM_CHECKSUMMED = "0xfe52613d747E20F2f62e0A5cC36B0DFAe771C442"
OTHER_EVM = "0x1db995cb2b3d9679383f0e597704a41e1521f4e1"
SOLANA = "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5"
OTHER_SOLANA = "GXYBNgyYKbSLr938VJCpmGLCUaAHWsncTi7jDoQSdFR9"
TOKEN_ACCOUNT = "5UZfa66rzeDpD9wKs3Sn3iewmavxYvpAtiF2Lqd2n1wW"

SOLANA_CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
USDC_BASE = "eip155:8453/erc20:0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
USDC_ARBITRUM = "eip155:42161/erc20:0xaf88d065e77c8cc2239327c5edb3a432268e5831"
USDC_BSC = "eip155:56/erc20:0x8ac76a51cc950d9822d68b83fe1ad97b32cd580d"
USDC_SEI = "eip155:1329/erc20:0x3894085ef7ff0f0aedf52e2a2704928d1ec074f1"
USDC_SOLANA = f"{SOLANA_CHAIN}/token:{MINT}"
ETH_BASE = "eip155:8453/slip44:60"
SOL = f"{SOLANA_CHAIN}/slip44:501"
STETH = "eip155:1/erc20:0xae7ab96520de3a18e5e111b5eaab095312d7fe84"
POL = "eip155:137/slip44:966"
POL_CONTRACT = "eip155:137/erc20:0x0000000000000000000000000000000000001010"
CELO = "eip155:42220/slip44:52752"
CELO_CONTRACT = "eip155:42220/erc20:0x471EcE3750Da237f93B8E339c536989b8978a438"

ASSETS = "*/assets/list"
NOTHING_HELD = {"valueUsd": "0", "complete": True, "holdingCount": 0, "unpricedCount": 0, "missingSources": []}
UNKNOWN_TOTAL = {
    "valueUsd": None,
    "complete": False,
    "holdingCount": 0,
    "unpricedCount": 0,
    "missingSources": ["ONEBALANCE"],
}


def usdc_entity(asset_type: str, decimals: int = 6) -> OneBalanceEntity:
    return OneBalanceEntity(asset_type, decimals, "USD Coin", "USDC")


USDC_ENTITIES = (
    usdc_entity(USDC_BASE),
    usdc_entity(USDC_ARBITRUM),
    usdc_entity(USDC_BSC, 18),
    usdc_entity(USDC_SOLANA),
)
USDC = OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 6, USDC_ENTITIES)
ETH = OneBalanceAsset("ob:eth", "ETH", "Ether", 18, [OneBalanceEntity(ETH_BASE, 18, "Ether", "ETH")])
SINGLE_SOL = OneBalanceAsset("ob:single", "SOL", "Solana", 9, [OneBalanceEntity(SOL, 9, "Solana", "SOL")])
SINGLE_STETH = OneBalanceAsset(
    "ob:single", "stETH", "Lido", 18, [OneBalanceEntity(STETH, 18, "Lido Staked", "stETH")]
)

QUERY = """
query ($a: [AccountAddress!]!, $f: HoldingFilter) {
  portfolio(addresses: $a) {
    holdings(filter: $f) {
      nodes {
        accountId amount rawAmount valueUsd valueStatus valueSource amountSource agreement
        chain { name }
        token { assetId symbol name decimals kind trust imageUrl group { groupId } }
        observations { source amount rawAmount reportedValueUsd reportedAsset }
      }
      total { valueUsd complete holdingCount unpricedCount missingSources }
      sources { source status code retryAfterSeconds observationCount accounts chain { chainId } }
    }
  }
}
"""

GROUPS = """
query ($a: [AccountAddress!]!) {
  portfolio(addresses: $a) {
    byAssetGroup {
      group { groupId symbol members { assetId } }
      amount total { valueUsd } reported { rawAmount decimals valueUsd }
      holdings { amount token { assetId } }
    }
  }
}
"""


class Listing:
    """Holdings by asset, and how OneBalance did."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        listed = data["portfolio"]["holdings"]
        self.nodes: dict[str, dict[str, Any]] = {node["token"]["assetId"]: node for node in listed["nodes"]}
        assert len(self.nodes) == len(listed["nodes"])
        self.total: dict[str, Any] = listed["total"]
        self.reports = [report for report in listed["sources"] if report["source"] == "ONEBALANCE"]

    def __getitem__(self, asset_id: str) -> dict[str, Any]:
        return self.nodes[asset_id]

    @property
    def amounts(self) -> dict[str, str]:
        return {asset_id: node["amount"] for asset_id, node in self.nodes.items()}

    @property
    def status(self) -> tuple[str, str | None]:
        (report,) = self.reports
        return report["status"], report["code"]


async def list_holdings(graph: Graph, *addresses: str, **condition: Any) -> Listing:
    """The holdings of the addresses, the EVM one if none is named, by default by OneBalance's word alone."""
    condition = {"sources": ["ONEBALANCE"], **condition}
    return Listing(await graph.ask(QUERY, a=addresses or [EVM], f=condition))


async def list_groups(graph: Graph, *addresses: str) -> dict[str, dict[str, Any]]:
    """The asset groups of the addresses by their id."""
    groups = (await graph.ask(GROUPS, a=addresses or [EVM]))["portfolio"]["byAssetGroup"]
    return {group["group"]["groupId"]: group for group in groups}


def register(graph: Graph, *assets: OneBalanceAsset) -> OneBalanceDataset:
    """OneBalance's dataset with these aggregates, USDC if none are named."""
    dataset = graph.simulators.onebalance.dataset
    for asset in assets or (USDC,):
        dataset.add_asset(asset)
    return dataset


def part(asset_type: str, balance: object, fiat_value: object = 0) -> dict[str, Any]:
    """A row of an answer."""
    return {"assetType": asset_type, "balance": balance, "fiatValue": fiat_value}


def aggregate(id: str, *parts: object, balance: object = "0", fiat_value: object = 0) -> dict[str, Any]:
    """An aggregate of an answer."""
    return {"aggregatedAssetId": id, "balance": balance, "individualAssetBalances": parts, "fiatValue": fiat_value}


def body_of(
    *aggregates: object, specific: Sequence[object] = (), accounts: object = None, **members: object
) -> dict[str, Any]:
    """A whole answer, of the EVM account unless other accounts are given."""
    return {
        "accounts": {"evm": EVM} if accounts is None else accounts,
        "balanceByAggregatedAsset": aggregates,
        "balanceBySpecificAsset": specific,
        "totalBalance": {"fiatValue": 0},
        **members,
    }


def answer(graph: Graph, body: object, *, path: str = ONEBALANCE_BALANCES, status: int = 200) -> None:
    """Let OneBalance answer with this body, bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    graph.simulators.onebalance.inject(Fault(status=status, body=content, path=path))


# Units and digits


async def test_usdc_with_18_decimals_on_bnb_chain_is_scaled_by_its_own_decimals(graph: Graph) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=1_500_000, fiat_value="1.5")
    dataset.add_balance(account=EVM, asset_type=USDC_BSC, balance=2_250_000_000_000_000_001, fiat_value="2.25")
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "1.5", USDC_BSC: "2.250000000000000001"}
    assert (listing[USDC_BSC]["rawAmount"], listing[USDC_BSC]["token"]["decimals"]) == ("2250000000000000001", 18)
    group = (await list_groups(graph))["ob:usdc"]
    assert group["amount"] == "3.750000000000000001"
    assert group["reported"] == {"rawAmount": "3750000", "decimals": 6, "valueUsd": "3.75"}


async def test_an_aggregate_of_18_decimals_over_members_of_6_scales_no_member(graph: Graph) -> None:
    entities = [usdc_entity(USDC_BASE), usdc_entity(USDC_ARBITRUM)]
    dataset = register(graph, OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 18, entities))
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=1_500_000, fiat_value="1.5")
    assert (await list_holdings(graph)).amounts == {USDC_BASE: "1.5"}
    group = (await list_groups(graph))["ob:usdc"]
    assert (group["amount"], group["reported"]) == (
        "1.5",
        {"rawAmount": "1500000000000000000", "decimals": 18, "valueUsd": "1.5"},
    )


async def test_an_amount_of_256_bits_keeps_every_digit(graph: Graph) -> None:
    largest = 2**256 - 1
    dataset = register(graph, ETH, USDC)
    dataset.add_balance(account=EVM, asset_type=ETH_BASE, balance=largest, fiat_value="1e60")
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=largest, fiat_value="1")
    listing = await list_holdings(graph)
    assert listing[ETH_BASE]["rawAmount"] == listing[USDC_BASE]["rawAmount"] == str(largest)
    assert listing[ETH_BASE]["amount"] == f"{largest // 10**18}.{largest % 10**18}"
    assert listing[USDC_BASE]["amount"] == f"{largest // 10**6}.{largest % 10**6}"
    assert listing.total["valueUsd"] == "1" + "0" * 59 + "1"


async def test_a_balance_sent_as_a_json_integer_beyond_64_bits_keeps_every_digit(graph: Graph) -> None:
    register(graph, ETH)
    answer(graph, body_of(aggregate("ob:eth", part(ETH_BASE, 26488136306212020002, 1))))
    held = (await list_holdings(graph))[ETH_BASE]
    assert (held["rawAmount"], held["amount"]) == ("26488136306212020002", "26.488136306212020002")


@pytest.mark.parametrize("balance", [b'"1.5"', b'"-1"', b'"1e6"', b"1e6", b"1.0", b'""', b"null", b"true", b'"0x10"'])
async def test_a_balance_that_is_no_integer_is_left_out_and_said_to_be_missing(graph: Graph, balance: bytes) -> None:
    register(graph)
    body = json.dumps(body_of(aggregate("ob:usdc", part(USDC_BASE, "HERE", 9), part(USDC_ARBITRUM, "5", 5))))
    answer(graph, body.encode().replace(b'"HERE"', balance))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_ARBITRUM: "0.000005"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")
    assert listing.total["complete"] is False


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"4.383338999999999", "4.383338999999999"),
        (b"47005.16892", "47005.16892"),
        (b'"12.50"', "12.5"),
        (b"1.05e-4", "0.000105"),
        (b"1E-7", "0.0000001"),
        (b"1.5e+3", "1500"),
        (b"12", "12"),
        (b"0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        (b"123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
    ],
)
async def test_a_value_is_read_from_its_digits_and_never_by_way_of_a_float(
    graph: Graph, sent: bytes, shown: str
) -> None:
    register(graph)
    body = json.dumps(body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", "HERE"))))
    answer(graph, body.encode().replace(b'"HERE"', sent))
    listing = await list_holdings(graph)
    held = listing[USDC_BASE]
    assert (held["valueUsd"], held["valueStatus"], held["valueSource"]) == (shown, "REPORTED", "ONEBALANCE")
    assert held["observations"][0]["reportedValueUsd"] == shown
    assert listing.total["valueUsd"] == shown


async def test_values_are_added_without_the_rounding_noise_of_doubles(graph: Graph) -> None:
    dataset = register(graph)
    for asset_type, value in ((USDC_BASE, "0.1"), (USDC_ARBITRUM, "0.2"), (USDC_BSC, "4.383338999999999")):
        dataset.add_balance(account=EVM, asset_type=asset_type, balance=1, fiat_value=value)
    assert (await list_holdings(graph)).total["valueUsd"] == "4.683338999999999"


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e", b"01", b"+1", b".5"])
async def test_a_value_that_is_not_json_fails_the_answer_and_is_no_empty_wallet(graph: Graph, value: bytes) -> None:
    register(graph)
    body = json.dumps(body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", "HERE"))))
    answer(graph, body.encode().replace(b'"HERE"', value))
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "BAD_RESPONSE")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize("value", [b"1e999999", b"1e-999999", b'"n/a"', b"null", b"true", b"[]", b'""'])
async def test_a_value_that_is_no_number_of_dollars_costs_only_its_own_row(graph: Graph, value: bytes) -> None:
    register(graph)
    body = json.dumps(body_of(aggregate("ob:usdc", part(USDC_BASE, "7", "HERE"), part(USDC_ARBITRUM, "5000000", 5))))
    answer(graph, body.encode().replace(b'"HERE"', value))
    listing = await list_holdings(graph)
    assert listing[USDC_ARBITRUM]["valueUsd"] == "5"
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_an_asset_without_decimals_anywhere_has_a_raw_amount_and_no_guess(graph: Graph) -> None:
    register(graph)
    unlisted = "eip155:8453/erc20:0x" + "12" * 20
    answer(graph, body_of(aggregate("ob:usdc", part(unlisted, "123456789", "2.5"))))
    held = (await list_holdings(graph))[unlisted]
    assert (held["amount"], held["rawAmount"], held["token"]["decimals"]) == (None, "123456789", None)
    assert (held["valueUsd"], held["valueStatus"]) == ("2.5", "REPORTED")


# Accounts


async def test_an_evm_address_is_asked_for_in_one_spelling_with_the_key(graph: Graph) -> None:
    register(graph)
    for spelling in (EVM_CHECKSUMMED, EVM.upper(), f"eip155:42161:{EVM}"):
        await list_holdings(graph, spelling)
    requests = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert {request.query for request in requests} == {
        (("account", f"eip155:1:{EVM}"), ("aggregatedAssetId", "ob:usdc"))
    }
    assert {request.headers["x-api-key"] for request in requests} == {"demo-key"}


async def test_a_solana_address_alone_is_asked_for_by_the_aggregates_that_live_on_solana(graph: Graph) -> None:
    dataset = register(graph, USDC, ETH, SINGLE_SOL)
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=15_000_000, fiat_value="2.51")
    listing = await list_holdings(graph, f"solana:{SOLANA}")
    assert listing.amounts == {SOL: "0.015"}
    assert listing[SOL]["accountId"] == f"{SOLANA_CHAIN}:{SOLANA}"
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert dict(request.query) == {"account": f"solana:{SOLANA}", "aggregatedAssetId": "ob:single,ob:usdc"}


async def test_an_evm_and_solana_pair_is_one_request_whose_rows_go_to_their_own_accounts(graph: Graph) -> None:
    dataset = register(graph, USDC, ETH, SINGLE_SOL)
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=774_598_041, fiat_value="774.563184")
    dataset.add_balance(account=SOLANA, asset_type=USDC_SOLANA, balance=5_000_000, fiat_value="5")
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=15_000_000, fiat_value="2.51")
    listing = await list_holdings(graph, EVM, SOLANA)
    assert {asset_id: node["accountId"] for asset_id, node in listing.nodes.items()} == {
        USDC_BASE: f"eip155:8453:{EVM}",
        USDC_SOLANA: f"{SOLANA_CHAIN}:{SOLANA}",
        SOL: f"{SOLANA_CHAIN}:{SOLANA}",
    }
    assert listing.total["valueUsd"] == "782.073184"
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert request.param("account") == f"eip155:1:{EVM},solana:{SOLANA}"
    group = (await list_groups(graph, EVM, SOLANA))["ob:usdc"]
    assert (group["amount"], group["total"]["valueUsd"]) == ("779.598041", "779.563184")
    assert group["reported"] == {"rawAmount": "779598041", "decimals": 6, "valueUsd": "779.563184"}


async def test_two_accounts_of_one_kind_are_never_in_one_request(graph: Graph) -> None:
    dataset = register(graph)
    for address, asset_type in ((EVM, USDC_BASE), (OTHER_EVM, USDC_BASE), (OTHER_SOLANA, USDC_SOLANA)):
        dataset.add_balance(account=address, asset_type=asset_type, balance=10**6, fiat_value="1")
    addresses = [EVM, OTHER_EVM, SOLANA, OTHER_SOLANA]
    query = "query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { total { valueUsd holdingCount } } }"
    data = await graph.ask(query, a=addresses)
    assert data["portfolio"]["total"] == {"valueUsd": "3", "holdingCount": 3}
    asked = [request.param("account") or "" for request in graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)]
    kinds = [[account.partition(":")[0] for account in accounts.split(",")] for accounts in asked]
    assert kinds == [["eip155", "solana"]] * 2
    assert sorted(account.rpartition(":")[2] for accounts in asked for account in accounts.split(",")) == sorted(
        addresses
    )


@pytest.mark.parametrize(
    ("asked", "accounts"),
    [
        ([EVM], {"evm": OTHER_EVM}),
        ([EVM, SOLANA], {"evm": OTHER_EVM, "solana": SOLANA}),
        ([EVM, SOLANA], {"evm": EVM, "solana": OTHER_SOLANA}),
        ([SOLANA], {"solana": SOLANA.lower()}),
        ([EVM], {"evm": 5}),
    ],
)
async def test_an_answer_about_other_accounts_is_refused(
    graph: Graph, asked: list[str], accounts: Mapping[str, Any]
) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", part(USDC_BASE, "5", 5)), accounts=accounts))
    listing = await list_holdings(graph, *asked)
    assert listing.nodes == {}
    assert listing.status == ("FAILED", "BAD_RESPONSE")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize("accounts", [{"evm": EVM_CHECKSUMMED}, {"evm": EVM, "solana": SOLANA}, {}, {"evm": None}])
async def test_accounts_in_another_case_or_left_out_are_the_accounts_asked_for(
    graph: Graph, accounts: Mapping[str, Any]
) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", 5)), accounts=accounts))
    listing = await list_holdings(graph)
    assert (listing.amounts, listing.status) == ({USDC_BASE: "5"}, ("OK", None))


async def test_rows_of_a_namespace_that_was_not_asked_about_are_dropped(graph: Graph) -> None:
    register(graph)
    parts = [part(USDC_BASE, "5000000", 5), part(USDC_SOLANA, "7000000", 7), part("cosmos:x/slip44:118", "9", 9)]
    answer(graph, body_of(aggregate("ob:usdc", *parts)))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.total["valueUsd"] == "5"


async def test_without_aggregates_for_an_address_nothing_is_asked_because_a_filter_is_obligatory(
    graph: Graph,
) -> None:
    register(graph, ETH)
    listing = await list_holdings(graph, SOLANA)
    assert listing.nodes == {}
    assert graph.simulators.onebalance.asked(ONEBALANCE_BALANCES) == []


# Aggregates


async def test_ob_single_twice_is_two_assets_and_no_group(graph: Graph) -> None:
    dataset = register(graph, SINGLE_STETH, SINGLE_SOL)
    dataset.add_balance(account=EVM, asset_type=STETH, balance=10**18, fiat_value="2500")
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=10**9, fiat_value="160")
    listing = await list_holdings(graph, EVM, SOLANA)
    assert listing.amounts == {STETH: "1", SOL: "1"}
    assert [node["token"]["decimals"] for node in listing.nodes.values()] == [18, 9]
    assert [node["token"]["group"] for node in listing.nodes.values()] == [None, None]
    assert listing.total["valueUsd"] == "2660"
    assert await list_groups(graph, EVM, SOLANA) == {}
    assert await graph.ask('{ node(id: "AssetGroup:ob:single") { id } }') == {"node": None}


async def test_ob_single_is_asked_for_once_however_often_it_is_listed(graph: Graph) -> None:
    other = OneBalanceAsset("ob:single", "ARB", "Arbitrum", 18, [OneBalanceEntity(USDC_ARBITRUM, 18, "ARB", "ARB")])
    register(graph, SINGLE_STETH, other)
    await list_holdings(graph)
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert request.param("aggregatedAssetId") == "ob:single"


@pytest.mark.parametrize("id", ["ob:sol", "ob:single"])
async def test_sol_is_the_same_holding_under_either_aggregate(graph: Graph, id: str) -> None:
    dataset = register(graph, OneBalanceAsset(id, "SOL", "Solana", 9, [OneBalanceEntity(SOL, 9, "Solana", "SOL")]))
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=15_000_000, fiat_value="2.51")
    held = (await list_holdings(graph, SOLANA))[SOL]
    assert (held["amount"], held["valueUsd"], held["token"]["kind"]) == ("0.015", "2.51", "NATIVE")


@pytest.mark.parametrize("id", ["ds:usdc", "int:usdc", "USDC"])
async def test_the_prefix_of_an_aggregate_means_nothing(graph: Graph, id: str) -> None:
    dataset = register(graph, OneBalanceAsset(id, "USDC", "USD Coin", 6, USDC_ENTITIES))
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    group = (await list_groups(graph))[id]
    assert (group["amount"], group["group"]["symbol"]) == ("1", "USDC")
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert request.param("aggregatedAssetId") == id


async def test_an_aggregate_that_is_more_than_its_rows_adds_nothing_to_the_holdings(graph: Graph) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=USDC_ARBITRUM, balance=62_459_466, fiat_value="62.456468")
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=774_598_041, fiat_value="774.563184")
    dataset.report(accounts=[EVM], aggregated_asset_id="ob:usdc", balance=843_936_437, fiat_value="837.019652")
    listing = await list_holdings(graph)
    assert listing.total["valueUsd"] == "837.019652"
    group = (await list_groups(graph))["ob:usdc"]
    assert group["amount"] == "837.057507"
    assert group["reported"] == {"rawAmount": "843936437", "decimals": 6, "valueUsd": "837.019652"}


async def test_an_aggregate_without_rows_is_no_holding(graph: Graph) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", balance="843936437", fiat_value=843.9)))
    listing = await list_holdings(graph)
    assert listing.nodes == {}
    assert listing.total == NOTHING_HELD


async def test_zero_rows_for_the_other_chains_of_an_aggregate_are_no_holdings(graph: Graph) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "1"}
    assert (listing.total["holdingCount"], listing.total["unpricedCount"], listing.total["complete"]) == (1, 0, True)
    everything = await list_holdings(graph, includeZero=True)
    assert everything.amounts == {USDC_BASE: "1", USDC_ARBITRUM: "0", USDC_BSC: "0"}
    assert {everything[zero]["valueStatus"] for zero in (USDC_ARBITRUM, USDC_BSC)} == {"REPORTED"}
    assert everything.total["unpricedCount"] == 0


async def test_nothing_but_zero_rows_is_an_empty_wallet_worth_0(graph: Graph) -> None:
    register(graph)
    listing = await list_holdings(graph, EVM, SOLANA)
    assert listing.nodes == {}
    assert listing.total == NOTHING_HELD


async def test_an_asset_that_comes_twice_is_counted_once(graph: Graph) -> None:
    register(graph)
    parts = [part(USDC_BASE, "5000000", 5), part(USDC_BASE.replace("f", "F"), "5000000", 5)]
    answer(graph, body_of(aggregate("ob:usdc", *parts), specific=[part(USDC_BASE, "5000000", 0)]))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.total["valueUsd"] == "5"
    assert len(listing[USDC_BASE]["observations"]) == 1


async def test_an_aggregate_that_was_not_asked_for_is_not_listed(graph: Graph) -> None:
    register(graph, USDC, ETH)
    body = body_of(aggregate("ob:usdc", part(USDC_BASE, "5", 5)), aggregate("ob:eth", part(ETH_BASE, "9", 9)))
    answer(graph, body)
    listing = await list_holdings(graph, assetIds=[USDC_BASE])
    assert listing.amounts == {USDC_BASE: "0.000005"}
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert (request.param("aggregatedAssetId"), request.param("assetId")) == ("ob:usdc", None)


# Identifiers


async def test_asset_types_in_mixed_case_are_the_assets_of_the_register(graph: Graph) -> None:
    digits = USDC_BASE.partition("0x")[2]
    register(graph, OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 6, [usdc_entity(f"eip155:8453/erc20:0X{digits}")]))
    spelled = USDC_BASE[:20] + USDC_BASE[20:].upper()
    answer(graph, body_of(aggregate("ob:usdc", part(spelled, "5000000", 5))))
    held = (await list_holdings(graph))[USDC_BASE]
    assert (held["amount"], held["token"]["decimals"], held["token"]["group"]["groupId"]) == ("5", 6, "ob:usdc")
    assert held["observations"][0]["reportedAsset"] == spelled


async def test_a_mint_in_another_case_is_another_asset(graph: Graph) -> None:
    register(graph)
    swapped = USDC_SOLANA.replace("Dt1v", "dt1v")
    body = body_of(aggregate("ob:usdc", part(swapped, "5000000", 5)), accounts={"solana": SOLANA})
    answer(graph, body)
    listing = await list_holdings(graph, SOLANA)
    assert list(listing.nodes) == [swapped]
    assert listing[swapped]["token"]["trust"] == "UNLISTED"


@pytest.mark.parametrize(
    ("native", "contract", "symbol"), [(POL, POL_CONTRACT, "POL"), (CELO, CELO_CONTRACT, "CELO")]
)
async def test_a_contract_that_is_the_native_coin_is_the_native_coin_once(
    graph: Graph, native: str, contract: str, symbol: str
) -> None:
    entity = OneBalanceEntity(contract, 18, symbol, symbol)
    register(graph, OneBalanceAsset("ob:coin", symbol, symbol, 18, [entity]))
    answer(graph, body_of(aggregate("ob:coin", part(contract, str(10**18), 2), part(native, str(10**18), 2))))
    listing = await list_holdings(graph)
    assert listing.amounts == {native: "1"}
    held = listing[native]
    assert (held["valueUsd"], held["token"]["kind"], held["token"]["decimals"]) == ("2", "NATIVE", 18)
    assert held["observations"][0]["reportedAsset"] == contract
    named = await graph.ask(
        "query ($a: AccountAddress!, $x: AssetId!) { wallet(address: $a) { holding(assetId: $x) { amount } } }",
        a=EVM,
        x=contract,
    )
    assert named == {"wallet": {"holding": {"amount": "1"}}}


@pytest.mark.parametrize(
    ("asset_type", "name"), [(USDC_SEI, "Sei"), (USDC_SEI.replace("1329", "424242"), "eip155:424242")]
)
async def test_chains_outside_the_published_table_are_listed_all_the_same(
    graph: Graph, asset_type: str, name: str
) -> None:
    dataset = register(graph, OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 6, [usdc_entity(asset_type)]))
    dataset.add_balance(account=EVM, asset_type=asset_type, balance=10**6, fiat_value="1")
    held = (await list_holdings(graph))[asset_type]
    assert (held["amount"], held["chain"]["name"]) == ("1", name)


@pytest.mark.parametrize(
    "asset_type", ["", "USDC", "eip155:8453", "eip155:8453/erc20:0x12", None, 5, f"{USDC_BASE}/1"]
)
async def test_an_asset_type_that_cannot_be_read_costs_only_its_own_row(graph: Graph, asset_type: Any) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", part(asset_type, "9", 9), part(USDC_BASE, "5000000", 5))))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_the_chains_are_read_by_namespace_and_reference_and_not_by_display_name(graph: Graph) -> None:
    rows = [
        {"chain": {"chain": "Arbitrum One", "namespace": "eip155", "reference": "42161"}, "isTestnet": False},
        {"chain": {"chain": "eip155:8453", "namespace": "eip155", "reference": "8453"}},
        {"chain": {"chain": "no reference"}},
    ]
    answer(graph, rows, path="*/chains/supported-list")
    data = await graph.ask("{ chains { chainId sources } }")
    covered = [chain["chainId"] for chain in data["chains"] if "ONEBALANCE" in chain["sources"]]
    assert covered == ["eip155:8453", "eip155:42161"]


# Assets by their own id


async def test_an_asset_outside_the_register_is_asked_for_by_its_id_and_found_in_the_specific_rows(
    graph: Graph,
) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=STETH, balance=123, fiat_value="2.5")
    listing = await list_holdings(graph, assetIds=[STETH.replace("ae7a", "AE7A")])
    held = listing[STETH]
    assert (held["amount"], held["rawAmount"], held["valueUsd"]) == (None, "123", "2.5")
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert (request.param("assetId"), request.param("aggregatedAssetId")) == (STETH, None)


async def test_a_specific_asset_echoed_in_the_case_of_anyone_is_the_asset_asked_for(graph: Graph) -> None:
    register(graph)
    echoed = STETH[:20] + STETH[20:].upper()
    answer(graph, body_of(specific=[part(echoed, "123", 2.5)]))
    assert list((await list_holdings(graph, assetIds=[STETH])).nodes) == [STETH]


async def test_named_assets_in_and_outside_the_register_share_one_request(graph: Graph) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=STETH, balance=123, fiat_value="2.5")
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph, assetIds=[STETH, USDC_BASE])
    assert set(listing.nodes) == {STETH, USDC_BASE}
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert (request.param("assetId"), request.param("aggregatedAssetId")) == (STETH, "ob:usdc")


async def test_a_value_of_0_beside_a_balance_is_unpriced_and_not_worth_0(graph: Graph) -> None:
    dataset = register(graph)
    graph.simulators.onebalance.price_specific_assets = False
    dataset.add_balance(account=EVM, asset_type=STETH, balance=10**18, fiat_value="2500")
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph, assetIds=[STETH, USDC_BASE])
    held = listing[STETH]
    assert (held["valueUsd"], held["valueStatus"], held["valueSource"]) == (None, "UNPRICED", None)
    assert held["observations"][0]["reportedValueUsd"] == "0"
    assert (listing.total["valueUsd"], listing.total["complete"], listing.total["unpricedCount"]) == ("1", False, 1)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, "0", "0.000"])
async def test_every_way_of_writing_a_value_of_0_is_no_price(graph: Graph, value: object) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", value))))
    listing = await list_holdings(graph)
    held = listing[USDC_BASE]
    assert (held["valueUsd"], held["valueStatus"]) == (None, "UNPRICED")
    assert held["observations"][0]["reportedValueUsd"] == "0"
    assert (listing.total["valueUsd"], listing.total["complete"]) == (None, False)


async def test_the_total_of_the_answer_is_never_read(graph: Graph) -> None:
    register(graph)
    body = body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", 5)), totalBalance={"fiatValue": 29955.284002})
    answer(graph, body)
    assert (await list_holdings(graph)).total["valueUsd"] == "5"


# Beside the chain's own word


@pytest.mark.parametrize(
    ("on_chain", "expected"),
    [
        (5_000_000, ("5", "5.01", "REPORTED", "AGREE")),
        (10_000_000, ("10", "10.02", "DERIVED", "DIFFER")),
        (1, ("0.000001", "0.000001002", "DERIVED", "DIFFER")),
    ],
)
async def test_a_value_is_for_the_amount_it_was_given_for(
    graph: Graph, on_chain: int, expected: tuple[str, ...]
) -> None:
    dataset = register(graph)
    dataset.add_balance(account=SOLANA, asset_type=USDC_SOLANA, balance=5_000_000, fiat_value="5.01")
    spl = graph.simulators.thegraph.dataset
    spl.add_mint(mint=MINT, decimals=6, name="USD Coin", symbol="USDC")
    spl.add_token_account(owner=SOLANA, account=TOKEN_ACCOUNT, mint=MINT, amount=on_chain)
    held = (await list_holdings(graph, SOLANA, sources=None))[USDC_SOLANA]
    assert (held["amount"], held["valueUsd"], held["valueStatus"], held["agreement"]) == expected
    assert (held["amountSource"], held["valueSource"]) == ("SOLANA_SPL", "ONEBALANCE")


async def test_a_zero_row_beside_what_the_chain_shows_is_a_disagreement_and_prices_nothing(graph: Graph) -> None:
    register(graph)
    spl = graph.simulators.thegraph.dataset
    spl.add_mint(mint=MINT, decimals=6, name="USD Coin", symbol="USDC")
    spl.add_token_account(owner=SOLANA, account=TOKEN_ACCOUNT, mint=MINT, amount=5_000_000)
    held = (await list_holdings(graph, SOLANA, sources=None))[USDC_SOLANA]
    assert (held["amount"], held["agreement"], held["valueStatus"]) == ("5", "DIFFER", "UNPRICED")
    assert [seen["amount"] for seen in held["observations"]] == ["5", "0"]


# The register


@pytest.mark.parametrize(
    ("logo_url", "shown"),
    [
        ("https://x.io/usdc.png", "https://x.io/usdc.png"),
        ("http://x.io/usdc.png", None),
        ("javascript:alert(1)", None),
        ("https://x.io/" + "u" * 2_048, None),
        (None, None),
    ],
)
async def test_the_register_gives_clean_names_and_an_image_only_where_it_is_safe(
    graph: Graph, logo_url: str | None, shown: str | None
) -> None:
    entity = OneBalanceEntity(USDC_BASE, 6, "US\u202eD \x00Coin" + "n" * 200, "\u200bUSDC" + "c" * 100)
    register(graph, OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 6, [entity], logo_url))
    data = await graph.ask(f'{{ token(assetId: "{USDC_BASE}") {{ name symbol imageUrl trust }} }}')
    assert data["token"] == {
        "name": "USD Coin" + "n" * 120,
        "symbol": "USDC" + "c" * 60,
        "imageUrl": shown,
        "trust": "LISTED",
    }


def asset_row(id: str, *entities: object, **members: object) -> dict[str, Any]:
    """A row of the register."""
    row = {
        "aggregatedAssetId": id,
        "symbol": "USDC",
        "name": "USD Coin",
        "decimals": 6,
        "aggregatedEntities": entities,
    }
    return row | members


@pytest.mark.parametrize("decimals", [None, -1, 256, "six"])
async def test_an_aggregate_of_the_register_that_cannot_be_read_is_said_to_be_missing(
    graph: Graph, decimals: object
) -> None:
    entity = {"assetType": USDC_BASE, "decimals": 6}
    unreadable = asset_row("ob:eth", {"assetType": ETH_BASE, "decimals": 18}, decimals=decimals)
    answer(graph, [asset_row("ob:usdc", entity), unreadable], path=ASSETS)
    register(graph).add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "1"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")
    assert listing.total["complete"] is False


async def test_one_member_of_an_aggregate_that_cannot_be_read_costs_the_others_nothing(graph: Graph) -> None:
    members = [{"assetType": USDC_ARBITRUM, "decimals": None}, {"assetType": USDC_BASE, "decimals": 6}]
    answer(graph, [asset_row("ob:usdc", *members)], path=ASSETS)
    register(graph).add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "1"}


async def test_members_that_no_document_names_are_ignored(graph: Graph) -> None:
    register(graph)
    row = {**part(USDC_BASE, "5000000", 5), "symbol": "USDT", "decimals": 18}
    answer(graph, body_of({**aggregate("ob:usdc", row), "decimals": 2}, id="abc", balanceByAsset=[]))
    listing = await list_holdings(graph)
    assert (listing.amounts, listing.status) == ({USDC_BASE: "5"}, ("OK", None))


# Failures


async def test_a_host_that_is_gone_is_unreachable_and_never_an_empty_wallet(graph: Graph) -> None:
    register(graph)
    graph.simulators.onebalance.gone = True
    listing = await list_holdings(graph, EVM, SOLANA)
    assert listing.status == ("FAILED", "UNREACHABLE")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize("status", [404, 410])
async def test_balances_that_are_gone_while_the_register_is_not_are_no_empty_wallet(
    graph: Graph, status: int
) -> None:
    register(graph)
    answer(graph, b"404 page not found", status=status)
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "UNREACHABLE")
    assert listing.total == UNKNOWN_TOTAL


async def test_a_register_that_fails_is_no_empty_wallet(graph: Graph) -> None:
    register(graph)
    answer(graph, {"error": "Internal", "message": "…", "statusCode": 500}, path=ASSETS, status=500)
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "UPSTREAM_ERROR")
    assert listing.total == UNKNOWN_TOTAL


ERRORS = [
    (400, "UPSTREAM_REJECTED_INPUT"),
    (401, "UNAUTHORIZED"),
    (402, "FORBIDDEN"),
    (403, "FORBIDDEN"),
    (404, "UNREACHABLE"),
    (429, "RATE_LIMITED"),
    (500, "UPSTREAM_ERROR"),
    (502, "UPSTREAM_ERROR"),
    (503, "UPSTREAM_ERROR"),
    (504, "UPSTREAM_ERROR"),
]


@pytest.mark.parametrize(("status", "code"), ERRORS)
async def test_an_error_inside_a_200_is_the_error_it_says(graph: Graph, status: int, code: str) -> None:
    register(graph)
    answer(graph, {"error": "SomeException", "message": "secret", "statusCode": status})
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", code)
    assert listing.total == UNKNOWN_TOTAL


async def test_an_error_inside_the_200_of_the_register_is_the_error_it_says(graph: Graph) -> None:
    answer(graph, {"error": "UnauthorizedException", "message": "secret", "statusCode": 401}, path=ASSETS)
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "UNAUTHORIZED")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize("extra", [{}, {"timestamp": "2026-01-01T00:00:00.000Z", "path": "/api", "id": "abc"}])
async def test_an_error_with_or_without_time_and_path_is_told_by_its_status(
    graph: Graph, extra: Mapping[str, Any]
) -> None:
    register(graph)
    answer(graph, {"error": "Validation failed", "message": "…", "statusCode": 400, **extra}, status=400)
    assert (await list_holdings(graph)).status == ("FAILED", "UPSTREAM_REJECTED_INPUT")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        None,
        "gone",
        {"balanceByAggregatedAsset": []},
        {"balanceBySpecificAsset": []},
        {"balanceByAggregatedAsset": {}, "balanceBySpecificAsset": []},
        {"balanceByAsset": [], "totalBalance": {"fiatValue": 0}},
        {"error": "SomeException"},
    ],
)
async def test_a_body_without_both_lists_is_a_failure_and_not_an_empty_wallet(graph: Graph, body: object) -> None:
    register(graph)
    answer(graph, body)
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "BAD_RESPONSE")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize(
    "stray", [None, "...", 5, {}, {"aggregatedAssetId": "ob:eth", "balance": "1", "fiatValue": 1}]
)
async def test_an_aggregate_that_cannot_be_read_is_said_to_be_missing(graph: Graph, stray: object) -> None:
    register(graph)
    answer(graph, body_of(stray, aggregate("ob:usdc", part(USDC_BASE, "5000000", 5))))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_the_rows_of_an_aggregate_count_even_if_the_aggregate_itself_cannot_be_read(graph: Graph) -> None:
    register(graph)
    answer(graph, body_of({"individualAssetBalances": [part(USDC_BASE, "5000000", 5)]}))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_a_full_minute_of_requests_says_when_one_is_free_again(graph: Graph) -> None:
    register(graph)
    simulator = graph.simulators.onebalance
    simulator.requests_per_minute = 1  # which the register takes
    now = time.time()
    simulator.clock = lambda: now
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "RATE_LIMITED")
    assert 58 <= listing.reports[0]["retryAfterSeconds"] <= 61


async def test_no_report_repeats_what_the_upstream_said(graph: Graph) -> None:
    register(graph)
    answer(graph, {"error": "E", "message": "key demo-key of secret-host", "statusCode": 500}, status=500)
    query = "query ($a: AccountAddress!) { wallet(address: $a) { sources { source message } } }"
    messages = json.dumps(await graph.ask(query, a=EVM))
    assert "The source reported a failure of its own." in messages
    assert "demo-key" not in messages
    assert "secret-host" not in messages


async def test_values_of_a_portfolio_add_up_in_any_company(graph: Graph) -> None:
    dataset = register(graph)
    addresses = [EVM, OTHER_EVM, SOLANA, OTHER_SOLANA]
    for number, address in enumerate(addresses, start=1):
        asset_type = USDC_BASE if address.startswith("0x") else USDC_SOLANA
        value = Decimal(number) / 10**7
        dataset.add_balance(account=address, asset_type=asset_type, balance=number, fiat_value=f"{value:f}")
    query = """query ($a: [AccountAddress!]!) {
      portfolio(addresses: $a) { total { valueUsd } }
      wallets(addresses: $a) { total { valueUsd } }
    }"""
    data = await graph.ask(query, a=addresses)
    assert data["portfolio"]["total"]["valueUsd"] == "0.000001"
    assert [wallet["total"]["valueUsd"] for wallet in data["wallets"]] == [
        f"0.000000{number}" for number in range(1, 5)
    ]
