"""Backpressure: so many requests run, so many wait a while, the others are sent away at once."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

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

    def place(self) -> AbstractAsyncContextManager[None]:
        """A place as long as the context lasts; 503 for who is one too many, or has waited too long.

        Raises ``RequestError``.
        """
        return _Place(self)

    async def enter(self) -> None:
        """Takes a place; raises ``RequestError``."""
        if not await self._enter():
            _REFUSED.inc()
            raise too_busy("The server has too much to do: try again.")
        _RUNNING.inc()

    def leave(self) -> None:
        """Gives a place back."""
        _RUNNING.dec()
        self._places.leave()

    async def _enter(self) -> bool:
        places = self._places
        if places.is_free:
            await places.enter(0)
            return True
        if places.waiting >= self._max_waiting:
            return False
        with _WAITING.track_inprogress():
            try:
                await places.enter(asyncio.get_running_loop().time() + self._max_wait_seconds)
            except TimeoutError:
                return False
        return True


class _Place:
    """One place: what ``asynccontextmanager`` would make, for a tenth of its time."""

    __slots__ = ("_admission",)

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def __aenter__(self) -> None:
        await self._admission.enter()

    async def __aexit__(self, *error: object) -> None:
        self._admission.leave()
