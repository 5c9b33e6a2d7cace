"""The graph: what clients see."""

from __future__ import annotations

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema import enums as enums  # before the types that use them
from schema.errors import complete_errors
from schema.extensions import OperationContext
from schema.query import Query, SubgraphQuery
from schema.scalars import SCALARS
from schema.telemetry import Telemetry


class Schema(strawberry.federation.Schema):
    """The executable schema; as a subgraph it has neither ``node`` nor ``nodes``.

    Operations are executed with a ``resolvers.context.RequestContext`` as their context value.
    """

    def __init__(self, *, subgraph: bool = False) -> None:
        super().__init__(
            query=SubgraphQuery if subgraph else Query,
            extensions=[Telemetry, OperationContext],
            config=StrawberryConfig(scalar_map=dict(SCALARS)),
            federation_version="2.3",
        )

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Makes errors fit for clients, by every transport."""
        complete_errors(errors, None if execution_context is None else execution_context.graphql_document)


schema = Schema()

__all__ = ["Schema", "schema"]
