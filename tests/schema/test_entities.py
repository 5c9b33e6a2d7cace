"""References of federation gateways: each is answered for itself, all of them for the price of one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.upstream.simulator.demo import demo_upstreams
from tests.failures.household import AAPL, ETH, EVM, SOLANA, USDC, USDC_ACCOUNTS
from tests.graph import KEPT, Graph, Simulators, open_graph
from tests.test_requests import balance_requests

KEYS = """query ($r: [_Any!]!) { _entities(representations: $r) {
  __typename
  ... on Wallet { id address namespace }
  ... on Token { id assetId chain { id chainId namespace } }
  ... on Chain { id chainId }
  ... on Holding { id accountId wallet { id address } chain { chainId } }
  ... on AssetGroup { id groupId }
} }"""
TOKEN = "... on Token { symbol decimals price { usd } group { groupId } }"
HOLDING = f"Holding:eip155:1:{EVM}/slip44:60"
GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"__typename": "Wallet", "address": EVM}, {"__typename": "Wallet", "address": EVM}),
    ({"__typename": "Wallet", "id": f"Wallet:{SOLANA}"}, {"__typename": "Wallet", "address": SOLANA}),
    ({"__typename": "Token", "assetId": ETH}, {"__typename": "Token", "assetId": ETH}),
    ({"__typename": "Token", "id": f"Token:{USDC}", "assetId": USDC}, {"__typename": "Token", "assetId": USDC}),
    ({"__typename": "Chain", "chainId": "ethereum-1"}, {"__typename": "Chain", "chainId": "eip155:1"}),
    ({"__typename": "Chain", "id": "Chain:eip155:56"}, {"__typename": "Chain", "chainId": "eip155:56"}),
    ({"__typename": "Holding", "id": HOLDING}, {"__typename": "Holding", "id": HOLDING}),
    ({"__typename": "AssetGroup", "groupId": "ob:usdc"}, {"__typename": "AssetGroup", "groupId": "ob:usdc"}),
]
BAD: list[tuple[Any, str]] = [
    ({"__typename": "Nothing", "id": "1"}, "__typename"),
    ({"__typename": "Query"}, "__typename"),
    ({"__typename": "Portfolio", "id": "1"}, "__typename"),
    ({"__typename": ["Wallet"], "address": EVM}, "__typename"),
    ({"__typename": None, "address": EVM}, "__typename"),
    ({"address": EVM}, "__typename"),
    (7, "not an object"),
    ("Wallet", "not an object"),
    ([{"__typename": "Wallet"}], "not an object"),
    ({"__typename": "Wallet"}, "without a key: id or address"),
    ({"__typename": "Wallet", "address": None}, "without a key: id or address"),
    ({"__typename": "Wallet", "address": ""}, "not an address"),
    ({"__typename": "Wallet", "address": 1}, "it is not text"),
    ({"__typename": "Wallet", "address": [EVM]}, "it is not text"),
    ({"__typename": "Token", "assetId": {"a": 1}}, "it is not text"),
    ({"__typename": "Wallet", "id": f"Token:{EVM}"}, "does not begin with Wallet:"),
    ({"__typename": "Wallet", "id": EVM}, "does not begin with Wallet:"),
    ({"__typename": "Wallet", "id": f"Wallet:{SOLANA}", "address": EVM}, "not the id of this address"),
    ({"__typename": "Chain", "chainId": "x"}, "not a chain"),
    ({"__typename": "AssetGroup", "groupId": "usdc"}, "not a group"),
    ({"__typename": "Holding", "id": f"Holding:eip155:1:{SOLANA}/slip44:60"}, "cannot live"),
]


async def entities(graph: Graph, query: str, representations: list[Any]) -> dict[str, Any]:
    return await graph.respond(query, r=representations)


async def test_keys_alone_cost_nothing_upstream(demo: Graph) -> None:
    response = await entities(demo, KEYS, [reference for reference, _ in GOOD])
    assert response["errors"] == []
    for found, (_, expected) in zip(response["data"]["_entities"], GOOD, strict=True):
        assert expected.items() <= found.items()
    assert demo.simulators.requests() == []


@pytest.mark.parametrize(("bad", "reason"), BAD)
async def test_a_reference_that_cannot_be_is_null_with_its_reason_and_the_others_stay(
    demo: Graph, bad: Any, reason: str
) -> None:
    good = {"__typename": "Wallet", "address": EVM}
    response = await entities(demo, KEYS, [good, bad, good])
    first, second, third = response["data"]["_entities"]
    assert (second, first) == (None, third)
    assert first["address"] == EVM
    (error,) = response["errors"]
    assert error["path"] == ["_entities", 1]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert reason in error["message"]


async def test_what_does_not_exist_is_null_without_an_error(demo: Graph) -> None:
    unknown = "eip155:1/erc20:0x" + "9" * 40
    query = """query ($r: [_Any!]!) { _entities(representations: $r) {
      ... on Token { symbol } ... on AssetGroup { symbol } ... on Chain { name } } }"""
    missing = [
        {"__typename": "Token", "assetId": unknown},
        {"__typename": "AssetGroup", "groupId": "ob:nothing"},
        {"__typename": "Chain", "chainId": "eip155:987654321"},
    ]
    response = await entities(demo, query, missing)
    assert (response["data"]["_entities"], response["errors"]) == ([None] * 3, [])


async def test_what_a_gateway_needs_for_other_fields_is_left_aside(demo: Graph) -> None:
    odd = {"self": 1, "cls": 2, "info": 3, "label": {"a": []}, "namespace": "EIP155", "total": {"valueUsd": "1"}}
    response = await entities(demo, KEYS, [{"__typename": "Wallet", "address": EVM, **odd}])
    assert response["errors"] == []
    assert response["data"]["_entities"][0]["address"] == EVM


@pytest.mark.parametrize(
    "fields",
    [
        "... on HoldingsView { total { holdingCount } }",
        "... on Wallet { ... on HoldingsView { total { holdingCount } } }",
        "... on Node { ... on HoldingsView { ...V } }",
        "...V",
    ],
)
async def test_a_field_is_found_by_whatever_name_its_type_goes(demo: Graph, fields: str) -> None:
    query = f"query ($r: [_Any!]!) {{ _entities(representations: $r) {{ {fields} }} }}"
    query += " fragment V on HoldingsView { total { holdingCount } }" if "...V" in fields else ""
    response = await entities(demo, query, [{"__typename": "Wallet", "address": EVM}])
    assert response["errors"] == []
    assert response["data"]["_entities"][0]["total"]["holdingCount"] > 0


async def test_fields_of_one_type_ask_nothing_for_another(demo: Graph) -> None:
    query = """query ($r: [_Any!]!) { _entities(representations: $r) {
      ... on Token { assetId } ...W } } fragment W on Wallet { total { valueUsd } }"""
    await entities(demo, query, [{"__typename": "Token", "assetId": ETH}])
    assert demo.simulators.requests() == []


async def requests_for(query: str, representations: list[Any]) -> Counter[str]:
    async with open_graph(Simulators(*demo_upstreams()), base=KEPT) as graph:
        response = await entities(graph, query, representations)
        assert response["errors"] == []
        return Counter(request.path for request in graph.simulators.requests())


@pytest.mark.parametrize(
    ("query", "reference"),
    [
        (
            "... on Token { symbol decimals price { usd } group { groupId } }",
            {"__typename": "Token", "assetId": AAPL},
        ),
        ("... on Chain { name sources }", {"__typename": "Chain", "chainId": "eip155:1"}),
        ("... on AssetGroup { symbol members { symbol } }", {"__typename": "AssetGroup", "groupId": "ob:usdc"}),
        ("... on Wallet { total { valueUsd } }", {"__typename": "Wallet", "address": EVM}),
        ("... on Holding { amount valueUsd }", {"__typename": "Holding", "id": HOLDING}),
    ],
)
async def test_a_hundred_references_cost_what_one_costs(query: str, reference: dict[str, str]) -> None:
    query = f"query ($r: [_Any!]!) {{ _entities(representations: $r) {{ {query} }} }}"
    assert await requests_for(query, [reference] * 100) == await requests_for(query, [reference])


async def test_a_hundred_tokens_cost_one_set_of_registers() -> None:
    query = "query ($r: [_Any!]!) { _entities(representations: $r) { ... on Token { symbol price { usd } } } }"
    assets = [f"eip155:1/erc20:0x{number:040x}" for number in range(99)] + [AAPL]
    many = await requests_for(query, [{"__typename": "Token", "assetId": asset} for asset in assets])
    assert many == await requests_for(query, [{"__typename": "Token", "assetId": AAPL}])


async def test_owners_of_solana_are_asked_for_together(demo: Graph) -> None:
    query = """query ($r: [_Any!]!) { _entities(representations: $r) {
      ... on Wallet { holdings(filter: {sources: [SOLANA_SPL], kinds: [SPL]}) { totalCount } } } }"""
    async with open_graph(Simulators.demo(), thegraph_plan="scale") as graph:
        owners = [SOLANA, *USDC_ACCOUNTS]
        response = await entities(graph, query, [{"__typename": "Wallet", "address": owner} for owner in owners])
        assert response["errors"] == []
        assert +balance_requests(graph.simulators) == {"SOLANA_SPL accounts": 1}


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([EVM, SOLANA, ETH, "ob:usdc"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TYPES = ["Wallet", "Token", "Chain", "Holding", "AssetGroup", "Query", "Node"]
REFERENCES = VALUES.filter(lambda value: value is not None) | st.fixed_dictionaries(
    {},
    optional={
        "__typename": st.sampled_from(TYPES) | VALUES,
        **dict.fromkeys(["id", "address", "assetId", "chainId", "groupId"], VALUES),
    },
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(REFERENCES, max_size=6), st.integers(0, 6))
async def test_whatever_stands_beside_a_reference_changes_nothing_in_its_answer(
    demo: Graph, others: list[Any], place: int
) -> None:
    reference, expected = GOOD[place % len(GOOD)]
    references = [*others[:place], reference, *others[place:]]
    response = await entities(demo, KEYS, references)
    found = response["data"]["_entities"]
    assert len(found) == len(references)
    assert expected.items() <= found[min(place, len(others))].items()
    assert {error["extensions"]["code"] for error in response["errors"]} <= {"BAD_USER_INPUT"}
    failed = {error["path"][1] for error in response["errors"]}
    assert failed == {index for index, entity in enumerate(found) if entity is None}
