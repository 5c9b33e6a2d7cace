"""What The Graph Token API sends of Solana wallets, and what the graph makes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import base58

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.thegraph_dataset import (
    SYSTEM_PROGRAM,
    TOKEN_PROGRAM,
    Release,
    TheGraphDataset,
)
from tests.graph import SPL_BALANCES, Graph, Simulators, open_graph
from tests.upstreams.listing import Listing


def address(number: int) -> str:
    """The Solana address of this number."""
    return base58.b58encode(b"\x07" * 28 + number.to_bytes(4)).decode()


OWNER, OTHER = address(1), address(2)
MINT, OTHER_MINT = address(10), address(11)
ACCOUNT, OTHER_ACCOUNT = address(20), address(21)
WRAPPED_SOL = "So11111111111111111111111111111111111111112"
NATIVE_PLACEHOLDER = "So11111111111111111111111111111111111111111"

CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
MINT_ID, OTHER_MINT_ID, WRAPPED_SOL_ID = (f"{CHAIN}/token:{mint}" for mint in (MINT, OTHER_MINT, WRAPPED_SOL))
SOL = f"{CHAIN}/slip44:501"

BALANCES = f"{SPL_BALANCES}*"
MINTS = "/v1/svm/tokens"
NETWORKS = "/v1/networks"
U64_MAX = 2**64 - 1

QUERY = """
query ($a: AccountAddress!, $f: HoldingFilter) {
  wallet(address: $a) {
    holdings(filter: $f, first: 200) {
      nodes {
        accountId amount rawAmount valueUsd valueStatus amountSource agreement
        asOf { blockNumber time }
        token { assetId address symbol name decimals kind trust metadataUri metadataSource }
        observations {
          source amount rawAmount reportedValueUsd reportedAsset
          tokenAccounts { address programId rawAmount asOf { blockNumber time } }
        }
      }
      totalCount
      total { valueUsd complete holdingCount unpricedCount missingSources }
      sources { source status code truncated observationCount upstreamCalls indexedTo { blockNumber time } }
    }
  }
}
"""

TOKENS = """
query ($x: [AssetId!]!) { tokens(assetIds: $x) { assetId symbol name decimals kind metadataUri } }
"""


async def list_holdings(graph: Graph, owner: str = OWNER, **condition: Any) -> Listing:
    """The holdings of an address, by default by The Graph's word alone."""
    condition = {"sources": ["SOLANA_SPL"], **condition}
    data = await graph.ask(QUERY, a=owner, f=condition)
    return Listing(data["wallet"]["holdings"], "SOLANA_SPL")


@asynccontextmanager
async def graph_of_plan(plan: str, *, release: Release = "post-556") -> AsyncIterator[Graph]:
    """The graph over The Graph alone, which allows this plan."""
    simulators = Simulators.empty()
    simulators.thegraph.plan, simulators.thegraph.release = plan, release
    async with open_graph(simulators, without=("ONDO_GM", "ONEBALANCE"), thegraph_plan=plan) as graph:
        yield graph


def dataset_of(graph: Graph) -> TheGraphDataset:
    return graph.simulators.thegraph.dataset


def spl_row(**members: Any) -> dict[str, Any]:
    """A row of an answer; a member that is ... is left out."""
    row = {
        "last_update": "2025-10-09 02:10:01",
        "last_update_block_num": 372132067,
        "last_update_timestamp": 1759975801,
        "program_id": TOKEN_PROGRAM,
        "owner": OWNER,
        "account": ACCOUNT,
        "mint": MINT,
        "amount": "1500000",
        "value": 1.5,
        "decimals": 6,
        "name": "Token",
        "symbol": "TKN",
        "uri": None,
        "network": "solana",
    }
    return {name: value for name, value in (row | members).items() if value is not ...}


def native_row(**members: Any) -> dict[str, Any]:
    """A row of an answer on native SOL."""
    row = spl_row(program_id=SYSTEM_PROGRAM, mint=NATIVE_PLACEHOLDER, decimals=9, name="SOL", symbol="SOL")
    for absent in ("owner", "account", "uri"):
        del row[absent]
    return row | {"address": OWNER} | members


def answer(graph: Graph, *pages: object, path: str = SPL_BALANCES, times: int | None = 1) -> None:
    """Let The Graph answer with these rows, a list for each request in turn."""
    for rows in reversed(pages):
        body = json.dumps({"data": rows}).encode()
        graph.simulators.thegraph.inject(Fault(status=200, body=body, path=path, times=times))


def fill(dataset: TheGraphDataset, owner: str, count: int, *, start: int = 1_000) -> None:
    """Let an owner hold ``count`` mints, one account each; the amount is the number of the mint."""
    for number in range(start, start + count):
        dataset.add_mint(mint=address(number), decimals=0, name=f"Token {number}")
        dataset.add_token_account(
            owner=owner, account=address(10**6 + number), mint=address(number), amount=number, block=number
        )
