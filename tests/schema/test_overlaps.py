"""Fields that cannot be merged are found in linear time, with the same verdict as graphql-core's rule."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    OverlappingFieldsCanBeMergedRule,
    build_schema,
    get_named_type,
    is_leaf_type,
    parse,
    validate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from schema import schema
from schema.limits import TooLargeError
from schema.overlaps import Overlaps

OURS = schema._schema
ANIMALS = build_schema(
    """
    directive @stream(if: Boolean) on FIELD
    interface Animal { name: String owner: Owner friends(first: Int, by: By): [Animal!] size: Int! }
    type Dog implements Animal {
      name: String owner: Owner friends(first: Int, by: By): [Animal!] size: Int! age: Int
    }
    type Cat implements Animal {
      name: String owner: Owner friends(first: Int, by: By): [Animal!] size: Int! age: Float
    }
    type Fish implements Animal {
      name: String owner: Owner friends(first: Int, by: By): [Animal!] size: Int! age: [Int] depth: Int!
    }
    type Owner { name: String! pets(first: Int): [Pet] age: Int! best: Animal }
    union Pet = Dog | Cat
    input By { name: String age: Int }
    type Query { animal(id: ID): Animal pet(id: ID): Pet owner: Owner dog: Dog }
    """
)
_ALIASES = (None, None, None, "a", "name", "age")
_ARGUMENTS = (
    "",
    "",
    "(first: 1)",
    "(first: 2)",
    "(first: $n)",
    '(first: 1, by: {name: "x", age: 1})',
    '(by: {age: 1, name: "x"}, first: 1)',
    '(by: {age: 1, name: """x"""}, first: 1)',
)


def is_valid(schema: GraphQLSchema, text: str) -> bool:
    return not list(Overlaps(schema, parse(text)).find())


def reference(schema: GraphQLSchema, text: str) -> bool:
    return not validate(schema, parse(text), [OverlappingFieldsCanBeMergedRule])


def composites(schema: GraphQLSchema) -> list[str]:
    kinds = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType
    return sorted(
        name for name, type in schema.type_map.items() if isinstance(type, kinds) and not name.startswith("__")
    )


@st.composite
def documents(draw: st.DrawFn, schema: GraphQLSchema) -> str:
    """Random documents whose fragments are known and spread no cycle; their arguments need not be right."""
    names = composites(schema)
    fragment_count = draw(st.integers(0, 4))
    on = [draw(st.sampled_from(names)) for _ in range(fragment_count)]

    def selections(type: Any, depth: int, first_fragment: int) -> str:
        return "{ " + " ".join(selection(type, depth, first_fragment) for _ in range(draw(st.integers(1, 4)))) + " }"

    def selection(type: Any, depth: int, first_fragment: int) -> str:
        kind = draw(st.integers(0, 9))
        if kind == 0 and first_fragment < fragment_count:
            return f"...F{draw(st.integers(first_fragment, fragment_count - 1))}"
        if kind <= 2 and depth:
            inside = draw(st.sampled_from(names))
            return f"... on {inside} {selections(schema.type_map[inside], depth - 1, first_fragment)}"
        fields = getattr(type, "fields", {})
        fields = {name: field for name, field in fields.items() if depth or is_leaf_type(get_named_type(field.type))}
        if not fields:
            return draw(st.sampled_from(["__typename", "name: __typename"]))
        name = draw(st.sampled_from(sorted(fields)))
        alias = draw(st.sampled_from(_ALIASES))
        arguments = draw(st.sampled_from(_ARGUMENTS)) if fields[name].args else ""
        stream = " @stream" if draw(st.integers(0, 30)) == 0 else ""
        named = get_named_type(fields[name].type)
        below = "" if is_leaf_type(named) else " " + selections(named, depth - 1, first_fragment)
        return f"{alias + ': ' if alias else ''}{name}{arguments}{stream}{below}"

    fragments = [
        f"fragment F{n} on {name} {selections(schema.type_map[name], 2, n + 1)}" for n, name in enumerate(on)
    ]
    return " ".join([selections(schema.query_type, 4, 0), *fragments])


@pytest.mark.parametrize("graph", [ANIMALS, OURS], ids=["animals", "ours"])
def test_the_verdict_is_that_of_the_reference(graph: GraphQLSchema) -> None:
    verdicts = set[bool]()

    @settings(max_examples=150)
    @given(documents(graph))
    def compare(text: str) -> None:
        expected = reference(graph, text)
        assert is_valid(graph, text) is expected
        verdicts.add(expected)

    compare()
    assert verdicts == {True, False}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("{ dog { name name } dog { name } }", True),
        ("{ dog { name name: age } }", False),
        ("{ dog { friends(first: 1) { name } friends(first: 2) { name } } }", False),
        ("{ dog { friends(first: 1) { name } } dog { friends { name } } }", False),
        ('{ dog { friends(by: {name: "x", age: 1}) { name } friends(by: {age: 1, name: "x"}) { name } } }', True),
        ("{ animal { ... on Dog { x: name } ... on Fish { x: name } } }", True),
        ("{ animal { ... on Dog { x: size } ... on Fish { x: depth } } }", True),
        ("{ animal { ... on Dog { x: age } ... on Cat { x: age } } }", False),
        ("{ animal { ... on Dog { x: age } ... on Fish { x: age } } }", False),
        ("{ animal { ... on Dog { x: size } ... on Fish { x: age } } }", False),
        ("{ animal { ... on Dog { owner { x: name } } ... on Cat { owner { x: age } } } }", False),
        ("{ animal { ... on Dog { owner { best { x: size } } } ... on Fish { owner { best { x: size } } } } }", True),
        ("{ animal { ... on Dog { o: owner { x: best { size } } } ... on Fish { o: owner { x: best { name } } } } }",
            True),
        ("{ animal { ... on Dog { x: size } x: size ... on Fish { x: depth } } }", False),
        ("{ animal { ... on Animal { x: size } ... on Fish { x: depth } } }", False),
        ("{ animal { ...F ...G } } fragment F on Dog { x: size } fragment G on Animal { ...H }"
            " fragment H on Animal { x: name }", False),
        ("{ dog { friends @stream { name } friends { name } } }", False),
        ("{ dog { friends @stream { name } } }", True),
        ("{ dog { ...F ...F } } fragment F on Dog { friends @stream { name } }", True),
        ("{ dog { name } } fragment F on Dog { x: name x: age }", False),
    ],
)  # fmt: skip
def test_what_can_be_merged(text: str, valid: bool) -> None:
    assert reference(ANIMALS, text) is valid
    assert is_valid(ANIMALS, text) is valid


def test_a_field_again_and_again_takes_no_longer_than_so_many_others() -> None:
    text = "{ dog { " + "name " * 20_000 + "} }"
    document = parse(text)
    started = time.perf_counter()
    assert list(Overlaps(ANIMALS, document).find()) == []
    assert time.perf_counter() - started < 2


def test_more_comparisons_than_can_be_made_are_refused() -> None:
    numbers = count()

    def pets(depth: int) -> str:
        """Fields of one response name that are all different, each for another row of pets."""
        if not depth:
            return f"x: friends(first: {next(numbers)}) {{ size }} "
        return "".join(f"... on {pet} {{ x: friends {{ {pets(depth - 1)} }} }} " for pet in ("Dog", "Cat", "Fish"))

    assert is_valid(ANIMALS, f"{{ animal {{ {pets(3)} }} }}")
    with pytest.raises(TooLargeError):
        is_valid(ANIMALS, f"{{ animal {{ {pets(6)} }} }}")
