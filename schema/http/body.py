"""A request's body, read to its end before anybody works for it, and bounded in size and time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schema.http.refusal import refusal

_SECONDS = 10.0


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
        too_large = refusal(413, text, "OPERATION_TOO_LARGE", connection="close")
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._max_bytes:
            await too_large(scope, receive, send)  # before it is sent, if the client waits to be asked for it
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
                        await too_large(scope, receive, send)
                        return
        except TimeoutError:
            text = "The request did not come to its end in time."
            await refusal(408, text, "BAD_USER_INPUT", connection="close")(scope, receive, send)
            return
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = whole, None
            return message

        await self._app(scope, replay, send)
