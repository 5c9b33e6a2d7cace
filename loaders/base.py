"""Batching: values in the order of the keys, one batch for all keys of a tick."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

from aiodataloader import DataLoader, dispatch_queue
from aiodataloader import Loader as Waiting

K = TypeVar("K")
V = TypeVar("V")

_IDLE_TICKS = 8


async def run_all(tasks: Sequence[Coroutine[Any, Any, V]]) -> list[V]:
    """The results of all, which run at the same time; one alone needs no task of its own."""
    if len(tasks) == 1:
        return [await tasks[0]]
    return await asyncio.gather(*tasks)


class _PatientDataLoader(DataLoader[K, V]):
    """Dispatches once no load has joined for some ticks of the event loop.

    How many ticks a field takes until it loads depends on how deep it lies and on what it awaits; what one operation
    wants must go together all the same.
    """

    closed = False

    def do_resolve_reject(self, key: K, future: asyncio.Future[V]) -> None:
        """Queues a load, and waits with the first of them for the others."""
        self._queue.append(Waiting(key=key, future=future))
        if len(self._queue) == 1:
            self.loop.call_soon(self._wait, 1, 0)

    def _wait(self, joined: int, idle: int) -> None:
        idle = idle + 1 if len(self._queue) == joined else 0
        if self.closed:
            waiting, self._queue = self._queue, []
            for load in waiting:
                load.future.cancel()
        elif idle < _IDLE_TICKS:
            self.loop.call_soon(self._wait, len(self._queue), idle)
        else:
            dispatch_queue(self)


class BatchLoader(ABC, Generic[K, V]):
    """Loads values by key for one operation, each key once.

    Built inside a running event loop. ``fetch`` gets the distinct keys of a batch and gives a value for each.
    """

    def __init__(self) -> None:
        self._loader: _PatientDataLoader[K, V] = _PatientDataLoader(self._batch)
        self._batches: set[asyncio.Task[Any]] = set()
        self._values: set[asyncio.Future[V]] = set()

    async def load(self, key: K) -> V:
        """The value of a key. A caller that is cancelled takes nothing from the others who wait for it."""
        return await asyncio.shield(self.begin(key))

    def begin(self, key: K) -> asyncio.Future[V]:
        """Puts a key into the batch, whoever will wait for its value; who does must shield it."""
        value = self._value(key)
        value.add_done_callback(_retrieve)
        return value

    def close(self) -> None:
        """Cancels what is still being fetched, or was about to be, and whoever waits for it all the same."""
        self._loader.closed = True
        for value in list(self._values):
            value.cancel()
        for batch in self._batches:
            batch.cancel()
        # What was there leads back to us, and who is let go shall need no garbage collector.
        self._loader.batch_load_fn = _closed

    @abstractmethod
    async def fetch(self, keys: Sequence[K]) -> Mapping[K, V]:
        """A value for each key."""

    def _value(self, key: K) -> asyncio.Future[V]:
        value = self._loader.load(key)
        self._values.add(value)
        value.add_done_callback(self._values.discard)
        return value

    def _note(self, batch: asyncio.Task[Any] | None) -> None:
        """Takes note of a batch, which must not have itself among its variables: cancelled, it led back here."""
        if batch is not None:
            self._batches.add(batch)
            batch.add_done_callback(self._batches.discard)

    async def _batch(self, keys: list[K]) -> list[V]:
        self._note(asyncio.current_task())
        values = await self.fetch(keys)
        return [values[key] for key in keys]


def _retrieve(value: asyncio.Future[Any]) -> None:
    """Takes note of an exception, also where nobody waits for it any more."""
    if not value.cancelled():
        value.exception()


async def _closed(keys: object) -> Any:
    """The batch of a loader that is closed."""
    raise asyncio.CancelledError
