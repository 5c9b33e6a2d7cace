"""What the answers to an operation must look like, whatever it asks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
    is_list_type,
    is_non_null_type,
    parse,
)

from tests.hostile.queries import Operation

_FORMS: Mapping[str, re.Pattern[str]] = {
    "Decimal": re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?"),
    "BigInt": re.compile(r"-?(?:0|[1-9]\d*)"),
    "DateTime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"),
}


class Answers:
    """What the answers to one operation look like."""

    def __init__(self, schema: GraphQLSchema, operation: Operation) -> None:
        self._schema = schema
        document = parse(operation.text)
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        (self._query,) = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
        self._variables = {**_defaults(self._query), **operation.variables}

    def check(self, data: Any, *, whole: bool) -> None:
        """Asserts that data has the types that the schema promises and, if ``whole``, every field."""
        assert self._schema.query_type is not None
        self._check_object(data, self._schema.query_type, [self._query.selection_set], whole)

    def _check_object(
        self, value: Any, kind: GraphQLNamedType, selections: Sequence[SelectionSetNode], whole: bool
    ) -> None:
        assert isinstance(value, dict)
        found = self._schema.type_map[value["__typename"]] if "__typename" in value else kind
        assert isinstance(found, GraphQLObjectType)
        nodes: dict[str, list[FieldNode]] = {}
        for node in self._fields(found, selections):
            nodes.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
        assert value.keys() <= nodes.keys(), value.keys() - nodes.keys()
        assert not whole or value.keys() == nodes.keys(), nodes.keys() - value.keys()
        for name in value:
            node = nodes[name][0]
            if node.name.value != "__typename":
                below = [one.selection_set for one in nodes[name] if one.selection_set is not None]
                self._check(value[name], found.fields[node.name.value].type, below, whole)

    def _check(self, value: Any, kind: GraphQLType, selections: Sequence[SelectionSetNode], whole: bool) -> None:
        if is_non_null_type(kind):
            assert value is not None, f"null for {kind}"
            kind = kind.of_type
        if value is None:
            return
        if is_list_type(kind):
            assert isinstance(value, list)
            for item in value:
                self._check(item, kind.of_type, selections, whole)
        elif is_composite_type(kind):
            self._check_object(value, get_named_type(kind), selections, whole)
        elif isinstance(kind, GraphQLEnumType):
            assert value in kind.values
        elif (form := _FORMS.get(str(kind))) is not None:
            assert form.fullmatch(value), f"{value} for {kind}"
        else:
            expected = {"Int": int, "Float": float, "Boolean": bool}.get(str(kind), str)
            assert type(value) is expected, f"{value} for {kind}"

    def _fields(self, kind: GraphQLObjectType, selections: Sequence[SelectionSetNode]) -> Iterator[FieldNode]:
        """The fields that these selections ask of an object of this type."""
        for selection_set in selections:
            for node in selection_set.selections:
                if not self._is_included(node):
                    continue
                if isinstance(node, FieldNode):
                    yield node
                elif isinstance(node, FragmentSpreadNode):
                    fragment = self._fragments[node.name.value]
                    if fragment.type_condition.name.value == kind.name:
                        yield from self._fields(kind, [fragment.selection_set])
                elif isinstance(node, InlineFragmentNode):
                    condition = node.type_condition
                    if condition is None or condition.name.value == kind.name:
                        yield from self._fields(kind, [node.selection_set])

    def _is_included(self, node: Any) -> bool:
        for directive in node.directives or ():
            if directive.name.value in ("include", "skip"):
                value = directive.arguments[0].value
                found = self._variables[value.name.value] if hasattr(value, "name") else value.value
                if found is (directive.name.value == "skip"):
                    return False
        return True


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    """The defaults of variables that conditions may use."""
    definitions = operation.variable_definitions or ()
    return {one.variable.name.value: getattr(one.default_value, "value", None) for one in definitions}
