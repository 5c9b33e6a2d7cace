"""OneBalance as a source: balances with dollar values over EVM chains and Solana, for the assets of its register."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar

from loaders.caip import AccountAddress, AccountId, AssetId, ChainId, Namespace
from loaders.errors import InvalidIdError, LoadError, UpstreamRejectedError, UpstreamResponseError
from loaders.records import (
    Aggregate,
    Group,
    HoldingSource,
    Observation,
    Report,
    SourceStatus,
    TokenFacts,
    TokenKind,
    TokenTrust,
    Wants,
    clean_image_url,
    clean_name,
    clean_symbol,
)
from loaders.registers import Reading, Register
from loaders.source import KINDS, Answer, Book, NoAnswer, Question, Scope, Source, failed_report, partial_report
from loaders.upstream.fields import Rows
from loaders.upstream.http import Fetched
from loaders.upstream.onebalance import (
    AggregatedBalance,
    AssetBalanceRecord,
    AssetRecord,
    ChainRecord,
    OneBalanceClient,
)

_REGISTER_SECONDS = 600

# The bucket of assets that stand alone: no group, although it looks like one.
_NO_GROUP = "ob:single"

# Ids go into a comma-separated list, and are shown.
_ASKABLE = re.compile("/(erc20|token|slip44):")
_AGGREGATED_ID = re.compile(r"[!-+\--~]{1,128}")


@dataclass(frozen=True, slots=True)
class _Member:
    facts: TokenFacts
    aggregated_id: str


@dataclass(frozen=True, slots=True)
class _Assets:
    """The register of aggregates: its members by asset, its groups by id, and the ids to ask for.

    ``unreadable`` if there are aggregates that cannot be asked for.
    """

    members: Mapping[AssetId, _Member]
    groups: Mapping[str, Group]
    decimals: Mapping[str, int]
    ids_by_namespace: Mapping[Namespace, tuple[str, ...]]
    chains: frozenset[ChainId]
    unreadable: bool

    def ids(self, namespace: Namespace, scope: Scope) -> set[str]:
        """The aggregates that a scope needs: all of the namespace, or those of the named assets."""
        if scope.asset_ids is not None:
            return {self.members[asset].aggregated_id for asset in _named(namespace, scope) if asset in self.members}
        if scope.chains is not None and scope.chains.isdisjoint(self.chains):
            return set()
        return set(self.ids_by_namespace.get(namespace, ()))

    def outsiders(self, namespace: Namespace, scope: Scope) -> set[AssetId]:
        """The named assets of the namespace that are in no aggregate, of the kinds that OneBalance may know."""
        return {asset for asset in _named(namespace, scope) if asset not in self.members and _ASKABLE.search(asset)}


def _named(namespace: Namespace, scope: Scope) -> list[AssetId]:
    named = scope.asset_ids or ()
    return [asset for asset in named if asset.chain_id.namespace is namespace and scope.allows_asset(asset)]


def _index_assets(records: Rows[AssetRecord]) -> _Assets:
    members: dict[AssetId, _Member] = {}
    groups: dict[str, Group] = {}
    decimals: dict[str, int] = {}
    ids: dict[Namespace, dict[str, None]] = {}
    unreadable = records.dropped > 0
    for record in records.rows:
        if not _AGGREGATED_ID.fullmatch(record.aggregatedAssetId):
            unreadable = True
            continue
        group_id = None if record.aggregatedAssetId == _NO_GROUP else record.aggregatedAssetId
        of_group: list[AssetId] = []
        entities = record.aggregatedEntities
        unreadable |= entities.dropped > 0 and not entities.rows
        namespaces = set(Namespace) if entities.dropped else set[Namespace]()
        for entity in entities.rows:
            try:
                asset_id = AssetId.parse(entity.assetType)
            except InvalidIdError:
                continue
            of_group.append(asset_id)
            facts = TokenFacts(
                HoldingSource.ONEBALANCE,
                symbol=clean_symbol(entity.symbol or record.symbol),
                name=clean_name(entity.name or record.name),
                decimals=entity.decimals,
                kind=_kind(asset_id),
                trust=TokenTrust.LISTED,
                image_url=clean_image_url(record.logoUrl),
                group_id=group_id,
            )
            members.setdefault(asset_id, _Member(facts, record.aggregatedAssetId))
            if (namespace := asset_id.chain_id.namespace) is not None:
                namespaces.add(namespace)
        for namespace in namespaces:
            ids.setdefault(namespace, {})[record.aggregatedAssetId] = None
        if group_id is not None:
            symbol, name = clean_symbol(record.symbol), clean_name(record.name)
            groups[group_id] = Group(group_id, HoldingSource.ONEBALANCE, symbol, name, tuple(dict.fromkeys(of_group)))
            decimals[group_id] = record.decimals
    return _Assets(
        members,
        groups,
        decimals,
        {namespace: tuple(some) for namespace, some in ids.items()},
        frozenset(asset_id.chain_id for asset_id in members),
        unreadable,
    )


def _kind(asset_id: AssetId) -> TokenKind | None:
    if asset_id.is_native:
        return TokenKind.NATIVE
    # OneBalance does not tell which of Solana's two token programs a mint belongs to.
    return TokenKind.ERC20 if asset_id.chain_id.namespace is Namespace.EIP155 else None


def _index_chains(records: Rows[ChainRecord]) -> frozenset[ChainId]:
    chains = set()
    for record in records.rows:
        try:
            chain_id = ChainId.parse(record.chain_id)
        except InvalidIdError:
            continue
        if chain_id.namespace is not None:
            chains.add(chain_id)
    return frozenset(chains)


@dataclass(frozen=True, slots=True)
class _Call:
    """One request: at most one address of each namespace, and the assets they want between them."""

    addresses: tuple[AccountAddress, ...]
    aggregated_ids: Sequence[str]
    asset_ids: Sequence[AssetId]


@dataclass(frozen=True, slots=True)
class _Balance:
    raw: int
    decimals: int | None
    value: Decimal
    reported_asset: str
    by_name_only: bool


@dataclass(slots=True)
class _CallAnswer:
    rows: dict[AccountAddress, dict[AssetId, _Balance]] = field(default_factory=dict)
    aggregates: list[Aggregate] = field(default_factory=list)
    unreadable: bool = False
    refused: LoadError | None = None


class _OneBalanceAnswer(Answer):
    """What came of the one request for an address; ``outcome`` None when none was needed: the register answered."""

    def __init__(self, question: Question, assets: _Assets, outcome: Fetched[_CallAnswer] | LoadError | None) -> None:
        self._address = question.address
        self._assets = assets
        self._outcome = outcome
        said = outcome.value if isinstance(outcome, Fetched) else _CallAnswer()
        self._rows = said.rows.get(question.address, {})
        self._fetched_at = outcome.fetched_at if isinstance(outcome, Fetched) else _NEVER
        accounts = frozenset({question.address} if outcome is None else said.rows)
        super().__init__(self.reports_within(question.scopes), said.aggregates, accounts)

    def reports_within(self, scopes: Sequence[Scope]) -> Sequence[Report]:
        """Assets that are refused or cannot be read are missing only where they are wanted."""
        source, address, outcome = HoldingSource.ONEBALANCE, self._address, self._outcome
        report = Report(source, None, (address,), SourceStatus.OK)
        aggregated = any(self._assets.ids(address.namespace, scope) for scope in scopes)
        named = any(self._assets.outsiders(address.namespace, scope) for scope in scopes)
        missing = self._assets.unreadable and any(scope.asset_ids is None for scope in scopes)
        if outcome is not None and (aggregated or named):
            if isinstance(outcome, LoadError):
                return [failed_report(source, None, (address,), outcome)]
            refused = outcome.value.refused if named else None
            if refused is not None and not aggregated:
                return [failed_report(source, None, (address,), refused)]
            report = replace(report, fetched_at=outcome.fetched_at, calls=outcome.calls)
            if refused is not None:
                return [partial_report(report, refused)]
            missing |= outcome.value.unreadable
        return [partial_report(report, UpstreamResponseError()) if missing else report]

    def observations(self, scope: Scope) -> list[Observation]:
        """One for each asset, zero balances included; ``raw`` in the asset's own smallest units."""
        named = scope.asset_ids or ()
        return [
            Observation(
                source=HoldingSource.ONEBALANCE,
                account_id=AccountId.of(asset_id.chain_id, self._address),
                asset_id=asset_id,
                reported_asset=balance.reported_asset,
                amount=None,
                raw=balance.raw,
                decimals=balance.decimals,
                value=balance.value,
                fetched_at=self._fetched_at,
            )
            for asset_id, balance in self._rows.items()
            if scope.allows_asset(asset_id) and (not balance.by_name_only or asset_id in named)
        ]


