"""What Ondo GM sends, and what the graph makes of it."""

from __future__ import annotations

import json
from typing import Any

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.ondo import OndoAsset, OndoDataset
from tests.graph import Graph
from tests.upstreams.listing import Listing

EVM = "0x1db995cb2b3d9679383f0e597704a41e1521f4e1"
OTHER = "0x13116e8b4ffc8125b859ec60917fba540e59e55e"
SOLANA = "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5"
OTHER_SOLANA = "GXYBNgyYKbSLr938VJCpmGLCUaAHWsncTi7jDoQSdFR9"
TOKEN_ACCOUNT = "5UZfa66rzeDpD9wKs3Sn3iewmavxYvpAtiF2Lqd2n1wW"

SOLANA_CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
AAPL = "0x14c3abF95Cb9C93a8B82c1CdCB76D72Cb87b2d4c"
AAPL_BSC = "0x390a684EF9cADE28A7AD0DFa61AB1Eb3842618c4"
AAPL_MINT = "123mYEnRLM2LLYsJW3K6oyYh8uP1fngj732iG638ondo"
TSLA = "0xf6b1117ec07684d3958cad8beb1b302bfd21103f"
STRANGER = "0x" + "5a" * 20

AAPL_ETHEREUM_ID = f"eip155:1/erc20:{AAPL.lower()}"
AAPL_BSC_ID = f"eip155:56/erc20:{AAPL_BSC.lower()}"
AAPL_SOLANA_ID = f"{SOLANA_CHAIN}/token:{AAPL_MINT}"
TSLA_ID = f"eip155:1/erc20:{TSLA}"
STRANGER_ID = f"eip155:1/erc20:{STRANGER}"

METADATA = "/v1/assets/all/metadata"
PRICES = "/v1/assets/all/prices/latest"
MARKETS = "/v1/assets/all/market"
ON_ETHEREUM = "/v1/chains/ethereum-1/balances"

APPLE = OndoAsset(
    symbol="AAPLon",
    ticker="AAPL",
    name="Apple (Ondo Tokenized)",
    addresses={"ethereum-1": AAPL, "bsc-56": AAPL_BSC, "solana-900": AAPL_MINT},
    price="171.383708297189751178",
    underlying_price="228.330909",
    underlying_name="Apple Inc.",
    shares_multiplier="0.75",
)
TESLA = OndoAsset(
    symbol="TSLAon",
    ticker="TSLA",
    name="Tesla (Ondo Tokenized)",
    addresses={"ethereum-1": TSLA},
    price="48.5",
    underlying_price="338.88",
)

QUERY = """
query ($a: AccountAddress!, $f: HoldingFilter) {
  wallet(address: $a) {
    holdings(filter: $f) {
      nodes {
        accountId amount rawAmount valueUsd valueStatus valueSource amountSource agreement
        token {
          assetId symbol decimals kind trust
          group { groupId }
          price { usd source change24h changePercent24h asOf }
          stock { ticker underlyingName underlyingPriceUsd sharesPerToken assetClass instrumentType }
        }
        observations { source amount rawAmount reportedAsset }
      }
      totalCount
      total { valueUsd complete holdingCount unpricedCount missingSources }
      sources { source status code retryAfterSeconds observationCount chain { chainId } }
    }
  }
}
"""


async def list_holdings(graph: Graph, address: str = EVM, **condition: Any) -> Listing:
    """The holdings of an address, by default by Ondo's word alone."""
    condition = {"sources": ["ONDO_GM"], **condition}
    data = await graph.ask(QUERY, a=address, f=condition)
    return Listing(data["wallet"]["holdings"], "ONDO_GM")


def ondo(graph: Graph, *assets: OndoAsset) -> OndoDataset:
    """Ondo's dataset with these assets, Apple and Tesla if none are named."""
    dataset = graph.simulators.ondo.dataset
    for asset in assets or (APPLE, TESLA):
        dataset.add_asset(asset)
    return dataset


def answer(graph: Graph, path: str, body: object, *, status: int = 200) -> None:
    """Let Ondo answer with this body."""
    graph.simulators.ondo.inject(Fault(status=status, body=json.dumps(body).encode(), path=path))


def token(address: str, symbol: str, *rows: tuple[str, object]) -> dict[str, Any]:
    """A token of a balances answer, with its holders."""
    balances = [{"holderAddress": {"account": account}, "balance": balance} for account, balance in rows]
    return {"tokenAddress": address, "tokenSymbol": symbol, "balances": balances}


def metadata_row(symbol: str, *places: tuple[str, str, int], **members: Any) -> dict[str, Any]:
    """A row of the register of assets."""
    addresses = [{"networkChainId": c, "address": a, "decimals": d} for c, a, d in places]
    tags = {"assetClass": "Equities", "instrumentType": "Stock"}
    return {"symbol": symbol, "ticker": symbol[:-2], "addresses": addresses, "tags": tags, **members}


def price_row(symbol: str, price: object, share: object = "1000") -> dict[str, Any]:
    """A row of the price list."""
    return {
        "primaryMarket": {"symbol": symbol, "price": price},
        "underlyingMarket": {"ticker": symbol[:-2], "price": share},
        "timestamp": 1755888858893,
    }
