"""From the text of a request to an operation that may be executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from cachetools import LRUCache
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    coerce_input_value,
    get_variable_values,
    is_non_null_type,
    parse,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, input_is_nested_too_deeply
from strawberry.types.graphql import OperationType

from schema.compiled import Plans
from schema.cost import Cost, check_variables, cost_of
from schema.errors import shortened
from schema.increments import without_increments
from schema.limits import Limits
from schema.sizes import check_document
from schema.tokens import check_text, have_short_names
from schema.validation import MAX_ERRORS, validate

_MAX_NODES = 5
_BYTES = 2_000
_BYTES_PER_TOKEN = 1_000  # twice as many as the document has: it is kept without increments too


class RefusedError(Exception):
    """An operation that cannot be executed, and why; ``document`` is None when it is none."""

    def __init__(self, errors: Sequence[GraphQLError], document: DocumentNode | None = None) -> None:
        super().__init__(errors[0].message)
        self.errors = errors
        self.document = document


class ValidDocument:
    """A document of which each operation may be executed, as far as its variables let it; ``bytes`` by estimate."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, bytes: int) -> None:
        self.document = document
        self.bytes = bytes
        self.schema = schema
        self._operations = _operations(document)
        self._prepared: dict[str | None, Prepared] = {}

    @cached_property
    def without_increments(self) -> DocumentNode:
        return without_increments(self.document)

    def prepared(self, operation_name: str | None) -> Prepared:
        """The operation of this name, or the only one; raises ``GraphQLError``."""
        if not operation_name:
            if len(self._operations) != 1:
                raise _bad_name("The document has several operations: say by operationName which one to execute.")
            (operation_name,) = self._operations
        elif operation_name not in self._operations:
            raise _bad_name(f'The document has no operation named "{operation_name}".')
        if operation_name not in self._prepared:
            operation = self._operations[operation_name]
            self._prepared[operation_name] = Prepared(self, operation, cost_of(self.schema, self.document, operation))
        return self._prepared[operation_name]


class Executable:
    """An operation within its document, and what the executor would find out each time anew."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self.document = document
        self.operation = operation
        self.fragment_definitions = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self.fragments = {name: FragmentDetails(one) for name, one in self.fragment_definitions.items()}
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        found = [get_variable_signature(schema, one) for one in self._definitions]
        self._signatures = [one for one in found if isinstance(one, GraphQLVariableSignature)]  # of a valid one: all
        self._plans = Plans(schema, operation)

    def variable_values(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        """The values of the operation's variables, or what is wrong with those that are given."""
        sources, coerced = {}, {}
        for signature in self._signatures:
            name, type, default, _ = signature
            value = given.get(name, Undefined)
            if value is Undefined and default is None and not is_non_null_type(type):
                sources[name] = VariableValueSource(signature)
                continue
            if value is Undefined or input_is_nested_too_deeply(value, type):
                break
            if (found := coerce_input_value(value, type)) is Undefined:
                break
            sources[name] = VariableValueSource(signature, value)
            coerced[name] = found
        else:
            return VariableValues(sources, coerced)
        # A default, or something wrong: it is found out, and told, as graphql-core does.
        return get_variable_values(
            self._schema, self._definitions, dict(given), max_errors=MAX_ERRORS, hide_suggestions=True
        )


class Prepared:
    """An operation that may be executed: ``whole``, or ``plain``, without ``@defer`` and ``@stream``."""

    def __init__(self, valid: ValidDocument, operation: OperationDefinitionNode, cost: Cost) -> None:
        self.operation = operation
        self.type = OperationType(operation.operation.value)
        self.cost = cost
        self.whole = self.plain = Executable(valid.schema, valid.document, operation)
        if valid.without_increments is not valid.document:
            plain = _operations(valid.without_increments)[_name(operation)]
            self.plain = Executable(valid.schema, valid.without_increments, plain)

    @property
    def document(self) -> DocumentNode:
        return self.whole.document

    @property
    def without_increments(self) -> DocumentNode:
        """The document less ``@defer`` and ``@stream``."""
        return self.plain.document


