"""The whole service with its doors guarded, as operators configure it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from schema.http.app import GraphQLApp
from schema.http.authentication import ApiKeys, Authenticator
from server import Settings, create_app
from tests.graph import Graph
from tests.http.client import GRAPHQL, PROTOCOL, Client, client_of
from tests.http.issuer import Issuer
from tests.service import TOTAL, get, serve

QUERY = {"query": "{ __typename }"}
KEY, HASHED = ApiKeys.new("mobile")
CHROME = "Mozilla/5.0 (X11; Linux x86_64) Chrome/142.0.0.0"


@asynccontextmanager
async def service(**settings: Any) -> AsyncIterator[Client]:
    """A client of the service by these settings."""
    app = create_app(Settings(demo=True, _env_file=None, **settings))
    async with serve(app) as url, aiohttp.ClientSession() as session:
        yield Client(f"{url}/graphql", session)


async def initialise(client: Client, payload: Any, **headers: str) -> Any:
    """What a WebSocket gets for its first message, or the code by which it is closed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.session.ws_connect(client.url, protocols=[PROTOCOL], headers=named) as socket:
        await socket.send_json({"type": "connection_init", "payload": payload})
        message = await socket.receive()
        return message.data if message.type is aiohttp.WSMsgType.CLOSE else message.json()["type"]


async def operate(socket: aiohttp.ClientWebSocketResponse, id: str) -> dict[str, Any]:
    """The first answer to an operation over a WebSocket."""
    await socket.send_json({"id": id, "type": "subscribe", "payload": QUERY})
    async with asyncio.timeout(10):
        while (message := await socket.receive_json())["id"] != id or message["type"] == "complete":
            pass
    assert isinstance(message, dict)
    return message


# Who may ask


async def test_only_who_has_a_key_asks_the_graph_and_everybody_may_probe(tmp_path: Path) -> None:
    issuer = Issuer.in_folder(tmp_path)
    async with service(api_key_hashes=HASHED, jwt_jwks_file=issuer.file) as client:
        for answer in (
            await client.post(QUERY),
            await client.post([QUERY]),
            await client.post(QUERY, x_api_key="wrong"),
            await client.post(QUERY, accept="text/event-stream"),
            await client.get(query="{ __typename }", accept=GRAPHQL),
        ):
            assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
        for credential in ({"x_api_key": KEY}, {"authorization": f"Bearer {issuer.token()}"}):
            assert (await client.post(QUERY, **credential)).json["data"] == {"__typename": "Query"}
        root = client.url.removesuffix("/graphql")
        for path in ("healthz", "readyz", "metrics"):
            assert (await get(f"{root}/{path}"))[0] == 200


async def test_the_playground_is_there_for_who_has_yet_to_type_the_key_in() -> None:
    async with service(api_key_hashes=HASHED) as client:
        page = await client.send("GET", accept="text/html", user_agent=CHROME, sec_fetch_site="cross-site")
        assert (page.status, page.content_type) == (200, "text/html")
        assert page.header("X-Frame-Options") == "DENY"
        asked = await client.send("GET", query="?query={__typename}", accept="text/html", user_agent=CHROME)
        assert asked.status in (401, 403)


async def test_who_is_not_known_costs_the_upstreams_nothing(demo: Graph) -> None:
    app = GraphQLApp(demo.upstreams, authenticator=Authenticator(ApiKeys.parse(HASHED)))
    async with client_of(app) as client:
        assert (await client.post({"query": TOTAL})).status == 401
        assert [simulator.requests for simulator in demo.simulators.all] == [[], [], []]
        assert (await client.post({"query": TOTAL}, x_api_key=KEY)).status == 200
    assert any(simulator.requests for simulator in demo.simulators.all)


async def test_an_answer_for_one_client_is_kept_for_no_other() -> None:
    async with service(api_key_hashes=HASHED) as client:
        answer = await client.get(query=TOTAL, headers={"x-api-key": KEY})
    assert answer.status == 200
    assert (answer.header("Cache-Control") or "").startswith("private, max-age=")
    assert "x-api-key" in (answer.header("Vary") or "").lower()


