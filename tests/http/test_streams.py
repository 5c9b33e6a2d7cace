"""Answers in parts: ``@defer`` and ``@stream`` over multipart, subscriptions over SSE and multipart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from graphql import GraphQLError
from graphql.execution import (
    CompletedResult,
    InitialIncrementalExecutionResult,
    PendingResult,
    SubsequentIncrementalExecutionResult,
)
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from loaders.upstream.simulator.base import Fault
from schema.http.app import GraphQLApp
from schema.http.incremental import DeferSpec20220824
from schema.http.results import to_json
from schema.http.settings import HttpSettings
from schema.http.streams import EventStream
from tests.graph import Graph
from tests.http.client import GRAPHQL, JSON, Client, client_of, client_of_graph
from tests.service import EVM, TOTAL

APOLLO = "multipart/mixed;deferSpec=20220824,application/graphql-response+json,application/json;q=0.9"
URQL = f"{GRAPHQL}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed"
CURRENT = "multipart/mixed;incrementalSpec=v0.2,application/graphql-response+json"
MULTIPART_SUBSCRIPTION = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"
EVENTS = "text/event-stream"

FAST = "fast: holdings(filter: {sources: [ONDO_GM]}) { totalCount }"
SLOW = '... @defer(label: "Slow") { sources { source status } total { valueUsd } }'
DEFERRED = f'{{ wallet(address: "{EVM}") {{ {FAST} {SLOW} }} }}'
STREAMED = f'{{ wallet(address: "{EVM}") {{ holdings {{ nodes @stream(initialCount: 1) {{ id amount }} }} }} }}'
WATCH = f'subscription {{ walletChanged(address: "{EVM}", everySeconds: 1) {{ at }} }}'


def without(directive: str, query: str) -> str:
    return query.replace(f'@{directive}(label: "Slow")', "").replace(f"@{directive}(initialCount: 1)", "")


class Parts:
    """The parts of a response, as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.content_type = response.headers["content-type"]
        self._boundary = self.content_type.split("boundary=")[1].split(";")[0].strip('"').encode()
        self._rest = b""

    async def __aiter__(self) -> AsyncIterator[Any]:
        assert (await self._until(b"--" + self._boundary)).strip() == b""
        while True:
            part = await self._until(b"\r\n--" + self._boundary)
            head, _, body = part.partition(b"\r\n\r\n")
            assert b"application/json" in head
            yield json.loads(body)
            while len(self._rest) < 2:
                self._rest += await self.response.content.readany()
            if self._rest.startswith(b"--"):
                return

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            chunk = await self.response.content.readany()
            assert chunk, "the response ended too early"
            self._rest += chunk
        found, _, self._rest = self._rest.partition(mark)
        return found


@asynccontextmanager
async def asking(client: Client, query: str, accept: str) -> AsyncIterator[aiohttp.ClientResponse]:
    headers = {"accept": accept}
    async with client.session.post(client.url, json={"query": query}, headers=headers) as response:
        assert response.status == 200
        yield response


async def parts_of(client: Client, query: str, accept: str) -> list[Any]:
    async with asking(client, query, accept) as response:
        return [part async for part in Parts(response)]


def merged(parts: list[Any]) -> Any:
    """The whole of it, as a client of either format puts it together."""
    whole, places = parts[0]["data"], dict[str, list[Any]]()
    for part in parts:
        places |= {pending["id"]: pending["path"] for pending in part.get("pending", ())}
        for patch in part.get("incremental", ()):
            path = patch["path"] if "path" in patch else [*places[patch["id"]], *patch.get("subPath", ())]
            if "items" in patch and "path" in patch:
                path, start = path[:-1], path[-1]
            place = whole
            for key in path:
                place = place[key]
            if "items" in patch:
                assert "path" not in patch or start == len(place)
                place.extend(patch["items"])
            else:
                place.update(patch["data"])
    return whole


