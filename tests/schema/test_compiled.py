"""Compiled execution is the executor's own to the letter: data, errors, their paths and their places."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from unittest.mock import patch

import pytest
import strawberry
from graphql import (
    DocumentNode,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    OperationDefinitionNode,
    Undefined,
    execute,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    parse,
    validate,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from loaders.caip import AssetId, ChainId
from schema import compiled
from schema.compiled import CompilingExecutor, GiveUpError, Plans
from schema.of_record import OfRecord, of_record
from schema.scalars import SCALARS, BigInt
from tests.failures.household import EVM, SOLANA, household
from tests.graph import open_graph


class Color(Enum):
    RED = "red"
    DARK_GREEN = "dark green"


@strawberry.enum
class Renamed(Enum):
    FIRST = strawberry.enum_value("1", name="ONE")
    SECOND = "2"


strawberry.enum(Color)


@strawberry.interface
class Named:
    name: str


@strawberry.type
class Leafy(Named):
    text: str | None
    count: int | None
    must_count: int
    flag: bool
    ratio: float | None
    id: strawberry.ID
    color: Color | None
    must_color: Color
    renamed: Renamed | None
    amount: Decimal | None
    raw: BigInt | None
    at: datetime | None
    asset: AssetId | None
    chain: ChainId
    texts: list[str]
    grid: list[list[int] | None] | None

    @strawberry.field
    def shout(self) -> str:
        return self.name.upper()

    @strawberry.field
    def asked(self, info: strawberry.Info) -> str | None:
        return info.field_name


@dataclass
class Inner:
    """A record with all that a leaf may be."""

    count: Any = 1
    color: Any = Color.RED
    amount: Any = None


@dataclass
class Record:
    """A record behind a record."""

    name: Any = "a record"
    inner: Any = field(default_factory=Inner)
    inners: Any = ()

    @property
    def broken(self) -> str:
        raise RuntimeError("a property that fails")


@strawberry.type
class Part(OfRecord):
    record: strawberry.Private[Inner]
    count: int = of_record()
    color: Color | None = of_record()
    amount: Decimal | None = of_record()

    @strawberry.field
    def twice(self) -> int | None:
        return None if self.record.count is None else self.record.count * 2


@strawberry.type
class Shown(OfRecord, Named):
    record: strawberry.Private[Record]
    name: str = of_record()
    count: int | None = of_record("inner.count")
    must_amount: Decimal = of_record("inner.amount")
    part: Part | None = of_record("inner")
    must_part: Part = of_record("inner")
    parts: list[Part] = of_record("inners")
    maybe_parts: list[Part | None] | None = of_record("inners")
    broken: str | None = of_record()


@strawberry.type
class Root:
    leafy: Leafy | None
    must_leafy: Leafy
    leaves: list[Leafy]
    maybe_leaves: list[Leafy | None] | None
    shown: Shown | None
    all_shown: list[Shown]
    named: list[Named | None]
    nested: list[list[Shown]]


SCHEMA = strawberry.Schema(Root, types=[Leafy, Shown], config=StrawberryConfig(scalar_map=dict(SCALARS)))
CORE = SCHEMA._schema


_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Words(str):
    """Text of another class."""


class Later:
    """Something to be awaited; unlike a coroutine it does not mind if it is not."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield
        return self._value


def good_leafy(chance: random.Random) -> Leafy:
    some = chance.choice
    return Leafy(
        name=some(["plain", Words("of another class"), ""]),
        text=some([None, "text", "\ud800"]),
        count=some([None, 0, -5, 2**31 - 1]),
        must_count=some([1, 2]),
        flag=some([True, False]),
        ratio=some([None, 1.5, 2]),
        id=strawberry.ID(some(["an id", "7"])),
        color=some([None, Color.RED]),
        must_color=Color.DARK_GREEN,
        renamed=some([None, Renamed.FIRST, Renamed.SECOND]),
        amount=some([None, Decimal("1.500"), Decimal("1E+3"), Decimal("-0")]),
        raw=some([None, BigInt(10**30)]),
        at=some([None, datetime(2026, 1, 1, tzinfo=UTC)]),
        asset=some([None, AssetId("eip155:1/slip44:60")]),
        chain=ChainId("eip155:1"),
        texts=some([[], ["a", "b"], ("a",)]),  # type: ignore[list-item]
        grid=some([None, [], [[1], None, [2, 3]]]),
    )


