"""What OneBalance sends, and what the graph makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceDataset, OneBalanceEntity
from tests.graph import ONEBALANCE_BALANCES, Graph
from tests.upstreams.listing import Listing

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
      totalCount
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


async def list_holdings(graph: Graph, *addresses: str, **condition: Any) -> Listing:
    """The holdings of the addresses, the EVM one if none is named, by default by OneBalance's word alone."""
    condition = {"sources": ["ONEBALANCE"], **condition}
    data = await graph.ask(QUERY, a=addresses or [EVM], f=condition)
    return Listing(data["portfolio"]["holdings"], "ONEBALANCE")


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
