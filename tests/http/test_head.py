"""Whoever sends a head without end, or none at all, is not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from starlette.responses import PlainTextResponse

from schema.http.head import BoundedHeadProtocol
from tests.service import serve


class Impatient(BoundedHeadProtocol):
    head_seconds = 0.2


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, int]]:
    async with serve(PlainTextResponse("here"), log_level="critical", http=Impatient) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


async def said(write: Callable[[asyncio.StreamWriter], None]) -> bytes:
    async with listening() as (host, port), asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, port)
        write(writer)
        answer = await reader.read()
        writer.close()
        return answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 20_000,
        b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * 100_000,
        b"GET /" + b"a" * 100_000,
    ],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    assert (await said(lambda writer: writer.write(head))).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET"])
async def test_a_head_that_does_not_come_to_its_end_is_not_waited_for(head: bytes) -> None:
    assert (await said(lambda writer: writer.write(head))).startswith(b"HTTP/1.1 408 ")


async def test_a_second_head_on_a_connection_has_the_same_bounds() -> None:
    whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    def write(writer: asyncio.StreamWriter) -> None:
        writer.write(whole)
        asyncio.get_running_loop().call_later(0.1, writer.write, b"GET / HTTP/1.1\r\na: b")

    answer = await said(write)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


async def test_requests_that_are_as_they_should_be_are_answered_as_ever() -> None:
    async with listening() as (host, port), aiohttp.ClientSession() as session:
        for body in (None, b"x" * 300_000):
            headers = {"large": "x" * 7_000}
            async with session.post(f"http://{host}:{port}/", data=body, headers=headers) as response:
                assert (response.status, await response.text()) == (200, "here")
        await asyncio.sleep(0.4)  # idle in between
        async with session.get(f"http://{host}:{port}/") as response:
            assert response.status == 200
