"""What replicas share, in Redis or Valkey: atomic scripts with a bound on what a slow or absent store may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from loaders.upstream.logs import log
from loaders.upstream.metrics import SHARED_AVAILABLE, SHARED_FAILURES

_CONNECTIONS = 16
_LARGE_COMMANDS = 2
_CONNECT_SECONDS = 1.0
_TURNS = 10
_SLOW_ANSWERS = 3
_FIRST_REST_SECONDS = 0.25
_LONGEST_REST_SECONDS = 5.0


class SharedStoreError(Exception):
    """The store did not do what it was asked for; the caller goes on without it."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, which Redis runs as one step. All its keys begin with ``KEY_PREFIX``."""

    text: str


# The braces put all keys into one hash slot, so scripts may use several of them.
KEY_PREFIX = "{walletgraph}"


class SharedStore:
    """One Redis. A command costs at most ``timeout_seconds``; after a failure the store is left alone.

    Until it answers again, which is looked for behind the scenes, every command fails at once.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        """Raises ValueError for a URL that is none of Redis."""
        self._timeout_seconds = timeout_seconds
        self._turns = asyncio.Semaphore(_CONNECTIONS - _LARGE_COMMANDS)
        self._large_turns = asyncio.Semaphore(_LARGE_COMMANDS)
        self._pool = redis.ConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            socket_connect_timeout=_CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._pool.connection_kwargs["decode_responses"] = False  # whatever the URL says
        self._redis = redis.Redis(connection_pool=self._pool)
        self._scripts: dict[Script, Any] = {}
        self._recovery: asyncio.Task[None] | None = None
        self._slow_answers = 0
        self._refuses = False
        self.available = False

    async def open(self) -> None:
        """Looks whether the store is there; if not, goes on looking behind the scenes."""
        if await self._answers(_CONNECT_SECONDS):
            self._set_available(True)
        else:
            self._rest("connection")

    async def close(self) -> None:
        """Closes the connections."""
        if self._recovery is not None:
            self._recovery.cancel()
            with suppress(asyncio.CancelledError):
                await self._recovery
        self.available = False
        with suppress(RedisError, OSError):
            await self._redis.aclose()
            await self._pool.disconnect()

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Any], *, timeout_seconds: float | None = None
    ) -> Any:
        """What the script returns; raises ``SharedStoreError``.

        A longer ``timeout_seconds`` is for large values that nothing waits for: running past it costs no rest.
        """
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self._redis.register_script(script.text)
        return await self._within(registered(keys=keys, args=args), timeout_seconds)

    async def _within(self, command: Coroutine[Any, Any, Any], timeout_seconds: float | None) -> Any:
        try:
            if not self.available:
                raise SharedStoreError("the shared store is not available")
            async with self._turns if timeout_seconds is None else self._large_turns:
                if not self.available:  # it was given a rest meanwhile
                    raise SharedStoreError("the shared store is not available")
                said = await _patiently(command, timeout_seconds or self._timeout_seconds)
            self._slow_answers = 0
            self._refuses = False
            return said
        except TimeoutError:
            SHARED_FAILURES.labels("timeout").inc()
            self._slow_answers += timeout_seconds is None
            if self._slow_answers >= _SLOW_ANSWERS:
                self._rest("timeout")
            raise SharedStoreError("the shared store is slow") from None
        except ResponseError as error:  # it answers, but cannot do this, e.g. for want of memory
            SHARED_FAILURES.labels("refused").inc()
            if not self._refuses:
                log.warning("shared store refuses commands", error=str(error)[:200])
            self._refuses = True
            raise SharedStoreError("the shared store refused a command") from error
        except (RedisError, OSError) as error:
            SHARED_FAILURES.labels("connection").inc()
            self._rest("connection")
            raise SharedStoreError("the shared store cannot be reached") from error
        finally:
            command.close()  # nothing happens to one that has run

    def _rest(self, reason: str) -> None:
        self._set_available(False)
        if self._recovery is None or self._recovery.done():
            log.warning("shared store unavailable", reason=reason)
            self._recovery = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        seconds = _FIRST_REST_SECONDS
        while True:
            await asyncio.sleep(seconds)
            if await self._answers(self._timeout_seconds):
                self._set_available(True)
                log.info("shared store available again")
                return
            seconds = min(seconds * 2, _LONGEST_REST_SECONDS)

    async def _answers(self, within_seconds: float) -> bool:
        """Whether all connections open, and one that is open answers in time."""
        try:
            await _patiently(asyncio.gather(*[self._redis.ping() for _ in range(_CONNECTIONS)]), _CONNECT_SECONDS)
            await _patiently(self._redis.ping(), within_seconds)
            return True
        except (RedisError, OSError, TimeoutError):
            return False

    def _set_available(self, available: bool) -> None:
        self.available = available
        SHARED_AVAILABLE.set(available)


async def _patiently(command: Any, seconds: float) -> Any:
    """Waits so long, in so many turns of the event loop at least: a busy loop must not pass for a slow store."""
    task = asyncio.ensure_future(command)
    try:
        for _ in range(_TURNS):
            done, _ = await asyncio.wait({task}, timeout=seconds / _TURNS)
            if done:
                return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # retrieved, also when nobody waits any more
    raise TimeoutError
