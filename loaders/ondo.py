"""Ondo GM as a source: tokenised stocks and funds on Ethereum, BNB Chain and Solana."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, TypeVar

from loaders.caip import SOLANA_MAINNET, AccountAddress, AccountId, AssetId, ChainId, Namespace
from loaders.errors import InvalidIdError, LoadError, UpstreamResponseError
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
from loaders.source import Answer, Book, Question, Scope, Source, failed_report, partial_report
from loaders.upstream.fields import Rows
from loaders.upstream.http import Fetched
from loaders.upstream.ondo import (
    BalanceRecord,
    EnhancedPriceRecord,
    MarketRecord,
    MetadataRecord,
    OndoClient,
    PriceRecord,
)

_T = TypeVar("_T")

# How long Ondo itself serves the same bytes, by its page on endpoint caching.
_METADATA_SECONDS = 300
_PRICE_SECONDS = 1
_MARKET_SECONDS = 60

_CHAIN_NAMES: Mapping[ChainId, str] = {
    ChainId("eip155:1"): "ethereum-1",
    ChainId("eip155:56"): "bsc-56",
    SOLANA_MAINNET: "solana-900",
}
_CHAIN_IDS = {name: chain_id for chain_id, name in _CHAIN_NAMES.items()}


@dataclass(frozen=True, slots=True)
class _Asset:
    """An asset of the register, with what it is called on one chain."""

    symbol: str
    ticker: str | None
    decimals: int
    asset_class: str | None
    instrument_type: str | None


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The register, and its members by group.

    What it lacks may yet exist if it is not ``complete``, and may be held if an asset in it has no known place.
    """

    by_asset_id: Mapping[AssetId, _Asset]
    members: Mapping[str, tuple[AssetId, ...]]
    complete: bool
    placed: bool


def _index_metadata(records: Rows[MetadataRecord]) -> _Metadata:
    by_asset_id: dict[AssetId, _Asset] = {}
    members: dict[str, list[AssetId]] = {}
    complete = not records.dropped
    placed = all(record.addresses.rows for record in records.rows)
    for record in records.rows:
        complete &= not record.addresses.dropped
        tags = record.tags
        for place in record.addresses.rows:
            chain_id = _CHAIN_IDS.get(place.networkChainId)
            if chain_id is None:
                continue
            try:
                asset_id = AssetId.of_token(chain_id, place.address)
            except InvalidIdError:
                complete = False
                continue
            by_asset_id[asset_id] = _Asset(
                record.symbol,
                clean_symbol(record.ticker),
                place.decimals,
                None if tags is None else clean_name(tags.assetClass),
                None if tags is None else clean_name(tags.instrumentType),
            )
            members.setdefault(_group_id(record.symbol), []).append(asset_id)
    return _Metadata(by_asset_id, {group_id: tuple(assets) for group_id, assets in members.items()}, complete, placed)


@dataclass(frozen=True, slots=True)
class _Prices:
    """Prices by symbol; not ``complete`` if there are some that could not be read."""

    by_symbol: Mapping[str, PriceRecord]
    complete: bool


def _index_prices(records: Rows[PriceRecord]) -> _Prices:
    return _Prices({record.primaryMarket.symbol: record for record in records.rows}, not records.dropped)


def _index_changes(records: Rows[EnhancedPriceRecord]) -> Mapping[str, EnhancedPriceRecord]:
    return {record.symbol: record for record in records.rows}


def _index_markets(records: Rows[MarketRecord]) -> Mapping[str, MarketRecord]:
    return {record.primaryMarket.symbol: record for record in records.rows}


@dataclass(frozen=True, slots=True)
class _Balance:
    amount: Decimal
    symbol: str
    reported_asset: str


@dataclass(frozen=True, slots=True)
class _ChainAnswer:
    """What one request on one chain said, indexed by holder."""

    chain_id: ChainId
    by_holder: Mapping[AccountAddress, Mapping[AssetId, _Balance]]
    fetched_at: datetime
    calls: frozenset[int]
    unreadable: bool

    def report(self, accounts: tuple[AccountAddress, ...]) -> Report:
        report = Report(
            HoldingSource.ONDO_GM,
            self.chain_id,
            accounts,
            SourceStatus.OK,
            fetched_at=self.fetched_at,
            calls=self.calls,
        )
        return partial_report(report, UpstreamResponseError()) if self.unreadable else report


def _index_balances(chain_id: ChainId, fetched: Fetched[Rows[BalanceRecord]]) -> _ChainAnswer:
    by_holder: dict[AccountAddress, dict[AssetId, _Balance]] = {}
    unreadable = fetched.value.dropped > 0
    for row in fetched.value.rows:
        try:
            asset_id = AssetId.of_token(chain_id, row.token_address)
            holder = _holder(chain_id, row.account)
        except InvalidIdError:
            unreadable = True
            continue
        balance = _Balance(row.balance, row.symbol, row.token_address)
        first = by_holder.setdefault(holder, {}).setdefault(asset_id, balance)
        unreadable |= first.amount != row.balance  # one row per token: two unlike ones cannot both be true
    return _ChainAnswer(chain_id, by_holder, fetched.fetched_at, fetched.calls, unreadable)


