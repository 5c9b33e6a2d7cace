"""OneBalance's balances by address: one request for each EVM address, a Solana address riding along."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from loaders.base import run_all
from loaders.cache import Codec
from loaders.caip import AccountAddress, AssetId, Namespace
from loaders.errors import InvalidIdError, LoadError, UpstreamRejectedError, UpstreamResponseError
from loaders.onebalance_assets import NO_GROUP, Assets
from loaders.read_through import Caches, Land, Outcome, ReadThrough
from loaders.records import Aggregate, HoldingSource, Wants
from loaders.registers import Reading, Register
from loaders.source import EVERYTHING, Question
from loaders.upstream.http import Fetched, after
from loaders.upstream.onebalance import AggregatedBalance, OneBalanceClient

_BALANCE_SECONDS = 30.0

# What one balance takes in memory, by measurement.
_BALANCE_BYTES = 800


class _Call(Struct, frozen=True):
    """One request: at most one address of each namespace, and the assets they want between them.

    ``summed`` if its aggregates must be over all of the addresses.
    """

    addresses: tuple[AccountAddress, ...]
    aggregated_ids: Sequence[str]
    asset_ids: Sequence[AssetId]
    summed: bool


class Balance(Struct, frozen=True, gc=False):
    """``raw`` smallest units, worth ``value`` US dollars; ``by_name_only`` if the asset was asked for by name."""

    raw: int
    decimals: int | None
    value: Decimal
    reported_asset: str
    by_name_only: bool


@dataclass(frozen=True, slots=True)
class Sought:
    """What is asked for one address, or for a pair whose aggregates shall be ``summed`` over both."""

    addresses: tuple[AccountAddress, ...]
    aggregated_ids: tuple[str, ...]
    asset_ids: tuple[AssetId, ...]
    summed: bool
    questions: tuple[Question, ...] = field(compare=False)

    def __str__(self) -> str:
        return f"{'+'.join(self.addresses)}:{_digest(self.aggregated_ids, self.asset_ids, self.summed)}"


@lru_cache(maxsize=256)
def _digest(aggregated_ids: tuple[str, ...], asset_ids: tuple[AssetId, ...], summed: bool) -> str:
    wanted = json.dumps([aggregated_ids, asset_ids, summed])
    return hashlib.sha256(wanted.encode()).hexdigest()[:32]


class Said(Struct, frozen=True):
    """OneBalance's word on one address; ``refused`` if it would not hear of the assets asked for by name."""

    rows: Mapping[AssetId, Balance]
    aggregates: tuple[Aggregate, ...]
    accounts: frozenset[AccountAddress]
    unreadable: bool
    refused: LoadError | None = None


_Words = Mapping[AccountAddress, Said]
"""What OneBalance said at once, by address."""


def _encode(words: _Words) -> bytes:
    return json.dumps({address: _encode_one(said) for address, said in words.items()}).encode()


def _encode_one(said: Said) -> Any:
    rows = [
        [asset, str(b.raw), b.decimals, str(b.value), b.reported_asset, b.by_name_only]
        for asset, b in said.rows.items()
    ]
    sums = [[a.group_id, str(a.raw), a.decimals, None if a.value is None else str(a.value)] for a in said.aggregates]
    return [said.unreadable, sorted(said.accounts), rows, sums]


def _decode(body: bytes) -> _Words:
    words = {AccountAddress.parse(address): _decode_one(said) for address, said in json.loads(body).items()}
    if not words:
        raise ValueError("expected at least one address")
    return words


def _decode_one(said: Any) -> Said:
    unreadable, named, rows, sums = said
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


_WORDS: Codec[_Words] = Codec(
    version=1,
    encode=_encode,
    decode=_decode,
    size=lambda words: sum(_BALANCE_BYTES * (1 + len(said.rows) + len(said.aggregates)) for said in words.values()),
)