class Documents:
    """Parses and validates documents against one schema, each once, and says whether an operation may be executed.

    Valid documents are kept, up to ``max_bytes`` of memory by estimate. Those that were asked for again are kept
    apart, so that none that is sent once drives them out. Of documents that are not valid the last is remembered.
    """

    def __init__(
        self, schema: GraphQLSchema, limits: Limits, *, introspection: bool, max_bytes: int = 32 * 1024 * 1024
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._introspection = introspection
        self._new = _documents(max_bytes // 4)
        self._proven = _documents(max_bytes - max_bytes // 4)
        self._refused: tuple[str, Sequence[GraphQLError], DocumentNode | None] | None = None

    def prepare(self, text: str, operation_name: str | None, variables: Mapping[str, Any] | None) -> Prepared:
        """The operation of this name, or the only one where none is given; raises ``RefusedError``."""
        valid = self._valid(text)
        try:
            prepared = valid.prepared(operation_name)
            check_variables(variables, self._limits)
            self._limits.check("max_cost", prepared.cost.of(variables or {}))
        except GraphQLError as error:
            raise RefusedError([_shortened(error)], valid.document) from None
        return prepared

    def _valid(self, text: str) -> ValidDocument:
        valid = self._proven.get(text)
        if valid is not None:
            return valid
        valid = self._new.pop(text, None)
        if valid is not None:
            _keep(self._proven, text, valid)
            return valid
        if self._refused is not None and self._refused[0] == text:
            raise RefusedError(*self._refused[1:])
        try:
            valid = self._read(text)
        except RefusedError as refused:
            self._refused = text, refused.errors, refused.document
            raise
        _keep(self._new, text, valid)
        return valid

    def _read(self, text: str) -> ValidDocument:
        document: DocumentNode | None = None
        try:
            tokens = check_text(text, self._limits)
            document = parse(text)
            check_document(document, self._limits)
            suggesting = have_short_names(tokens)
            errors = validate(self._schema, document, introspection=self._introspection, suggesting=suggesting)
        except GraphQLError as error:
            raise RefusedError([_shortened(error)], document) from None
        if errors:
            raise RefusedError([_invalid(error) for error in errors], document)
        return ValidDocument(self._schema, document, _BYTES + len(text) + _BYTES_PER_TOKEN * len(tokens))


def _operations(document: DocumentNode) -> dict[str | None, OperationDefinitionNode]:
    """The operations of a document by name."""
    return {_name(one): one for one in document.definitions if isinstance(one, OperationDefinitionNode)}


def _name(operation: OperationDefinitionNode) -> str | None:
    return None if operation.name is None else operation.name.value


def _documents(max_bytes: int) -> LRUCache[str, ValidDocument]:
    return LRUCache(max_bytes, getsizeof=lambda valid: valid.bytes)


def _keep(cache: LRUCache[str, ValidDocument], text: str, valid: ValidDocument) -> None:
    if valid.bytes <= cache.maxsize:
        cache[text] = valid


def _bad_name(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_USER_INPUT", "argument": "operationName"})


def _invalid(error: GraphQLError) -> GraphQLError:
    """An error of validation with its code, unless it is a scalar's: that is about an argument."""
    if error.original_error is None and error.__cause__ is None:
        error.extensions = {"code": "GRAPHQL_VALIDATION_FAILED"}
    return _shortened(error)


def _shortened(error: GraphQLError) -> GraphQLError:
    """The error without long quotations of the document, at a few places of it."""
    error.message = shortened(error.message)
    if error.nodes is not None and len(error.nodes) > _MAX_NODES:
        error.nodes = error.nodes[:_MAX_NODES]
        error.locations = error.locations and error.locations[:_MAX_NODES]
    return error
