"""However an operation is meant, it costs little to find that it is too large, and what is honest is let through."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    get_introspection_query,
    get_named_type,
    is_leaf_type,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

from schema import Limits, Schema, schema
from schema.documents import Documents, RefusedError
from schema.playground import EXAMPLES
from schema.tokens import tokens_of
from server import Settings
from tests.graph import Graph
from tests.schema.hostile import ADDRESS, DOCUMENTS, VARIABLES, chained, wallet

CODES = {"OPERATION_TOO_LARGE", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"}
PATIENCE_SECONDS = 1.0
"""A guard against what takes for ever; benchmarks/hostile.py measures."""


def refusal(text: str, limits: Limits | None = None, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The extensions of the one error of an operation."""
    documents = Documents(schema._schema, limits or Limits(), introspection=True)
    with pytest.raises(RefusedError) as refused:
        documents.prepare(text, None, variables)
    (error,) = refused.value.errors
    assert str((error.extensions or {}).get("asked")) in error.message
    return dict(error.extensions or {})


def passes(text: str, limits: Limits | None = None, variables: Mapping[str, Any] | None = None) -> None:
    Documents(schema._schema, limits or Limits(), introspection=True).prepare(text, None, variables)


async def test_hostile_operations_are_refused_at_once_or_are_like_any_other(graph: Graph) -> None:
    documents = [(name, text, dict[str, Any]()) for name, text in DOCUMENTS.items()]
    for name, text, variables in [*documents, *((name, *case) for name, case in VARIABLES.items())]:
        started = time.perf_counter()
        try:
            graph.schema.documents.prepare(text, None, variables)
        except RefusedError:
            response = await graph.respond(text, **variables)
            assert response["data"] is None, name
            assert 1 <= len(response["errors"]) <= 5, name
            for error in response["errors"]:
                assert error["extensions"]["code"] in CODES, (name, error)
                assert len(error["message"]) <= 400, name
                assert len(error.get("locations", ())) <= 5, name
        assert time.perf_counter() - started < PATIENCE_SECONDS, name
    assert graph.simulators.requests() == []


@pytest.mark.parametrize(
    ("text", "limit", "asked", "allowed"),
    [
        ("{ chains { id } }" + " " * 40_000, "documentBytes", 40_017, 32_768),
        ("# " + "é" * 20_000 + "\n{ chains { id } }", "documentBytes", 40_020, 32_768),
        ("{ chains { id } }" + "\n" * 3_000, "lines", 3_001, 1_500),
        ("{ chains { " + "id " * 2_000 + "} }", "tokens", 2_005, 1_500),
        ("#\n" * 1_400 + "{ chains { " + "id " * 200 + "} }", "tokens", 1_605, 1_500),
        ("{ a" * 60 + "}" * 60, "nesting", 60, 50),
        ("query ($a: " + "[" * 60 + "Int" + "]" * 60 + ") { a }", "nesting", 61, 50),
        (wallet("...F0") + chained(60, ""), "nesting", 63, 50),
        (" ".join(f"query Q{n} {{ chains {{ id }} }}" for n in range(21)), "operationsPerDocument", 21, 20),
        (wallet("id") + "fragment F on Wallet { id } " * 101, "fragments", 101, 100),
        (wallet("id " * 800), "selections", 801, 750),
        (wallet("... { ...F } " * 200 + "id " * 400), "selections", 801, 750),
        (("fragment F on Wallet {" + "id " * 8 + "} ") * 50 + "{ " + "id " * 351 + "}", "selections", 751, 750),
        ("{ chains { " + "id @skip(if: true) " * 61 + "} }", "directives", 61, 60),
        ("{ chains { id " + "@skip(if: true) " * 6 + "} }", "directivesPerLocation", 6, 5),
        ("query @a @a @a @a @a @a { chains { id } }", "directivesPerLocation", 6, 5),
        ("query ($a: Int @a @a @a @a @a @a) { chains { id } }", "directivesPerLocation", 6, 5),
        ("{ nodes(ids: [" + "1 " * 1_001 + "]) { id } }", "listItems", 1_001, 1_000),
        ("query ($a: [ID!] = [" + "1 " * 1_001 + "]) { chains { id } }", "listItems", 1_001, 1_000),
        (wallet("holdings { nodes { wallet { " * 7 + "id" + " } } }" * 7), "depth", 23, 20),
        ("{ " + "chains { id } " * 31 + "}", "rootFields", 31, 30),
        ("{ ...F ...F } fragment F on Query { " + "chains { id } " * 16 + "}", "rootFields", 32, 30),
        (wallet(" ".join(f"a{n}: id" for n in range(101))), "aliases", 101, 100),
        (wallet("...F ... { ...F }") + "fragment F on Wallet { " + "a: id " * 51 + "}", "aliases", 102, 100),
        (wallet("...F " * 10) + "fragment F on Wallet {" + "id " * 400 + "}", "fields", 4_011, 3_000),
        (wallet("...F0") + " ".join(f"fragment F{n} on Wallet {{ ...F{n + 1} ...F{n + 1} }}" for n in range(40))
            + "fragment F40 on Wallet { id }", "fields", 2**31 - 1, 3_000),
    ],
)  # fmt: skip
def test_each_limit_says_what_was_asked_and_what_is_allowed(text: str, limit: str, asked: int, allowed: int) -> None:
    assert refusal(text) == {"code": "OPERATION_TOO_LARGE", "limit": limit, "asked": asked, "allowed": allowed}


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("{ chains { id } }", Limits(max_document_bytes=17, max_tokens=7, max_nesting=2, max_depth=2, max_fields=2)),
        ("{ a: chains { id } }", Limits(max_aliases=1, max_root_fields=1, max_selections=2)),
        (
            "{ chains @skip(if: true) { id @skip(if: true) } }",
            Limits(max_directives=2, max_directives_per_location=1),
        ),
        ("{ ...F } fragment F on Query { chains { id } }", Limits(max_fields=3, max_nesting=3, max_fragments=1)),
    ],
)
def test_what_is_just_as_large_as_it_may_be_is_let_through(text: str, limits: Limits) -> None:
    passes(text, limits)


