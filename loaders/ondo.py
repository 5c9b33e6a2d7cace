"""Ondo GM as a source: tokenised stocks and funds on Ethereum, BNB Chain and Solana."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import ClassVar, TypeVar

from msgspec.structs import replace

from loaders.books import Book
from loaders.cache import Lifetime
from loaders.caip import AccountAddress, AccountId, AssetId, ChainId, Namespace
from loaders.errors import InvalidIdError, LoadError, UpstreamResponseError
from loaders.ondo_balances import CHAIN_IDS, CHAIN_NAMES, Balance, Held, OndoBalances, Place
from loaders.read_through import Caches
from loaders.records import (
    Group,
    HoldingSource,
    Observation,
    Price,
    Report,
    SourceStatus,
    Stock,
    TokenFacts,
    TokenKind,
    TokenTrust,
    Wants,
    clean_name,
    clean_symbol,
)
from loaders.registers import Reading, Register
from loaders.source import (
    EVERYTHING,
    Answer,
    Question,
    Scope,
    Source,
    answered_report,
    failed_report,
    partial_report,
)
from loaders.upstream.fields import Rows
from loaders.upstream.http import Fetched
from loaders.upstream.ondo import (
    EnhancedPriceRecord,
    MarketRecord,
    MetadataRecord,
    OndoClient,
    PriceRecord,
)

_T = TypeVar("_T")

# Fresh for as long as Ondo itself serves the same bytes, by its page on endpoint caching. No report says how old a
# price is, so it is renewed before it is shown, and hardly outlives a failure.
_METADATA = Lifetime(300, 3_600, 86_400)
_MAX_KEPT_TEXT = 64
_PRICES = Lifetime(1, 0, 14)
_MARKETS = Lifetime(60, 600, 3_600)
_PRICED = Wants.PRICE | Wants.PRICE_CHANGE


@dataclass(frozen=True, slots=True)
class _Asset:
    """An asset of the register."""

    symbol: str
    ticker: str | None
    asset_class: str | None
    instrument_type: str | None


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The register, and its members by group.

    What it lacks may yet exist if it is not ``complete``, and may be held if an asset in it has no known place.
    """

    by_asset_id: Mapping[AssetId, _Asset]
    facts: Mapping[AssetId, TokenFacts]
    members: Mapping[str, tuple[AssetId, ...]]
    complete: bool
    placed: bool

    __hash__ = object.__hash__


_NOTHING_KNOWN = _Metadata({}, {}, {}, complete=False, placed=False)


def _index_metadata(records: Rows[MetadataRecord]) -> _Metadata:
    by_asset_id: dict[AssetId, _Asset] = {}
    facts: dict[AssetId, TokenFacts] = {}
    members: dict[str, list[AssetId]] = {}
    complete = not records.dropped
    placed = all(record.addresses.rows for record in records.rows)
    for record in records.rows:
        complete &= not record.addresses.dropped
        tags = record.tags
        for place in record.addresses.rows:
            chain_id = CHAIN_IDS.get(place.networkChainId)
            if chain_id is None:
                continue
            try:
                asset_id = AssetId.of_token(chain_id, place.address)
            except InvalidIdError:
                complete = False
                continue
            facts[asset_id] = _facts(asset_id, record.symbol, place.decimals)
            by_asset_id[asset_id] = _Asset(
                record.symbol,
                clean_symbol(record.ticker),
                None if tags is None else clean_name(tags.assetClass),
                None if tags is None else clean_name(tags.instrumentType),
            )
            members.setdefault(_group_id(record.symbol), []).append(asset_id)
    groups = {group_id: tuple(assets) for group_id, assets in members.items()}
    return _Metadata(by_asset_id, facts, groups, complete, placed)


@dataclass(frozen=True, slots=True)
class _Prices:
    """Prices of tokens and of the shares behind them, by symbol; not ``complete`` if some could not be read."""

    by_symbol: Mapping[str, Price]
    of_shares: Mapping[str, Decimal]
    complete: bool

    __hash__ = object.__hash__


def _index_prices(records: Rows[PriceRecord]) -> _Prices:
    by_symbol: dict[str, Price | None] = {}
    of_shares: dict[str, Decimal | None] = {}
    for record in records.rows:
        symbol, usd, share = record.primaryMarket.symbol, record.primaryMarket.price, record.underlyingMarket
        # A price of 0 is no price.
        by_symbol[symbol] = Price(usd, HoldingSource.ONDO_GM, None, None, record.timestamp) if usd else None
        of_shares[symbol] = None if share is None else share.price
    return _Prices(_known(by_symbol), _known(of_shares), not records.dropped)


