"""OneBalance's balances by address: one request for each EVM address, a Solana address riding along."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from loaders.cache import Codec
from loaders.caip import AccountAddress, AssetId, Namespace
from loaders.errors import InvalidIdError, LoadError, UpstreamRejectedError, UpstreamResponseError
from loaders.onebalance_assets import NO_GROUP, Assets
from loaders.read_through import Caches, ReadThrough
from loaders.records import (
    Aggregate,
    HoldingSource,
    Wants,
)
from loaders.registers import Register
from loaders.source import (
    EVERYTHING,
    Question,
)
from loaders.upstream.http import Fetched
from loaders.upstream.onebalance import (
    AggregatedBalance,
    AssetBalanceRecord,
    OneBalanceClient,
)

_BALANCE_SECONDS = 30.0

# What one balance takes in memory, by measurement.
_BALANCE_BYTES = 800


@dataclass(frozen=True, slots=True)
class _Call:
    """One request: at most one address of each namespace, and the assets they want between them."""

    addresses: tuple[AccountAddress, ...]
    aggregated_ids: Sequence[str]
    asset_ids: Sequence[AssetId]


@dataclass(frozen=True, slots=True)
class Balance:
    """``raw`` smallest units, worth ``value`` US dollars; ``by_name_only`` if the asset was asked for by name."""

    raw: int
    decimals: int | None
    value: Decimal
    reported_asset: str
    by_name_only: bool


@dataclass(frozen=True, slots=True)
class Sought:
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
class Said:
    """OneBalance's word on one address; ``refused`` if it would not hear of the assets asked for by name."""

    rows: Mapping[AssetId, Balance]
    aggregates: tuple[Aggregate, ...]
    accounts: frozenset[AccountAddress]
    unreadable: bool
    refused: LoadError | None = None


def _encode(said: Said) -> bytes:
    rows = [
        [asset, str(b.raw), b.decimals, str(b.value), b.reported_asset, b.by_name_only]
        for asset, b in said.rows.items()
    ]
    sums = [[a.group_id, str(a.raw), a.decimals, None if a.value is None else str(a.value)] for a in said.aggregates]
    return json.dumps([said.unreadable, sorted(said.accounts), rows, sums]).encode()


def _decode(body: bytes) -> Said:
    unreadable, named, rows, sums = json.loads(body)
    accounts = frozenset(map(AccountAddress.parse, named))
    return Said(
        {
            AssetId.parse(asset): Balance(int(raw), decimals, Decimal(value), reported, bool(by_name))
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


class OneBalanceBalances:
    """Balances of addresses, each thing asked once; ``assets`` is OneBalance's register."""

    def __init__(self, client: OneBalanceClient, caches: Caches, assets: Register[Assets]) -> None:
        self._client = client
        self._assets = assets
        self._kept: ReadThrough[Sought, Said] = ReadThrough(
            caches,
            "onebalance:balances",
            fingerprint=client.fingerprint,
            fetch=self._fetch,
            name=str,
            codec=_SAID,
            lifetime=caches.balance_lifetime(_BALANCE_SECONDS),
            incomplete=lambda said: said.refused,
        )

    async def load(
        self, questions: Sequence[Question], assets: Assets, deadline: float
    ) -> Mapping[AccountAddress, Fetched[Said] | LoadError]:
        """What OneBalance says of each address; nothing of one whose question the register answers."""
        sought = {q.address: one for q in questions if (one := self._sought(q, assets)) is not None}
        outcomes = await self._kept.load(sought.values(), deadline)
        return {address: outcomes[one] for address, one in sought.items()}

    def _sought(self, question: Question, assets: Assets) -> Sought | None:
        """What to ask for; all of it if that is known already, None if the register has the answer."""
        address, namespace = question.address, question.address.namespace
        aggregated_ids = set[str]().union(*[assets.ids(namespace, scope) for scope in question.scopes])
        asset_ids = set[AssetId]().union(*[assets.outsiders(namespace, scope) for scope in question.scopes])
        if not aggregated_ids and not asset_ids:
            return None
        summed = question.company if Wants.AGGREGATES in question.wants else frozenset[AccountAddress]()
        sought = Sought(address, tuple(sorted(aggregated_ids)), tuple(sorted(asset_ids)), summed, question)
        everything = tuple(sorted(assets.ids(namespace, EVERYTHING)))
        whole = replace(sought, aggregated_ids=everything)
        return whole if self._kept.has_fresh(whole) else sought

    async def _fetch(
        self,
        sought: Sequence[Sought],
        deadline: float,
        land: Callable[[Sought, Fetched[Said] | LoadError], None],
    ) -> None:
        """Pairs EVM with Solana addresses, then one request for each pair."""
        by_address = {one.address: one for one in sought}

        async def ask(pair: Sequence[Sought]) -> None:
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
        self, call: _Call, assets: Assets, deadline: float
    ) -> Fetched[Mapping[AccountAddress, Said]] | LoadError:
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


def _call(pair: Sequence[Sought]) -> _Call:
    aggregated_ids = set[str]().union(*[one.aggregated_ids for one in pair])
    asset_ids = set[AssetId]().union(*[one.asset_ids for one in pair])
    return _Call(tuple(one.address for one in pair), sorted(aggregated_ids), sorted(asset_ids))


def _account(address: AccountAddress) -> str:
    # The chain part does not restrict the answer; one spelling makes equal questions equal.
    return f"eip155:1:{address}" if address.namespace is Namespace.EIP155 else f"solana:{address}"


def _split(call: _Call, balance: AggregatedBalance, assets: Assets) -> Mapping[AccountAddress, Said]:
    """One reply by address: an asset's namespace tells whose it is."""
    by_namespace = {address.namespace: address for address in call.addresses}
    _check_accounts(by_namespace, balance)
    rows: dict[AccountAddress, dict[AssetId, Balance]] = {address: {} for address in call.addresses}
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
            own = Balance(row.balance, decimals, row.fiatValue, row.assetType, asset_id in named)
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
        if record.aggregatedAssetId != NO_GROUP
    )
    return {address: Said(of_address, aggregates, accounts, unreadable) for address, of_address in rows.items()}


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
