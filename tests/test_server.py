"""Both doors to the graph over real sockets, and the process as operators run it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from loaders.upstream.simulator.base import Fault
from server import ConfigurationError, GraphQLApp, Settings, create_app, main
from tests.graph import Graph, Simulators, open_graph
from tests.service import EVM, SOLANA, TOTAL, address_of, get, post, serve, start

PORTFOLIO = f"""{{
  evm: wallet(address: "{EVM}") {{ total {{ valueUsd }} }}
  solana: wallet(address: "{SOLANA}") {{ total {{ valueUsd }} }}
  portfolio(addresses: ["{EVM}", "{SOLANA}"]) {{
    total {{ valueUsd }}
    holdings {{ nodes {{ amountSource }} }}
  }}
}}"""


@pytest.fixture(scope="module")
def service() -> Starlette:
    return create_app(Settings(demo=True, _env_file=None))


async def test_the_service_answers_by_post_and_by_get_and_says_that_its_data_is_simulated(service: Starlette) -> None:
    async with serve(service) as url:
        posted = await post(url, PORTFOLIO)
        status, text, _ = await get(f"{url}/graphql?query={TOTAL.replace(' ', '%20')}")
    sources = {node["amountSource"] for node in posted["data"]["portfolio"]["holdings"]["nodes"]}
    assert sources == {"ONDO_GM", "ONEBALANCE", "SOLANA_SPL"}
    assert posted["extensions"]["demo"].startswith("Simulated data")
    assert (status, json.loads(text)["data"]["wallet"]) == (200, posted["data"]["evm"])


async def test_a_browser_gets_the_playground_under_a_strict_policy(service: Starlette) -> None:
    async with serve(service) as url:
        status, page, headers = await get(f"{url}/graphql", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "query Portfolio(" in page
    assert "Simulated data" in page
    nonce = re.search(r"script-src 'nonce-([^']+)'", headers["Content-Security-Policy"])
    assert nonce is not None
    assert f'nonce="{nonce[1]}"' in page


async def test_an_operation_goes_over_a_websocket(service: Starlette) -> None:
    async with (
        serve(service) as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/graphql", protocols=["graphql-transport-ws"]) as socket,
    ):
        await socket.send_json({"type": "connection_init"})
        assert (await socket.receive_json())["type"] == "connection_ack"
        for id in ("1", "2"):
            await socket.send_json({"id": id, "type": "subscribe", "payload": {"query": TOTAL}})
            answer = await socket.receive_json()
            assert (answer["id"], answer["type"]) == (id, "next")
            assert answer["payload"]["data"]["wallet"]["total"]["valueUsd"] is not None
            assert answer["payload"]["extensions"]["demo"].startswith("Simulated")
            assert await socket.receive_json() == {"id": id, "type": "complete"}


async def test_errors_have_codes_over_a_websocket_too(service: Starlette) -> None:
    async with (
        serve(service) as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/graphql", protocols=["graphql-transport-ws"]) as socket,
    ):
        await socket.send_json({"type": "connection_init"})
        await socket.receive_json()
        query = '{ wallet(address: "0x12") { id } }'
        await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": query}})
        (error,) = (await socket.receive_json())["payload"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_the_trace_is_given_for_its_header_alone(service: Starlette) -> None:
    async with serve(service) as url:
        traced = await post(url, TOTAL, **{"x-walletgraph-trace": "1"})
        assert "upstream" not in (await post(url, TOTAL))["extensions"]
    assert traced["extensions"]["upstream"]["ONEBALANCE"]["requests"] >= 1


async def test_operators_see_health_readiness_and_metrics(service: Starlette) -> None:
    async with serve(service) as url:
        assert (await get(f"{url}/healthz"))[:2] == (200, '{"status":"alive"}')
        before = json.loads((await get(f"{url}/readyz"))[1])
        await post(url, TOTAL)
        status, after, _ = await get(f"{url}/readyz")
        _, metrics, headers = await get(f"{url}/metrics")
    states = {"ONDO_GM": "UNTRIED", "ONEBALANCE": "UNTRIED", "SOLANA_SPL": "UNTRIED"}
    assert before == {"status": "ready", "demo": True, "sources": states, "shared_store": "NOT_CONFIGURED"}
    assert status == 200
    assert json.loads(after)["sources"] == {**states, "ONDO_GM": "OK", "ONEBALANCE": "OK"}
    assert headers["Content-Type"].startswith("text/plain")
    assert re.search(
        r'^walletgraph_upstream_request_seconds_count\{outcome="OK",source="ONDO_GM"\} [1-9]', metrics, re.MULTILINE
    )


async def test_readiness_tells_what_is_not_configured_and_what_failed(graph: Graph) -> None:
    settings = Settings(_env_file=None, ondo_base_url=graph.simulators.ondo.url, ondo_api_key="wrong")
    async with serve(create_app(settings)) as url:
        await post(url, TOTAL)
        sources = json.loads((await get(f"{url}/readyz"))[1])["sources"]
    assert sources == {"ONDO_GM": "UNAUTHORIZED", "ONEBALANCE": "NOT_CONFIGURED", "SOLANA_SPL": "NOT_CONFIGURED"}


async def test_the_graph_is_mounted_into_another_application(demo: Graph) -> None:
    host = Starlette(routes=[Mount("/api", app=GraphQLApp(demo.upstreams))])
    async with serve(host) as url:
        async with aiohttp.ClientSession() as session, session.post(f"{url}/api/", json={"query": TOTAL}) as response:
            answer = await response.json()
        _, page, _ = await get(f"{url}/api/", Accept="text/html")
    assert answer["data"]["wallet"]["total"]["valueUsd"] is not None
    assert "extensions" not in answer or "demo" not in answer["extensions"]
    assert '"/api/"' in page
    assert "Simulated" not in page


async def test_a_subgraph_is_served_without_node() -> None:
    async with serve(create_app(Settings(demo=True, subgraph=True, _env_file=None))) as url:
        (error,) = (await post(url, '{ node(id: "Chain:eip155:1") { id } }'))["errors"]
        sdl = (await post(url, "{ _service { sdl } }"))["data"]["_service"]["sdl"]
    assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert "node(" not in sdl
    assert '@key(fields: "address")' in sdl


async def test_thirty_clients_at_once_cost_one_set_of_requests() -> None:
    async with (
        open_graph(Simulators.demo()) as graph,
        serve(Starlette(routes=[Mount("/graphql", GraphQLApp(graph.upstreams))])) as url,
    ):
        graph.simulators.onebalance.inject(Fault(kind="delay", seconds=0.3))
        async with aiohttp.ClientSession() as session:

            async def ask() -> str:
                async with session.post(f"{url}/graphql/", json={"query": TOTAL}) as response:
                    return await response.text()

            answers = await asyncio.gather(*[ask() for _ in range(30)])
    assert len(set(answers)) == 1
    assert len(graph.simulators.onebalance.asked("*/aggregated-balance")) == 1


async def test_the_demo_starts_says_where_it_serves_answers_and_stops_in_peace(tmp_path: Path) -> None:
    process = await start("--demo", "--port", "0", cwd=tmp_path)
    url = await address_of(process)
    assert (await post(url, PORTFOLIO))["data"]["portfolio"]["total"]["valueUsd"] is not None
    process.send_signal(signal.SIGTERM)
    output, errors = await process.communicate()
    assert (process.returncode, output) == (0, b"")
    assert [json.loads(line)["event"] for line in errors.splitlines()] == ["operation"]


async def test_without_a_key_and_without_the_demo_it_says_which_names_to_set(tmp_path: Path) -> None:
    process = await start(cwd=tmp_path)
    output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    for name in (b"ONDO_API_KEY", b"ONEBALANCE_API_KEY", b"THEGRAPH_API_TOKEN", b"--demo"):
        assert name in errors


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("THEGRAPH_PLAN", "gold"),
        ("UPSTREAM_TIMEOUT_SECONDS", "0"),
        ("PORT", "eighty"),
        ("ONDO_BASE_URL", "ondo"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("MAX_OPERATIONS", "0"),
        ("MAX_QUEUED_OPERATIONS", "-1"),
        ("OPERATION_TIMEOUT_SECONDS", "0"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["--demo"]) == 2
    assert capsys.readouterr().err.startswith(f"{name}: ")


def test_settings_are_read_from_a_file_under_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ONDO_API_KEY=from-file\nTHEGRAPH_API_TOKEN=t\nTHEGRAPH_PLAN=100/25\nPORT=1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONDO_API_KEY", "from-environment")
    settings = Settings(port=2)
    assert settings.upstreams.ondo_api_key == "from-environment"
    assert settings.upstreams.thegraph_api_token == "t"
    assert settings.upstreams.thegraph_plan == "100/25"
    assert settings.upstreams.onebalance_api_key is None
    assert settings.port == 2
    assert "from-environment" not in repr(settings)


def test_the_application_for_asgi_servers_is_made_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import server

    monkeypatch.chdir(tmp_path)
    for name in ("ONDO_API_KEY", "ONEBALANCE_API_KEY", "THEGRAPH_API_TOKEN", "DEMO"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="THEGRAPH_API_TOKEN"):
        _ = server.app
    monkeypatch.setenv("DEMO", "1")
    try:
        assert isinstance(server.app, Starlette)
        assert server.app is server.app
    finally:
        vars(server).pop("app", None)


async def test_input_that_is_no_unicode_is_quoted_back_all_the_same(service: Starlette) -> None:
    async with serve(service) as url, aiohttp.ClientSession() as session:
        body = rb'{"query": "query ($a: AccountAddress!) {wallet(address: $a) {id}}", "variables": {"a": "\ud800"}}'
        headers = {"content-type": "application/json"}
        async with session.post(f"{url}/graphql", data=body, headers=headers) as response:
            (error,) = json.loads(await response.text())["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "address"}