class OneBalanceBalances:
    """Balances of addresses, each thing asked once; ``assets`` is OneBalance's register."""

    def __init__(self, client: OneBalanceClient, caches: Caches, assets: Register[Assets]) -> None:
        self._client = client
        self._assets = assets
        self._kept: ReadThrough[Sought, _Words] = ReadThrough(
            caches,
            "onebalance:balances",
            fingerprint=client.fingerprint,
            fetch=self._fetch,
            name=str,
            codec=_WORDS,
            lifetime=caches.balance_lifetime(_BALANCE_SECONDS),
            passing=lambda words: any(said.refused is not None for said in words.values()),
            flawed=lambda words: any(said.unreadable for said in words.values()),
        )

    async def load(
        self, questions: Sequence[Question], assets: Assets, reading: Reading
    ) -> Mapping[AccountAddress, Outcome[Said]]:
        """What OneBalance says of each address; nothing of one whose question the register answers."""
        sought = []
        for pair in _pairs([question for question in questions if any(_ids([question], assets))]):
            if any(Wants.AGGREGATES in question.wants for question in pair):
                sought.append(self._sought(pair, assets, summed=True))
            else:
                sought += [self._sought([question], assets, summed=False) for question in pair]
        outcomes = await reading.balances(self._kept, sought)
        return {
            address: outcome if isinstance(outcome, LoadError) else outcome.with_value(outcome.value[address])
            for one, outcome in ((one, outcomes[one]) for one in sought)
            for address in one.addresses
        }

    def _sought(self, questions: Sequence[Question], assets: Assets, *, summed: bool) -> Sought:
        """What to ask for, or more than that if it is known already."""
        aggregated_ids, asset_ids = _ids(questions, assets)
        addresses = tuple(question.address for question in questions)
        sought = Sought(addresses, aggregated_ids, asset_ids, summed, tuple(questions))
        all_ids = assets.all_ids(frozenset(address.namespace for address in addresses))
        if all_ids == aggregated_ids:
            return sought
        whole = Sought(addresses, all_ids, asset_ids, summed, tuple(questions))
        known = self._kept.fresh(whole)
        return sought if known is None or any(said.unreadable for said in known.values()) else whole

    async def _fetch(self, sought: Sequence[Sought], deadline: float, land: Land[Sought, _Words]) -> None:
        """One request for each pair: of those that are summed, and of any others, EVM with Solana."""
        try:
            assets = await self._assets.read(deadline)
        except LoadError as error:
            for one in sought:
                land(one, error)
            return

        async def ask(together: Sequence[Sought]) -> None:
            words = await self._ask(_call(together), assets, deadline)
            for one in together:
                land(one, _joined([words[address] for address in one.addresses], one.addresses))
                for question in one.questions if one.summed else ():
                    # Who asks for the same without the aggregates is served as well.
                    plain = Sought((question.address,), *_ids([question], assets), False, (question,))
                    land(plain, _joined([words[question.address]], plain.addresses))

        single = {one.addresses[0]: one for one in sought if not one.summed}
        pairs = [[single[q.address] for q in pair] for pair in _pairs([one.questions[0] for one in single.values()])]
        await run_all([ask(together) for together in [*([one] for one in sought if one.summed), *pairs]])

    async def _ask(self, call: _Call, assets: Assets, deadline: float) -> Mapping[AccountAddress, Outcome[Said]]:
        try:
            accounts = [_account(address) for address in call.addresses]
            fetched = await self._client.fetch_balances(accounts, call.aggregated_ids, call.asset_ids, deadline)
            return {
                address: fetched.with_value(said) for address, said in _split(call, fetched.value, assets).items()
            }
        except UpstreamRejectedError as error:
            return await self._ask_again(call, error, assets, deadline)
        except LoadError as error:
            return dict.fromkeys(call.addresses, error)

    async def _ask_again(
        self, call: _Call, error: LoadError, assets: Assets, deadline: float
    ) -> Mapping[AccountAddress, Outcome[Said]]:
        """What can be had of a call that was refused: named assets must not cost others, nor other addresses."""
        named = {asset_id.chain_id.namespace for asset_id in call.asset_ids}
        if len(call.addresses) > 1 and not call.summed and (len(named) > 1 or not call.aggregated_ids):
            alone = await run_all([self._ask(_of_one(call, one), assets, deadline) for one in call.addresses])
            words: Mapping[AccountAddress, Outcome[Said]] = dict(
                one for answered in alone for one in answered.items()
            )
            refused = dict.fromkeys(words)
        elif call.aggregated_ids and call.asset_ids:
            words = await self._ask(replace(call, asset_ids=()), assets, deadline)
            refused = {address: error if address.namespace in named else None for address in words}
        else:
            return dict.fromkeys(call.addresses, error)
        return {address: after(error.calls, _refused(said, refused[address])) for address, said in words.items()}


