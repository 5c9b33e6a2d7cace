"""Chains: their names and coins, and which sources speak for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from loaders.caip import SOLANA_MAINNET, AssetId, ChainId
from loaders.records import HoldingSource
from resolvers.context import Context


@dataclass(frozen=True, slots=True)
class Coin:
    """A chain's own coin; ``slip44`` is its registered coin type (SLIP-44)."""

    slip44: int
    symbol: str | None
    name: str | None
    decimals: int | None


_ETHER = Coin(60, "ETH", "Ether", 18)
_UNKNOWN_EVM_COIN = Coin(60, None, None, None)

_CHAINS: dict[ChainId, tuple[str, Coin]] = {
    ChainId("eip155:1"): ("Ethereum", _ETHER),
    ChainId("eip155:10"): ("OP Mainnet", _ETHER),
    ChainId("eip155:56"): ("BNB Chain", Coin(714, "BNB", "BNB", 18)),
    ChainId("eip155:130"): ("Unichain", _ETHER),
    ChainId("eip155:137"): ("Polygon", Coin(966, "POL", "Polygon Ecosystem Token", 18)),
    ChainId("eip155:999"): ("HyperEVM", Coin(2457, "HYPE", "Hyperliquid", 18)),
    ChainId("eip155:1329"): ("Sei", Coin(19000118, "SEI", "Sei", 18)),
    ChainId("eip155:8453"): ("Base", _ETHER),
    ChainId("eip155:42161"): ("Arbitrum One", _ETHER),
    ChainId("eip155:42220"): ("Celo", Coin(52752, "CELO", "Celo", 18)),
    ChainId("eip155:43114"): ("Avalanche C-Chain", Coin(9005, "AVAX", "Avalanche", 18)),
    ChainId("eip155:59144"): ("Linea", _ETHER),
    ChainId("eip155:80094"): ("Berachain", Coin(8008, "BERA", "Berachain", 18)),
    ChainId("eip155:81457"): ("Blast", _ETHER),
    SOLANA_MAINNET: ("Solana", Coin(501, "SOL", "Solana", 9)),
}


def chain_name(chain_id: ChainId) -> str:
    """The chain's name, or its id where it has no name here."""
    return _CHAINS[chain_id][0] if chain_id in _CHAINS else str(chain_id)


def native_asset(chain_id: ChainId) -> AssetId:
    """The asset of a chain's own coin."""
    coin = _CHAINS[chain_id][1] if chain_id in _CHAINS else _UNKNOWN_EVM_COIN
    return AssetId(f"{chain_id}/slip44:{coin.slip44}")


def native_facts(asset_id: AssetId) -> Coin | None:
    """The coin that an asset is, None when it is no known chain's own."""
    if not asset_id.is_native:
        return None
    chain = _CHAINS.get(asset_id.chain_id)
    return chain[1] if chain is not None and asset_id == native_asset(asset_id.chain_id) else None


async def chains_by_source(context: Context) -> dict[HoldingSource, frozenset[ChainId]]:
    """The chains that each source covers in this deployment."""
    names = list(context.loaders.sources)
    covered = await asyncio.gather(*[context.loaders.chains(name) for name in names])
    return dict(zip(names, covered, strict=True))


async def resolve_chains(context: Context) -> Sequence[ChainId]:
    """Every chain that a source covers, EVM chains by number, then the others."""
    covered = set[ChainId]().union(*(await chains_by_source(context)).values())
    return sorted(covered, key=by_number)


async def resolve_chain(context: Context, chain_id: ChainId) -> ChainId | None:
    """The chain, or None when neither this graph nor a source knows it."""
    if chain_id in _CHAINS:
        return chain_id
    covered = await chains_by_source(context)
    return chain_id if any(chain_id in chains for chains in covered.values()) else None


async def resolve_sources(context: Context, chain_id: ChainId) -> list[HoldingSource]:
    """The sources that speak for a chain."""
    covered = await chains_by_source(context)
    return [source for source, chains in covered.items() if chain_id in chains]


def by_number(chain_id: ChainId) -> tuple[int, int, str]:
    """The place of a chain among others: EVM chains by number, then the others."""
    namespace, _, reference = chain_id.partition(":")
    return (0, int(reference), "") if namespace == "eip155" else (1, 0, str(chain_id))
