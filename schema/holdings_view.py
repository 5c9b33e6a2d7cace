"""HoldingsView: what a wallet and a portfolio have in common, and the sums that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import strawberry
from graphql import FieldNode, GraphQLObjectType, get_argument_values
from graphql.execution.values import VariableValues
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments

from loaders.caip import AccountAddress, AssetId
from loaders.records import Aggregate, HoldingSource, Wants
from loaders.source import EVERYTHING, Scope
from resolvers.context import Info
from resolvers.holdings import (
    ChainTotalRecord,
    GroupTotal,
    Listing,
    list_holdings,
    load_total,
    total_by_chain,
    total_by_group,
)
from resolvers.paging import HoldingOrderField, OrderDirection, PageArguments
from resolvers.plan import (
    Selection,
    wants_of_connection,
    wants_of_groups,
    wants_of_holding,
    wants_of_sources,
    wants_of_total,
)
from resolvers.view import load_reports
from schema.chain import Chain
from schema.holding import Holding, HoldingConnection, HoldingFilter, HoldingOrder, HoldingsTotal
from schema.node import later
from schema.of_record import OfRecord, of_record
from schema.scalars import BigInt
from schema.source import SourceReport
from schema.token import AssetGroup

Need = tuple[tuple[AccountAddress, ...], Scope, Wants]
"""Whose holdings are read, which of them, and what is wanted to be known of them."""


@strawberry.type(description="What is held on one chain.")
class ChainTotal(OfRecord):
    record: strawberry.Private[ChainTotalRecord]
    chain: Chain = of_record("chain_id")
    total: HoldingsTotal = of_record()


@strawberry.type(description="A source's own aggregate, as it gave it. It need not equal the sum of the holdings.")
class ReportedAggregate(OfRecord):
    record: strawberry.Private[Aggregate]
    source: HoldingSource = of_record()
    raw_amount: BigInt = of_record("raw")
    decimals: int | None = of_record()
    value_usd: Decimal | None = of_record("value")


@strawberry.type(description="What is held of one asset group, over all chains.")
class AssetGroupHolding(OfRecord):
    record: strawberry.Private[GroupTotal]
    group: AssetGroup = of_record()
    amount: Decimal | None = of_record(description="Sum in whole tokens; null if any member's decimals are unknown.")
    total: HoldingsTotal = of_record()
    holdings: list[Holding] = of_record("listed")
    reported: ReportedAggregate | None = of_record(
        description="OneBalance's own aggregate, as it gave it. It need not equal the sum of the holdings."
    )


@strawberry.interface(description="What a Wallet and a Portfolio have in common.")
class HoldingsView:
    accounts: strawberry.Private[tuple[AccountAddress, ...]]

    @strawberry.field(description="A page of what is held. Paging is Relay's, both ways: 50 a page, at most 200.")
    def holdings(
        self,
        info: Info,
        first: int | None = strawberry.UNSET,
        after: str | None = strawberry.UNSET,
        last: int | None = strawberry.UNSET,
        before: str | None = strawberry.UNSET,
        filter: HoldingFilter | None = strawberry.UNSET,
        order_by: HoldingOrder = HoldingOrder(  # noqa: B008  # never changed
            field=HoldingOrderField.VALUE_USD, direction=OrderDirection.DESC
        ),
    ) -> HoldingConnection:
        # Refused at once, before a neighbouring field asks anything upstream.
        listing = _listing(self.accounts, first, after, last, before, filter, order_by)
        return later(_connection(info, listing))

    @strawberry.field(description="Over every holding: filters and pages never change it.")
    async def total(self, info: Info) -> HoldingsTotal:
        wants = wants_of_total(Selection.below(info._raw_info))
        return HoldingsTotal.of(await load_total(info.context, self.accounts, wants))

    @strawberry.field(description="A total for each chain on which something is held, or on which a source failed.")
    async def by_chain(self, info: Info) -> list[ChainTotal]:
        wants = wants_of_total(Selection.below(info._raw_info)["total"])
        totals = await total_by_chain(info.context, self.accounts, wants)
        return [ChainTotal.of(total) for total in totals]

    @strawberry.field(description="A total for each asset group, by id. A token in no group is in no row.")
    async def by_asset_group(self, info: Info) -> list[AssetGroupHolding]:
        wants = wants_of_groups(Selection.below(info._raw_info))
        totals = await total_by_group(info.context, self.accounts, wants)
        return [AssetGroupHolding.of(total) for total in totals]

    @strawberry.field(
        description=(
            "One report for each source and chain that applies, on whatever this operation asks of them; "
            "selected alone, it asks for everything."
        )
    )
    async def sources(self, info: Info) -> list[SourceReport]:
        wants = wants_of_sources(Selection.below(info._raw_info))
        reports = await load_reports(info.context, self.accounts, wants)
        return [SourceReport.of(report) for report in reports]


def needs_below(info: Info, type_name: str, accounts: tuple[AccountAddress, ...], view: Selection) -> Iterator[Need]:
    """What the fields selected below a wallet or portfolio read, for each place they are selected.

    Raises ``BadInputError`` for a filter or page that cannot be.
    """
    for node in view.nodes("holdings"):
        listing, selection = _listing(accounts, **_arguments(info, type_name, node)), view.below_node(node)
        yield accounts, listing.condition.scope, _wants_of_holdings(selection, listing)
        if "share" in selection["edges"]:
            yield accounts, EVERYTHING, Wants.PRICE
    for node in view.nodes("holding"):
        asset_id: AssetId = _arguments(info, type_name, node)["asset_id"]
        yield accounts, Scope(asset_ids=frozenset({asset_id})), wants_of_holding(view.below_node(node))
    sums = {
        "total": wants_of_total(view["total"]),
        "byChain": wants_of_total(view["byChain"]["total"]),
        "byAssetGroup": wants_of_groups(view["byAssetGroup"]),
    }
    for name, wants in sums.items():
        if name in view:
            yield accounts, EVERYTHING, wants
    if "sources" in view and not view.any("holdings", "holding", *sums):
        yield accounts, EVERYTHING, Wants.NOTHING


def _listing(
    accounts: tuple[AccountAddress, ...],
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    filter: HoldingFilter | None,
    order_by: HoldingOrder,
) -> Listing:
    """The page that the arguments of ``holdings`` describe; raises ``BadInputError``."""
    page = PageArguments.of(first, after, last, before)
    return Listing(accounts, HoldingFilter.record_of(filter), order_by.to_record(), page)


async def _connection(info: Info, listing: Listing) -> HoldingConnection:
    selection = Selection.below(info._raw_info)
    wants = _wants_of_holdings(selection, listing)
    return HoldingConnection.of(
        await list_holdings(info.context, listing, wants, shares="share" in selection["edges"])
    )


def _wants_of_holdings(selection: Selection, listing: Listing) -> Wants:
    by_value = listing.order.field is HoldingOrderField.VALUE_USD
    return wants_of_connection(selection, ordered_by_value=by_value, filtered_by_value=listing.condition.by_value)


def _arguments(info: Info, type_name: str, node: FieldNode) -> dict[str, Any]:
    """The arguments of a field further down, as its resolver will get them; None for what is not given."""
    graphql_type = info._raw_info.schema.type_map[type_name]
    assert isinstance(graphql_type, GraphQLObjectType)
    field = graphql_type.fields[node.name.value]
    definition = field.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
    converter = info.schema.schema_converter
    values = get_argument_values(field, node, VariableValues({}, info.variable_values))
    given = convert_arguments(values, definition.arguments, converter.scalar_registry, info.schema.config)
    return {argument.python_name: given.get(argument.python_name) for argument in definition.arguments}
