"""Solana balances from The Graph Token API as a source: SPL token accounts and native SOL."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any, ClassVar, TypeVar

from pydantic import TypeAdapter

from loaders.cache import Codec, Lifetime
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
from loaders.read_through import Caches, ReadThrough
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
from loaders.source import (
    Answer,
    Book,
    Question,
    Scope,
    Source,
    failed_report,
    joined,
    partial_report,
    stale_report,
)
from loaders.upstream.fields import Rows, instant
from loaders.upstream.http import Fetched
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
_BALANCE_SECONDS = 15.0
_NETWORKS = Lifetime(10, 50, 50)
_MINTS = Lifetime(600, 3_600, 86_400)

# What one token account, or a mint's metadata, takes in memory, by measurement.
_ROW_BYTES = 1_800

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
    """What a request for token accounts is narrowed to: at most one of the lists; None does not narrow."""

    mints: frozenset[str] | None
    token_accounts: frozenset[str] | None
    program_id: str | None
    zero: bool

    def covers(self, other: _Filter) -> bool:
        """Whether all that the other lets through passes here too."""
        return (
            _within(other.mints, self.mints)
            and _within(other.token_accounts, self.token_accounts)
            and self.program_id in (None, other.program_id)
            and (self.zero or not other.zero)
        )

    def united(self, other: _Filter) -> _Filter | None:
        """One filter that lets through what both do, and little else; None when they are better asked apart."""
        if self.covers(other):
            return self
        if other.covers(self):
            return other
        return self | other if self.shape == other.shape else None

    def __or__(self, other: _Filter) -> _Filter:
        """A filter of the same shape with the lists of both."""
        return replace(
            self,
            mints=joined(self.mints, other.mints),
            token_accounts=joined(self.token_accounts, other.token_accounts),
        )

    def allows(self, row: SplBalanceRecord) -> bool:
        """Whether the row is one of those asked for; what a program's id means only the answer tells."""
        return (self.mints is None or row.mint in self.mints) and (
            self.token_accounts is None or row.account in self.token_accounts
        )

    def serves(self, other: _Filter) -> bool:
        """Whether a request with this filter gives some of what the other wants."""
        return (
            _meet(self.mints, other.mints)
            and _meet(self.token_accounts, other.token_accounts)
            and self.program_id in (None, other.program_id)
            and (self.zero or not other.zero)
        )

    @property
    def shape(self) -> _Filter:
        """The filter without its lists: owners whose filters have one shape share requests."""
        none = frozenset[str]()
        return replace(self, mints=self.mints and none, token_accounts=self.token_accounts and none)


