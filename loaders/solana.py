"""Solana balances from The Graph Token API as a source: SPL token accounts and native SOL."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import ClassVar, TypeVar

from loaders.caip import (
    NATIVE_SOL,
    SOLANA_MAINNET,
    AccountAddress,
    AccountId,
    AssetId,
    ChainId,
    Namespace,
    is_solana_address,
)
from loaders.errors import BudgetExhaustedError, LoadError, UpstreamResponseError
from loaders.records import (
    AsOf,
    HoldingSource,
    Observation,
    Report,
    SourceStatus,
    TokenAccountRecord,
    TokenFacts,
    TokenKind,
    TokenTrust,
    Wants,
    clean_metadata_uri,
    clean_name,
    clean_symbol,
)
from loaders.registers import Reading, Register
from loaders.source import Answer, Book, Question, Scope, Source, failed_report, partial_report
from loaders.upstream.fields import Rows, instant
from loaders.upstream.thegraph import (
    MintRecord,
    NativeBalanceRecord,
    NetworkRecord,
    Plan,
    SplBalanceRecord,
    TheGraphClient,
)

_T = TypeVar("_T")

_MAX_PAGES = 100
_NETWORKS_SECONDS = 10

_PROGRAMS = {
    TokenKind.SPL: "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
    TokenKind.SPL_2022: "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
}
_KINDS = {program: kind for kind, program in _PROGRAMS.items()}

_SOL = TokenFacts(
    HoldingSource.SOLANA_SPL,
    symbol="SOL",
    name="Solana",
    decimals=9,
    kind=TokenKind.NATIVE,
    trust=TokenTrust.UNLISTED,
)


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a request for token accounts is narrowed to; None does not narrow."""

    mints: frozenset[str] | None
    token_accounts: frozenset[str] | None
    program_id: str | None
    zero: bool

    def __or__(self, other: _Filter) -> _Filter:
        """A filter that lets both through."""
        return _Filter(
            None if self.mints is None or other.mints is None else self.mints | other.mints,
            None
            if self.token_accounts is None or other.token_accounts is None
            else self.token_accounts | other.token_accounts,
            self.program_id if self.program_id == other.program_id else None,
            self.zero or other.zero,
        )

    @property
    def shape(self) -> _Filter:
        """The filter without its lists: owners whose filters have one shape share requests."""
        none = frozenset[str]()
        return _Filter(self.mints and none, self.token_accounts and none, self.program_id, self.zero)


@dataclass(frozen=True, slots=True)
class _TokenAccount:
    """A row with the asset that its mint is."""

    asset_id: AssetId
    row: SplBalanceRecord


@dataclass(slots=True)
class _Pages:
    """What came of reading some owners' pages to the end; ``error`` says why not all of it."""

    rows: list[_TokenAccount] = field(default_factory=list)
    calls: frozenset[int] = frozenset()
    fetched_at: datetime | None = None
    error: LoadError | None = None
    truncated: bool = False
    unreadable: bool = False


@dataclass(slots=True)
class _Owner:
    """Everything read for one address."""

    accounts: list[_TokenAccount] = field(default_factory=list)
    native: NativeBalanceRecord | None = None
    calls: frozenset[int] = frozenset()
    fetched_at: list[datetime] = field(default_factory=list)
    errors: list[LoadError] = field(default_factory=list)
    truncated: bool = False
    unreadable: bool = False


def _index_networks(records: Rows[NetworkRecord]) -> AsOf | None:
    for network in records.rows:
        for indexed in network.indexed_to:
            if network.id == "solana" and indexed.category == "balances":
                return AsOf(indexed.block_num, instant(indexed.timestamp))
    return None


