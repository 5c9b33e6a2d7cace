"""A client that goes away takes its operation with it."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CancelOnDisconnect:
    """Cancels what an application does for an HTTP request when its client goes away before the answer's end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # One message ahead of the application: enough to see who goes away while nobody receives.
        messages = asyncio.Queue[Message | Exception](maxsize=1)
        answered = False

        async def watch(presence: asyncio.Timeout) -> None:
            received: Message | Exception = {"type": "http.request"}
            while not _is_last(received):
                try:
                    received = await receive()
                except Exception as error:
                    received = error
                else:
                    if _is_last(received) and not answered:
                        presence.reschedule(asyncio.get_running_loop().time())
                await messages.put(received)

        async def receive_next() -> Message:
            received = await messages.get()
            if _is_last(received):
                messages.put_nowait(received)  # for whoever asks again
            if isinstance(received, Exception):
                raise received
            return received

        async def send_and_note(message: Message) -> None:
            nonlocal answered
            answered = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            async with asyncio.timeout(None) as presence:
                watcher = asyncio.create_task(watch(presence))
                try:
                    await self._app(scope, receive_next, send_and_note)
                finally:
                    watcher.cancel()
        except TimeoutError:
            if not presence.expired():
                raise


def _is_last(received: Message | Exception) -> bool:
    return isinstance(received, Exception) or received["type"] == "http.disconnect"