class _OneBalanceBook(Book):
    def __init__(self, assets: _Assets | LoadError) -> None:
        self._assets = None if isinstance(assets, LoadError) else assets

    def facts(self, asset_id: AssetId) -> TokenFacts | None:
        """Symbol, name, this chain's decimals and group, by the register."""
        member = None if self._assets is None else self._assets.members.get(asset_id)
        return None if member is None else member.facts

    def group(self, group_id: str) -> Group | None:
        """An aggregate of the register, e.g. ``ob:usdc``."""
        return None if self._assets is None else self._assets.groups.get(group_id)


class OneBalanceSource(Source):
    """One request for each EVM address, a Solana address riding along; only registered assets unless named."""

    name: ClassVar[HoldingSource] = HoldingSource.ONEBALANCE
    namespaces: ClassVar[frozenset[Namespace]] = frozenset(Namespace)
    values_holdings: ClassVar[bool] = True
    wants_answered: ClassVar[Wants] = Wants.AGGREGATES

    def __init__(self, client: OneBalanceClient | None) -> None:
        self.configured = client is not None
        if client is not None:
            self._client = client
            self._assets = Register(client.fetch_assets, _index_assets, _REGISTER_SECONDS)
            self._chains = Register(client.fetch_chains, _index_chains, _REGISTER_SECONDS)

    def parts(self, namespace: Namespace) -> Sequence[ChainId | None]:
        """One call covers all chains."""
        return [None]

    def needed_parts(self, namespace: Namespace, scope: Scope) -> frozenset[ChainId | None]:
        """Needed for anything on the namespace's chains but token accounts, which it does not tell apart."""
        if scope.token_accounts is not None or not scope.allows_kind(*KINDS[namespace]):
            return frozenset()
        if scope.asset_ids is not None:
            can_hold = bool(_named(namespace, scope))
        else:
            can_hold = scope.chains is None or any(chain_id.namespace is namespace for chain_id in scope.chains)
        return frozenset((None,) if can_hold else ())

    async def ask(self, questions: Sequence[Question], reading: Reading) -> Mapping[AccountAddress, Answer]:
        """Pairs EVM with Solana addresses, then one request for each pair."""
        try:
            assets = await reading.read(self._assets)
        except LoadError as error:
            return {q.address: NoAnswer([failed_report(self.name, None, (q.address,), error)]) for q in questions}
        calls = [call for pair in _pairs(questions) if (call := _call(pair, assets)) is not None]
        fetched = await asyncio.gather(*[self._fetch(call, assets, reading) for call in calls])
        outcomes = {
            address: outcome for call, outcome in zip(calls, fetched, strict=True) for address in call.addresses
        }
        return {q.address: _OneBalanceAnswer(q, assets, outcomes.get(q.address)) for q in questions}

    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """The register of aggregates."""
        return _OneBalanceBook(await reading.try_read(self._assets))

    async def chains(self, reading: Reading) -> frozenset[ChainId]:
        """The chains of its own list; raises a ``LoadError``."""
        return await reading.read(self._chains)

    async def _fetch(self, call: _Call, assets: _Assets, reading: Reading) -> Fetched[_CallAnswer] | LoadError:
        try:
            fetched = await self._client.fetch_balances(
                [_account(address) for address in call.addresses],
                call.aggregated_ids,
                call.asset_ids,
                reading.deadline,
            )
            return Fetched(_split(call, fetched.value, assets), fetched.fetched_at, fetched.calls)
        except UpstreamRejectedError as error:
            if not (call.aggregated_ids and call.asset_ids):
                return error
            # It was the named assets that were refused: they must not cost the others.
            answer = await self._fetch(replace(call, asset_ids=()), assets, reading)
            if isinstance(answer, LoadError):
                answer.calls |= error.calls
            else:
                answer.value.refused = error
            return answer
        except LoadError as error:
            return error


