"""Whatever is asked, of whatever upstreams: an answer of the types that the schema has, or an error with a code."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from loaders.upstream.simulator.base import Fault
from resolvers.context import RequestContext
from schema import schema
from tests.graph import KEPT, PLAIN, Graph, Simulators, open_graph
from tests.hostile.answers import Answers
from tests.hostile.cases import GOOD, post
from tests.hostile.fuzzing import BUSY_SECONDS, CODES, fuzzing
from tests.hostile.queries import Operation, operations
from tests.hostile.service import Service, running_service

# An operation that ends early has fields that were not begun yet.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning")

FAULTS: Sequence[Fault | None] = [
    None,
    Fault(status=500),
    Fault(status=401),
    Fault(status=403, body=b"{}"),
    Fault(status=404),
    Fault(status=429, headers={"Retry-After": "40"}),
    Fault("reset"),
    Fault("truncate", status=200, body=b'{"data": [{}, {}]}'),
    *[
        Fault(status=200, body=body)
        for body in (
            b"",
            b"null",
            b"[]",
            b"{}",
            b"[[]]",
            b'"text"',
            b"NaN",
            b"<html>",
            b"\xff\xfe",
            b"[" * 10_000,
            b'{"data": null}',
            b'{"data": [null, 7, "x", []], "pagination": 1}',
            b'{"balances": {}, "balanceByAggregatedAsset": [{}], "balanceBySpecificAsset": null}',
            b'[{"symbol": 1, "balance": "NaN"}, null, {"symbol": "AAPLon", "balance": "-1e999999"}]',
        )
    ],
]


class Laboratory:
    """A graph in a loop of its own, for tests that ask it often."""

    def __init__(self, runner: asyncio.Runner, graph: Graph) -> None:
        self._runner = runner
        self.graph = graph

    def ask(self, operation: Operation) -> Mapping[str, Any]:
        """The whole response, as JSON carries it."""
        return self._runner.run(self.graph.respond(operation.text, **deepcopy(operation.variables)))

    def ask_in_parts(self, operation: Operation) -> tuple[Any, list[dict[str, Any]]]:
        """The data of all parts put together, and the errors of all of them."""
        return self._runner.run(self._ask_in_parts(operation))

    async def _ask_in_parts(self, operation: Operation) -> tuple[Any, list[dict[str, Any]]]:
        context = RequestContext(self.graph.sources, incremental=True)
        data: Any = None
        errors: list[dict[str, Any]] = []
        places: dict[str, list[str | int]] = {}
        results = await self.graph.schema.stream(
            operation.text, variable_values=deepcopy(operation.variables), context_value=context
        )
        async for result in results:
            part = json.loads(json.dumps(_formatted(result)))
            data = part.get("data", data)
            errors += part.get("errors", [])
            places |= {one["id"]: one["path"] for one in part.get("pending", ())}
            for patch in part.get("incremental", ()):
                errors += patch.get("errors", [])
                place = data
                for key in [*places[patch["id"]], *patch.get("subPath", ())]:
                    place = place[key]
                place.extend(patch["items"]) if "items" in patch else place.update(patch["data"])
            for one in part.get("completed", ()):
                errors += one.get("errors", [])
        return data, errors


def _formatted(result: Any) -> Mapping[str, Any]:
    formatted: Mapping[str, Any] | None = getattr(result, "formatted", None)
    if formatted is not None:
        return formatted
    return {"data": result.data, "errors": [error.formatted for error in result.errors or ()]}


@asynccontextmanager
async def _open(kept: bool) -> AsyncIterator[Graph]:
    async with open_graph(Simulators.demo(), base=KEPT if kept else PLAIN) as graph:
        yield graph


@pytest.fixture(scope="module", params=[True, False], ids=["caches", "no caches"])
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    with asyncio.Runner() as runner:
        opening = _open(request.param)
        yield Laboratory(runner, runner.run(opening.__aenter__()))
        runner.run(opening.__aexit__(None, None, None))


def assert_codes(errors: Sequence[Mapping[str, Any]]) -> None:
    for error in errors:
        assert error["extensions"]["code"] in CODES, error


@fuzzing(80)
@given(operation=operations(schema._schema))
def test_a_valid_query_is_answered_by_the_types_of_the_schema(laboratory: Laboratory, operation: Operation) -> None:
    note(str(operation))
    response = laboratory.ask(operation)
    assert_codes(response["errors"])
    if response["data"] is not None:
        Answers(schema._schema, operation).check(response["data"], whole=True)
    else:
        assert response["errors"]


@fuzzing(60)
@given(operation=operations(schema._schema))
def test_a_valid_query_is_answered_in_parts_by_the_types_of_the_schema(
    laboratory: Laboratory, operation: Operation
) -> None:
    note(str(operation))
    data, errors = laboratory.ask_in_parts(operation)
    assert_codes(errors)
    if data is not None:
        Answers(schema._schema, operation).check(data, whole=not errors)
    else:
        assert errors


@fuzzing(80)
@given(operation=operations(schema._schema), faults=st.tuples(*[st.sampled_from(FAULTS)] * 3))
def test_no_fault_of_an_upstream_becomes_one_of_ours(
    laboratory: Laboratory, operation: Operation, faults: Sequence[Fault | None]
) -> None:
    note(str(operation))
    simulators = laboratory.graph.simulators.all
    for simulator, fault in zip(simulators, faults, strict=True):
        if fault is not None:
            simulator.inject(fault)
    try:
        response = laboratory.ask(operation)
    finally:
        for simulator in simulators:
            simulator.heal()
    assert_codes(response["errors"])
    if response["data"] is not None:
        Answers(schema._schema, operation).check(response["data"], whole=True)


# Documents and bodies that nobody would send


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


def assert_is_refused_or_answered(service: Service, request: bytes) -> None:
    """An answer that is JSON, without a fault, a line in the log, or a server that is kept busy."""
    service.busy_seconds()
    service.errors()
    (answer,) = service.exchange(request)
    assert answer.status < 500, answer.text
    body = answer.json()
    for one in body if isinstance(body, list) else [body]:
        assert_codes(one.get("errors", ()))
        assert "data" in one or one["errors"]
    assert service.errors() == []
    assert service.is_soon_done(request, BUSY_SECONDS)


_TOKENS = [
    *"{}()[]!$&=@|:#,\"'\\`~^ \n\t\0",
    *["...", '"""', "query", "mutation", "subscription", "fragment", "on", "null", "true", "type", "extend"],
    *["$v", "@include", "@skip(if: true)", "@defer", "@stream", "-0", "1e400", "0x", "1.", '"\\u{110000}"'],
    *["wallet", "holdings", "nodes", "token", "id", "__typename", "__schema", "_entities", "_service", "Wallet"],
    *['(address: "0x12")', "(first: 1)", "{ id }", "... on Wallet", "...F", "fragment F on Wallet { ...F }"],
    *["\ufeff", "\ud800"],
]
_SOUP = st.lists(st.sampled_from(_TOKENS), max_size=60).flatmap(
    lambda tokens: st.sampled_from(["", " "]).map(lambda between: between.join(tokens))
)
_WORDS = re.compile(r"\w+|\W")