def _of_one(call: _Call, address: AccountAddress) -> _Call:
    own = [asset_id for asset_id in call.asset_ids if asset_id.chain_id.namespace is address.namespace]
    return replace(call, addresses=(address,), asset_ids=own)


def _refused(said: Outcome[Said], refused: LoadError | None) -> Outcome[Said]:
    if isinstance(said, LoadError) or refused is None:
        return said
    return said.with_value(replace(said.value, refused=refused))


def _joined(words: Sequence[Outcome[Said]], addresses: Sequence[AccountAddress]) -> Outcome[_Words]:
    """What was said of several addresses, or why not of all of them."""
    said = []
    for one in words:
        if isinstance(one, LoadError):
            return one
        said.append(one)
    calls = frozenset[int]().union(*[one.calls for one in said])
    values = {address: one.value for address, one in zip(addresses, said, strict=True)}
    return Fetched(values, min(one.fetched_at for one in said), calls)


def _ids(questions: Sequence[Question], assets: Assets) -> tuple[tuple[str, ...], tuple[AssetId, ...]]:
    """The aggregates and the assets outside of them to ask for; none if the register has the answer."""
    wanted = {(question.address.namespace, scope) for question in questions for scope in question.scopes}
    if all(scope == EVERYTHING for _, scope in wanted):
        return assets.all_ids(frozenset(namespace for namespace, _ in wanted)), ()
    aggregated_ids = set[str]().union(*[assets.ids(*want) for want in wanted])
    asset_ids = set[AssetId]().union(*[assets.outsiders(*want) for want in wanted])
    return tuple(sorted(aggregated_ids)), tuple(sorted(asset_ids))


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


def _call(together: Sequence[Sought]) -> _Call:
    aggregated_ids = set[str]().union(*[one.aggregated_ids for one in together])
    asset_ids = set[AssetId]().union(*[one.asset_ids for one in together])
    addresses = tuple(address for one in together for address in one.addresses)
    return _Call(addresses, sorted(aggregated_ids), sorted(asset_ids), any(one.summed for one in together))


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
    of_namespace: dict[Namespace | None, dict[AssetId, Balance]] = {
        namespace: rows[address] for namespace, address in by_namespace.items()
    }
    for row in balance.rows.rows:
        try:
            asset_id, spelled = _reported(row.assetType)
        except InvalidIdError:
            unreadable = True
            continue
        own = of_namespace.get(asset_id.chain_id.namespace)
        if own is None:
            continue
        if asset_id in own:
            unreadable |= own[asset_id].raw != row.balance  # two unlike ones cannot both be true
            continue
        facts = assets.facts.get(asset_id)
        decimals = None if facts is None else facts.decimals
        own[asset_id] = Balance(row.balance, decimals, row.fiatValue, spelled, asset_id in named)
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
        for record in (balance.aggregates.rows if call.summed else ())  # nobody else reads them
        if record.aggregatedAssetId != NO_GROUP
    )
    return {address: Said(of_address, aggregates, accounts, unreadable) for address, of_address in rows.items()}


@lru_cache(maxsize=65_536)
def _reported(text: str) -> tuple[AssetId, str]:
    """The asset of a text, and the text, the same each time; raises ``InvalidIdError``, and then keeps nothing."""
    return AssetId.parse(text), text


def _check_accounts(by_namespace: Mapping[Namespace, AccountAddress], balance: AggregatedBalance) -> None:
    """Refuses an answer that speaks of other accounts than those asked for."""
    evm, solana = by_namespace.get(Namespace.EIP155), by_namespace.get(Namespace.SOLANA)
    said_evm, said_solana = balance.evm_account, balance.solana_account
    if evm is not None and said_evm is not None and str(said_evm).lower() != evm:
        raise UpstreamResponseError
    if solana is not None and said_solana is not None and said_solana != solana:
        raise UpstreamResponseError