# When nothing was fetched there are no rows that could show this.
_NEVER = datetime.min.replace(tzinfo=UTC)


def _pairs(questions: Sequence[Question]) -> list[tuple[Question, ...]]:
    """EVM and Solana addresses two by two: those of one portfolio first, then any whose figures may be mixed."""
    solana = {q.address: q for q in questions if q.address.namespace is Namespace.SOLANA}
    pairs: list[tuple[Question, ...]] = []
    single: list[Question] = []
    for question in questions:
        if question.address.namespace is Namespace.EIP155:
            mate = None if question.apart else _mate(question, solana)
            if mate is None:
                single.append(question)
            else:
                pairs.append((question, solana.pop(mate)))
    strangers = [q for q in solana.values() if not q.wants & Wants.AGGREGATES]
    for question in single:
        if strangers and not question.wants & Wants.AGGREGATES:
            stranger = strangers.pop(0)
            del solana[stranger.address]
            pairs.append((question, stranger))
        else:
            pairs.append((question,))
    return pairs + [(question,) for question in solana.values()]


def _mate(question: Question, solana: Mapping[AccountAddress, Question]) -> AccountAddress | None:
    for address in sorted(question.company):
        mate = solana.get(address)
        if mate is not None and not mate.apart:
            summed = (question.wants | mate.wants) & Wants.AGGREGATES
            if not summed or question.company == mate.company:
                return address
    return None


