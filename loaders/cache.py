"""Answers kept for later, in this process's memory and in the store that replicas share."""

from __future__ import annotations

import asyncio
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Generic, TypeVar

from msgspec import Struct

from loaders.errors import LOAD_ERRORS, LoadError, UpstreamFailedError
from loaders.upstream.connections import MAX_BODY_BYTES
from loaders.upstream.metrics import CACHE_BYTES, CACHE_CORRUPT, CACHE_EVICTIONS
from loaders.upstream.shared import KEY_PREFIX, Script, SharedStore

V = TypeVar("V")

_LEASE_SECONDS = 2.0
_FAILURE_SHOWN_SECONDS = 0.5
_SAME = timedelta(milliseconds=1)
_HEAD_BYTES = 30
_LARGE_BYTES = 64 * 1024
_LARGE_SECONDS = 2.0

# How far the clocks of replicas may differ.
_CLOCK_SECONDS = 5.0


class Lifetime(Struct, frozen=True):
    """How long an answer is of use, in seconds; the last two count from the end of the first (RFC 5861).

    While fresh it is served; then at once, and renewed behind; then only if it cannot be renewed.
    """

    fresh: float
    stale_while_revalidate: float
    stale_if_error: float

    @property
    def kept(self) -> float:
        """After so many seconds nothing uses it."""
        return self.fresh + max(self.stale_while_revalidate, self.stale_if_error)


class Age(Enum):
    """What an answer of some age may be used for."""

    FRESH = "fresh"
    STALE_WHILE_REVALIDATE = "stale_while_revalidate"
    STALE_IF_ERROR = "stale_if_error"
    DEAD = "miss"


@dataclass(slots=True)
class Entry(Generic[V]):
    """An answer that was kept, and why it could last not be renewed, so many times; ``size`` in bytes.

    Until ``retry_at``, in monotonic seconds, there is no use in trying again.
    """

    value: V
    fetched_at: datetime
    size: int
    failure: LoadError | None = None
    failures: int = 0
    retry_at: float = 0.0
    _fetched_unix: float = field(init=False)

    def __post_init__(self) -> None:
        self._fetched_unix = self.fetched_at.timestamp()

    @property
    def seconds(self) -> float:
        """How old it is."""
        return max(0.0, time.time() - self._fetched_unix)

    def age(self, lifetime: Lifetime) -> Age:
        """What it may be used for."""
        past_fresh = self.seconds - lifetime.fresh
        if past_fresh < 0:
            return Age.FRESH
        if past_fresh < lifetime.stale_while_revalidate:
            return Age.STALE_WHILE_REVALIDATE
        return Age.STALE_IF_ERROR if past_fresh < lifetime.stale_if_error else Age.DEAD


class Failure(Struct, frozen=True):
    """Why an answer could not be had, and how long it is no use to ask again if there is an older one."""

    error: LoadError
    rest_seconds: float


class MemoryCache:
    """Entries by key, up to ``max_bytes`` by their own estimate; what was used least recently goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, Entry[Any]] = OrderedDict()

    def get(self, key: str) -> Entry[Any] | None:
        """The entry, None when it is not or no longer there."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: str, entry: Entry[Any]) -> None:
        """Keeps an entry in place of an older one; one larger than the whole cache is not kept."""
        seen = self._entries.get(key)
        if seen is not None and seen.fetched_at > entry.fetched_at - _SAME:
            return  # the same by way of the shared store knows less
        if entry.size <= self._max_bytes:
            self._bytes += entry.size - (0 if seen is None else seen.size)
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while self._bytes > self._max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._bytes -= oldest.size
                CACHE_EVICTIONS.inc()
        CACHE_BYTES.set(self._bytes)


class Codec(Struct, Generic[V], frozen=True):
    """How the values of one kind are written; ``version`` rises when old ones can no longer be read.

    ``decode`` raises whatever it likes for bytes that it cannot read. ``size`` estimates a value's memory in bytes.
    """

    version: int
    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]
    size: Callable[[V], int]
    large: bool = False


