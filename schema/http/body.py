"""A request's body, read to its end before anybody works for it, and bounded in size and time."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loaders.upstream.cancelling import Cancelling
from schema.http.headers import first
from schema.http.refusal import RequestError

_SECONDS = 10.0
_CLOSE = {"Connection": "close"}


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request that is still there; of who is gone, as much as there was."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


class BufferedBody:
    """Hands an application the whole body at once. Larger than ``max_bytes``: 413; too slow: 408."""

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float = _SECONDS) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = first(scope, b"content-length", "0")
        try:
            if length.isdecimal() and int(length[:20]) > self._max_bytes:
                raise self._too_large()  # so that it need not be sent
            whole = await self._read_in_time(receive)
        except RequestError as error:
            await error.response(scope, receive, send)
            return
        if whole is None:
            return

        async def replay() -> Message:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = whole, None
            return message

        await self._app(scope, replay, send)

    async def _read_in_time(self, receive: Receive) -> Message | None:
        """The body in one message; None where its client goes away. Raises ``RequestError``."""
        with Cancelling() as cancel:
            timer = asyncio.get_running_loop().call_later(self._seconds, cancel)
            try:
                return await self._read(receive)
            finally:
                timer.cancel()
        raise RequestError(408, "The request did not come to its end in time.", headers=_CLOSE)

    async def _read(self, receive: Receive) -> Message | None:
        message = await receive()
        parts = []
        size = 0
        while message["type"] != "http.disconnect":
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                raise self._too_large()
            parts.append(part)
            if not message.get("more_body", False):
                return {"type": "http.request", "body": b"".join(parts), "more_body": False}
            message = await receive()
        return None

    def _too_large(self) -> RequestError:
        text = f"The request has more than {self._max_bytes} bytes."
        return RequestError(413, text, "OPERATION_TOO_LARGE", headers=_CLOSE)
