"""What pages of other sites may do with a visitor's browser; requests as browsers send them, header by header."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from schema.http.authentication import ApiKeys, Authentication, Authenticator
from schema.http.browsers import CrossSiteGuard, Origins, SecurityHeaders, with_cors
from server import Settings
from tests.graph import Graph
from tests.http.client import client_of_graph
from tests.service import serve

QUERY = "?query={__typename}"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
JSON = {"Content-Type": "application/json"}
OTHER = "https://evil.example"
FRIEND = "https://app.example"


def page(site: str | None = None, origin: str | None = None, **more: str) -> dict[str, str]:
    """Headers that a browser sends for a page; without a site it asks over plain HTTP."""
    own = {"Sec-Fetch-Site": site, "Origin": origin}
    return {"User-Agent": CHROME, **{name: value for name, value in own.items() if value is not None}, **more}


@dataclass(slots=True)
class Answer:
    status: int
    headers: Any
    text: str

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in json.loads(self.text)["errors"]]


class Service:
    """An application that answers whatever it is asked, and remembers how often it was."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        if scope["type"] == "http":
            await JSONResponse({"data": 1}, headers={"ETag": '"1"', "Vary": "Accept"})(scope, receive, send)
            return
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.send_json("let in")
        await socket.close()


@dataclass(slots=True)
class Door:
    """The way to a guarded service."""

    url: str
    session: aiohttp.ClientSession
    service: Service

    @property
    def own_origin(self) -> str:
        return self.url

    async def ask(self, method: str, headers: dict[str, str], query: str = "", body: bytes | None = None) -> Answer:
        async with self.session.request(
            method, self.url + query, headers=headers, data=body, skip_auto_headers=["Content-Type", "User-Agent"]
        ) as response:
            return Answer(response.status, response.headers, await response.text())

    async def get(self, headers: dict[str, str]) -> int:
        return (await self.ask("GET", headers, QUERY)).status

    async def post(self, headers: dict[str, str]) -> int:
        return (await self.ask("POST", headers, body=b'{"query": "{__typename}"}')).status

    async def connect(self, headers: dict[str, str]) -> int:
        """The status of a handshake."""
        try:
            async with self.session.ws_connect(self.url, headers=headers) as socket:
                assert await socket.receive_json() == "let in"
                return 101
        except aiohttp.WSServerHandshakeError as refusal:
            return refusal.status


@asynccontextmanager
async def door(*allowed: str) -> AsyncIterator[Door]:
    origins, service = Origins(allowed), Service()
    app = SecurityHeaders(with_cors(CrossSiteGuard(service, origins), origins))
    async with serve(app) as url, aiohttp.ClientSession() as session:
        yield Door(url, session, service)


@pytest.fixture
async def closed() -> AsyncIterator[Door]:
    """No other site may ask."""
    async with door() as found:
        yield found


def refused() -> float:
    return REGISTRY.get_sample_value("walletgraph_requests_refused_total", {"reason": "CROSS_SITE"}) or 0


# Who is turned away


async def test_a_page_of_another_site_asks_in_vain_however_it_asks(closed: Door) -> None:
    before = refused()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    text = {"Content-Type": "text/plain"}
    for headers in (
        page("cross-site"),  # an image, a script, a link, fetch without CORS
        page("same-site"),
        page("cross-site", OTHER),  # fetch
        page("same-site", "https://blog.example"),
        page(None, OTHER),  # fetch over plain HTTP
        page("cross-site", "null"),  # a sandboxed frame
        page(None, "null"),
        page("cross-site", "null", Accept="application/graphql-response+json"),
        page(None, OTHER, **{"Apollo-Require-Preflight": "1"}),  # which no browser sends unasked
    ):
        assert await closed.get(headers) == 403, headers
        for more in (form, text, JSON, {}):
            assert await closed.post({**headers, **more}) == 403, headers
    assert closed.service.asked == 0
    assert refused() == before + 9 * 5


