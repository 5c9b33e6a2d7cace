"""What an operation would cost, before it is executed, in plain fields of its response.

A field costs 1, one that reads the sources of a wallet as many as that takes, and what is selected below it as often
as it has items: as many as a list that it is given, a page of a connection, or a few where nothing says how many.
Variables are read as they were sent, whatever their types: those that are wrong are refused later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from resolvers.paging import DEFAULT_PAGE, MAX_PAGE
from schema.limits import Limits, TooLargeError

SOME = 5
"""Items of a list that nothing says the length of."""

READING = 250
"""A field that reconciles what the sources say of a wallet. It takes some 2 ms, and nobody else's turn meanwhile."""

_READS = ("holdings", "holding", "total", "byChain", "byAssetGroup", "sources")
_COSTS = {
    **dict.fromkeys(product(("Wallet", "Portfolio", "HoldingsView"), _READS), READING),
    ("Query", "__schema"): 20_000,  # its lists are long, and it is asked for once
    ("_Service", "sdl"): 1_000,
}

_SIZES = {("AssetGroup", "members"): 25}
"""Lists that are longer than some."""

_PORTFOLIO = "Portfolio"
_ITEMS = ("nodes", "edges", "wallets")
"""The lists of a connection or a portfolio, which are as long as that has items."""

_DIGITS = 10  # of an Int

Variables = Mapping[str, Any]

Size = Callable[[Variables], int]
"""How many items there are, with variables as they were sent."""


@dataclass(slots=True)
class Cost:
    """What a selection costs: so much, and more for each item of what only variables say the size of."""

    fixed: int = 0
    items: list[tuple[int, Size, Cost]] = field(default_factory=list)
    """How often, how many, and what one costs."""

    def of(self, variables: Variables) -> int:
        """The cost with these variables, as they were sent."""
        return self.fixed + sum(times * size(variables) * one.of(variables) for times, size, one in self.items)

    def add(self, other: Cost) -> None:
        self.fixed += other.fixed
        self.items += other.items

    def times(self, size: int | Size) -> Cost:
        """The cost of so many."""
        if not isinstance(size, int):
            return Cost(0, [(1, size, self)])
        return Cost(size * self.fixed, [(size * times, of, one) for times, of, one in self.items])


def cost_of(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Cost:
    """The cost of a valid operation; fields that may be skipped count as if they are not."""
    return _Reader(schema, document, operation).read(
        operation.selection_set, schema.get_root_type(operation.operation)
    )


def check_variables(variables: Variables | None, limits: Limits) -> None:
    """Raises ``TooLargeError`` for variables that are too many, too long or too deep to be looked at."""
    count = 0
    unread: list[tuple[Any, int]] = [(variables or {}, 0)]
    while unread:
        value, depth = unread.pop()
        if isinstance(value, list):
            limits.check("max_list_items", len(value))
        else:
            value = value.values()
        if depth > limits.max_nesting:
            raise TooLargeError("nesting", depth, limits.max_nesting)
        count += len(value)
        limits.check("max_variable_values", count)
        unread += [(item, depth + 1) for item in value if isinstance(item, dict | list)]


class _Reader:
    """Reads the cost of one operation."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._defaults = {
            variable.variable.name.value: _default(variable.default_value)
            for variable in operation.variable_definitions or ()
            if variable.default_value is not None
        }

    def read(self, selection_set: SelectionSetNode, on: Any, items: int | Size = SOME) -> Cost:
        """The cost of what is selected on one object: a connection or portfolio of so many ``items``, or another."""
        cost = Cost()
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                itself = Cost(_COSTS.get((on.name, node.name.value), 1))
                cost.add(itself.times(items) if on.name == _PORTFOLIO and node.name.value in _READS else itself)
                if node.selection_set is not None:
                    self._read_below(cost, node, node.selection_set, on, items)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inside = on if condition is None else self._schema.get_type(condition.name.value)
                cost.add(self.read(node.selection_set, inside, items))
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                inside = self._schema.get_type(fragment.type_condition.name.value)
                cost.add(self.read(fragment.selection_set, inside, items))
        return cost

    def _read_below(
        self, cost: Cost, node: FieldNode, selection_set: SelectionSetNode, on: Any, items: int | Size
    ) -> None:
        definition = self._schema.get_field(on, node.name.value)
        if definition is None:
            return
        arguments = {argument.name.value: argument.value for argument in node.arguments or ()}
        type = get_named_type(definition.type)
        lists = [name for name, argument in definition.args.items() if is_list_type(get_nullable_type(argument.type))]
        lengths = [self._length(arguments.get(name)) for name in lists]
        if type.name == _PORTFOLIO:
            cost.add(self.read(selection_set, type, *lengths))
            return
        below = self.read(selection_set, type, self._page(arguments) if _is_connection(type) else SOME)
        if lengths:
            for length in lengths:
                below = below.times(length)
        elif (_is_connection(on) or on.name == _PORTFOLIO) and node.name.value in _ITEMS:
            below = below.times(items)
        elif is_list_type(get_nullable_type(definition.type)):
            below = below.times(_SIZES.get((on.name, node.name.value), SOME))
        cost.add(below)

    def _length(self, value: ValueNode | None) -> int | Size:
        if isinstance(value, VariableNode):
            read = self._variable(value)
            return lambda variables: len(found) if isinstance(found := read(variables), list) else 1
        return len(value.values) if isinstance(value, ListValueNode) else 1

    def _page(self, arguments: Mapping[str, ValueNode]) -> int | Size:
        given = [arguments[name] for name in ("first", "last") if name in arguments]
        reads = [self._variable(value) for value in given if isinstance(value, VariableNode)]
        written = [_default(value) for value in given if isinstance(value, IntValueNode)]
        if not reads:
            return _page_size(written)
        return lambda variables: _page_size([*written, *(read(variables) for read in reads)])

    def _variable(self, node: VariableNode) -> Callable[[Variables], Any]:
        name = node.name.value
        default = self._defaults.get(name)
        return lambda variables: variables.get(name, default)


def _default(value: ValueNode) -> Any:
    """As much of a default value as says how many: a list, or a number of which more than a page is not read."""
    if isinstance(value, ListValueNode):
        return list(value.values)
    return int(value.value[:_DIGITS]) if isinstance(value, IntValueNode) else None


def _is_connection(type: Any) -> bool:
    return isinstance(type, GraphQLObjectType) and "pageInfo" in type.fields


def _page_size(asked: Sequence[Any]) -> int:
    """As many as a page can have at most: one that asks for more is refused by its resolver."""
    counts = [count if isinstance(count, int) else MAX_PAGE for count in asked if count is not None]
    return max(0, min(max(counts), MAX_PAGE)) if counts else DEFAULT_PAGE
