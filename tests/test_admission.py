"""So many operations run, so many wait, and the others are sent away at once."""

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
from starlette.types import Receive, Scope, Send

from loaders.upstream.simulator.base import Fault
from schema.http.admission import Admission
from schema.http.body import BufferedBody
from schema.http.refusal import RequestError
from schema.http.settings import HttpSettings
from server import GraphQLApp, Settings, create_app
from tests.graph import Graph
from tests.service import TOTAL, get, post, serve


class Gate:
    """An application whose requests take a place, and wait until they are let go."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.opened = asyncio.Event()
        self.running = 0
        self.most = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self.admission.place():
                await self.pass_through()
        except RequestError as error:
            await PlainTextResponse(error.message, error.status)(scope, receive, send)
        else:
            await PlainTextResponse("done")(scope, receive, send)

    async def pass_through(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.opened.wait()
        finally:
            self.running -= 1


@asynccontextmanager
async def guarded(gate: Gate) -> AsyncIterator[Callable[[], asyncio.Task[int]]]:
    """Starts requests to the gate; each gives its status."""
    async with (
        serve(Starlette(routes=[Mount("/", gate)])) as url,
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
    gate, refused = Gate(Admission(2, 1, 30)), value("walletgraph_operations_refused_total")
    async with guarded(gate) as ask:
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
    gate = Gate(Admission(1, 1, 0.01))
    async with guarded(gate) as ask:
        running = ask()
        await until(lambda: gate.running == 1)
        assert [await ask(), await ask()] == [503, 503]
        gate.opened.set()
        assert await running == 200
        assert await ask() == 200


async def test_a_burst_is_served_whole_by_few_places() -> None:
    gate = Gate(Admission(3, 100, 30))
    async with guarded(gate) as ask:
        gate.opened.set()
        assert await asyncio.gather(*[ask() for _ in range(60)]) == [200] * 60
    assert gate.most <= 3


@pytest.mark.parametrize("place", ["running", "waiting"])
async def test_a_place_that_its_request_leaves_is_free_again(place: str) -> None:
    gate = Gate(Admission(1, 1, 30))

    async def ask() -> None:
        async with gate.admission.place():
            await gate.pass_through()

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


async def test_a_refusal_is_a_graphql_answer_and_the_probes_are_never_held_back(demo: Graph) -> None:
    graphql = GraphQLApp(demo.upstreams, settings=HttpSettings(max_operations=1, max_queued_operations=0))
    demo.simulators.ondo.inject(Fault("hang"))
    async with serve(graphql) as url, aiohttp.ClientSession() as session:
        hanging = asyncio.create_task(session.post(url, json={"query": TOTAL}))
        await until(lambda: value("walletgraph_operations_running") == 1)
        async with session.post(url, json={"query": TOTAL}) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            (error,) = (await response.json())["errors"]
            assert error["extensions"] == {"code": "RATE_LIMITED"}
        hanging.cancel()
        await until(lambda: value("walletgraph_operations_running") == 0)
        demo.simulators.ondo.heal()
        async with session.post(url, json={"query": TOTAL}) as response:
            assert response.status == 200


async def test_a_slow_body_takes_nobodys_place() -> None:
    app = create_app(Settings(demo=True, max_operations=1, max_queued_operations=0, _env_file=None))
    async with serve(app) as url:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        await writer.drain()
        assert (await post(url, TOTAL))["data"]
        for path in ("healthz", "readyz", "metrics"):
            assert (await get(f"{url}/{path}"))[0] == 200
        writer.close()


async def done(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


async def test_a_body_that_never_ends_is_given_up() -> None:
    async with serve(Starlette(routes=[Mount("/", BufferedBody(done, max_bytes=9, seconds=0.2))])) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12345678")
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"}]}")
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()


@pytest.mark.parametrize(("size", "status"), [(0, 200), (9, 200), (10, 413), (1_000_000, 413)])
async def test_a_body_is_taken_up_to_its_limit(size: int, status: int) -> None:
    async with (
        serve(Starlette(routes=[Mount("/", BufferedBody(done, max_bytes=9))])) as url,
        aiohttp.ClientSession() as session,
        session.post(url, data=b"x" * size) as response,
    ):
        assert response.status == status
        assert (await response.text() == f"{size} bytes") is (status == 200)


async def test_a_body_that_is_announced_as_too_large_is_not_waited_for() -> None:
    async with serve(Starlette(routes=[Mount("/", BufferedBody(done, max_bytes=9))])) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"}]}")).startswith(b"HTTP/1.1 413 ")
        writer.close()
