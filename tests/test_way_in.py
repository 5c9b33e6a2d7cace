"""The graph is led to without the routes around it, and nobody can tell."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import Settings, create_app

HEADERS = [(b"host", b"graph.example"), (b"content-type", b"application/json")]
QUERY = b'{"query": "{ __typename }"}'


class Answer:
    """What an application says to one request."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> list[tuple[str, str]]:
        return Headers(raw=self.messages[0]["headers"]).items()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])


async def ask(app: ASGIApp, path: str, *, root_path: str = "", method: str = "POST") -> Answer:
    answer = Answer()

    async def receive() -> Message:
        return {"type": "http.request", "body": QUERY}

    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": HEADERS,
        "scheme": "http",
        "server": ("graph.example", 80),
    }
    await app(scope, receive, answer.send)
    return answer


class Passing:
    """A middleware of a host's, which says that it was there."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-host", b"was here")]
            await send(message)

        await self.app(scope, receive, say)


@pytest.fixture
def app() -> Starlette:
    return create_app(Settings(demo=True, _env_file=None))


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("path", "root_path"),
    [
        ("/graphql", ""),
        ("/graphql/", ""),
        ("/api/graphql", "/api"),
        ("/graphql", "/graphql"),
        ("/graphql/graphql", "/graphql"),
        ("/healthz", ""),
        ("/nothing", ""),
    ],
)
async def test_the_straight_way_leads_where_the_other_does(
    app: Starlette, path: str, root_path: str, method: str
) -> None:
    async with app.router.lifespan_context(app):
        straight = await ask(app, path, root_path=root_path, method=method)
        around = await ask(Starlette.build_middleware_stack(app), path, root_path=root_path, method=method)
    assert straight.status == around.status
    assert straight.headers == around.headers
    assert straight.body == around.body
    names = [name for name, _ in straight.headers]
    assert len(names) == len(set(names))
    assert "x-content-type-options" in names


async def test_what_a_host_adds_is_on_the_way(app: Starlette) -> None:
    app.add_middleware(Passing)
    async with app.router.lifespan_context(app):
        answer = await ask(app, "/graphql")
    assert ("x-host", "was here") in answer.headers
    assert json.loads(answer.body)["data"] == {"__typename": "Query"}


async def test_a_host_that_answers_errors_itself_does_so(app: Starlette) -> None:
    async def apologise(request: Request, error: Exception) -> Response:
        return PlainTextResponse("sorry", 500)

    app.add_exception_handler(RuntimeError, apologise)
    assert (await ask(app, "/graphql")).body == b"sorry"  # it is not alive


async def test_hosts_that_are_not_ours_are_told_so_as_strictly_as_all_else() -> None:
    app = create_app(Settings(demo=True, allowed_hosts="other.example", _env_file=None))
    answer = await ask(app, "/graphql")
    assert answer.status == 400
    assert dict(answer.headers)["x-frame-options"] == "DENY"
