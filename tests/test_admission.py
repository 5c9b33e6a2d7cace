"""So many operations run, so many wait, and the others are sent away at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from schema.http.admission import Admission
from server import Settings, create_app
from tests.service import TOTAL, get, serve


class Gate:
    """An application whose requests wait until they are let go."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.running = 0
        self.most = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.opened.wait()
            await PlainTextResponse("done")(scope, receive, send)
        finally:
            self.running -= 1


@asynccontextmanager
async def guarded(
    gate: Gate, running: int, waiting: int, seconds: float = 30
) -> AsyncIterator[Callable[[], asyncio.Task[int]]]:
    """Starts requests to the gate behind an admission; each gives its status."""
    admission = Admission(gate, running, waiting, seconds)
    async with (
        serve(Starlette(routes=[Mount("/", admission)])) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def ask() -> int:
            async with session.post(url, data=b"never read") as response:
                return response.status

        yield lambda: asyncio.create_task(ask())


def value(metric: str) -> float:
    return REGISTRY.get_sample_value(metric) or 0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_two_run_one_waits_and_the_fourth_is_sent_away() -> None:
    gate, refused = Gate(), value("walletgraph_operations_refused_total")
    async with guarded(gate, running=2, waiting=1) as ask:
        first = [ask() for _ in range(3)]
        await until(lambda: value("walletgraph_operations_waiting") == 1)
        assert value("walletgraph_operations_running") == gate.running == 2
        assert await ask() == 503
        gate.opened.set()
        assert await asyncio.gather(*first) == [200] * 3
    assert gate.most == 2
    assert value("walletgraph_operations_refused_total") == refused + 1
    assert value("walletgraph_operations_running") == value("walletgraph_operations_waiting") == 0


async def test_who_has_waited_long_enough_is_sent_away_and_leaves_the_place_to_others() -> None:
    gate = Gate()
    async with guarded(gate, running=1, waiting=1, seconds=0.01) as ask:
        running = ask()
        await until(lambda: gate.running == 1)
        assert [await ask(), await ask()] == [503, 503]
        gate.opened.set()
        assert await running == 200
        assert await ask() == 200


async def test_a_burst_is_served_whole_by_few_places() -> None:
    gate = Gate()
    async with guarded(gate, running=3, waiting=100) as ask:
        gate.opened.set()
        assert await asyncio.gather(*[ask() for _ in range(60)]) == [200] * 60
    assert gate.most <= 3


@pytest.mark.parametrize("place", ["running", "waiting"])
async def test_a_place_that_its_request_leaves_is_free_again(place: str) -> None:
    gate = Gate()
    admission = Admission(gate, max_running=1, max_waiting=1, max_wait_seconds=30)

    async def nobody(*_: object) -> Any:
        raise AssertionError("nobody is there")

    async def ask() -> None:
        await admission({"type": "http"}, nobody, nobody)

    running, waiting = asyncio.create_task(ask()), asyncio.create_task(ask())
    await until(lambda: value("walletgraph_operations_waiting") == 1)
    leaving, staying = (running, waiting) if place == "running" else (waiting, running)
    leaving.cancel()
    await until(lambda: value("walletgraph_operations_waiting") == 0)
    assert gate.running == value("walletgraph_operations_running") == 1
    assert not staying.done()
    staying.cancel()
    await asyncio.wait([running, waiting])
    assert value("walletgraph_operations_running") == 0


async def test_a_refusal_is_a_graphql_answer_that_comes_before_the_body_is_read() -> None:
    app = create_app(Settings(demo=True, max_operations=1, max_queued_operations=0, _env_file=None))
    async with serve(app) as url:
        host, port = url.removeprefix("http://").split(":")
        head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        _, slow_writer = await asyncio.open_connection(host, int(port))
        slow_writer.write(head)
        await until(lambda: value("walletgraph_operations_running") == 1)
        refused, refused_writer = await asyncio.open_connection(host, int(port))
        refused_writer.write(head)
        async with asyncio.timeout(10):
            answer = (await refused.readuntil(b"}]}")).decode()
        assert answer.startswith("HTTP/1.1 503 ")
        assert "retry-after: 1\r\n" in answer
        assert "content-type: application/json\r\n" in answer
        assert '"extensions":{"code":"RATE_LIMITED"}' in answer
        for path in ("healthz", "readyz", "metrics"):
            assert (await get(f"{url}/{path}"))[0] == 200
        slow_writer.close()
        refused_writer.close()
        await until(lambda: value("walletgraph_operations_running") == 0)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/graphql", json={"query": TOTAL}) as response,
        ):
            assert response.status == 200
