"""Whether fields of one response name can be merged (GraphQL, section 5.3.2), in time linear in the unfolded fields.

All fields that answer at one place of the response are looked at together, instead of every two of them. They must
have one shape. They must also be one field with the same arguments, unless their parents are different object types
somewhere on the way: then no object has both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_leaf_type,
)

from schema.limits import TooLargeError

Parents = tuple[GraphQLObjectType | None, ...]
"""The types of a field's parents, from the root on; None where it is not one object type."""

_MAX_COMPARISONS = 10_000


@dataclass(slots=True, eq=False)
class _Field:
    node: FieldNode
    parents: Parents
    definition: GraphQLField | None


class Overlaps:
    """Finds fields that cannot be merged in a document whose fragments are known and spread no cycle."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._definitions = document.definitions
        self._fragments: Mapping[str, FragmentDefinitionNode] = {
            one.name.value: one for one in self._definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._spread = set[str]()
        self._meanings: dict[int, int] = {}
        self._numbers: dict[object, int] = {}
        self._comparisons = 0

    def find(self) -> Iterator[GraphQLError]:
        """An error for each place of the response at which fields cannot be merged; may raise ``TooLargeError``."""
        for one in self._definitions:
            if isinstance(one, OperationDefinitionNode):
                yield from self._below([(one.selection_set, self._schema.get_root_type(one.operation), ())])
        for name, fragment in self._fragments.items():
            if name not in self._spread:
                on = self._schema.get_type(fragment.type_condition.name.value)
                yield from self._below([(fragment.selection_set, on, ())])

    def _below(
        self, selection_sets: Sequence[tuple[SelectionSetNode, GraphQLNamedType | None, Parents]]
    ) -> Iterator[GraphQLError]:
        """The errors in selection sets that are merged, and below."""
        groups: dict[str, list[_Field]] = {}
        seen = set[tuple[str, Parents]]()
        for selection_set, on, parents in selection_sets:
            for one in self._fields(selection_set, on, parents, seen):
                groups.setdefault((one.node.alias or one.node.name).value, []).append(one)
        for name, fields in groups.items():
            nodes = list({id(one.node): one.node for one in fields}.values())
            reason = self._conflict(fields) if len(nodes) > 1 else None
            if reason is not None:
                text = f"Fields '{name}' conflict: {reason}. Give them different aliases."
                yield GraphQLError(text, nodes)
                continue
            below = [
                (one.node.selection_set, get_named_type(one.definition.type) if one.definition else None, one.parents)
                for one in fields
                if one.node.selection_set is not None
            ]
            if below:
                yield from self._below(below)

    def _fields(
        self,
        selection_set: SelectionSetNode,
        on: GraphQLNamedType | None,
        parents: Parents,
        seen: set[tuple[str, Parents]],
    ) -> Iterator[_Field]:
        """The fields of a selection set on a type, those of its fragments included."""
        here = (*parents, on if isinstance(on, GraphQLObjectType) else None)
        defined = on.fields if isinstance(on, GraphQLObjectType | GraphQLInterfaceType) else {}
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                yield _Field(node, here, defined.get(node.name.value))
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inside = on if condition is None else self._schema.get_type(condition.name.value)
                yield from self._fields(node.selection_set, inside, parents, seen)
            elif isinstance(node, FragmentSpreadNode):
                name = node.name.value
                fragment = self._fragments.get(name)
                if fragment is not None and (name, parents) not in seen:
                    seen.add((name, parents))
                    self._spread.add(name)
                    inside = self._schema.get_type(fragment.type_condition.name.value)
                    yield from self._fields(fragment.selection_set, inside, parents, seen)

    def _conflict(self, fields: Sequence[_Field]) -> str | None:
        """Why fields of one response name cannot be merged; None when they can."""
        if any(directive.name.value == "stream" for one in fields for directive in one.node.directives or ()):
            return "one of them is streamed"
        if len({_shape(one.definition.type) for one in fields if one.definition is not None}) > 1:
            return "they are of different types"
        meanings = {(self._meaning(one.node), one.parents) for one in fields}
        if len({meaning for meaning, _ in meanings}) > 1:
            for (meaning, parents), (other, other_parents) in combinations(meanings, 2):
                self._comparisons += 1
                if self._comparisons > _MAX_COMPARISONS:
                    raise TooLargeError("fieldComparisons", self._comparisons, _MAX_COMPARISONS)
                if meaning != other and _can_be_one(parents, other_parents):
                    return "they are different fields, or have different arguments"
        return None

    def _meaning(self, node: FieldNode) -> int:
        """A number for each name with arguments, in whatever order."""
        number = self._meanings.get(id(node))
        if number is None:
            arguments = frozenset((one.name.value, _meaning(one.value)) for one in node.arguments or ())
            meaning = node.name.value, arguments
            number = self._meanings[id(node)] = self._numbers.setdefault(meaning, len(self._numbers))
        return number


def _can_be_one(parents: Parents, others: Parents) -> bool:
    """Whether one object can have both fields."""
    return all(one is other or one is None or other is None for one, other in zip(parents, others, strict=True))


def _shape(type: Any) -> tuple[str, Any]:
    """What a response shows of a type: lists, what cannot be null, and which leaf there is, if one."""
    wrappers = ""
    while isinstance(type, GraphQLList | GraphQLNonNull):
        wrappers += "[" if isinstance(type, GraphQLList) else "!"
        type = type.of_type
    return wrappers, type if is_leaf_type(type) else None


def _meaning(value: ValueNode) -> tuple[Any, ...]:
    """What is the same for values that are, whatever the order of the fields of objects."""
    if isinstance(value, VariableNode):
        return "$", value.name.value
    if isinstance(value, ListValueNode):
        return "[", *map(_meaning, value.values)
    if isinstance(value, ObjectValueNode):
        return "{", frozenset((field.name.value, _meaning(field.value)) for field in value.fields)
    if isinstance(value, StringValueNode):
        return '"', value.value, bool(value.block)
    return value.kind, getattr(value, "value", None)