class _SolanaAnswer(Answer):
    def __init__(self, report: Report, address: AccountAddress, owner: _Owner) -> None:
        super().__init__([report])
        self._account_id = AccountId.of(SOLANA_MAINNET, address)
        self._fetched_at = min(owner.fetched_at, default=datetime.now(UTC))
        self._accounts = owner.accounts
        self._native = owner.native

    def observations(self, scope: Scope) -> list[Observation]:
        """One for each mint, its token accounts summed, and one for SOL; ``raw`` in smallest units."""
        by_asset: dict[AssetId, list[SplBalanceRecord]] = {}
        for account in self._accounts:
            row = account.row
            if scope.token_accounts is not None and row.account not in scope.token_accounts:
                continue
            if (row.amount or scope.zero) and scope.allows_asset(account.asset_id):
                by_asset.setdefault(account.asset_id, []).append(row)
        observations = [self._of_mint(asset_id, rows) for asset_id, rows in by_asset.items()]
        native = self._native
        if native is not None and _needs_native(scope) and (native.amount or scope.zero):
            observations.append(self._of_native(native))
        return observations

    def _of_mint(self, asset_id: AssetId, rows: Sequence[SplBalanceRecord]) -> Observation:
        newest = max(rows, key=lambda row: row.last_update_block_num)
        facts = _facts(newest)
        return Observation(
            source=HoldingSource.SOLANA_SPL,
            account_id=self._account_id,
            asset_id=asset_id,
            reported_asset=newest.mint,
            amount=None,
            raw=sum(row.amount for row in rows),
            decimals=facts.decimals,
            value=None,
            fetched_at=self._fetched_at,
            as_of=_as_of(newest),
            token_accounts=tuple(
                TokenAccountRecord(row.account, row.program_id, row.amount, _as_of(row)) for row in rows
            ),
            facts=facts,
        )

    def _of_native(self, row: NativeBalanceRecord) -> Observation:
        return Observation(
            source=HoldingSource.SOLANA_SPL,
            account_id=self._account_id,
            asset_id=NATIVE_SOL,
            reported_asset="SOL",
            amount=None,
            raw=row.amount,
            decimals=_SOL.decimals,
            value=None,
            fetched_at=self._fetched_at,
            as_of=_as_of(row),
            facts=_SOL,
        )


def _as_of(row: SplBalanceRecord | NativeBalanceRecord) -> AsOf:
    return AsOf(row.last_update_block_num, instant(row.last_update_timestamp))


def _facts(row: SplBalanceRecord | MintRecord) -> TokenFacts:
    symbol, name = clean_symbol(row.symbol), clean_name(row.name)
    # An unknown mint comes with 0 decimals, as a token without fractions does; only its text tells them apart.
    known = row.decimals or row.symbol or row.name
    return TokenFacts(
        HoldingSource.SOLANA_SPL,
        symbol=symbol,
        name=name,
        decimals=row.decimals if known else None,
        kind=_KINDS.get(row.program_id),
        trust=TokenTrust.UNLISTED,
        metadata_uri=clean_metadata_uri(row.uri),
    )


class _SolanaBook(Book):
    def __init__(self, facts: Mapping[AssetId, TokenFacts], failures: Sequence[LoadError]) -> None:
        self._facts = facts
        self.failures = failures

    def facts(self, asset_id: AssetId) -> TokenFacts | None:
        """A mint's on-chain metadata, if it was asked for by name."""
        return self._facts.get(asset_id)


