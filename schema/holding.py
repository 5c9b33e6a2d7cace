"""Holding, its observations, and pages of holdings."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Self, TypeVar, cast

import strawberry

from loaders.books import Books
from loaders.caip import AccountAddress, AccountId, AssetId, ChainId, is_solana_address
from loaders.errors import InvalidIdError
from loaders.records import HoldingSource, TokenAccountRecord, TokenKind, TokenTrust
from loaders.source import Scope
from resolvers.context import Info
from resolvers.errors import BadInputError
from resolvers.holders import resolve_holders
from resolvers.holdings import EdgeRecord, Filter, HoldingList, ListedHolding, find_holding
from resolvers.paging import HoldingOrderField, Order, OrderDirection, Page, PageArguments
from resolvers.plan import Selection, wants_of_connection, wants_of_holding
from resolvers.reconcile import HoldingKey, HoldingRecord, SourceAgreement, TotalRecord, ValueStatus, Word
from schema.chain import Chain
from schema.node import Node
from schema.of_record import OfRecord, of_record
from schema.scalars import BigInt
from schema.source import AsOf, SourceReport
from schema.token import Token

if TYPE_CHECKING:
    from schema.wallet import Wallet

T = TypeVar("T")

_MAX_SEARCH = 256


@strawberry.type(description="One Solana token account.")
class TokenAccount(OfRecord):
    record: strawberry.Private[TokenAccountRecord]
    address: str = of_record()
    program_id: str | None = of_record()
    raw_amount: BigInt = of_record("raw")
    as_of: AsOf | None = of_record()


@strawberry.type(description="One source's own word on a holding.")
class Observation(OfRecord):
    record: strawberry.Private[Word]
    source: HoldingSource = of_record("observation.source")
    chosen: bool = of_record()
    amount: Decimal | None = of_record("observation.amount")
    raw_amount: BigInt | None = of_record("observation.raw")
    reported_value_usd: Decimal | None = of_record(
        "observation.value", description="As the source gave it, a 0 included."
    )
    reported_asset: str = of_record("observation.reported_asset", description="The asset as the source spelled it.")
    token_accounts: list[TokenAccount] = of_record(
        "observation.token_accounts",
        description="Solana: the token accounts summed to this amount. Empty elsewhere.",
    )
    as_of: AsOf | None = of_record("observation.as_of")
    fetched_at: datetime = of_record("observation.fetched_at")


@strawberry.federation.type(
    keys=["id"],
    description="One account's position in one asset on one chain. Identity: (account, canonical asset).",
)
class Holding(OfRecord, Node):
    natural_key = "id"
    known_by_key = ("id", "accountId", "wallet", "chain")

    record: strawberry.Private[ListedHolding]
    id: strawberry.ID = of_record("holding.id")
    wallet: Annotated[Wallet, strawberry.lazy(".wallet")] = of_record("holding.address")
    account_id: AccountId = of_record("holding.account_id")
    token: Token = of_record()
    chain: Chain = of_record("holding.chain_id")
    amount: Decimal | None = of_record(
        "holding.chosen.amount",
        description="In whole tokens. Null only when the source gave smallest units and the decimals are unknown.",
    )
    raw_amount: BigInt | None = of_record(
        "holding.chosen.raw",
        description="In smallest units. Null only when the source gave whole tokens and the decimals are unknown.",
    )
    value_usd: Decimal | None = of_record(
        "holding.value", description="Null means unknown. It is never 0 for want of a price."
    )
    value_status: ValueStatus = of_record("holding.value_status")
    amount_source: HoldingSource = of_record("holding.chosen.source")
    value_source: HoldingSource | None = of_record("holding.value_source")
    agreement: SourceAgreement = of_record("holding.agreement")
    as_of: AsOf | None = of_record("holding.chosen.as_of")
    observations: list[Observation] = of_record(
        "holding.words",
        description="Every source's own word on this holding, the chosen one first. Never added together.",
    )

    @classmethod
    def parse_key(cls, text: str) -> HoldingKey:
        account, _, asset = text.partition("/")
        chain, _, reference = account.rpartition(":")
        address, asset_id = AccountAddress.parse(reference), AssetId.parse(f"{chain}/{asset}")
        if address.namespace is not asset_id.chain_id.namespace:
            raise InvalidIdError(text, f"names an address that cannot live on {asset_id.chain_id}")
        return HoldingKey(AccountId.of(asset_id.chain_id, address), asset_id)

    @classmethod
    def of_key(cls, key: HoldingKey) -> Self:
        return cls.of(ListedHolding(cast("HoldingRecord", key), Books()))

    @classmethod
    async def load(cls, info: Info, key: HoldingKey) -> Self | None:
        wants = wants_of_holding(cls.selection(info))
        listed = await find_holding(info.context, (key.address,), key.asset_id, wants)
        return None if listed is None else cls.of(listed)


@strawberry.type(description="A sum over holdings, and whether it is the whole of it.")
class HoldingsTotal(OfRecord):
    record: strawberry.Private[TotalRecord]
    value_usd: Decimal | None = of_record(
        "value",
        description=(
            "Sum of the priced holdings; null when not one is priced; 0 when there are none and nothing is missing."
        ),
    )
    complete: bool = of_record(
        description="True only if every applicable source is OK and every non-zero holding is priced."
    )
    holding_count: int = of_record()
    unpriced_count: int = of_record()
    missing_sources: list[HoldingSource] = of_record()


@strawberry.federation.type(shareable=True, description="Relay's page info.")
class PageInfo(OfRecord):
    record: strawberry.Private[Page]
    has_next_page: bool = of_record("has_next")
    has_previous_page: bool = of_record("has_previous")
    start_cursor: str | None = of_record()
    end_cursor: str | None = of_record()


@strawberry.type(description="A holding in a list.")
class HoldingEdge(OfRecord):
    record: strawberry.Private[EdgeRecord]
    cursor: str = of_record()
    node: Holding = of_record("listed")
    share: Decimal | None = of_record(
        description=(
            "Fraction (0 to 1, 18 places) of the priced total of the wallet or portfolio it is listed in; "
            "null when unpriced."
        )
    )


@strawberry.type(description="A page of holdings, and what is true of all pages.")
class HoldingConnection(OfRecord):
    record: strawberry.Private[HoldingList]
    edges: list[HoldingEdge] = of_record()
    nodes: list[Holding] = of_record("listed")
    page_info: PageInfo = of_record("page")
    total_count: int = of_record()
    total: HoldingsTotal = of_record(description="Over the filtered set, all pages.")
    sources: list[SourceReport] = of_record("view.reports")
    snapshot_at: datetime | None = of_record(
        "view.snapshot_at", description="When the oldest source answer behind this page was fetched."
    )


@strawberry.input(description="Which holdings to list.")
class HoldingFilter:
    sources: list[HoldingSource] | None = strawberry.field(
        default=strawberry.UNSET, description="Also limits which upstreams are called."
    )
    chains: list[ChainId] | None = strawberry.UNSET
    asset_ids: list[AssetId] | None = strawberry.UNSET
    token_accounts: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="Solana token accounts; no other holding is listed."
    )
    kinds: list[TokenKind] | None = strawberry.UNSET
    trust: list[TokenTrust] | None = strawberry.UNSET
    search: str | None = strawberry.field(
        default=strawberry.UNSET, description="Case-insensitive, in symbol or name."
    )
    min_value_usd: Decimal | None = strawberry.UNSET
    include_unpriced: bool = strawberry.field(
        default=True, description="Keeps unpriced holdings even under minValueUsd."
    )
    include_zero: bool = False

    @staticmethod
    def record_of(given: HoldingFilter | None) -> Filter:
        """The filter for resolvers, of everything when none is given; raises as ``to_record``."""
        return given.to_record() if given else Filter()

    def to_record(self) -> Filter:
        """The filter for resolvers. Raises ``BadInputError`` for what no upstream takes."""
        for account in self.token_accounts or ():
            check_token_account(account)
        if self.search and len(self.search) > _MAX_SEARCH:
            raise BadInputError("filter.search", self.search, f"is longer than {_MAX_SEARCH} characters")
        return Filter(
            Scope(
                sources=_set(self.sources),
                chains=_set(self.chains),
                asset_ids=_set(self.asset_ids),
                token_accounts=_set(self.token_accounts),
                kinds=_set(self.kinds),
                zero=self.include_zero,
            ),
            trust=_set(self.trust),
            search=self.search or None,
            min_value=self.min_value_usd if isinstance(self.min_value_usd, Decimal) else None,
            include_unpriced=self.include_unpriced,
        )


def _set(items: list[T] | None) -> frozenset[T] | None:
    return frozenset(items) if isinstance(items, list) else None


def check_token_account(text: str) -> None:
    """Raises ``BadInputError`` for what is no Solana address: one bad value would fail a whole batch upstream."""
    if not is_solana_address(text):
        reason = "is not a token account: expected base58 of exactly 32 bytes"
        raise BadInputError("filter.tokenAccounts", text, reason)


@strawberry.input(description="The order of holdings: unknown comes last in both directions, ties are by id.")
class HoldingOrder:
    field: HoldingOrderField
    direction: OrderDirection = OrderDirection.DESC

    def to_record(self) -> Order:
        return Order(self.field, self.direction)


async def list_holders(info: Info, asset_id: AssetId, arguments: PageArguments) -> HoldingConnection | None:
    """A page of a token's holders, the largest first; None when no source can list them."""
    selection = Selection.below(info._raw_info)
    wants = wants_of_connection(selection, ordered_by_value=False, filtered_by_value=False)
    record = await resolve_holders(info.context, asset_id, arguments, wants)
    return None if record is None else HoldingConnection.of(record)
