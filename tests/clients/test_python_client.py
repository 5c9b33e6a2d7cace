"""gql, the client of Python, against the mounted graph: over HTTP and over WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from graphql import build_schema, print_type

from schema.http.authentication import ApiKeys, Authenticator
from tests.clients.stage import stage
from tests.schema.test_schema import PRINTED
from tests.service import EVM

TOTAL = """query Total($address: AccountAddress!) {
  wallet(address: $address) { address total { valueUsd complete } }
}"""
NO_SUCH_PAGE = """query NoSuchPage($address: AccountAddress!) {
  chains { id }
  wallet(address: $address) { id holdings(after: "nowhere") { totalCount } }
}"""
DEFERRED = """query Deferred($address: AccountAddress!) {
  wallet(address: $address) { id ... @defer { total { valueUsd } } }
}"""
CHANGES = """subscription Changes($address: AccountAddress!, $everySeconds: Int! = 60) {
  walletChanged(address: $address, everySeconds: $everySeconds) { changed { id amount } removedIds at }
}"""


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with stage() as url:
        yield url


@pytest.fixture(params=["http", "websocket"])
def client(request: pytest.FixtureRequest, url: str) -> Client:
    if request.param == "http":
        return Client(transport=AIOHTTPTransport(url=url))
    return Client(transport=_over_websocket(url))


def _over_websocket(url: str) -> WebsocketsTransport:
    return WebsocketsTransport(url=url.replace("http", "ws"))


def _request(document: str, **variables: Any) -> GraphQLRequest:
    return GraphQLRequest(document, variable_values=variables)


async def test_a_query_with_variables_is_answered(client: Client) -> None:
    async with client as session:
        answer = await session.execute(_request(TOTAL, address=EVM))
    assert answer["wallet"]["address"] == EVM
    assert answer["wallet"]["total"]["valueUsd"] is not None


async def test_what_cannot_be_executed_says_why_and_the_next_operation_runs(client: Client) -> None:
    async with client as session:
        with pytest.raises(TransportQueryError) as refused:
            await session.execute(_request("{ chains { nickname } }"))
        assert _codes(refused.value) == ["GRAPHQL_VALIDATION_FAILED"]
        with pytest.raises(TransportQueryError) as refused:
            await session.execute(_request(TOTAL, address="0x12"))
        assert _codes(refused.value) == ["BAD_USER_INPUT"]
        assert (await session.execute(_request(TOTAL, address=EVM)))["wallet"]["address"] == EVM


async def test_a_fields_error_stands_beside_the_data_of_the_others(client: Client) -> None:
    async with client as session:
        with pytest.raises(TransportQueryError) as failed:
            await session.execute(_request(NO_SUCH_PAGE, address=EVM))
    assert _codes(failed.value) == ["BAD_USER_INPUT"]
    assert failed.value.data is not None
    assert failed.value.data["wallet"] is None
    assert failed.value.data["chains"]


async def test_a_client_that_takes_no_parts_gets_deferred_fields_in_one(client: Client) -> None:
    async with client as session:
        answer = await session.execute(_request(DEFERRED, address=EVM))
    assert answer["wallet"]["total"]["valueUsd"] is not None


async def test_operations_go_in_one_batch(url: str) -> None:
    async with Client(transport=AIOHTTPTransport(url=url)) as session:
        total, chains = await session.execute_batch([_request(TOTAL, address=EVM), _request("{ chains { id } }")])
    assert total["wallet"]["address"] == EVM
    assert chains["chains"]


async def test_the_schema_that_tools_download_is_ours(client: Client) -> None:
    client.fetch_schema_from_transport = True
    client.introspection_args = {"specified_by_url": True, "input_value_deprecation": True}
    async with client:
        assert client.schema is not None
        downloaded = client.schema.type_map
    reviewed = build_schema(PRINTED.read_text(encoding="utf-8"), assume_valid_sdl=True).type_map
    assert {name: print_type(downloaded[name]) for name in reviewed} == {
        name: print_type(type_) for name, type_ in reviewed.items()
    }


async def test_a_subscription_brings_changes_until_it_is_left(url: str) -> None:
    async with Client(transport=_over_websocket(url)) as session:
        events = session.subscribe(_request(CHANGES, address=EVM, everySeconds=1))
        first = asyncio.ensure_future(anext(events))
        async with asyncio.timeout(5):
            while not await _asked(url):  # noqa: ASYNC110  # what is awaited happens elsewhere
                await asyncio.sleep(0.02)
            await _move(url, "51")
            event = await first
        assert [holding["amount"] for holding in event["walletChanged"]["changed"]] == ["51"]
        await events.aclose()
        answer = await session.execute(_request(TOTAL, address=EVM))
    assert answer["wallet"]["address"] == EVM
    before = await _asked(url)
    await asyncio.sleep(1.2)
    assert await _asked(url) == before


async def test_a_subscription_that_is_refused_says_why(url: str) -> None:
    async with Client(transport=_over_websocket(url)) as session:
        with pytest.raises(TransportQueryError) as refused:
            await anext(session.subscribe(_request(CHANGES, address="0x12")))
    assert _codes(refused.value) == ["BAD_USER_INPUT"]


async def test_a_client_is_known_by_its_key() -> None:
    key, setting = ApiKeys.new("tests")
    credential = {"x-api-key": key}
    async with stage(authenticator=Authenticator(ApiKeys.parse(setting))) as url:
        for transport in (
            AIOHTTPTransport(url=url, headers=credential),
            WebsocketsTransport(url=url.replace("http", "ws"), init_payload=credential),
        ):
            async with Client(transport=transport) as session:
                assert (await session.execute(_request("{ chains { id } }")))["chains"]
        async with Client(transport=AIOHTTPTransport(url=url)) as session:
            with pytest.raises(TransportQueryError) as refused:
                await session.execute(_request("{ chains { id } }"))
    assert _codes(refused.value) == ["UNAUTHENTICATED"]


def _codes(error: TransportQueryError) -> list[str]:
    return [found["extensions"]["code"] for found in error.errors or ()]


async def _asked(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(urljoin(url, "/upstreams/asked")) as response:
        return int(await response.text())


async def _move(url: str, balance: str) -> None:
    params = {"balance": balance}
    async with aiohttp.ClientSession() as session, session.post(urljoin(url, "/upstreams/moved"), params=params):
        pass