class SolanaSource(Source):
    """Token accounts of many owners a request, paged to the end, and native SOL beside them."""

    name: ClassVar[HoldingSource] = HoldingSource.SOLANA_SPL
    namespaces: ClassVar[frozenset[Namespace]] = frozenset({Namespace.SOLANA})

    def __init__(self, client: TheGraphClient | None) -> None:
        self.configured = client is not None
        if client is not None:
            self._client = client
            self._indexed_to = Register(client.fetch_networks, _index_networks, _NETWORKS_SECONDS)

    def parts(self, namespace: Namespace) -> Sequence[ChainId | None]:
        """Solana alone."""
        return [SOLANA_MAINNET] if namespace is Namespace.SOLANA else []

    def needed_parts(self, namespace: Namespace, scope: Scope) -> frozenset[ChainId | None]:
        """Solana, where the scope allows a token account or SOL."""
        needed = namespace is Namespace.SOLANA and (_needs_native(scope) or _filter(scope) is not None)
        return frozenset({SOLANA_MAINNET} if needed else ())

    async def ask(self, questions: Sequence[Question], reading: Reading) -> Mapping[AccountAddress, Answer]:
        """Owners with alike filters share requests; pages are read to the end, SOL at the same time."""
        owners = {question.address: _Owner() for question in questions}
        filtered: dict[_Filter, list[tuple[AccountAddress, _Filter]]] = {}
        native: dict[bool, list[AccountAddress]] = {}
        for question in questions:
            filters = [narrowed for scope in question.scopes if (narrowed := _filter(scope)) is not None]
            if filters:
                narrowed = reduce(or_, filters)
                filtered.setdefault(narrowed.shape, []).append((question.address, narrowed))
            native_scopes = [scope for scope in question.scopes if _needs_native(scope)]
            if native_scopes:
                native.setdefault(any(scope.zero for scope in native_scopes), []).append(question.address)
        freshness = any(question.wants & Wants.FRESHNESS for question in questions)
        indexed_to, *_ = await asyncio.gather(
            self._freshness(reading, freshness),
            *[self._read_accounts(group, owners, reading) for group in filtered.values()],
            *[self._read_native(some, zero, owners, reading) for zero, some in native.items()],
        )
        return {
            address: _SolanaAnswer(_report(address, owner, indexed_to), address, owner)
            for address, owner in owners.items()
        }

    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """SOL's facts, and the metadata of the named mints, as many a request as the plan allows."""
        mints = [a.reference for a in asset_ids if a.chain_id == SOLANA_MAINNET and not a.is_native]
        facts: dict[AssetId, TokenFacts] = {NATIVE_SOL: _SOL}
        failures: list[LoadError] = []

        async def read(chunk: Sequence[str]) -> None:
            try:
                fetched = await self._client.fetch_mints(chunk, reading.deadline)
            except LoadError as error:
                failures.append(error)
                return
            for record in fetched.value.rows:
                if record.mint in chunk:
                    facts[AssetId.of_token(SOLANA_MAINNET, record.mint)] = _facts(record)

        await asyncio.gather(*[read(chunk) for chunk in _chunks(mints, self._plan.batch)])
        return _SolanaBook(facts, failures)

    async def chains(self, reading: Reading) -> frozenset[ChainId]:
        """Solana."""
        return frozenset({SOLANA_MAINNET})

    @property
    def _plan(self) -> Plan:
        return self._client.plan

    async def _freshness(self, reading: Reading, wanted: bool) -> AsOf | None:
        try:
            return await reading.read(self._indexed_to) if wanted else None
        except LoadError:
            return None

    async def _read_accounts(
        self,
        group: Sequence[tuple[AccountAddress, _Filter]],
        owners: Mapping[AccountAddress, _Owner],
        reading: Reading,
    ) -> None:
        together = reduce(or_, [narrowed for _, narrowed in group])

        async def read(some: Sequence[AccountAddress], mints: Sequence[str], accounts: Sequence[str]) -> None:
            pages = await self._read_pages(some, mints, accounts, together, reading.deadline)
            for address in some:
                owner = owners[address]
                owner.calls |= pages.calls
                owner.truncated |= pages.truncated
                owner.unreadable |= pages.unreadable
                owner.errors += [pages.error] if pages.error is not None else []
                owner.fetched_at += [pages.fetched_at] if pages.fetched_at is not None else []
            for account in pages.rows:
                if account.row.owner in some:
                    owners[AccountAddress(account.row.owner)].accounts.append(account)

        batch = self._plan.batch
        addresses = [address for address, _ in group]
        await asyncio.gather(
            *[
                read(some, some_mints, some_accounts)
                for some in _chunks(addresses, min(batch, self._plan.page))
                for some_mints in _chunks(sorted(together.mints or ()), batch) or [[]]
                for some_accounts in _chunks(sorted(together.token_accounts or ()), batch) or [[]]
            ]
        )

    async def _read_pages(
        self,
        owners: Sequence[str],
        mints: Sequence[str],
        token_accounts: Sequence[str],
        narrowed: _Filter,
        deadline: float,
    ) -> _Pages:
        pages = _Pages()
        newest: dict[tuple[str, str, str, str], SplBalanceRecord] = {}
        for page in range(1, _MAX_PAGES + 1):
            try:
                fetched = await self._client.fetch_spl_balances(
                    owners,
                    page,
                    deadline,
                    mints=mints,
                    token_accounts=token_accounts,
                    program_id=narrowed.program_id,
                    include_zero=narrowed.zero,
                )
            except LoadError as error:
                pages.calls |= error.calls
                pages.error, pages.truncated = error, page > 1
                break
            pages.calls |= fetched.calls
            pages.fetched_at = pages.fetched_at or fetched.fetched_at
            pages.unreadable |= fetched.value.dropped > 0
            for row in fetched.value.rows:
                # A row moves to the front when it changes, so a page may repeat what another one had; and some
                # releases show an account under its earlier owner too.
                key = (row.owner, row.account, row.mint, row.program_id)
                seen = newest.get(key)
                if seen is None or row.last_update_block_num > seen.last_update_block_num:
                    newest[key] = row
            if len(fetched.value.rows) + fetched.value.dropped < self._plan.page:
                break
        else:
            pages.error, pages.truncated = BudgetExhaustedError(), True
        for row in newest.values():
            if all(map(is_solana_address, (row.account, row.mint, row.program_id))):
                pages.rows.append(_TokenAccount(AssetId.of_token(SOLANA_MAINNET, row.mint), row))
            else:
                pages.unreadable = True
        return pages

    async def _read_native(
        self,
        addresses: Sequence[AccountAddress],
        zero: bool,
        owners: Mapping[AccountAddress, _Owner],
        reading: Reading,
    ) -> None:
        async def read(some: Sequence[AccountAddress]) -> None:
            try:
                fetched = await self._client.fetch_native_balances(some, 1, reading.deadline, include_zero=zero)
            except LoadError as error:
                for address in some:
                    owners[address].errors.append(error)
                    owners[address].calls |= error.calls
                return
            for address in some:
                owners[address].calls |= fetched.calls
                owners[address].fetched_at.append(fetched.fetched_at)
                owners[address].unreadable |= fetched.value.dropped > 0
            for row in fetched.value.rows:
                if row.address in some:
                    owner = owners[AccountAddress(row.address)]
                    if owner.native is None or row.last_update_block_num > owner.native.last_update_block_num:
                        owner.native = row

        await asyncio.gather(*[read(some) for some in _chunks(addresses, min(self._plan.batch, self._plan.page))])