@st.composite
def _mutations(draw: Any) -> str:
    """Valid queries in which some words are gone, doubled, or in the place of others."""
    words = _WORDS.findall(draw(operations(schema._schema)).text)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(words) - 1))
        change = draw(st.sampled_from(["drop", "double", "swap", "token"]))
        if change == "drop" and len(words) > 1:
            del words[at]
        elif change == "double":
            words.insert(at, words[at])
        elif change == "swap":
            other = draw(st.integers(0, len(words) - 1))
            words[at], words[other] = words[other], words[at]
        else:
            words[at] = draw(st.sampled_from(_TOKENS))
    return "".join(words)


@fuzzing(300)
@given(text=_SOUP | st.text(max_size=200))
def test_a_text_that_is_no_document_is_refused(service: Service, text: str) -> None:
    assert_is_refused_or_answered(service, post(json.dumps({"query": text}).encode()))


@fuzzing(60)
@given(text=_mutations())
def test_a_document_that_is_almost_valid_is_refused_or_answered(service: Service, text: str) -> None:
    assert_is_refused_or_answered(service, post(json.dumps({"query": text}).encode()))


_NAMES = st.sampled_from(["query", "variables", "operationName", "extensions", "documentId", "persistedQuery", "a"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(GOOD),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(_NAMES, inside, max_size=6),
    max_leaves=20,
)


@fuzzing(200)
@given(body=_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_a_body_of_anything_is_refused_or_answered(service: Service, body: bytes) -> None:
    assert_is_refused_or_answered(service, post(body))
