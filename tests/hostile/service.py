"""The whole service in a thread of its own: what goes in and comes out byte by byte, what it costs, what it logs."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from server import Settings, create_app
from tests.graph import Simulators
from tests.service import TOTAL

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds in which an answer must be there, whatever else this machine does."""

KEYS = {"ondo_api_key": "a-key-of-ondo", "onebalance_api_key": "a-key-of-onebalance", "thegraph_api_token": "a-token"}

_GOOD = json.dumps({"query": TOTAL}).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """All that the client sees."""
        return f"{self.headers}\n{self.body.decode(errors='replace')}"

    def json(self) -> Any:
        return json.loads(self.body)


class Stopwatch:
    """An ASGI application that knows for how long requests to another one keep their thread busy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.longest = 0.0
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began = time.thread_time()
        self.running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.running -= 1
            self.longest = max(self.longest, time.thread_time() - began)


class _Errors(logging.Handler):
    """Keeps what is logged at level error or above."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Service:
    """A running service, and what is seen of it from outside and inside."""

    def __init__(self, port: int, stopwatch: Stopwatch, errors: _Errors, upstreams: Sequence[str]) -> None:
        self.port = port
        self.secrets = (*KEYS.values(), *upstreams)
        """What no client may ever see."""
        self._stopwatch = stopwatch
        self._errors = errors

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def exchange(self, request: bytes) -> list[Answer]:
        """Sends these bytes; gives all that comes until the server closes the connection."""
        received = bytearray()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was read to its end
                connection.sendall(request)
            with suppress(ConnectionResetError):
                while part := connection.recv(1 << 16):
                    received += part
        return list(_answers(bytes(received), request.partition(b" ")[0].decode(errors="replace")))

    def is_well(self) -> bool:
        """Whether a good query is answered."""
        head = f"POST /graphql HTTP/1.1\r\nHost: walletgraph\r\nContent-Length: {len(_GOOD)}\r\nConnection: close\r\n"
        (answer,) = self.exchange(f"{head}Content-Type: application/json\r\n\r\n".encode() + _GOOD)
        return answer.status == 200 and answer.json()["data"]["wallet"]["total"]["valueUsd"] is not None

    def busy_seconds(self) -> float:
        """For how long one request kept the server's thread busy at most, since this was last asked."""
        end = time.monotonic() + PATIENCE
        while self._stopwatch.running:
            assert time.monotonic() < end, "a request does not come to its end"
            time.sleep(0.001)
        longest, self._stopwatch.longest = self._stopwatch.longest, 0.0
        return longest

    def is_soon_done(self, request: bytes, seconds: float) -> bool:
        """Whether this request, the last one, kept the server's thread busy for less, at once or when asked again.

        It is asked up to three times, so that a collection of this process's garbage counts for nobody.
        """
        return self.busy_seconds() < seconds or any(self._busy_with(request) < seconds for _ in range(2))

    def _busy_with(self, request: bytes) -> float:
        self.exchange(request)
        return self.busy_seconds()

    def errors(self) -> list[str]:
        """What was logged at level error since it was last asked."""
        lines, self._errors.lines = self._errors.lines, []
        return lines


@contextmanager
def running_service() -> Iterator[Service]:
    """The service over upstreams with the demo's wallets, with keys that must not be told."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    try:
        with (
            _in_a_thread(_upstreams()) as simulators,
            _in_a_thread(_server(simulators)) as (port, stopwatch),
        ):
            hosts = [simulator.url.removeprefix("http://") for simulator in simulators.all]
            yield Service(port, stopwatch, errors, hosts)
    finally:
        logging.getLogger().removeHandler(errors)


@asynccontextmanager
async def _upstreams() -> AsyncIterator[Simulators]:
    simulators = Simulators.demo()
    ondo, onebalance, thegraph = simulators.all
    ondo.key, onebalance.key, thegraph.token = KEYS.values()
    async with ondo, onebalance, thegraph:
        yield simulators


@asynccontextmanager
async def _server(simulators: Simulators) -> AsyncIterator[tuple[int, Stopwatch]]:
    """The service's port, and the watch on it."""
    settings = Settings(
        _env_file=None,
        ondo_base_url=simulators.ondo.url,
        onebalance_base_url=f"{simulators.onebalance.url}/api",
        thegraph_base_url=simulators.thegraph.url,
        **KEYS,  # type: ignore[arg-type]  # secrets from text
    )
    stopwatch = Stopwatch(create_app(settings))
    server = uvicorn.Server(uvicorn.Config(stopwatch, port=0, log_config=None, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], stopwatch
    finally:
        server.should_exit = True
        await serving


@contextmanager
def _in_a_thread(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enters a context in the loop of a thread of its own, so that what it costs is its own."""
    entered: Future[T] = Future()
    left = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def stay() -> None:
        try:
            async with context as value:
                entered.set_result(value)
                await left.wait()
        except BaseException as error:
            if not entered.done():
                entered.set_exception(error)
            raise

    thread = threading.Thread(target=loop.run_until_complete, args=[stay()], daemon=True)
    thread.start()
    try:
        yield entered.result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(left.set)
        thread.join(PATIENCE)
        loop.close()


class _Bytes(io.BytesIO):
    """Bytes that stay open, so that where a response ends is known."""

    def close(self) -> None:
        pass

    def makefile(self, *_: object) -> _Bytes:
        return self


def _answers(received: bytes, method: str) -> Iterator[Answer]:
    """The responses in what a server sent."""
    while received:
        source = _Bytes(received)
        response = http.client.HTTPResponse(source, method=method)  # type: ignore[arg-type]  # all it needs of a socket
        response.begin()
        body = response.read()
        yield Answer(response.status, response.headers, body)
        received = received[source.tell() :]
