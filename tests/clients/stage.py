"""The graph over simulated upstreams where clients of any language can ask it, and see and move what is behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from loaders.upstream.simulator.base import Fault
from schema.http.settings import HttpSettings
from server import GraphQLApp
from tests.graph import ONEBALANCE_BALANCES, Simulators, open_graph
from tests.service import EVM, serve

_HASTY = HttpSettings(watch_floor_seconds=1, heartbeat_seconds=0.5)


@asynccontextmanager
async def stage(**options: Any) -> AsyncIterator[str]:
    """The address of the graph, mounted at ``/api/`` over the upstreams of the demo, which keep no answers.

    A subscription may look every second, and an idle stream is kept alive twice a second. Beside the graph,
    ``GET /upstreams/asked`` counts how often Ondo GM was asked for balances on Ethereum,
    ``POST /upstreams/moved?balance=7`` changes what the wallet holds of SPYon there, and ``POST /upstreams/slow``
    lets OneBalance take a while with its next balances.
    """
    async with open_graph(Simulators.demo()) as graph:
        app = GraphQLApp(graph.upstreams, settings=_HASTY, **options)
        host = Starlette(routes=[Mount("/api", app), Mount("/upstreams", routes=_routes(graph.simulators))])
        async with serve(host) as url:
            try:
                yield f"{url}/api/"
            finally:
                await app.close()


def _routes(simulators: Simulators) -> list[Route]:
    async def asked(request: Request) -> Response:
        return JSONResponse(len(simulators.ondo.asked("/v1/chains/ethereum-1/balances")))

    async def moved(request: Request) -> Response:
        balance = request.query_params["balance"]
        simulators.ondo.dataset.add_balance(chain="ethereum-1", symbol="SPYon", account=EVM, balance=balance)
        return Response(status_code=204)

    async def slow(request: Request) -> Response:
        simulators.onebalance.inject(Fault(kind="delay", seconds=0.3, path=ONEBALANCE_BALANCES, times=1))
        return Response(status_code=204)

    return [
        Route("/asked", asked),
        Route("/moved", moved, methods=["POST"]),
        Route("/slow", slow, methods=["POST"]),
    ]
