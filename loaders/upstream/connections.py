"""Requests over aiohttp's connections, each bounded in time and size."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from yarl import URL

from loaders.errors import UpstreamResponseError
from loaders.upstream.cancelling import Cancelling

MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BODY_BYTES = 64 * 1024

# Timers are exact to a millisecond.
_CLOCK_SECONDS = 0.001


@dataclass(slots=True)
class Reply:
    """How far an answer has come; a body that is not of status 200 is empty where it cannot be read."""

    status: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes = b""

    @property
    def limits(self) -> Mapping[str, str] | None:
        """The headers, if they tell of the upstream's limits."""
        told = self.headers
        return told if told is not None and (self.status == 200 or "x-ratelimit-limit" in told) else None


class Host:
    """Where an upstream is, and what all requests to it have in common; no URL is made for them."""

    def __init__(self, base_url: str, headers: Mapping[str, str], connect_seconds: float) -> None:
        """Raises ``aiohttp.InvalidURL``, or ValueError for a header that cannot be sent."""
        try:
            url = URL(base_url, encoded=True)
            known = url.scheme in ("http", "https") and bool(url.host)
        except ValueError:
            known = False
        if not known:
            raise aiohttp.InvalidURL(base_url)
        self.request = aiohttp.ClientRequest("GET", url, headers=headers)
        """What the connector wants to know of a request."""
        self.timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        fields = [f"{name}: {value}" for name, value in self.request.headers.items()]
        if not all(map(str.isprintable, fields)):
            raise ValueError("a header holds a control character")
        self._path = url.raw_path.rstrip("/")
        self._fields = "\r\n".join(fields)

    def get(self, target: str, headers: Mapping[str, str]) -> bytes:
        """A request as it is sent; ``target`` is below the base URL."""
        if not target.isprintable():
            raise ValueError("a target holds a control character")
        more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"GET {self._path}{target} HTTP/1.1\r\n{self._fields}\r\n{more}\r\n".encode()


class Connections:
    """The connections to all upstreams, kept alive.

    Requests go straight over aiohttp's connections, by its connector, protocol and parser: its session does much more
    for each of them, follows redirects, keeps cookies and sends again by itself what no budget knows of.
    """

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        self._connector = connector
        self._deadlines = _Deadlines()
        self.time = asyncio.get_running_loop().time

    async def close(self) -> None:
        """Closes them; requests that are under way fail."""
        await self._connector.close()

    async def ask(self, host: Host, request: bytes, deadline: float, reply: Reply) -> None:
        """Sends a request and takes its answer until the event-loop time ``deadline``; raises ``TimeoutError``.

        Other exceptions are aiohttp's, and ``UpstreamResponseError`` for a body of status 200 that is too large.
        """
        with _Deadline(self._deadlines, deadline):
            try:
                connection = await self._connector.connect(host.request, [], host.timeout)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError from error
            try:
                protocol = connection.protocol
                if protocol is None or protocol.transport is None:
                    raise aiohttp.ClientConnectionResetError("the connection was lost at once")
                if protocol.should_close:
                    raise aiohttp.ClientPayloadError("an answer came that nobody had asked for")
                protocol.set_response_params(read_until_eof=True)
                protocol.transport.write(request)
                message, payload = await protocol.read()
                while 100 <= message.code < 200 and message.code != 101:
                    message, payload = await protocol.read()
                reply.status, reply.headers = message.code, message.headers
                if message.code == 200:
                    reply.body = await _bounded(payload, MAX_BODY_BYTES)
                else:
                    with suppress(aiohttp.ClientError, UpstreamResponseError):
                        reply.body = await _bounded(payload, _MAX_ERROR_BODY_BYTES)
            except BaseException:
                connection.close()
                raise
            connection.release()  # which closes it unless all was read


async def _bounded(payload: aiohttp.StreamReader, limit: int) -> bytes:
    """All of a body, decompressed; raises ``UpstreamResponseError`` as soon as it is known to be longer."""
    chunks, size = [], 0
    while not payload.at_eof():
        chunk = await payload.readany()
        size += len(chunk)
        if size > limit:
            raise UpstreamResponseError
        chunks.append(chunk)
    return b"".join(chunks)


class _Deadlines:
    """The deadlines of many tasks, with one timer of the loop for all of them: timers are dear."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.pending: set[_Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.next = math.inf

    def wake(self, when: float) -> None:
        """Sets the timer; it may wake in vain, for one who was done in time."""
        if self._timer is not None:
            self._timer.cancel()
        self.next, self._timer = when, self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        now = self._loop.time() + _CLOCK_SECONDS
        self.next, self._timer = math.inf, None
        for deadline in [deadline for deadline in self.pending if deadline.when <= now]:
            self.pending.discard(deadline)
            deadline.expire()
        if self.pending:
            self.wake(min(deadline.when for deadline in self.pending))


class _Deadline:
    """Does what ``asyncio.timeout_at`` does, with the timer of all."""

    __slots__ = ("_all", "expire", "when")

    def __init__(self, all_: _Deadlines, when: float) -> None:
        self._all = all_
        self.when = when

    def __enter__(self) -> None:
        self.expire = Cancelling()
        self._all.pending.add(self)
        if self.when < self._all.next:
            self._all.wake(self.when)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._all.pending.discard(self)
        if self.expire.__exit__(kind):
            raise TimeoutError from error
