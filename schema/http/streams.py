"""Answers in several parts: how many may be under way, what keeps them alive, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any, Generic, TypeVar

from prometheus_client import Gauge
from starlette.types import Receive, Scope, Send

from schema.http.refusal import too_busy

T = TypeVar("T")

_OPEN = Gauge("walletgraph_subscriptions", "Subscriptions that are open, by transport.", ["transport"])


class Streams:
    """The subscriptions of all transports: at most ``max_open`` at a time, and all ended by ``close``."""

    def __init__(self, max_open: int) -> None:
        self._max_open = max_open
        self._open = 0
        self.closing = asyncio.Event()

    @contextmanager
    def opened(self, transport: str) -> Iterator[None]:
        """One more as long as the context lasts; raises ``RequestError`` where there are too many."""
        if self._open >= self._max_open or self.closing.is_set():
            raise too_busy("There are too many subscriptions: try again.")
        self._open += 1
        try:
            with _OPEN.labels(transport).track_inprogress():
                yield
        finally:
            self._open -= 1

    def close(self) -> None:
        """Ends all that are open, and lets no other begin."""
        self.closing.set()


class Feed(Generic[T]):
    """The parts of an answer, made in a task of their own; one is made ahead, the others wait until it is taken."""

    def __init__(self) -> None:
        self._parts: asyncio.Queue[tuple[T] | Exception | None] = asyncio.Queue(maxsize=1)
        self._next: tuple[T] | None = None

    @classmethod
    @asynccontextmanager
    async def of(cls, parts: AsyncGenerator[T, None]) -> AsyncIterator[Feed[T]]:
        """A feed of what a generator gives; it is closed where the context ends."""
        feed = cls()
        task = asyncio.create_task(feed._fill(parts))
        try:
            yield feed
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _fill(self, parts: AsyncGenerator[T, None]) -> None:
        end: Exception | None = None
        async with aclosing(parts):
            try:
                async for part in parts:
                    await self._parts.put((part,))
            except Exception as error:
                end = error
            except asyncio.CancelledError:
                with suppress(asyncio.QueueFull):  # else nobody waits
                    self._parts.put_nowait(None)
                raise
        await self._parts.put(end)

    async def peek(self) -> T | None:
        """The next part, which stays the next; None after the last."""
        if self._next is None:
            found = await self._parts.get()
            if isinstance(found, Exception):
                raise found
            self._next = found
        return None if self._next is None else self._next[0]

    async def next(self) -> T | None:
        """The next part; None after the last."""
        part = await self.peek()
        self._next = None
        return part


_UNTOUCHED = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
"""Proxies pass on what they get as they get it; nginx needs to be told by a header of its own."""


class StreamFormat:
    """How the parts of an answer are framed; ``heartbeat`` keeps an idle connection open, None: nothing does."""

    headers: Mapping[str, str]
    beginning: bytes
    heartbeat: bytes | None
    end: bytes

    def frame(self, json: bytes) -> bytes:
        """One part."""
        raise NotImplementedError


class EventStream(StreamFormat):
    """Server-sent events by the protocol graphql-sse, distinct connections mode."""

    headers = {**_UNTOUCHED, "Content-Type": "text/event-stream; charset=utf-8"}  # noqa: RUF012
    beginning = b":\n\n"
    heartbeat = b":\n\n"
    end = b"event: complete\ndata:\n\n"

    def frame(self, json: bytes) -> bytes:
        return b"event: next\ndata: " + json + b"\n\n"


class Multipart(StreamFormat):
    """Parts of ``multipart/mixed`` (RFC 2046, section 5.1), each of them JSON."""

    heartbeat: bytes | None = None
    end = b"--\r\n"

    def __init__(self, media_type: str, boundary: str) -> None:
        self.headers = {**_UNTOUCHED, "Content-Type": media_type}
        self._boundary = boundary.encode()
        self.beginning = b"\r\n--" + self._boundary

    def frame(self, json: bytes) -> bytes:
        return b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n" + json + b"\r\n--" + self._boundary


class MultipartSubscription(Multipart):
    """Apollo's protocol for subscriptions over multipart HTTP, version 1.0: each result in a ``payload``."""

    def __init__(self) -> None:
        super().__init__('multipart/mixed; boundary="graphql"; subscriptionSpec=1.0', "graphql")
        self.heartbeat = super().frame(b"{}")

    def frame(self, json: bytes) -> bytes:
        return super().frame(b'{"payload":' + json + b"}")


class StreamedResponse:
    """An ASGI response of parts as they come.

    It ends without a last word once ``closing`` is set, so that clients come back; None: nothing ends it early. It
    raises ``TimeoutError`` where a part is not taken within ``send_seconds``.
    """

    def __init__(
        self,
        feed: Feed[Any],
        encode: Callable[[Any], bytes],
        format: StreamFormat,
        *,
        closing: asyncio.Event | None,
        heartbeat_seconds: float,
        send_seconds: float,
        headers: Mapping[str, str],
    ) -> None:
        self._feed = feed
        self._encode = encode
        self._format = format
        self._closing = closing or asyncio.Event()
        self._heartbeat_seconds = heartbeat_seconds if format.heartbeat is not None else None
        self._send_seconds = send_seconds
        self._headers = {**format.headers, **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await self._send(send, self._format.beginning)
        async for frame in self._frames():
            await self._send(send, frame)
        await self._send(send, b"", more=False)

    async def _send(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(self._send_seconds):
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _frames(self) -> AsyncIterator[bytes]:
        format = self._format
        closing = asyncio.create_task(self._closing.wait())
        part: asyncio.Task[Any] | None = None
        try:
            while True:
                part = part or asyncio.create_task(self._feed.next())
                done, _ = await asyncio.wait(
                    {part, closing}, timeout=self._heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if part in done:
                    payload, part = part.result(), None
                    if payload is None:
                        yield format.end
                        return
                    yield format.frame(self._encode(payload))
                elif closing in done:
                    return
                elif format.heartbeat is not None:
                    yield format.heartbeat
        finally:
            closing.cancel()
            if part is not None:
                part.cancel()
