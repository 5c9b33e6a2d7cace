"""OneBalance as a source: balances with dollar values over EVM chains and Solana, for the assets of its register."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar

from loaders.cache import Codec, Lifetime
from loaders.caip import AccountAddress, AccountId, AssetId, ChainId, Namespace
from loaders.errors import InvalidIdError, LoadError, UpstreamRejectedError, UpstreamResponseError
from loaders.read_through import Caches, ReadThrough
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
from loaders.source import (
    EVERYTHING,
    KINDS,
    Answer,
    Book,
    NoAnswer,
    Question,
    Scope,
    Source,
    answered_report,
    failed_report,
    partial_report,
)
from loaders.upstream.fields import Rows
from loaders.upstream.http import Fetched
from loaders.upstream.onebalance import (
    AggregatedBalance,
    AssetBalanceRecord,
    AssetRecord,
    ChainRecord,
    OneBalanceClient,
)

_BALANCE_SECONDS = 30.0
_REGISTER = Lifetime(600, 3_600, 86_400)

# What one balance takes in memory, by measurement.
_BALANCE_BYTES = 800

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


@dataclass(frozen=True, slots=True)
class _Sought:
    """What is asked of OneBalance for one address.

    ``summed`` are the accounts that its aggregates shall be over; empty where nobody reads them.
    """

    address: AccountAddress
    aggregated_ids: tuple[str, ...]
    asset_ids: tuple[AssetId, ...]
    summed: frozenset[AccountAddress]
    question: Question = field(compare=False)

    def __str__(self) -> str:
        wanted = json.dumps([self.aggregated_ids, self.asset_ids, sorted(self.summed)])
        return f"{self.address}:{hashlib.sha256(wanted.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class _Said:
    """OneBalance's word on one address; ``refused`` if it would not hear of the assets asked for by name."""

    rows: Mapping[AssetId, _Balance]
    aggregates: tuple[Aggregate, ...]
    accounts: frozenset[AccountAddress]
    unreadable: bool
    refused: LoadError | None = None


def _encode(said: _Said) -> bytes:
    rows = [
        [asset, str(b.raw), b.decimals, str(b.value), b.reported_asset, b.by_name_only]
        for asset, b in said.rows.items()
    ]
    sums = [[a.group_id, str(a.raw), a.decimals, None if a.value is None else str(a.value)] for a in said.aggregates]
    return json.dumps([said.unreadable, sorted(said.accounts), rows, sums]).encode()


def _decode(body: bytes) -> _Said:
    unreadable, named, rows, sums = json.loads(body)
    accounts = frozenset(map(AccountAddress.parse, named))
    return _Said(
        {
            AssetId.parse(asset): _Balance(int(raw), decimals, Decimal(value), reported, bool(by_name))
            for asset, raw, decimals, value, reported, by_name in rows
        },
        tuple(
            Aggregate(
                HoldingSource.ONEBALANCE,
                group,
                accounts,
                int(raw),
                decimals,
                None if value is None else Decimal(value),
            )
            for group, raw, decimals, value in sums
        ),
        accounts,
        bool(unreadable),
    )


_SAID = Codec(
    version=1,
    encode=_encode,
    decode=_decode,
    size=lambda said: _BALANCE_BYTES * (1 + len(said.rows) + len(said.aggregates)),
)


