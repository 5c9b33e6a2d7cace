"""What every schema of ours does alike: one door for operations, errors made fit for clients, its own diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.types import ExecutionContext
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from resolvers.context import Context
from schema.documents import Documents, RefusedError
from schema.errors import complete_errors
from schema.limits import Limits


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
        config.disable_field_suggestions = False  # theirs are switched off, and hidden, by our documents
        super().__init__(
            query=query,
            subscription=subscription,
            types=types,
            extensions=extensions,
            config=config,
            federation_version=federation_version,
        )
        self.documents = Documents(self._schema, limits, introspection=introspection)

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

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Makes errors fit for clients, by every transport."""
        complete_errors(errors, None if execution_context is None else execution_context.graphql_document)