async def test_a_page_that_cannot_be_told_from_another_site_s_must_show_that_it_asked_first(closed: Door) -> None:
    """Over plain HTTP to another host a browser says nothing of where its page is from."""
    plain = page()
    for more in (
        {},
        {"Accept": "application/json"},
        {"Content-Type": "text/plain;charset=UTF-8"},
        {"Accept-Language": "x"},
    ):
        assert await closed.get({**plain, **more}) == 403
    for content_type in (
        "",
        "TEXT/plain ; a=b",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        assert await closed.post({**plain, "Content-Type": content_type}) == 403, content_type
    assert closed.service.asked == 0
    for name in (
        "Apollo-Require-Preflight",
        "X-Apollo-Operation-Name",
        "X-Walletgraph-Trace",
        "X-Api-Key",
        "Authorization",
    ):
        assert await closed.get({**plain, name: "1"}) == 200, name
    assert await closed.get({**plain, **JSON}) == 200
    assert await closed.post({**plain, **JSON}) == 200


async def test_a_refusal_says_what_to_send_and_is_kept_by_nobody(closed: Door) -> None:
    answer = await closed.ask("GET", page(), QUERY)
    assert (answer.status, answer.codes) == (403, ["BAD_USER_INPUT"])
    assert "apollo-require-preflight" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers


# Who is let in


async def test_whoever_is_no_browser_is_let_in(closed: Door) -> None:
    for headers in (
        {},
        {"User-Agent": "curl/8.14.1", "Accept": "*/*"},
        {"User-Agent": "node", "Sec-Fetch-Mode": "cors", "Accept": "application/graphql-response+json"},
        {"User-Agent": "python-requests/2.34"},
        {"User-Agent": "okhttp/5.1.0", "Accept": "application/json"},
    ):
        assert await closed.get(headers) == 200, headers
        assert await closed.post({**headers, **JSON}) == 200, headers
        assert await closed.connect(headers) == 101, headers


async def test_our_own_pages_and_the_visitor_are_let_in(closed: Door) -> None:
    own = closed.own_origin
    for headers in (
        page("none"),  # typed, or a bookmark
        page("same-origin"),
        page("same-origin", own),
        page("same-origin", "https://behind.a.proxy.example"),
        page(None, own),
        page(None, own.upper().replace("HTTP", "http")),
    ):
        assert await closed.get(headers) == 200, headers
        assert await closed.post({**headers, **JSON}) == 200, headers


async def test_the_playground_may_be_linked_to_from_anywhere(closed: Door) -> None:
    link = page("cross-site", **{"Sec-Fetch-Mode": "navigate", "Accept": "text/html"})
    assert (await closed.ask("GET", link)).status == 200
    assert (await closed.ask("GET", link, QUERY)).status == 403


async def test_the_pages_of_a_host_are_the_same_behind_a_proxy_that_ends_tls(closed: Door) -> None:
    for origin, host, status in [
        ("https://graph.example", "graph.example", 200),
        ("https://graph.example", "graph.example:443", 200),
        ("https://Graph.Example", "graph.example", 200),
        ("http://graph.example:8000", "graph.example:8000", 200),
        ("http://[::1]:8000", "[::1]:8000", 200),
        ("https://graph.example:8443", "graph.example", 403),
        ("https://graph.example", "graph.example:80", 403),
        ("https://graph.example.evil.example", "graph.example", 403),
        ("https://evil.example#graph.example", "graph.example", 403),
        ("https://evil@graph.example", "graph.example", 403),
        ("ftp://graph.example", "graph.example", 403),
        ("graph.example", "graph.example", 403),
        ("", "graph.example", 403),
    ]:
        assert await closed.post(page(None, origin, Host=host, **JSON)) == status, (origin, host)


async def test_of_two_origins_none_counts(closed: Door) -> None:
    own = closed.own_origin
    for pairs in (
        [("Origin", own), ("Origin", OTHER)],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
    ):
        async with closed.session.post(closed.url, headers=[*pairs, *JSON.items()], data=b"{}") as response:
            assert response.status == 403
    async with door(FRIEND) as found:
        pairs = [("Origin", FRIEND), ("Origin", OTHER)]
        async with found.session.post(found.url, headers=[*pairs, *JSON.items()], data=b"{}") as response:
            assert response.status == 403
    assert await closed.post({**page("same-origin, cross-site"), **JSON}) == 403
    assert await closed.post({**page("SAME-ORIGIN"), **JSON}) == 403  # no browser writes it so


# WebSockets


async def test_a_page_of_another_site_opens_no_websocket(closed: Door) -> None:
    for headers in (page(None, OTHER), page("cross-site", OTHER), page("same-site", OTHER), page(None, "null")):
        assert await closed.connect(headers) == 403, headers
    assert closed.service.asked == 0
    assert await closed.connect(page(None, closed.own_origin)) == 101


async def test_a_page_of_an_allowed_site_opens_one() -> None:
    async with door(FRIEND) as found:
        assert await found.connect(page("cross-site", FRIEND)) == 101
        assert await found.connect(page("cross-site", OTHER)) == 403
    async with door("*") as found:
        for origin in (OTHER, "null"):
            assert await found.connect(page("cross-site", origin)) == 101


# CORS


async def preflight(found: Door, origin: str, headers: str = "content-type", method: str = "POST") -> Answer:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return await found.ask("OPTIONS", page("cross-site", origin, **asked))


async def test_pages_of_allowed_sites_ask_and_read_and_no_others() -> None:
    async with door(FRIEND, "http://localhost:3000") as found:
        for origin in (FRIEND, "http://localhost:3000"):
            asked_first = await preflight(
                found, origin, "authorization,content-type,x-api-key,apollo-require-preflight"
            )
            assert asked_first.status == 200
            assert asked_first.headers["Access-Control-Allow-Origin"] == origin
            assert int(asked_first.headers["Access-Control-Max-Age"]) > 0
            answer = await found.ask("POST", page("cross-site", origin, **JSON), body=b"{}")
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
            assert "Access-Control-Allow-Credentials" not in answer.headers
            exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
            assert {"ETag", "Retry-After", "RateLimit", "RateLimit-Policy"} <= set(exposed)
        for origin in (OTHER, "null", "https://app.example.evil.example", "http://app.example", "http://localhost"):
            assert "Access-Control-Allow-Origin" not in (await preflight(found, origin)).headers
            answer = await found.ask("POST", page("cross-site", origin, **JSON), body=b"{}")
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_no_cache_gives_the_answer_for_one_site_to_another() -> None:
    async with door(FRIEND) as found:
        for headers in ({}, page("cross-site", FRIEND, **JSON)):
            answer = await found.ask("POST", headers, body=b"{}")
            assert answer.headers["Vary"] == "Accept, Origin"


async def test_any_site_may_ask_where_all_are_allowed_but_never_with_cookies() -> None:
    async with door("*") as found:
        for origin in (OTHER, "null"):
            assert (await preflight(found, origin)).headers["Access-Control-Allow-Origin"] == "*"
            answer = await found.ask("POST", page("cross-site", origin, Cookie="a=b", **JSON), body=b"{}")
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
            assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_every_header_that_a_client_of_ours_sends_may_be_sent_from_a_page() -> None:
    async with door(FRIEND) as found:
        for name in (
            "content-type",
            "authorization",
            "x-api-key",
            "apollo-require-preflight",
            "x-apollo-operation-name",
            "x-walletgraph-trace",
            "traceparent",
            "tracestate",
        ):
            assert (await preflight(found, FRIEND, name)).status == 200, name
        assert (await preflight(found, FRIEND, "x-something")).status == 400
        assert (await preflight(found, FRIEND, method="DELETE")).status == 400


async def test_a_preflight_needs_no_credential_and_a_page_can_read_why_it_is_refused() -> None:
    key, hashed = ApiKeys.new("page")
    origins, service = Origins([FRIEND]), Service()
    authenticated = Authentication(service, Authenticator(ApiKeys.parse(hashed)))
    app = SecurityHeaders(with_cors(CrossSiteGuard(authenticated, origins), origins))
    async with serve(app) as url, aiohttp.ClientSession() as session:
        found = Door(url, session, service)
        assert (await preflight(found, FRIEND, "x-api-key")).status == 200
        answer = await found.ask("POST", page("cross-site", FRIEND, **JSON), body=b"{}")
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, FRIEND)
        assert service.asked == 0
        assert await found.post(page("cross-site", FRIEND, **JSON, **{"X-Api-Key": key})) == 200


