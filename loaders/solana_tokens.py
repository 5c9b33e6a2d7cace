"""Solana's tokens: which asset a mint is, and what it says of itself."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from loaders.caip import SOLANA_MAINNET, AssetId, is_solana_address
from loaders.errors import InvalidIdError
from loaders.records import (
    MAX_KEPT_TEXT,
    HoldingSource,
    TokenAccountRecord,
    TokenFacts,
    TokenKind,
    TokenTrust,
    clean_metadata_uri,
    clean_name,
    clean_symbol,
)
from loaders.upstream.thegraph import MintRecord, SplBalanceRecord

PROGRAMS = {
    TokenKind.SPL: "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
    TokenKind.SPL_2022: "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
}
_KINDS = {program: kind for kind, program in PROGRAMS.items()}

SOL = TokenFacts(
    HoldingSource.SOLANA_SPL,
    symbol="SOL",
    name="Solana",
    decimals=9,
    kind=TokenKind.NATIVE,
    trust=TokenTrust.UNLISTED,
)


class _Mint(Struct, frozen=True, gc=False):
    """A mint and the asset that it is."""

    address: str
    asset_id: AssetId


# What cannot be read raises, and is not kept: it may be as long as its sender likes.
@lru_cache(maxsize=16_384)
def _mint(address: str) -> _Mint:
    return _Mint(address, AssetId.of_token(SOLANA_MAINNET, address))


@lru_cache(maxsize=256)
def _program(address: str) -> str:
    if not is_solana_address(address):
        raise InvalidIdError(address, "is not a program")
    return address


def token_account_of(row: SplBalanceRecord) -> TokenAccountRecord | None:
    """The token account of a row, sharing what is not its own with others of its mint; None if it is unreadable."""
    try:
        mint, program_id = _mint(row.mint), _program(row.program_id)
    except InvalidIdError:
        return None
    if not is_solana_address(row.account):
        return None
    return TokenAccountRecord(
        row.account,
        mint.address,
        mint.asset_id,
        program_id,
        row.amount,
        row.last_update_block_num,
        row.last_update_timestamp,
        facts_of(row),
    )


def facts_of(row: SplBalanceRecord | MintRecord) -> TokenFacts:
    """What a mint says of itself, cleaned; trusted by nobody. The same each time, unless its texts are long."""
    symbol, name, uri = row.symbol, row.name, row.uri
    kept = len(symbol or "") + len(name or "") + len(uri or "") <= MAX_KEPT_TEXT
    return (_facts_of if kept else _facts_of.__wrapped__)(row.program_id, row.decimals, symbol, name, uri)


@lru_cache(maxsize=16_384)
def _facts_of(
    program_id: str, decimals: int | None, symbol: str | None, name: str | None, uri: str | None
) -> TokenFacts:
    return TokenFacts(
        HoldingSource.SOLANA_SPL,
        symbol=clean_symbol(symbol),
        name=clean_name(name),
        decimals=decimals,
        kind=_KINDS.get(program_id),
        trust=TokenTrust.UNLISTED,
        metadata_uri=clean_metadata_uri(uri),
    )
