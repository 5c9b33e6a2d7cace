"""What every schema of ours does alike: one door for operations, errors made fit for clients, its own diagnostics."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import strawberry
from graphql import GraphQLError
from graphql.execution import SubsequentIncrementalExecutionResult
from strawberry.extensions import SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.federation.schema import FederationAny
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.types.info import Info

from resolvers.context import Context
from schema.compiled import CompilingExecutor
from schema.documents import Documents, RefusedError
from schema.entities import entity_types, resolve_references
from schema.errors import complete_errors
from schema.limits import Limits
from schema.validation import MAX_ERRORS

_BUILD = inspect.signature(StrawberryGraphQLCoreExecutionContext.build)


class _Executor(CompilingExecutor):
    """Tells little of wrong variables: each error repeats its value, and suggestions are looked for in all of it."""

    @classmethod
    def build(cls, *arguments: Any, **options: Any) -> Any:
        bound = _BUILD.bind(*arguments, **options)  # some of them come by their places
        bound.arguments.update(hide_suggestions=True, max_coercion_errors=MAX_ERRORS)
        return super().build(*bound.args, **bound.kwargs)


class GraphSchema(strawberry.federation.Schema):
    """An Apollo Federation subgraph whose operations are checked by ``Documents`` before they are executed."""

    def __init__(
        self,
        query: type,
        *,
        subscription: type | None = None,
        types: Sequence[type] = (),
        extensions: Sequence[type[SchemaExtension]] = (),
        config: StrawberryConfig,
        limits: Limits,
        introspection: bool = True,
        federation_version: Any = "2.3",
    ) -> None:
        """``introspection`` off also means that no error suggests a name that was not asked for."""
        config.enable_experimental_incremental_execution = True
        super().__init__(
            query=query,
            subscription=subscription,
            types=types,
            extensions=extensions,
            execution_context_class=_Executor,
            config=config,
            federation_version=federation_version,
        )
        self.documents = Documents(self._schema, limits, introspection=introspection)
        self._entity_types = entity_types(self.schema_converter)

    def entities_resolver(self, info: Info, representations: list[FederationAny]) -> list[FederationAny]:
        """One entry per reference, in the order asked."""
        return resolve_references(self._entity_types, info, representations)

    def is_subscription(self, text: str, operation_name: str | None, variables: Mapping[str, Any] | None) -> bool:
        """Whether a document's operation of this name is a subscription that may be executed."""
        if "subscription" not in text:  # so most documents need not be looked at twice
            return False
        try:
            prepared = self.documents.prepare(text, operation_name, variables)
        except RefusedError:
            return False
        return prepared.operation.operation.value == OperationType.SUBSCRIPTION.value

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        """Parses and validates by our rules; what keeps an operation from running is in the result's errors."""
        context._provided_operation_name = context._provided_operation_name or None
        async with extensions_runner.parsing(), extensions_runner.validation():
            try:
                prepared = self.documents.prepare(
                    context.query or "", context._provided_operation_name, context.variables
                )
            except RefusedError as refused:
                context.graphql_document = refused.document
                context.pre_execution_errors = list(refused.errors)
                return PreExecutionError(data=None, errors=context.pre_execution_errors)
        request = context.context
        incremental = isinstance(request, Context) and request.incremental
        context.graphql_document = prepared.document if incremental else prepared.without_increments
        operation_type = OperationType(prepared.operation.operation.value)
        if operation_type not in context.allowed_operations:
            wrong_type = InvalidOperationTypeError(operation_type)
            error = GraphQLError(
                f"A {operation_type.value} cannot be asked for in this way.",
                original_error=wrong_type,
                extensions={"code": "BAD_USER_INPUT"},
            )
            context.pre_execution_errors = [error]
            return PreExecutionError(data=None, errors=[error])
        return None

    def _get_custom_context_kwargs(
        self, operation_extensions: dict[str, Any] | None = None, *, sync: bool = False
    ) -> dict[str, Any]:
        """Deferred fields begin with the others, so that each source is asked once for all of them."""
        kwargs = super()._get_custom_context_kwargs(operation_extensions, sync=sync)
        return {**kwargs, "enable_early_execution": True}

    async def _stream_non_subscription(
        self, execution_context: ExecutionContext, *arguments: Any, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """As inherited; errors of later payloads are made fit for clients as well, and count in the outcome."""
        results = super()._stream_non_subscription(execution_context, *arguments, **options)
        async with aclosing(results):
            async for result in results:
                if isinstance(result, SubsequentIncrementalExecutionResult) and (errors := _errors_of(result)):
                    self._process_errors(errors, execution_context)
                    if (first := execution_context.result) is not None:
                        execution_context.result = ExecutionResult(first.data, [*(first.errors or ()), *errors])
                yield result

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Makes errors fit for clients, by every transport."""
        complete_errors(errors, None if execution_context is None else execution_context.graphql_document)


def _errors_of(payload: SubsequentIncrementalExecutionResult) -> list[GraphQLError]:
    """The errors within one of the later payloads."""
    parts = [*(payload.incremental or ()), *(payload.completed or ())]
    return [error for part in parts for error in part.errors or ()]
