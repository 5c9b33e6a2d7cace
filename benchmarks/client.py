"""What one upstream request costs in processor time: ``python -m benchmarks.client`` prints a table.

The upstream is a process of its own on loopback that answers each request with the same few kilobytes. They are asked
for through our client, through aiohttp as it is commonly used, and over aiohttp's connections with nothing around
them, which is the floor. Rounds alternate between the three; the medians of rounds are shown. Nobody reads the JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import cast

import aiohttp
import uvloop
from yarl import URL

from benchmarks.processes import ROOT, run_python
from loaders.upstream.background import Background
from loaders.upstream.breaker import Breaker
from loaders.upstream.budget import Budget
from loaders.upstream.calls import logging_requests
from loaders.upstream.connections import Connections
from loaders.upstream.http import HttpClient, RequestPolicy
from loaders.upstream.retries import RetryBudget
from loaders.upstream.tracing import operation_span

_NAME = "BENCHMARK"
_HEADERS = {"x-api-key": "any"}
_PATH, _PARAMS = "/v1/balances", {"userAddress": "0x00112233445566778899aabbccddeeff00112233"}
_BODY = b'{"tokens": [' + b", ".join([b'{"symbol": "AAPLon", "balance": "12.345678901234567890"}'] * 60) + b"]}"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_AT_ONCE = (1, 8)

_Ask = Callable[[], Awaitable[bytes]]


class _Upstream(asyncio.Protocol):
    """Answers whatever ends with an empty line."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._unread = (self._unread + data).split(b"\r\n\r\n")
        self._transport.write(_ANSWER * len(requests))


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _ours(connector: aiohttp.BaseConnector, url: str) -> _Ask:
    connections, background = Connections(connector), Background()
    client = HttpClient(
        lambda: connections,
        _NAME,
        url,
        _HEADERS,
        policy=RequestPolicy(
            request_seconds=10,
            connect_seconds=3,
            retries=2,
            backoff_seconds=0.1,
            hedge=False,
            max_per_operation=1_000_000,
        ),
        budget=Budget(_NAME, requests_per_minute=0, connections=64, max_waiting=64, background=background),
        breaker=Breaker(_NAME, failure_rate=0.5, min_requests=20, open_seconds=5, background=background),
        retry_budget=RetryBudget(0.2),
    )
    time_of_loop = asyncio.get_running_loop().time

    async def ask() -> bytes:
        return (await client.get_body(_PATH, _PARAMS, lambda body: body, time_of_loop() + 10)).value

    return ask


def _common(session: aiohttp.ClientSession, url: str) -> _Ask:
    async def ask() -> bytes:
        async with session.get(url + _PATH, params=_PARAMS) as response:
            return await response.read()

    return ask


def _floor(connector: aiohttp.BaseConnector, url: str) -> _Ask:
    request = aiohttp.ClientRequest("GET", URL(url + _PATH).with_query(_PARAMS), headers=_HEADERS)
    fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head = f"GET {request.url.raw_path_qs} HTTP/1.1\r\n{fields}\r\n".encode()
    timeout = aiohttp.ClientTimeout()

    async def ask() -> bytes:
        connection = await connector.connect(request, [], timeout)
        protocol = connection.protocol
        assert protocol is not None
        assert protocol.transport is not None
        protocol.set_response_params()
        protocol.transport.write(head)
        _, payload = await protocol.read()
        body = await payload.read()
        connection.release()
        return body

    return ask


async def _microseconds(ask: _Ask, requests: int, at_once: int) -> float:
    async def some() -> None:
        for _ in range(requests // at_once):
            assert len(await ask()) == len(_BODY)

    started = time.process_time()
    await asyncio.gather(*[some() for _ in range(at_once)])
    return (time.process_time() - started) / requests * 1e6


async def _measure(requests: int, rounds: int) -> None:
    async with (
        run_python("-m", "benchmarks.client", "--upstream", cwd=ROOT) as upstream,
        aiohttp.TCPConnector() as connector,
        aiohttp.ClientSession(headers=_HEADERS) as session,
    ):
        url = f"http://127.0.0.1:{int(await upstream.line())}"
        asks = {
            "HttpClient": _ours(connector, url),
            "aiohttp as commonly used": _common(session, url),
            "aiohttp's connections alone": _floor(connector, url),
        }
        spent: dict[tuple[str, int], list[float]] = {(name, number): [] for name in asks for number in _AT_ONCE}
        gc.collect()
        gc.freeze()  # as the service does
        with operation_span("benchmark", {}), logging_requests():
            for number in range(rounds + 1):
                for (name, at_once), times in spent.items():
                    times.append(await _microseconds(asks[name], requests, at_once))
                    if not number:
                        times.clear()  # while it was getting warm
    print("| µs of processor time a request |" + "".join(f" {at_once} at once | ratio |" for at_once in _AT_ONCE))
    print("| --- |" + " ---: | ---: |" * len(_AT_ONCE))
    for name in asks:
        cells = []
        for at_once in _AT_ONCE:
            took, common = (median(spent[of, at_once]) for of in (name, "aiohttp as commonly used"))
            cells += [f"{took:.1f}", f"{took / common:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Runs the benchmark, or its upstream."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client")
    parser.add_argument("--requests", type=int, default=1_000, help="in each round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    uvloop.run(_serve() if given.upstream else _measure(given.requests, given.rounds))


if __name__ == "__main__":
    main()
