"""How large a document is, as it is written and with every fragment in its place, in time linear in the document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
)

from schema.limits import Limits


@dataclass(slots=True)
class Size:
    """What is selected: of one definition alone, or of one with all its fragments."""

    fields: int = 0
    """And fragments in their places: a field that is reached through many costs more to find."""
    aliases: int = 0
    root_fields: int = 0
    depth: int = 0
    """Fields inside each other."""
    nesting: int = 0
    """Selection sets inside each other."""

    def add(self, other: Size, depth: int, nesting: int, times: int) -> None:
        """Adds what is spread so many times, inside so many fields and selection sets."""
        self.fields += times * other.fields
        self.aliases += times * other.aliases
        if depth == 0:
            self.root_fields += times * other.root_fields
        self.depth = max(self.depth, depth + other.depth)
        self.nesting = max(self.nesting, nesting + other.nesting)


@dataclass(slots=True)
class Written:
    """What a definition has, as it is written."""

    own: Size = field(default_factory=Size)
    selections: int = 0
    directives: list[Sequence[DirectiveNode]] = field(default_factory=list)
    """Those of each place that has any."""
    longest_list: int = 0
    spreads: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    """How often each fragment is spread, inside how many fields and selection sets."""

    @classmethod
    def of(cls, definition: OperationDefinitionNode | FragmentDefinitionNode) -> Written:
        written = cls()
        if definition.directives:
            written.directives.append(definition.directives)
        for variable in definition.variable_definitions or ():
            if variable.directives:
                written.directives.append(variable.directives)
            if variable.default_value is not None:
                written.longest_list = max(written.longest_list, _longest_list(variable.default_value))
        for selection, depth, nesting in _selections(definition.selection_set):
            written._count(selection, depth, nesting)
        return written

    def _count(self, selection: SelectionNode, depth: int, nesting: int) -> None:
        self.selections += 1
        if selection.directives:
            self.directives.append(selection.directives)
        own = self.own
        own.fields += 1
        own.nesting = max(own.nesting, nesting)
        if isinstance(selection, FragmentSpreadNode):
            self.spreads[selection.name.value, depth, nesting] += 1
        elif isinstance(selection, FieldNode):
            own.aliases += selection.alias is not None
            own.root_fields += depth == 0
            own.depth = max(own.depth, depth + 1)
            for argument in selection.arguments or ():
                self.longest_list = max(self.longest_list, _longest_list(argument.value))


def check_document(document: DocumentNode, limits: Limits) -> None:
    """Raises ``TooLargeError`` for a document that is larger than it may be, valid or not."""
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    fragments = [one for one in document.definitions if isinstance(one, FragmentDefinitionNode)]
    limits.check("max_operations_per_document", len(operations))
    limits.check("max_fragments", len(fragments))
    wholes = [Written.of(one) for one in operations]
    parts = [Written.of(one) for one in fragments]
    written = [*wholes, *parts]
    limits.check("max_selections", sum(one.selections for one in written))
    places = [len(directives) for one in written for directives in one.directives]
    limits.check("max_directives", sum(places))
    limits.check("max_directives_per_location", max(places, default=0))
    limits.check("max_list_items", max((one.longest_list for one in written), default=0))
    unfolded = _Unfolded({one.name.value: part for one, part in zip(fragments, parts, strict=True)})
    sizes = [unfolded.size(whole) for whole in wholes]
    limits.check("max_fields", sum(size.fields for size in sizes))
    for size in sizes:
        limits.check("max_nesting", size.nesting)
        limits.check("max_depth", size.depth)
        limits.check("max_root_fields", size.root_fields)
        limits.check("max_aliases", size.aliases)
    for fragment in fragments:  # also those that nobody spreads
        limits.check("max_nesting", unfolded.size_of_fragment(fragment.name.value).nesting)


class _Unfolded:
    """Sizes with every fragment in its place; each fragment is unfolded once, and one within itself is nothing."""

    def __init__(self, fragments: Mapping[str, Written]) -> None:
        self._fragments = fragments
        self._sizes: dict[str, Size] = {}

    def size(self, written: Written) -> Size:
        own = written.own
        size = Size(own.fields, own.aliases, own.root_fields, own.depth, own.nesting)
        for (name, depth, nesting), times in written.spreads.items():
            size.add(self.size_of_fragment(name), depth, nesting, times)
        return size

    def size_of_fragment(self, name: str) -> Size:
        size = self._sizes.get(name)
        if size is None:
            self._sizes[name] = Size()  # for the rule against cycles to report
            fragment = self._fragments.get(name)
            size = self._sizes[name] = Size() if fragment is None else self.size(fragment)
        return size


def _selections(selection_set: SelectionSetNode) -> Iterator[tuple[SelectionNode, int, int]]:
    """Every selection below, inside how many fields and selection sets it is."""
    unread = [(selection_set, 0, 1)]
    while unread:
        selections, depth, nesting = unread.pop()
        for selection in selections.selections:
            yield selection, depth, nesting
            below: SelectionSetNode | None = getattr(selection, "selection_set", None)
            if below is not None:
                unread.append((below, depth + isinstance(selection, FieldNode), nesting + 1))


def _longest_list(value: ValueNode) -> int:
    longest = 0
    unread = [value]
    while unread:
        value = unread.pop()
        if isinstance(value, ListValueNode):
            longest = max(longest, len(value.values))
            unread.extend(value.values)
        elif isinstance(value, ObjectValueNode):
            unread.extend(field.value for field in value.fields)
    return longest
