"""What is told of operations: metrics, a line in the log and a span to operators, upstream requests to clients."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)
from prometheus_client import Counter, Histogram
from strawberry.extensions import SchemaExtension

from loaders.upstream.calls import RequestLog, logging_requests
from loaders.upstream.logs import log
from loaders.upstream.tracing import OperationSpan, operation_span
from resolvers.context import RequestContext
from schema.documents import Executable
from schema.errors import FAULT
from schema.operation import Operation

_OPERATIONS = Counter(
    "walletgraph_operations",
    "GraphQL operations by name, type and outcome: OK, PARTIAL (data and errors), FAILED (no data), CANCELLED. "
    "Subscriptions count when they end, by their last event; they are not CANCELLED.",
    ["operation", "type", "outcome"],
)
_SECONDS = Histogram(
    "walletgraph_operation_seconds",
    "GraphQL operations but subscriptions: how long they took, by name and outcome.",
    ["operation", "outcome"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_FIELDS = Counter("walletgraph_fields", "GraphQL operations that select a field.", ["type", "field"])

_MAX_NAME_LENGTH = 64
_SUBSCRIPTION = "subscription"


class OperationNames:
    """Names of operations as labels: the first so many that clients use, however many they invent."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._names: set[str] = set()

    def label(self, name: str | None) -> str:
        """The name; ``anonymous`` for none, ``other`` for one that is too long or too many."""
        if name is None:
            return "anonymous"
        if name not in self._names:
            if len(self._names) >= self._limit or len(name) > _MAX_NAME_LENGTH:
                return "other"
            self._names.add(name)
        return name


_names = OperationNames(100)
_field_counters: WeakKeyDictionary[Executable, Sequence[Counter]] = WeakKeyDictionary()
_log = log.bind()


@cache
def _operation_counter(name: str, type: str, outcome: str) -> Counter:
    return _OPERATIONS.labels(name, type, outcome)


@cache
def _clock(name: str, outcome: str) -> Histogram:
    return _SECONDS.labels(name, outcome)


class Telemetry(SchemaExtension):
    """Counts, times, traces and logs each operation.

    Stands before the extensions that it tells about.
    """

    execution_context: Operation
    _request: RequestContext
    _requests: RequestLog

    def on_operation(self) -> Iterator[None]:
        self._request = self.execution_context.context
        started = time.perf_counter()
        cancelled = False
        with operation_span("operation", self._request.headers) as span, logging_requests() as self._requests:
            try:
                yield
            except (asyncio.CancelledError, GeneratorExit):
                cancelled = True
                raise
            finally:
                self._tell(span, time.perf_counter() - started, cancelled=cancelled)

    def on_execute(self) -> Iterator[None]:
        """Counts fields of what is valid."""
        for counter in _counters(self.execution_context):
            counter.inc()
        yield

    def get_results(self) -> dict[str, Any]:
        """Requests and milliseconds for each source if the client asks for them."""
        if not self._request.trace:
            return {}
        requests = self._requests
        return {
            "upstream": {
                name: {"requests": count, "milliseconds": round(requests.seconds.get(name, 0.0) * 1_000, 3)}
                for name, count in requests.requests.items()
            }
        }

    def _tell(self, span: OperationSpan, seconds: float, *, cancelled: bool) -> None:
        execution = self.execution_context
        operation = _operation(execution)
        if operation is not None:
            name = _names.label(_name(operation))
            type = operation.operation.value
        else:  # whatever it is called, nothing is called so
            name, type = "other" if execution.operation_name else "anonymous", "unknown"
        result = execution.result
        errors = [] if result is None else result.errors or []
        lasts = type == _SUBSCRIPTION
        if result is None:
            outcome = "OK" if lasts else "CANCELLED" if cancelled else "FAILED"
        else:
            outcome = "OK" if not errors else "FAILED" if result.data is None else "PARTIAL"
        codes = sorted({str((error.extensions or {}).get("code")) for error in errors})
        _operation_counter(name, type, outcome).inc()
        if not lasts:
            _clock(name, outcome).observe(seconds)
        span.set_outcome(name, type, outcome, fault=FAULT in codes)
        if _log.isEnabledFor(logging.INFO):
            _log.info(
                "operation",
                operation=name,
                type=type,
                outcome=outcome,
                milliseconds=round(seconds * 1_000, 3),
                upstream_requests=dict(self._requests.requests),
                codes=codes,
            )


def _operation(execution: Operation) -> OperationDefinitionNode | None:
    """The operation that is meant; None when the document has none of this name, or is none."""
    if execution.executable is not None:
        return execution.executable.operation
    definitions = () if execution.graphql_document is None else execution.graphql_document.definitions
    operations = [definition for definition in definitions if isinstance(definition, OperationDefinitionNode)]
    return next((found for found in operations if _name(found) == execution.operation_name), None)


def _name(operation: OperationDefinitionNode) -> str | None:
    return None if operation.name is None else operation.name.value


def _counters(execution: Operation) -> Sequence[Counter]:
    """One for each field that the operation selects."""
    executable = execution.executable
    if executable is None:
        return ()
    counters = _field_counters.get(executable)
    if counters is None:
        fields = selected_fields(execution.schema._schema, executable.document, executable.operation)
        counters = _field_counters[executable] = [_FIELDS.labels(*field) for field in fields]
    return counters


def selected_fields(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
) -> set[tuple[str, str]]:
    """Type and name of each field that a valid operation selects, introspection aside; each fragment is read once."""
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    selected: set[tuple[str, str]] = set()
    unread: list[tuple[GraphQLNamedType | None, SelectionSetNode]] = [
        (schema.get_root_type(operation.operation), operation.selection_set)
    ]
    while unread:
        parent, selections = unread.pop()
        for node in selections.selections:
            if isinstance(node, FieldNode):
                if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
                    continue
                if (field := parent.fields.get(node.name.value)) is not None:
                    selected.add((parent.name, node.name.value))
                    if node.selection_set is not None:
                        unread.append((get_named_type(field.type), node.selection_set))
            elif isinstance(node, InlineFragmentNode):
                on = node.type_condition
                unread.append((parent if on is None else schema.get_type(on.name.value), node.selection_set))
            elif isinstance(node, FragmentSpreadNode) and node.name.value in fragments:
                fragment = fragments.pop(node.name.value)
                unread.append((schema.get_type(fragment.type_condition.name.value), fragment.selection_set))
    return selected
