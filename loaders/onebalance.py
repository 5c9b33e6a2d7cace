"""OneBalance as a source: balances with dollar values over EVM chains and Solana, for the assets of its register."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from msgspec.structs import replace

from loaders import amounts
from loaders.books import Book
from loaders.cache import Lifetime
from loaders.caip import AccountAddress, AccountId, AssetId, ChainId, Namespace
from loaders.errors import InvalidIdError, LoadError, UpstreamResponseError
from loaders.onebalance_assets import Assets, index_assets, named_assets
from loaders.onebalance_balances import OneBalanceBalances, Said
from loaders.read_through import Caches, Outcome
from loaders.records import Group, HoldingSource, Observation, Report, SourceStatus, Wants
from loaders.registers import Reading, Register
from loaders.source import (
    KINDS,
    Answer,
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
from loaders.upstream.onebalance import ChainRecord, OneBalanceClient

_REGISTER = Lifetime(600, 3_600, 86_400)


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


# When nothing was fetched there are no rows that could show this.
_NEVER = datetime.min.replace(tzinfo=UTC)


class _OneBalanceAnswer(Answer):
    """What came of the one request for an address; ``outcome`` None when none was needed: the register answered."""

    def __init__(self, question: Question, assets: Assets, outcome: Outcome[Said] | None) -> None:
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
                return [replace(failed_report(source, None, (address,), refused), calls=outcome.calls)]
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
        anywhere = scope.chains is None and scope.asset_ids is None
        address, fetched_at = self._address, self._fetched_at
        return [
            Observation(
                HoldingSource.ONEBALANCE,
                AccountId.of(asset_id.chain_id, address),
                asset_id,
                balance.reported_asset,
                None if balance.decimals is None else amounts.whole(balance.raw, balance.decimals),
                balance.raw,
                balance.decimals,
                balance.value,
                fetched_at,
            )
            for asset_id, balance in self._rows.items()
            if (anywhere or scope.allows_asset(asset_id)) and (not balance.by_name_only or asset_id in named)
        ]


class _OneBalanceBook(Book):
    def __init__(self, assets: Assets | LoadError) -> None:
        self._groups: Mapping[str, Group] = {}
        if not isinstance(assets, LoadError):
            self.facts, self._groups = assets.facts, assets.groups

    def group(self, group_id: str) -> Group | None:
        """An aggregate of the register, e.g. ``ob:usdc``."""
        return self._groups.get(group_id)


class OneBalanceSource(Source):
    """One request for each EVM address, a Solana address riding along; only registered assets unless named."""

    name: ClassVar[HoldingSource] = HoldingSource.ONEBALANCE
    namespaces: ClassVar[frozenset[Namespace]] = frozenset(Namespace)
    values_holdings: ClassVar[bool] = True
    wants_answered: ClassVar[Wants] = Wants.AGGREGATES

    def __init__(self, client: OneBalanceClient | None, caches: Caches) -> None:
        self.configured = client is not None
        if client is not None:
            self._assets = Register(
                caches,
                "onebalance:assets",
                client.assets,
                index_assets,
                _REGISTER,
                flawed=lambda assets: assets.unreadable,
            )
            self._chains = Register(caches, "onebalance:chains", client.chains, _index_chains, _REGISTER)
            self._balances = OneBalanceBalances(client, caches, self._assets)

    def parts(self, namespace: Namespace) -> Sequence[ChainId | None]:
        """One call covers all chains."""
        return [None]

    def needed_parts(self, namespace: Namespace, scope: Scope) -> frozenset[ChainId | None]:
        """Needed for anything on the namespace's chains but token accounts, which it does not tell apart."""
        if scope.token_accounts is not None or not scope.allows_kind(*KINDS[namespace]):
            return frozenset()
        if scope.asset_ids is not None:
            can_hold = bool(named_assets(namespace, scope))
        else:
            can_hold = scope.chains is None or any(chain_id.namespace is namespace for chain_id in scope.chains)
        return frozenset((None,) if can_hold else ())

    async def ask(self, questions: Sequence[Question], reading: Reading) -> Mapping[AccountAddress, Answer]:
        """Pairs EVM with Solana addresses, then one request for each pair."""
        try:
            assets = await reading.read(self._assets)
        except LoadError as error:
            return {q.address: NoAnswer([failed_report(self.name, None, (q.address,), error)]) for q in questions}
        answers = await self._balances.load(questions, assets, reading)
        return {q.address: _OneBalanceAnswer(q, assets, answers.get(q.address)) for q in questions}

    def begin_book(self, wants: Wants, reading: Reading) -> None:
        """As ``read_book``."""
        reading.begin(self._assets)

    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """The register of aggregates."""
        return _OneBalanceBook(await reading.try_read(self._assets))

    async def chains(self, reading: Reading) -> frozenset[ChainId]:
        """The chains of its own list; raises a ``LoadError``."""
        return await reading.read(self._chains)
