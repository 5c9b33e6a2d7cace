"""How many requests an upstream is sent: at once, and in any 60 seconds, by all replicas of one key together."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from loaders.errors import (
    LOAD_ERRORS,
    BudgetExhaustedError,
    LoadError,
    UpstreamRateLimitedError,
    UpstreamTimeoutError,
)
from loaders.upstream.background import Background
from loaders.upstream.metrics import BUDGET_LEFT, RUNNING, WAITING
from loaders.upstream.shared import KEY_PREFIX, Script, SharedStore, SharedStoreError
from loaders.upstream.turnstile import Turnstile

_WINDOW_SECONDS = 60.0
_WINDOW_MILLISECONDS = 60_000
_LEASE_MILLISECONDS = 3_000
_RENEW_SECONDS = 1.0
_POLL_SECONDS = 0.02

# Then it is asked whether it means it still.
_LONGEST_SILENCE_SECONDS = 60.0

# OneBalance's public key is limited to 60 requests a minute and to one connection.
_SINGLE_CONNECTION_LIMIT = 60

# A limit beyond that limits nobody; every request of a window has its place in the log.
_LARGEST_LIMIT = 10_000

# Who finds the one connection taken is the next to have it, as long as he keeps asking for it.
#
# The log is a sorted set. A request's score is the time at which it was over; while it is under way, a time soon to
# come, so that a replica that dies does not keep its connection. Nobody knows when within that span it was counted
# upstream, so it counts for a window after it.
_ENTER = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, connections, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local lease, id = tonumber(ARGV[4]), ARGV[5]
local blocked = redis.call('PTTL', KEYS[2])
if blocked > 0 then return {redis.call('GET', KEYS[2]), blocked, 0} end
if limit < 0 then limit = tonumber(redis.call('GET', KEYS[3]) or '0') end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if connections > 0 then
  local next = redis.call('GET', KEYS[4])
  if redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf') >= connections or (next and next ~= ARGV[6]) then
    redis.call('SET', KEYS[4], ARGV[6], 'PX', 200, 'NX')
    return {'busy', 0, limit}
  end
  if next then redis.call('DEL', KEYS[4]) end
end
local used = redis.call('ZCARD', KEYS[1])
if limit > 0 and used >= limit then
  local oldest = redis.call('ZRANGE', KEYS[1], used - limit, used - limit, 'WITHSCORES')
  return {'full', math.max(1, oldest[2] + window - now), limit}
end
redis.call('ZADD', KEYS[1], now + lease, id)
redis.call('PEXPIRE', KEYS[1], window + lease)
return {'entered', 0, limit}
""")
_RENEW = Script("""
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2] + ARGV[3])
""")
_LEAVE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local used_upstream, window, blocked = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZADD', KEYS[1], 'XX', now, ARGV[1])
local missing = used_upstream - redis.call('ZCOUNT', KEYS[1], now - window, '+inf')
for i = 1, missing do redis.call('ZADD', KEYS[1], now, 'stranger:' .. ARGV[1] .. ':' .. i) end
redis.call('PEXPIRE', KEYS[1], window)
if tonumber(ARGV[5]) > 0 then redis.call('SET', KEYS[3], ARGV[5], 'EX', 86400) end
if blocked > 0 and blocked > redis.call('PTTL', KEYS[2]) then redis.call('SET', KEYS[2], ARGV[6], 'PX', blocked) end
return 1
""")

_EXHAUSTED: type[LoadError] = BudgetExhaustedError


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send one request; with ``renewal`` if the other replicas know of it, by this ``id``."""

    id: str = ""
    renewal: asyncio.Task[None] | None = None


_OURS_ALONE = Permit()


