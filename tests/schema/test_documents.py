"""Which documents may be executed, which of their operations, and what is kept of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from graphql import print_ast
from prometheus_client import REGISTRY

from resolvers.context import RequestContext
from schema import Limits, Schema
from schema import schema as default_schema
from schema.documents import Documents, Prepared, RefusedError
from server import Settings, create_app
from tests.graph import Graph, Simulators, open_graph
from tests.schema.hostile import ADDRESS, wallet
from tests.service import serve

TWO = "query One { chains { id } } query Two { chains { name } }"


def documents(**options: Any) -> Documents:
    return Documents(default_schema._schema, Limits(), **{"introspection": True, **options})


def prepared(text: str, operation_name: str | None = None, **options: Any) -> Prepared:
    return documents(**options).prepare(text, operation_name, None)


def refused(text: str, operation_name: str | None = None, **options: Any) -> list[str]:
    with pytest.raises(RefusedError) as found:
        prepared(text, operation_name, **options)
    return [error.message for error in found.value.errors]


async def errors_of(schema: Schema, graph: Graph, text: str, **variables: Any) -> list[dict[str, Any]]:
    result = await schema.execute(text, variable_values=variables, context_value=RequestContext(graph.sources))
    return [dict(error.formatted) for error in result.errors or ()]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (TWO, None, "The document has several operations: say by operationName which one to execute."),
        (TWO, "", "The document has several operations: say by operationName which one to execute."),
        (TWO, "Three", 'The document has no operation named "Three".'),
        ("{ chains { id } }", "Three", 'The document has no operation named "Three".'),
        ("{ chains { id } }", "x" * 1_000, f'The document has no operation named "{"x" * 79}...'),
    ],
)
async def test_an_operation_that_is_not_there_is_bad_input(
    graph: Graph, text: str, name: str | None, message: str
) -> None:
    result = await default_schema.execute(text, operation_name=name, context_value=RequestContext(graph.sources))
    assert result.data is None
    assert [error.formatted for error in result.errors or ()] == [
        {"message": message, "extensions": {"code": "BAD_USER_INPUT", "argument": "operationName"}}
    ]


async def test_the_operation_that_is_named_is_executed_and_an_empty_name_is_none(demo: Graph) -> None:
    async def keys(text: str, name: str | None) -> set[str]:
        result = await default_schema.execute(text, operation_name=name, context_value=RequestContext(demo.sources))
        assert not result.errors
        assert result.data is not None
        return {key for chain in result.data["chains"] for key in chain}

    assert await keys(TWO, "One") == {"id"}
    assert await keys(TWO, "Two") == {"name"}
    assert await keys("{ chains { id } }", "") == {"id"}
    assert await keys("query One { chains { id } }", "") == {"id"}
    assert await keys("query One { chains { id } }", None) == {"id"}


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "GRAPHQL_PARSE_FAILED", "Syntax Error: Unexpected <EOF>."),
        ("# nothing", "GRAPHQL_PARSE_FAILED", "Syntax Error: Unexpected <EOF>."),
        ("{ chains { id }", "GRAPHQL_PARSE_FAILED", "Syntax Error: Expected Name, found <EOF>."),
        ("fragment F on Query { chains { id } }", "GRAPHQL_VALIDATION_FAILED", "Fragment 'F' is never used."),
        ("type T { a: Int }", "GRAPHQL_VALIDATION_FAILED", "The 'T' definition is not executable."),
        ("mutation { a }", "GRAPHQL_VALIDATION_FAILED", "The mutation operation is not supported by the schema."),
        ("query ($a: Int) { chains { id } }", "GRAPHQL_VALIDATION_FAILED", "Variable '$a' is never used."),
        ("query ($n: ID = 1.5) { node(id: $n) { id } }", "GRAPHQL_VALIDATION_FAILED", "ID cannot represent"),
        (
            "query ($n: HoldingOrderField = X) { chains { id } }",
            "GRAPHQL_VALIDATION_FAILED",
            "Variable '$n' is never",
        ),
        (
            wallet("a: id a: address"),
            "GRAPHQL_VALIDATION_FAILED",
            "Fields 'a' conflict: they are of different types.",
        ),
    ],
)
async def test_what_cannot_be_executed_has_a_code_and_says_why(
    graph: Graph, text: str, code: str, message: str
) -> None:
    error, *_ = await errors_of(default_schema, graph, text)
    assert error["extensions"]["code"] == code
    assert error["message"].startswith(message)


async def test_an_error_does_not_repeat_a_huge_token(graph: Graph) -> None:
    for text in ("x" * 30_000, wallet("x" * 30_000), "query ($a: " + "x" * 30_000 + ") { a }"):
        for error in await errors_of(default_schema, graph, text):
            assert len(error["message"]) <= 400
    text = "query ($a: SourceFailurePolicy!) { wallets(addresses: [], onSourceFailure: $a) { id } }"
    (error,) = await errors_of(default_schema, graph, text, a="x" * 1_000_000)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert len(error["message"]) <= 400


async def test_of_many_wrong_variables_the_first_are_told(graph: Graph) -> None:
    text = "query ($a: [AccountAddress!]!) { wallets(addresses: $a) { id } }"
    errors = await errors_of(default_schema, graph, text, a=["x"] * 900)
    assert {error["extensions"]["code"] for error in errors} == {"BAD_USER_INPUT"}
    assert [error["extensions"].get("argument") for error in errors] == [
        *(f"addresses[{n}]" for n in range(5)),
        None,
    ]
    assert errors[-1]["message"].startswith("Too many errors processing variables")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("$first: Int", True, 'Argument "first" (variable $first): Int cannot represent non-integer value'),
        ("$first: Int! = 1", None, "Expected value of non-null type 'Int!' not to be null."),
        (
            "$filter: HoldingFilter",
            {"x": None},
            "Expected value of type 'HoldingFilter' not to include unknown field 'x'",
        ),
        ("$filter: HoldingFilter", 5, "Expected value of type 'HoldingFilter' to be an object"),
    ],
)
async def test_a_wrong_variable_is_not_repeated_in_the_spelling_of_python(
    graph: Graph, variable: str, value: Any, message: str
) -> None:
    name = variable[1:].partition(":")[0]
    text = f"query ({variable}) " + wallet(f"holdings({name}: ${name}) {{ totalCount }}")
    (error,) = await errors_of(default_schema, graph, text, **{name: value})
    assert error["message"].endswith(message)
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": name}


# What is kept


def test_a_document_is_parsed_and_validated_once() -> None:
    kept = documents()
    first = kept.prepare(TWO, "One", None)
    assert kept.prepare(TWO, "One", None).document is first.document
    assert kept.prepare(TWO, "Two", None).document is first.document
    assert kept.prepare(TWO, "One", None) is first
    assert kept.prepare(TWO + " ", "One", None).document is not first.document


def test_what_is_valid_for_one_schema_is_not_for_another() -> None:
    text = "{ nodes(ids: []) { id } }"
    assert prepared(text)
    with pytest.raises(RefusedError, match="Cannot query field 'nodes'"):
        Schema(subgraph=True).documents.prepare(text, None, None)


def test_a_document_that_is_asked_for_again_is_not_driven_out_by_new_ones() -> None:
    kept = documents(max_bytes=400_000)
    used, seen_once = "{ chains { id } }", "{ chains { name } }"
    first = kept.prepare(used, None, None).document
    once = kept.prepare(seen_once, None, None).document
    assert kept.prepare(used, None, None).document is first
    for n in range(200):
        kept.prepare(f"{{ a{n}: chains {{ id }} }}", None, None)
        with pytest.raises(RefusedError):
            kept.prepare(f"{{ nobody{n} }}", None, None)
    assert kept.prepare(used, None, None).document is first
    assert kept.prepare(seen_once, None, None).document is not once


def test_documents_that_are_kept_are_bounded_in_bytes_and_in_number() -> None:
    kept = documents(max_bytes=400_000)
    for n in range(300):
        text = f"{{ a{n}: chains {{ id }} }}"
        kept.prepare(text, None, None)
        kept.prepare(text, None, None)
    assert 20 < len(kept._proven) <= 400_000 // 2_000
    large = wallet("id " * 700)
    assert documents(max_bytes=10_000).prepare(large, None, None)


def test_a_refusal_is_the_same_again_and_no_other_document_suffers_from_it() -> None:
    kept = documents()
    for _ in range(2):
        with pytest.raises(RefusedError, match="Cannot query field 'chain5'"):
            kept.prepare("{ chain5 }", None, None)
    assert kept.prepare("{ chains { id } }", None, None)


# Increments


def test_a_document_without_increments_is_as_if_they_had_not_been_written() -> None:
    text = wallet(
        '... @defer(label: "a") { id } ...F @defer'
        " holdings { nodes @stream(initialCount: 1) { id @skip(if: false) } }"
    )
    text += " fragment F on Wallet { address }"
    found = prepared(text)
    plain = print_ast(found.without_increments)
    assert "@defer" not in plain
    assert "@stream" not in plain
    assert "@skip(if: false)" in plain
    assert "@defer" in print_ast(found.document)
    assert found.without_increments is found.without_increments
    unchanged = prepared(wallet("id"))
    assert unchanged.without_increments is unchanged.document


async def test_deferred_fields_are_in_one_result_for_clients_that_take_one(demo: Graph) -> None:
    text = "query ($a: AccountAddress!, $later: Boolean!) { wallet(address: $a) {"
    text += " address ... @defer(if: $later) { namespace } } chains { id sources } }"
    data = await demo.ask(text, a=ADDRESS, later=True)
    assert data["wallet"] == {"address": ADDRESS, "namespace": "EIP155"}


# Names of the schema

LIKELY = (
    "{ walet }",
    "{ wallet(adress: 1) { id } }",
    "{ ... on Qery { chains { id } } }",
    "query ($a: AccountAdres) { wallet(address: $a) { id } }",
    wallet("holdings(filter: {source: [ONDO_GM]}) { totalCount }"),
    wallet("holdings(filter: {sources: [ONDO_GN]}) { totalCount }"),
    wallet('holdings(filter: {sources: ["ONDO_GM"]}) { totalCount }'),
    "{ chains @include(iff: true) { id } }",
    wallet("adress"),
)
BY_VARIABLE: Sequence[tuple[str, Any]] = (
    ("query ($v: SourceFailurePolicy!) { wallets(addresses: [], onSourceFailure: $v) { id } }", "REPORTT"),
    ("query ($v: HoldingFilter) " + wallet("holdings(filter: $v) { totalCount }"), {"source": []}),
    ("query ($v: HoldingFilter) " + wallet("holdings(filter: $v) { totalCount }"), {"sources": ["ONDO_GN"]}),
    (f'subscription ($v: HoldingOrder!) {{ walletChanged(address: "{ADDRESS}") {{ wallet {{'
        " holdings(orderBy: $v) { totalCount } } } }", {"field": "AMUNT"}),
)  # fmt: skip


@pytest.mark.parametrize("text", LIKELY)
def test_names_are_suggested_only_where_introspection_shows_them(text: str) -> None:
    assert "Did you mean" in refused(text)[0]
    assert "Did you mean" not in " ".join(refused(text, introspection=False))


def test_the_first_error_suggests_what_may_have_been_meant() -> None:
    first, *others = refused("{ walet porfolio chans }")
    assert first == "Cannot query field 'walet' on type 'Query'. Did you mean 'wallet' or 'wallets'?"
    assert len(others) == 2
    assert "Did you mean" not in " ".join(others)


@pytest.mark.parametrize(("text", "value"), BY_VARIABLE)
async def test_wrong_variables_never_show_names(text: str, value: Any) -> None:
    for introspection in (True, False):
        schema = Schema(introspection=introspection)
        async with open_graph(Simulators.empty(), schema=schema) as graph:
            if text.startswith("subscription"):
                context = RequestContext(graph.sources)
                stream = await schema.stream(text, variable_values={"v": value}, context_value=context)
                results: list[Any] = [result async for result in stream]
                messages = [error.message for result in results for error in result.errors or ()]
            else:
                messages = [error["message"] for error in await errors_of(schema, graph, text, v=value)]
        assert any(word in " ".join(messages) for word in ("does not exist in", "not to include unknown field"))
        assert "Did you mean" not in " ".join(messages)


async def test_without_introspection_the_schema_is_not_shown(graph: Graph) -> None:
    schema = Schema(introspection=False)
    for text in ("{ __schema { queryType { name } } }", '{ __type(name: "Wallet") { name } }',
                 "{ ...F } fragment F on Query { a: __schema { types { name } } }"):  # fmt: skip
        errors = await errors_of(schema, graph, text)
        assert errors
        assert {error["extensions"]["code"] for error in errors} == {"GRAPHQL_VALIDATION_FAILED"}
        assert "introspection has been disabled" in errors[0]["message"]
    assert await errors_of(schema, graph, "{ __typename _service { sdl } }") == []


# What is seen of it


async def test_refused_operations_are_counted(graph: Graph) -> None:
    def count(operation: str, type: str) -> float:
        labels = {"operation": operation, "type": type, "outcome": "FAILED"}
        return REGISTRY.get_sample_value("walletgraph_operations_total", labels) or 0

    for text, operation, type in (
        ("{ chains { " + "id " * 2_000 + "} }", "anonymous", "unknown"),
        ("{ chains {", "anonymous", "unknown"),
        ("query Refused { walet }", "Refused", "query"),
        ("query TooDeep { " + "chains { " * 30 + "id" + " }" * 31, "TooDeep", "query"),
    ):
        before = count(operation, type)
        assert (await errors_of(default_schema, graph, text))[0]["extensions"]["code"]
        assert count(operation, type) == before + 1


async def test_clients_see_by_http_what_is_too_large_and_what_is_allowed() -> None:
    settings = Settings(demo=True, max_depth=2, introspection=False)
    async with serve(create_app(settings)) as url, aiohttp.ClientSession() as session:

        async def ask(query: str, accept: str) -> tuple[int, dict[str, Any]]:
            headers = {"accept": accept}
            async with session.post(f"{url}/graphql", json={"query": query}, headers=headers) as response:
                return response.status, json.loads(await response.text())

        status, body = await ask("{ chains { nativeToken { id } } }", "application/graphql-response+json")
        assert status == 400
        assert body == {
            "errors": [
                {
                    "message": "The operation is too large: depth 3, and 2 is allowed.",
                    "extensions": {"code": "OPERATION_TOO_LARGE", "limit": "depth", "asked": 3, "allowed": 2},
                }
            ],
            "extensions": body["extensions"],  # the data is simulated
        }
        status, body = await ask("{ __schema { description } }", "application/json")
        assert [error["extensions"]["code"] for error in body["errors"]] == ["GRAPHQL_VALIDATION_FAILED"]
        assert (await ask("{ chains { id } }", "application/json"))[1]["data"]["chains"]
