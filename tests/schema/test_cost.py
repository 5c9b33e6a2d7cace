"""What an operation would cost is known before anything is asked, and before its variables are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse
from hypothesis import given
from hypothesis import strategies as st

from schema import Limits, schema
from schema.cost import READING, SOME, check_variables, cost_of
from schema.documents import Documents, RefusedError
from schema.limits import TooLargeError
from tests.graph import Graph
from tests.schema.hostile import ADDRESS

LEAVES = "id amount rawAmount valueUsd valueStatus amountSource valueSource agreement accountId __typename"
WALLETS = (
    "query ($a: [AccountAddress!]!, $first: Int) { wallets(addresses: $a) { holdings(first: $first) { nodes {"
    + LEAVES
    + "} } } }"
)


def cost(text: str, variables: Mapping[str, Any] | None = None) -> int:
    document = parse(text)
    (operation,) = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    return cost_of(schema._schema, document, operation).of(variables or {})


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("{ chains { id } }", {}, 1 + SOME),
        ('{ chain(chainId: "x") { id name sources } }', {}, 1 + 3),
        ("{ tokens(assetIds: [1, 2, 3]) { symbol name } }", {}, 1 + 3 * 2),
        ("{ tokens(assetIds: []) { symbol } }", {}, 1),
        ("{ tokens(assetIds: 1) { symbol } }", {}, 1 + 1),
        ("query ($a: [ID!]!) { nodes(ids: $a) { id } }", {"a": list("abcd")}, 1 + 4),
        ("query ($a: [ID!]! = [1, 2]) { nodes(ids: $a) { id } }", {}, 1 + 2),
        ("query ($a: ID!) { nodes(ids: [$a, $a]) { id } }", {"a": ["x"] * 9}, 1 + 2),
        ("query ($a: [_Any!]!) { _entities(representations: $a) { ... on Token { id } } }", {"a": [{}] * 7}, 1 + 7),
        ("{ wallet(address: 1) { holdings { nodes { id } totalCount } } }", {}, 1 + READING + 1 + 50 + 1),
        ("{ wallet(address: 1) { holdings(first: 3) { edges { cursor node { id } } } } }", {},
            1 + READING + 1 + 3 * 3),
        ("{ wallet(address: 1) { holdings(last: 7) { nodes { id } } } }", {}, 1 + READING + 1 + 7),
        ("{ wallet(address: 1) { holdings(first: 999999) { nodes { id } } } }", {}, 1 + READING + 1 + 200),
        ("{ wallet(address: 1) { holdings(first: -4) { nodes { id } } } }", {}, 1 + READING + 1),
        ("{ wallet(address: 1) { holdings(first: null) { ...F } } } fragment F on HoldingConnection { nodes { id } }",
            {}, 1 + READING + 1 + 50),
        ("{ portfolio(addresses: [1, 2]) { wallets { holdings(first: 3) { nodes { id } } } } }", {},
            1 + 1 + 2 * (READING + (1 + 3))),
        ("{ wallet(address: 1) { byChain { total { valueUsd missingSources } } } }", {}, 1 + READING + SOME * 3),
        ("{ portfolio(addresses: [1, 2]) { total { valueUsd } holdings(first: 3) { nodes { id } } } }", {},
            1 + 2 * (READING + READING) + 1 + (1 + 3)),
        ("query ($n: Int) { wallet(address: 1) { holdings(first: $n) { nodes { id } } } }", {"n": 200.0},
            1 + READING + 1 + 200),
        ("{ token(assetId: 1) { group { members { group { members { id } } } } } }", {},
            1 + 1 + 1 + 25 * (1 + 1 + 25)),
        (WALLETS, {"a": ["x"] * 25, "first": 200}, 1 + 25 * (READING + 1 + 200 * 10)),
    ],
)  # fmt: skip
def test_what_operations_cost(text: str, variables: dict[str, Any], expected: int) -> None:
    assert cost(text, variables) == expected


LISTS = st.integers(0, 30).map(lambda length: ["x"] * length)
SELECTIONS = st.recursive(
    st.sampled_from(["id", "namespace"]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda parts: "holdings(first: $n) { nodes { wallet { " + " ".join(parts) + " } } sources { status } }"
    ),
    max_leaves=6,
)


@given(SELECTIONS, LISTS, LISTS, st.integers(0, 200), st.integers(0, 200))
def test_longer_lists_and_larger_pages_never_cost_less(
    body: str, some: list[str], more: list[str], few: int, many: int
) -> None:
    text = f"query ($a: [AccountAddress!]!, $n: Int) {{ wallets(addresses: $a) {{ {body} }} }}"
    few, many = sorted((few, many))
    least = cost(text, {"a": some, "n": few})
    assert least <= cost(text, {"a": some, "n": many})
    assert least <= cost(text, {"a": some + more, "n": few})


@given(st.lists(SELECTIONS, min_size=1, max_size=4), LISTS, st.integers(0, 200))
def test_aliases_add_up_and_fragments_cost_what_is_in_them(bodies: list[str], a: list[str], n: int) -> None:
    head, variables = "query ($a: [AccountAddress!]!, $n: Int)", {"a": a, "n": n}
    fields = [f"a{i}: wallets(addresses: $a) {{ {body} }}" for i, body in enumerate(bodies)]
    whole = cost(f"{head} {{ {' '.join(fields)} }}", variables)
    assert whole == sum(cost(f"{head} {{ {field} }}", variables) for field in fields)
    assert whole == cost(f"{head} {{ ... {{ {' '.join(fields)} }} }}", variables)
    spread = " ".join(f"...F{i}" for i in range(len(fields)))
    fragments = " ".join(f"fragment F{i} on Query {{ {field} }}" for i, field in enumerate(fields))
    assert whole == cost(f"{head} {{ {spread} }} {fragments}", variables)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["a", "n", "other"]), VALUES))
def test_variables_of_any_type_have_a_cost(variables: dict[str, Any]) -> None:
    text = (
        "query ($a: [AccountAddress!]!, $n: Int) { wallets(addresses: $a) { holdings(first: $n) { nodes { id } } } }"
    )
    check_variables(variables, Limits())
    assert cost(text, variables) >= 1


def test_variables_nested_deeper_than_recursion_goes_are_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TooLargeError, match="nesting 51"):
        check_variables({"a": deep}, Limits())
    while deep:  # or its end would be a recursion of its own
        deep = deep.pop()


async def test_an_operation_that_would_cost_too_much_asks_nothing(graph: Graph) -> None:
    observed = WALLETS.replace(
        "id amount", "observations { source amount rawAmount reportedAsset fetchedAt } id amount"
    )
    response = await graph.respond(observed, a=[f"0x{n:040x}" for n in range(25)], first=200)
    (error,) = response["errors"]
    assert response["data"] is None
    asked = 1 + 25 * (READING + 1) + 25 * 200 * 36
    assert error["extensions"] == {
        "code": "OPERATION_TOO_LARGE", "limit": "cost", "asked": asked, "allowed": 100_000,
    }  # fmt: skip
    assert graph.simulators.requests() == []


def test_what_the_contract_allows_is_let_through() -> None:
    documents = Documents(schema._schema, Limits(), introspection=True)
    documents.prepare(WALLETS, None, {"a": [ADDRESS] * 25, "first": 200})
    with pytest.raises(RefusedError, match="cost"):
        documents.prepare(WALLETS, None, {"a": [ADDRESS] * 60, "first": 200})


async def test_a_list_of_50_000_addresses_is_refused_before_it_is_read(graph: Graph) -> None:
    response = await graph.respond(WALLETS, a=["not an address"] * 50_000)
    (error,) = response["errors"]
    assert error["extensions"]["limit"] == "listItems"
    assert "not an address" not in error["message"]