def everything() -> str:
    """Each field of the graph, each type's fields once."""
    types = schema._schema.type_map
    seen = {"Query"}
    arguments = {
        "wallet": f'(address: "{ADDRESS}")',
        "wallets": f'(addresses: ["{ADDRESS}"])',
        "portfolio": f'(addresses: ["{ADDRESS}"])',
        "token": '(assetId: "eip155:1/slip44:60")',
        "holding": '(assetId: "eip155:1/slip44:60")',
        "tokens": '(assetIds: ["eip155:1/slip44:60"])',
        "chain": '(chainId: "eip155:1")',
        "node": '(id: "Chain:eip155:1")',
        "nodes": '(ids: ["Chain:eip155:1"])',
        "_entities": "(representations: [])",
    }

    def selections(type: Any) -> str:
        if isinstance(type, GraphQLUnionType | GraphQLInterfaceType):
            possible = schema._schema.get_possible_types(type)
            return "{ " + " ".join(f"... on {one.name} {fields(one)}" for one in possible) + " }"
        return fields(type)

    def fields(type: GraphQLObjectType) -> str:
        parts = []
        for name, field in type.fields.items():
            below = get_named_type(field.type)
            given = arguments.get(name, "") if field.args else ""
            alias = f"{name}Of{type.name}: " if name in ("name", "sources", "address") else ""
            if is_leaf_type(below):
                parts.append(alias + name)
            elif below.name in seen:
                parts.append(f"{alias}{name}{given} {{ __typename }}")
            else:
                seen.add(below.name)
                parts.append(f"{alias}{name}{given} {selections(below)}")
        return "{ " + " ".join(parts) + " }"

    return fields(types["Query"])  # type: ignore[arg-type]


def test_every_field_of_the_graph_may_be_asked_for_at_once() -> None:
    passes(everything())


