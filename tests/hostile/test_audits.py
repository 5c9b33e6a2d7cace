"""What graphql-cop sends, and what other sites may: refused, but for what is switched on and told to anybody.

Anybody may ask by GET who is not another site's page; introspection, and with it suggestions, is a setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from graphql import get_introspection_query

from schema import Schema
from tests.graph import Simulators, open_graph
from tests.hostile.cases import GOOD, GRAPHQL_RESPONSE, JSON, ask, get_operation, post, post_json, request
from tests.hostile.service import Answer, Service, running_service


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


def answer_to(service: Service, request: bytes) -> Answer:
    (answer,) = service.exchange(request)
    return answer


def assert_too_large(answer: Answer) -> None:
    (error, *_) = answer.json()["errors"]
    assert error["extensions"]["code"] == "OPERATION_TOO_LARGE"
    assert "data" not in answer.json()


def test_a_hundred_and_one_aliases_are_too_many(service: Service) -> None:
    query = "query cop { " + " ".join(f"alias{n}: __typename" for n in range(101)) + " }"
    assert_too_large(answer_to(service, ask(query, operationName="cop")))


def test_a_field_five_hundred_times_is_too_much(service: Service) -> None:
    query = "query cop { " + "__typename " * 500 + "}"
    assert_too_large(answer_to(service, ask(query, operationName="cop")))


def test_ten_directives_on_a_field_are_too_many(service: Service) -> None:
    query = "query cop { __typename " + "@aa" * 10 + " }"
    assert_too_large(answer_to(service, ask(query, operationName="cop")))


def test_introspection_in_circles_is_too_deep(service: Service) -> None:
    inside = "fields { type { " * 4 + "name" + " } }" * 4
    answer = answer_to(service, ask(f"query cop {{ __schema {{ types {{ {inside} }} }} }}", operationName="cop"))
    codes = {error["extensions"]["code"] for error in answer.json()["errors"]}
    assert codes <= {"OPERATION_TOO_LARGE", "GRAPHQL_VALIDATION_FAILED"}
    assert "data" not in answer.json()


def test_a_fragment_in_a_circle_is_refused(service: Service) -> None:
    circle = "fragment A on __Schema { __typename ...B } fragment B on __Schema { ...A }"
    answer = answer_to(service, ask(f"query cop {{ __schema {{ ...A }} }} {circle}", operationName="cop"))
    assert {error["extensions"]["code"] for error in answer.json()["errors"]} == {"GRAPHQL_VALIDATION_FAILED"}


def test_a_batch_has_as_many_operations_as_clients_send_and_no_more(service: Service) -> None:
    batch = [{"query": "query cop { __typename }"}] * 10  # Apollo Client's batchMax
    assert answer_to(service, post_json(batch)).status == 200
    assert_too_large(answer_to(service, post_json([*batch, *batch[:1]])))


def test_what_cannot_be_read_is_told_without_how_it_was_read(service: Service) -> None:
    answer = answer_to(service, ask("qwerty cop { abc }", operationName="cop"))
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "GRAPHQL_PARSE_FAILED"}
    assert "stack" not in answer.text.lower()


def test_nothing_is_told_by_way_of_a_trace(service: Service) -> None:
    traced = {"Apollo-Federation-Include-Trace": "ftv1", "X-Apollo-Tracing": "1"}
    answer = answer_to(service, ask("query cop { __typename }", operationName="cop", headers=traced))
    assert answer.status == 200
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("query", ["query cop { __typename }", "mutation cop { __typename }"])
@pytest.mark.parametrize(
    "evidence",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "https://example.org", "Sec-Fetch-Site": "cross-site", "Accept": "*/*"},
    ],
    ids=str,
)
def test_another_site_asks_nothing_by_get(service: Service, query: str, evidence: dict[str, str]) -> None:
    answer = answer_to(service, request("GET", "/graphql?" + urlencode({"query": query}), evidence))
    assert answer.status in (400, 403, 405)
    assert "data" not in answer.json()


def test_a_mutation_is_never_asked_by_get(service: Service) -> None:
    answer = answer_to(service, get_operation("mutation { __typename }"))
    assert answer.status in (400, 405)
    assert "data" not in answer.json()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", urlencode({"query": GOOD}).encode()),
        ("text/plain", b'{"query": "{ __typename }"}'),
        ("text/plain;application/json", b'{"query": "{ __typename }"}'),
        ("", b'{"query": "{ __typename }"}'),
        (
            "multipart/form-data; boundary=-",
            b'---\r\nContent-Disposition: form-data; name="query"\r\n\r\n{ __typename }\r\n-----\r\n',
        ),
    ],
)
def test_a_form_asks_nothing(service: Service, content_type: str, body: bytes) -> None:
    for headers in ({}, {"Origin": "https://example.org"}):
        answer = answer_to(service, post(body, {**headers, "Content-Type": content_type, "Accept": "*/*"}))
        assert 400 <= answer.status < 500
        assert "data" not in answer.json()


def test_a_query_in_the_address_of_a_post_is_not_read(service: Service) -> None:
    answer = answer_to(service, request("POST", "/graphql?" + urlencode({"query": "query {__typename}"})))
    assert 400 <= answer.status < 500
    assert "data" not in answer.json()


def test_who_is_no_browser_gets_json_where_a_playground_is(service: Service) -> None:
    for accept in ("*/*", JSON, GRAPHQL_RESPONSE):
        answer = answer_to(service, request("GET", "/graphql", {"Accept": accept}))
        assert "html" not in answer.headers["Content-Type"]
    page = answer_to(service, request("GET", "/graphql", {"Accept": "text/html"}))
    assert page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "https://" not in page.headers["Content-Security-Policy"]


_ALMOST = [
    "{ walle { id } }",
    '{ wallet(addres: "0x") { id } }',
    '{ wallet(address: "ADDRESS") { totl { valueUsd } } }',
    '{ wallet(address: "ADDRESS") { ... on Walet { id } } }',
    '{ wallet(address: "ADDRESS", onSourceFailure: FAI) { id } }',
    '{ wallet(address: "ADDRESS") { holdings(filter: {serch: "a"}) { totalCount } } }',
    "{ chains @skp(if: true) { name } }",
    "query ($f: HoldingFiltr) { chains { name } }",
]
_LEAVES: list[tuple[str, dict[str, Any]]] = [
    ('query ($s: SourceFailurePolicy!) { wallet(address: "ADDRESS", onSourceFailure: $s) { id } }', {"s": "FAI"}),
    (
        'query ($f: HoldingFilter) { wallet(address: "ADDRESS") { holdings(filter: $f) { totalCount } } }',
        {"f": {"serch": "a"}},
    ),
]


async def test_with_introspection_off_nothing_of_the_schema_is_told_that_was_not_asked_for() -> None:
    hidden = Schema(introspection=False)
    address = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
    async with open_graph(Simulators.demo(), schema=hidden) as graph:
        for query in (get_introspection_query(), '{ __type(name: "Wallet") { fields { name } } }'):
            response = await graph.respond(query)
            assert response["data"] is None
            assert {error["extensions"]["code"] for error in response["errors"]} == {"GRAPHQL_VALIDATION_FAILED"}
        for query, variables in [*((query, {}) for query in _ALMOST), *_LEAVES]:
            response = await graph.respond(query.replace("ADDRESS", address), **variables)
            told = str(response["errors"])
            assert response["errors"]
            for name in (
                "Did you mean",
                "'wallet'",
                "'address'",
                "'total'",
                "'Wallet'?",
                "FAIL'",
                "'search'",
                "'skip'",
            ):
                assert name not in told, told
        assert (await graph.respond("{ __typename }"))["data"] == {"__typename": "Query"}