def _call(pair: Sequence[Question], assets: _Assets) -> _Call | None:
    wanted = [(question.address.namespace, scope) for question in pair for scope in question.scopes]
    aggregated_ids = set[str]().union(*[assets.ids(*want) for want in wanted])
    asset_ids = set[AssetId]().union(*[assets.outsiders(*want) for want in wanted])
    if not aggregated_ids and not asset_ids:
        return None
    return _Call(tuple(q.address for q in pair), sorted(aggregated_ids), sorted(asset_ids))


def _account(address: AccountAddress) -> str:
    # The chain part does not restrict the answer; one spelling makes equal questions equal.
    return f"eip155:1:{address}" if address.namespace is Namespace.EIP155 else f"solana:{address}"


def _split(call: _Call, balance: AggregatedBalance, assets: _Assets) -> _CallAnswer:
    """The rows of one reply by address: an asset's namespace tells whose it is."""
    by_namespace = {address.namespace: address for address in call.addresses}
    _check_accounts(by_namespace, balance)
    answer = _CallAnswer({address: {} for address in call.addresses})
    answer.unreadable = bool(balance.rows.dropped or balance.aggregates.dropped)
    named = frozenset(call.asset_ids)
    for row in balance.rows.rows:
        asset_id = _asset_id(row)
        if asset_id is None:
            answer.unreadable = True
            continue
        address = by_namespace.get(asset_id.chain_id.namespace) if asset_id.chain_id.namespace else None
        if address is not None:
            member = assets.members.get(asset_id)
            decimals = None if member is None else member.facts.decimals
            own = _Balance(row.balance, decimals, row.fiatValue, row.assetType, asset_id in named)
            first = answer.rows[address].setdefault(asset_id, own)
            answer.unreadable |= first.raw != own.raw  # two unlike ones cannot both be true
    accounts = frozenset(call.addresses)
    answer.aggregates = [
        Aggregate(
            HoldingSource.ONEBALANCE,
            record.aggregatedAssetId,
            accounts,
            record.balance,
            assets.decimals.get(record.aggregatedAssetId),
            record.fiatValue,
        )
        for record in balance.aggregates.rows
        if record.aggregatedAssetId != _NO_GROUP
    ]
    return answer


def _asset_id(row: AssetBalanceRecord) -> AssetId | None:
    try:
        return AssetId.parse(row.assetType)
    except InvalidIdError:
        return None


def _check_accounts(by_namespace: Mapping[Namespace, AccountAddress], balance: AggregatedBalance) -> None:
    """Refuses an answer that speaks of other accounts than those asked for."""
    evm, solana = by_namespace.get(Namespace.EIP155), by_namespace.get(Namespace.SOLANA)
    said_evm, said_solana = balance.evm_account, balance.solana_account
    if evm is not None and said_evm is not None and str(said_evm).lower() != evm:
        raise UpstreamResponseError
    if solana is not None and said_solana is not None and said_solana != solana:
        raise UpstreamResponseError
