"""A client that goes away takes with it what only it wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from loaders.upstream.simulator.base import Fault
from schema.http.app import GraphQLApp
from schema.http.disconnect import CancelOnDisconnect
from server import Settings, create_app
from tests.graph import ONEBALANCE_BALANCES, Graph
from tests.service import TOTAL, serve


class HangingUpstream:
    """Takes requests, answers none, and notes who hangs up."""

    def __init__(self) -> None:
        self.asked = 0
        self.aborted = 0
        self.url = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await reader.read()
        self.aborted += 1
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1")
        host, port = server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        async with server:
            yield


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def cancelled() -> float:
    labels = {"operation": "anonymous", "type": "query", "outcome": "CANCELLED"}
    return REGISTRY.get_sample_value("walletgraph_operations_total", labels) or 0


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_client_that_goes_away_takes_its_upstream_requests_with_it(method: str) -> None:
    upstream, before = HangingUpstream(), cancelled()
    async with upstream.listening():
        settings = Settings(ondo_base_url=upstream.url, ondo_api_key="k", _env_file=None)
        async with serve(create_app(settings)) as url, aiohttp.ClientSession() as session:
            if method == "POST":
                request = session.post(f"{url}/graphql", json={"query": TOTAL})
            else:
                request = session.get(f"{url}/graphql", params={"query": TOTAL})
            asking = asyncio.ensure_future(request)
            await until(lambda: upstream.asked > 0)
            asking.cancel()
            await until(lambda: upstream.aborted == upstream.asked > 0)
            await until(lambda: cancelled() == before + 1)


async def test_another_client_who_asked_the_same_still_gets_the_answer(demo: Graph) -> None:
    onebalance, before = demo.simulators.onebalance, cancelled()
    onebalance.inject(Fault(kind="delay", seconds=1.0, path=ONEBALANCE_BALANCES))
    async with (
        serve(Starlette(routes=[Mount("/graphql", GraphQLApp(demo.upstreams))])) as url,
        aiohttp.ClientSession() as session,
    ):

        async def ask() -> str:
            async with session.post(f"{url}/graphql/", json={"query": TOTAL}) as response:
                return await response.text()

        first = asyncio.create_task(ask())
        await until(lambda: len(onebalance.asked(ONEBALANCE_BALANCES)) == 1)
        second = asyncio.create_task(ask())
        await until(lambda: REGISTRY.get_sample_value("walletgraph_operations_running") == 2)
        await asyncio.sleep(0.05)  # the second waits for the answer to the first
        first.cancel()
        assert '"valueUsd":"' in await second
        await until(lambda: cancelled() == before + 1)


@asynccontextmanager
async def wrapped(app: Callable[[Scope, Receive, Send], object]) -> AsyncIterator[str]:
    async def serve_app(scope: Scope, receive: Receive, send: Send) -> None:
        await CancelOnDisconnect(app)(scope, receive, send)  # type: ignore[arg-type]

    async with serve(Starlette(routes=[Mount("/", serve_app)])) as url:
        yield url


async def test_a_long_body_arrives_whole_and_the_connection_is_used_again() -> None:
    ended = list[str]()

    async def measure(scope: Scope, receive: Receive, send: Send) -> None:
        size = len(await Request(scope, receive).body())
        await PlainTextResponse(str(size))(scope, receive, send)
        ended.append("whole")

    connector = aiohttp.TCPConnector(limit=1)
    async with wrapped(measure) as url, aiohttp.ClientSession(connector=connector) as session:
        for size in (900_000, 0, 70_000):
            async with session.post(url, data=bytes(size)) as response:
                assert await response.text() == str(size)
        await until(lambda: not any("watch" in repr(task.get_coro()) for task in asyncio.all_tasks()))
        assert ended == ["whole"] * 3


@pytest.mark.parametrize("whole", [True, False])
async def test_an_answer_that_has_begun_is_cancelled_and_one_that_is_whole_is_not(*, whole: bool) -> None:
    begun, ended = asyncio.Event(), asyncio.Future[str]()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"x", "more_body": not whole})
        begun.set()
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            assert (await receive())["type"] == "http.disconnect"
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            ended.set_result("cancelled")
            raise
        ended.set_result("done")

    async with wrapped(answer) as url, aiohttp.ClientSession() as session:
        async with session.get(url):
            await begun.wait()
        await session.close()
        async with asyncio.timeout(10):
            assert await ended == ("done" if whole else "cancelled")


async def test_a_client_that_goes_away_within_its_body_is_no_error() -> None:
    ended = asyncio.Future[type[BaseException]]()

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await Request(scope, receive).body()
        except BaseException as error:
            ended.set_result(type(error))
            raise

    async with wrapped(read) as url:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf")
        await asyncio.sleep(0.05)
        writer.close()
        async with asyncio.timeout(10):
            assert await ended is asyncio.CancelledError


async def test_what_receiving_raises_is_raised_to_the_application_that_receives() -> None:
    async def receive() -> Message:
        raise ValueError("too long")

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(ValueError, match="too long"):
            await receive()
        raise TimeoutError("of its own")

    async def send(message: Message) -> None:
        raise AssertionError(message)

    with pytest.raises(TimeoutError, match="of its own"):
        await CancelOnDisconnect(read)({"type": "http"}, receive, send)
