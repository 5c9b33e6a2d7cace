"""Responses compressed for clients that take it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware, IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

from schema.http.media import EVENT_STREAM, accepts_gzip

_MIN_BYTES = 1_000
_LEVEL = 5
_AS_THEY_ARE = (EVENT_STREAM,)


class Compression:
    """Compresses an application's responses of some size with gzip where ``Accept-Encoding`` takes it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._gzip = GZipMiddleware(app, _MIN_BYTES, _LEVEL, exclude_content_types=_AS_THEY_ARE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if accepts_gzip(Headers(scope=scope).get("accept-encoding", "")):
            await self._gzip(scope, receive, send)
        else:
            plain = IdentityResponder(self._app, _MIN_BYTES, exclude_content_types=_AS_THEY_ARE)  # says what varies
            await plain(scope, receive, send)
