"""Compiled execution: what lies below a resolved value, and is read from it alone, becomes one Python function.

graphql-core resolves whatever is dynamic. Where it comes to a list or an object of which only plain fields are
selected, all the way down, it takes some 6 µs for an object and 3 µs for each field more; compiled, an object costs
about 0.13 µs and a field 0.05 µs, what a scalar takes to be written not counted.

The outcome is the same to the letter: the function does only what always goes well, and gives up on anything else (a
null that must not be, an error, something to be awaited). Then the executor completes the value in its own way,
errors and paths included. So nothing that is compiled may have an effect, or take an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from itertools import chain, islice
from operator import attrgetter
from types import NoneType
from typing import Any, cast
from weakref import WeakValueDictionary

from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLAbstractType,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLString,
    OperationDefinitionNode,
    Undefined,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    type_from_ast,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from loaders import amounts
from schema.of_record import RecordField
from schema.scalars import SCALARS

Complete = Callable[[Any], Any]

_WORTH_IT = 16
"""So many values must have been completed at one place before it is compiled: most documents come once."""

_MAX_PLANS = 64
"""So many places of one operation, by the values of variables in ``@skip`` and ``@include``, are told apart."""

_MAX_COMPILED = 8
"""So many of them are compiled: some 13 kB each, by measurement, for all that one may ask of a holding."""

_TYPES: Mapping[str, type] = {
    definition.name: getattr(kind, "__supertype__", cast("type", kind)) for kind, definition in SCALARS.items()
}
"""By the names of our scalars, the type of their values."""


class GiveUpError(Exception):
    """Raised by compiled functions: here is something for the executor."""


class _NotPlainError(Exception):
    """A selection that cannot be compiled."""


class Plans:
    """The compiled selections of one operation; it and its document must live as long."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self.schema = schema
        self._plans: dict[tuple[Any, ...], Complete | int | None] = {}
        self._compiled = 0
        self._booleans = [
            definition.variable.name.value
            for definition in operation.variable_definitions or ()
            if get_named_type(type_from_ast(schema, definition.type)) is GraphQLBoolean
        ]
        _PLANS[id(operation)] = self

    def booleans(self, variables: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values on which it may depend what is selected."""
        return tuple(variables.get(name) for name in self._booleans)

    def find(self, key: tuple[Any, ...], uses: int, build: Callable[[], Complete]) -> Complete | None:
        """The function for a place, once it has been worth it; None where the executor does better."""
        plan = self._plans.get(key, 0)
        if not isinstance(plan, int):
            return plan
        if plan + uses < _WORTH_IT:
            if plan or len(self._plans) < _MAX_PLANS:
                self._plans[key] = plan + uses
            return None
        if not plan and len(self._plans) >= _MAX_PLANS:
            return None
        built: Complete | None = None
        if self._compiled < _MAX_COMPILED:
            with suppress(_NotPlainError, SyntaxError, RecursionError, MemoryError):
                built = build()
                self._compiled += 1
        self._plans[key] = built
        return built


_PLANS: WeakValueDictionary[int, Plans] = WeakValueDictionary()
"""By the identity of operations: what an executor gets is the document, and its nodes take no attributes."""


class CompilingExecutor(StrawberryGraphQLCoreExecutionContext):
    """Completes lists and objects of plain values by compiled functions, everything else as inherited."""

    _plans: Plans | None = None
    _booleans: tuple[Any, ...] = ()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.middleware_manager is None or not self.middleware_manager.middlewares:
            self.middleware_manager = None  # nothing comes between a field and its resolver
            self._plans = _PLANS.get(id(self.operation))
            if self._plans is not None:
                self._booleans = self._plans.booleans(self.variable_values.coerced)

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_details_list: FieldDetailsList,
        info: Any,
        path: Any,
        result: Any,
        position_context: Any,
    ) -> Any:
        """As inherited, compiled where that can be."""
        if result and type(result) in (list, tuple):
            completed = self._complete_compiled(return_type, field_details_list, result, len(result))
            if completed is not None:
                return completed
        return super().complete_list_value(return_type, field_details_list, info, path, result, position_context)

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_details_list: FieldDetailsList,
        info: Any,
        path: Any,
        result: Any,
        position_context: Any,
    ) -> Any:
        """As inherited, compiled where that can be."""
        completed = self._complete_compiled(return_type, field_details_list, result, 1)
        if completed is not None:
            return completed
        return super().complete_object_value(return_type, field_details_list, info, path, result, position_context)

    def _complete_compiled(
        self, return_type: GraphQLOutputType, field_details_list: FieldDetailsList, result: Any, uses: int
    ) -> Any:
        """The completed form of a value; None where the executor must see to it, which no completed form is."""
        plans = self._plans
        if plans is None:
            return None
        key = (str(return_type), self._booleans, *[id(details.node) for details in field_details_list])
        complete = plans.find(key, uses, lambda: _Compiler(self).compile(return_type, field_details_list))
        if complete is not None:
            with suppress(Exception):  # whatever it is, the executor meets it again, and says what it is
                return complete(result)
        return None


_Column = list[Any]
"""The values of one field in all objects at one place."""

_Values = Callable[[_Column], _Column]
_Present = Callable[[_Column, set[type]], _Column]
"""Completes a column without nulls, of values of exactly these types."""

_LISTS: set[type] = {list, tuple}
_NAME = attrgetter("_name_")


class _Compiler:
    """Makes the function of a place of those of the places below it."""

    def __init__(self, executor: CompilingExecutor) -> None:
        self._executor = executor

    def compile(self, return_type: GraphQLOutputType, details: FieldDetailsList) -> Complete:
        """A function from a value that is not null to its completed form; raises ``_NotPlainError``."""
        complete = self._values(GraphQLNonNull(cast("Any", return_type)), details, shown=True)
        return lambda value: complete([value])[0]

    def _values(self, kind: GraphQLOutputType, details: FieldDetailsList, *, shown: bool) -> _Values:
        """What completes a column; ``shown`` unless it is of the records of an ``OfRecord``."""
        nullable = not is_non_null_type(kind)
        inner = kind if nullable else cast("GraphQLNonNull[Any]", kind).of_type
        if is_leaf_type(inner):
            complete = _leaves(inner)
        elif is_list_type(inner):
            complete = self._lists(inner, details, shown=shown)
        elif is_object_type(inner):
            complete = self._objects(inner, details, shown=shown)
        else:
            complete = self._abstract(cast("GraphQLAbstractType", inner), details, shown=shown)
        return _with_nulls(complete) if nullable else _without_nulls(complete)

    def _lists(self, kind: GraphQLList[Any], details: FieldDetailsList, *, shown: bool) -> _Present:
        if any(directive.name.value == "stream" for one in details for directive in one.node.directives or ()):
            raise _NotPlainError
        complete_items = self._values(kind.of_type, details, shown=shown)

        def complete(column: _Column, types: set[type]) -> _Column:
            if not types <= _LISTS:
                raise GiveUpError
            items = complete_items(list(chain.from_iterable(column)))
            if len(column) == 1:
                return [items]
            left = iter(items)
            return [list(islice(left, len(some))) for some in column]

        return complete

    def _abstract(self, kind: GraphQLAbstractType, details: FieldDetailsList, *, shown: bool) -> _Present:
        if not shown:
            raise _NotPlainError
        of_class = {
            _class_of(possible): self._objects(possible, details, shown=True)
            for possible in self._executor.schema.get_possible_types(kind)
        }

        def complete(column: _Column, types: set[type]) -> _Column:
            if len(types) == 1:
                return of_class[next(iter(types))](column, types)
            completed = {
                one: iter(of_class[one]([value for value in column if type(value) is one], {one})) for one in types
            }
            return [next(completed[type(value)]) for value in column]

        return complete

    def _objects(self, kind: GraphQLObjectType, details: FieldDetailsList, *, shown: bool) -> _Present:
        origin = _class_of(kind)
        collected = self._executor.collect_subfields(kind, details)
        if collected.new_defer_usages:
            raise _NotPlainError
        columns: dict[str, str] = {}
        fields: list[_Values] = []
        entries = []
        for response_name, below in collected.grouped_field_set.items():
            name = below[0].node.name.value
            if name == "__typename":
                entries.append(f"{response_name!r}: {kind.name!r}")
                continue
            field = self._executor.schema.get_field(kind, name)
            if field is None or any(one.defer_usage is not None for one in below):
                raise _NotPlainError
            key = name if is_leaf_type(get_nullable_type(field.type)) else response_name
            if key not in columns:  # else it is there under an alias
                columns[key] = f"c{len(columns)}"
                fields.append(self._field(field, below, origin, shown=shown))
            entries.append(f"{response_name!r}: {columns[key]}")
        variables = f"({', '.join(columns.values())},)" if columns else "_"
        rows = "zip(*columns)" if columns else "columns[0]"
        together = eval(f"lambda columns: [{{{', '.join(entries)}}} for {variables} in {rows}]")  # of names alone

        def complete(column: _Column, types: set[type]) -> _Column:
            if shown and not types <= {origin}:
                raise GiveUpError
            return cast("_Column", together([of_field(column) for of_field in fields] or [column]))

        return complete

    def _field(self, field: GraphQLField, below: FieldDetailsList, origin: Any, *, shown: bool) -> _Values:
        """What completes a field of a column of objects, or of records where these are not ``shown``."""
        definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if not isinstance(definition, StrawberryField) or definition.extensions or field.args:
            raise _NotPlainError
        if isinstance(definition, RecordField):
            complete = self._values(field.type, below, shown=not definition.shows)
            path = ".".join(filter(None, ["record" if shown else "", definition.path]))
            if not path:
                return complete
            read: Callable[[Any], Any] = attrgetter(path)
        else:
            complete = self._values(field.type, below, shown=True)
            read = _reader(definition)
            if not shown:
                show, plain = origin.of, read
                read = lambda record: plain(show(record))  # noqa: E731
        return lambda column: complete(list(map(read, column)))


def _reader(definition: StrawberryField) -> Callable[[Any], Any]:
    """What reads a field from its object."""
    if type(definition).get_result is not StrawberryField.get_result:
        raise _NotPlainError
    resolver = definition.base_resolver
    if resolver is None:
        return attrgetter(definition.python_name)
    if resolver.is_async or resolver.info_parameter or not resolver.self_parameter:
        raise _NotPlainError
    return resolver


def _with_nulls(complete: _Present) -> _Values:
    def each(column: _Column) -> _Column:
        types = set(map(type, column))
        if NoneType not in types:
            return complete(column, types)
        types.discard(NoneType)
        completed = iter(complete([value for value in column if value is not None], types))
        return [None if value is None else next(completed) for value in column]

    return each


def _without_nulls(complete: _Present) -> _Values:
    def each(column: _Column) -> _Column:
        types = set(map(type, column))
        if NoneType in types:
            raise GiveUpError
        return complete(column, types)

    return each


def _leaves(kind: GraphQLLeafType) -> _Present:
    """What completes a column of leaves."""
    careful, (plain, write) = _careful(kind), _written(kind)

    def complete(column: _Column, types: set[type]) -> _Column:
        return write(column) if types <= plain else list(map(careful, column))

    return complete


def _written(kind: GraphQLLeafType) -> tuple[set[type], _Values]:
    """The very types of values that need no care, and how a column of those is written."""
    if kind is GraphQLString or kind is GraphQLID:
        return {str}, _as_they_are
    if kind is GraphQLBoolean:
        return {bool}, _as_they_are
    if kind is GraphQLInt:
        return {int}, _integers
    coerce = kind.coerce_output_value
    if isinstance(kind, GraphQLEnumType):
        enum = getattr(kind, "wrapped_cls", None)
        if enum is None:
            return set(), _as_they_are
        if all(coerce(member) == member.name for member in enum):
            return {enum}, lambda column: list(map(_NAME, column))
        return set(), _as_they_are
    expected = _TYPES.get(kind.name)
    if coerce is amounts.plain:
        return {Decimal}, amounts.plain_each
    return set() if expected is None else {expected}, lambda column: list(map(coerce, column))


def _as_they_are(column: _Column) -> _Column:
    return column


def _integers(column: _Column) -> _Column:
    if column and not (min(column) >= GRAPHQL_MIN_INT and max(column) <= GRAPHQL_MAX_INT):
        raise GiveUpError
    return column


def _class_of(kind: GraphQLObjectType) -> Any:
    """The class of an object type's values; raises ``_NotPlainError`` for one of graphql-core's own."""
    definition = kind.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if definition is None or definition.is_type_of is not None:
        raise _NotPlainError
    return definition.origin


def _careful(kind: GraphQLLeafType) -> Complete:
    """Completes any value of a leaf that goes well."""
    coerce = kind.coerce_output_value

    def complete(value: Any) -> Any:
        if isinstance(value, Exception) or value is Undefined or is_awaitable(value):
            raise GiveUpError
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise GiveUpError
        return coerced

    return complete