_ODD: Sequence[Any] = (
    None,
    Undefined,
    True,
    2**31,
    1.5,
    float("nan"),
    "text",
    b"bytes",
    [],
    [None],
    ["a", None],
    Decimal(1),
    Color.RED,
    "RED",
    ValueError("an error as a value"),
    object(),
    GiveUpError(),
)
_LEAFY_FIELDS = [name for name in Leafy.__annotations__ if name not in ("shout", "asked")] + ["name"]


def odd(chance: random.Random) -> Any:
    """A value that may not be what its field promises."""
    pick = chance.randrange(len(_ODD) + 3)
    if pick < len(_ODD):
        return _ODD[pick]
    if pick == len(_ODD):
        return Later("in a while")
    return (one for one in ["generated"]) if pick == len(_ODD) + 1 else {"a": "set"}


def make_leafy(chance: random.Random, oddity: float) -> Any:
    leafy = good_leafy(chance)
    for name in _LEAFY_FIELDS:
        if chance.random() < oddity:
            setattr(leafy, name, odd(chance))
    if chance.random() < oddity:
        del leafy.count
    return leafy


def make_inner(chance: random.Random, oddity: float) -> Any:
    inner = Inner(chance.choice([1, 7]), chance.choice([Color.RED, None]), Decimal("2.50"))
    for name in ("count", "color", "amount"):
        if chance.random() < oddity:
            setattr(inner, name, odd(chance))
    return inner


def make_record(chance: random.Random, oddity: float) -> Record:
    record = Record("a name", make_inner(chance, oddity), [make_inner(chance, oddity) for _ in range(3)])
    if chance.random() < oddity:
        record.inner = chance.choice([None, object()])
    if chance.random() < oddity:
        record.inners = chance.choice([None, (), tuple(record.inners), [None, *record.inners], 5])
    if chance.random() < oddity:
        record.name = odd(chance)
    return record


def make_root(seed: int, oddity: float) -> Root:
    """The same values for the same seed: what is awaited or iterated once is not there a second time."""
    chance = random.Random(seed)

    def leafy() -> Any:
        return odd(chance) if chance.random() < oddity / 3 else make_leafy(chance, oddity)

    def shown() -> Any:
        if chance.random() < oddity / 3:
            return chance.choice([None, make_record(chance, 0), Later(Shown.of(make_record(chance, 0)))])
        return Shown.of(make_record(chance, oddity))

    def some(make: Any) -> Any:
        values = [make() for _ in range(chance.choice([0, 1, 3]))]
        if chance.random() < oddity / 3:
            return chance.choice([None, tuple(values), (value for value in values), "text", Later(values)])
        return values

    return Root(
        leafy=leafy(),
        must_leafy=leafy(),
        leaves=some(leafy),
        maybe_leaves=some(leafy),
        shown=shown(),
        all_shown=some(shown),
        named=some(lambda: chance.choice([leafy, shown])()),
        nested=some(lambda: some(shown)),
    )


def write_query(chance: random.Random) -> str:
    """A valid query, with aliases, fragments of both kinds, and directives by variable and by constant."""
    fragments: list[str] = []

    def directive() -> str:
        if chance.random() > 0.15:
            return ""
        return f" @{chance.choice(['skip', 'include'])}(if: {chance.choice(['$yes', '$no', 'true', 'false'])})"

    def selections(kind: Any, depth: int) -> str:
        fields = list(kind.fields.items())
        lines = []
        for _ in range(chance.randint(1, 5)):
            name, definition = chance.choice(fields)
            inner = get_named_type(definition.type)
            alias = chance.choice(["", "", f"{name}_{chance.randint(1, 2)}: "])
            below = ""
            if is_composite_type(inner):
                if depth == 0:
                    continue
                below = " { " + selections(inner, depth - 1) + " }"
            lines.append(f"{alias}{name}{directive()}{below}")
        if chance.random() < 0.3:
            lines.append(f"{chance.choice(['', 'what: '])}__typename{directive()}")
        if chance.random() < 0.25 and depth:
            on = kind
            if is_abstract_type(kind):
                on = chance.choice(list(CORE.get_possible_types(kind)))
            inner_text = selections(on, depth - 1)
            if chance.random() < 0.5:
                lines.append(f"... on {on.name}{directive()} {{ {inner_text} }}")
            else:
                fragments.append(f"fragment F{len(fragments)} on {on.name} {{ {inner_text} }}")
                lines.append(f"...F{len(fragments) - 1}{directive()}")
        return " ".join(lines or ["__typename"])

    root = CORE.query_type
    assert root is not None
    text = selections(root, 3)
    used = "used: __typename @skip(if: $yes) @include(if: $no)"
    return " ".join([f"query ($yes: Boolean! = true, $no: Boolean!) {{ {used} {text} }}", *fragments])


