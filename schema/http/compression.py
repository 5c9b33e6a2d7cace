"""Responses compressed for clients that take it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schema.http.headers import first
from schema.http.media import EVENT_STREAM, accepts_gzip

_MIN_BYTES = 1_000
_LEVEL = 5
_AS_THEY_ARE = (EVENT_STREAM,)
_EVENT_STREAM = EVENT_STREAM.encode()


class Compression:
    """Compresses an application's responses of some size with gzip where ``Accept-Encoding`` takes it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._gzip = GZipMiddleware(app, _MIN_BYTES, _LEVEL, exclude_content_types=_AS_THEY_ARE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if accepts_gzip(first(scope, b"accept-encoding")):
            await self._gzip(scope, receive, send)
        else:
            await self._app(scope, receive, _saying_what_varies(send))


def _saying_what_varies(send: Send) -> Send:
    """Sends responses as they are, and says of those that others get compressed that they vary."""
    start: Message | None = None

    async def send_on(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start" and not _is_event_stream(message):
            start = message  # until it is known how long the response is
            return
        if start is not None:
            if message.get("more_body") or len(message.get("body", b"")) >= _MIN_BYTES:
                MutableHeaders(scope=start).add_vary_header("Accept-Encoding")
            await send(start)
            start = None
        await send(message)

    return send_on


def _is_event_stream(start: Message) -> bool:
    return any(name == b"content-type" and value.startswith(_EVENT_STREAM) for name, value in start["headers"])
