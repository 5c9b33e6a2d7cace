"""Token and its satellites: price, stock, asset group."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Self

import strawberry

from loaders.caip import AssetId
from loaders.errors import InvalidIdError
from loaders.records import Group, HoldingSource, Price, Stock, TokenKind, TokenTrust
from loaders.source import Book
from resolvers.context import Info
from resolvers.paging import PageArguments
from resolvers.plan import Selection, wants_of_token
from resolvers.token import TokenRecord, build_token, resolve_group, resolve_token
from schema.chain import Chain
from schema.node import Node

if TYPE_CHECKING:
    from schema.holding import HoldingConnection

_GROUP_ID = re.compile(r"[a-z]{1,16}:\S{1,128}")
_KNOWN_FROM_THE_ID = ("id", "assetId", "address", "chain")
"""What a token's asset id tells without asking any source."""


@strawberry.type(description="US dollars for one whole token.")
class TokenPrice:
    usd: Decimal
    source: HoldingSource
    change24h: Decimal | None = strawberry.field(description="Absolute change over 24 hours, in US dollars.")
    change_percent24h: Decimal | None = strawberry.field(description="Change over 24 hours, in percent.")
    as_of: datetime | None

    @classmethod
    def from_record(cls, record: Price | None) -> Self | None:
        if record is None:
            return None
        return cls(
            usd=record.usd,
            source=record.source,
            change24h=record.change_24h,
            change_percent24h=record.change_percent_24h,
            as_of=record.as_of,
        )


@strawberry.type(description="One token is not one share: it stands for sharesPerToken shares of the underlying.")
class TokenizedStock:
    ticker: str
    underlying_name: str | None
    underlying_price_usd: Decimal | None
    shares_per_token: Decimal | None
    asset_class: str | None
    instrument_type: str | None

    @classmethod
    def from_record(cls, record: Stock | None) -> Self | None:
        if record is None:
            return None
        return cls(
            ticker=record.ticker,
            underlying_name=record.underlying_name,
            underlying_price_usd=record.underlying_price_usd,
            shares_per_token=record.shares_per_token,
            asset_class=record.asset_class,
            instrument_type=record.instrument_type,
        )


@strawberry.federation.type(
    keys=["id", "groupId"],
    description="The same asset on several chains: OneBalance's ob:usdc, or an Ondo symbol such as ondo:AAPLon.",
)
class AssetGroup(Node):
    natural_key = "groupId"

    group_id: str
    symbol: str | None
    name: str | None
    defined_by: HoldingSource
    record: strawberry.Private[Group]
    books: strawberry.Private[Mapping[HoldingSource, Book]]

    @strawberry.field(description="Every token of the group, by the register that defines it.")
    def members(self) -> list[Annotated[Token, strawberry.lazy(".token")]]:
        return [Token.from_record(build_token(asset_id, (), self.books)) for asset_id in self.record.members]

    @classmethod
    def from_record(cls, record: Group, books: Mapping[HoldingSource, Book]) -> Self:
        return cls(
            id=cls.global_id(record.group_id),
            group_id=record.group_id,
            symbol=record.symbol,
            name=record.name,
            defined_by=record.defined_by,
            record=record,
            books=books,
        )

    @classmethod
    async def load(cls, info: Info, key: str) -> Self | None:
        wants = wants_of_token(cls.selection(info)["members"])
        found = await resolve_group(info.context, key, wants)
        return None if found is None else cls.from_record(*found)

    @classmethod
    def parse_key(cls, text: str) -> str:
        if not _GROUP_ID.fullmatch(text):
            raise InvalidIdError(text, "is not a group: expected a register and a name in it, such as ob:usdc")
        return text

    @classmethod
    def of_key(cls, key: str) -> dict[str, Any]:
        return {"id": cls.global_id(key), "groupId": key}


@strawberry.federation.type(keys=["id", "assetId"], description="A fungible token on one chain.")
class Token(Node):
    natural_key = "assetId"
    parse_key = AssetId.parse

    asset_id: AssetId
    chain: Chain
    kind: TokenKind
    address: str | None = strawberry.field(description="Contract or mint; null for a native token.")
    symbol: str | None
    name: str | None
    decimals: int | None
    metadata_uri: str | None
    image_url: str | None
    trust: TokenTrust
    group: AssetGroup | None
    metadata_source: HoldingSource | None = strawberry.field(description="Where symbol, name and decimals came from.")
    price: TokenPrice | None = strawberry.field(description="Null when no source prices one unit of this token.")
    stock: TokenizedStock | None = strawberry.field(
        description="Null unless the token is a tokenised stock or fund of Ondo GM."
    )

    @strawberry.field(description="Who holds it; null when no source can list its holders (only Ondo GM can).")
    async def holders(
        self, info: Info, first: int | None = strawberry.UNSET, after: str | None = strawberry.UNSET
    ) -> Annotated[HoldingConnection, strawberry.lazy(".holding")] | None:
        from schema.holding import list_holders

        return await list_holders(info, self.asset_id, PageArguments.of(first, after))

    @classmethod
    def from_record(cls, record: TokenRecord) -> Self:
        return cls(
            id=cls.global_id(record.asset_id),
            asset_id=record.asset_id,
            chain=Chain.of(record.chain_id),
            kind=record.kind,
            address=record.address,
            symbol=record.symbol,
            name=record.name,
            decimals=record.decimals,
            metadata_uri=record.metadata_uri,
            image_url=record.image_url,
            trust=record.trust,
            group=None if record.group is None else AssetGroup.from_record(record.group, record.books),
            metadata_source=record.metadata_source,
            price=TokenPrice.from_record(record.price),
            stock=TokenizedStock.from_record(record.stock),
        )

    @classmethod
    def of_key(cls, key: AssetId) -> dict[str, Any]:
        return {"id": cls.global_id(key), "assetId": key, "chain": Chain.of(key.chain_id)}

    @classmethod
    async def load(cls, info: Info, key: AssetId) -> Self | None:
        wants = wants_of_token(cls.selection(info))
        record = await resolve_token(info.context, key, wants)
        return None if record is None else cls.from_record(record)


async def load_native_token(info: Info, asset_id: AssetId) -> Token:
    """A chain's own coin, known whether or not a source describes it."""
    selection = Selection.below(info._raw_info)
    if selection.only(*_KNOWN_FROM_THE_ID, "kind"):
        return Token.from_record(build_token(asset_id, (), {}))
    return await Token.load(info, asset_id) or Token.from_record(build_token(asset_id, (), {}))