@pytest.mark.parametrize("accept", [APOLLO, CURRENT, URQL, "multipart/mixed"])
@pytest.mark.parametrize(("directive", "query"), [("defer", DEFERRED), ("stream", STREAMED)])
async def test_the_parts_together_are_the_whole(client: Client, accept: str, directive: str, query: str) -> None:
    parts = await parts_of(client, query, accept)
    assert len(parts) >= 2
    assert [part["hasNext"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert merged(parts) == (await client.post({"query": without(directive, query)})).json["data"]


async def test_the_first_part_does_not_wait_for_a_slow_source(demo: Graph, client: Client) -> None:
    demo.simulators.onebalance.inject(Fault("hang"))  # for five seconds
    async with asking(client, DEFERRED, APOLLO) as response, asyncio.timeout(4):
        first = await anext(aiter(Parts(response)))
    assert first["data"]["wallet"]["fast"]["totalCount"] > 0
    assert first["data"]["wallet"].keys() == {"fast"}


async def test_each_client_gets_the_format_that_it_names(client: Client) -> None:
    async with asking(client, DEFERRED, CURRENT) as response:
        current = [part async for part in Parts(response)]
        assert "incrementalSpec=v0.2" in response.headers["content-type"]
    assert current[0]["pending"] == [{"id": "0", "path": ["wallet"], "label": "Slow"}]
    for accept in (APOLLO, URQL):
        async with asking(client, DEFERRED, accept) as response:
            by_path = [part async for part in Parts(response)]
            assert "deferSpec=20220824" in response.headers["content-type"]
        assert {key for part in by_path for key in part} <= {"data", "incremental", "hasNext", "extensions"}


@pytest.mark.parametrize("accept", [JSON, GRAPHQL, EVENTS])
@pytest.mark.parametrize(("directive", "query"), [("defer", DEFERRED), ("stream", STREAMED)])
async def test_who_takes_no_parts_gets_the_whole_at_once(
    client: Client, accept: str, directive: str, query: str
) -> None:
    whole = (await client.post({"query": without(directive, query)})).json["data"]
    answer = await client.post({"query": query}, accept=accept)
    if accept == EVENTS:
        ((_, result),) = [event for event in events(answer.text) if event[0] == "next"]
        assert result == {"data": whole}
    else:
        assert answer.json["data"] == whole


async def test_what_is_not_deferred_after_all_is_one_json_answer(client: Client) -> None:
    query = f'query ($d: Boolean!) {{ wallet(address: "{EVM}") {{ ... @defer(if: $d) {{ address }} }} }}'
    answer = await client.post({"query": query, "variables": {"d": False}}, accept=APOLLO)
    assert (answer.content_type, answer.json) == (GRAPHQL, {"data": {"wallet": {"address": EVM}}})


@pytest.mark.parametrize("query", ["{ wallet { ... @defer { id } } }", "{ ... @defer { nothing } }"])
async def test_an_operation_that_cannot_run_is_no_stream(client: Client, query: str) -> None:
    answer = await client.post({"query": query}, accept=APOLLO)
    assert (answer.status, answer.content_type) == (400, GRAPHQL)


def events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        fields = dict(line.partition(":")[::2] for line in lines)
        if fields:
            data = fields["data"].strip()
            found.append((fields["event"].strip(), json.loads(data) if data else None))
    return found


async def test_an_event_stream_has_the_result_and_its_end(client: Client) -> None:
    for accept in (EVENTS, "text/event-stream, application/json;q=0.5"):
        answer = await client.post({"query": TOTAL}, accept=accept)
        assert answer.content_type == EVENTS
        (_, result), end = events(answer.text)
        assert result == (await client.post({"query": TOTAL})).json
        assert end == ("complete", None)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ('subscription { walletChanged(address: "0x12") { at } }', "BAD_USER_INPUT"),
        (WATCH.replace("1)", "0)"), "BAD_USER_INPUT"),
    ],
)
async def test_an_event_stream_tells_what_is_wrong_and_ends(client: Client, query: str, code: str) -> None:
    answer = await client.post({"query": query}, accept=EVENTS)
    (name, result), end = events(answer.text)
    assert (name, result["errors"][0]["extensions"]["code"], end[0]) == ("next", code, "complete")
    assert "data" not in result


async def test_a_client_that_merely_lists_event_streams_gets_json(client: Client) -> None:
    assert (await client.post({"query": TOTAL}, accept=URQL)).content_type == GRAPHQL
    assert (await client.get(query=TOTAL, accept=URQL)).content_type == GRAPHQL


def open_subscriptions(transport: str) -> float:
    return REGISTRY.get_sample_value("walletgraph_subscriptions", {"transport": transport}) or 0


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def results_of(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    """The results of a subscription by either transport."""
    if response.content_type == EVENTS:
        text = ""
        while True:
            text += (await response.content.readany()).decode()
            *whole, text = text.split("\n\n")
            for _, result in events("\n\n".join(whole)):
                yield result
    else:
        async for part in Parts(response):
            if part:
                yield part["payload"]


@pytest.mark.parametrize("accept", [EVENTS, MULTIPART_SUBSCRIPTION])
async def test_a_subscription_tells_of_what_changed_alone(demo: Graph, accept: str) -> None:
    query = WATCH.replace("{ at }", "{ changed { amount token { symbol } } removedIds }")
    async with (
        client_of_graph(demo, watch_floor_seconds=1) as client,
        asking(client, query, accept) as response,
        asyncio.timeout(10),
    ):
        await until(lambda: len(demo.simulators.onebalance.requests) >= 2)  # the register, and the balances
        await asyncio.sleep(0.2)
        demo.simulators.ondo.dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="99")
        result = await anext(results_of(response))
    changed = [{"amount": "99", "token": {"symbol": "AAPLon"}}]
    assert result == {"data": {"walletChanged": {"changed": changed, "removedIds": []}}}


@pytest.mark.parametrize(("accept", "transport"), [(EVENTS, "sse"), (MULTIPART_SUBSCRIPTION, "multipart")])
async def test_an_idle_subscription_is_kept_alive_until_its_client_leaves(
    demo: Graph, accept: str, transport: str
) -> None:
    async with client_of_graph(demo, heartbeat_seconds=0.05, watch_floor_seconds=1) as client:
        async with asking(client, WATCH, accept) as response:
            beats = b""
            while beats.count(b":\n\n") < 4 and beats.count(b"{}") < 3:
                beats += await response.content.readany()
            assert open_subscriptions(transport) == 1
        await until(lambda: open_subscriptions(transport) == 0)