class Budget:
    """Lets requests to one upstream through in the order in which they come.

    ``requests_per_minute`` None is what the upstream's own ``x-ratelimit-limit`` says, 0 no limit. ``connections``
    None is 64, but one where the limit is that of OneBalance's public key, or may be. At most ``max_waiting``
    requests wait.
    """

    def __init__(
        self,
        name: str,
        *,
        requests_per_minute: int | None,
        connections: int | None,
        max_waiting: int,
        background: Background,
        shared: SharedStore | None = None,
        shared_name: str = "",
    ) -> None:
        self._limit = requests_per_minute
        self._learns_limit = requests_per_minute is None
        self._fixed_connections = connections
        self._max_waiting = max_waiting
        self._background = background
        self._shared = shared
        self._keys = [f"{KEY_PREFIX}:budget:{shared_name}:{part}" for part in ("log", "silence", "limit", "next")]
        self._replica = uuid.uuid4().hex
        self._connections = Turnstile(self._places)
        self._head = Turnstile(lambda: 1)
        self._sent = 0
        self._log: deque[float] = deque(maxlen=max(requests_per_minute or 0, _LARGEST_LIMIT))
        self._silent_until = 0.0
        self._silent_for: type[LoadError] = UpstreamRateLimitedError
        RUNNING.labels(name).set_function(lambda: self._sent)
        WAITING.labels(name).set_function(lambda: self._waiting)
        BUDGET_LEFT.labels(name).set_function(lambda: math.inf if self.left is None else self.left)

    @property
    def left(self) -> int | None:
        """Requests that this replica may still send in the current 60 s; None without a limit."""
        return None if not self._limit else max(0, self._limit - self._used())

    async def enter(self, deadline: float) -> Permit:
        """Waits for leave until the event-loop time ``deadline``; every permit must be given back with ``leave``.

        Raises ``BudgetExhaustedError`` as soon as it is clear that the wait would be too long, with the seconds
        after which there is budget again, what the upstream failed with while it asked for silence, and
        ``UpstreamTimeoutError`` when all connections stay busy.
        """
        if self._is_open():
            self._connections.inside += 1
            self._sent += 1
            return _OURS_ALONE
        self._refuse_in_vain(deadline)
        try:
            await self._connections.enter(deadline)
            try:
                await self._head.enter(deadline)  # who comes first is counted first
                try:
                    permit = await self._take(deadline)
                finally:
                    self._head.leave()
            except BaseException:
                self._connections.leave()
                raise
        except TimeoutError:
            if (wait := self._wait_for_budget(0)) > 0:
                raise BudgetExhaustedError(retry_after_seconds=math.ceil(wait)) from None
            raise UpstreamTimeoutError from None
        self._sent += 1
        return permit

    async def leave(
        self, permit: Permit, headers: Mapping[str, str] | None, failure: LoadError | None = None
    ) -> None:
        """Gives a permit back, with the answer's headers, and its failure, after which nobody asks before its time.

        ``headers`` None: there was no answer that could tell of limits.
        """
        now = time.monotonic()
        self._sent -= 1
        used_upstream = 0
        if self._limit or self._learns_limit:  # else nobody counts
            used_upstream = 0 if headers is None else self._learn(headers)
            self._log.append(now)
            if permit.renewal is None:  # else the shared log has the requests of others
                self._log.extend([now] * (used_upstream - self._used()))
        silence = 0.0 if failure is None else min(failure.retry_after_seconds or 0, _LONGEST_SILENCE_SECONDS)
        if failure is not None and now + silence > self._silent_until:
            self._silent_until, self._silent_for = now + silence, type(failure)
        told = None
        if permit.renewal is not None:
            permit.renewal.cancel()
            told = self._tell(permit.id, used_upstream, silence, "" if failure is None else failure.code.value)
        self._connections.leave()
        if told is not None:  # the next one here must find the connection free; what cancels us stops it not
            await asyncio.shield(told)

    def _is_open(self) -> bool:
        """Whether nothing stands in the way of one more request, and no other replica is to be asked."""
        return (
            (self._shared is None or self._limit == 0)
            and self._connections.inside == self._sent  # else one of them has still to move
            and self._connections.is_free
            and self._silent_until <= time.monotonic()
            and (not self._limit or self._wait_for_budget(0) <= 0)
        )

    def _places(self) -> int:
        if self._fixed_connections is not None:
            return self._fixed_connections
        unknown = self._limit is None
        return 1 if unknown or 0 < (self._limit or 0) <= _SINGLE_CONNECTION_LIMIT else 64

    @property
    def _waiting(self) -> int:
        """Those in line, and those who have a connection and no budget yet."""
        return self._connections.waiting + self._connections.inside - self._sent

    def _used(self) -> int:
        """Requests of this replica that upstream may count at this moment, those under way included."""
        past = time.monotonic() - _WINDOW_SECONDS
        while self._log and self._log[0] <= past:
            self._log.popleft()
        return self._sent + len(self._log)

    def _wait_for_budget(self, ahead: int) -> float:
        """Seconds until there is room for one more than ``ahead``, a whole window where that is unknown."""
        if not self._limit:
            return 0.0
        over = self._used() + ahead - self._limit
        if over < 0:
            return 0.0
        return self._log[over] + _WINDOW_SECONDS - time.monotonic() if over < len(self._log) else _WINDOW_SECONDS

    def _refuse_in_vain(self, deadline: float) -> None:
        """Refuses a request that could not be sent before its deadline, without letting it wait."""
        patience = deadline - asyncio.get_running_loop().time()
        silence = self._silent_until - time.monotonic()
        if silence > 0 and silence >= patience:
            raise self._silent_for(retry_after_seconds=math.ceil(silence))
        if not self._connections.is_free and self._connections.waiting >= self._max_waiting:
            raise BudgetExhaustedError(retry_after_seconds=1)
        wait = self._wait_for_budget(self._waiting)
        if wait > 0 and wait >= patience:
            raise BudgetExhaustedError(retry_after_seconds=math.ceil(wait))

    async def _take(self, deadline: float) -> Permit:
        """Waits for the end of a silence, for room in the log, and for the other replicas."""
        while True:
            wait, refusal = self._wait_for_budget(0), _EXHAUSTED
            silence = self._silent_until - time.monotonic()
            if silence > wait:
                wait, refusal = silence, self._silent_for
            if wait <= 0:
                permit, wait, refusal = await self._enter_shared()
                if permit is not None:
                    return permit
            if wait >= deadline - asyncio.get_running_loop().time():
                raise refusal(retry_after_seconds=math.ceil(wait))
            await asyncio.sleep(wait)

    async def _enter_shared(self) -> tuple[Permit | None, float, type[LoadError]]:
        """A permit, or how long to wait for one and what stands in the way."""
        if self._shared is None or self._limit == 0:
            return _OURS_ALONE, 0.0, _EXHAUSTED
        identity = uuid.uuid4().hex
        limit = -1 if self._limit is None else self._limit
        places = self._places()
        args = [
            limit,
            places if places == 1 else 0,
            _WINDOW_MILLISECONDS,
            _LEASE_MILLISECONDS,
            identity,
            self._replica,
        ]
        try:
            said, milliseconds, learned = await self._shared.run(_ENTER, self._keys, args)
        except SharedStoreError:
            return _OURS_ALONE, 0.0, _EXHAUSTED
        except asyncio.CancelledError:
            self._tell(identity, 0, 0.0, "")  # it may have been let in
            raise
        if self._limit is None and learned > 0:
            self._limit = learned
        if said == b"entered":
            renewal = self._background.start(self._renew(self._shared, identity))
            return Permit(identity, renewal), 0.0, _EXHAUSTED
        if said == b"busy":
            return None, _POLL_SECONDS, _EXHAUSTED
        return None, milliseconds / 1_000, LOAD_ERRORS.get(said.decode(), _EXHAUSTED)

    def _tell(self, identity: str, used_upstream: int, silence: float, code: str) -> asyncio.Task[None]:
        """Tells the other replicas of the end of a request."""
        limit = (self._limit or 0) if self._learns_limit else 0

        async def tell() -> None:
            if self._shared is not None:
                args = [identity, used_upstream, _WINDOW_MILLISECONDS, int(silence * 1_000), limit, code]
                with suppress(SharedStoreError):  # the lease ends by itself
                    await self._shared.run(_LEAVE, self._keys, args)

        return self._background.tell(tell())

    async def _renew(self, shared: SharedStore, identity: str) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with suppress(SharedStoreError):
                await shared.run(_RENEW, self._keys[:1], [identity, _LEASE_MILLISECONDS, _WINDOW_MILLISECONDS])

    def _learn(self, headers: Mapping[str, str]) -> int:
        """What the upstream has counted, by its headers; 0 when it does not say, or counts more than we can."""
        limit, remaining = _number(headers.get("x-ratelimit-limit")), _number(headers.get("x-ratelimit-remaining"))
        if limit is not None and limit > _LARGEST_LIMIT:
            limit = None
        if self._learns_limit and (limit or self._limit is None):
            self._limit = limit or 0
            self._connections.let_in()
        return max(0, limit - remaining) if limit and remaining is not None else 0


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 9 else None
