"""Token and its satellites: price, stock, asset group."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from loaders.books import Books
from loaders.caip import AssetId
from loaders.errors import InvalidIdError
from loaders.records import HoldingSource, Price, Stock, TokenKind, TokenTrust
from resolvers.context import Info
from resolvers.paging import PageArguments
from resolvers.plan import Selection, wants_of_token
from resolvers.token import GroupRecord, TokenRecord, build_token, resolve_group, resolve_token
from schema.chain import Chain
from schema.node import Node
from schema.of_record import OfRecord, of_record

if TYPE_CHECKING:
    from schema.holding import HoldingConnection

_GROUP_ID = re.compile(r"[a-z]{1,16}:\S{1,128}")


@strawberry.type(description="US dollars for one whole token.")
class TokenPrice(OfRecord):
    record: strawberry.Private[Price]
    usd: Decimal = of_record()
    source: HoldingSource = of_record()
    change24h: Decimal | None = of_record("change_24h", description="Absolute change over 24 hours, in US dollars.")
    change_percent24h: Decimal | None = of_record(
        "change_percent_24h", description="Change over 24 hours, in percent."
    )
    as_of: datetime | None = of_record()


@strawberry.type(description="One token is not one share: it stands for sharesPerToken shares of the underlying.")
class TokenizedStock(OfRecord):
    record: strawberry.Private[Stock]
    ticker: str = of_record()
    underlying_name: str | None = of_record()
    underlying_price_usd: Decimal | None = of_record()
    shares_per_token: Decimal | None = of_record()
    asset_class: str | None = of_record()
    instrument_type: str | None = of_record()


@strawberry.federation.type(
    keys=["id", "groupId"],
    description="The same asset on several chains: OneBalance's ob:usdc, or an Ondo symbol such as ondo:AAPLon.",
)
class AssetGroup(OfRecord, Node):
    natural_key = "groupId"
    known_by_key = ("id", "groupId")

    record: strawberry.Private[GroupRecord]
    id: strawberry.ID = of_record()
    group_id: str = of_record()
    symbol: str | None = of_record("group.symbol")
    name: str | None = of_record("group.name")
    defined_by: HoldingSource = of_record("group.defined_by")
    members: list[Annotated[Token, strawberry.lazy(".token")]] = of_record(
        description="Every token of the group, by the register that defines it."
    )

    @classmethod
    async def load(cls, info: Info, key: str) -> Self | None:
        wants = wants_of_token(cls.selection(info)["members"])
        found = await resolve_group(info.context, key, wants)
        return None if found is None else cls.of(found)

    @classmethod
    def parse_key(cls, text: str) -> str:
        if not _GROUP_ID.fullmatch(text):
            raise InvalidIdError(text, "is not a group: expected a register and a name in it, such as ob:usdc")
        return text

    @classmethod
    def of_key(cls, key: str) -> Self:
        return cls.of(GroupRecord(key, None, Books()))


@strawberry.federation.type(keys=["id", "assetId"], description="A fungible token on one chain.")
class Token(OfRecord, Node):
    natural_key = "assetId"
    known_by_key = ("id", "assetId", "address", "chain")
    parse_key = AssetId.parse

    record: strawberry.Private[TokenRecord]
    id: strawberry.ID = of_record()
    asset_id: AssetId = of_record()
    chain: Chain = of_record("chain_id")
    kind: TokenKind = of_record()
    address: str | None = of_record(description="Contract or mint; null for a native token.")
    symbol: str | None = of_record("known.symbol")
    name: str | None = of_record("known.name")
    decimals: int | None = of_record("known.decimals")
    metadata_uri: str | None = of_record()
    image_url: str | None = of_record()
    trust: TokenTrust = of_record()
    group: AssetGroup | None = of_record()
    metadata_source: HoldingSource | None = of_record(description="Where symbol, name and decimals came from.")
    price: TokenPrice | None = of_record(description="Null when no source prices one unit of this token.")
    stock: TokenizedStock | None = of_record(
        description="Null unless the token is a tokenised stock or fund of Ondo GM."
    )

    @strawberry.field(description="Who holds it; null when no source can list its holders (only Ondo GM can).")
    async def holders(
        self, info: Info, first: int | None = strawberry.UNSET, after: str | None = strawberry.UNSET
    ) -> Annotated[HoldingConnection, strawberry.lazy(".holding")] | None:
        from schema.holding import list_holders

        return await list_holders(info, self.record.asset_id, PageArguments.of(first, after))

    @classmethod
    def of_key(cls, key: AssetId) -> Self:
        return cls.of(build_token(key, (), Books()))

    @classmethod
    async def load(cls, info: Info, key: AssetId) -> Self | None:
        wants = wants_of_token(cls.selection(info))
        record = await resolve_token(info.context, key, wants)
        return None if record is None else cls.of(record)


async def load_native_token(info: Info, asset_id: AssetId) -> Token:
    """A chain's own coin, known whether or not a source describes it."""
    if Selection.below(info._raw_info).only(*Token.known_by_key, "kind"):
        return Token.of_key(asset_id)
    return await Token.load(info, asset_id) or Token.of_key(asset_id)
