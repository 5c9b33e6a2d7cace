"""Backpressure: so many requests run, so many wait a while, the others are sent away at once."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter, Gauge
from starlette.types import ASGIApp, Receive, Scope, Send

from schema.http.refusal import refusal

_RUNNING = Gauge("walletgraph_operations_running", "GraphQL requests over HTTP that run.")
_WAITING = Gauge("walletgraph_operations_waiting", "GraphQL requests over HTTP that wait for others to end.")
_REFUSED = Counter("walletgraph_operations_refused", "GraphQL requests over HTTP sent away because too many ran.")

_refused = refusal("The server has too much to do: try again.")


class Admission:
    """Lets HTTP requests into an application, ``max_running`` at once; ``max_waiting`` wait in the order they came.

    Who is one too many, or has waited for ``max_wait_seconds``, gets a 503.
    """

    def __init__(self, app: ASGIApp, max_running: int, max_waiting: int, max_wait_seconds: float = 5.0) -> None:
        self._app = app
        self._places = asyncio.Semaphore(max_running)
        self._max_waiting = max_waiting
        self._max_wait_seconds = max_wait_seconds
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await self._enter():
            _REFUSED.inc()
            await _refused(scope, receive, send)
            return
        _RUNNING.inc()
        try:
            await self._app(scope, receive, send)
        finally:
            _RUNNING.dec()
            self._places.release()

    async def _enter(self) -> bool:
        if not self._places.locked():
            return await self._places.acquire()
        if self._waiting >= self._max_waiting:
            return False
        self._waiting += 1
        _WAITING.inc()
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                return await self._places.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
            _WAITING.dec()
