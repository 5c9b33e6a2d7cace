"""Chain snapshots: Ondo's answer for a whole chain as bytes that are looked up by holder."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from decimal import Decimal
from subprocess import PIPE, Popen
from weakref import WeakValueDictionary

from loaders.caip import AccountAddress, ChainId
from loaders.errors import UpstreamResponseError
from loaders.snapshot_blob import (
    BOUND_BYTES,
    BOUNDS,
    DOUBT,
    HEAD,
    SEAL_BYTES,
    build,
    command,
    key_bytes,
    key_of,
    seal,
)
from loaders.upstream.ondo import BalanceRecord

INLINE_BYTES = 64 * 1024
"""A larger body is read in a child process: in a thread it would keep the interpreter lock from the event loop."""

_CHILDREN = 2
# An event loop's entry lives as long as somebody holds its semaphore.
_turns: WeakValueDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakValueDictionary()


class ChainSnapshot:
    """The balances of one whole chain, indexed by holder.

    ``unreadable`` says that some rows of the answer are missing, nobody knows whose. A holder
    has no object of its own: a snapshot is as large as its ``blob``.
    """

    __slots__ = ("_bounds_at", "_holders", "_key_bytes", "_keys_at", "_texts_at", "blob", "chain_id", "unreadable")

    def __init__(self, chain_id: ChainId, blob: bytes) -> None:
        """Raises ValueError for bytes that are not a snapshot of this chain, all of it and unchanged."""
        if blob[:SEAL_BYTES] != seal(chain_id, memoryview(blob)[SEAL_BYTES:]):
            raise ValueError(f"not a snapshot of {chain_id}")
        unreadable, holders, tokens = HEAD.unpack_from(blob, SEAL_BYTES)
        self.chain_id = chain_id
        self.blob = blob
        self.unreadable: bool = unreadable
        self._holders: int = holders
        self._key_bytes = key_bytes(chain_id)
        self._keys_at = SEAL_BYTES + HEAD.size
        self._bounds_at = self._keys_at + holders * self._key_bytes
        self._texts_at = self._bounds_at + (holders + tokens + 1) * BOUND_BYTES

    def __len__(self) -> int:
        """How many holders there are."""
        return self._holders

    def of(self, holder: AccountAddress) -> tuple[tuple[BalanceRecord, ...], bool]:
        """What an address holds, one row a token, and whether some of it could not be read.

        No rows for an address that is not there.
        """
        if holder.namespace is not self.chain_id.namespace:
            return (), False
        key = key_of(holder)
        place = bisect_left(range(self._holders), key, key=self._key)
        if place == self._holders or self._key(place) != key:
            return (), False
        words = self._text(place).split()
        doubtful = words[:1] == [DOUBT]
        pairs = iter(words[1:] if doubtful else words)
        rows = [self._record(int(token), holder, Decimal(amount)) for token, amount in zip(pairs, pairs, strict=True)]
        return tuple(rows), doubtful

    def _key(self, place: int) -> bytes:
        start = self._keys_at + place * self._key_bytes
        return self.blob[start : start + self._key_bytes]

    def _record(self, token: int, holder: AccountAddress, amount: Decimal) -> BalanceRecord:
        address, _, symbol = self._text(self._holders + token).partition(" ")
        return BalanceRecord(address, symbol, holder, amount)

    def _text(self, number: int) -> str:
        start, end = BOUNDS.unpack_from(self.blob, self._bounds_at + number * BOUND_BYTES)
        return self.blob[self._texts_at + start : self._texts_at + end].decode("utf-8", "surrogatepass")


async def index_chain(chain_id: ChainId, body: bytes) -> ChainSnapshot:
    """The snapshot of a whole chain's answer; raises UpstreamResponseError for one that cannot be read."""
    try:
        if len(body) <= INLINE_BYTES:
            return ChainSnapshot(chain_id, build(chain_id, body))
        blob = await _build_in_child(chain_id, body)
        return await asyncio.to_thread(ChainSnapshot, chain_id, blob)
    except (ValueError, OSError) as error:
        raise UpstreamResponseError() from error


async def _build_in_child(chain_id: ChainId, body: bytes) -> bytes:
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_CHILDREN)):
        child = _start(chain_id)
        talk = asyncio.ensure_future(asyncio.to_thread(child.communicate, body))
        try:
            await asyncio.wait([talk])
        finally:
            child.kill()  # nothing happens to one that has ended
            await asyncio.wait([talk])
    blob, _ = talk.result()
    if child.returncode != 0:
        raise ValueError(f"the child process ended with {child.returncode}")
    return blob


def _start(chain_id: ChainId) -> Popen[bytes]:
    # In a session of its own, an interrupt at the terminal is left to us.
    return Popen(command(chain_id), stdin=PIPE, stdout=PIPE, start_new_session=True)
