"""Whole chains of Ondo's in one request, from the moment on when many addresses are asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from loaders.cache import Codec, Lifetime
from loaders.caip import AccountAddress, ChainId
from loaders.errors import LoadError, UpstreamResponseError
from loaders.read_through import Caches, Land, Outcome, ReadThrough
from loaders.snapshots import ChainSnapshot, index_chain
from loaders.upstream.http import Fetched
from loaders.upstream.ondo import OndoClient
from loaders.upstream.shared import KEY_PREFIX, Script, SharedStore, SharedStoreError

# Ondo's data is a minute old at its source: until then a snapshot is as good as asking for each address.
_SNAPSHOT = Lifetime(fresh=60, stale_while_revalidate=0, stale_if_error=3_600)
_DEMAND_SECONDS = 60.0
_REST_SECONDS = 60.0

_COUNT = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('ZCARD', KEYS[1])
""")


class Demand:
    """Which addresses were asked for on one chain within a minute, by all replicas: the last ``enough`` of them."""

    def __init__(self, store: SharedStore | None, name: str, enough: int) -> None:
        self._store = store
        self._key = f"{KEY_PREFIX}:demand:{name}"
        self._enough = enough
        self._asked: dict[AccountAddress, float] = {}

    def note(self, address: AccountAddress) -> None:
        """Adds an address, whoever answers it."""
        self._asked.pop(address, None)  # the dictionary stays in order of time
        self._asked[address] = time.monotonic()
        if len(self._asked) > self._enough:
            del self._asked[next(iter(self._asked))]

    async def is_enough(self) -> bool:
        """Whether there were enough."""
        past = time.monotonic() - _DEMAND_SECONDS
        asked = [address for address, at in self._asked.items() if at > past]
        if len(asked) >= self._enough or self._store is None:
            return len(asked) >= self._enough
        try:
            args = [int(_DEMAND_SECONDS * 1_000), *asked]
            return int(await self._store.run(_COUNT, [self._key], args)) >= self._enough
        except SharedStoreError:
            return False


class ChainSnapshots:
    """The latest snapshot of each chain; ``names`` are the chains as Ondo calls them.

    From ``threshold`` addresses a minute on, a snapshot replaces a request for each; 0: never.
    """

    def __init__(self, client: OndoClient, caches: Caches, names: Mapping[ChainId, str], threshold: int) -> None:
        self._client = client
        self._names = names
        self._threshold = threshold
        minute = _SNAPSHOT.fresh
        self._fresh_seconds = minute if caches.fresh_seconds is None else min(caches.fresh_seconds, minute)
        self._demand = {
            chain_id: Demand(caches.store, f"{client.fingerprint}:{name}", threshold)
            for chain_id, name in names.items()
        }
        self._kept = {chain_id: self._read_through(caches, chain_id) for chain_id in names}
        self._rests_until = dict.fromkeys(names, 0.0)

    def fresh(self, chain_id: ChainId) -> Fetched[ChainSnapshot] | None:
        """A snapshot that is less than a minute old; None when there is none."""
        if self._kept[chain_id].fresh(None) is None or (latest := self.latest(chain_id)) is None:
            return None
        age = time.time() - latest.fetched_at.timestamp()
        return replace(latest, fresh_seconds=max(0.0, self._fresh_seconds - age))

    def latest(self, chain_id: ChainId) -> Fetched[ChainSnapshot] | None:
        """The last snapshot, if it may still stand in for a failure; None when there is none."""
        entry = self._kept[chain_id].peek(None)
        if entry is None:
            return None
        return Fetched(entry.value, entry.fetched_at, cache_age_seconds=int(entry.seconds))

    def want(self, chain_id: ChainId, address: AccountAddress | None) -> None:
        """Takes note of an address that is asked for."""
        if self._threshold and address is not None:
            self._demand[chain_id].note(address)

    async def instead_of_each(self, chain_id: ChainId, deadline: float) -> Outcome[ChainSnapshot] | None:
        """A snapshot, or why it cannot be renewed, if enough addresses were wanted of late; else None.

        None too for a minute after it could not be renewed.
        """
        if not self._threshold or time.monotonic() < self._rests_until[chain_id]:
            return None
        if not await self._demand[chain_id].is_enough():
            return None
        outcome = (await self._kept[chain_id].load([None], deadline))[None]
        if not isinstance(outcome, LoadError) and outcome.stale is not None:
            outcome = outcome.stale.with_calls(outcome.calls)
        if isinstance(outcome, LoadError):
            self._rests_until[chain_id] = time.monotonic() + _REST_SECONDS
        return outcome

    def _read_through(self, caches: Caches, chain_id: ChainId) -> ReadThrough[None, ChainSnapshot]:
        async def fetch(keys: Sequence[None], deadline: float, land: Land[None, ChainSnapshot]) -> None:
            try:
                fetched = await self._client.fetch_chain(self._names[chain_id], deadline)
            except LoadError as error:
                land(None, error)
                return
            try:
                async with asyncio.timeout_at(deadline):
                    snapshot = await index_chain(chain_id, fetched.value)
                if snapshot.unreadable:  # nobody knows whose rows are missing
                    raise UpstreamResponseError
                land(None, fetched.with_value(snapshot))
            except (UpstreamResponseError, TimeoutError):
                land(None, UpstreamResponseError(calls=fetched.calls))

        return ReadThrough(
            caches,
            "ondo:snapshot",
            fingerprint=self._client.fingerprint,
            fetch=fetch,
            name=lambda key: chain_id,
            codec=Codec(
                version=1,
                encode=lambda snapshot: snapshot.blob,
                decode=lambda blob: ChainSnapshot(chain_id, blob),
                size=lambda snapshot: len(snapshot.blob),
                large=True,
            ),
            lifetime=replace(_SNAPSHOT, fresh=self._fresh_seconds),
        )
