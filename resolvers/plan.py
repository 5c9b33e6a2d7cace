"""From the selection to what must be asked: nothing that the selected fields do not need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    InlineFragmentNode,
    NamedTypeNode,
    SelectionNode,
    SelectionSetNode,
)
from graphql.language import BooleanValueNode, VariableNode

from loaders.records import Wants


class Executing(Protocol):
    """What graphql-core tells a resolver of its place in the document."""

    @property
    def field_nodes(self) -> Sequence[FieldNode]: ...
    @property
    def fragments(self) -> Mapping[str, Any]: ...
    @property
    def variable_values(self) -> Any: ...


class Selection:
    """The fields selected below some field, fragments unfolded, whatever their aliases.

    ``types`` are the names that the value there goes by: fragments on others do not count. None: all do.
    """

    def __init__(
        self,
        nodes: Iterable[FieldNode],
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        types: Collection[str] | None = None,
    ) -> None:
        self._fragments = fragments
        self._variables = variables
        self._types = types
        self._fields: dict[str, list[FieldNode]] = {}
        for node in nodes:
            if node.selection_set is not None:
                self._collect(node.selection_set, set())

    @classmethod
    def below(cls, info: Executing, types: Collection[str] | None = None) -> Selection:
        """What is selected below the field being resolved, of a value that goes by these names."""
        fragments = {name: getattr(fragment, "definition", fragment) for name, fragment in info.fragments.items()}
        return cls(info.field_nodes, fragments, info.variable_values, types)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> Selection:
        """What is selected below a field, all its aliases together; empty when it is not selected."""
        return Selection(self._fields.get(name, ()), self._fragments, self._variables)

    def below_node(self, node: FieldNode) -> Selection:
        """What is selected below one selection of a field."""
        return Selection((node,), self._fragments, self._variables)

    def nodes(self, name: str) -> Sequence[FieldNode]:
        """Every selection of a field, one for each alias and place."""
        return self._fields.get(name, ())

    def any(self, *names: str) -> bool:
        """Whether one of these fields is selected."""
        return any(name in self._fields for name in names)

    def only(self, *names: str) -> bool:
        """Whether nothing but these fields is selected."""
        return all(name in names or name == "__typename" for name in self._fields)

    def _collect(self, selections: SelectionSetNode, seen: set[str]) -> None:
        for node in selections.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                self._fields.setdefault(node.name.value, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if self._counts(node.type_condition):
                    self._collect(node.selection_set, seen)
            else:
                name = node.name.value  # type: ignore[attr-defined]  # the third kind of selection is a spread
                fragment = self._fragments.get(name)
                if fragment is not None and name not in seen and self._counts(fragment.type_condition):
                    seen.add(name)
                    self._collect(fragment.selection_set, seen)

    def _counts(self, condition: NamedTypeNode | None) -> bool:
        return self._types is None or condition is None or condition.name.value in self._types

    def _included(self, node: SelectionNode) -> bool:
        for directive in node.directives or ():
            if directive.name.value in ("skip", "include"):
                condition = next((a.value for a in directive.arguments or () if a.name.value == "if"), None)
                if isinstance(condition, VariableNode):
                    holds = bool(self._variables.get(condition.name.value))
                else:
                    holds = isinstance(condition, BooleanValueNode) and condition.value
                if holds is (directive.name.value == "skip"):
                    return False
        return True


def wants_of_token(token: Selection) -> Wants:
    """What the selected fields of a token need beyond the registers."""
    wants = Wants.NOTHING
    if "price" in token:
        wants |= Wants.PRICE
        if token["price"].any("change24h", "changePercent24h"):
            wants |= Wants.PRICE_CHANGE
    stock = token["stock"]
    if stock.any("underlyingName", "sharesPerToken", "underlyingPriceUsd"):
        wants |= Wants.MARKET
    if "underlyingPriceUsd" in stock:
        wants |= Wants.PRICE
    if "group" in token:
        wants |= wants_of_token(token["group"]["members"])
    return wants


def wants_of_holding(holding: Selection) -> Wants:
    """What the selected fields of a holding need beyond the balances."""
    wants = wants_of_token(holding["token"])
    if holding.any("valueUsd", "valueStatus", "valueSource"):
        wants |= Wants.PRICE
    return wants


def wants_of_total(total: Selection) -> Wants:
    """What the selected fields of a total need beyond the balances."""
    return Wants.PRICE if total.any("valueUsd", "complete", "unpricedCount") else Wants.NOTHING


def wants_of_sources(sources: Selection) -> Wants:
    """What the selected fields of the reports need beyond the balances."""
    return Wants.FRESHNESS if "indexedTo" in sources else Wants.NOTHING


def wants_of_connection(connection: Selection, *, ordered_by_value: bool, filtered_by_value: bool) -> Wants:
    """What the selected fields of a page of holdings need, and the order and filter that make the page."""
    wants = wants_of_holding(connection["nodes"]) | wants_of_holding(connection["edges"]["node"])
    wants |= wants_of_total(connection["total"]) | wants_of_sources(connection["sources"])
    paged = connection.any("nodes", "edges", "pageInfo")
    counted = paged or connection.any("totalCount", "total")
    if "share" in connection["edges"] or (ordered_by_value and paged) or (filtered_by_value and counted):
        wants |= Wants.PRICE
    return wants


def wants_of_groups(groups: Selection) -> Wants:
    """What the selected fields of holdings by asset group need."""
    wants = wants_of_total(groups["total"]) | wants_of_holding(groups["holdings"])
    wants |= wants_of_token(groups["group"]["members"])
    return wants | Wants.AGGREGATES if "reported" in groups else wants
