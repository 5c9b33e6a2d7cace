"""Backpressure: so many requests run, so many wait a while, the others are sent away at once."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter, Gauge
from starlette.types import ASGIApp, Receive, Scope, Send

from loaders.upstream.turnstile import Turnstile
from schema.http.refusal import too_busy

_RUNNING = Gauge("walletgraph_operations_running", "GraphQL requests over HTTP that run.")
_WAITING = Gauge("walletgraph_operations_waiting", "GraphQL requests over HTTP that wait for others to end.")
_REFUSED = Counter("walletgraph_operations_refused", "GraphQL requests over HTTP sent away because too many ran.")

_too_busy = too_busy("The server has too much to do: try again.")


class Admission:
    """Lets HTTP requests into an application, ``max_running`` at once; ``max_waiting`` wait in the order they came.

    Who is one too many, or has waited for ``max_wait_seconds``, gets a 503.
    """

    def __init__(self, app: ASGIApp, max_running: int, max_waiting: int, max_wait_seconds: float = 5.0) -> None:
        self._app = app
        self._places = Turnstile(lambda: max_running)
        self._max_waiting = max_waiting
        self._max_wait_seconds = max_wait_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await self._enter():
            _REFUSED.inc()
            await _too_busy(scope, receive, send)
            return
        _RUNNING.inc()
        try:
            await self._app(scope, receive, send)
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
