"""An operation runs as Strawberry and graphql-core would run it, for less; and nothing of it stays behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import strawberry
from graphql import GraphQLError
from graphql.execution import Executor
from strawberry.extensions import SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext
from strawberry.types.graphql import OperationType

from resolvers.context import Context, RequestContext
from schema import Limits, Schema
from schema import schema as ours
from schema.base import GraphSchema
from schema.operation import Hooks, Runner
from tests.graph import Graph
from tests.service import EVM, SOLANA


class AsInherited(Schema):
    """Runs operations by Strawberry's own runner and graphql-core's own way to an executor."""

    def create_extensions_runner(self, *arguments: Any, **options: Any) -> SchemaExtensionsRunner:
        return strawberry.Schema.create_extensions_runner(self, *arguments, **options)

    async def _execute_operation(self, *arguments: Any, **options: Any) -> Any:
        return await strawberry.Schema._execute_operation(self, *arguments, **options)


inherited = AsInherited()


@pytest.mark.parametrize(
    ("text", "variables", "name"),
    [
        ("{ __typename }", None, None),
        ("{ a: __typename ...F } fragment F on Query { b: __typename }", None, None),
        ("query A { __typename } query B { chains { id } }", None, "B"),
        ("query A { __typename } query B { chains { id } }", None, None),
        ("query A { __typename }", None, "C"),
        ("{ nothing }", None, None),
        ("{", None, None),
        ("subscription ($a: AccountAddress!) { walletChanged(address: $a) { removedIds } }", {"a": EVM}, None),
        *[
            (
                "query ($of: [AccountAddress!]!, $filter: HoldingFilter, $first: Int = 3, $with: Boolean = true) {"
                " portfolio(addresses: $of) { holdings(first: $first, filter: $filter) { totalCount } }"
                " __typename @skip(if: $with) same: __typename @include(if: $with) }",
                given,
                None,
            )
            for given in (
                None,
                {"of": [EVM, SOLANA]},
                {"of": EVM},  # a list of one
                {"of": [EVM], "first": None, "filter": None},
                {"of": [EVM], "first": "3", "unknown": 1},
                {"of": [EVM], "first": 10**10},
                {"of": [EVM], "filter": {"sources": ["ONDO_GM"]}},
                {"of": [EVM], "filter": {"sources": "ONDO_GM"}},
                {"of": [EVM], "filter": {"sources": ["NOBODY"], "nothing": 1}},
                {"of": [EVM], "filter": []},
                {"of": ["0x12", EVM, "x", 5, None]},
                {"of": [[EVM]]},
                {"of": None},
                {"first": 1},
                {"of": [EVM], "with": "yes"},
            )
        ],
        ("query ($f: [Int!]! = [1]) { wallet(address: 5) { id } }", {"f": 5}, None),
        ('{ wallets(addresses: []) { id } node(id: "x") { id } }', {}, None),
    ],
)
async def test_the_outcome_is_the_same(
    demo: Graph, text: str, variables: dict[str, Any] | None, name: str | None
) -> None:
    outcomes = []
    for schema in (ours, inherited, ours):  # the second time by what was kept
        result = await schema.execute(
            text,
            variable_values=variables,
            operation_name=name,
            context_value=RequestContext(demo.sources, extensions={"demo": "note"}, trace=True),
            allowed_operation_types=(OperationType.QUERY, OperationType.MUTATION),
        )
        errors = [error.formatted for error in result.errors or ()]
        outcomes.append((type(result), result.data, errors, list(result.extensions or ())))
    assert outcomes[0] == outcomes[1] == outcomes[2]


# What runs around


class Note(SchemaExtension):
    """Tells what it sees."""

    told: list[str]
    ends_with: BaseException | None = None

    def on_operation(self) -> Iterator[None]:
        name = type(self).__name__
        self.told.append(f"{name} begins")
        try:
            yield
        except BaseException as error:
            self.told.append(f"{name} sees {error!r}")
            raise
        finally:
            self.told.append(f"{name} ends")
            if self.ends_with is not None:
                raise self.ends_with


class Another(Note):
    pass


class Swallowing(SchemaExtension):
    told: list[str]

    def on_operation(self) -> Iterator[None]:
        try:
            yield
        except ValueError:
            self.told.append("swallowed")


@pytest.mark.parametrize("within", [None, ValueError("within"), KeyboardInterrupt("within")])
@pytest.mark.parametrize("ending", [None, KeyError("at the end")])
@pytest.mark.parametrize(
    "kinds", [[Note, Another], [Note, Swallowing], [Swallowing, Another], [Swallowing, Note, Another], []]
)
async def test_hooks_see_what_they_would_see(
    kinds: list[type[Any]], ending: BaseException | None, within: BaseException | None
) -> None:
    async def seen(ours: bool) -> list[str]:
        told: list[str] = []
        extensions = [kind() for kind in kinds]
        for extension in extensions:
            extension.told = told
        if extensions:
            extensions[-1].ends_with = ending
        context: Any = None
        runner = (
            Runner(context, extensions, Hooks(extensions)) if ours else SchemaExtensionsRunner(context, extensions)
        )
        try:
            async with runner.operation(), runner.parsing(), runner.validation(), runner.executing():
                told.append("runs")
                if within is not None:
                    raise within
        except BaseException as error:
            told.append(f"raised {error!r}")
        return told

    assert await seen(ours=True) == await seen(ours=False)


async def test_results_of_extensions_are_united_and_those_of_the_operation_come_last() -> None:
    class Left(SchemaExtension):
        def get_results(self) -> dict[str, Any]:
            return {"a": "left", "b": "left"}

    class Right(SchemaExtension):
        def get_results(self) -> dict[str, Any]:
            return {"b": "right", "c": "right"}

        def on_execute(self) -> Iterator[None]:
            self.execution_context.extensions_results["c"] = "operation"
            yield

    @strawberry.type
    class Query:
        answer: int = 42

    schema = GraphSchema(Query, extensions=[Left, Right], config=StrawberryConfig(), limits=Limits())
    result = await schema.execute("{ answer }", root_value=Query())
    assert result.data == {"answer": 42}
    assert result.extensions == {"a": "left", "b": "right", "c": "operation"}


# What stays


@pytest.fixture
def garbage() -> Iterator[list[Any]]:
    """What the garbage collector alone could find, once it has collected."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("{ __typename }", {}),
        ("query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { wallets { id } } }", {"a": [EVM, SOLANA]}),
        ("query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { wallets { id } } }", {"a": ["x"]}),
        ('{ node(id: "x") { id } wallets(addresses: []) { id } }', {}),
        ("query A { __typename } query B { __typename }", {}),
        ("query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { total { valueUsd } } }", {"a": [EVM, SOLANA]}),
    ],
)
async def test_nothing_of_an_operation_waits_for_the_garbage_collector(
    demo: Graph, garbage: list[Any], text: str, variables: dict[str, Any]
) -> None:
    async def run() -> None:
        await ours.execute(text, variable_values=variables, context_value=RequestContext(demo.sources))

    await run()  # documents and registers are kept
    gc.collect()
    garbage.clear()
    await run()
    gc.collect()
    kinds = (Executor, ExecutionContext, SchemaExtension, GraphQLError, Context, RequestContext)
    assert [found for found in garbage if isinstance(found, kinds)] == []