async def run(executor: Any, document: DocumentNode, root: Any, variables: dict[str, Any]) -> Any:
    result: Any = execute(CORE, document, root, variable_values=variables, executor_class=executor)
    if asyncio.iscoroutine(result):
        result = await result
    errors = sorted(
        _ADDRESS.sub("", str((error.message, error.path, error.locations))) for error in result.errors or ()
    )
    return _ADDRESS.sub("", repr(result.data)), errors


def plans_of(document: DocumentNode) -> Plans:
    """What lets the document's operation be compiled, as long as it is kept."""
    (operation,) = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    return Plans(CORE, operation)


@contextmanager
def counting() -> Iterator[dict[str, int]]:
    """How many values compiled functions completed, and on how many they gave up; they are compiled at once."""
    counts = {"completed": 0, "given up": 0}
    build = compiled._Compiler.compile

    def compile(self: Any, *arguments: Any) -> Any:
        complete = build(self, *arguments)

        def counted(value: Any) -> Any:
            try:
                completed = complete(value)
            except Exception:
                counts["given up"] += 1
                raise
            counts["completed"] += 1
            return completed

        return counted

    with patch.object(compiled, "_WORTH_IT", 0), patch.object(compiled._Compiler, "compile", compile):
        yield counts


@pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning")  # by graphql-core, after errors
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("oddity", [0.0, 0.03, 0.3])
def test_what_is_compiled_comes_out_as_the_executor_has_it(oddity: float) -> None:
    async def compare(document: DocumentNode, seed: int) -> None:
        for variables in ({"no": True}, {"no": False}):
            for data_seed in (seed, seed + 1):
                plain = StrawberryGraphQLCoreExecutionContext
                expected = await run(plain, document, make_root(data_seed, oddity), variables)
                assert await run(CompilingExecutor, document, make_root(data_seed, oddity), variables) == expected

    @settings(max_examples=int(os.environ.get("COMPILED_EXAMPLES", "120")), deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, 2**32))
    def check(query_seed: int, data_seed: int) -> None:
        document = parse(write_query(random.Random(query_seed)))
        assume(not validate(CORE, document))  # two fields of one name may not merge
        plans = plans_of(document)
        asyncio.run(compare(document, data_seed))
        assert plans is not None

    with counting() as counts:
        check()
    assert counts["completed"] > 100
    assert counts["given up"] > 100 * oddity


async def test_a_compiled_place_is_compiled_once_and_serves_every_execution() -> None:
    text = "query ($yes: Boolean!) { allShown { name part @include(if: $yes) { count } } }"
    document = parse(text)
    plans = plans_of(document)
    builds = []
    build = compiled._Compiler.compile

    def compile(self: Any, *arguments: Any) -> Any:
        builds.append(arguments)
        return build(self, *arguments)

    root = make_root(1, 0.0)
    root.all_shown = [Shown.of(Record()) for _ in range(20)]
    with patch.object(compiled._Compiler, "compile", compile):
        for yes in (True, False, True, False, True):
            result: Any = execute(
                CORE, document, root, variable_values={"yes": yes}, executor_class=CompilingExecutor
            )
            expected = {"name": "a record", "part": {"count": 1}} if yes else {"name": "a record"}
            assert result.data == {"allShown": [expected] * 20}
    assert len(builds) == 2  # one for each value of the variable
    assert plans is not None


def test_what_takes_arguments_or_is_awaited_is_left_to_the_executor() -> None:
    for selection in ("asked", "name asked", "... on Leafy { asked }"):
        with counting() as counts:
            document = parse(f"{{ leaves {{ {selection} }} }}")
            plans = plans_of(document)
            root = make_root(3, 0.0)
            root.leaves = [good_leafy(random.Random(1))] * 40
            _, errors = asyncio.run(run(CompilingExecutor, document, root, {}))
        assert not errors
        assert plans is not None
        assert counts == {"completed": 0, "given up": 0}


