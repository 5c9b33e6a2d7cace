"""A request's body, read to its end before anybody works for it, and bounded in size and time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schema.http.refusal import RequestError

_SECONDS = 10.0
_CLOSE = {"Connection": "close"}


class BufferedBody:
    """Hands an application the whole body at once. Larger than ``max_bytes``: 413; too slow: 408."""

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float = _SECONDS) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        text = f"The request has more than {self._max_bytes} bytes."
        too_large = RequestError(413, text, "OPERATION_TOO_LARGE", headers=_CLOSE)
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._max_bytes:
            await too_large.response(scope, receive, send)  # so that it need not be sent
            return
        try:
            async with asyncio.timeout(self._seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._max_bytes:
                        await too_large.response(scope, receive, send)
                        return
        except TimeoutError:
            too_slow = RequestError(408, "The request did not come to its end in time.", headers=_CLOSE)
            await too_slow.response(scope, receive, send)
            return
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = whole, None
            return message

        await self._app(scope, replay, send)
