"""From the text of a request to an operation that may be executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    get_operation_ast,
    parse,
    validate,
)

from schema.limits import Limits


@dataclass(frozen=True, slots=True)
class Prepared:
    """An operation that may be executed; ``without_increments`` is the document less ``@defer`` and ``@stream``."""

    document: DocumentNode
    without_increments: DocumentNode
    operation: OperationDefinitionNode


class RefusedError(Exception):
    """An operation that cannot be executed, and why; ``document`` is None when it is none."""

    def __init__(self, errors: Sequence[GraphQLError], document: DocumentNode | None = None) -> None:
        super().__init__(errors[0].message)
        self.errors = errors
        self.document = document


class Documents:
    """Parses and validates documents against one schema, each once."""

    def __init__(self, schema: GraphQLSchema, limits: Limits, *, introspection: bool) -> None:
        self._schema = schema
        self._limits = limits
        self._introspection = introspection

    def prepare(self, text: str, operation_name: str | None, variables: Mapping[str, Any] | None) -> Prepared:
        """The operation of this name; raises ``RefusedError``."""
        try:
            document = parse(text)
        except GraphQLError as error:
            raise RefusedError([error]) from error
        if errors := validate(self._schema, document):
            raise RefusedError(errors, document)
        operation = get_operation_ast(document, operation_name)
        if operation is None:
            raise RefusedError([GraphQLError("Which operation?")], document)
        return Prepared(document, document, operation)