def _holder(chain_id: ChainId, account: str) -> AccountAddress:
    # Upstream answers are folded to lower case without a checksum test.
    folded = account.lower() if chain_id.namespace is Namespace.EIP155 else account
    address = AccountAddress.parse(folded)
    if address.namespace is not chain_id.namespace:
        raise InvalidIdError(account, "is an account of another namespace")
    return address


@dataclass(frozen=True, slots=True)
class _Request:
    """One request on one chain, and the addresses that it answers for."""

    chain_id: ChainId
    addresses: Sequence[AccountAddress]
    user: AccountAddress | None = None
    token: AssetId | None = None


class _OndoAnswer(Answer):
    def __init__(
        self,
        reports: Sequence[Report],
        rows: Sequence[tuple[AccountAddress, AssetId, _Balance, datetime]],
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
        return [
            Observation(
                source=HoldingSource.ONDO_GM,
                account_id=AccountId.of(asset_id.chain_id, address),
                asset_id=asset_id,
                reported_asset=balance.reported_asset,
                amount=balance.amount,
                raw=None,
                decimals=None,
                value=None,
                fetched_at=fetched_at,
                facts=TokenFacts(
                    HoldingSource.ONDO_GM,
                    symbol=clean_symbol(balance.symbol),
                    kind=_kind(asset_id),
                    trust=TokenTrust.ISSUER,
                    group_id=_group_id(balance.symbol),
                ),
            )
            for address, asset_id, balance, fetched_at in self._rows
            if scope.allows_asset(asset_id)
        ]


# Ondo's Solana tokens are Token-2022 mints.
_KINDS = {Namespace.EIP155: TokenKind.ERC20, Namespace.SOLANA: TokenKind.SPL_2022}


def _kind(asset_id: AssetId) -> TokenKind:
    return _KINDS[asset_id.chain_id.namespace or Namespace.EIP155]


def _group_id(symbol: str) -> str:
    return f"ondo:{clean_symbol(symbol) or ''}"


class _OndoBook(Book):
    def __init__(
        self,
        metadata: _Metadata | LoadError,
        prices: _Prices | LoadError | None,
        changes: Mapping[str, EnhancedPriceRecord] | LoadError | None,
        markets: Mapping[str, MarketRecord] | LoadError | None,
    ) -> None:
        self._metadata = (
            _Metadata({}, {}, complete=False, placed=False) if isinstance(metadata, LoadError) else metadata
        )
        self.knows_all = self._metadata.complete
        self._prices_failed = isinstance(prices, LoadError) or (prices is not None and not prices.complete)
        self._prices = prices.by_symbol if isinstance(prices, _Prices) else {}
        self._changes = changes if isinstance(changes, Mapping) else {}
        self._markets = markets if isinstance(markets, Mapping) else {}

    def facts(self, asset_id: AssetId) -> TokenFacts | None:
        """Symbol, decimals and group by Ondo's register."""
        asset = self._metadata.by_asset_id.get(asset_id)
        if asset is None:
            return None
        return TokenFacts(
            HoldingSource.ONDO_GM,
            symbol=clean_symbol(asset.symbol),
            decimals=asset.decimals,
            kind=_kind(asset_id),
            trust=TokenTrust.ISSUER,
            group_id=_group_id(asset.symbol),
        )

    def price(self, asset_id: AssetId) -> Price | None:
        """The token's price, never that of the share that it stands for."""
        asset = self._metadata.by_asset_id.get(asset_id)
        record = None if asset is None else self._prices.get(asset.symbol)
        if record is None or not record.primaryMarket.price:  # a price of 0 is no price
            return None
        symbol = record.primaryMarket.symbol
        change = self._changes.get(symbol)
        return Price(
            usd=record.primaryMarket.price,
            source=HoldingSource.ONDO_GM,
            change_24h=None if change is None else change.priceChange24h,
            change_percent_24h=None if change is None else change.priceChangePct24h,
            as_of=record.timestamp,
        )

    def price_failed(self, asset_id: AssetId) -> bool:
        """Whether the price list failed for a token of the register, or the register for a chain of Ondo's."""
        if asset_id in self._metadata.by_asset_id:
            return self._prices_failed
        return not self.knows_all and asset_id.chain_id in _CHAIN_NAMES and not asset_id.is_native

    def stock(self, asset_id: AssetId) -> Stock | None:
        """Ticker and classes by the register, name and multiplier by the market list."""
        asset = self._metadata.by_asset_id.get(asset_id)
        if asset is None or asset.ticker is None:
            return None
        market, price = self._markets.get(asset.symbol), self._prices.get(asset.symbol)
        underlying = None if market is None else market.underlyingMarket
        share = None if price is None or price.underlyingMarket is None else price.underlyingMarket.price
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

    def __init__(self, client: OndoClient | None, snapshot_threshold: int) -> None:
        self.configured = client is not None
        self._snapshot_threshold = snapshot_threshold
        if client is not None:
            self._client = client
            self._metadata = Register(client.fetch_metadata, _index_metadata, _METADATA_SECONDS)
            self._prices = Register(client.fetch_prices, _index_prices, _PRICE_SECONDS)
            self._changes = Register(client.fetch_enhanced_prices, _index_changes, _PRICE_SECONDS)
            self._markets = Register(client.fetch_markets, _index_markets, _MARKET_SECONDS)

    def parts(self, namespace: Namespace) -> Sequence[ChainId | None]:
        """Each of Ondo's chains in the namespace."""
        return [chain_id for chain_id in _CHAIN_NAMES if chain_id.namespace is namespace]

    def needed_parts(self, namespace: Namespace, scope: Scope) -> frozenset[ChainId | None]:
        """Each chain that the scope allows; none for token accounts, which Ondo does not tell apart."""
        if scope.token_accounts is not None or not scope.allows_kind(_KINDS[namespace]):
            return frozenset()
        return frozenset(
            chain_id
            for chain_id in self.parts(namespace)
            if chain_id is not None and scope.allows_chain(chain_id) and _names_a_token(scope, chain_id)
        )

    async def ask(self, questions: Sequence[Question], reading: Reading) -> Mapping[AccountAddress, Answer]:
        """One request for each chain and address, or one for a chain that many addresses are wanted on."""
        requests: list[_Request] = []
        register = await self._register_if_named(questions, reading)
        reports = {question.address: self._unasked_reports(question) for question in questions}
        for chain_id in _CHAIN_NAMES:
            asking = {
                question.address: scopes
                for question in questions
                if (scopes := self._scopes_on(chain_id, question, register))
            }
            if 0 < self._snapshot_threshold <= len(asking):
                requests.append(_Request(chain_id, list(asking)))
            else:
                requests += [
                    _Request(chain_id, [address], address, _only_asset(chain_id, scopes))
                    for address, scopes in asking.items()
                ]
        outcomes = await asyncio.gather(*[self._fetch(request, reading) for request in requests])
        rows: dict[AccountAddress, list[tuple[AccountAddress, AssetId, _Balance, datetime]]] = {}
        for request, outcome in zip(requests, outcomes, strict=True):
            chain_id = request.chain_id
            for address in request.addresses:
                if isinstance(outcome, LoadError):
                    reports[address][chain_id] = failed_report(self.name, chain_id, (address,), outcome)
                    continue
                reports[address][chain_id] = outcome.report((address,))
                rows.setdefault(address, []).extend(
                    (address, asset_id, balance, outcome.fetched_at)
                    for asset_id, balance in outcome.by_holder.get(address, {}).items()
                )
        return {
            address: _OndoAnswer(list(by_part.values()), rows.get(address, []), register)
            for address, by_part in reports.items()
        }

    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """The register of assets always; prices, changes and markets where they are wanted."""
        priced = bool(wants & (Wants.PRICE | Wants.PRICE_CHANGE))
        metadata, prices, changes, markets = await asyncio.gather(
            reading.try_read(self._metadata),
            _if(priced, reading, self._prices),
            _if(Wants.PRICE_CHANGE in wants, reading, self._changes),
            _if(Wants.MARKET in wants, reading, self._markets),
        )
        return _OndoBook(metadata, prices, changes, markets)

    async def chains(self, reading: Reading) -> frozenset[ChainId]:
        """Ethereum, BNB Chain and Solana."""
        return frozenset(_CHAIN_NAMES)

    async def holders(self, asset_id: AssetId, reading: Reading) -> Answer | None:
        """Every holder of one of Ondo's tokens, in one request; None for any other token."""
        chain_id = asset_id.chain_id
        if chain_id not in _CHAIN_NAMES or asset_id.is_native:
            return None
        try:
            if asset_id not in (await reading.read(self._metadata)).by_asset_id:
                return None
        except LoadError:
            pass  # the register cannot tell; the chain itself may
        outcome = await self._fetch(_Request(chain_id, [], token=asset_id), reading)
        if isinstance(outcome, LoadError):
            return _OndoAnswer([failed_report(self.name, chain_id, (), outcome)], [])
        rows = [
            (holder, asset_id, balances[asset_id], outcome.fetched_at)
            for holder, balances in outcome.by_holder.items()
            if asset_id in balances
        ]
        return _OndoAnswer([outcome.report(tuple(row[0] for row in rows))], rows)

    async def _fetch(self, request: _Request, reading: Reading) -> _ChainAnswer | LoadError:
        try:
            fetched = await self._client.fetch_balances(
                _CHAIN_NAMES[request.chain_id],
                reading.deadline,
                user_address=request.user,
                token_address=None if request.token is None else request.token.reference,
            )
        except LoadError as error:
            return error
        return _index_balances(request.chain_id, fetched)

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


async def _if(wanted: bool, reading: Reading, register: Register[_T]) -> _T | LoadError | None:
    return await reading.try_read(register) if wanted else None


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
