"""Who goes away is missed by an application that receives itself, and by one that never does, early and late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from schema.http.disconnect import CancelOnDisconnect

BODY: Message = {"type": "http.request", "body": b"x", "more_body": True}
GONE: Message = {"type": "http.disconnect"}
LATE = 0.05


class Client:
    """Sends messages, each after so many seconds, the last one again and again unless it is said once only."""

    def __init__(self, *messages: tuple[float, Message], once: bool = False) -> None:
        self._messages = list(messages)
        self._once = once
        self.receiving = 0

    async def receive(self) -> Message:
        self.receiving += 1
        assert self.receiving == 1, "two receive at once"
        try:
            if not self._messages:
                await asyncio.Event().wait()
            seconds, message = self._messages[0]
            await asyncio.sleep(seconds)
            if self._once or len(self._messages) > 1:
                del self._messages[0]
            return message
        finally:
            self.receiving -= 1


async def outcome(client: Client, work: Callable[[Receive, Send], Awaitable[Any]]) -> str:
    told = "nothing"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal told
        try:
            told = f"done: {await work(receive, send)}"
        except asyncio.CancelledError:
            told = "cancelled"
            raise

    async def send(message: Message) -> None:
        pass

    async with asyncio.timeout(10):
        await CancelOnDisconnect(app)({"type": "http"}, client.receive, send)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    return told


async def sleep(receive: Receive, send: Send) -> None:
    await asyncio.sleep(5)


async def read_to_the_end(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_once_and_sleep(receive: Receive, send: Send) -> None:
    await receive()
    await asyncio.sleep(5)


async def answer_and_read_on(receive: Receive, send: Send) -> list[str]:
    await send({"type": "http.response.body", "body": b""})
    return [(await receive())["type"] for _ in range(3)]


@pytest.mark.parametrize("work", [sleep, read_to_the_end, read_once_and_sleep])
@pytest.mark.parametrize("first", [0, LATE])
@pytest.mark.parametrize("then", [0, LATE])
async def test_an_operation_is_cancelled(
    first: float, then: float, work: Callable[[Receive, Send], Awaitable[Any]]
) -> None:
    assert await outcome(Client((first, BODY), (then, GONE)), work) == "cancelled"


@pytest.mark.parametrize("seconds", [0, LATE])
async def test_the_last_message_is_said_again_to_who_asks_again(seconds: float) -> None:
    told = await outcome(Client((0, BODY), (seconds, GONE), once=True), answer_and_read_on)
    assert told == f"done: {['http.request', 'http.disconnect', 'http.disconnect']}"


@pytest.mark.parametrize("seconds", [0, LATE])
async def test_who_stays_is_answered(seconds: float) -> None:
    async def work(receive: Receive, send: Send) -> Any:
        message = await receive()
        await asyncio.sleep(seconds)
        return message["body"]

    assert await outcome(Client((seconds, BODY), (5, GONE)), work) == "done: b'x'"


async def test_a_cancellation_that_is_not_the_clients_goes_on() -> None:
    cancelling = asyncio.create_task(outcome(Client((0, BODY), (5, GONE)), sleep))
    await asyncio.sleep(LATE)
    cancelling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelling
