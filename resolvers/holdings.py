"""Lists of holdings and sums over them: filters, pages, totals, by chain and by asset group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec import Struct

from loaders import amounts
from loaders.books import Books, Described
from loaders.caip import AccountAddress, AssetId, ChainId
from loaders.records import (
    Aggregate,
    Group,
    HoldingSource,
    TokenFacts,
    TokenKind,
    TokenTrust,
    Wants,
)
from loaders.source import EVERYTHING, Scope
from resolvers.chain import by_number
from resolvers.context import Context
from resolvers.paging import Fingerprint, Order, Page, PageArguments, Place, check_page, cut_page, sort_holdings
from resolvers.reconcile import HoldingRecord, TotalRecord, sum_holdings
from resolvers.token import GroupRecord, TokenRecord, find_group, kind_of, observed_token, trust_of
from resolvers.view import View, load_view

Accounts = tuple[AccountAddress, ...]


class Filter(Struct, frozen=True):
    """Which holdings to list: a scope that limits what is asked, and conditions on what came of it."""

    scope: Scope = EVERYTHING
    trust: frozenset[TokenTrust] | None = None
    search: str | None = None
    min_value: Decimal | None = None
    include_unpriced: bool = True

    @property
    def keeps_all(self) -> bool:
        """Whether it lists whatever its scope lets through, but holdings of zero."""
        narrowed = (self.scope.kinds, self.trust, self.search)
        return not (self.scope.zero or self.by_value) and all(one is None for one in narrowed)

    @property
    def by_value(self) -> bool:
        """Whether it depends on what holdings are worth."""
        return self.min_value is not None or not self.include_unpriced


class Listing(Struct, frozen=True):
    """Which holdings of which accounts, in which order, which page of them. Raises ``BadInputError``."""

    accounts: Accounts
    condition: Filter
    order: Order
    arguments: PageArguments

    def __post_init__(self) -> None:
        check_page(self.order, self.fingerprint, self.arguments)

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells the cursors of this list from those of another."""
        return Fingerprint(lambda: ("holdings", sorted(self.accounts), _spelled(self.condition)))


class ListedHolding(Struct, frozen=True, gc=False):
    """A holding and the books that describe its token."""

    holding: HoldingRecord
    books: Books

    @property
    def token(self) -> TokenRecord:
        """The holding's token, by what was observed with it and by the books."""
        holding = self.holding
        return observed_token(holding.asset_id, holding.observations, self.books)


class EdgeRecord(Struct, frozen=True, gc=False):
    """A holding in a list; ``share`` of the priced total it is listed in, None when unpriced or not wanted."""

    listed: ListedHolding
    place: Place
    page: Page
    whole: Decimal | None

    @property
    def cursor(self) -> str:
        """Where in the list it stands."""
        return self.page.cursor(self.place)

    @property
    def share(self) -> Decimal | None:
        """The fraction that its value is of the whole."""
        value = self.listed.holding.value
        return amounts.ratio_rounded(value, self.whole) if value is not None and self.whole else None


@dataclass(slots=True)
class HoldingList:
    """One page of holdings, and what is true of all pages; ``whole`` is the priced total that shares are of."""

    page: Page
    kept: Sequence[HoldingRecord]
    view: View
    whole: Decimal | None

    @property
    def listed(self) -> list[ListedHolding]:
        """The holdings of the page."""
        books = self.view.books
        return [ListedHolding(holding, books) for holding in self.page.holdings]

    @property
    def edges(self) -> list[EdgeRecord]:
        """The holdings of the page, with their places."""
        return [
            EdgeRecord(ListedHolding(holding, self.view.books), place, self.page, self.whole)
            for place, holding in self.page.placed
        ]

    @property
    def total_count(self) -> int:
        """How many holdings all pages have."""
        return len(self.kept)

    @property
    def total(self) -> TotalRecord:
        """The sum over all pages."""
        return sum_holdings(self.kept, self.view.reports)


async def list_holdings(context: Context, listing: Listing, wants: Wants, *, shares: bool = False) -> HoldingList:
    """A page of what the accounts hold."""
    loading = load_view(context, listing.accounts, listing.condition.scope, wants)
    whole = None
    if shares:
        view, total = await asyncio.gather(loading, load_total(context, listing.accounts, Wants.PRICE))
        whole = total.value
    else:
        view = await loading
    return list_view(view, listing.condition, listing.order, listing.arguments, listing.fingerprint, whole)


def list_view(
    view: View, condition: Filter, order: Order, arguments: PageArguments, listing: Fingerprint, whole: Decimal | None
) -> HoldingList:
    """A page of a view; ``whole`` is the priced total that shares are of, None for no shares."""
    kept = held(view) if condition.keeps_all else _kept(view, condition)
    placed = sort_holdings(kept, order, lambda holding: _symbol(holding, view.books))
    return HoldingList(cut_page(placed, order, listing, arguments), kept, view, whole)


async def find_holding(context: Context, accounts: Accounts, asset_id: AssetId, wants: Wants) -> ListedHolding | None:
    """The accounts' holding of one asset, of zero included; None when no source reports it."""
    scope = Scope(asset_ids=frozenset({asset_id}))
    view = await load_view(context, accounts, scope, wants)
    for holding in view.holdings:
        if holding.asset_id == asset_id:
            return ListedHolding(holding, view.books)
    return None


async def load_total(context: Context, accounts: Accounts, wants: Wants) -> TotalRecord:
    """The total of everything that the accounts hold."""
    view = await load_view(context, accounts, EVERYTHING, wants)
    return sum_holdings(held(view), view.reports)


