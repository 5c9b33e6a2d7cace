"""Random operations that are valid for a schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLType,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_list_type,
    is_non_null_type,
)
from hypothesis import strategies as st

from tests.service import EVM, SOLANA

Draw = Callable[[st.SearchStrategy[Any]], Any]

_SOLANA_CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
_ADDRESSES = [EVM, SOLANA, "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5", f"eip155:56:{EVM}", f"0x{1:040x}"]
_CHAINS = ["eip155:1", "bsc-56", "solana", _SOLANA_CHAIN, "eip155:8453", "eip155:987654321"]
_ASSETS = [
    "eip155:1/slip44:60",
    "eip155:1/erc20:0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c",
    "eip155:8453/erc20:0x833589fcd6edb6e08f4c7c32d4f71b54bda02913",
    f"{_SOLANA_CHAIN}/token:EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    f"{_SOLANA_CHAIN}/slip44:501",
    "eip155:1/erc20:0x" + "99" * 20,
]
_GROUPS = ["ob:usdc", "ondo:AAPLon", "ob:nothing"]
_KEYS = [
    *[("Wallet", "address", address) for address in _ADDRESSES],
    *[("Token", "assetId", asset) for asset in _ASSETS],
    *[("Chain", "chainId", chain) for chain in _CHAINS],
    *[("AssetGroup", "groupId", group) for group in _GROUPS],
    ("Holding", "id", f"Holding:eip155:1:{EVM}/slip44:60"),
]
_PLAUSIBLE: Mapping[str, Sequence[Any]] = {
    "AccountAddress": _ADDRESSES,
    "ChainId": _CHAINS,
    "AssetId": _ASSETS,
    "Decimal": ["0", "1.5", "-1", "0.000000000000000001", 7, "9" * 60],
    "BigInt": ["0", "12345678901234567890", 7],
    "Int": [0, 1, 2, 15, 50, 200],
    "Float": [0.5, -1.25],
    "Boolean": [True, False],
    "String": ["", "usd", "AAPL", "🙂", SOLANA],
    "ID": [key if key.startswith(kind) else f"{kind}:{key}" for kind, _, key in _KEYS],
    "_Any": [{"__typename": kind, name: key} for kind, name, key in _KEYS],
}
_ODD: Mapping[str, st.SearchStrategy[Any]] = {
    "Int": st.integers(-(1 << 33), 1 << 33),
    "Float": st.floats(allow_nan=False, allow_infinity=False),
    "Boolean": st.booleans(),
    "_Any": st.dictionaries(
        st.sampled_from(["__typename", "id", "address", "a"]), st.none() | st.integers() | st.text()
    ),
}
_CURSORS = ("after", "before")
"""Arguments of which no text that is made up is a value."""
_PERCENT = st.integers(0, 99)
_ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@dataclass(frozen=True, slots=True)
class Operation:
    """A query with its variables."""

    text: str
    variables: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.text}\n{json.dumps(self.variables)}"


@dataclass(slots=True)
class _Writer:
    """Writes one operation. Nothing in it conflicts: what is asked for with arguments has a name of its own."""

    schema: GraphQLSchema
    draw: Draw
    odd: float
    fields_left: int = 30
    names: int = 0
    declared: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)

    def chance(self, of: float) -> bool:
        return bool(self.draw(_PERCENT) < 100 * of)

    def name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    # What is selected

    def selection_set(self, kind: GraphQLNamedType, depth: int, *, own_names: bool = False) -> str:
        parts = ["__typename"]
        for _ in range(self.draw(st.integers(2, 6))):
            if depth <= 0 or self.fields_left <= 0:
                break
            if is_abstract_type(kind) or self.chance(0.2):
                parts.append(self.fragment(kind, depth, own_names=own_names or is_abstract_type(kind)))
            if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
                name = self.draw(st.sampled_from(_names_by_weight(kind)))
                parts.append(self.field(name, kind.fields[name], depth, own_names=own_names))
        return "{ " + " ".join(parts) + " }"

    def field(self, name: str, definition: GraphQLField, depth: int, *, own_names: bool) -> str:
        self.fields_left -= 1
        arguments = self.arguments(definition.args)
        directives = self.conditions()
        found = definition.type.of_type if is_non_null_type(definition.type) else definition.type
        if is_list_type(found) and self.chance(0.15):
            directives += f' @stream(initialCount: {self.draw(st.integers(0, 2))}, label: "{self.name("s")}")'
            own_names = True
        named = arguments or own_names or self.chance(0.1)
        below = ""
        if is_composite_type(kind := get_named_type(definition.type)):
            below = " " + self.selection_set(kind, depth - 1)
        return f"{self.name('a') + ': ' if named else ''}{name}{arguments}{directives}{below}"

    def fragment(self, kind: GraphQLNamedType, depth: int, *, own_names: bool) -> str:
        if is_abstract_type(kind):
            kind = self.draw(st.sampled_from(sorted(self.schema.get_possible_types(kind), key=str)))
        directives = self.conditions()
        if self.chance(0.3):
            directives += f' @defer(label: "{self.name("d")}")'
        below = self.selection_set(kind, depth - 1, own_names=own_names)
        if self.chance(0.5):
            return f"... on {kind.name}{directives} {below}"
        name = self.name("F")
        self.fragments.append(f"fragment {name} on {kind.name} {below}")
        return f"...{name}{directives}" + (f" ...{name}" if self.chance(0.2) else "")

    def conditions(self) -> str:
        if not self.chance(0.1):
            return ""
        condition = GraphQLNonNull(GraphQLBoolean)
        return f" @{self.draw(st.sampled_from(['include', 'skip']))}(if: {self.value(condition)})"

    # What it is given

    def arguments(self, definitions: Mapping[str, GraphQLArgument]) -> str:
        given = [
            f"{name}: {self.value(definition.type, definition.default is not None)}"
            for name, definition in definitions.items()
            if _is_required(definition) or self.chance(0.02 if name in _CURSORS else 0.3)
        ]
        return f"({', '.join(given)})" if given else ""

    def value(self, kind: GraphQLType, has_default: bool = False) -> str:
        """A value, or a variable that has one; it may be null where the place has a default."""
        if not self.chance(0.3):
            return _literal(self.plain(kind), kind)
        if has_default and is_non_null_type(kind) and self.chance(0.5):
            kind = kind.of_type
        name = self.name("v")
        if self.chance(0.2):
            self.declared.append(f"${name}: {kind} = {_literal(self.plain(kind), kind)}")
        else:
            self.declared.append(f"${name}: {kind}")
            self.variables[name] = self.plain(kind)
        return f"${name}"

    def plain(self, kind: GraphQLType) -> Any:
        """A value as JSON has it."""
        if is_non_null_type(kind):
            kind = kind.of_type
        elif self.chance(0.1):
            return None
        if is_list_type(kind):
            return [self.plain(kind.of_type) for _ in range(self.draw(st.integers(0, 3)))]
        if isinstance(kind, GraphQLEnumType):
            return self.draw(st.sampled_from(sorted(kind.values)))
        if isinstance(kind, GraphQLInputObjectType):
            return {
                name: self.plain(one.type)
                for name, one in kind.fields.items()
                if _is_required(one) or self.chance(0.25)
            }
        assert isinstance(kind, GraphQLScalarType)
        if self.chance(self.odd):
            return self.draw(_ODD.get(kind.name, _ANY_TEXT))
        return self.draw(st.sampled_from(_PLAUSIBLE[kind.name]))


@cache
def _names_by_weight(kind: GraphQLObjectType | GraphQLInterfaceType) -> Sequence[str]:
    """The names of its fields, those with more below them more than once."""
    below = [name for name, one in kind.fields.items() if is_composite_type(get_named_type(one.type))]
    with_arguments = [name for name in below if kind.fields[name].args]
    return sorted([*kind.fields, *below, *with_arguments, *with_arguments])


def _is_required(one: GraphQLArgument | GraphQLInputField) -> bool:
    return is_non_null_type(one.type) and one.default is None


def _literal(value: Any, kind: GraphQLType) -> str:
    """A value as GraphQL writes it."""
    named = get_named_type(kind)
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item, kind) for item in value) + "]"
    if isinstance(value, dict):
        fields = named.fields if isinstance(named, GraphQLInputObjectType) else {}
        inside = (
            f"{name}: {_literal(one, fields[name].type if name in fields else named)}" for name, one in value.items()
        )
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, str) and isinstance(named, GraphQLEnumType):
        return value
    return json.dumps(value, ensure_ascii=False)


@st.composite
def operations(draw: Draw, schema: GraphQLSchema, *, depth: int = 7) -> Operation:
    """Queries over any fields of a schema; all are valid, but a quarter of them has odd scalars."""
    assert schema.query_type is not None
    writer = _Writer(schema, draw, odd=draw(st.sampled_from([0, 0, 0, 0.05])))
    selection = writer.selection_set(schema.query_type, depth)
    declared = f"({', '.join(writer.declared)}) " if writer.declared else ""
    return Operation("\n".join([f"query Q {declared}{selection}", *writer.fragments]), writer.variables)