class _OneBalanceAnswer(Answer):
    """What came of the one request for an address; ``outcome`` None when none was needed: the register answered."""

    def __init__(self, question: Question, assets: _Assets, outcome: Fetched[_Said] | LoadError | None) -> None:
        self._address = question.address
        self._assets = assets
        self._outcome = outcome
        said = outcome.value if isinstance(outcome, Fetched) else None
        self._rows = {} if said is None else said.rows
        self._fetched_at = outcome.fetched_at if isinstance(outcome, Fetched) else _NEVER
        accounts = frozenset({question.address} if outcome is None else () if said is None else said.accounts)
        super().__init__(self.reports_within(question.scopes), () if said is None else said.aggregates, accounts)

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
            report = answered_report(source, None, (address,), outcome)
            if refused is not None:
                return [partial_report(report, refused)]
            if report.status is SourceStatus.STALE:
                return [report]
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

    def __init__(self, client: OneBalanceClient | None, caches: Caches) -> None:
        self.configured = client is not None
        if client is not None:
            self._client = client
            self._assets = Register(caches, "onebalance:assets", client.assets, _index_assets, _REGISTER)
            self._chains = Register(caches, "onebalance:chains", client.chains, _index_chains, _REGISTER)
            self._said: ReadThrough[_Sought, _Said] = ReadThrough(
                caches,
                "onebalance:balances",
                fingerprint=client.fingerprint,
                fetch=self._fetch,
                name=str,
                codec=_SAID,
                lifetime=caches.balance_lifetime(_BALANCE_SECONDS),
                incomplete=lambda said: said.refused,
            )

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
        sought = {q.address: one for q in questions if (one := self._sought(q, assets)) is not None}
        outcomes = await self._said.load(sought.values(), reading.deadline)
        answers = {address: outcomes[one] for address, one in sought.items()}
        return {q.address: _OneBalanceAnswer(q, assets, answers.get(q.address)) for q in questions}

    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """The register of aggregates."""
        return _OneBalanceBook(await reading.try_read(self._assets))

    async def chains(self, reading: Reading) -> frozenset[ChainId]:
        """The chains of its own list; raises a ``LoadError``."""
        return await reading.read(self._chains)

    def _sought(self, question: Question, assets: _Assets) -> _Sought | None:
        """What to ask for; all of it if that is known already, None if the register has the answer."""
        address, namespace = question.address, question.address.namespace
        aggregated_ids = set[str]().union(*[assets.ids(namespace, scope) for scope in question.scopes])
        asset_ids = set[AssetId]().union(*[assets.outsiders(namespace, scope) for scope in question.scopes])
        if not aggregated_ids and not asset_ids:
            return None
        summed = question.company if Wants.AGGREGATES in question.wants else frozenset[AccountAddress]()
        sought = _Sought(address, tuple(sorted(aggregated_ids)), tuple(sorted(asset_ids)), summed, question)
        everything = tuple(sorted(assets.ids(namespace, EVERYTHING)))
        whole = replace(sought, aggregated_ids=everything)
        return whole if self._said.has_fresh(whole) else sought

    async def _fetch(
        self,
        sought: Sequence[_Sought],
        deadline: float,
        land: Callable[[_Sought, Fetched[_Said] | LoadError], None],
    ) -> None:
        """Pairs EVM with Solana addresses, then one request for each pair."""
        by_address = {one.address: one for one in sought}

        async def ask(pair: Sequence[_Sought]) -> None:
            outcome = await self._ask(_call(pair), assets, deadline)
            for one in pair:
                if isinstance(outcome, LoadError):
                    land(one, outcome)
                    continue
                said = outcome.with_value(outcome.value[one.address])
                land(one, said)
                if one.summed:  # who asks for the same without the aggregates is served as well
                    land(replace(one, summed=frozenset()), said)

        try:
            assets = await self._assets.read(deadline)
        except LoadError as error:
            for one in sought:
                land(one, error)
            return
        pairs = _pairs([one.question for one in sought])
        await asyncio.gather(*[ask([by_address[question.address] for question in pair]) for pair in pairs])

    async def _ask(
        self, call: _Call, assets: _Assets, deadline: float
    ) -> Fetched[Mapping[AccountAddress, _Said]] | LoadError:
        try:
            accounts = [_account(address) for address in call.addresses]
            fetched = await self._client.fetch_balances(accounts, call.aggregated_ids, call.asset_ids, deadline)
            return fetched.with_value(_split(call, fetched.value, assets))
        except UpstreamRejectedError as error:
            if not (call.aggregated_ids and call.asset_ids):
                return error
            # It was the named assets that were refused: they must not cost the others.
            answer = await self._ask(replace(call, asset_ids=()), assets, deadline)
            if isinstance(answer, LoadError):
                answer.calls |= error.calls
                return answer
            return answer.with_value(
                {address: replace(said, refused=error) for address, said in answer.value.items()}
            )
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


def _call(pair: Sequence[_Sought]) -> _Call:
    aggregated_ids = set[str]().union(*[one.aggregated_ids for one in pair])
    asset_ids = set[AssetId]().union(*[one.asset_ids for one in pair])
    return _Call(tuple(one.address for one in pair), sorted(aggregated_ids), sorted(asset_ids))


def _account(address: AccountAddress) -> str:
    # The chain part does not restrict the answer; one spelling makes equal questions equal.
    return f"eip155:1:{address}" if address.namespace is Namespace.EIP155 else f"solana:{address}"


def _split(call: _Call, balance: AggregatedBalance, assets: _Assets) -> Mapping[AccountAddress, _Said]:
    """One reply by address: an asset's namespace tells whose it is."""
    by_namespace = {address.namespace: address for address in call.addresses}
    _check_accounts(by_namespace, balance)
    rows: dict[AccountAddress, dict[AssetId, _Balance]] = {address: {} for address in call.addresses}
    unreadable = bool(balance.rows.dropped or balance.aggregates.dropped)
    named = frozenset(call.asset_ids)
    for row in balance.rows.rows:
        asset_id = _asset_id(row)
        if asset_id is None:
            unreadable = True
            continue
        address = by_namespace.get(asset_id.chain_id.namespace) if asset_id.chain_id.namespace else None
        if address is not None:
            member = assets.members.get(asset_id)
            decimals = None if member is None else member.facts.decimals
            own = _Balance(row.balance, decimals, row.fiatValue, row.assetType, asset_id in named)
            first = rows[address].setdefault(asset_id, own)
            unreadable |= first.raw != own.raw  # two unlike ones cannot both be true
    accounts = frozenset(call.addresses)
    aggregates = tuple(
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
    )
    return {address: _Said(of_address, aggregates, accounts, unreadable) for address, of_address in rows.items()}


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