def test_an_operation_has_no_more_plans_than_it_may_and_works_beyond_them() -> None:
    names = [f"v{number}" for number in range(8)]
    directives = " ".join(f"{name}: name @include(if: ${name})" for name in names)
    text = f"query ({' '.join(f'${name}: Boolean!' for name in names)}) {{ allShown {{ count {directives} }} }}"
    document = parse(text)
    plans = plans_of(document)
    root = make_root(1, 0.0)
    root.all_shown = [Shown.of(Record()) for _ in range(20)]
    for values in range(256):
        variables = {name: bool(values >> place & 1) for place, name in enumerate(names)}
        result: Any = execute(CORE, document, root, variable_values=variables, executor_class=CompilingExecutor)
        chosen = {name: "a record" for name, value in variables.items() if value}
        assert result.data == {"allShown": [{"count": 1, **chosen}] * 20}
    assert len(plans._plans) == compiled._MAX_PLANS
    assert len(list(filter(callable, plans._plans.values()))) == compiled._MAX_COMPILED


_WALLETS = """
query ($addresses: [AccountAddress!]!, $yes: Boolean!) {
  wallets(addresses: $addresses) {
    __typename
    holdings(first: 30) {
      totalCount
      pageInfo { hasNextPage endCursor }
      sources { source status accounts chain { name } }
      edges { cursor node { ...all } }
      nodes { ...all }
      total { valueUsd missingSources }
      snapshotAt
    }
    byChain { chain { name } total { holdingCount } }
    byAssetGroup { group { id groupId members { assetId } } amount holdings { ...all } reported { rawAmount } }
  }
}
fragment all on Holding {
  id accountId chain { chainId name namespace } amount rawAmount value: valueUsd valueUsd valueStatus
  amountSource valueSource agreement asOf { blockNumber time } wallet { id address }
  token {
    id assetId symbol name decimals kind address trust metadataSource
    group @include(if: $yes) { id symbol definedBy }
    price { usd source asOf } stock { ticker sharesPerToken }
  }
  observations { source chosen amount rawAmount reportedValueUsd fetchedAt tokenAccounts { address rawAmount } }
}
"""


@pytest.mark.parametrize("yes", [True, False])
async def test_the_graph_answers_alike_with_and_without(yes: bool) -> None:
    async with open_graph(household()) as graph:
        with patch.object(compiled, "_MAX_PLANS", 0):
            expected = await graph.ask(_WALLETS, addresses=[EVM, SOLANA], yes=yes)
        with counting() as counts:
            assert _timeless(await graph.ask(_WALLETS, addresses=[EVM, SOLANA], yes=yes)) == _timeless(expected)
    assert counts["completed"] > 5
    assert counts["given up"] == 0


def _timeless(answer: Any) -> Any:
    """The answer without instants, which no two answers share."""
    if isinstance(answer, dict):
        return {name: _timeless(value) for name, value in answer.items() if name not in ("fetchedAt", "snapshotAt")}
    return [_timeless(value) for value in answer] if isinstance(answer, list) else answer


def test_every_type_of_the_schema_that_is_read_from_a_record_can_be_compiled() -> None:
    from schema import schema

    core = schema._schema
    for kind in core.type_map.values():
        origin = getattr(kind.extensions.get("strawberry-definition"), "origin", None)
        if not isinstance(kind, GraphQLObjectType) or not (isinstance(origin, type) and issubclass(origin, OfRecord)):
            continue
        leaves = [
            name
            for name, definition in kind.fields.items()
            if not definition.args and not is_composite_type(get_named_type(definition.type))
        ]
        document = parse(
            f"{{ __typename ... on Query {{ x: __typename }} }} fragment F on {kind.name} {{ {' '.join(leaves)} }}"
        )
        (operation, fragment) = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        executor = cast("CompilingExecutor", CompilingExecutor.build(core, document))
        node: Any = fragment
        details = [compiled_details(node)]
        complete = compiled._Compiler(executor).compile(GraphQLList(GraphQLNonNull(kind)), details)
        assert complete([]) == []


def compiled_details(fragment: Any) -> Any:
    """A field whose selections are those of a fragment."""
    from graphql import FieldNode, NameNode
    from graphql.execution.collect_fields import FieldDetails

    return FieldDetails(FieldNode(name=NameNode(value="x"), selection_set=fragment.selection_set), None)
