"""A circuit breaker: an upstream that keeps failing is left alone, and tried with one request at a time."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import deque
from dataclasses import dataclass
from enum import Enum

from loaders.errors import CircuitOpenError
from loaders.upstream.background import Background
from loaders.upstream.logs import log
from loaders.upstream.metrics import BREAKER_STATE
from loaders.upstream.shared import KEY_PREFIX, Script, SharedStore, SharedStoreError

_WINDOW_SECONDS = 30.0
_SLICE_SECONDS = 0.1
_LONGEST_OPEN_SECONDS = 60.0
_PROBE_SECONDS = 15.0

# 0: closed. 1: this caller may probe. Else: milliseconds until it is worth asking again, negated.
_ADMIT = Script("""
local open = redis.call('PTTL', KEYS[1])
if open > 0 then return -open end
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
if redis.call('SET', KEYS[3], ARGV[2], 'NX', 'PX', ARGV[1]) then return 1 end
return -500
""")
_OPEN = Script("""
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
redis.call('DEL', KEYS[3])
return 1
""")
_CLOSE = Script("return redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])")
_GIVE_UP = Script("return redis.call('GET', KEYS[3]) == ARGV[1] and redis.call('DEL', KEYS[3])")


class BreakerState(Enum):
    """CLOSED: asked as usual. OPEN: not asked. HALF_OPEN: asked once, to see whether it has recovered."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(slots=True)
class _Slice:
    """How many requests ended within a fraction of a second, and how many of them as failures."""

    since: float
    requests: int = 0
    failures: int = 0


class Breaker:
    """Opens when at least ``failure_rate`` of at least ``min_requests`` within 30 s failed; 0 as rate: never.

    It stays open for ``open_seconds``, twice as long after each probe that fails, at most a minute. With a store, an
    upstream that one replica finds broken is left alone by all, and probed by one.
    """

    def __init__(
        self,
        name: str,
        *,
        failure_rate: float,
        min_requests: int,
        open_seconds: float,
        background: Background,
        shared: SharedStore | None = None,
        shared_name: str = "",
    ) -> None:
        self._name = name
        self._failure_rate = failure_rate
        self._min_requests = min_requests
        self._first_open_seconds = self._open_seconds = open_seconds
        self._background = background
        self._replica = uuid.uuid4().hex
        self._shared = shared
        self._keys = [f"{KEY_PREFIX}:breaker:{shared_name}:{part}" for part in ("open", "tripped", "probe")]
        self._slices: deque[_Slice] = deque()
        self._requests = self._failures = 0
        self._open_until = 0.0
        self._tripped = False
        self._told = False  # whether the other replicas know
        self._probe_until = 0.0
        BREAKER_STATE.labels(name).set_function(lambda: self.state.value)

    @property
    def state(self) -> BreakerState:
        """How it stands now, as far as this replica knows."""
        if not self._tripped:
            return BreakerState.CLOSED
        return BreakerState.OPEN if time.monotonic() < self._open_until else BreakerState.HALF_OPEN

    async def admit(self) -> bool:
        """Lets a request pass, and says whether it is a probe; raises ``CircuitOpenError``."""
        if not self._failure_rate:
            return False
        now = time.monotonic()
        if now < self._open_until:
            raise CircuitOpenError(retry_after_seconds=math.ceil(self._open_until - now))
        if self._tripped and now < self._probe_until:
            raise CircuitOpenError(retry_after_seconds=1)
        if self._shared is not None:
            await self._heed_others(self._shared)
        if self._tripped:
            self._probe_until = time.monotonic() + _PROBE_SECONDS
        return self._tripped

    async def record(self, ok: bool | None, *, probe: bool) -> None:
        """Takes note of how a request went that had been let pass; None when it came to no end."""
        if self._tripped:
            # What was under way when it opened says nothing of how the upstream does now.
            if probe and ok is None:
                self._probe_until = 0.0
                self._background.tell(self._give_up())  # we may be cancelled
            elif probe:
                await (self._close() if ok else self._open())
        elif self._failure_rate and ok is not None:
            self._count(ok)
            if self._requests >= self._min_requests and self._failures >= self._failure_rate * self._requests:
                await self._open()

    def _count(self, ok: bool) -> None:
        now, slices = time.monotonic(), self._slices
        if not slices or slices[-1].since <= now - _SLICE_SECONDS:
            slices.append(_Slice(now))
            while slices[0].since < now - _WINDOW_SECONDS:
                past = slices.popleft()
                self._requests -= past.requests
                self._failures -= past.failures
        slices[-1].requests += 1
        slices[-1].failures += not ok
        self._requests += 1
        self._failures += not ok

    async def _heed_others(self, shared: SharedStore) -> None:
        try:
            said = int(await shared.run(_ADMIT, self._keys, [int(_PROBE_SECONDS * 1_000), self._replica]))
        except SharedStoreError:
            return
        except asyncio.CancelledError:
            self._background.tell(self._give_up())  # the probe may have become ours
            raise
        if said < 0:
            self._trip(time.monotonic() + min(-said / 1_000, _LONGEST_OPEN_SECONDS), told=True)
            raise CircuitOpenError(retry_after_seconds=math.ceil(-said / 1_000))
        if said == 1:
            self._tripped = self._told = True
        elif self._told:
            self._reset()  # another replica's probe has succeeded

    def _trip(self, open_until: float, *, told: bool) -> None:
        self._tripped, self._told = True, told
        self._open_until = open_until
        self._probe_until = 0.0

    def _reset(self) -> None:
        self._tripped = self._told = False
        self._open_until = self._probe_until = 0.0
        self._open_seconds = self._first_open_seconds
        self._slices.clear()
        self._requests = self._failures = 0

    async def _open(self) -> None:
        milliseconds = int(self._open_seconds * 1_000)
        self._open_seconds = min(2 * self._open_seconds, _LONGEST_OPEN_SECONDS)
        self._trip(time.monotonic() + milliseconds / 1_000, told=False)
        self._told = await self._tell(_OPEN, [milliseconds, milliseconds + int(_LONGEST_OPEN_SECONDS * 1_000)])
        log.warning("circuit opened", source=self._name, seconds=milliseconds / 1_000)

    async def _give_up(self) -> None:
        await self._tell(_GIVE_UP, [self._replica])

    async def _close(self) -> None:
        self._reset()
        await self._tell(_CLOSE, [])
        log.info("circuit closed", source=self._name)

    async def _tell(self, script: Script, args: list[int | str]) -> bool:
        if self._shared is None:
            return False
        try:
            await self._shared.run(script, self._keys, args)
        except SharedStoreError:
            return False  # each replica for itself, then
        return True
