"""Ondo GM's balances: by address, by token, or of a whole chain, whichever was fetched last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from loaders.base import run_all
from loaders.cache import Codec
from loaders.caip import SOLANA_MAINNET, AccountAddress, AssetId, ChainId
from loaders.chain_snapshots import ChainSnapshots
from loaders.errors import InvalidIdError, LoadError
from loaders.read_through import Caches, Land, Outcome, ReadThrough
from loaders.registers import Reading
from loaders.snapshot_blob import holder_on
from loaders.snapshots import ChainSnapshot
from loaders.upstream.http import Fetched, after
from loaders.upstream.ondo import BalanceRecord, OndoClient

# Ondo serves the same bytes for a minute, by its page on endpoint caching.
_BALANCE_SECONDS = 60.0

# What one balance takes in memory, by measurement.
_BALANCE_BYTES = 800

CHAIN_NAMES: Mapping[ChainId, str] = {
    ChainId("eip155:1"): "ethereum-1",
    ChainId("eip155:56"): "bsc-56",
    SOLANA_MAINNET: "solana-900",
}
CHAIN_IDS = {name: chain_id for chain_id, name in CHAIN_NAMES.items()}


class Balance(Struct, frozen=True, gc=False):
    """``amount`` whole tokens of one token, with its symbol and its address as Ondo spelled them."""

    amount: Decimal
    symbol: str
    reported_asset: str


class Held(Struct, frozen=True):
    """Balances by holder and asset; ``unreadable`` if there are some that could not be read."""

    by_holder: Mapping[AccountAddress, Mapping[AssetId, Balance]]
    unreadable: bool


def _index_balances(
    chain_id: ChainId, rows: Iterable[BalanceRecord], *, of: AccountAddress | None, unreadable: bool
) -> Held:
    """The balances of rows most of which are ``of`` one address."""
    by_holder: dict[AccountAddress, dict[AssetId, Balance]] = {}
    for row in rows:
        try:
            asset_id = AssetId.of_token(chain_id, row.token_address)
            holder = of if row.account == of else holder_on(chain_id, row.account)
        except InvalidIdError:
            unreadable = True
            continue
        balance = Balance(row.balance, row.symbol, row.token_address)
        first = by_holder.setdefault(holder, {}).setdefault(asset_id, balance)
        unreadable |= first.amount != row.balance  # one row per token: two unlike ones cannot both be true
    return Held(by_holder, unreadable)


class Place(Struct, frozen=True):
    """What one request is about: a chain, and an address on it, or one token, or both."""

    chain_id: ChainId
    address: AccountAddress | None
    token: AssetId | None = None

    def __str__(self) -> str:
        return f"{self.address or ''}@{self.token or self.chain_id}"

    @property
    def whole(self) -> Place:
        """The same without the restriction to a token."""
        return self if self.token is None else Place(self.chain_id, self.address)


def _encode(held: Held) -> bytes:
    rows = [
        [holder, asset_id, str(balance.amount), balance.symbol, balance.reported_asset]
        for holder, balances in held.by_holder.items()
        for asset_id, balance in balances.items()
    ]
    return json.dumps([held.unreadable, rows]).encode()


def _decode(body: bytes) -> Held:
    by_holder: dict[AccountAddress, dict[AssetId, Balance]] = {}
    unreadable, rows = json.loads(body)
    for holder, asset_id, amount, symbol, reported_asset in rows:
        balance = Balance(Decimal(amount), symbol, reported_asset)
        by_holder.setdefault(AccountAddress.parse(holder), {})[AssetId.parse(asset_id)] = balance
    return Held(by_holder, bool(unreadable))


_HELD = Codec(
    version=1,
    encode=_encode,
    decode=_decode,
    size=lambda held: _BALANCE_BYTES * (1 + sum(1 + len(balances) for balances in held.by_holder.values())),
)


_Land = Land[Place, Held]


class OndoBalances:
    """Balances of addresses on Ondo's chains, and holders of its tokens."""

    def __init__(self, client: OndoClient, caches: Caches, snapshot_threshold: int) -> None:
        self._client = client
        self._snapshots = ChainSnapshots(client, caches, CHAIN_NAMES, snapshot_threshold)
        lifetime = caches.balance_lifetime(_BALANCE_SECONDS)
        self._kept: ReadThrough[Place, Held] = ReadThrough(
            caches,
            "ondo:balances",
            fingerprint=client.fingerprint,
            fetch=self._fetch,
            name=str,
            codec=_HELD,
            lifetime=lifetime,
            flawed=lambda held: held.unreadable,
        )
        self._holders: ReadThrough[Place, Held] = ReadThrough(
            caches,
            "ondo:holders",
            fingerprint=client.fingerprint,
            fetch=self._fetch_each,
            name=str,
            codec=replace(_HELD, large=True),
            lifetime=lifetime,
            flawed=lambda held: held.unreadable,
        )

    async def load(self, places: Sequence[Place], reading: Reading) -> Mapping[Place, Outcome[Held]]:
        """The balances of each place, from whatever was fetched last and is not too old.

        A snapshot of a whole chain is good for its minute, whatever age the operation asks for.
        """
        outcomes: dict[Place, Outcome[Held]] = {}
        asked: dict[Place, Place] = {}
        for place in places:
            self._snapshots.want(place.chain_id, place.address)
            kept = self._kept.peek(place)
            snapshot = self._snapshots.fresh(place.chain_id)
            if (
                place.address is not None
                and snapshot is not None
                and (kept is None or kept.fetched_at < snapshot.fetched_at)
            ):
                outcomes[place] = of_snapshot = _of_snapshot(place, snapshot)
                reading.note(of_snapshot)
            else:
                whole = self._kept.fresh(place.whole)
                asked[place] = place if whole is None or whole.unreadable else place.whole
        loaded = await reading.balances(self._kept, asked.values())
        return outcomes | {place: loaded[instead] for place, instead in asked.items()}

    async def load_holders(self, place: Place, reading: Reading) -> Outcome[Held]:
        """All who hold a token."""
        return (await reading.balances(self._holders, [place]))[place]

    async def _fetch(self, places: Sequence[Place], deadline: float, land: _Land) -> None:
        """Asks upstream, for the whole of a chain on which many addresses are wanted of late."""
        by_chain: dict[ChainId, list[Place]] = {}
        for place in places:
            by_chain.setdefault(place.chain_id, []).append(place)
        await run_all([self._fetch_on(*chain, deadline, land) for chain in by_chain.items()])

    async def _fetch_on(self, chain_id: ChainId, places: Sequence[Place], deadline: float, land: _Land) -> None:
        snapshot = await self._snapshots.instead_of_each(chain_id, deadline)
        if snapshot is None:
            await self._fetch_each(places, deadline, land)
            return
        if isinstance(snapshot, LoadError):
            calls = snapshot.calls
            await self._fetch_each(places, deadline, lambda place, outcome: land(place, after(calls, outcome)))
            return
        for place in places:
            land(place, _of_snapshot(place, snapshot))

    async def _fetch_each(self, places: Sequence[Place], deadline: float, land: _Land) -> None:
        await run_all([self._fetch_one(place, deadline, land) for place in places])

    async def _fetch_one(self, place: Place, deadline: float, land: _Land) -> None:
        try:
            fetched = await self._client.fetch_balances(
                CHAIN_NAMES[place.chain_id],
                deadline,
                user_address=place.address,
                token_address=None if place.token is None else place.token.reference,
            )
        except LoadError as error:
            land(place, self._or_snapshot(place, error))
            return
        unreadable = fetched.value.dropped > 0
        held = _index_balances(place.chain_id, fetched.value.rows, of=place.address, unreadable=unreadable)
        if place.address is not None:  # other accounts' rows are nobody's question
            held = Held({place.address: held.by_holder.get(place.address, {})}, held.unreadable)
        land(place, fetched.with_value(held))

    def _or_snapshot(self, place: Place, error: LoadError) -> Outcome[Held]:
        """In place of a failure, what an earlier snapshot says, unless something later is known."""
        snapshot = self._snapshots.latest(place.chain_id)
        kept = self._kept.peek(place)
        if place.address is None or snapshot is None:
            return error
        if kept is not None and kept.fetched_at >= snapshot.fetched_at:
            return error
        return _of_snapshot(place, replace(snapshot, calls=error.calls, stale=error))


def _of_snapshot(place: Place, fetched: Fetched[ChainSnapshot]) -> Fetched[Held]:
    rows, unreadable = ((), False) if place.address is None else fetched.value.of(place.address)
    held = fetched.with_value(_index_balances(place.chain_id, rows, of=place.address, unreadable=unreadable))
    return replace(held, fresh_seconds=0.0) if held.value.unreadable else held