# A value begins with a byte for its version, the Unix milliseconds until which it is fresh, the microseconds at which
# it was fetched, and a checksum. What stands there may be anybody's: a time too far ahead is none.
#
# By key: the value, and the state of its flight. A flight is its owner's token, or after a failure "!" and the code.
# "+" tells the caller that the flight is his. Who awaits another's learns of its failure, and gets no old value.
_BOARD = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local said, awaits, max_age = {}, ARGV[4] == '1', tonumber(ARGV[5])
for i = 1, #KEYS / 2 do
  local value, flight = redis.call('GET', KEYS[2 * i - 1]), redis.call('GET', KEYS[2 * i])
  local fresh_until = value and tonumber(string.sub(value, 2, 14)) or 0
  local fresh = fresh_until > now and fresh_until < now + ARGV[3]
  if fresh and max_age then fresh = tonumber(string.sub(value, 15, 30)) / 1000 + max_age >= now end
  local failed = flight and string.sub(flight, 1, 1) == '!'
  local state = ''
  if not fresh then
    if failed and (value or awaits) then state = flight
    elseif flight and not failed then state = '?'
    else
      redis.pcall('SET', KEYS[2 * i], ARGV[1], 'PX', ARGV[2])  -- refused for want of memory, it is his all the same
      state = '+'
    end
  end
  said[2 * i - 1], said[2 * i] = (fresh or not awaits) and value or '', state
