"""Holding, its observations, and pages of holdings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import strawberry

from loaders.caip import AccountAddress, AccountId, AssetId, ChainId, is_solana_address
from loaders.errors import InvalidIdError
from loaders.records import HoldingSource, TokenAccountRecord, TokenKind, TokenTrust
from loaders.records import Observation as ObservationRecord
from loaders.source import Scope
from resolvers.context import Info
from resolvers.errors import BadInputError
from resolvers.holders import resolve_holders
from resolvers.holdings import Filter, HoldingList, ListedHolding, find_holding
from resolvers.paging import HoldingOrderField, Order, OrderDirection, PageArguments
from resolvers.plan import Selection, wants_of_connection, wants_of_holding
from resolvers.reconcile import SourceAgreement, TotalRecord, ValueStatus
from schema.chain import Chain
from schema.node import Node
from schema.scalars import BigInt
from schema.source import AsOf, SourceReport
from schema.token import Token

if TYPE_CHECKING:
    from schema.wallet import Wallet

T = TypeVar("T")

_MAX_SEARCH = 256


@strawberry.type(description="One Solana token account.")
class TokenAccount:
    address: str
    program_id: str | None
    raw_amount: BigInt
    as_of: AsOf | None

    @classmethod
    def from_record(cls, record: TokenAccountRecord) -> Self:
        return cls(
            address=record.address,
            program_id=record.program_id,
            raw_amount=BigInt(record.raw),
            as_of=AsOf.from_record(record.as_of),
        )


@strawberry.type(description="One source's own word on a holding.")
class Observation:
    source: HoldingSource
    chosen: bool
    amount: Decimal | None
    raw_amount: BigInt | None
    reported_value_usd: Decimal | None = strawberry.field(description="As the source gave it, a 0 included.")
    reported_asset: str = strawberry.field(description="The asset as the source spelled it.")
    token_accounts: list[TokenAccount] = strawberry.field(
        description="Solana: the token accounts summed to this amount. Empty elsewhere."
    )
    as_of: AsOf | None
    fetched_at: datetime

    @classmethod
    def from_record(cls, record: ObservationRecord, *, chosen: bool) -> Self:
        return cls(
            source=record.source,
            chosen=chosen,
            amount=record.amount,
            raw_amount=None if record.raw is None else BigInt(record.raw),
            reported_value_usd=record.value,
            reported_asset=record.reported_asset,
            token_accounts=[TokenAccount.from_record(account) for account in record.token_accounts],
            as_of=AsOf.from_record(record.as_of),
            fetched_at=record.fetched_at,
        )


@strawberry.federation.type(
    keys=["id"],
    description="One account's position in one asset on one chain. Identity: (account, canonical asset).",
)
class Holding(Node):
    natural_key = "id"

    wallet: Annotated[Wallet, strawberry.lazy(".wallet")]
    account_id: AccountId
    token: Token
    chain: Chain
    amount: Decimal | None = strawberry.field(
        description="In whole tokens. Null only when the source gave smallest units and the decimals are unknown."
    )
    raw_amount: BigInt | None = strawberry.field(
        description="In smallest units. Null only when the source gave whole tokens and the decimals are unknown."
    )
    value_usd: Decimal | None = strawberry.field(description="Null means unknown. It is never 0 for want of a price.")
    value_status: ValueStatus
    amount_source: HoldingSource
    value_source: HoldingSource | None
    agreement: SourceAgreement
    as_of: AsOf | None
    observed: strawberry.Private[Sequence[ObservationRecord]]

    @strawberry.field(
        description="Every source's own word on this holding, the chosen one first. Never added together."
    )
    def observations(self) -> list[Observation]:
        return [Observation.from_record(record, chosen=index == 0) for index, record in enumerate(self.observed)]

    @classmethod
    def from_record(cls, listed: ListedHolding) -> Self:
        from schema.wallet import Wallet

        record = listed.holding
        token = Token.from_record(listed.token)
        return cls(
            id=strawberry.ID(record.id),
            wallet=Wallet.of(record.account_id.address),
            account_id=record.account_id,
            token=token,
            chain=token.chain,
            amount=record.amount,
            raw_amount=None if record.raw is None else BigInt(record.raw),
            value_usd=record.value,
            value_status=record.value_status,
            amount_source=record.amount_source,
            value_source=record.value_source,
            agreement=record.agreement,
            as_of=AsOf.from_record(record.as_of),
            observed=record.observations,
        )

    @classmethod
    def parse_key(cls, text: str) -> tuple[AccountAddress, AssetId]:
        account, _, asset = text.partition("/")
        chain, _, reference = account.rpartition(":")
        address, asset_id = AccountAddress.parse(reference), AssetId.parse(f"{chain}/{asset}")
        if address.namespace is not asset_id.chain_id.namespace:
            raise InvalidIdError(text, f"names an address that cannot live on {asset_id.chain_id}")
        return address, asset_id

    @classmethod
    def of_key(cls, key: tuple[AccountAddress, AssetId]) -> dict[str, Any]:
        from schema.wallet import Wallet

        address, asset_id = key
        account_id = AccountId.of(asset_id.chain_id, address)
        return {
            "id": cls.global_id(f"{account_id}/{asset_id.partition('/')[2]}"),
            "accountId": account_id,
            "wallet": Wallet.of(address),
            "chain": Chain.of(asset_id.chain_id),
        }

    @classmethod
    async def load(cls, info: Info, key: tuple[AccountAddress, AssetId]) -> Self | None:
        address, asset_id = key
        wants = wants_of_holding(cls.selection(info))
        listed = await find_holding(info.context, (address,), asset_id, wants)
        return None if listed is None else cls.from_record(listed)


@strawberry.type(description="A sum over holdings, and whether it is the whole of it.")
class HoldingsTotal:
    value_usd: Decimal | None = strawberry.field(
        description=(
            "Sum of the priced holdings; null when not one is priced; 0 when there are none and nothing is missing."
        )
    )
    complete: bool = strawberry.field(
        description="True only if every applicable source is OK and every non-zero holding is priced."
    )
    holding_count: int
    unpriced_count: int
    missing_sources: list[HoldingSource]

    @classmethod
    def from_record(cls, record: TotalRecord) -> Self:
        return cls(
            value_usd=record.value,
            complete=record.complete,
            holding_count=record.holding_count,
            unpriced_count=record.unpriced_count,
            missing_sources=list(record.missing_sources),
        )


@strawberry.federation.type(shareable=True, description="Relay's page info.")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="A holding in a list.")
class HoldingEdge:
    cursor: str
    node: Holding
    share: Decimal | None = strawberry.field(
        description=(
            "Fraction (0 to 1, 18 places) of the priced total of the wallet or portfolio it is listed in; "
            "null when unpriced."
        )
    )


@strawberry.type(description="A page of holdings, and what is true of all pages.")
class HoldingConnection:
    edges: list[HoldingEdge]
    nodes: list[Holding]
    page_info: PageInfo
    total_count: int
    total: HoldingsTotal = strawberry.field(description="Over the filtered set, all pages.")
    sources: list[SourceReport]
    snapshot_at: datetime | None = strawberry.field(
        description="When the oldest source answer behind this page was fetched."
    )

    @classmethod
    def from_record(cls, record: HoldingList) -> Self:
        cursors = record.page.cursors
        edges = [
            HoldingEdge(cursor=one.cursor, node=Holding.from_record(one), share=one.share) for one in record.listed
        ]
        return cls(
            edges=edges,
            nodes=[edge.node for edge in edges],
            page_info=PageInfo(
                has_next_page=record.page.has_next,
                has_previous_page=record.page.has_previous,
                start_cursor=cursors[0] if cursors else None,
                end_cursor=cursors[-1] if cursors else None,
            ),
            total_count=record.total_count,
            total=HoldingsTotal.from_record(record.total),
            sources=[SourceReport.from_record(report) for report in record.reports],
            snapshot_at=record.snapshot_at,
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
    return None if record is None else HoldingConnection.from_record(record)
