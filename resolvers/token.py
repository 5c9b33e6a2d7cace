"""Tokens: what the sources know of them apart from anyone's balance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loaders.caip import AssetId, ChainId, Namespace
from loaders.records import (
    Group,
    HoldingSource,
    Price,
    Stock,
    TokenFacts,
    TokenKind,
    TokenTrust,
    Wants,
)
from loaders.source import Book
from resolvers.chain import Coin, native_facts
from resolvers.context import Context
from resolvers.reconcile import FACTS_RANK, facts_of


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token; ``address`` is None for a native one, and what no source knows is None."""

    asset_id: AssetId
    kind: TokenKind
    symbol: str | None
    name: str | None
    decimals: int | None
    metadata_uri: str | None
    image_url: str | None
    trust: TokenTrust
    metadata_source: HoldingSource | None
    price: Price | None
    stock: Stock | None
    group: Group | None
    books: Mapping[HoldingSource, Book]

    @property
    def chain_id(self) -> ChainId:
        """The chain it lives on."""
        return self.asset_id.chain_id

    @property
    def address(self) -> str | None:
        """Contract or mint."""
        return self.asset_id.token_address


def kind_of(asset_id: AssetId, facts: TokenFacts | None) -> TokenKind:
    """What sort of token an asset is; UNKNOWN for a mint whose program no source named."""
    if asset_id.is_native:
        return TokenKind.NATIVE
    if facts is not None and facts.kind is not None:
        return facts.kind
    is_erc20 = asset_id.chain_id.namespace is Namespace.EIP155 and "/erc20:" in asset_id
    return TokenKind.ERC20 if is_erc20 else TokenKind.UNKNOWN


def trust_of(facts: TokenFacts | None) -> TokenTrust:
    """What the registers attest; a token that none of them has was seen on chain only."""
    return (facts and facts.trust) or TokenTrust.UNLISTED


def described(asset_id: AssetId, facts: TokenFacts | None) -> TokenFacts | Coin | None:
    """What gives a token its symbol, name and decimals: the sources, or else what its chain's coin is known as."""
    return facts if facts is not None and facts.describes else native_facts(asset_id)


def build_token(
    asset_id: AssetId, observed: Iterable[TokenFacts | None], books: Mapping[HoldingSource, Book]
) -> TokenRecord:
    """One token by what was observed of it and by the books."""
    facts = facts_of(asset_id, observed, books)
    ranked = [books[source] for source in FACTS_RANK if source in books]
    known = described(asset_id, facts)
    group_id = None if facts is None else facts.group_id
    return TokenRecord(
        asset_id=asset_id,
        kind=kind_of(asset_id, facts),
        symbol=None if known is None else known.symbol,
        name=None if known is None else known.name,
        decimals=None if known is None else known.decimals,
        metadata_uri=None if facts is None else facts.metadata_uri,
        image_url=None if facts is None else facts.image_url,
        trust=trust_of(facts),
        metadata_source=facts.source if facts is not None and facts.describes else None,
        price=next((price for book in ranked if (price := book.price(asset_id)) is not None), None),
        stock=next((stock for book in ranked if (stock := book.stock(asset_id)) is not None), None),
        group=None if group_id is None else find_group(group_id, books),
        books=books,
    )


def find_group(group_id: str, books: Mapping[HoldingSource, Book]) -> Group | None:
    """A group of any source's register; None when none has it."""
    return next((group for book in books.values() if (group := book.group(group_id)) is not None), None)


async def resolve_token(context: Context, asset_id: AssetId, wants: Wants) -> TokenRecord | None:
    """The token of this asset, or None when no source knows it."""
    books = await context.loaders.books.load((asset_id, wants))
    if facts_of(asset_id, (), books) is None and native_facts(asset_id) is None:
        return None
    return build_token(asset_id, (), books)


async def resolve_group(
    context: Context, group_id: str, wants: Wants
) -> tuple[Group, Mapping[HoldingSource, Book]] | None:
    """An asset group and the books that describe its members, or None when no register has it."""
    books = await context.loaders.read_books(None, wants)
    group = find_group(group_id, books)
    return None if group is None else (group, books)
