"""Backpressure: so many requests run, so many wait a while, the others are sent away at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter, Gauge

from loaders.upstream.turnstile import Turnstile
from schema.http.refusal import too_busy

_RUNNING = Gauge("walletgraph_operations_running", "GraphQL requests that run, by whichever transport.")
_WAITING = Gauge("walletgraph_operations_waiting", "GraphQL requests that wait for others to end.")
_REFUSED = Counter("walletgraph_operations_refused", "GraphQL requests sent away because too many ran.")


class Admission:
    """Places for requests: ``max_running`` at once; ``max_waiting`` wait in the order they came."""

    def __init__(self, max_running: int, max_waiting: int, max_wait_seconds: float = 5.0) -> None:
        self._places = Turnstile(lambda: max_running)
        self._max_waiting = max_waiting
        self._max_wait_seconds = max_wait_seconds

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place as long as the context lasts; 503 for who is one too many, or has waited too long.

        Raises ``RequestError``.
        """
        if not await self._enter():
            _REFUSED.inc()
            raise too_busy("The server has too much to do: try again.")
        _RUNNING.inc()
        try:
            yield
        finally:
            _RUNNING.dec()
            self._places.leave()

    async def _enter(self) -> bool:
        if not self._places.is_free and self._places.waiting >= self._max_waiting:
            return False
        with _WAITING.track_inprogress():
            try:
                await self._places.enter(asyncio.get_running_loop().time() + self._max_wait_seconds)
            except TimeoutError:
                return False
        return True