def test_all_of_a_wallet_may_be_asked_for_five_times() -> None:
    aliases = " ".join(f'a{n}: wallet(address: "{ADDRESS}") {{ ...All }}' for n in range(5))
    view = "valueUsd complete holdingCount unpricedCount missingSources"
    report = (
        "source chain { ...C } accounts status code message retryAfterSeconds observationCount truncated fetchedAt"
        " cacheAgeSeconds indexedTo { ...At } upstreamCalls"
    )
    fragments = [
        "fragment At on AsOf { blockNumber time }",
        f"fragment T on HoldingsTotal {{ {view} }}",
        "fragment C on Chain { id chainId namespace name sources nativeToken { id assetId symbol } }",
        f"fragment R on SourceReport {{ {report} }}",
        "fragment K on Token { id assetId chain { ...C } kind address symbol name decimals metadataUri imageUrl trust"
        " group { id groupId symbol name definedBy members { id } } metadataSource"
        " price { usd source change24h changePercent24h asOf } stock { ticker underlyingName underlyingPriceUsd"
        " sharesPerToken assetClass instrumentType } }",
        "fragment H on Holding { id wallet { id } accountId token { ...K } chain { ...C } amount rawAmount valueUsd"
        " valueStatus amountSource valueSource agreement asOf { ...At } observations { source chosen amount rawAmount"
        " reportedValueUsd reportedAsset tokenAccounts { address programId rawAmount asOf { ...At } } asOf { ...At }"
        " fetchedAt } }",
        "fragment P on HoldingConnection { edges { cursor share node { id } } nodes { ...H } totalCount"
        " total { ...T } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } sources { ...R }"
        " snapshotAt }",
        "fragment G on AssetGroupHolding { group { id groupId symbol name definedBy members { id } } amount"
        " total { ...T } holdings { ...H } reported { source rawAmount decimals valueUsd } }",
        "fragment All on Wallet { id address namespace holdings(first: 10) { ...P }"
        ' holding(assetId: "eip155:1/slip44:60") { ...H } total { ...T } byChain { chain { ...C } total { ...T } }'
        " byAssetGroup { ...G } sources { ...R } }",
    ]
    passes(" ".join([f"{{ {aliases} }}", *fragments]))


@pytest.mark.parametrize("depth", [7, 9])
def test_tools_may_introspect_with_all_that_they_ask_for(depth: int) -> None:
    passes(get_introspection_query())
    passes(
        get_introspection_query(
            descriptions=True,
            specified_by_url=True,
            directive_is_repeatable=True,
            schema_description=True,
            input_value_deprecation=True,
            type_depth=depth,
        )
    )


def test_the_examples_of_the_playground_may_be_asked() -> None:
    for example in EXAMPLES:
        passes(example.query)


@pytest.mark.parametrize(
    ("variables", "limit", "asked"),
    [
        ({"a": ["x"] * 1_001}, "listItems", 1_001),
        ({"a": [{"b": [0] * 1_001}]}, "listItems", 1_001),
        ({"a": [["x"] * 999] * 20}, "variableValues", None),
        ({f"a{n}": n for n in range(20_000)}, "variableValues", 20_000),
    ],
)
def test_variables_that_are_too_many_are_refused_before_any_is_read(
    variables: dict[str, Any], limit: str, asked: int | None
) -> None:
    text = "query ($a: [ID!]!) { nodes(ids: $a) { id } }"
    found = refusal(text, variables=variables)
    assert found["code"] == "OPERATION_TOO_LARGE"
    assert found["limit"] == limit
    assert asked is None or found["asked"] == asked


def test_no_document_has_more_tokens_than_are_counted() -> None:
    documents = [get_introspection_query(), *DOCUMENTS.values(), everything()]
    documents += [
        '{ a(b: """x \\""" " "" \\ y""", c: "\\"#\\\\", d: -1.5e+3, e: [1, 0], f: "") @x # "\n ... on T { b } }',
        '{a(b:"",c:"""""",d:0.1E-1)}\r\n#\r#',
    ]
    counted = 0
    for text in documents:
        try:
            tokens = parse(text).token_count
        except Exception:
            continue
        assert len(tokens_of(text)) == tokens
        counted += 1
    assert counted > 60


@given(st.text(alphabet='a1.-"\\#\n\r ,{([])}!$@:&|=é\ufeff', max_size=60))
def test_tokens_are_the_text_without_what_is_ignored(text: str) -> None:
    ignored = " \t\r\n,\ufeff"
    rest = text
    for token in tokens_of(text):
        rest = rest.lstrip(ignored)
        assert rest.startswith(token)
        rest = rest[len(token) :]
    assert rest.lstrip(ignored) == ""


def test_operators_say_how_large_operations_may_be() -> None:
    settings = Settings(max_depth=3, max_cost=7, max_operations_per_document=1)
    assert settings.limits == Limits(max_depth=3, max_cost=7, max_operations_per_document=1)
    assert Settings().limits == Limits()
    schema = Schema(limits=settings.limits)
    with pytest.raises(RefusedError, match="depth 4"):
        schema.documents.prepare(wallet("total { valueUsd } holdings { nodes { id } }"), None, None)
