"""What every schema of ours does alike: one door for operations, errors made fit for clients, its own diagnostics."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from inspect import signature
from typing import Any, Self

import strawberry
from graphql import (
    GraphQLError,
    GraphQLResolveInfoHelpers,
    MiddlewareManager,
    default_field_resolver,
    default_type_resolver,
)
from graphql.execution import ExecutionResult as CoreResult
from graphql.execution import SubsequentIncrementalExecutionResult
from strawberry.execution import optimized_is_awaitable
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
from schema.documents import Documents, Executable, RefusedError
from schema.entities import entity_types, resolve_references
from schema.errors import complete_errors
from schema.limits import Limits
from schema.operation import Hooks, Operation, Runner
from schema.validation import MAX_ERRORS

_BUILD = signature(StrawberryGraphQLCoreExecutionContext.build)


class _Executor(CompilingExecutor):
    """Tells little of wrong variables: each error repeats its value, and suggestions are looked for in all of it."""

    @classmethod
    def of(cls, executable: Executable, context: Operation, **options: Any) -> Self | list[GraphQLError]:
        """An executor of what was prepared; or what is wrong with its variables, as ``build`` tells it."""
        values = executable.variable_values(context.variables or {})
        if isinstance(values, list):
            return values
        return cls(
            context.schema._schema,
            executable.fragment_definitions,
            executable.fragments,
            context.root_value,
            context.context,
            executable.operation,
            values,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            is_awaitable=optimized_is_awaitable,
            hide_suggestions=True,
            **options,
        )

    @classmethod
    def build(cls, *arguments: Any, **options: Any) -> Any:
        bound = _BUILD.bind(*arguments, **options)  # some of them come by their places
        bound.arguments.update(hide_suggestions=True, max_coercion_errors=MAX_ERRORS)
        return super().build(*bound.args, **bound.kwargs)

    # Kept, they would lead back here: the executor, and all that it knows, would wait for the garbage collector.

    @property
    def async_helpers(self) -> GraphQLResolveInfoHelpers:
        return GraphQLResolveInfoHelpers(gather=self.gather_async_work, track=self.track_async_work)

    @async_helpers.setter
    def async_helpers(self, helpers: GraphQLResolveInfoHelpers) -> None:
        pass


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
        names = config.name_converter  # which is asked for those of arguments each time that a field is resolved
        names.apply_naming_config = cache(names.apply_naming_config)  # type: ignore[method-assign]
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
        self._hooks: Hooks | None = None
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
        return prepared.type is OperationType.SUBSCRIPTION

    def create_extensions_runner(
        self, execution_context: ExecutionContext, extensions: list[SchemaExtension]
    ) -> SchemaExtensionsRunner:
        if self._hooks is None:
            self._hooks = Hooks(extensions)
        return Runner(execution_context, extensions, self._hooks)

    def _create_execution_context(
        self,
        query: str | None,
        allowed_operation_types: Iterable[OperationType],
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionContext:
        return Operation(
            query=query,
            schema=self,
            allowed_operations=allowed_operation_types,
            context=context_value,
            root_value=root_value,
            variables=variable_values,
            validation_rules=(),  # ours are elsewhere
            provided_operation_name=operation_name or None,
            operation_extensions=operation_extensions,
        )

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        """Parses and validates by our rules; what keeps an operation from running is in the result's errors."""
        assert isinstance(context, Operation)
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
        context.executable = prepared.whole if incremental else prepared.plain
        context.graphql_document = context.executable.document
        if prepared.type not in context.allowed_operations:
            wrong_type = InvalidOperationTypeError(prepared.type)
            error = GraphQLError(
                f"A {prepared.type.value} cannot be asked for in this way.",
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

    async def _execute_operation(
        self,
        execution_context: ExecutionContext,
        extensions_runner: SchemaExtensionsRunner,
        middleware_manager: MiddlewareManager,
        execute_function: Callable[..., Any],
        custom_context_kwargs: dict[str, Any],
    ) -> Any:
        """As inherited, by an executor that is made of what was prepared."""
        assert isinstance(execution_context, Operation)
        assert execution_context.executable is not None
        async with extensions_runner.executing():
            executor = _Executor.of(
                execution_context.executable,
                execution_context,
                middleware_manager=middleware_manager,
                **custom_context_kwargs,
            )
            result: Any = CoreResult(None, executor) if isinstance(executor, list) else executor.execute_operation()
            if optimized_is_awaitable(result):
                result = await result
            execution_context.result = result
            if isinstance(result, CoreResult) and result.errors:
                execution_context.pre_execution_errors = result.errors
                self._process_errors(result.errors, execution_context)
        return result

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