def _report(address: AccountAddress, owner: _Owner, indexed_to: AsOf | None) -> Report:
    if not owner.fetched_at and owner.errors:
        return failed_report(HoldingSource.SOLANA_SPL, SOLANA_MAINNET, address, owner.errors[0])
    report = Report(
        HoldingSource.SOLANA_SPL,
        SOLANA_MAINNET,
        (address,),
        SourceStatus.OK,
        fetched_at=min(owner.fetched_at, default=None),
        indexed_to=indexed_to,
        calls=owner.calls,
    )
    if owner.errors:
        return partial_report(report, owner.errors[0], truncated=owner.truncated)
    return partial_report(report, UpstreamResponseError()) if owner.unreadable else report


def _needs_native(scope: Scope) -> bool:
    return scope.token_accounts is None and scope.allows_kind(TokenKind.NATIVE) and scope.allows_asset(NATIVE_SOL)


def _filter(scope: Scope) -> _Filter | None:
    """What to narrow a request for token accounts to; None when the scope needs no token accounts."""
    wanted = [kind for kind in _PROGRAMS if scope.allows_kind(kind)]
    mints = None
    if scope.asset_ids is not None:
        named = [a for a in scope.asset_ids if a.chain_id == SOLANA_MAINNET and not a.is_native]
        mints = frozenset(a.reference for a in named if scope.allows_asset(a))
    if not wanted or mints == frozenset() or not scope.allows_chain(SOLANA_MAINNET):
        return None
    if scope.token_accounts is not None and not scope.token_accounts:
        return None
    return _Filter(mints, scope.token_accounts, _only_program(wanted), scope.zero)


def _only_program(kinds: Sequence[TokenKind]) -> str | None:
    return _PROGRAMS[kinds[0]] if len(kinds) == 1 else None


def _chunks(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