@dataclass(slots=True)
class ChainTotalRecord:
    """The total of one chain."""

    chain_id: ChainId
    total: TotalRecord


async def total_by_chain(context: Context, accounts: Accounts, wants: Wants) -> list[ChainTotalRecord]:
    """A total for each chain on which something is held, or on which a source failed, in the order of chains."""
    view = await load_view(context, accounts, EVERYTHING, wants)
    by_chain: dict[ChainId, list[HoldingRecord]] = {}
    for holding in held(view):
        by_chain.setdefault(holding.chain_id, []).append(holding)
    for report in view.reports:
        if report.chain_id is not None and report.status.lacks_data:
            by_chain.setdefault(report.chain_id, [])
    totals = [
        ChainTotalRecord(
            chain_id, sum_holdings(holdings, [r for r in view.reports if r.chain_id in (None, chain_id)])
        )
        for chain_id, holdings in by_chain.items()
    ]
    return sorted(totals, key=lambda item: by_number(item.chain_id))


@dataclass(frozen=True, slots=True)
class GroupTotal:
    """What is held of one group over all chains; ``amount`` in whole tokens, None when a part's is unknown."""

    group: GroupRecord
    amount: Decimal | None
    total: TotalRecord
    listed: Sequence[ListedHolding]
    reported: Aggregate | None


async def total_by_group(context: Context, accounts: Accounts, wants: Wants) -> list[GroupTotal]:
    """A total for each asset group of which something is held, by id."""
    view = await load_view(context, accounts, EVERYTHING, wants)
    by_group: dict[str, list[HoldingRecord]] = {}
    for holding in held(view):
        facts = _facts(holding, view.books)
        if facts is not None and facts.group_id is not None:
            by_group.setdefault(facts.group_id, []).append(holding)
    totals = []
    for group_id, holdings in by_group.items():
        group = find_group(group_id, view.books) or _group_of(group_id, holdings, view.books)
        parts = [holding.amount for holding in holdings]
        totals.append(
            GroupTotal(
                GroupRecord(group_id, group, view.books),
                None if None in parts else amounts.total(part for part in parts if part is not None),
                sum_holdings(holdings, view.reports),
                [ListedHolding(holding, view.books) for holding in sorted(holdings, key=lambda one: one.id)],
                _reported(view, group_id),
            )
        )
    return sorted(totals, key=lambda item: item.group.group_id)


def held(view: View) -> list[HoldingRecord]:
    """The holdings of more than zero."""
    return [
        holding
        for holding in view.holdings
        if (chosen := holding.chosen).amount or (chosen.amount is None and chosen.raw != 0)
    ]


def _kept(view: View, condition: Filter) -> list[HoldingRecord]:
    return [holding for holding in view.holdings if _keeps(condition, holding, view.books)]


def _facts(holding: HoldingRecord, books: Books) -> TokenFacts | None:
    return observed_token(holding.asset_id, holding.observations, books).facts


def _symbol(holding: HoldingRecord, books: Books) -> str | None:
    return observed_token(holding.asset_id, holding.observations, books).known.symbol


def _keeps(condition: Filter, holding: HoldingRecord, books: Books) -> bool:
    scope = condition.scope
    if holding.is_zero and not scope.zero:
        return False
    if holding.value is None:
        if not condition.include_unpriced:
            return False
    elif condition.min_value is not None and holding.value < condition.min_value:
        return False
    if scope.kinds is None and condition.trust is None and condition.search is None:
        return True
    token = observed_token(holding.asset_id, holding.observations, books)
    facts = token.facts
    if scope.kinds is not None and kind_of(holding.asset_id, facts) not in scope.kinds:
        return False
    if condition.trust is not None and trust_of(facts) not in condition.trust:
        return False
    return condition.search is None or _matches(condition.search, token.known)


def _matches(search: str, known: Described) -> bool:
    return any(text is not None and search.casefold() in text.casefold() for text in (known.symbol, known.name))


def _group_of(group_id: str, holdings: Sequence[HoldingRecord], books: Books) -> Group:
    """A group known by its members alone, because its register could not be read."""
    facts = _facts(holdings[0], books)
    source = holdings[0].amount_source if facts is None else facts.source
    symbol = None if facts is None else facts.symbol
    return Group(group_id, source, symbol, None, tuple(dict.fromkeys(h.asset_id for h in holdings)))


def _reported(view: View, group_id: str) -> Aggregate | None:
    """The source's own aggregate, if its answers speak of exactly these accounts between them."""
    parts = [aggregate for aggregate in view.aggregates if aggregate.group_id == group_id]
    if not parts:
        return None
    first = parts[0]
    covered = [address for accounts in view.summed[first.source] for address in accounts]
    if sorted(covered) != sorted(view.addresses):
        return None
    values = [part.value for part in parts if part.value is not None]
    return Aggregate(
        first.source,
        group_id,
        frozenset(covered),
        sum(part.raw for part in parts),
        first.decimals,
        amounts.total(values) if len(values) == len(parts) else None,
    )


def _spelled(condition: Filter) -> tuple[object, ...]:
    """A filter as one canonical value: sets have no order of their own."""
    scope = condition.scope
    sets: tuple[frozenset[TokenKind] | frozenset[HoldingSource] | frozenset[str] | None, ...] = (
        scope.sources,
        scope.chains,
        scope.asset_ids,
        scope.token_accounts,
        scope.kinds,
        condition.trust,  # type: ignore[assignment]  # any set will do
    )
    return (
        *[None if one is None else sorted(str(item) for item in one) for one in sets],
        scope.zero,
        condition.search,
        None if condition.min_value is None else amounts.plain(condition.min_value),
        condition.include_unpriced,
    )
