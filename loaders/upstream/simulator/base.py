"""What every simulated upstream has: a real HTTP server on loopback, a log of requests, and faults on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, Self

from aiohttp import web
from aiohttp.web_log import AccessLogger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as it arrived."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]

    def param(self, name: str) -> str | None:
        """The first value of a query parameter, or None when it was not sent."""
        return next((value for key, value in self.query if key == name), None)


@dataclass(slots=True)
class Fault:
    """What to do in place of an answer.

    ``respond`` sends ``status``, ``headers`` and ``body``; ``hang`` never answers; ``reset`` closes the
    connection without an answer; ``truncate`` announces the whole ``body`` and closes after half of it;
    ``drip`` sends ``body`` a byte at a time, ``seconds`` apart; ``delay`` answers as usual after ``seconds``.
    """

    kind: Literal["respond", "hang", "reset", "truncate", "drip", "delay"] = "respond"
    status: int = 500
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    path: str = "*"
    times: int | None = None


class Simulator:
    """A REST upstream played over real sockets.

    Subclasses give ``routes``. ``requests`` lists what was asked, in order of arrival.
    """

    def __init__(self) -> None:
        self.requests: list[SeenRequest] = []
        self._faults: list[Fault] = []
        self._runner: web.AppRunner | None = None
        self._closing = asyncio.Event()
        self.url = ""

    def routes(self) -> Iterable[web.RouteDef]:
        """The upstream's own endpoints."""
        raise NotImplementedError

    def inject(self, fault: Fault) -> None:
        """Let requests whose path matches ``fault.path`` (shell pattern) meet this fault, the newest first."""
        self._faults.insert(0, fault)

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def asked(self, pattern: str = "*") -> list[SeenRequest]:
        """The requests seen so far whose path matches a shell pattern."""
        return [request for request in self.requests if fnmatchcase(request.path, pattern)]

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1; afterwards ``url`` is the base URL."""
        app = web.Application(middlewares=[self._middleware])
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log_class=AccessLogger, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening; requests that hang are dropped."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append(
            SeenRequest(request.method, request.path, tuple(request.query.items()), dict(request.headers))
        )
        fault = self._fault_for(request.path)
        return await handler(request) if fault is None else await self._meet(fault, request, handler)

    def _fault_for(self, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.times != 0 and fnmatchcase(path, fault.path):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    async def _meet(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return await handler(request)
        if fault.kind == "hang":
            await self._closing.wait()
        if fault.kind in ("hang", "reset"):
            if transport is not None:
                transport.abort()
            return web.Response(status=500)
        if fault.kind == "respond":
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        response = web.StreamResponse(status=fault.status, headers=fault.headers)
        response.content_length = len(fault.body)
        await response.prepare(request)
        if fault.kind == "truncate":
            await response.write(fault.body[: len(fault.body) // 2])
            if transport is not None:
                transport.close()
            return response
        for byte in fault.body:
            await response.write(bytes([byte]))
            await asyncio.sleep(fault.seconds)
        return response