# Headers


async def test_every_answer_tells_browsers_to_be_strict() -> None:
    async def own_policy(request: Request) -> HTMLResponse:
        return HTMLResponse("<p>", headers={"Content-Security-Policy": "default-src 'self'"})

    routes = [Route("/page", own_policy), Mount("/graphql", CrossSiteGuard(Service(), Origins()))]
    app = Starlette(routes=routes, middleware=[Middleware(SecurityHeaders)])
    async with serve(app) as url, aiohttp.ClientSession() as session:
        for path, method, status in [
            ("/graphql/", "GET", 200),
            ("/graphql/?a", "GET", 403),
            ("/nowhere", "GET", 404),
            ("/page", "PUT", 405),
            ("/page", "GET", 200),
        ]:
            async with session.request(method, url + path, headers=page("cross-site")) as response:
                found = response.headers
                assert response.status == status
            assert found["X-Content-Type-Options"] == "nosniff"
            assert found["Referrer-Policy"] == "no-referrer"
            assert found["Cross-Origin-Resource-Policy"] == "same-origin"
            assert found["X-Frame-Options"] == "DENY"
            policy = (
                "default-src 'self'"
                if (path, method) == ("/page", "GET")
                else "default-src 'none'; frame-ancestors 'none'"
            )
            assert found.getall("Content-Security-Policy") == [policy]
            assert "Strict-Transport-Security" not in found


