"""Solana balances from The Graph Token API as a source: SPL token accounts and native SOL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from msgspec.structs import replace

from loaders import amounts
from loaders.books import Book
from loaders.cache import Lifetime
from loaders.caip import (
    NATIVE_SOL,
    SOLANA_MAINNET,
    AccountAddress,
    AccountId,
    AssetId,
    ChainId,
    Namespace,
)
from loaders.errors import BudgetExhaustedError, LoadError, UpstreamResponseError
from loaders.read_through import Caches, Outcome
from loaders.records import (
    AsOf,
    HoldingSource,
    Observation,
    Report,
    SourceStatus,
    TokenAccountRecord,
    TokenFacts,
    TokenKind,
    Wants,
)
from loaders.registers import Reading, Register
from loaders.solana_balances import OwnerRows, OwnerSol, RowFilter, RowsOf, SolanaBalances, SolOf, united_filters
from loaders.solana_tokens import PROGRAMS, SOL, facts_of
from loaders.source import (
    Answer,
    Question,
    Scope,
    Source,
    failed_report,
    partial_report,
    stale_report,
)
from loaders.upstream.fields import Rows
from loaders.upstream.http import Fetched
from loaders.upstream.thegraph import (
    NativeBalanceRecord,
    NetworkRecord,
    TheGraphClient,
)

_NETWORKS = Lifetime(10, 50, 50)

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
    def of(cls, answered: Outcome[OwnerRows] | Outcome[OwnerSol]) -> _Outcome:
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


@dataclass(slots=True)
class _Owner:
    """Everything read for one address."""

    accounts: list[TokenAccountRecord] = field(default_factory=list)
    native: NativeBalanceRecord | None = None
    of_rows: dict[RowFilter, _Outcome] = field(default_factory=dict)
    of_native: _Outcome = field(default_factory=_Outcome)


def _newest(accounts: Sequence[TokenAccountRecord]) -> Sequence[TokenAccountRecord]:
    """The newest word on each token account."""
    if len({account.address for account in accounts}) == len(accounts):
        return accounts
    newest: dict[_Key, TokenAccountRecord] = {}
    for account in accounts:
        key = (account.address, account.mint, account.program_id)
        seen = newest.get(key)
        if seen is None or account.block_number > seen.block_number:
            newest[key] = account
    return list(newest.values())


def _index_networks(records: Rows[NetworkRecord]) -> AsOf | None:
    for network in records.rows:
        for indexed in network.indexed_to.rows:
            if network.id == "solana" and indexed.category == "balances":
                return AsOf(indexed.block_num, indexed.timestamp)
    return None


class _SolanaAnswer(Answer):
    def __init__(self, address: AccountAddress, owner: _Owner) -> None:
        super().__init__([_report(address, [*owner.of_rows.values(), owner.of_native])])
        self._address = address
        self._account_id = AccountId.of(SOLANA_MAINNET, address)
        self._owner = owner
        self._accounts = _newest(owner.accounts)
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
        by_asset: dict[AssetId, list[TokenAccountRecord]] = {}
        only, zero, anywhere = scope.token_accounts, scope.zero, scope.chains is None and scope.asset_ids is None
        for account in self._accounts:
            if (account.raw or zero) and (only is None or account.address in only):
                asset_id = account.asset_id
                if anywhere or scope.allows_asset(asset_id):
                    if asset_id in by_asset:
                        by_asset[asset_id].append(account)
                    else:
                        by_asset[asset_id] = [account]
        observations = [self._of_mint(accounts) for accounts in by_asset.values()]
        native = self._owner.native
        if native is not None and _needs_native(scope) and (native.amount or zero) and NATIVE_SOL not in by_asset:
            observations.append(self._of_native(native))
        return observations

    def _of_mint(self, accounts: Sequence[TokenAccountRecord]) -> Observation:
        newest = accounts[0]
        raw = newest.raw
        if len(accounts) > 1:
            newest = max(accounts, key=lambda account: account.block_number)
            raw = sum([account.raw for account in accounts])
        facts = newest.facts
        decimals = facts.decimals
        return Observation(
            HoldingSource.SOLANA_SPL,
            self._account_id,
            newest.asset_id,
            newest.mint,
            None if decimals is None else amounts.whole(raw, decimals),
            raw,
            decimals,
            None,
            self._fetched_at,
            newest.as_of,
            tuple(accounts),
            facts,
        )

    def _of_native(self, row: NativeBalanceRecord) -> Observation:
        return Observation(
            source=HoldingSource.SOLANA_SPL,
            account_id=self._account_id,
            asset_id=NATIVE_SOL,
            reported_asset="SOL",
            amount=amounts.whole(row.amount, 9),
            raw=row.amount,
            decimals=SOL.decimals,
            value=None,
            fetched_at=self._fetched_at,
            as_of=AsOf(row.last_update_block_num, row.last_update_timestamp),
            facts=SOL,
        )


class _SolanaBook(Book):
    """Of SOL, and of mints that were asked for by name."""

    def __init__(self, facts: Mapping[AssetId, TokenFacts]) -> None:
        self.facts = facts


_PLAIN_BOOK = _SolanaBook({NATIVE_SOL: SOL})


class SolanaSource(Source):
    """Token accounts of many owners a request, paged to the end, and native SOL beside them."""

    name: ClassVar[HoldingSource] = HoldingSource.SOLANA_SPL
    namespaces: ClassVar[frozenset[Namespace]] = frozenset({Namespace.SOLANA})

    def __init__(self, client: TheGraphClient | None, caches: Caches) -> None:
        self.configured = client is not None
        if client is not None:
            self._indexed_to = Register(caches, "thegraph:networks", client.networks, _index_networks, _NETWORKS)
            self._balances = SolanaBalances(client, caches)

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
        rows: dict[RowsOf, None] = {}
        native: dict[SolOf, None] = {}
        for question in questions:
            filters = [narrowed for scope in question.scopes if (narrowed := _filter(scope)) is not None]
            for narrowed in united_filters(filters):
                rows.update(dict.fromkeys(self._balances.questions(question.address, narrowed)))
            native_scopes = [scope for scope in question.scopes if _needs_native(scope)]
            if native_scopes:
                native[SolOf(question.address, any(scope.zero for scope in native_scopes))] = None
        wants_freshness = any(Wants.FRESHNESS in question.wants for question in questions)
        if wants_freshness:  # at the same time as the balances, which do not wait for it
            reading.begin(self._indexed_to)
        with (
            reading.begin_balances(self._balances.rows, rows) as begun_rows,
            reading.begin_balances(self._balances.sol, native) as begun_native,
        ):
            of_rows, of_native = await reading.outcomes(begun_rows), await reading.outcomes(begun_native)
        for of_owner, answered in of_rows.items():
            owner = owners[of_owner.owner]
            owner.of_rows[of_owner.narrowed] = _Outcome.of(answered)
            if isinstance(answered, Fetched):
                owner.accounts += answered.value.accounts
        for sol_of, sol in of_native.items():
            owners[sol_of.owner].of_native = _Outcome.of(sol)
            owners[sol_of.owner].native = sol.value.row if isinstance(sol, Fetched) else None
        return {address: _SolanaAnswer(address, owner) for address, owner in owners.items()}

    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """SOL's facts, and the metadata of the named mints, as many a request as the plan allows."""
        mints = [a.reference for a in asset_ids if a.chain_id == SOLANA_MAINNET and not a.is_native]
        if not mints:
            return _PLAIN_BOOK
        facts: dict[AssetId, TokenFacts] = {NATIVE_SOL: SOL}
        for mint, answered in (await reading.facts(self._balances.mints, mints)).items():
            # What cannot be read stays unknown.
            if isinstance(answered, Fetched) and answered.value is not None:
                facts[AssetId.of_token(SOLANA_MAINNET, mint)] = facts_of(answered.value)
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


def _filter(scope: Scope) -> RowFilter | None:
    """What to narrow a request for token accounts to; None when the scope needs no token accounts."""
    # Which program an unknown kind is of, only the answer tells.
    wanted = [kind for kind in PROGRAMS if scope.allows_kind(kind, TokenKind.UNKNOWN)]
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
    return RowFilter(mints, scope.token_accounts, _only_program(wanted), scope.zero)


def _only_program(kinds: Sequence[TokenKind]) -> str | None:
    return PROGRAMS[kinds[0]] if len(kinds) == 1 else None