def _known(by_symbol: Mapping[str, _T | None]) -> Mapping[str, _T]:
    return {symbol: value for symbol, value in by_symbol.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Changes:
    """Changes of prices, by symbol."""

    by_symbol: Mapping[str, EnhancedPriceRecord]

    __hash__ = object.__hash__


def _index_changes(records: Rows[EnhancedPriceRecord]) -> _Changes:
    return _Changes({record.symbol: record for record in records.rows})


def _index_markets(records: Rows[MarketRecord]) -> Mapping[str, MarketRecord]:
    return {record.primaryMarket.symbol: record for record in records.rows}


_Row = tuple[AccountAddress, AssetId, Balance, datetime]


def _rows(place: Place, fetched: Fetched[Held]) -> list[_Row]:
    return [
        (holder, asset_id, balance, fetched.fetched_at)
        for holder, balances in fetched.value.by_holder.items()
        if place.address in (None, holder)
        for asset_id, balance in balances.items()
    ]


def _report(place: Place, accounts: tuple[AccountAddress, ...], fetched: Fetched[Held]) -> Report:
    report = answered_report(HoldingSource.ONDO_GM, place.chain_id, accounts, fetched)
    if fetched.value.unreadable and report.status is SourceStatus.OK:
        return partial_report(report, UpstreamResponseError())
    return report


class _OndoAnswer(Answer):
    def __init__(
        self,
        reports: Sequence[Report],
        rows: Sequence[_Row],
        register: _Metadata | None = None,
    ) -> None:
        super().__init__(reports)
        self._rows = rows
        self._register = register

    def reports_within(self, scopes: Sequence[Scope]) -> Sequence[Report]:
        """A chain on which nothing that is wanted can be held is answered by the register alone."""
        return [
            report
            if report.chain_id is None or any(_may_hold(self._register, report.chain_id, scope) for scope in scopes)
            else Report(report.source, report.chain_id, report.accounts, SourceStatus.OK)
            for report in self.reports
        ]

    def observations(self, scope: Scope) -> list[Observation]:
        """One for each token held; ``amount`` in whole tokens."""
        anywhere = scope.chains is None and scope.asset_ids is None
        return [
            Observation(
                HoldingSource.ONDO_GM,
                AccountId.of(asset_id.chain_id, address),
                asset_id,
                balance.reported_asset,
                balance.amount,
                None,
                None,
                None,
                fetched_at,
                None,
                (),
                _facts(asset_id, balance.symbol, None),
            )
            for address, asset_id, balance, fetched_at in self._rows
            if anywhere or scope.allows_asset(asset_id)
        ]


# Ondo's Solana tokens are Token-2022 mints.
_KINDS = {Namespace.EIP155: TokenKind.ERC20, Namespace.SOLANA: TokenKind.SPL_2022}
_PARTS: Mapping[Namespace, Sequence[ChainId | None]] = {
    namespace: [chain_id for chain_id in CHAIN_NAMES if chain_id.namespace is namespace] for namespace in Namespace
}
_ALL_PARTS = {namespace: frozenset(parts) for namespace, parts in _PARTS.items()}


def _kind(asset_id: AssetId) -> TokenKind:
    return _KINDS[asset_id.chain_id.namespace or Namespace.EIP155]


def _group_id(symbol: str) -> str:
    return f"ondo:{clean_symbol(symbol) or ''}"


def _facts(asset_id: AssetId, symbol: str, decimals: int | None) -> TokenFacts:
    """What Ondo says of one of its tokens, in its register or beside a balance."""
    return (_facts_of if len(symbol) <= _MAX_KEPT_TEXT else _facts_of.__wrapped__)(_kind(asset_id), symbol, decimals)


@lru_cache(maxsize=4_096)
def _facts_of(kind: TokenKind, symbol: str, decimals: int | None) -> TokenFacts:
    return TokenFacts(
        HoldingSource.ONDO_GM,
        symbol=clean_symbol(symbol),
        decimals=decimals,
        kind=kind,
        trust=TokenTrust.ISSUER,
        group_id=_group_id(symbol),
    )


@lru_cache(maxsize=4)
def _by_asset(metadata: _Metadata, prices: _Prices, changes: _Changes | None) -> Mapping[AssetId, Price]:
    """The prices of tokens, never those of the shares that they stand for."""
    by_symbol = dict(prices.by_symbol)
    for symbol, change in () if changes is None else changes.by_symbol.items():
        if symbol in by_symbol:
            by_symbol[symbol] = replace(
                by_symbol[symbol], change_24h=change.priceChange24h, change_percent_24h=change.priceChangePct24h
            )
    return {
        asset_id: by_symbol[asset.symbol]
        for asset_id, asset in metadata.by_asset_id.items()
        if asset.symbol in by_symbol
    }


class _OndoBook(Book):
    def __init__(
        self,
        metadata: _Metadata | LoadError,
        prices: _Prices | LoadError | None,
        changes: _Changes | LoadError | None,
        markets: Mapping[str, MarketRecord] | LoadError | None,
    ) -> None:
        self._metadata = _NOTHING_KNOWN if isinstance(metadata, LoadError) else metadata
        self.knows_all, self.facts = self._metadata.complete, self._metadata.facts
        self._prices_failed = isinstance(prices, LoadError) or (prices is not None and not prices.complete)
        self.prices_whole = self.knows_all and not self._prices_failed
        self._prices_of_shares: Mapping[str, Decimal] = {}
        if isinstance(prices, _Prices):
            known = changes if isinstance(changes, _Changes) else None
            self.prices, self._prices_of_shares = _by_asset(self._metadata, prices, known), prices.of_shares
        self._markets = markets if isinstance(markets, Mapping) else {}

    def price_failed(self, asset_id: AssetId) -> bool:
        """Whether the price list failed for a token of the register, or the register for a chain of Ondo's."""
        if asset_id in self._metadata.by_asset_id:
            return self._prices_failed
        return not self.knows_all and asset_id.chain_id in CHAIN_NAMES and not asset_id.is_native

    def stock(self, asset_id: AssetId) -> Stock | None:
        """Ticker and classes by the register, name and multiplier by the market list."""
        asset = self._metadata.by_asset_id.get(asset_id)
        if asset is None or asset.ticker is None:
            return None
        market, share = self._markets.get(asset.symbol), self._prices_of_shares.get(asset.symbol)
        underlying = None if market is None else market.underlyingMarket
        if share is None and underlying is not None:
            share = underlying.price
        return Stock(
            ticker=asset.ticker,
            underlying_name=None if underlying is None else clean_name(underlying.name),
            underlying_price_usd=share,
            shares_per_token=None if market is None else market.primaryMarket.sharesMultiplier,
            asset_class=asset.asset_class,
            instrument_type=asset.instrument_type,
        )

    def group(self, group_id: str) -> Group | None:
        """The deployments of one Ondo symbol, ``ondo:<symbol>``."""
        members = self._metadata.members.get(group_id)
        if members is None:
            return None
        return Group(group_id, HoldingSource.ONDO_GM, group_id.removeprefix("ondo:"), None, members)


class OndoSource(Source):
    """Balances by (chain, holder), or of a whole chain from ``snapshot_threshold`` holders on."""

    name: ClassVar[HoldingSource] = HoldingSource.ONDO_GM
    namespaces: ClassVar[frozenset[Namespace]] = frozenset(Namespace)

    def __init__(self, client: OndoClient | None, caches: Caches, snapshot_threshold: int) -> None:
        self.configured = client is not None
        if client is not None:
            self._client = client
            self._metadata = Register(
                caches,
                "ondo:metadata",
                client.metadata,
                _index_metadata,
                _METADATA,
                flawed=lambda register: not register.complete,
            )
            self._prices = Register(
                caches,
                "ondo:prices",
                client.prices,
                _index_prices,
                _PRICES,
                flawed=lambda prices: not prices.complete,
            )
            self._changes = Register(caches, "ondo:changes", client.enhanced_prices, _index_changes, _PRICES)
            self._markets = Register(caches, "ondo:markets", client.markets, _index_markets, _MARKETS)
            self._balances = OndoBalances(client, caches, snapshot_threshold)

    def parts(self, namespace: Namespace) -> Sequence[ChainId | None]:
        """Each of Ondo's chains in the namespace."""
        return _PARTS[namespace]

    def needed_parts(self, namespace: Namespace, scope: Scope) -> frozenset[ChainId | None]:
        """Each chain that the scope allows; none for token accounts, which Ondo does not tell apart."""
        if scope is EVERYTHING:
            return _ALL_PARTS[namespace]
        if scope.token_accounts is not None or not scope.allows_kind(_KINDS[namespace]):
            return frozenset()
        return frozenset(
            chain_id
            for chain_id in self.parts(namespace)
            if chain_id is not None and scope.allows_chain(chain_id) and _names_a_token(scope, chain_id)
        )

    async def ask(self, questions: Sequence[Question], reading: Reading) -> Mapping[AccountAddress, Answer]:
        """One request for each chain and address, or one for a chain that many addresses are wanted on."""
        register = await self._register_if_named(questions, reading)
        reports = {question.address: self._unasked_reports(question) for question in questions}
        places = [
            Place(chain_id, question.address, _only_asset(chain_id, scopes))
            for chain_id in CHAIN_NAMES
            for question in questions
            if (scopes := self._scopes_on(chain_id, question, register))
        ]
        outcomes = await self._balances.load(places, reading)
        rows: dict[AccountAddress, list[_Row]] = {}
        for place, outcome in outcomes.items():
            if (address := place.address) is None:
                continue
            if isinstance(outcome, LoadError):
                reports[address][place.chain_id] = failed_report(self.name, place.chain_id, (address,), outcome)
                continue
            reports[address][place.chain_id] = _report(place, (address,), outcome)
            rows.setdefault(address, []).extend(_rows(place, outcome))
        return {
            address: _OndoAnswer(list(by_part.values()), rows.get(address, []), register)
            for address, by_part in reports.items()
        }

    def begin_book(self, wants: Wants, reading: Reading) -> None:
        """As ``read_book``."""
        reading.begin(self._metadata)
        if wants & _PRICED:
            reading.begin(self._prices)
        if Wants.PRICE_CHANGE in wants:
            reading.begin(self._changes)
        if Wants.MARKET in wants:
            reading.begin(self._markets)

    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """The register of assets always; prices, changes and markets where they are wanted."""
        self.begin_book(wants, reading)
        return _OndoBook(
            await reading.try_read(self._metadata),
            await reading.try_read(self._prices) if wants & _PRICED else None,
            await reading.try_read(self._changes) if Wants.PRICE_CHANGE in wants else None,
            await reading.try_read(self._markets) if Wants.MARKET in wants else None,
        )

    async def chains(self, reading: Reading) -> frozenset[ChainId]:
        """Ethereum, BNB Chain and Solana."""
        return frozenset(CHAIN_NAMES)

    async def holders(self, asset_id: AssetId, reading: Reading) -> Answer | None:
        """Every holder of one of Ondo's tokens, in one request; None for any other token."""
        chain_id = asset_id.chain_id
        if chain_id not in CHAIN_NAMES or asset_id.is_native:
            return None
        try:
            if asset_id not in (await reading.read(self._metadata)).by_asset_id:
                return None
        except LoadError:
            pass  # the register cannot tell; the chain itself may
        place = Place(chain_id, None, asset_id)
        outcome = await self._balances.load_holders(place, reading)
        if isinstance(outcome, LoadError):
            return _OndoAnswer([failed_report(self.name, chain_id, (), outcome)], [])
        rows = [row for row in _rows(place, outcome) if row[1] == asset_id]
        return _OndoAnswer([_report(place, tuple(row[0] for row in rows), outcome)], rows)

    def _scopes_on(self, chain_id: ChainId, question: Question, register: _Metadata | None) -> list[Scope]:
        """The scopes of a question for which this chain must be asked."""
        namespace = question.address.namespace
        return [
            scope
            for scope in question.scopes
            if chain_id in self.needed_parts(namespace, scope) and _may_hold(register, chain_id, scope)
        ]

    def _unasked_reports(self, question: Question) -> dict[ChainId | None, Report]:
        """The reports of chains that are not asked: where only the register was needed, that has answered."""
        namespace, address = question.address.namespace, question.address
        needed = {part for scope in question.scopes for part in self.needed_parts(namespace, scope)}
        return {
            part: Report(
                self.name, part, (address,), SourceStatus.OK if part in needed else SourceStatus.NOT_REQUESTED
            )
            for part in self.parts(namespace)
        }

    async def _register_if_named(self, questions: Sequence[Question], reading: Reading) -> _Metadata | None:
        """The register where it can spare a request, because only named assets are wanted."""
        if all(scope.asset_ids is None for question in questions for scope in question.scopes):
            return None
        register = await reading.try_read(self._metadata)
        return None if isinstance(register, LoadError) else register


def _tokens_on(chain_id: ChainId, scope: Scope) -> list[AssetId]:
    return [a for a in scope.asset_ids or () if a.chain_id == chain_id and not a.is_native]


def _names_a_token(scope: Scope, chain_id: ChainId) -> bool:
    return scope.asset_ids is None or bool(_tokens_on(chain_id, scope))


def _may_hold(register: _Metadata | None, chain_id: ChainId, scope: Scope) -> bool:
    if register is None or not (register.complete and register.placed) or scope.asset_ids is None:
        return True
    return any(asset_id in register.by_asset_id for asset_id in _tokens_on(chain_id, scope))


def _only_asset(chain_id: ChainId, scopes: Sequence[Scope]) -> AssetId | None:
    """The one token that all scopes name, None when they want more."""
    if any(scope.asset_ids is None for scope in scopes):
        return None
    named = {asset_id for scope in scopes for asset_id in _tokens_on(chain_id, scope)}
    return next(iter(named)) if len(named) == 1 else None