# Settings


def test_no_site_is_allowed_unless_it_is_named() -> None:
    assert Settings(_env_file=None).origins.allowed == set()


def test_origins_are_written_as_one_reads_them() -> None:
    settings = Settings(
        _env_file=None, allowed_origins=" https://App.example:443, http://localhost:3000 ,chrome-extension://abc,"
    )
    assert settings.origins.allowed == {FRIEND, "http://localhost:3000", "chrome-extension://abc"}


@pytest.mark.parametrize(
    "wrong",
    [
        "app.example",
        "https://app.example/",
        "https://app.example/path",
        "https://*.example",
        "https://a@b",
        "https://",
        "https://app.example https://b.example",
        "null",
        "https://app.example:port",
        "https://app.example\n",
    ],
)
def test_what_is_no_origin_makes_no_server(wrong: str) -> None:
    if wrong.endswith("\n"):
        with pytest.raises(ValueError, match="expected origins"):
            Origins([wrong])
        return
    with pytest.raises(ValueError, match="expected origins"):
        Settings(_env_file=None, allowed_origins=wrong)


# The graph itself


async def test_the_graph_is_asked_by_clients_as_before(demo: Graph) -> None:
    """The requests of the audits of GraphQL over HTTP: a plain GET, with nothing but what it accepts."""
    async with client_of_graph(demo) as client:
        for accept in ("application/graphql-response+json", "application/json"):
            answer = await client.send("GET", query=QUERY, accept=accept, user_agent="node", sec_fetch_mode="cors")
            assert answer.json == {"data": {"__typename": "Query"}}
