"""The graph as one of several subgraphs: composed, and asked through a gateway that runs as a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from base58 import b58encode
from graphql import GraphQLObjectType, build_schema

from loaders.upstream.simulator.ondo import OndoAsset
from schema import Schema
from server import GraphQLApp, Settings, create_app
from tests.clients.node import execute
from tests.clients.subgraphs import EXAMPLE, compose, running, skip_without_packages
from tests.graph import Simulators, open_graph
from tests.service import serve
from tests.test_requests import balance_requests

README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@shareable"])'

pytestmark = skip_without_packages(EXAMPLE)


@pytest.fixture(scope="module")
def sdl() -> str:
    """The schema of the subgraph as the example says how to get it."""
    command = re.search(r"^ {4}(uv .*) > walletgraph\.graphql$", README, re.MULTILINE)
    assert command is not None
    return asyncio.run(execute("sh", "-c", command[1], cwd=EXAMPLE))


@asynccontextmanager
async def gateway(folder: Path, url: str, sdl: str, data: Path) -> AsyncIterator[str]:
    """The gateway over the graph at ``url`` and the watchlist with this data."""
    async with running(EXAMPLE / "watchlist.mjs", data, "0") as watchlist:
        subgraphs = {
            "walletgraph": (url, sdl),
            "watchlist": (watchlist, (EXAMPLE / "watchlist.graphql").read_text(encoding="utf-8")),
        }
        async with running(EXAMPLE / "gateway.mjs", await compose(folder, subgraphs), "0") as address:
            yield address


async def ask(url: str, query: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, json={"query": query}) as response:
        return await response.json()  # type: ignore[no-any-return]


def fields_of(supergraph: Path, name: str) -> set[str]:
    found = build_schema(supergraph.read_text(encoding="utf-8"), assume_valid_sdl=True).get_type(name)
    assert isinstance(found, GraphQLObjectType)
    return set(found.fields)


async def test_another_subgraph_may_have_what_every_graph_has(tmp_path: Path, sdl: str) -> None:
    other = f"""{LINK}
        type Query {{ node(id: ID!): Node  notes(first: Int): NoteConnection! }}
        interface Node {{ id: ID! }}
        type Note implements Node @key(fields: "id") {{ id: ID!  text: String!  at: DateTime!  chain: Chain! }}
        type NoteConnection {{ nodes: [Note!]!  pageInfo: PageInfo! }}
        type PageInfo @shareable {{
          hasNextPage: Boolean!  hasPreviousPage: Boolean!  startCursor: String  endCursor: String
        }}
        type Chain @key(fields: "chainId", resolvable: false) {{ chainId: ChainId! }}
        type Holding @key(fields: "id") {{ id: ID!  notes: [Note!]! }}
        type AssetGroup @key(fields: "groupId") {{ groupId: String!  notes: [Note!]! }}
        scalar ChainId
        scalar DateTime"""
    supergraph = await compose(tmp_path, {"walletgraph": ("http://a", sdl), "notes": ("http://b", other)})
    assert {"wallet", "node", "notes"} <= fields_of(supergraph, "Query")
    assert {"amount", "notes"} <= fields_of(supergraph, "Holding")
    assert {"members", "notes"} <= fields_of(supergraph, "AssetGroup")


async def test_the_graph_that_stands_alone_does_not_compose_with_another_node_field(tmp_path: Path) -> None:
    other = f"{LINK} type Query {{ node(id: ID!): Node }} interface Node {{ id: ID! }}"
    subgraphs = {"walletgraph": ("http://a", Schema().as_str()), "other": ("http://b", other)}
    with pytest.raises(AssertionError, match=r'"Query\.node"'):
        await compose(tmp_path, subgraphs)


async def test_the_supergraph_has_every_field_of_the_subgraph_and_none_of_its_directives(
    tmp_path: Path, sdl: str
) -> None:
    supergraph = await compose(tmp_path, {"walletgraph": ("http://a", sdl)})
    subgraph = Schema(subgraph=True)._schema
    for name, found in subgraph.type_map.items():
        if isinstance(found, GraphQLObjectType) and not name.startswith("_"):
            assert fields_of(supergraph, name) == {field for field in found.fields if not field.startswith("_")}
    assert not re.search(r"@(defer|stream|shareable|key)\b", supergraph.read_text(encoding="utf-8"))


async def test_the_query_of_the_example_has_the_answer_of_the_example(tmp_path: Path, sdl: str) -> None:
    query, answer = (re.search(rf"```{language}\n(.*?)```", README, re.DOTALL) for language in ("graphql", "json"))
    assert query is not None
    assert answer is not None
    service = create_app(Settings(demo=True, subgraph=True, _env_file=None))
    async with serve(service) as url, gateway(tmp_path, f"{url}/graphql", sdl, EXAMPLE / "watchlist.json") as address:
        assert await ask(address, query[1]) == {"data": json.loads(answer[1])}


MANY = 60
BAD = 7
STOCKS = [f"eip155:1/erc20:0x{number:040x}" for number in range(1, MANY + 1)]
OWNERS = [b58encode(bytes([number]) * 32).decode() for number in range(1, MANY + 1)]


def with_bad(keys: list[str]) -> list[str]:
    """The keys, and one among them that is none."""
    return [*keys[:BAD], "nonsense", *keys[BAD:]]


@pytest.fixture
def crowd() -> Simulators:
    """Sixty stocks, and sixty owners of as many SOL as their place says."""
    simulators = Simulators.empty()
    for number, asset in enumerate(STOCKS, start=1):
        address = asset.rpartition(":")[2]
        stock = OndoAsset(
            symbol=f"S{number}on", ticker=f"S{number}", name="", addresses={"ethereum-1": address}, price="1"
        )
        simulators.ondo.dataset.add_asset(stock)
    for number, owner in enumerate(OWNERS, start=1):
        simulators.thegraph.dataset.add_native(address=owner, lamports=number * 10**9)
    simulators.thegraph.plan = "scale"
    return simulators


async def test_long_lists_of_another_subgraph_cost_batches_and_a_bad_reference_harms_its_item_alone(
    tmp_path: Path, sdl: str, crowd: Simulators
) -> None:
    data = tmp_path / "watchlist.json"
    watchers = {asset: number for number, asset in enumerate(with_bad(STOCKS))}
    labels = {owner: f"Owner {number}" for number, owner in enumerate(with_bad(OWNERS))}
    data.write_text(json.dumps({"watchers": watchers, "labels": labels}), encoding="utf-8")
    async with open_graph(crowd, thegraph_plan="scale") as graph:
        app = GraphQLApp(graph.upstreams, schema=Schema(subgraph=True))
        async with serve(app) as url, gateway(tmp_path, url, sdl, data) as address:
            response = await ask(
                address,
                """{
                  watchlist { assetId watchers symbol price { usd } }
                  contacts {
                    address label namespace
                    holdings(filter: { sources: [SOLANA_SPL], kinds: [NATIVE] }) { nodes { amount } }
                  }
                }""",
            )
        await app.close()

    watchlist, contacts = response["data"]["watchlist"], response["data"]["contacts"]
    assert watchlist.pop(BAD) == {"assetId": "nonsense", "watchers": BAD, "symbol": None, "price": None}
    assert contacts.pop(BAD) is None  # namespace cannot be null
    assert [(token["assetId"], token["symbol"]) for token in watchlist] == [
        (asset, f"S{number}on") for number, asset in enumerate(STOCKS, start=1)
    ]
    assert [(token["watchers"], token["price"]) for token in watchlist] == [
        (watchers[asset], {"usd": "1"}) for asset in STOCKS
    ]
    assert [(wallet["label"], wallet["holdings"]) for wallet in contacts] == [
        (labels[owner], {"nodes": [{"amount": str(number)}]}) for number, owner in enumerate(OWNERS, start=1)
    ]
    errors = {error["path"][0]: error for error in response["errors"]}
    assert sorted(errors) == ["contacts", "watchlist"]
    assert {error["extensions"]["code"] for error in errors.values()} == {"BAD_USER_INPUT"}

    assert +balance_requests(graph.simulators) == {"SOLANA_SPL native": 3}  # 25 owners each
    registers = [request.path for request in graph.simulators.ondo.requests]
    assert sorted(registers) == ["/v1/assets/all/metadata", "/v1/assets/all/prices/latest"]
