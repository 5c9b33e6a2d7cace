"""GraphQL over WebSocket, to the letter of graphql-transport-ws."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY
from starlette.types import Message

from loaders.upstream.simulator.base import Fault
from schema.http.app import GraphQLApp
from schema.http.settings import HttpSettings
from tests.graph import Graph
from tests.http.client import PROTOCOL, Client, client_of, client_of_graph
from tests.service import EVM, TOTAL, address_of, start

Socket = aiohttp.ClientWebSocketResponse
NAME = "{ __typename }"


@pytest.fixture
async def socket(client: Client) -> AsyncIterator[Socket]:
    async with client.socket() as socket:
        yield socket


async def subscribe(socket: Socket, query: str, id: str = "1", **more: Any) -> None:
    await socket.send_json({"id": id, "type": "subscribe", "payload": {"query": query, **more}})


async def closing(socket: Socket) -> tuple[int | None, Any]:
    """The code by which the server closes, and the reason."""
    async with asyncio.timeout(10):
        message = await socket.receive()
        while message.type is aiohttp.WSMsgType.TEXT:
            message = await socket.receive()
    assert message.type is aiohttp.WSMsgType.CLOSE, message
    return message.data, message.extra


async def test_a_query_gives_its_result_and_is_complete(socket: Socket) -> None:
    query = "query Q($a: AccountAddress!) { wallet(address: $a) { address } }"
    await subscribe(socket, query, variables={"a": EVM}, operationName="Q")
    payload = {"data": {"wallet": {"address": EVM}}}
    assert await socket.receive_json() == {"id": "1", "type": "next", "payload": payload}
    assert await socket.receive_json() == {"id": "1", "type": "complete"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("", "BAD_USER_INPUT"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($a: AccountAddress!) { wallet(address: $a) { id } }", "BAD_USER_INPUT"),
    ],
)
async def test_one_bad_operation_ends_itself_and_nothing_else(socket: Socket, query: str, code: str) -> None:
    await subscribe(socket, query, "bad")
    error = await socket.receive_json()
    assert (error["id"], error["type"]) == ("bad", "error")
    assert error["payload"][0]["extensions"]["code"] == code
    await subscribe(socket, NAME, "bad")  # its id is free again
    assert (await socket.receive_json())["type"] == "next"


@pytest.mark.parametrize("payload", [None, 1, "x", []])
async def test_a_payload_that_is_no_object_breaks_the_protocol(socket: Socket, payload: Any) -> None:
    await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
    assert (await closing(socket))[0] == 4400


@pytest.mark.parametrize("payload", [{}, {"query": 1}, {"query": NAME, "variables": []}, {"query": None}])
async def test_a_payload_without_a_query_is_that_operations_error(socket: Socket, payload: Any) -> None:
    await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
    error = await socket.receive_json()
    assert (error["type"], error["payload"][0]["extensions"]["code"]) == ("error", "BAD_USER_INPUT")
    await subscribe(socket, NAME)
    assert (await socket.receive_json())["type"] == "next"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1",
        "[]",
        "{}",
        '{"type": 1}',
        '{"type": "start"}',
        '{"type": "subscribe", "payload": {}}',
        '{"type": "subscribe", "id": 1, "payload": {}}',
        '{"type": "complete"}',
        "[" * 100_000,
    ],
)
async def test_a_message_that_is_none_closes_with_4400(socket: Socket, text: str) -> None:
    await socket.send_str(text)
    code, reason = await closing(socket)
    assert (code, bool(reason)) == (4400, True)


async def test_binary_messages_close_with_4400(socket: Socket) -> None:
    await socket.send_bytes(b'{"type": "ping"}')
    assert (await closing(socket))[0] == 4400


async def test_a_message_beyond_the_limit_closes_with_1009(demo: Graph) -> None:
    async with client_of_graph(demo, max_body_bytes=1_000) as client, client.socket() as socket:
        await subscribe(socket, NAME + " " * 2_000)
        assert (await closing(socket))[0] == 1009


async def test_nobody_unknown_is_read_at_length(client: Client) -> None:
    async with client.socket(init=False) as socket:
        await socket.send_json({"type": "ping", "payload": {"x": "x" * 20_000}})
        assert (await closing(socket))[0] == 1009


@pytest.mark.parametrize("id", ["\U0001f600" * 60, "\ud800", "é" * 256])
async def test_an_odd_id_is_named_as_far_as_it_goes(demo: Graph, socket: Socket, id: str) -> None:
    demo.simulators.ondo.inject(Fault("hang"))
    for _ in range(2):
        await socket.send_str(json.dumps({"id": id, "type": "subscribe", "payload": {"query": TOTAL}}))
    assert (await closing(socket))[0] == 4409


async def test_a_fault_of_ours_is_in_the_log(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        raise ZeroDivisionError

    async with client.socket() as socket:
        monkeypatch.setattr("schema.http.websocket._id", broken)
        await subscribe(socket, NAME)
        assert (await closing(socket))[0] == 1011
    assert "internal error" in caplog.text


async def test_who_does_not_begin_is_closed_in_time(demo: Graph) -> None:
    async with (
        client_of_graph(demo, connection_init_timeout_seconds=0.05) as client,
        client.socket(init=False) as socket,
    ):
        assert (await closing(socket))[0] == 4408


async def test_nothing_runs_before_the_beginning(client: Client) -> None:
    async with client.socket(init=False) as socket:
        await subscribe(socket, NAME)
        assert await closing(socket) == (4401, "Unauthorized")


async def test_one_beginning_is_enough(socket: Socket) -> None:
    await socket.send_json({"type": "connection_init"})
    assert await closing(socket) == (4429, "Too many initialisation requests")


async def test_an_id_names_one_operation(demo: Graph, socket: Socket) -> None:
    demo.simulators.ondo.inject(Fault("hang"))
    await subscribe(socket, TOTAL, "same")
    await subscribe(socket, TOTAL, "same")
    assert await closing(socket) == (4409, "Subscriber for same already exists")


@pytest.mark.parametrize("protocols", [[], ["graphql-ws"], ["x", "y"]])
async def test_another_protocol_closes_with_4406(client: Client, protocols: list[str]) -> None:
    async with client.session.ws_connect(client.url, protocols=protocols) as socket:
        assert await closing(socket) == (4406, "Subprotocol not acceptable")


async def test_the_protocol_is_found_among_others(client: Client) -> None:
    async with client.session.ws_connect(client.url, protocols=["graphql-ws", PROTOCOL]) as socket:
        assert socket.protocol == PROTOCOL


async def test_pings_are_answered_with_what_they_carry_at_any_time(client: Client) -> None:
    async with client.socket(init=False) as socket:
        await socket.send_json({"type": "ping"})
        assert await socket.receive_json() == {"type": "pong"}
        await socket.send_json({"type": "ping", "payload": {"a": 1}})
        assert await socket.receive_json() == {"type": "pong", "payload": {"a": 1}}
        await socket.send_json({"type": "pong"})
        await socket.send_json({"type": "connection_init", "payload": {"x": 1}})
        assert (await socket.receive_json())["type"] == "connection_ack"


async def test_an_idle_connection_is_kept_alive_and_a_dead_one_ended(tmp_path: Path) -> None:
    process = await start("--demo", "--port", "0", cwd=tmp_path, HEARTBEAT_SECONDS="0.2")
    try:
        url = await address_of(process)
        async with aiohttp.ClientSession() as session, asyncio.timeout(10):
            connect = session.ws_connect(f"{url}/graphql", protocols=[PROTOCOL], autoping=False)
            async with connect as socket:
                await socket.send_json({"type": "connection_init"})
                assert (await socket.receive_json())["type"] == "connection_ack"
                for _ in range(3):
                    message = await socket.receive()
                    assert message.type is aiohttp.WSMsgType.PING
                    await socket.pong(message.data)
                assert (await socket.receive()).type is aiohttp.WSMsgType.PING
                assert (await closing(socket))[0] == 1011
    finally:
        process.terminate()
        await process.wait()


async def test_operations_run_beside_each_other(demo: Graph, socket: Socket) -> None:
    demo.simulators.ondo.inject(Fault("hang"))
    await subscribe(socket, TOTAL, "slow")
    await subscribe(socket, NAME, "quick")
    assert (await socket.receive_json())["id"] == "quick"


async def test_an_operation_that_its_client_ends_is_cancelled(demo: Graph, socket: Socket) -> None:
    def cancelled() -> float:
        labels = {"operation": "anonymous", "type": "query", "outcome": "CANCELLED"}
        return REGISTRY.get_sample_value("walletgraph_operations_total", labels) or 0

    before = cancelled()
    demo.simulators.ondo.inject(Fault("hang"))
    await subscribe(socket, TOTAL)
    async with asyncio.timeout(10):
        while not demo.simulators.ondo.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await socket.send_json({"id": "1", "type": "complete"})
        await socket.send_json({"id": "unknown", "type": "complete"})
        while cancelled() == before:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await subscribe(socket, NAME)
    assert (await socket.receive_json())["type"] == "next"


async def test_one_connection_has_only_so_many_operations_under_way(demo: Graph) -> None:
    demo.simulators.ondo.inject(Fault("hang"))
    async with client_of_graph(demo, max_operations_per_websocket=3) as client, client.socket() as socket:
        for number in range(5):
            await subscribe(socket, TOTAL, str(number))
        refused = [await socket.receive_json() for _ in range(2)]
    assert [message["id"] for message in refused] == ["3", "4"]
    assert {message["payload"][0]["extensions"]["code"] for message in refused} == {"RATE_LIMITED"}


async def test_operations_on_websockets_take_places_as_all_others(demo: Graph) -> None:
    demo.simulators.ondo.inject(Fault("hang"))
    async with (
        client_of_graph(demo, max_operations=1, max_queued_operations=0) as client,
        client.socket() as socket,
    ):
        await subscribe(socket, TOTAL, "slow")
        await subscribe(socket, NAME, "refused")
        message = await socket.receive_json()
        assert (message["id"], message["payload"][0]["extensions"]["code"]) == ("refused", "RATE_LIMITED")
        assert (await client.post({"query": NAME})).status == 503


async def test_only_so_many_are_connected(demo: Graph) -> None:
    async with client_of_graph(demo, max_websockets=1) as client:
        async with client.socket():
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.session.ws_connect(client.url, protocols=[PROTOCOL])
            assert refused.value.status == 503
        async with asyncio.timeout(10):
            while True:
                try:
                    async with client.socket():
                        break
                except aiohttp.WSServerHandshakeError:
                    await asyncio.sleep(0.01)


async def test_who_does_not_read_is_dropped_with_a_word_and_holds_nobody_up(demo: Graph) -> None:
    app = GraphQLApp(demo.upstreams, settings=HttpSettings(send_timeout_seconds=0.1))
    to_server = asyncio.Queue[Message]()
    closed = asyncio.Future[Message]()

    async def send(message: Message) -> None:
        """As servers do it: what is not read holds up whoever sends, a close is still sent."""
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()
        elif message["type"] == "websocket.close":
            closed.set_result(message)

    to_server.put_nowait({"type": "websocket.connect"})
    for text in ({"type": "connection_init"}, *({"type": "ping"} for _ in range(1_000))):
        to_server.put_nowait({"type": "websocket.receive", "text": json.dumps(text)})
    scope = {"type": "websocket", "path": "/", "headers": [], "subprotocols": [PROTOCOL], "query_string": b""}
    async with client_of(app) as client, client.socket() as other, asyncio.timeout(10):
        serving = asyncio.create_task(app(scope, to_server.get, send))
        await subscribe(other, NAME)
        assert (await other.receive_json())["type"] == "next"
        assert ((await closed)["code"], (await closed)["reason"]) == (1013, "Messages are not read in time")
        await serving
        assert to_server.qsize() > 900  # nor is it read from meanwhile


async def test_what_runs_ends_and_then_the_connection_when_the_server_stops(demo: Graph) -> None:
    app = GraphQLApp(demo.upstreams, settings=HttpSettings())
    demo.simulators.ondo.inject(Fault("delay", seconds=0.3))
    async with client_of(app) as client, client.socket() as socket:
        await subscribe(socket, TOTAL)
        async with asyncio.timeout(10):
            while not demo.simulators.ondo.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            draining = asyncio.create_task(app.drain())
            await asyncio.sleep(0.01)
            await subscribe(socket, TOTAL, "late")
            assert (await socket.receive_json())["type"] == "next"
            assert (await socket.receive_json())["type"] == "complete"
            assert (await closing(socket))[0] == 1012
            await draining


async def test_results_over_a_websocket_are_those_over_http(client: Client, socket: Socket) -> None:
    await subscribe(socket, TOTAL)
    payload = (await socket.receive_json())["payload"]
    assert json.dumps(payload) == json.dumps((await client.post({"query": TOTAL})).json)
