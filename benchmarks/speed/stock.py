"""Our types and resolvers served as Strawberry serves any: its schema, its executor, its view, under uvicorn.

No cache of documents, no rules or extensions of ours but the one that gives an operation its loaders.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.schema.config import StrawberryConfig

from loaders import Sources
from loaders.upstream import Upstreams
from resolvers.context import RequestContext
from schema.extensions import OperationContext
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription
from server import Settings


class _View(GraphQL[RequestContext, None]):
    """The view as it comes, with our context."""

    def __init__(self, sources: Sources) -> None:
        schema = strawberry.federation.Schema(
            query=Query,
            subscription=Subscription,
            extensions=[OperationContext],
            config=StrawberryConfig(scalar_map=dict(SCALARS)),
            federation_version="2.3",
        )
        super().__init__(schema)
        self._sources = sources

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> RequestContext:
        return RequestContext(self._sources)


def create_app(settings: Settings) -> Starlette:
    """The application, which opens its upstreams when it starts."""
    upstreams = Upstreams(settings.upstreams)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with upstreams:
            yield

    view: Any = _View(Sources(upstreams))
    return Starlette(routes=[Mount("/graphql", app=view)], lifespan=lifespan)


def main() -> None:
    """Serves until SIGTERM; says where in a line of JSON."""
    listening = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "0"))), backlog=4_096)
    config = uvicorn.Config(
        create_app(Settings()),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_level="warning",
        access_log=False,
    )
    print(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}/graphql/"}), flush=True)
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
