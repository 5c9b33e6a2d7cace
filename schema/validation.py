"""The rules of GraphQL (section 5) for documents of bounded size, in bounded time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    ParallelVisitor,
    TypeInfo,
    TypeInfoVisitor,
    ValidationContext,
    specified_rules,
    visit,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS
from graphql.pyutils import RefMap
from graphql.validation.validate import ValidationAbortedError
from graphql.validation.validation_context import VariableUsage, VariableUsageVisitor

from schema.overlaps import Overlaps

MAX_ERRORS = 5

_RULES = [rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule]
_VISITED = {
    kind: tuple(key for key in keys if key not in ("name", "alias", "description"))
    for kind, keys in QUERY_DOCUMENT_KEYS.items()
}
"""What rules look at: none looks at names by themselves."""


def validate(
    schema: GraphQLSchema, document: DocumentNode, *, introspection: bool, suggesting: bool
) -> Sequence[GraphQLError]:
    """What is wrong with a document, at most ``MAX_ERRORS`` of it; may raise ``TooLargeError``.

    The first error suggests names of the schema if ``suggesting``, and if ``introspection`` shows them anyway.
    """
    types = TypeInfo(schema)
    context = _Context(schema, document, types, suggesting=introspection and suggesting)
    rules = _RULES if introspection else [*_RULES, NoSchemaIntrospectionCustomRule]
    visitor = TypeInfoVisitor(types, ParallelVisitor([rule(context) for rule in rules]))
    try:
        visit(document, visitor, _VISITED)
    except ValidationAbortedError as enough:
        if not context.errors:
            return [GraphQLError(enough.message, document.definitions[0])]
    return context.errors or list(islice(Overlaps(schema, document).find(), MAX_ERRORS))


class _Context(ValidationContext):
    """What rules share: parts of the document by identity, where graphql-core compares them word by word."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, types: TypeInfo, *, suggesting: bool) -> None:
        super().__init__(schema, document, types, self._keep)
        self.errors: list[GraphQLError] = []
        self._types = types
        self._suggesting = suggesting
        self._fragment_spreads: Any = RefMap()
        self._recursive_variable_usages: Any = RefMap()
        self._usages: dict[int, list[VariableUsage]] = {}

    def _keep(self, error: GraphQLError) -> None:
        self.errors.append(error)
        if len(self.errors) >= MAX_ERRORS:
            raise ValidationAbortedError("There may be more errors.")

    @property
    def hide_suggestions(self) -> bool:
        """One list of suggestions is read; each costs as much as many other rules."""
        return not self._suggesting or bool(self.errors)

    def get_variable_usages(self, node: OperationDefinitionNode | FragmentDefinitionNode) -> list[VariableUsage]:
        """Where variables are used in a definition itself."""
        usages = self._usages.get(id(node))
        if usages is None:
            visitor = VariableUsageVisitor(self._types, node if isinstance(node, FragmentDefinitionNode) else None)
            visit(node, TypeInfoVisitor(self._types, visitor), _VISITED)
            usages = self._usages[id(node)] = visitor.usages
        return usages