def _within(inner: frozenset[str] | None, outer: frozenset[str] | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


def _meet(asked: frozenset[str] | None, wanted: frozenset[str] | None) -> bool:
    return asked is None or (wanted is not None and not asked.isdisjoint(wanted))


def _unite(filters: Sequence[_Filter]) -> list[_Filter]:
    """As few filters as give what all of these do, the widest first."""
    united: list[_Filter] = []
    for narrowed in sorted(filters, key=lambda one: (one.mints is not None) + (one.token_accounts is not None)):
        for index, seen in enumerate(united):
            together = seen.united(narrowed)
            if together is not None:
                united[index] = together
                break
        else:
            united.append(narrowed)
    return united


_Key = tuple[str, str, str]
"""Token account, mint and program: what makes two rows of one owner the same."""


@dataclass(slots=True)
class _Outcome:
    """How it went to read some owners' token accounts, or their SOL; ``errors`` say why not all of it.

    ``truncated`` without an error: there are more pages than we read. ``stale`` are the errors in whose place an
    earlier answer stands.
    """

    calls: frozenset[int] = frozenset()
    fetched_at: list[datetime] = field(default_factory=list)
    errors: list[LoadError] = field(default_factory=list)
    truncated: bool = False
    unreadable: bool = False
    stale: list[LoadError] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)

    def add(self, other: _Outcome) -> None:
        """Takes in what another request gave."""
        self.calls |= other.calls
        self.fetched_at += other.fetched_at
        self.errors += other.errors
        self.truncated |= other.truncated
        self.unreadable |= other.unreadable
        self.stale += other.stale
        self.ages += other.ages

    @classmethod
    def of(cls, answered: Fetched[_Rows] | Fetched[_Native] | LoadError) -> _Outcome:
        """How one question fared, whether upstream or a cache answered it."""
        if isinstance(answered, LoadError):
            return cls(answered.calls, errors=[answered])
        value = answered.value
        return cls(
            answered.calls,
            [answered.fetched_at],
            [] if value.error is None else [value.error],
            value.truncated,
            value.unreadable,
            [] if answered.stale is None else [answered.stale],
            [] if answered.cache_age_seconds is None else [answered.cache_age_seconds],
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Token accounts of one owner; ``truncated`` if there are more, and not by our own limit if there is an error."""

    rows: tuple[SplBalanceRecord, ...]
    truncated: bool = False
    unreadable: bool = False
    error: LoadError | None = None


@dataclass(frozen=True, slots=True)
class _Native:
    """One owner's SOL; no row where there is none."""

    row: NativeBalanceRecord | None
    unreadable: bool = False
    truncated: ClassVar[bool] = False
    error: ClassVar[LoadError | None] = None


@dataclass(frozen=True, slots=True)
class _OfOwner:
    """A question for one owner's token accounts, through a filter whose lists are no longer than a plan allows."""

    owner: AccountAddress
    narrowed: _Filter

    def __str__(self) -> str:
        some = self.narrowed
        if some == _Filter(None, None, None, some.zero):
            return f"{self.owner}:all:{some.zero:d}"
        lists = [None if some is None else sorted(some) for some in (some.mints, some.token_accounts)]
        text = json.dumps([lists, self.narrowed.program_id, self.narrowed.zero])
        return f"{self.owner}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class _SolOf:
    """A question for one owner's SOL."""

    owner: AccountAddress
    zero: bool

    def __str__(self) -> str:
        return f"{self.owner}:{self.zero:d}"


_SPL_LIST = TypeAdapter(tuple[SplBalanceRecord, ...])
_NATIVE_ROW = TypeAdapter(NativeBalanceRecord | None)
_MINT_ROW = TypeAdapter(MintRecord | None)


def _encode(*parts: Any) -> bytes:
    # In ASCII, as strangers' text may hold what UTF-8 does not.
    return json.dumps(parts).encode("ascii")


def _decode_rows(body: bytes) -> _Rows:
    truncated, unreadable, rows = json.loads(body)
    return _Rows(_SPL_LIST.validate_python(rows), bool(truncated), bool(unreadable))


def _decode_native(body: bytes) -> _Native:
    unreadable, row = json.loads(body)
    return _Native(_NATIVE_ROW.validate_python(row), bool(unreadable))


_ROWS: Codec[_Rows] = Codec(
    version=1,
    encode=lambda value: _encode(value.truncated, value.unreadable, _SPL_LIST.dump_python(value.rows)),
    decode=_decode_rows,
    size=lambda value: _ROW_BYTES * (1 + len(value.rows)),
)
_NATIVES: Codec[_Native] = Codec(
    version=1,
    encode=lambda value: _encode(value.unreadable, _NATIVE_ROW.dump_python(value.row)),
    decode=_decode_native,
    size=lambda value: _ROW_BYTES,
)
_METADATA: Codec[MintRecord | None] = Codec(
    version=1,
    encode=lambda value: _encode(_MINT_ROW.dump_python(value)),
    decode=lambda body: _MINT_ROW.validate_python(json.loads(body)[0]),
    size=lambda value: _ROW_BYTES,
)


@dataclass(slots=True)
class _Owner:
    """Everything read for one address."""

    rows: dict[_Key, SplBalanceRecord] = field(default_factory=dict)
    native: NativeBalanceRecord | None = None
    of_rows: dict[_Filter, _Outcome] = field(default_factory=dict)
    of_native: _Outcome = field(default_factory=_Outcome)

    def add(self, row: SplBalanceRecord) -> None:
        """Keeps the row unless a newer one of the same token account is there."""
        key = (row.account, row.mint, row.program_id)
        seen = self.rows.get(key)
        if seen is None or row.last_update_block_num > seen.last_update_block_num:
            self.rows[key] = row


def _index_networks(records: Rows[NetworkRecord]) -> AsOf | None:
    for network in records.rows:
        for indexed in network.indexed_to.rows:
            if network.id == "solana" and indexed.category == "balances":
                return AsOf(indexed.block_num, instant(indexed.timestamp))
    return None


class _SolanaAnswer(Answer):
    def __init__(self, address: AccountAddress, owner: _Owner) -> None:
        super().__init__([_report(address, [*owner.of_rows.values(), owner.of_native])])
        self._address = address
        self._account_id = AccountId.of(SOLANA_MAINNET, address)
        self._owner = owner
        self._fetched_at = self.reports[0].fetched_at or datetime.now(UTC)

    def reports_within(self, scopes: Sequence[Scope]) -> Sequence[Report]:
        """Token accounts and SOL are asked for in requests of their own, and one may fail without the others."""
        filters = [narrowed for scope in scopes if (narrowed := _filter(scope)) is not None]
        parts = [
            outcome
            for asked, outcome in self._owner.of_rows.items()
            if any(asked.serves(narrowed) for narrowed in filters)
        ]
        parts += [self._owner.of_native] if any(_needs_native(scope) for scope in scopes) else []
        return [_report(self._address, parts)] if parts else self.reports

    def observations(self, scope: Scope) -> list[Observation]:
        """One for each mint, its token accounts summed, and one for SOL; ``raw`` in smallest units."""
        by_asset: dict[AssetId, list[SplBalanceRecord]] = {}
        for row in self._owner.rows.values():
            if scope.token_accounts is not None and row.account not in scope.token_accounts:
                continue
            asset_id = AssetId.of_token(SOLANA_MAINNET, row.mint)
            if (row.amount or scope.zero) and scope.allows_asset(asset_id):
                by_asset.setdefault(asset_id, []).append(row)
        observations = [self._of_mint(asset_id, rows) for asset_id, rows in by_asset.items()]
        native = self._owner.native
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
    def __init__(self, facts: Mapping[AssetId, TokenFacts]) -> None:
        self._facts = facts

    def facts(self, asset_id: AssetId) -> TokenFacts | None:
        """A mint's on-chain metadata, if it was asked for by name."""
        return self._facts.get(asset_id)


class SolanaSource(Source):
    """Token accounts of many owners a request, paged to the end, and native SOL beside them."""

    name: ClassVar[HoldingSource] = HoldingSource.SOLANA_SPL
    namespaces: ClassVar[frozenset[Namespace]] = frozenset({Namespace.SOLANA})

    def __init__(self, client: TheGraphClient | None, caches: Caches) -> None:
        self.configured = client is not None
        if client is not None:
            self._client = client
            self._indexed_to = Register(caches, "thegraph:networks", client.networks, _index_networks, _NETWORKS)
            lifetime, fingerprint = caches.balance_lifetime(_BALANCE_SECONDS), client.fingerprint
            self._rows: ReadThrough[_OfOwner, _Rows] = ReadThrough(
                caches,
                "thegraph:balances",
                fingerprint=fingerprint,
                fetch=self._fetch_rows,
                name=str,
                codec=_ROWS,
                lifetime=lifetime,
                incomplete=lambda value: value.error,
            )
            self._native: ReadThrough[_SolOf, _Native] = ReadThrough(
                caches,
                "thegraph:native",
                fingerprint=fingerprint,
                fetch=self._fetch_native,
                name=str,
                codec=_NATIVES,
                lifetime=lifetime,
            )
            self._mints: ReadThrough[str, MintRecord | None] = ReadThrough(
                caches,
                "thegraph:mints",
                fingerprint=fingerprint,
                fetch=self._fetch_mints,
                name=str,
                codec=_METADATA,
                lifetime=_MINTS,
            )

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
        rows: dict[_OfOwner, None] = {}
        native: dict[_SolOf, None] = {}
        for question in questions:
            filters = [narrowed for scope in question.scopes if (narrowed := _filter(scope)) is not None]
            for narrowed in _unite(filters):
                rows.update(dict.fromkeys(self._of_owner(question.address, narrowed)))
            native_scopes = [scope for scope in question.scopes if _needs_native(scope)]
            if native_scopes:
                native[_SolOf(question.address, any(scope.zero for scope in native_scopes))] = None
        wants_freshness = any(Wants.FRESHNESS in question.wants for question in questions)
        of_rows, of_native, _ = await asyncio.gather(
            self._rows.load(rows, reading.deadline),
            self._native.load(native, reading.deadline),
            self._read_ahead(reading, wants_freshness),
        )
        for of_owner, answered in of_rows.items():
            owner = owners[of_owner.owner]
            owner.of_rows[of_owner.narrowed] = _Outcome.of(answered)
            for row in answered.value.rows if isinstance(answered, Fetched) else ():
                owner.add(row)
        for sol_of, sol in of_native.items():
            owners[sol_of.owner].of_native = _Outcome.of(sol)
            owners[sol_of.owner].native = sol.value.row if isinstance(sol, Fetched) else None
        return {address: _SolanaAnswer(address, owner) for address, owner in owners.items()}

    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """SOL's facts, and the metadata of the named mints, as many a request as the plan allows."""
        mints = [a.reference for a in asset_ids if a.chain_id == SOLANA_MAINNET and not a.is_native]
        facts: dict[AssetId, TokenFacts] = {NATIVE_SOL: _SOL}
        for mint, answered in (await self._mints.load(mints, reading.deadline)).items():
            # What cannot be read stays unknown.
            if isinstance(answered, Fetched) and answered.value is not None:
                facts[AssetId.of_token(SOLANA_MAINNET, mint)] = _facts(answered.value)
        return _SolanaBook(facts)

    async def chains(self, reading: Reading) -> frozenset[ChainId]:
        """Solana."""
        return frozenset({SOLANA_MAINNET})

    async def indexed_to(self, reading: Reading) -> AsOf | None:
        """The last block whose balances are read; None when the service does not say."""
        try:
            return await reading.read(self._indexed_to)
        except LoadError:
            return None

    async def _read_ahead(self, reading: Reading, wants_freshness: bool) -> None:
        """Asks how far Solana is indexed at the same time as for the balances."""
        if wants_freshness:
            await self.indexed_to(reading)

    @property
    def _plan(self) -> Plan:
        return self._client.plan

    def _of_owner(self, owner: AccountAddress, narrowed: _Filter) -> list[_OfOwner]:
        """The questions that a filter comes to: all of the owner's rows if they are known already."""
        for zero in (True, False) if not narrowed.zero else (True,):
            everything = _OfOwner(owner, _Filter(None, None, None, zero))
            if everything.narrowed.covers(narrowed) and self._rows.has_fresh(everything):
                return [everything]
        return [_OfOwner(owner, part) for part in _parts(narrowed, self._plan.batch)]

    async def _fetch_rows(
        self,
        questions: Sequence[_OfOwner],
        deadline: float,
        land: Callable[[_OfOwner, Fetched[_Rows] | LoadError], None],
    ) -> None:
        """Owners whose filters have one shape share requests."""

        async def read(some: Sequence[_OfOwner]) -> None:
            together = reduce(or_, [question.narrowed for question in some])
            owners = list(dict.fromkeys(question.owner for question in some))
            parts = _parts(together, self._plan.batch)
            pages = await asyncio.gather(*[self._read_pages(owners, part, deadline) for part in parts])
            for question in some:
                serving = [one for part, one in zip(parts, pages, strict=True) if part.serves(question.narrowed)]
                land(question, _of_pages(question, serving))

        by_shape: dict[_Filter, list[_OfOwner]] = {}
        for question in questions:
            by_shape.setdefault(question.narrowed.shape, []).append(question)
        size = min(self._plan.batch, self._plan.page)
        await asyncio.gather(*[read(some) for alike in by_shape.values() for some in _chunks(alike, size)])

    async def _read_pages(
        self,
        owners: Sequence[str],
        narrowed: _Filter,
        deadline: float,
    ) -> tuple[list[SplBalanceRecord], _Outcome]:
        rows: list[SplBalanceRecord] = []
        went = _Outcome()
        for page in range(1, _MAX_PAGES + 1):
            try:
                fetched = await self._client.fetch_spl_balances(
                    owners,
                    page,
                    deadline,
                    mints=sorted(narrowed.mints or ()),
                    token_accounts=sorted(narrowed.token_accounts or ()),
                    program_id=narrowed.program_id,
                    include_zero=narrowed.zero,
                )
            except LoadError as error:
                went.add(_Outcome(error.calls, errors=[error], truncated=page > 1))
                break
            read = fetched.value
            went.add(_Outcome(fetched.calls, [fetched.fetched_at], unreadable=read.dropped > 0))
            rows += read.rows
            if len(read.rows) + read.dropped < self._plan.page:
                break
        else:
            went.add(_Outcome(truncated=True))
        readable = [row for row in rows if all(map(is_solana_address, (row.account, row.mint, row.program_id)))]
        went.unreadable |= len(readable) < len(rows)
        return readable, went

    async def _fetch_native(
        self,
        questions: Sequence[_SolOf],
        deadline: float,
        land: Callable[[_SolOf, Fetched[_Native] | LoadError], None],
    ) -> None:
        """As many owners a request as the plan allows."""

        async def read(some: Sequence[AccountAddress], zero: bool) -> None:
            try:
                fetched = await self._client.fetch_native_balances(some, 1, deadline, include_zero=zero)
            except LoadError as error:
                for owner in some:
                    land(_SolOf(owner, zero), error)
                return
            rows: dict[str, NativeBalanceRecord] = {}
            for row in fetched.value.rows:
                seen = rows.get(row.address)
                if seen is None or row.last_update_block_num > seen.last_update_block_num:
                    rows[row.address] = row
            unreadable = fetched.value.dropped > 0
            for owner in some:
                land(_SolOf(owner, zero), fetched.with_value(_Native(rows.get(owner), unreadable)))

        size = min(self._plan.batch, self._plan.page)
        by_zero = {zero: [q.owner for q in questions if q.zero is zero] for zero in (False, True)}
        await asyncio.gather(
            *[read(some, zero) for zero, owners in by_zero.items() for some in _chunks(owners, size)]
        )

    async def _fetch_mints(
        self,
        mints: Sequence[str],
        deadline: float,
        land: Callable[[str, Fetched[MintRecord | None] | LoadError], None],
    ) -> None:
        """As many mints a request as the plan allows."""

        async def read(some: Sequence[str]) -> None:
            try:
                fetched = await self._client.fetch_mints(some, deadline)
            except LoadError as error:
                for mint in some:
                    land(mint, error)
                return
            rows = {row.mint: row for row in fetched.value.rows}
            for mint in some:
                land(mint, fetched.with_value(rows.get(mint)))

        await asyncio.gather(*[read(some) for some in _chunks(mints, self._plan.batch)])


def _of_pages(
    question: _OfOwner, read: Sequence[tuple[list[SplBalanceRecord], _Outcome]]
) -> Fetched[_Rows] | LoadError:
    """One owner's part of what was read for several."""
    went = _Outcome()
    for _, one in read:
        went.add(one)
    if not went.fetched_at:
        went.errors[0].calls = went.calls
        return went.errors[0]
    rows = tuple(
        row for some, _ in read for row in some if row.owner == question.owner and question.narrowed.allows(row)
    )
    error = went.errors[0] if went.errors else None
    return Fetched(_Rows(rows, went.truncated, went.unreadable, error), min(went.fetched_at), went.calls)


def _report(address: AccountAddress, parts: Sequence[_Outcome]) -> Report:
    went = _Outcome()
    for part in parts:
        went.add(part)
    if went.errors and not went.fetched_at:
        failed = failed_report(HoldingSource.SOLANA_SPL, SOLANA_MAINNET, (address,), went.errors[0])
        return replace(failed, calls=went.calls)
    report = Report(
        HoldingSource.SOLANA_SPL,
        SOLANA_MAINNET,
        (address,),
        SourceStatus.OK,
        fetched_at=min(went.fetched_at, default=None),
        cache_age_seconds=max(went.ages, default=None),
        calls=went.calls,
    )
    if went.errors or went.truncated:
        return partial_report(
            report, went.errors[0] if went.errors else BudgetExhaustedError(), truncated=went.truncated
        )
    if went.stale:
        return stale_report(report, went.stale[0])
    return partial_report(report, UpstreamResponseError()) if went.unreadable else report


def _needs_native(scope: Scope) -> bool:
    return scope.token_accounts is None and scope.allows_kind(TokenKind.NATIVE) and scope.allows_asset(NATIVE_SOL)


def _filter(scope: Scope) -> _Filter | None:
    """What to narrow a request for token accounts to; None when the scope needs no token accounts."""
    # Which program an unknown kind is of, only the answer tells.
    wanted = [kind for kind in _PROGRAMS if scope.allows_kind(kind, TokenKind.UNKNOWN)]
    mints = None
    if scope.asset_ids is not None:
        named = [a for a in scope.asset_ids if a.chain_id == SOLANA_MAINNET and not a.is_native]
        mints = frozenset(a.reference for a in named if scope.allows_asset(a))
    if not wanted or mints == frozenset() or not scope.allows_chain(SOLANA_MAINNET):
        return None
    if scope.token_accounts is not None and not scope.token_accounts:
        return None
    if scope.token_accounts is not None:
        mints = None  # one list tells enough; the rows are filtered here as well
    return _Filter(mints, scope.token_accounts, _only_program(wanted), scope.zero)


def _parts(narrowed: _Filter, size: int) -> list[_Filter]:
    """The filter in parts whose lists are no longer than this."""
    if narrowed.mints is not None:
        return [replace(narrowed, mints=frozenset(some)) for some in _chunks(sorted(narrowed.mints), size)]
    if narrowed.token_accounts is not None:
        accounts = _chunks(sorted(narrowed.token_accounts), size)
        return [replace(narrowed, token_accounts=frozenset(some)) for some in accounts]
    return [narrowed]


def _only_program(kinds: Sequence[TokenKind]) -> str | None:
    return _PROGRAMS[kinds[0]] if len(kinds) == 1 else None


def _chunks(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