async def test_a_websocket_is_let_in_by_its_first_message_or_its_handshake() -> None:
    async with service(api_key_hashes=HASHED) as client:
        assert await initialise(client, {"x-api-key": KEY}) == "connection_ack"
        assert await initialise(client, None, x_api_key=KEY) == "connection_ack"
        for payload in (None, {}, {"x-api-key": "wrong"}, {"x-api-key": [KEY]}):
            assert await initialise(client, payload) == 4403, payload
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await initialise(client, {"x-api-key": KEY}, x_api_key="wrong")
        assert refusal.value.status == 401


# How often


async def test_every_operation_counts_however_it_comes() -> None:
    async with service(rate_limit_per_minute=1, rate_limit_burst=8) as client:
        assert (await client.post(QUERY)).status == 200
        assert (await client.get(query="{ __typename }")).status == 200
        assert (await client.post([QUERY] * 3)).status == 200
        async with client.socket() as socket:
            assert (await operate(socket, "1"))["type"] == "next"
            too_large = await client.post([QUERY] * 3)
            # Reading it counts as one.
            assert (too_large.status, too_large.header("RateLimit")) == (429, '"operations";r=1;t=60')
            assert (await operate(socket, "2"))["type"] == "next"
            refused = await operate(socket, "3")
            assert refused["type"] == "error"
            assert refused["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        answer = await client.post(QUERY)
        assert (answer.status, answer.codes) == (429, ["RATE_LIMITED"])
        assert answer.header("Cache-Control") == "no-store"
        assert 50 < int(answer.header("Retry-After") or 0) <= 60
        assert (await client.send("GET", accept="text/html")).status == 200  # the page is no operation


async def test_clients_with_keys_have_limits_of_their_own() -> None:
    other, other_hashed = ApiKeys.new("partner")
    hashes = f"{HASHED},{other_hashed}"
    async with service(api_key_hashes=hashes, rate_limit_per_minute=1, rate_limit_burst=2) as client:
        for key in (KEY, other):
            assert [(await client.post(QUERY, x_api_key=key)).status for _ in range(3)] == [200, 200, 429]


# Browsers


async def test_a_page_of_another_site_neither_asks_nor_connects_unless_it_is_allowed() -> None:
    friend, stranger = "https://app.example", "https://evil.example"
    async with service(allowed_origins=friend) as client:
        for origin, status in ((friend, 200), (stranger, 403)):
            answer = await client.post(QUERY, origin=origin, sec_fetch_site="cross-site", user_agent=CHROME)
            assert answer.status == status
            assert answer.header("Access-Control-Allow-Origin") == (friend if status == 200 else None)
            if status == 200:
                assert await initialise(client, None, origin=origin) == "connection_ack"
                continue
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await initialise(client, None, origin=origin)
            assert refusal.value.status == status


async def test_no_answer_of_the_service_leaves_a_browser_lenient() -> None:
    async with service() as client:
        root = client.url.removesuffix("/graphql")
        for url in (client.url, f"{root}/nowhere", f"{root}/healthz", f"{root}/metrics"):
            _, _, headers = await get(url)
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "'none'" in headers["Content-Security-Policy"]


async def test_a_websocket_that_is_refused_is_no_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async with service() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.session.ws_connect(client.url, protocols=[PROTOCOL], headers={"Origin": "https://elsewhere"})
        assert refused.value.status == 403
        await asyncio.sleep(0.05)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_name_that_is_not_ours_leads_nowhere_but_to_the_probes() -> None:
    async with service(allowed_hosts="graph.example, *.internal") as client:
        for host, status in (("graph.example", 200), ("a.internal", 200), ("evil.example", 400), ("127.0.0.1", 400)):
            assert (await client.post(QUERY, host=host)).status == status
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.session.ws_connect(client.url, protocols=[PROTOCOL], headers={"Host": "evil.example"})
        assert refused.value.status in (400, 403)
        assert (await get(client.url.replace("/graphql", "/healthz")))[0] == 200


@pytest.mark.parametrize("hosts", ["https://graph.example", "graph.example:443", "a*.example", "a b"])
def test_a_name_that_is_none_keeps_the_server_from_starting(hosts: str) -> None:
    with pytest.raises(ValueError, match="allowed_hosts"):
        Settings(demo=True, allowed_hosts=hosts, _env_file=None)
