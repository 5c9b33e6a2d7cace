"""GraphQL over HTTP: what a request may look like, and what its answer says."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from tests.graph import Graph
from tests.http.client import GRAPHQL, JSON, Client, client_of_graph
from tests.service import EVM, TOTAL

BAD_ID = '{ nodes(ids: ["Chain:eip155:1", "nothing"]) { id } }'
WITH_VARIABLE = "query ($a: AccountAddress!) { wallet(address: $a) { address } }"
SUBSCRIPTION = f'subscription {{ walletChanged(address: "{EVM}") {{ at }} }}'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": WITH_VARIABLE, "variables": {"a": "0x12"}}, "BAD_USER_INPUT"),
        ({"query": WITH_VARIABLE}, "BAD_USER_INPUT"),
    ],
)
async def test_a_request_that_cannot_run_has_a_status_by_media_type_and_no_data(
    client: Client, body: dict[str, Any], code: str
) -> None:
    for accept, status in ((GRAPHQL, 400), (JSON, 200)):
        answer = await client.post(body, accept=accept)
        assert (answer.status, answer.content_type, answer.codes) == (status, accept, [code])
        assert "data" not in answer.json


async def test_a_field_that_fails_is_no_failed_request(client: Client) -> None:
    answer = await client.post({"query": BAD_ID}, accept=GRAPHQL)
    assert (answer.status, answer.codes) == (200, ["BAD_USER_INPUT"])
    assert answer.json["data"] == {"nodes": [{"id": "Chain:eip155:1"}, None]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'"x"', 400),
        (b"null", 400),
        (b"1", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"query": NaN}', 400),
        (b"[" * 100_000, 400),
        (b'{"query": 1}', 400),
        (b'{"query": "{__typename}", "variables": []}', 400),
        (b'{"query": "{__typename}", "variables": "{}"}', 400),
        (b'{"query": "{__typename}", "operationName": {}}', 400),
        (b'{"query": "{__typename}", "extensions": 1}', 400),
        (b"{}", 400),
        (b'{"query": null}', 400),
        (b'{"query": ""}', 400),
        (b'{"query": "{__typename}", "variables": null, "operationName": null, "more": 1}', 200),
    ],
)
async def test_a_body_that_is_no_request_is_refused_in_words(client: Client, body: bytes, status: int) -> None:
    answer = await client.send("POST", body=body, accept=JSON, content_type=JSON)
    assert answer.status == status
    if status == 400:
        assert answer.codes == ["BAD_USER_INPUT"]
        assert answer.header("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('Application/JSON;charset="UTF-8"', 200),
        ("application/json; charset=iso-8859-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonx", 415),
        (None, 415),
    ],
)
async def test_a_body_is_json_in_utf_8_and_says_so(client: Client, content_type: str | None, status: int) -> None:
    headers = {} if content_type is None else {"content_type": content_type}
    answer = await client.send("POST", body=b'{"query": "{__typename}"}', **headers)
    assert answer.status == status


async def test_a_compressed_body_is_refused_not_unpacked(client: Client) -> None:
    body = gzip.compress(b'{"query": "{__typename}"}')
    answer = await client.send("POST", body=body, content_type=JSON, content_encoding="gzip")
    assert answer.status == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_told_which_there_are(client: Client, method: str) -> None:
    answer = await client.send(method)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, POST")


async def test_a_query_by_get_answers_as_by_post(client: Client) -> None:
    posted = await client.post({"query": WITH_VARIABLE, "variables": {"a": EVM}})
    got = await client.get(query=WITH_VARIABLE, variables=json.dumps({"a": EVM}), operationName="", extensions="{}")
    assert got.json == posted.json
    assert got.status == 200


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?query=",
        "?query={__typename}&query={__typename}",
        "?query={__typename}&variables=x",
        "?query={__typename}&variables=[]",
        "?query={__typename}&extensions=1",
    ],
)
async def test_a_query_string_that_is_no_request_is_refused_in_words(client: Client, query: str) -> None:
    answer = await client.send("GET", query=query, accept=JSON)
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])


async def test_the_head_of_an_answer_is_that_of_its_get(client: Client) -> None:
    got = await client.get(query="{__typename}")
    head = await client.send("HEAD", query="?query={__typename}", accept=JSON)
    assert (head.status, head.text) == (200, "")
    assert head.header("content-type") == got.header("content-type")


@pytest.mark.parametrize("accept", ["image/png", "text/html", "*/*;q=0"])
async def test_who_takes_none_of_our_media_types_is_told_which_there_are(client: Client, accept: str) -> None:
    answer = await client.post({"query": "{__typename}"}, accept=accept)
    assert answer.status == 406
    assert "application/graphql-response+json" in answer.json["errors"][0]["message"]


async def test_a_subscription_without_a_stream_is_told_how_to_get_one(client: Client) -> None:
    answer = await client.post({"query": SUBSCRIPTION})
    assert (answer.status, answer.codes) in [(406, ["BAD_USER_INPUT"]), (200, ["GRAPHQL_VALIDATION_FAILED"])]


async def test_a_batch_is_answered_in_its_order_each_operation_for_itself(client: Client) -> None:
    answer = await client.post([{"query": "{__typename}"}, {"query": "{"}, {"query": TOTAL}])
    first, second, third = answer.json
    assert answer.status == 200
    assert first["data"] == {"__typename": "Query"}
    assert second["errors"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
    assert third["data"]["wallet"]["total"]["valueUsd"] is not None


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        ([], "BAD_USER_INPUT"),
        ([{"query": "{__typename}"}] * 4, "OPERATION_TOO_LARGE"),
        ([[{"query": "{__typename}"}]], "BAD_USER_INPUT"),
        ([{"query": "{__typename}"}, 1], "BAD_USER_INPUT"),
    ],
)
async def test_a_batch_has_a_maximum_and_no_odd_items(demo: Graph, batch: list[Any], code: str) -> None:
    async with client_of_graph(demo, max_batch_operations=3) as client:
        answer = await client.post(batch)
    assert (answer.status, answer.codes) == (400, [code])
    assert demo.simulators.requests() == []


async def test_large_answers_are_compressed_for_who_takes_that(client: Client) -> None:
    query = f'{{ wallet(address: "{EVM}") {{ holdings {{ nodes {{ id amount token {{ name assetId }} }} }} }} }}'
    packed = await client.post({"query": query}, accept_encoding="gzip")
    plain = await client.post({"query": query}, accept_encoding="identity")
    assert packed.header("content-encoding") == "gzip"
    assert plain.header("content-encoding") is None
    assert packed.json["data"] == plain.json["data"]
    assert "accept-encoding" in (packed.header("vary") or "").lower()
    assert "accept-encoding" in (plain.header("vary") or "").lower()


async def test_letters_that_are_none_come_back_as_they_came(client: Client) -> None:
    answer = await client.post({"query": WITH_VARIABLE, "variables": {"a": "\ud800"}})
    assert answer.codes == ["BAD_USER_INPUT"]


async def test_a_request_that_ends_early_takes_nothing_with_it(client: Client) -> None:
    host, port = client.url.removeprefix("http://").rstrip("/").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
    await writer.drain()
    writer.close()
    assert (await client.post({"query": "{__typename}"})).status == 200
