"""The graph behind a socket, asked by raw HTTP and WebSocket messages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from starlette.applications import Starlette
from starlette.routing import Mount

from schema.http.app import GraphQLApp
from schema.http.settings import HttpSettings
from tests.graph import Graph
from tests.service import serve

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
PROTOCOL = "graphql-transport-ws"


@dataclass(slots=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.json["errors"]]

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


@dataclass(slots=True)
class Client:
    """Asks one server."""

    url: str
    session: aiohttp.ClientSession

    async def send(self, method: str, *, body: bytes | None = None, query: str = "", **headers: str) -> Response:
        """Any request; underscores in names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        skip = [name for name in ("accept", "content-type") if name not in named]
        async with self.session.request(
            method, self.url + query, data=body, headers=named, skip_auto_headers=skip
        ) as response:
            return Response(response.status, response.headers, response.content_type, await response.text())

    async def post(self, body: Any, *, accept: str = JSON, **headers: str) -> Response:
        """A body as JSON."""
        return await self.send("POST", body=json.dumps(body).encode(), accept=accept, content_type=JSON, **headers)

    async def get(self, *, accept: str = JSON, headers: dict[str, str] | None = None, **parameters: str) -> Response:
        """Parameters in the query string."""
        async with self.session.get(
            self.url, params=parameters, headers={"accept": accept, **(headers or {})}
        ) as response:
            return Response(response.status, response.headers, response.content_type, await response.text())

    @asynccontextmanager
    async def socket(self, *, init: bool = True) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket, ready for operations."""
        async with self.session.ws_connect(self.url, protocols=[PROTOCOL]) as socket:
            if init:
                await socket.send_json({"type": "connection_init"})
                assert await socket.receive_json() == {"type": "connection_ack"}
            yield socket


@asynccontextmanager
async def client_of(app: GraphQLApp) -> AsyncIterator[Client]:
    """A client of this application, mounted at the root."""
    async with serve(Starlette(routes=[Mount("/", app)])) as url, aiohttp.ClientSession() as session:
        yield Client(url + "/", session)


@asynccontextmanager
async def client_of_graph(graph: Graph, **settings: Any) -> AsyncIterator[Client]:
    """A client of the graph by these settings of its transports."""
    async with client_of(GraphQLApp(graph.upstreams, settings=HttpSettings(**settings))) as client:
        yield client
