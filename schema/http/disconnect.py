"""A client that goes away takes its operation with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loaders.upstream.cancelling import Cancelling

_UNWATCHED_SECONDS = 0.005
"""Most answers are there by then, and a task that watches costs more than all else around a small one."""


class CancelOnDisconnect:
    """Cancels what an application does for an HTTP request when its client goes away before the answer's end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with Cancelling() as cancel:
            client = _Client(cancel, receive, send)
            try:
                await self._app(scope, client.receive, client.send)
            finally:
                client.forget()


class _Client:
    """Who waits for an answer; ``leaves`` is called when it goes away before.

    After a while a watcher receives one message ahead of the application: enough to see who goes away while nobody
    receives.
    """

    def __init__(self, leaves: Callable[[], None], receive: Receive, send: Send) -> None:
        self._leaves = leaves
        self._receive = receive
        self._send = send
        self._answered = False
        self._receiving = False
        self._overdue = False
        self._messages: asyncio.Queue[Message | Exception] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, self._begin_to_watch)

    async def receive(self) -> Message:
        """The next message; the last one again for whoever asks again."""
        if self._messages is None:
            return await self._receive_unwatched()
        received = await self._messages.get()
        if _is_last(received):
            self._messages.put_nowait(received)
        if isinstance(received, Exception):
            raise received
        return received

    async def send(self, message: Message) -> None:
        """Passes on a part of the answer."""
        self._answered = message["type"] == "http.response.body" and not message.get("more_body")
        await self._send(message)

    def forget(self) -> None:
        """Nobody is watched from now on."""
        self._answered = True
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # it leads back here, by what cancels it

    async def _receive_unwatched(self) -> Message:
        self._receiving = True
        try:
            message = await self._receive()
        finally:
            self._receiving = False
        if _is_last(message):
            self._messages = asyncio.Queue(maxsize=1)
            self._messages.put_nowait(message)
            self._leave()
            await asyncio.sleep(0)  # the cancellation comes first
        elif self._overdue:
            self._begin_to_watch()
        return message

    def _begin_to_watch(self) -> None:
        self._overdue = self._receiving  # by the application, which sees who goes away meanwhile
        if self._messages is None and not self._receiving:
            self._messages = asyncio.Queue(maxsize=1)
            self._watcher = asyncio.create_task(self._watch(self._messages))

    async def _watch(self, messages: asyncio.Queue[Message | Exception]) -> None:
        received: Message | Exception = {"type": "http.request"}
        while not _is_last(received):
            try:
                received = await self._receive()
            except Exception as error:
                received = error
            else:
                if _is_last(received):
                    self._leave()
            await messages.put(received)

    def _leave(self) -> None:
        if not self._answered:
            self._leaves()


def _is_last(received: Message | Exception) -> bool:
    return isinstance(received, Exception) or received["type"] == "http.disconnect"