end
return said
""")
_RENEW = Script("""
for i = 1, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
end
return 1
""")
# By key: the value or nothing, its life in milliseconds, and the failure with the milliseconds that it is heeded
# where there is an older value. A newer value of another is left alone.
_LAND = Script("""
local time = redis.call('TIME')
local ahead = (time[1] + 5) * 1000000
for i = 1, #KEYS / 2 do
  local value, life, failure, heeded = ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i], ARGV[4 * i + 1]
  local seen = redis.call('GET', KEYS[2 * i - 1])
  local seen_at = seen and string.byte(seen) == string.byte(value) and tonumber(string.sub(seen, 15, 30)) or 0
  if value ~= '' and (seen_at > ahead or seen_at < tonumber(string.sub(value, 15, 30))) then
    redis.call('SET', KEYS[2 * i - 1], value, 'PX', life)
  end
  if redis.call('GET', KEYS[2 * i]) == ARGV[1] then
    if failure == '' then redis.call('DEL', KEYS[2 * i])
    else redis.call('SET', KEYS[2 * i], failure, 'PX', seen and heeded or ARGV[#ARGV]) end
  end
end
return 1
""")


class Flight(Enum):
    """Who fetches an answer: nobody, this replica, another one; or it has just failed."""

    NONE = b""
    OURS = b"+"
    THEIRS = b"?"
    FAILED = b"!"


class Shared(Struct, Generic[V], frozen=True):
    """What the shared store says of one answer; ``failure`` if the flight is FAILED."""

    entry: Entry[V] | None
    flight: Flight
    failure: LoadError | None = None


class SharedCache(Generic[V]):
    """Answers of one kind in the shared store, and who of the replicas is fetching them.

    Every method raises ``SharedStoreError``. Keys hold the question and a fingerprint of the upstream's key.
    """

    def __init__(self, store: SharedStore, kind: str, codec: Codec[V], lifetime: Lifetime) -> None:
        self._store = store
        self._kind = kind
        self._codec = codec
        self._lifetime = lifetime
        self._seconds = _LARGE_SECONDS if codec.large else None

    async def board(
        self, keys: Sequence[str], token: str, max_age_seconds: float | None = None, *, awaits: bool = False
    ) -> dict[str, Shared[V]]:
        """Reads answers, and claims those that nobody fetches for ``token``: all in one round trip.

        What is older than ``max_age_seconds`` is not fresh. Who ``awaits`` the flights of others reads nothing that
        is not fresh, and learns of their failures.
        """
        longest_fresh = int((self._lifetime.fresh + _CLOCK_SECONDS) * 1_000)
        max_age = "" if max_age_seconds is None else int(max_age_seconds * 1_000)
        args = [token, int(_LEASE_SECONDS * 1_000), longest_fresh, int(awaits), max_age]
        said = await self._store.run(_BOARD, self._pairs(keys), args, timeout_seconds=self._seconds)
        return {key: await self._shared(said[2 * n], said[2 * n + 1]) for n, key in enumerate(keys)}

    async def renew(self, keys: Sequence[str], token: str) -> None:
        """Lets claims live on."""
        flights = [self._flight(key) for key in keys]
        await self._store.run(_RENEW, flights, [token, int(_LEASE_SECONDS * 1_000)])

    async def land(self, outcomes: Mapping[str, Entry[V] | Failure | None], token: str) -> None:
        """Writes what was fetched, and ends the flights of ``token``: one round trip. None is not worth keeping."""
        args: list[Any] = [token]
        for outcome in outcomes.values():
            if isinstance(outcome, Entry):
                args += [await self._encoded(outcome), max(1, int(self._lifetime.kept * 1_000)), "", 1]
            elif isinstance(outcome, Failure):
                error = outcome.error
                failure = f"!{error.code.value}:{error.retry_after_seconds or ''}"
                args += ["", 1, failure, max(1, int(outcome.rest_seconds * 1_000))]
            else:
                args += ["", 1, "", 1]
        args.append(int(_FAILURE_SHOWN_SECONDS * 1_000))
        large = sum(len(arg) for arg in args if isinstance(arg, bytes)) >= _LARGE_BYTES
        seconds = _LARGE_SECONDS if large else self._seconds
        await self._store.run(_LAND, self._pairs(list(outcomes)), args, timeout_seconds=seconds)

    def _pairs(self, keys: Sequence[str]) -> list[str]:
        return [name for key in keys for name in (f"{KEY_PREFIX}:{key}", self._flight(key))]

    def _flight(self, key: str) -> str:
        return f"{KEY_PREFIX}:{key}:flight"

    async def _shared(self, value: bytes, flight: bytes) -> Shared[V]:
        entry = await self._decoded(value) if value else None
        if not flight.startswith(b"!"):
            return Shared(entry, Flight(flight))
        code, _, seconds = flight[1:].decode("ascii", "replace").partition(":")
        error = LOAD_ERRORS.get(code, UpstreamFailedError)
        return Shared(entry, Flight.FAILED, error(retry_after_seconds=int(seconds) if seconds.isdigit() else None))

    async def _encoded(self, entry: Entry[V]) -> bytes:
        fetched = entry.fetched_at.timestamp()
        fresh_until = int((fetched + self._lifetime.fresh) * 1_000)
        head = b"%c%013d%016d" % (self._codec.version, fresh_until, round(fetched * 1_000_000))
        body = self._codec.encode(entry.value)
        packed = (
            zlib.compress(body, 1) if len(body) < _LARGE_BYTES else await asyncio.to_thread(zlib.compress, body, 1)
        )
        return head + _checksum(head, packed) + packed

    async def _decoded(self, value: bytes) -> Entry[V] | None:
        if value[0] != self._codec.version:
            return None
        try:
            if len(value) < _LARGE_BYTES:
                read, fetched = self._read(value)
            else:
                read, fetched = await asyncio.to_thread(self._read, value)
            if fetched > time.time() + _CLOCK_SECONDS:
                raise ValueError("fetched in the future")
            return Entry(read, datetime.fromtimestamp(fetched, UTC), self._codec.size(read))
        except Exception:  # whatever it is, it is none of our answers
            CACHE_CORRUPT.labels(self._kind).inc()
            return None

    def _read(self, value: bytes) -> tuple[V, float]:
        head, checksum, packed = value[:_HEAD_BYTES], value[_HEAD_BYTES : _HEAD_BYTES + 4], value[_HEAD_BYTES + 4 :]
        if checksum != _checksum(head, packed):
            raise ValueError("not as it was written")
        return self._codec.decode(_decompressed(packed)), int(head[14:]) / 1_000_000


def _checksum(head: bytes, packed: bytes) -> bytes:
    return zlib.crc32(packed, zlib.crc32(head)).to_bytes(4, "big")


def _decompressed(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    body = stream.decompress(data, MAX_BODY_BYTES)
    if not stream.eof:
        raise ValueError("cut, or larger than any answer")
    return body


def new_token() -> str:
    """A name for one flight, which no other has."""
    return secrets.token_hex(8)
