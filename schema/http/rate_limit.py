"""How often each client may ask: by GCRA, in this process and, where there is a shared store, over all replicas."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from cachetools import TLRUCache
from starlette.requests import HTTPConnection
from starlette.types import Scope

from loaders.upstream.shared import KEY_PREFIX, Script, SharedStore, SharedStoreError
from schema.http.authentication import client_of
from schema.http.refusal import REFUSED, RequestError

_MINUTE = 60_000_000
"""In microseconds, as all times here."""

_MAX_CLIENTS = 50_000
"""Those who asked lately; beyond, whoever asked longest ago has the whole burst again. Up to 20 MB."""

# What a client owes is one number, the time at which it will have paid for all that it was let in with.
_TAKE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count, interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local paid_at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0')) + count * interval
local wait = paid_at - burst * interval - now
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.0f', paid_at), 'PX', math.ceil((paid_at - now) / 1000))
return 0
""")


class RateLimitedError(RequestError):
    """A client asks more often than it may."""


def _microseconds() -> int:
    return time.monotonic_ns() // 1_000


class RateLimit:
    """Lets each client run ``burst`` operations at once, and then ``per_minute``, spread evenly.

    In any time t no client runs more than burst + per_minute × t. While the shared store is away each replica counts
    by itself, from what it let in before.
    """

    def __init__(
        self,
        per_minute: int,
        burst: int | None = None,
        *,
        store: SharedStore | None = None,
        clock: Callable[[], int] = _microseconds,
    ) -> None:
        """``burst`` None is as many as a minute has."""
        self._per_minute = per_minute
        self._burst = per_minute if burst is None else burst
        self._interval = math.ceil(_MINUTE / per_minute)
        self._store = store
        self._clock = clock
        self._paid_at = TLRUCache[str, int](_MAX_CLIENTS, ttu=lambda _, paid_at, __: paid_at, timer=clock)

    async def charge(self, connection: HTTPConnection, operations: int) -> None:
        """Lets a request or a WebSocket run so many operations; raises ``RateLimitedError``.

        More than can ever run at once is another ``RequestError``.
        """
        if operations > self._burst:
            text = f"The batch has {operations} operations; {self._burst} are allowed at once."
            raise RequestError(400, text, "OPERATION_TOO_LARGE")
        wait = await self.take(client_key(connection.scope), operations)
        if wait is not None:
            REFUSED.labels("RATE_LIMITED").inc()
            raise self._refusal(wait, operations)

    async def take(self, client: str, count: int = 1) -> float | None:
        """None: ``count`` operations may run. Else the seconds after which they may; nothing is counted then."""
        wait = self._wait(client, count)
        if wait <= 0 and self._store is not None:
            key = f"{KEY_PREFIX}:rate:{hashlib.sha256(client.encode()).hexdigest()[:32]}"
            try:
                wait = await self._store.run(_TAKE, [key], [count, self._interval, self._burst])
            except SharedStoreError:
                wait = self._wait(client, count)
        if wait > 0:
            return wait / 1_000_000
        self._paid_at[client] = self._owed_until(client) + count * self._interval
        return None

    def _wait(self, client: str, count: int) -> int:
        """How long until so many may run, by what this process let in."""
        return self._owed_until(client) + (count - self._burst) * self._interval - self._clock()

    def _owed_until(self, client: str) -> int:
        try:
            return self._paid_at[client]
        except KeyError:  # it owes nothing
            return self._clock()

    def _refusal(self, wait: float, operations: int) -> RateLimitedError:
        seconds = max(1, math.ceil(wait))
        left = max(0, operations - math.ceil(wait * 1_000_000 / self._interval))
        headers = {
            "Retry-After": str(seconds),
            # draft-ietf-httpapi-ratelimit-headers-09
            "RateLimit-Policy": f'"operations";q={self._per_minute};w=60',
            "RateLimit": f'"operations";r={left};t={seconds}',
        }
        text = f"Too many operations: {self._per_minute} a minute are allowed. Try again in {seconds} s."
        return RateLimitedError(429, text, "RATE_LIMITED", headers=headers)


def client_key(scope: Scope) -> str:
    """What a client is counted by: its name, or, of one that is not known, its address.

    The address is the peer's that the server names. Behind a proxy that is the proxy's, unless the server is told to
    trust its ``X-Forwarded-For``. Of IPv6 the first 64 bits count: who has one such address has them all.
    """
    client = client_of(scope)
    if client is not None:
        return client.name
    peer = scope.get("client")
    if peer is None:
        return "address:"
    try:
        address = ip_address(peer[0].partition("%")[0])
    except ValueError:
        return f"address:{peer[0][:64]}"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return f"address:{IPv6Address(int(address) >> 64 << 64)}/64"
        address = address.ipv4_mapped
    return f"address:{address}"
