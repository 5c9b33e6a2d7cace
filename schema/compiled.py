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
from dataclasses import dataclass, field
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
    is_abstract_type,
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

from schema.of_record import OfRecord, RecordField
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


@dataclass(slots=True)
class _Source:
    """The object that fields are read from: a variable, which holds it or, unless it is ``shown``, its record.

    ``known`` are the variables of what was read already, by path or by field.
    """

    name: str
    origin: Any
    shown: bool
    known: dict[str, str] = field(default_factory=dict)


class _Compiler:
    """Writes one function."""

    def __init__(self, executor: CompilingExecutor) -> None:
        self._executor = executor
        self._lines: list[str] = []
        self._names: dict[str, Any] = {"GiveUp": GiveUpError}
        self._count = 0

    def compile(self, return_type: GraphQLOutputType, field_details_list: FieldDetailsList) -> Complete:
        """A function from a value that is not null to its completed form; raises ``_NotPlainError``."""
        self._write_value(1, "value", GraphQLNonNull(cast("Any", return_type)), field_details_list, shown=True)
        code = "\n".join(["def complete(value):", *self._lines, "    return value"])
        exec(compile(code, "<compiled selection>", "exec"), self._names)  # of names of the schema and of ours
        return cast("Complete", self._names["complete"])

    def _write(self, depth: int, *lines: str) -> None:
        self._lines += ["    " * depth + line for line in lines]

    def _new(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def _write_value(
        self, depth: int, name: str, kind: GraphQLOutputType, details: FieldDetailsList, *, shown: bool
    ) -> None:
        """Completes the variable of this name in place; ``shown`` unless it is the record of an ``OfRecord``."""
        nullable = not is_non_null_type(kind)
        inner = kind if nullable else cast("GraphQLNonNull[Any]", kind).of_type
        if is_leaf_type(inner):
            self._write_leaf(depth, name, inner, nullable=nullable)
            return
        if nullable:
            self._write(depth, f"if {name} is not None:")
            depth += 1
        else:
            self._write(depth, f"if {name} is None: raise GiveUp")
        if is_list_type(inner):
            self._write_list(depth, name, inner, details, shown=shown)
        elif is_object_type(inner):
            self._write_object(depth, name, inner, details, shown=shown)
        elif is_abstract_type(inner):
            if not shown:
                raise _NotPlainError
            self._write_abstract(depth, name, inner, details)

    def _write_leaf(self, depth: int, name: str, kind: GraphQLLeafType, *, nullable: bool) -> None:
        expected, expression = self._exact(kind, name)
        anything_else = self._constant(_careful(kind))
        if expected is not None:
            simple = f"type({name}) is {self._constant(expected)}"
            if kind is GraphQLInt:
                simple += f" and {GRAPHQL_MIN_INT} <= {name} <= {GRAPHQL_MAX_INT}"
            self._write(depth, f"if {simple}: {f'{name} = {expression}' if expression != name else 'pass'}")
        otherwise = "if" if expected is None else "elif"
        self._write(depth, f"{otherwise} {name} is not None: {name} = {anything_else}({name})")
        if not nullable:
            self._write(depth, "else: raise GiveUp")

    def _exact(self, kind: GraphQLLeafType, name: str) -> tuple[type | None, str]:
        """The very type that values have which need no care, and how those are written."""
        coerce = f"{self._constant(kind.coerce_output_value)}({name})"
        if kind is GraphQLString or kind is GraphQLID:
            return str, name
        if kind is GraphQLBoolean:
            return bool, name
        if kind is GraphQLInt:
            return int, name
        if isinstance(kind, GraphQLEnumType):
            enum = getattr(kind, "wrapped_cls", None)
            plainly_named = enum is not None and all(
                kind.coerce_output_value(member) == member.name for member in enum
            )
            return (enum, f"{name}._name_") if plainly_named else (None, coerce)
        return _TYPES.get(kind.name), coerce

    def _write_list(
        self, depth: int, name: str, kind: GraphQLList[Any], details: FieldDetailsList, *, shown: bool
    ) -> None:
        if any(directive.name.value == "stream" for one in details for directive in one.node.directives or ()):
            raise _NotPlainError
        items, item = self._new(), self._new()
        self._write(depth, f"if type({name}) is not list and type({name}) is not tuple: raise GiveUp")
        self._write(depth, f"{items} = []")
        self._write(depth, f"for {item} in {name}:")
        self._write_value(depth + 1, item, kind.of_type, details, shown=shown)
        self._write(depth + 1, f"{items}.append({item})")
        self._write(depth, f"{name} = {items}")

    def _write_abstract(self, depth: int, name: str, kind: GraphQLAbstractType, details: FieldDetailsList) -> None:
        by_class = {}
        for possible in self._executor.schema.get_possible_types(kind):
            by_class[_class_of(possible)] = _Compiler(self._executor).compile(possible, details)
        self._write(depth, f"{name} = {self._constant(by_class)}[type({name})]({name})")

    def _write_object(
        self, depth: int, name: str, kind: GraphQLObjectType, details: FieldDetailsList, *, shown: bool
    ) -> None:
        source = _Source(name, _class_of(kind), shown)
        if not shown and not issubclass(source.origin, OfRecord):
            self._write(depth, f"{name} = {self._constant(source.origin.of)}({name})")
            source.shown = True
        if source.shown:
            self._write(depth, f"if type({name}) is not {self._constant(source.origin)}: raise GiveUp")
        collected = self._executor.collect_subfields(kind, details)
        if collected.new_defer_usages:
            raise _NotPlainError
        entries = []
        for response_name, below in collected.grouped_field_set.items():
            field_name = below[0].node.name.value
            if field_name == "__typename":
                entries.append(f"{response_name!r}: {kind.name!r}")
                continue
            field = self._executor.schema.get_field(kind, field_name)
            if field is None or any(one.defer_usage is not None for one in below):
                raise _NotPlainError
            value = source.known.get(field_name)
            if value is None or not is_leaf_type(get_nullable_type(field.type)):  # else it is there under an alias
                value = self._new()
                shown_below = self._write_reading(depth, value, field, source)
                self._write_value(depth, value, field.type, below, shown=shown_below)
                source.known[field_name] = value
            entries.append(f"{response_name!r}: {value}")
        self._write(depth, f"{name} = {{{', '.join(entries)}}}")

    def _write_reading(self, depth: int, value: str, field: GraphQLField, source: _Source) -> bool:
        """Reads a field into a variable; gives whether that is shown, rather than a record yet to be."""
        definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if not isinstance(definition, StrawberryField) or definition.extensions or field.args:
            raise _NotPlainError
        if isinstance(definition, RecordField):
            self._write(depth, f"{value} = {self._write_path(depth, source, definition.path)}")
            return not definition.shows
        if type(definition).get_result is not StrawberryField.get_result:
            raise _NotPlainError
        resolver, owner = definition.base_resolver, self._write_shown(depth, source)
        if resolver is None:
            self._write(depth, f"{value} = {owner}.{definition.python_name}")
        elif resolver.is_async or resolver.info_parameter or not resolver.self_parameter:
            raise _NotPlainError
        else:
            self._write(depth, f"{value} = {self._constant(resolver)}({owner})")
        return True

    def _write_path(self, depth: int, source: _Source, path: str) -> str:
        """The expression of an attribute of a record, what leads to it read once."""
        owner = f"{source.name}.record" if source.shown else source.name
        *parents, last = path.split(".")
        walked = ""
        for parent in parents:
            walked += f".{parent}"
            if walked not in source.known:
                source.known[walked] = self._new()
                self._write(depth, f"{source.known[walked]} = {owner}.{parent}")
            owner = source.known[walked]
        return f"{owner}.{last}" if last else owner

    def _write_shown(self, depth: int, source: _Source) -> str:
        """The variable of the object itself, made from its record where it must be."""
        if source.shown:
            return source.name
        if "" not in source.known:
            source.known[""] = self._new()
            self._write(depth, f"{source.known['']} = {self._constant(source.origin.of)}({source.name})")
        return source.known[""]


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
