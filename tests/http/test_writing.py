"""The head of an answer goes with its body, and never waits for one that is late."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from schema.http.writing import JoinedWrites, JoiningProtocol
from tests.service import serve

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Recorder:
    """A transport that notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.done.append(parts)

    def close(self) -> None:
        self.done.append("closed")
        self.closing = True

    def pause_reading(self) -> None:
        self.done.append("paused")


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def joined(recorder: Recorder) -> JoinedWrites:
    return JoinedWrites(cast("asyncio.Transport", recorder), asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_write(recorder: Recorder, joined: JoinedWrites) -> None:
    joined.write(HEAD)
    joined.write(b"body")
    joined.write(b"more")
    await asyncio.sleep(0)
    assert recorder.done == [(HEAD, b"body"), b"more"]


async def test_a_head_without_a_body_is_not_kept(recorder: Recorder, joined: JoinedWrites) -> None:
    joined.write(HEAD)
    assert recorder.done == []
    await asyncio.sleep(0)
    joined.write(b"late")
    assert recorder.done == [HEAD, b"late"]


async def test_what_is_kept_is_written_before_the_end_and_not_after_it(
    recorder: Recorder, joined: JoinedWrites
) -> None:
    joined.write(HEAD)
    joined.close()
    await asyncio.sleep(0)
    assert recorder.done == [HEAD, "closed"]
    recorder.done.clear()
    joined.write(HEAD)  # to one who is gone
    await asyncio.sleep(0)
    assert recorder.done == []


async def test_all_else_is_the_transports(recorder: Recorder, joined: JoinedWrites) -> None:
    joined.pause_reading()
    assert recorder.done == ["paused"]
    assert not joined.is_closing()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()
        return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/late":
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"first ", "more_body": True})
    await send({"type": "http.response.body", "body": b"HTTP/1.1 second"})


def listening() -> AbstractAsyncContextManager[str]:
    return serve(answer, log_level="critical", http=JoiningProtocol, lifespan="off")


async def test_answers_arrive_as_ever() -> None:
    async with listening() as url, aiohttp.ClientSession() as session:
        for path in ("/", "/late", "/"):
            async with session.post(url + path, data=b"x" * 100_000) as response:
                assert (response.status, await response.text()) == (200, "first HTTP/1.1 second")
            async with session.head(url + path) as response:
                assert (response.status, await response.text()) == (200, "")
        async with session.ws_connect(url) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