async def test_subscriptions_are_many_but_not_without_end(demo: Graph) -> None:
    async with client_of_graph(demo, max_subscriptions=1, watch_floor_seconds=1) as client:
        async with asking(client, WATCH, EVENTS), client.socket() as socket:
            refused = await client.post({"query": WATCH}, accept=EVENTS)
            assert (refused.status, refused.codes) == (503, ["RATE_LIMITED"])
            await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": WATCH}})
            assert (await socket.receive_json())["type"] == "error"
            assert (await client.post({"query": TOTAL})).status == 200
        await until(lambda: open_subscriptions("sse") == 0)


async def test_subscriptions_take_no_place_of_what_runs(demo: Graph) -> None:
    async with (
        client_of_graph(demo, max_operations=1, max_queued_operations=0, watch_floor_seconds=1) as client,
        asking(client, WATCH, EVENTS),
        asking(client, WATCH, EVENTS),
    ):
        assert (await client.post({"query": TOTAL})).status == 200


async def test_streams_end_without_a_last_word_when_the_server_stops_so_that_clients_come_back(demo: Graph) -> None:
    app = GraphQLApp(demo.upstreams, settings=HttpSettings(watch_floor_seconds=1))
    async with client_of(app) as client, asking(client, WATCH, EVENTS) as response:
        await app.drain()
        async with asyncio.timeout(10):
            assert b"complete" not in await response.content.read()
        refused = await client.post({"query": WATCH}, accept=EVENTS)
        assert refused.status == 503


async def test_who_does_not_take_what_is_sent_is_dropped(demo: Graph) -> None:
    app = GraphQLApp(demo.upstreams, settings=HttpSettings(send_timeout_seconds=0.1, heartbeat_seconds=0.01))
    asked = [{"type": "http.request", "body": json.dumps({"query": WATCH}).encode(), "more_body": False}]

    async def receive() -> Any:
        while not asked:
            await asyncio.Event().wait()
        return asked.pop()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    headers = [(b"content-type", b"application/json"), (b"accept", b"text/event-stream")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    async with asyncio.timeout(10):
        await app(scope, receive, send)
    assert open_subscriptions("sse") == 0
    await app.close()


@given(st.text())
def test_whatever_a_text_holds_an_event_stays_one_event(text: str) -> None:
    frame = EventStream().frame(to_json({"data": text})).decode()
    assert events(frame) == [("next", {"data": text})]


async def test_what_runs_is_sent_to_its_end_when_the_server_stops(demo: Graph) -> None:
    app = GraphQLApp(demo.upstreams)
    demo.simulators.onebalance.inject(Fault("delay", seconds=0.3))
    async with client_of(app) as client:
        async with asking(client, DEFERRED, APOLLO) as response:
            parts = aiter(Parts(response))
            await anext(parts)
            await app.close()
            last = [part async for part in parts][-1]
        assert last["hasNext"] is False
        event_stream = await client.post({"query": TOTAL}, accept=EVENTS)
        assert events(event_stream.text)[-1] == ("complete", None)


async def test_who_reads_slowly_holds_no_place(demo: Graph) -> None:
    async with client_of_graph(demo, max_operations=1, max_queued_operations=0) as client:
        demo.simulators.onebalance.inject(Fault("delay", seconds=0.2))
        async with asking(client, DEFERRED, APOLLO) as response:
            first = await anext(aiter(Parts(response)))
            assert first["hasNext"]
            assert (await client.post({"query": TOTAL})).status == 503  # while it executes
            await asyncio.sleep(0.5)
            assert (await client.post({"query": TOTAL})).status == 200  # though its last part was not read
            assert await response.content.read()


def test_a_list_that_breaks_off_is_told_by_its_next_index() -> None:
    format = DeferSpec20220824()
    pending = [PendingResult("0", ["items"])]
    format.write(InitialIncrementalExecutionResult({"items": [1, 2]}, None, pending=pending, has_next=True))
    completed = [CompletedResult("0", [GraphQLError("broken")])]
    written = format.write(SubsequentIncrementalExecutionResult(False, completed=completed))
    assert written == {
        "hasNext": False,
        "incremental": [{"items": None, "errors": [{"message": "broken"}], "path": ["items", 2]}],
    }


async def test_a_fault_after_the_first_part_is_the_last_part(
    demo: Graph, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = demo.schema.stream

    async def breaking(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
        results = await stream(*arguments, **options)

        async def first_and_fault() -> AsyncIterator[Any]:
            async with aclosing(results):
                yield await anext(results)
                raise ZeroDivisionError

        return first_and_fault()

    monkeypatch.setattr(demo.schema, "stream", breaking)
    *_, last = await parts_of(client, DEFERRED, APOLLO)
    assert (last["hasNext"], last["errors"][0]["extensions"]["code"]) == (False, "INTERNAL_SERVER_ERROR")
